"""A PTX interpreter in NumPy: GPU kernels run and checked where there is no GPU.

Written from NVIDIA's "Parallel Thread Execution ISA"; shares no code with the compiler,
so that a wrong belief in code generation does not repeat itself here.
"""
