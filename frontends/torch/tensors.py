"""Tensors and dtypes of PyTorch as arrays and element types of the IR."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from xdsl.ir import Attribute

from stepwell.dialects.dtypes import element_type, numpy_dtype
from stepwell.errors import UnsupportedError

_NUMPY: dict[torch.dtype, Any] = {
    torch.bool: np.bool_,
    torch.uint8: np.uint8,
    torch.uint16: np.uint16,
    torch.uint32: np.uint32,
    torch.uint64: np.uint64,
    torch.int8: np.int8,
    torch.int16: np.int16,
    torch.int32: np.int32,
    torch.int64: np.int64,
    torch.float16: np.float16,
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.bfloat16: ml_dtypes.bfloat16,
    torch.float8_e4m3fn: ml_dtypes.float8_e4m3fn,
    torch.float8_e4m3fnuz: ml_dtypes.float8_e4m3fnuz,
    torch.float8_e5m2: ml_dtypes.float8_e5m2,
    torch.float8_e5m2fnuz: ml_dtypes.float8_e5m2fnuz,
    torch.complex64: np.complex64,
    torch.complex128: np.complex128,
}
_ELEMENTS = {dtype: element_type(kind) for dtype, kind in _NUMPY.items()}
_DTYPES = {element: dtype for dtype, element in _ELEMENTS.items()}


def element_of_dtype(dtype: torch.dtype) -> Attribute:
    """The element type of a torch dtype.

    Raises:
        UnsupportedError: the IR has none.
    """
    if (element := _ELEMENTS.get(dtype)) is None:
        raise UnsupportedError(f"expected a dtype of the IR, got {dtype}")
    return element


def dtype_of_element(element: Attribute) -> torch.dtype:
    """The torch dtype of an element type."""
    return _DTYPES[element]


def to_numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The elements of a tensor, row-major and read-only.

    They are not copied if they lie on the CPU in that order already.

    Raises:
        UnsupportedError: it has no storage to read, or a dtype that the IR lacks.
    """
    dtype = numpy_dtype(element_of_dtype(tensor.dtype))
    if tensor.is_meta or tensor.layout != torch.strided:
        where = "meta device" if tensor.is_meta else f"layout {tensor.layout}"
        raise UnsupportedError(f"expected a weight in memory, got one of {where}")
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    row = plain.as_strided((plain.numel(),), (1,))  # also where a dim of 1 has a stride
    array = row.view(torch.uint8).numpy().view(dtype).reshape(tuple(tensor.shape))
    array.flags.writeable = False
    return array
