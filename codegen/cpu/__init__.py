"""CPU kernels: `tile` to the `llvm` dialect, and on to relocatable objects."""
