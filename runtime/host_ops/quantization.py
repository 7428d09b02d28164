"""Quantized storage of types that kernels do not hold: 4 bits and fewer, float8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from stepwell.runtime.dtypes import dtype_of

from .casting import convert
from .values import NARROW_INTEGERS, Array, HostOp, is_float, wide


def spread(values: Array, shape: tuple[int, ...], axis: int, block_size: int) -> Array:
    """Scales or zero points broadcast to the elements they belong to."""
    if values.size == 1 and values.ndim <= 1:
        return values.reshape(())
    axis %= len(shape)
    if block_size:
        return np.repeat(values, block_size, axis).take(np.arange(shape[axis]), axis)
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def quantize(
    x: Array,
    scale: Array,
    zero_point: Array | None = None,
    *,
    dtype: str,
    axis: int,
    block_size: int,
    saturate: bool,
    to: str,
) -> list[Array]:
    """`round(x / scale) + zero_point`, saturated; ONNX QuantizeLinear."""
    target = dtype_of(dtype)
    precise = np.float64 if x.dtype == np.float64 else np.float32
    steps = x.astype(precise) / spread(scale.astype(precise), x.shape, axis, block_size)
    if is_float(target):
        return [convert(steps, target, saturate)]
    points: Any = 0
    if zero_point is not None:
        points = spread(wide(zero_point).astype(np.int64), x.shape, axis, block_size)
    narrow = target in NARROW_INTEGERS
    info = ml_dtypes.iinfo(target) if narrow else np.iinfo(target)
    low, high = int(info.min), int(info.max)
    whole = np.clip(np.rint(steps).astype(np.float64) + points, low, high)
    return [convert(whole.astype(np.int64), target)]


def dequantize(
    x: Array,
    scale: Array,
    zero_point: Array | None = None,
    *,
    dtype: str,
    axis: int,
    block_size: int,
) -> list[Array]:
    """`(x - zero_point) * scale`; ONNX DequantizeLinear."""
    stored = wide(x).astype(np.float64)
    if zero_point is not None:
        stored = stored - spread(wide(zero_point), x.shape, axis, block_size)
    y = stored * spread(wide(scale), x.shape, axis, block_size)
    return [y.astype(dtype_of(dtype))]


QUANTIZATION: Mapping[str, HostOp] = {
    "quant.dequantize": dequantize,
    "quant.quantize": quantize,
}
