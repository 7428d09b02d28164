"""Meaning of the ops that move elements, and of constants and dims."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepwell.dialects import nn
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import element_of
from stepwell.dialects.weights import decode_array
from stepwell.errors import ShapeError

from .environment import Array, Environment, Table, round_to, wide
from .nn_contraction import fit


def _constant(environment: Environment, op: nn.ConstantOp) -> Array:
    kind: Any = op.result.type
    return decode_array(op.value_attr, kind, environment.weights)


def _dim_value(environment: Environment, op: nn.DimValueOp) -> Array:
    return np.array(*environment.sizes(op.value("dim")), dtype=np.int64)


def _bind_symbols(
    environment: Environment, op: nn.BindSymbolsOp, x: Array
) -> tuple[()]:
    for name, size in zip(op.value("symbols"), wide(x).reshape(-1), strict=True):
        environment.symbols[name] = int(size)
    return ()


_RELATIONS = {
    "eq": lambda a, b: a == b,
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
}


def _assert_dims(environment: Environment, op: nn.AssertDimsOp) -> tuple[()]:
    left, right = op.value("left"), op.value("right")
    for a, b in zip(left, right, strict=True):
        first, second = environment.size(a), environment.size(b)
        if not _RELATIONS[op.value("predicate")](first, second):
            raise ShapeError(
                op.value("message"), notes=[f"{a} is {first}, {b} is {second}"]
            )
    return ()


def _iota(environment: Environment, op: nn.IotaOp) -> Array:
    shape = environment.shape(op.result.type)
    axis = op.value("axis") % len(shape)
    index = np.arange(shape[axis]).reshape(
        [-1 if i == axis else 1 for i in range(len(shape))]
    )
    return np.broadcast_to(round_to(index, numpy_dtype(element_of(op.result))), shape)


def _reshape(environment: Environment, op: nn.ReshapeOp, x: Array) -> Array:
    return x.reshape(environment.shape(op.result.type))


def _transpose(environment: Environment, op: nn.TransposeOp, x: Array) -> Array:
    return x.transpose(op.value("perm"))


def _broadcast_to(environment: Environment, op: nn.BroadcastToOp, x: Array) -> Array:
    return np.broadcast_to(x, environment.shape(op.result.type))


def _concat(environment: Environment, op: nn.ConcatOp, inputs: list[Array]) -> Array:
    return np.concatenate(inputs, op.value("axis"))


def _slice(environment: Environment, op: nn.SliceOp, x: Array) -> Array:
    starts = environment.sizes(op.value("starts"))
    limits = environment.sizes(op.value("limits"))
    index = [
        slice(start, None if limit < 0 else limit, step)
        for start, limit, step in zip(starts, limits, op.value("steps"), strict=True)
    ]
    return x[tuple(index)]


def _pad(environment: Environment, op: nn.PadOp, x: Array, fill: Array | None) -> Array:
    low = environment.sizes(op.value("low"))
    high = environment.sizes(op.value("high"))
    shape = [sum(sizes) for sizes in zip(x.shape, low, high, strict=True)]
    if op.value("mode") == "constant":
        value = "" if x.dtype == np.object_ else 0
        value = value if fill is None else np.asarray(fill).reshape(())[()]
        return fit(x, low, shape, value)
    widths = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
    index = np.meshgrid(
        *[
            _padded_index(size, *width, op.value("mode"))
            for size, width in zip(x.shape, widths, strict=True)
        ],
        indexing="ij",
        sparse=True,
    )
    y = x[tuple(index)]
    keep = [
        slice(max(-a, 0), size - max(-b, 0))
        for a, b, size in zip(low, high, y.shape, strict=True)
    ]
    return y[tuple(keep)]


def _padded_index(size: int, low: int, high: int, mode: str) -> Array:
    index = np.arange(-low, size + high)
    if mode == "edge" or size == 1:
        return np.clip(index, 0, size - 1)
    if mode == "wrap":
        return index % size
    period = 2 * (size - 1)
    index = np.abs(index) % period
    return np.where(index >= size, period - index, index)


def _checked(indices: Array, size: int, what: str) -> Array:
    """Indices counted from the front; raises where outside."""
    indices = wide(indices).astype(np.int64)
    if np.any((indices < -size) | (indices >= size)):
        raise ShapeError(f"expected indices of {what} in [{-size}, {size})")
    return np.where(indices < 0, indices + size, indices)


def _gather(
    environment: Environment, op: nn.GatherOp, x: Array, indices: Array
) -> Array:
    axis = op.value("axis") % x.ndim
    return np.take(x, _checked(indices, x.shape[axis], "nn.gather"), axis)


def _gather_elements(
    environment: Environment, op: nn.GatherElementsOp, x: Array, indices: Array
) -> Array:
    axis = op.value("axis") % x.ndim
    places = _element_places(_checked(indices, x.shape[axis], op.name), axis)
    return x[places]


def _element_places(indices: Array, axis: int) -> tuple[Array, ...]:
    grid = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
    grid[axis] = indices
    return tuple(grid)


def _tuple_places(
    indices: Array, shape: tuple[int, ...], batch: int
) -> tuple[Array, ...]:
    """Coordinates per batch dim and index tuple, shaped like the tuples."""
    lead = indices.shape[:-1]
    grid = np.ogrid[tuple(slice(size) for size in lead[:batch])] if batch else []
    places = [part.reshape(*part.shape, *[1] * (len(lead) - batch)) for part in grid]
    for depth in range(indices.shape[-1]):
        places.append(_checked(indices[..., depth], shape[batch + depth], "tuples"))
    return tuple(places)


def _gather_nd(
    environment: Environment, op: nn.GatherNdOp, x: Array, indices: Array
) -> Array:
    places = _tuple_places(indices, x.shape, op.value("batch_dims"))
    return x[places] if places else x


_SCATTER = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatter(x: Array, places: Any, updates: Array, kind: str) -> Array:
    if kind == "none":
        y = x.copy()
        y[places] = updates
        return y
    y = wide(x).copy()
    _SCATTER[kind].at(y, places, wide(updates))
    return y


def _scatter_elements(
    environment: Environment,
    op: nn.ScatterElementsOp,
    x: Array,
    indices: Array,
    updates: Array,
) -> Array:
    axis = op.value("axis") % x.ndim
    places = _element_places(_checked(indices, x.shape[axis], op.name), axis)
    return _scatter(x, places, updates, op.value("reduction"))


def _scatter_nd(
    environment: Environment,
    op: nn.ScatterNdOp,
    x: Array,
    indices: Array,
    updates: Array,
) -> Array:
    places = _tuple_places(indices, x.shape, 0)
    return _scatter(x, places or (...,), updates, op.value("reduction"))


def _reverse_sequence(
    environment: Environment, op: nn.ReverseSequenceOp, x: Array, lengths: Array
) -> Array:
    batch, time = op.value("batch_axis") % x.ndim, op.value("time_axis") % x.ndim
    moved = np.moveaxis(x, (batch, time), (0, 1))
    steps = np.arange(moved.shape[1])
    ends = wide(lengths).astype(np.int64)[:, None]
    index = np.where(steps < ends, ends - 1 - steps, steps)
    y = moved[np.arange(moved.shape[0])[:, None], index]
    return np.moveaxis(y, (0, 1), (batch, time))


TABLE: Table = {
    nn.ConstantOp: _constant,
    nn.DimValueOp: _dim_value,
    nn.BindSymbolsOp: _bind_symbols,
    nn.AssertDimsOp: _assert_dims,
    nn.IotaOp: _iota,
    nn.ReshapeOp: _reshape,
    nn.TransposeOp: _transpose,
    nn.BroadcastToOp: _broadcast_to,
    nn.ConcatOp: _concat,
    nn.SliceOp: _slice,
    nn.PadOp: _pad,
    nn.GatherOp: _gather,
    nn.GatherElementsOp: _gather_elements,
    nn.GatherNdOp: _gather_nd,
    nn.ScatterElementsOp: _scatter_elements,
    nn.ScatterNdOp: _scatter_nd,
    nn.ReverseSequenceOp: _reverse_sequence,
}
