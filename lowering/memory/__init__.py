"""The host program: what runs outside kernels, and where tensors lie in memory."""
