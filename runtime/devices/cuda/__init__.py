"""NVIDIA GPUs: PyCUDA for the device, its primary context, memory, modules, streams and
launches; `cuda-bindings` for what it has no binding for: graphs, tensor maps, and work
on streams of others.
"""

from __future__ import annotations

from functools import lru_cache

from .device import CudaGpu, own_target

__all__ = ["CudaGpu", "open_cuda", "own_target"]


@lru_cache
def open_cuda(ordinal: int = 0) -> CudaGpu:
    """The GPU of this number, opened once a process.

    Raises:
        MissingExtraError: PyCUDA or cuda-bindings is not installed.
        DeviceError: there is no driver, or no such GPU.
    """
    return CudaGpu(ordinal)
