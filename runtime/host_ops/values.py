"""What the host functions share: types, and the precision to compute in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
HostOp: TypeAlias = Callable[..., Sequence[Array]]

NARROW_INTEGERS = frozenset(
    np.dtype(kind)
    for kind in (ml_dtypes.int2, ml_dtypes.int4, ml_dtypes.uint2, ml_dtypes.uint4)
)


def wide(array: Array) -> Array:
    """The array in a dtype that NumPy computes in: f64, complex, or an integer."""
    dtype = array.dtype
    if dtype.kind in "biuc" or dtype == np.object_:
        return array
    if dtype in NARROW_INTEGERS:
        return array.astype(np.int32)
    return array.astype(np.float64)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether it is a real floating-point type of any width."""
    is_ml_float = dtype.kind == "V" and dtype not in NARROW_INTEGERS
    return dtype.kind == "f" or is_ml_float


def scalar(value: Array | None, default: float) -> Any:
    """The one element of an array, as a number."""
    if value is None or value.size == 0:
        return default
    return wide(value).reshape(-1)[0].item()
