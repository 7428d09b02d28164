"""A PTX interpreter in NumPy: GPU kernels run and checked where there is no GPU.

Written from NVIDIA's "Parallel Thread Execution ISA"; shares no code with the compiler,
so that a wrong belief in code generation does not repeat itself here. See
docs/07-emulator.md.
"""

from . import instructions
from .device import EmulatedDevice, Module
from .statistics import Statistics
from .tensor_map import encode_im2col_map, encode_tensor_map

__all__ = [
    "EmulatedDevice",
    "Module",
    "Statistics",
    "encode_im2col_map",
    "encode_tensor_map",
    "instructions",
]
