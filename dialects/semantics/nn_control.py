"""Meaning of branches and loops: their regions run on the same interpreter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stepwell.dialects import nn
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import DimExpr, dims_of, element_of

from .environment import Array, Environment, Table


def _if(environment: Environment, op: nn.IfOp, condition: Array) -> tuple[Array, ...]:
    region = op.then_region if bool(condition.reshape(())) else op.else_region
    with environment.scope():
        return environment.run(region, ())


def _loop(
    environment: Environment,
    op: nn.LoopOp,
    trip_count: Array | None,
    condition: Array | None,
    initial: list[Array],
) -> tuple[Array, ...]:
    most = None if trip_count is None else int(trip_count.reshape(()))
    goes_on = condition is None or bool(condition.reshape(()))
    carried = tuple(initial)
    scans: list[list[Array]] = [[] for _ in op.results[len(initial) :]]
    turn = 0
    while goes_on and (most is None or turn < most):
        with environment.scope():
            values = environment.run(op.body, (np.array(turn), *carried))
        flag, *rest = values
        goes_on = bool(flag.reshape(()))
        carried = tuple(rest[: len(initial)])
        for scan, value in zip(scans, rest[len(initial) :], strict=True):
            scan.append(value)
        turn += 1
    stacked = [
        np.stack(scan) if scan else _empty(environment, result.type)
        for scan, result in zip(scans, op.results[len(initial) :], strict=True)
    ]
    return (*carried, *stacked)


def _empty(environment: Environment, kind: object, axis: int = 0) -> Array:
    """A scan output of no turns: 0 along the axis, unknown dims 0 too."""
    dims = dims_of(kind)  # pyright: ignore[reportArgumentType]
    shape = [
        0
        if i == axis or (isinstance(dim, DimExpr) and not environment.is_bound(dim))
        else environment.size(dim)
        for i, dim in enumerate(dims)
    ]
    dtype = numpy_dtype(element_of(kind))  # pyright: ignore[reportArgumentType]
    return np.zeros(shape, dtype=dtype)


def _scan(
    environment: Environment, op: nn.ScanOp, initial: list[Array], inputs: list[Array]
) -> tuple[Array, ...]:
    sequences = [
        _along(x, axis, bool(reverse))
        for x, axis, reverse in zip(
            inputs, op.value("input_axes"), op.value("reverse_inputs"), strict=True
        )
    ]
    states = tuple(initial)
    outputs: list[list[Array]] = [[] for _ in op.results[len(initial) :]]
    for slices in zip(*sequences, strict=True):
        with environment.scope():
            values = environment.run(op.body, (*states, *slices))
        states = tuple(values[: len(initial)])
        for output, value in zip(outputs, values[len(initial) :], strict=True):
            output.append(value)
    return (*states, *_stack(environment, op, outputs))


def _along(x: Array, axis: int, reverse: bool) -> Array:
    moved = np.moveaxis(x, axis, 0)
    return moved[::-1] if reverse else moved


def _stack(
    environment: Environment, op: nn.ScanOp, outputs: Sequence[list[Array]]
) -> list[Array]:
    results = op.results[len(op.initial) :]
    axes, reversals = op.value("output_axes"), op.value("reverse_outputs")
    stacked: list[Array] = []
    for values, result, axis, reverse in zip(
        outputs, results, axes, reversals, strict=True
    ):
        axis = axis % len(dims_of(result))
        ordered = values[::-1] if reverse else values
        empty = _empty(environment, result.type, axis)
        stacked.append(np.stack(ordered, axis) if ordered else empty)
    return stacked


TABLE: Table = {nn.IfOp: _if, nn.LoopOp: _loop, nn.ScanOp: _scan}
