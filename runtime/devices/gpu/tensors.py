"""Tensors in memory of a GPU: how they come in, and how they go out.

Whatever speaks `__cuda_array_interface__` or DLPack comes in without a copy. Outputs
are of the same library as the inputs: torch's, CuPy's, or our own `DeviceTensor`, which
both of them can wrap.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from stepwell.errors import InputError
from stepwell.runtime.dtypes import dtype_of

from .dlpack import CUDA, from_dlpack


@dataclass(frozen=True, eq=False)
class DeviceTensor:
    """A contiguous tensor in the memory of a GPU.

    Attributes:
        stream: handle of the stream that it is valid on; None if on all.
        owner: what keeps the memory.
        library: whose tensor it is: "torch", "cupy" or "".
        ordinal: number of its device; None if that is not known.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int | None
    owner: Any
    library: str = ""
    ordinal: int | None = None

    @property
    def ndim(self) -> int:
        """Its rank."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Its size."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html"""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "version": 3,
            "strides": None,
            "stream": self.stream or None,
        }


def device_tensor(name: str, value: Any) -> DeviceTensor | None:
    """`value` as a tensor on a GPU; None if it is none.

    Raises:
        InputError: it is one, but cannot be taken as input `name`.
    """
    if isinstance(value, DeviceTensor):
        return value
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(torch, value) if value.is_cuda else None
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is not None:
        return _from_interface(name, value, interface)
    if (
        hasattr(value, "__dlpack_device__")
        and int(value.__dlpack_device__()[0]) == CUDA
    ):
        address, shape, dtype, ordinal = from_dlpack(name, value)
        return DeviceTensor(address, shape, dtype, None, value, "", ordinal)
    return None


def _from_torch(torch: Any, value: Any) -> DeviceTensor:
    value = value.detach().contiguous()
    ordinal = value.device.index
    return DeviceTensor(
        value.data_ptr(),
        tuple(value.shape),
        dtype_of(str(value.dtype).removeprefix("torch.")),
        torch.cuda.current_stream(ordinal).cuda_stream,
        value,
        "torch",
        ordinal,
    )


def _from_interface(name: str, value: Any, interface: dict[str, Any]) -> DeviceTensor:
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None and tuple(strides) != _dense(shape, dtype.itemsize):
        raise InputError(
            f"expected a contiguous tensor as input {name!r}, got strides {strides}",
            fix="make it contiguous first",
        )
    if interface.get("mask") is not None:
        raise InputError(f"expected input {name!r} without a mask")
    is_cupy = type(value).__module__.partition(".")[0] == "cupy"
    return DeviceTensor(
        int(interface["data"][0]),
        shape,
        dtype,
        interface.get("stream"),
        value,
        "cupy" if is_cupy else "",
        int(value.device.id) if is_cupy else None,
    )


def _dense(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The strides of a contiguous array, in bytes."""
    strides: list[int] = []
    for extent in reversed(shape):
        strides.append(itemsize)
        itemsize *= extent
    return tuple(reversed(strides))


def stream_handle(stream: Any) -> int:
    """The handle of a CUDA stream: an integer, or a stream of torch, CuPy, PyCUDA or
    `cuda.core`.

    Raises:
        InputError: it is none of them.
    """
    if isinstance(stream, int):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for attribute in ("cuda_stream", "ptr", "handle"):
        if (handle := getattr(stream, attribute, None)) is not None:
            return int(handle)
    raise InputError(f"expected a CUDA stream, got {type(stream).__name__}")


def new_torch_tensor(
    shape: tuple[int, ...], dtype: np.dtype[Any], ordinal: int, stream: int
) -> tuple[Any, int]:
    """An empty torch tensor that is first used on `stream`, and its address."""
    torch: Any = sys.modules["torch"]
    kind, device = getattr(torch, dtype.name), torch.device("cuda", ordinal)
    if torch.cuda.current_stream(ordinal).cuda_stream == stream:
        tensor = torch.empty(shape, dtype=kind, device=device)
    else:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream, device)):
            tensor = torch.empty(shape, dtype=kind, device=device)
    return tensor, tensor.data_ptr()


def new_cupy_array(
    shape: tuple[int, ...], dtype: np.dtype[Any], ordinal: int, stream: int
) -> tuple[Any, int]:
    """An empty CuPy array that is first used on `stream`, and its address."""
    cupy: Any = sys.modules["cupy"]
    with cupy.cuda.Device(ordinal), cupy.cuda.ExternalStream(stream):
        array = cupy.empty(shape, dtype)
    return array, array.data.ptr


LIBRARIES = {"torch": new_torch_tensor, "cupy": new_cupy_array}
"""How each library makes an output."""
