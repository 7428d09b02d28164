"""Sorting, and what follows from an order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64, is_float
from stepwell.dialects.shapes import Dim, dims_of, element_of, product
from stepwell.frontends.described import described
from stepwell.frontends.emit import cast, cut, rank_of, reshape, value
from stepwell.frontends.torch.call import Call, Operand, promoted
from stepwell.frontends.torch.registry import Build, Output, Rules

from .indexing import highest, lowest
from .reduction import logsumexp


def sort(
    call: Call, x: SSAValue, dim: int = -1, descending: bool = False
) -> Sequence[Output]:
    """Elements in order, and where each came from; always stable."""
    if not rank_of(x):
        return [x, call.scalar(0, i64)]
    return list(nn.SortOp(x, axis=dim, descending=descending).results)


def sort_stable(
    call: Call, x: SSAValue, stable: bool | None, dim: int, descending: bool
) -> Sequence[Output]:
    """Elements in order, and where each came from."""
    return sort(call, x, dim, descending)


def argsort(call: Call, x: SSAValue, dim: int = -1, descending: bool = False) -> Output:
    """Where each element of the sorted tensor came from."""
    return sort(call, x, dim, descending)[1]


def topk(
    call: Call,
    x: SSAValue,
    k: Dim,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
) -> Sequence[Output]:
    """The k best elements along a dim, and where each came from."""
    if not rank_of(x):
        return [x, call.scalar(0, i64)]
    op = nn.TopkOp(x, k, axis=dim % rank_of(x), largest=largest, sorted=sorted)
    return list(op.results)


def kth_value(
    call: Call, x: SSAValue, k: Dim, dim: int = -1, keepdim: bool = False
) -> Sequence[Output]:
    """The k-th smallest element along a dim, and where it is."""
    if not rank_of(x):
        return [x, call.scalar(0, i64)]
    axis = dim % rank_of(x)
    results = nn.SortOp(x, axis=axis).results
    return [reshape(cut(each, axis, k - 1, k), call.dims()) for each in results]


def median(call: Call, x: SSAValue) -> Output:
    """The lower median of all elements; NaN if there is one."""
    return middle(call, reshape(x, [product(dims_of(x))]), 0)[0]


def median_along(
    call: Call, x: SSAValue, dim: int, keepdim: bool = False
) -> Sequence[Output]:
    """The lower median along a dim, and where it is; NaN if there is one."""
    if not rank_of(x):
        return [x, call.scalar(0, i64)]
    return middle(call, x, dim % rank_of(x))


def middle(call: Call, x: SSAValue, axis: int) -> list[SSAValue]:
    """The element in the middle of the sorted axis, or the NaN at its end."""
    size = dims_of(x)[axis]
    values, places = nn.SortOp(x, axis=axis).results
    at = (size - 1) // 2
    found = [cut(each, axis, at, at + 1) for each in (values, places)]
    if is_float(element_of(x)):
        ends = [cut(each, axis, size - 1, size) for each in (values, places)]
        is_nan = nn.IsNanOp(ends[0])
        found = [
            value(nn.SelectOp(is_nan, end, half))
            for end, half in zip(ends, found, strict=True)
        ]
    return [reshape(each, call.dims()) for each in found]


def bucketize(
    call: Call,
    x: Operand,
    edges: SSAValue,
    out_int32: bool = False,
    right: bool = False,
) -> Operation:
    """How many sorted edges lie below each element (or at it, if `right`)."""
    element = promoted(x, edges)
    numbers = call.operand(x, element)
    column = reshape(numbers, [*dims_of(numbers), 1])
    *outer, count = dims_of(edges)
    if outer:  # each row of numbers has edges of its own
        edges = reshape(edges, [*outer, 1, count])
    predicate = "le" if right else "lt"
    is_below = nn.CompareOp(cast(edges, element), column, predicate=predicate)
    counted = nn.CastOp(is_below, call.element())
    return nn.ReduceOp(counted, kind="sum", axes=[rank_of(column) - 1])


def search_sorted(
    call: Call,
    edges: SSAValue,
    x: Operand,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: SSAValue | None = None,
) -> Operation:
    """Where each element would go among sorted edges."""
    if sorter is not None:
        axis = rank_of(edges) - 1
        edges = value(nn.GatherElementsOp(edges, sorter, axis=axis))
    return bucketize(call, x, edges, out_int32, right or side == "right")


def up_to_each(call: Call, x: SSAValue, axis: int) -> tuple[SSAValue, SSAValue]:
    """Each element beside all that come before it, and which those are.

    Returns:
        `x` with a new dim of 1 in front of `axis`, and a mask `[size, size, 1, ...]`
        that holds where the second place is not behind the first.
    """
    dims = dims_of(x)
    size, rest = dims[axis], [1] * (len(dims) - axis - 1)
    places = value(nn.IotaOp([size], i64))
    earlier, here = (reshape(places, shape) for shape in ([1, size], [size, 1]))
    mask = value(nn.CompareOp(earlier, here, predicate="le"))
    spread = reshape(x, [*dims[:axis], 1, *dims[axis:]])
    return spread, reshape(mask, [size, size, *rest])


def running_extremum(kind: str) -> Build:
    """The extremum so far along a dim, and the last place where it was met."""

    def build(call: Call, x: SSAValue, dim: int) -> Sequence[Output]:
        if not rank_of(x):
            return [x, call.scalar(0, i64)]
        axis, element = dim % rank_of(x), element_of(x)
        spread, mask = up_to_each(call, x, axis)
        bound = lowest(element) if kind == "max" else highest(element)
        masked = nn.SelectOp(mask, spread, call.scalar(bound, element))
        best = value(nn.ReduceOp(masked, kind=kind, axes=[axis + 1]))
        dims = dims_of(x)
        wanted = reshape(best, [*dims[: axis + 1], 1, *dims[axis + 1 :]])
        is_met = value(nn.CompareOp(spread, wanted, predicate="eq"))
        if is_float(element):
            is_met = value(nn.OrOp(is_met, nn.IsNanOp(spread)))
        rest = [1] * (len(dims) - axis - 1)
        places = reshape(value(nn.IotaOp([dims[axis]], i64)), [dims[axis], *rest])
        met = nn.SelectOp(nn.AndOp(is_met, mask), places, call.scalar(-1, i64))
        return [best, nn.ReduceOp(met, kind="max", axes=[axis + 1])]

    return described(build, f"`nn.reduce` ({kind}) over what comes before.")


def running_logsumexp(call: Call, x: SSAValue, dim: int) -> Output:
    """`ln(sum of e**x)` so far along a dim."""
    x = cast(x, call.element())
    if not rank_of(x):
        return x
    axis = dim % rank_of(x)
    spread, mask = up_to_each(call, x, axis)
    masked = nn.SelectOp(mask, spread, call.scalar(-math.inf, element_of(x)))
    return logsumexp(call, value(masked), [axis + 1])


RULES: Rules = {
    "aten.sort.default": sort,
    "aten.sort.stable": sort_stable,
    "aten.argsort.default": argsort,
    "aten.topk.default": topk,
    "aten.kthvalue.default": kth_value,
    "aten.median.default": median,
    "aten.median.dim": median_along,
    "aten.cummax.default": running_extremum("max"),
    "aten.cummin.default": running_extremum("min"),
    "aten.logcumsumexp.default": running_logsumexp,
    "aten.bucketize.Tensor": bucketize,
    "aten.bucketize.Scalar": bucketize,
    "aten.searchsorted.Tensor": search_sorted,
    "aten.searchsorted.Scalar": search_sorted,
}
