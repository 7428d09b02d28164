"""Integer products as float products that are exact.

A sum of products of 8-bit integers is an integer. As long as no partial sum can leave
`[-2**24, 2**24]`, f32 holds every one of them exactly, in any order of summation, and
the result is the integer, bit for bit. With constant weights the bound is known: the
largest sum of magnitudes of one output times the largest magnitude of the other
operand. Where one product is too long, the reduced dim is cut into pieces whose
results are added in i32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn, quant
from stepwell.dialects.dtypes import f32, i32, integer_limits
from stepwell.dialects.shapes import Dim, dims_of, element_of, num_elements
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern

from .affine import cast

EXACT = 2**24
"""f32 holds every integer up to here."""

MAX_PIECES = 16
"""More pieces than this and the product is left in i32."""

Array = np.ndarray[Any, Any]


def less_zero(
    value: SSAValue,
    zero: SSAValue | None,
    shape: Sequence[Dim] | None,
    rewriter: Rewriter,
) -> SSAValue:
    """`value - zero` in f32, exactly; `zero`, if a vector, reshaped to `shape`."""
    value = cast(value, f32, rewriter)
    if zero is None or rewriter.scalar(zero) == 0:
        return value
    if shape is not None and len(dims_of(zero)) == 1 and num_elements(zero) != 1:
        zero = rewriter.emit(nn.ReshapeOp(zero, shape))
    return rewriter.emit(nn.SubOp(value, cast(zero, f32, rewriter)))


def magnitude(value: SSAValue, zero: SSAValue | None, rewriter: Rewriter) -> int:
    """The largest `|value - zero|` that the types, or a constant zero point, allow."""
    low, high = integer_limits(element_of(value))
    if zero is None:
        return max(-low, high)
    point = rewriter.scalar(zero)
    if point is None:
        return high - low
    return max(high - point, point - low)


def constant_less_zero(
    value: SSAValue, zero: SSAValue | None, column: bool, rewriter: Rewriter
) -> Array | None:
    """A constant less its zero point (per column, or per first dim), in i32."""
    array = rewriter.array(value)
    point = np.zeros(()) if zero is None else rewriter.array(zero)
    if array is None or point is None:
        return None
    if point.ndim == 1 and not column:
        point = point.reshape(-1, *[1] * (array.ndim - 1))
    return array.astype(np.int32) - point.astype(np.int32)


def pieces_of(sums: Array, largest: int) -> list[int] | None:
    """Where to cut the reduced dim so that each piece is exact.

    Args:
        sums: `[reduced, outputs]`, the magnitudes that each step adds to an output.
        largest: the largest magnitude of the other operand.

    Returns:
        The ends of the pieces, or `None` if one step or too many pieces are too much.
    """
    limit = EXACT // max(1, largest)
    if not sums.size or sums.sum(axis=0).max() <= limit:
        return [len(sums)]
    if sums.max() > limit:
        return None
    ends: list[int] = []
    start = 0
    running = np.cumsum(sums, axis=0)
    base = np.zeros_like(running[0])
    while start < len(sums):
        fits = np.all(running[start:] - base <= limit, axis=1)
        count = len(sums) - start if bool(np.all(fits)) else int(np.argmin(fits))
        start += count
        base = running[start - 1]
        ends.append(start)
    return ends if len(ends) <= MAX_PIECES else None


def piece(value: SSAValue, axis: int, start: int, end: int, rewriter: Rewriter) -> Any:
    """`value[.., start:end, ..]` along `axis`; a constant is cut at once."""
    dims = dims_of(value)
    if (start, end) == (0, dims[axis]):
        return value
    starts: list[Dim] = [0] * len(dims)
    limits = list(dims)
    starts[axis], limits[axis] = start, end
    return rewriter.emit(nn.SliceOp(value, starts, limits))


@pattern(quant.MatmulIntegerOp)
def legalize_matmul_integer(op: quant.MatmulIntegerOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    quant.matmul_integer %a, %b, %p, %q
    ->   nn.cast (nn.matmul (f32 %a - %p), (f32 %b - %q)) {to = i32}
    ```
    """
    depth = dims_of(op.a)[-1]
    if not isinstance(depth, int):
        return wide_matmul(op, rewriter)
    largest = magnitude(op.a, op.a_zero, rewriter)
    weight = constant_less_zero(op.b, op.b_zero, True, rewriter)
    if weight is not None and weight.ndim >= 2:
        sums = np.abs(np.moveaxis(weight, -2, 0)).reshape(depth, -1)
    else:
        sums = np.full((depth, 1), magnitude(op.b, op.b_zero, rewriter))
    ends = pieces_of(sums, largest)
    if ends is None:
        return wide_matmul(op, rewriter)
    rows = (dims_of(op.a)[-2], 1) if len(dims_of(op.a)) > 1 else None
    a = less_zero(op.a, op.a_zero, rows, rewriter)
    b = less_zero(op.b, op.b_zero, None, rewriter)
    row_axis = max(0, len(dims_of(b)) - 2)
    parts: list[SSAValue] = []
    for start, end in zip([0, *ends], ends, strict=False):
        left = piece(a, len(dims_of(a)) - 1, start, end, rewriter)
        right = piece(b, row_axis, start, end, rewriter)
        parts.append(rewriter.emit(nn.MatmulOp(left, right)))
    finish(op, parts, rewriter)
    return None


def wide_matmul(op: quant.MatmulIntegerOp, rewriter: Rewriter) -> Outcome:
    """The product in i32, where f32 would not be exact."""
    operands = [
        cast(
            less_zero(op.a, op.a_zero, (dims_of(op.a)[-2], 1), rewriter), i32, rewriter
        ),
        cast(less_zero(op.b, op.b_zero, None, rewriter), i32, rewriter),
    ]
    rewriter.replace_with(nn.MatmulOp(*operands))
    return "the product is too long for f32"


def finish(op: Operation, parts: Sequence[SSAValue], rewriter: Rewriter) -> None:
    """Replace `op` by the sum of `parts`; who wants f32 of a single one reads that."""
    if len(parts) == 1:
        for use in list(op.results[0].uses):
            user = use.operation
            if isinstance(user, nn.CastOp) and user.to == f32:
                rewriter.replace_all_uses_with(user.result, parts[0])
    rewriter.replace_with(total(parts, rewriter))


def total(parts: Sequence[SSAValue], rewriter: Rewriter) -> SSAValue:
    """The sum of exact pieces, in i32."""
    result = cast(parts[0], i32, rewriter)
    for part in parts[1:]:
        result = rewriter.emit(nn.AddOp(result, cast(part, i32, rewriter)))
    return result


@pattern(quant.ConvIntegerOp)
def legalize_conv_integer(op: quant.ConvIntegerOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    quant.conv_integer %x, %w, %p, %q
    ->   nn.cast (nn.conv (f32 %x - %p), (f32 %w - %q)) {to = i32}
    ```
    Less the zero point, padding is 0 as in `nn.conv`. Only convolutions without
    groups are cut, along the channels.
    """
    rank = len(dims_of(op.w))
    largest = magnitude(op.x, op.x_zero, rewriter)
    filters = constant_less_zero(op.w, op.w_zero, False, rewriter)
    shape = (dims_of(op.w)[0], *[1] * (rank - 1))
    x = less_zero(op.x, op.x_zero, None, rewriter)
    w = less_zero(op.w, op.w_zero, shape, rewriter)
    ends = conv_pieces(op, filters, largest, rewriter)
    names = ("strides", "pads", "dilations", "groups")
    same = {name: op.value(name) for name in names}
    if ends is None:
        x, w = cast(x, i32, rewriter), cast(w, i32, rewriter)
        rewriter.replace_with(nn.ConvOp(x, w, **same))
        return "the product is too long for f32"
    parts: list[SSAValue] = []
    for start, end in zip([0, *ends], ends, strict=False):
        rows = piece(x, 1, start, end, rewriter) if len(ends) > 1 else x
        taps = piece(w, 1, start, end, rewriter) if len(ends) > 1 else w
        parts.append(rewriter.emit(nn.ConvOp(rows, taps, **same)))
    finish(op, parts, rewriter)
    return None


def conv_pieces(
    op: quant.ConvIntegerOp, filters: Array | None, largest: int, rewriter: Rewriter
) -> list[int] | None:
    """Where to cut the channels; `None` if no cut makes the products exact."""
    dims = dims_of(op.w)
    taps = [dim for dim in dims[1:] if isinstance(dim, int)]
    if len(taps) != len(dims) - 1:
        return None
    if filters is None:
        step = magnitude(op.w, op.w_zero, rewriter) * math.prod(taps[1:])
        sums = np.full((taps[0], 1), step)
    else:
        flat = np.abs(filters).reshape(*filters.shape[:2], -1).sum(axis=-1)
        sums = flat.T
    ends = pieces_of(sums, largest)
    return None if op.value("groups") != 1 and ends != [taps[0]] else ends


PATTERNS = (legalize_matmul_integer, legalize_conv_integer)
