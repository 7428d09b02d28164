"""Conversions between element types that kernels do not read or write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from stepwell.runtime.dtypes import dtype_of

from .values import NARROW_INTEGERS, Array, HostOp, is_float, wide

_POWER_OF_TWO = np.dtype(ml_dtypes.float8_e8m0fnu)


def cast(
    x: Array, dtype: str, to: str, saturate: bool = True, round_mode: str = "up"
) -> list[Array]:
    """ONNX Cast; out of range as `nn.cast` says."""
    return [convert(x, dtype_of(dtype), saturate, round_mode)]


def convert(
    x: Array, dtype: np.dtype[Any], saturate: bool = True, round_mode: str = "up"
) -> Array:
    """`x` in another element type."""
    if x.dtype == dtype:
        return x
    if x.dtype == np.object_ or dtype == np.object_:
        return _convert_strings(x, dtype)
    if dtype == np.bool_:
        return wide(x) != 0
    if dtype == _POWER_OF_TWO:
        return _to_power_of_two(wide(x), saturate, round_mode)
    if dtype in NARROW_INTEGERS:
        whole = np.trunc(wide(x)) if is_float(x.dtype) else wide(x)
        return whole.astype(np.int64).astype(np.int8).astype(dtype)
    if dtype.kind in "iu" and is_float(x.dtype):
        return _truncate(wide(x), dtype)
    if "float8" in dtype.name and saturate:
        limit = float(ml_dtypes.finfo(dtype).max)
        return np.clip(wide(x).astype(np.float64), -limit, limit).astype(dtype)
    return wide(x).astype(dtype)


def _truncate(x: Array, dtype: np.dtype[Any]) -> Array:
    """Floats to integers of 8 bits or more: toward zero, saturating, NaN is 0."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.where(np.isnan(x), 0, np.trunc(x))
    inside = np.clip(x, float(low), float(high))
    if dtype.itemsize < 8:
        return inside.astype(np.int64).astype(dtype)
    # 2**63 and 2**64 are floats, their predecessors are not.
    is_high = x >= float(high)
    return np.where(is_high, high, np.where(is_high, 0, inside).astype(dtype))


def _to_power_of_two(x: Array, saturate: bool, round_mode: str) -> Array:
    """The exponent of |x|, rounded up, down, or to the nearest (half up)."""
    mantissa, exponent = np.frexp(np.abs(x.astype(np.float32)))
    mantissa, exponent = mantissa * 2, exponent - 1
    bump = {
        "up": mantissa > 1,
        "down": np.zeros_like(mantissa, np.bool_),
        "nearest": mantissa >= 1.5,
    }[round_mode]
    exponent = np.where(x == 0, -127, exponent + bump)
    over = (exponent > 127) | np.isinf(x)
    bits = np.clip(exponent, -127, 127) + 127
    bits = np.where(over, 254 if saturate else 255, bits)
    bits = np.where(np.isnan(x), 255, bits)
    return bits.astype(np.uint8).view(_POWER_OF_TWO)


def _convert_strings(x: Array, dtype: np.dtype[Any]) -> Array:
    if dtype == np.object_:
        return x.astype(np.str_).astype(object)
    numbers = x.astype(np.str_)
    if dtype.kind in "iu" or dtype in NARROW_INTEGERS:
        return numbers.astype(np.int64).astype(dtype)
    return numbers.astype(np.float64).astype(dtype)


CASTING: Mapping[str, HostOp] = {"cast": cast}
