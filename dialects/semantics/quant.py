"""Meaning of the `quant` ops: exact integers, divisions in f32."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepwell.dialects import quant
from stepwell.dialects.dtypes import numpy_dtype

from .environment import Array, Environment, Table, wide
from .nn_contraction import convolve
from .nn_elementwise import convert, integer_limits, is_float8


def spread(values: Array, shape: tuple[int, ...], axis: int, block_size: int) -> Array:
    """Scales or zero points broadcast to the elements they belong to."""
    if values.size == 1 and values.ndim <= 1:
        return values.reshape(())
    axis %= len(shape)
    if block_size:
        return np.repeat(values, block_size, axis).take(np.arange(shape[axis]), axis)
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def _quantize(
    environment: Environment,
    op: quant.QuantizeOp,
    x: Array,
    scale: Array,
    zero_point: Array | None,
) -> Array:
    axis, block = op.value("axis"), op.value("block_size")
    precise = np.float64 if x.dtype == np.float64 else np.float32
    steps = x.astype(precise) / spread(scale.astype(precise), x.shape, axis, block)
    dtype = numpy_dtype(op.to)
    if is_float8(dtype) or dtype.name.startswith(("float4", "float6")):
        return convert(steps, dtype, op.value("saturate"))
    points: Any = 0
    if zero_point is not None:
        points = spread(wide(zero_point).astype(np.int64), x.shape, axis, block)
    low, high = integer_limits(dtype)
    return np.clip(np.rint(steps).astype(np.float64) + points, low, high).astype(
        np.int64
    )


def _dequantize(
    environment: Environment,
    op: quant.DequantizeOp,
    x: Array,
    scale: Array,
    zero_point: Array | None,
) -> Array:
    axis, block = op.value("axis"), op.value("block_size")
    stored = wide(x).astype(np.float64)
    if zero_point is not None:
        stored = stored - spread(wide(zero_point), x.shape, axis, block)
    return stored * spread(wide(scale), x.shape, axis, block)


def _dynamic_quantize(
    environment: Environment, op: quant.DynamicQuantizeOp, x: Array
) -> tuple[Array, ...]:
    low = np.minimum(x.min(initial=0), np.float32(0))
    high = np.maximum(x.max(initial=0), np.float32(0))
    scale = np.float32((high - low) / np.float32(255))
    scale = scale if scale > 0 else np.float32(1)
    point = np.clip(np.rint(-low / scale), 0, 255).astype(np.uint8)
    y = np.clip(np.rint(x / scale) + point.astype(np.float32), 0, 255)
    return y.astype(np.uint8), np.asarray(scale), np.asarray(point)


def _less_zero(x: Array, zero: Array | None, shape: tuple[int, ...]) -> Array:
    x = wide(x).astype(np.int64)
    if zero is None:
        return x
    points = wide(zero).astype(np.int64)
    return x - (points.reshape(shape) if points.ndim == 1 else points)


def _matmul_integer(
    environment: Environment,
    op: quant.MatmulIntegerOp,
    a: Array,
    b: Array,
    a_zero: Array | None,
    b_zero: Array | None,
) -> Array:
    rows = (-1, 1) if a.ndim > 1 else (-1,)
    product = np.matmul(_less_zero(a, a_zero, rows), _less_zero(b, b_zero, (-1,)))
    return product.astype(np.int32)


def _conv_integer(
    environment: Environment,
    op: quant.ConvIntegerOp,
    x: Array,
    w: Array,
    x_zero: Array | None,
    w_zero: Array | None,
) -> Array:
    counts = environment.shape(op.result.type)[2:]
    filters = _less_zero(w, w_zero, (-1, *[1] * (w.ndim - 1)))
    y = convolve(
        _less_zero(x, None if x_zero is None else x_zero.reshape(()), ()),
        filters,
        op.value("strides"),
        op.value("dilations"),
        environment.sizes(op.value("pads"))[: len(counts)],
        counts,
        op.value("groups"),
    )
    return y.astype(np.int32)


QUANT_SEMANTICS: Table = {
    quant.QuantizeOp: _quantize,
    quant.DequantizeOp: _dequantize,
    quant.DynamicQuantizeOp: _dynamic_quantize,
    quant.ObserveOp: lambda environment, op, x: x,
    quant.MatmulIntegerOp: _matmul_integer,
    quant.ConvIntegerOp: _conv_integer,
}
"""What each `quant` op computes."""
