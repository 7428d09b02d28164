"""DLPack capsules of tensors on a GPU, read through their C structure (dlpack.h)."""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

from stepwell.errors import InputError

CUDA = 2  # kDLCUDA
LEGACY_STREAM = 1
"""The default stream, as `__dlpack__` wants it named."""

_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}


class _Tensor(ctypes.Structure):
    """DLTensor, which a DLManagedTensor begins with."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def from_dlpack(
    name: str, value: Any
) -> tuple[int, tuple[int, ...], np.dtype[Any], int]:
    """Address, shape, dtype and device of a contiguous tensor on a GPU.

    The memory stays the tensor's own: keep `value`. It is ready for the default stream.

    Raises:
        InputError: the tensor is strided, or of a type that is not known.
    """
    try:
        capsule = value.__dlpack__(stream=LEGACY_STREAM)
        pointer = _pointer_of(capsule, b"dltensor")
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"cannot read input {name!r} through DLPack", notes=[str(error)]
        ) from None
    tensor = _Tensor.from_address(pointer)
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    if tensor.strides:
        strides = tuple(tensor.strides[i] for i in range(tensor.ndim))
        _require_dense(name, shape, strides)
    dtype = _dtype(name, tensor.code, tensor.bits, tensor.lanes)
    address = (tensor.data or 0) + tensor.byte_offset
    return address, shape, dtype, tensor.device_id


def _dtype(name: str, code: int, bits: int, lanes: int) -> np.dtype[Any]:
    kind = _KINDS.get(code)
    if kind == "bfloat" and bits == 16:
        return np.dtype(ml_dtypes.bfloat16)
    if kind in (None, "bfloat") or lanes != 1:
        raise InputError(f"expected an element type of input {name!r}, got {code}")
    return np.dtype("bool" if kind == "bool" else f"{kind}{bits}")


def _require_dense(name: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    expected = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent > 1 and stride != expected:
            raise InputError(
                f"expected a contiguous tensor as input {name!r}, "
                f"got strides {strides}",
                fix="make it contiguous first",
            )
        expected *= extent
