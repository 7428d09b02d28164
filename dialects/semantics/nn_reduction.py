"""Meaning of reductions, pooling and running sums: sums in f64."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepwell.dialects import nn

from .environment import Array, Environment, Table, is_float_array, wide
from .nn_contraction import from_channels_first, to_channels_first, windows


def lowest(x: Array) -> Any:
    """The value that loses every maximum, in the dtype of x."""
    if x.dtype == np.bool_:
        return False
    return np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf


def highest(x: Array) -> Any:
    """The value that loses every minimum, in the dtype of x."""
    if x.dtype == np.bool_:
        return True
    return np.iinfo(x.dtype).max if x.dtype.kind in "iu" else np.inf


def reduce_array(x: Array, kind: str, axes: tuple[int, ...], keepdims: bool) -> Array:
    """`nn.reduce` on a wide array; integer sums wrap, integer means truncate."""
    if not axes:
        return x
    match kind:
        case "max":
            return np.max(x, axes, keepdims=keepdims, initial=lowest(x))
        case "min":
            return np.min(x, axes, keepdims=keepdims, initial=highest(x))
        case "any":
            return np.any(x, axes, keepdims=keepdims)
        case "all":
            return np.all(x, axes, keepdims=keepdims)
        case "mean":
            return np.mean(x, axes, keepdims=keepdims)
        case "prod":
            return np.prod(x, axes, keepdims=keepdims, dtype=x.dtype)
        case _:
            return np.sum(x, axes, keepdims=keepdims, dtype=x.dtype)


def _reduce(environment: Environment, op: nn.ReduceOp, x: Array) -> Array:
    axes = tuple(axis % x.ndim for axis in op.value("axes"))
    return reduce_array(wide(x), op.value("kind"), axes, op.value("keepdims"))


def _arg_reduce(environment: Environment, op: nn.ArgReduceOp, x: Array) -> Array:
    x, axis = wide(x), op.value("axis")
    find = np.argmax if op.value("kind") == "max" else np.argmin
    if not op.value("select_last"):
        return np.asarray(find(x, axis, keepdims=op.value("keepdims")))
    found = find(np.flip(x, axis), axis, keepdims=op.value("keepdims"))
    return x.shape[axis] - 1 - found


def _pool_windows(environment: Environment, op: nn.NnOp, x: Array, fill: Any) -> Array:
    """The windows of a channels-first input, flattened: `[N, C, out.., kernel]`."""
    last, kernel = op.value("channels_last"), op.value("kernel")
    shape = environment.shape(op.results[0].type)
    counts = shape[1:-1] if last else shape[2:]
    low = environment.sizes(op.value("pads"))[: len(kernel)]
    view = windows(
        x, kernel, op.value("strides"), op.value("dilations"), low, counts, fill
    )
    return view.reshape(*view.shape[: x.ndim], -1)


def _max_pool(environment: Environment, op: nn.MaxPoolOp, x: Array) -> Array:
    last = op.value("channels_last")
    x = wide(to_channels_first(x, last))
    return from_channels_first(
        _pool_windows(environment, op, x, lowest(x)).max(-1), last
    )


def _max_pool_indices(
    environment: Environment, op: nn.MaxPoolIndicesOp, x: Array
) -> Array:
    last = op.value("channels_last")
    x = wide(to_channels_first(x, last))
    values = _pool_windows(environment, op, x, lowest(x))
    spatial = x.shape[2:]
    order = "F" if op.value("storage_order") else "C"
    places = np.arange(int(np.prod(spatial))).reshape(spatial, order=order)
    inside = _pool_windows(environment, op, np.broadcast_to(places + 1, x.shape), 0)
    best = np.where(inside > 0, values, lowest(x)).argmax(-1)
    flat = np.take_along_axis(inside, best[..., None], -1)[..., 0] - 1
    maps = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(spatial))
    return from_channels_first(flat + maps * places.size, last)


def _avg_pool(environment: Environment, op: nn.AvgPoolOp, x: Array) -> Array:
    last = op.value("channels_last")
    x = wide(to_channels_first(x, last))
    total = _pool_windows(environment, op, x, 0).sum(-1)
    pads = environment.sizes(op.value("pads"))
    rank = len(pads) // 2
    if op.value("count_include_pad"):
        spans = [size + pads[i] + pads[i + rank] for i, size in enumerate(x.shape[2:])]
        shift = (0,) * rank
    else:
        spans, shift = list(x.shape[2:]), pads[:rank]
    counted = windows(
        np.ones((1, 1, *spans)),
        op.value("kernel"),
        op.value("strides"),
        op.value("dilations"),
        shift,
        total.shape[2:],
        0,
    )
    count = counted.reshape(*counted.shape[: x.ndim], -1).sum(-1)
    return from_channels_first(total / np.maximum(count, 1), last)


def _lp_pool(environment: Environment, op: nn.LpPoolOp, x: Array) -> Array:
    last, p = op.value("channels_last"), op.value("p")
    x = wide(to_channels_first(x, last))
    powers = np.abs(_pool_windows(environment, op, x, 0)) ** p
    return from_channels_first(powers.sum(-1) ** (1 / p), last)


def _cumulative(environment: Environment, op: nn.CumulativeOp, x: Array) -> Array:
    axis = op.value("axis") % x.ndim
    dtype = None if is_float_array(x) else x.dtype
    x = wide(x)
    if op.value("reverse"):
        x = np.flip(x, axis)
    is_sum = op.value("kind") == "sum"
    if op.value("exclusive"):
        first = np.full_like(np.take(x, [0] if x.shape[axis] else [], axis), not is_sum)
        kept = np.take(x, np.arange(x.shape[axis] - 1), axis) if x.shape[axis] else x
        x = np.concatenate([first, kept], axis)
    run = np.cumsum if is_sum else np.cumprod
    y = run(x, axis, dtype=dtype)
    return np.flip(y, axis) if op.value("reverse") else y


TABLE: Table = {
    nn.ReduceOp: _reduce,
    nn.ArgReduceOp: _arg_reduce,
    nn.MaxPoolOp: _max_pool,
    nn.MaxPoolIndicesOp: _max_pool_indices,
    nn.AvgPoolOp: _avg_pool,
    nn.LpPoolOp: _lp_pool,
    nn.CumulativeOp: _cumulative,
}
