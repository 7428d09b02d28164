"""Tensors made of nothing: constants, ranges, identities."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64, is_float, numpy_dtype
from stepwell.dialects.shapes import Dim, DimExpr, dims_of, element_of
from stepwell.frontends.described import described
from stepwell.frontends.emit import broadcast, cast, reshape, value
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Build, Output, Rules

from .rows import filled


def full(call: Call, _: Any, number: Any, *__: Any) -> SSAValue:
    """A shape filled with one number."""
    if isinstance(number, SSAValue):
        return broadcast(cast(number, call.element()), call.dims())
    return filled(call, number)


def new_full(call: Call, _: Any, size: Any, number: Any, *__: Any) -> SSAValue:
    """A shape filled with one number."""
    return full(call, size, number)


def constant(number: float) -> Build:
    """A shape filled with `number`."""

    def build(call: Call, *_: Any) -> SSAValue:
        return filled(call, number)

    return described(build, f"A shape filled with {number}.")


def scalar_tensor(call: Call, number: Dim | float, *_: Any) -> SSAValue:
    """A number as a 0-d tensor."""
    return call.scalar(number, call.element())


def arange(call: Call, start: Any, end: Any, step: Any = 1, *_: Any) -> SSAValue:
    """Numbers from `start` by `step`."""
    element, dims = call.element(), call.dims()
    is_known = not any(isinstance(each, DimExpr) for each in (start, step, *dims))
    if is_known and isinstance(dims[0], int) and dims[0] <= SMALL:
        numbers = start + np.arange(dims[0]) * step
        return call.builder.constant(numbers.astype(numpy_dtype(element)))
    counts = value(nn.IotaOp(dims, i64))
    if is_float(element) or isinstance(step, float):
        counts = cast(counts, element)
    kind = element_of(counts)
    if step != 1:
        counts = value(nn.MulOp(counts, call.scalar(step, kind)))
    if start != 0:
        counts = value(nn.AddOp(counts, call.scalar(start, kind)))
    return cast(counts, element)


SMALL = 256
"""Elements up to which a range is a constant of the IR."""


def arange_to(call: Call, end: Any, *_: Any) -> SSAValue:
    """Numbers from 0 by 1."""
    return arange(call, 0, end)


def arange_from(call: Call, start: Any, end: Any, *_: Any) -> SSAValue:
    """Numbers from `start` by 1."""
    return arange(call, start, end)


def linspace(call: Call, start: float, end: float, steps: int, *_: Any) -> SSAValue:
    """Evenly spaced numbers, ends included."""
    (count,), element = call.dims(), call.element()
    if not isinstance(count, int):
        raise call.unsupported(f"linspace of {count} steps")
    numbers = np.linspace(start, end, count).astype(numpy_dtype(element))
    return call.builder.constant(numbers)


def rows_and_columns(rows: Dim, columns: Dim) -> tuple[SSAValue, SSAValue]:
    """The row and the column of each place of a matrix, to broadcast."""
    return value(nn.IotaOp((rows, 1), i64)), value(nn.IotaOp((1, columns), i64, axis=1))


def triangle(predicate: str) -> Build:
    """`tril` or `triu`: 0 on the other side of a diagonal."""

    def build(call: Call, x: SSAValue, diagonal: Dim = 0) -> Operation:
        row, column = rows_and_columns(*dims_of(x)[-2:])
        if diagonal != 0:
            row = value(nn.AddOp(row, call.scalar(diagonal, i64)))
        keep = nn.CompareOp(column, row, predicate=predicate)
        return nn.SelectOp(keep, x, call.scalar(0, element_of(x)))

    return described(build, "A select by row and column.")


def eye(call: Call, *_: Any) -> SSAValue:
    """Ones on the diagonal."""
    row, column = rows_and_columns(*call.dims())
    return cast(value(nn.CompareOp(row, column, predicate="eq")), call.element())


def diagonal(
    call: Call, x: SSAValue, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Output:
    """The elements on a diagonal of two dims, as the last dim."""
    sizes, rank = dims_of(x), len(dims_of(x))
    first, second = dim1 % rank, dim2 % rank
    kept = [i for i in range(rank) if i not in (first, second)]
    moved = value(nn.TransposeOp(x, [*kept, first, second]))
    count = call.dims()[-1]
    outer = [sizes[i] for i in kept]
    width = sizes[second]
    flat = reshape(moved, [*outer, sizes[first] * width])
    begin = offset if offset >= 0 else width * -offset
    steps = value(nn.MulOp(nn.IotaOp([count], i64), call.scalar(width + 1, i64)))
    if begin != 0:
        steps = value(nn.AddOp(steps, call.scalar(begin, i64)))
    return nn.GatherOp(flat, steps, axis=len(outer))


def triangle_indices(pick: Any) -> Build:
    """The coordinates of the elements of a triangle."""

    def build(
        call: Call, rows: int, columns: int, offset: int = 0, *_: Any
    ) -> SSAValue:
        found = np.stack(pick(rows, offset, columns))
        return call.builder.constant(found.astype(numpy_dtype(call.element())))

    return described(build, "A constant.")


RULES: Rules = {
    "aten.tril_indices.default": triangle_indices(np.tril_indices),
    "aten.triu_indices.default": triangle_indices(np.triu_indices),
    "aten.full.default": full,
    "aten.full_like.default": full,
    "aten.new_full.default": new_full,
    "aten.fill.Scalar": full,
    "aten.fill.Tensor": full,
    **{
        f"aten.{prefix}{name}{suffix}.default": constant(number)
        for name, number in (("zeros", 0), ("ones", 1), ("empty", 0))
        for prefix, suffix in (("", ""), ("", "_like"), ("new_", ""))
        if (prefix, name) != ("", "empty") or suffix
    },
    "aten.empty.memory_format": constant(0),
    "aten.empty_permuted.default": constant(0),
    "aten.empty_strided.default": constant(0),
    "aten.new_empty_strided.default": constant(0),
    "aten.scalar_tensor.default": scalar_tensor,
    "aten.arange.default": arange_to,
    "aten.arange.start": arange_from,
    "aten.arange.start_step": arange,
    "aten.linspace.default": linspace,
    "aten.tril.default": triangle("le"),
    "aten.triu.default": triangle("ge"),
    "aten.eye.default": eye,
    "aten.eye.m": eye,
    "aten.diagonal.default": diagonal,
}
