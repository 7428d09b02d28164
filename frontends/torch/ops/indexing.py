"""Gathers and scatters, embedding, indexing by tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64, integer_limits, is_bool, is_float
from stepwell.dialects.shapes import Dim, dims_of, element_of, product
from stepwell.frontends.described import described
from stepwell.frontends.emit import (
    broadcast,
    cast,
    cut,
    rank_of,
    reshape,
    transpose,
    value,
)
from stepwell.frontends.torch.call import Call, Operand, as_index
from stepwell.frontends.torch.registry import Output, Rules

from .dynamic import masked_index, next_rows
from .elementwise import scaled


def embedding(call: Call, weight: SSAValue, indices: SSAValue, *_: Any) -> Operation:
    """Rows of a table."""
    return nn.GatherOp(weight, indices, axis=0)


def index_select(call: Call, x: SSAValue, dim: int, index: SSAValue) -> Operation:
    """Positions along a dim."""
    if not rank_of(index):
        index = reshape(index, [1])
    return nn.GatherOp(x, index, axis=dim % rank_of(x))


def gather(call: Call, x: SSAValue, dim: int, index: SSAValue, *_: Any) -> Output:
    """One element per index along a dim."""
    rank = rank_of(x)
    if not rank:
        return broadcast(x, dims_of(index))
    axis = dim % rank
    for other in range(rank):
        size = dims_of(index)[other]
        if other != axis and size != dims_of(x)[other]:
            starts: list[Dim] = [0] * rank
            limits = list(dims_of(x))
            limits[other] = size
            x = value(nn.SliceOp(x, starts, limits))
    return nn.GatherElementsOp(x, index, axis=axis)


def index(call: Call, x: SSAValue, indices: Sequence[SSAValue | None]) -> Output:
    """`x[i, :, j]` with integer tensors that broadcast together."""
    rank = rank_of(x)
    given = {axis: each for axis, each in enumerate(indices) if each is not None}
    if any(is_bool(element_of(each)) for each in given.values()):
        if len(given) > 1:
            raise call.unsupported("a boolean mask beside other indices")
        ((axis, mask),) = given.items()
        return masked_index(call, x, axis, mask)
    axes = list(given)
    if len(axes) == 1:
        return nn.GatherOp(x, given[axes[0]], axis=axes[0])
    rest = [axis for axis in range(rank) if axis not in given]
    moved = transpose(x, [*axes, *rest])
    tuples, shape = index_tuples(list(given.values()))
    found = value(nn.GatherNdOp(moved, tuples))
    if not is_adjacent(axes) or axes[0] == 0:
        return found
    before, wide = axes[0], len(shape)
    perm = [
        *(wide + i for i in range(before)),
        *range(wide),
        *range(wide + before, wide + len(rest)),
    ]
    return transpose(found, perm)


def is_adjacent(axes: Sequence[int]) -> bool:
    """Whether axes follow one another."""
    return list(axes) == list(range(axes[0], axes[0] + len(axes)))


def index_tuples(indices: Sequence[SSAValue]) -> tuple[SSAValue, tuple[Dim, ...]]:
    """Index tensors, broadcast, side by side in a new last dim; their common shape."""
    shape = nn.broadcast(*map(dims_of, indices))
    columns = [
        reshape(broadcast(as_index(each), shape), [*shape, 1]) for each in indices
    ]
    if len(columns) == 1:
        return columns[0], shape
    return value(nn.ConcatOp(columns, axis=len(shape))), shape


def index_put(
    call: Call,
    x: SSAValue,
    indices: Sequence[SSAValue | None],
    values: SSAValue,
    accumulate: bool = False,
    *_: Any,
) -> Output:
    """`x` with the elements at index tensors replaced, or added to."""
    given = {axis: each for axis, each in enumerate(indices) if each is not None}
    values = cast(values, element_of(x))
    masks = [each for each in given.values() if is_bool(element_of(each))]
    if masks:
        return masked_put(call, x, given, values, accumulate)
    rest = [axis for axis in range(rank_of(x)) if axis not in given]
    axes = list(given)
    order = [*axes, *rest]
    moved = transpose(x, order)
    tuples, shape = index_tuples(list(given.values()))
    kept = [dims_of(x)[axis] for axis in rest]
    before = axes[0] if is_adjacent(axes) else 0
    wide = len(shape)
    full = [*kept[:before], *shape, *kept[before:]]
    updates = broadcast(values, full)
    if before:
        perm = [
            *range(before, before + wide),
            *range(before),
            *range(before + wide, len(full)),
        ]
        updates = transpose(updates, perm)
    reduction = "add" if accumulate else "none"
    put = value(nn.ScatterNdOp(moved, tuples, updates, reduction=reduction))
    return transpose(put, [order.index(axis) for axis in range(rank_of(x))])


def masked_put(
    call: Call,
    x: SSAValue,
    given: dict[int, SSAValue],
    values: SSAValue,
    accumulate: bool,
) -> Output:
    """`x` with other values wherever a mask over its first dims holds: one for all, or
    the next one for each."""
    if list(given) != [0]:
        raise call.unsupported("assignment through a mask beside other indices")
    mask, dims = given[0], dims_of(x)
    extra = dims[rank_of(mask) :]
    keep = reshape(mask, [*dims_of(mask), *[1] * len(extra)])
    new = values
    if rank_of(values) > len(extra) and dims_of(values)[0] != 1:
        picked = next_rows(call, mask, values)
        new = reshape(picked, [*dims_of(mask), *dims_of(picked)[1:]])
    elif rank_of(values) > len(extra):
        new = reshape(values, dims_of(values)[1:])
    if accumulate:
        new = value(nn.AddOp(x, new))
    return nn.SelectOp(keep, new, x)


def scatter(reduction: str) -> Any:
    """`x` with one element per index replaced, or combined, along a dim."""

    def build(
        call: Call, x: SSAValue, dim: int, index: SSAValue, source: Operand, *_: Any
    ) -> Output:
        element = element_of(x)
        if not isinstance(source, SSAValue):
            source = broadcast(call.operand(source, element), dims_of(index))
        elif dims_of(source) != dims_of(index):
            starts: list[Dim] = [0] * rank_of(source)
            source = value(nn.SliceOp(source, starts, dims_of(index)))
        axis = dim % rank_of(x) if rank_of(x) else 0
        return nn.ScatterElementsOp(
            x, index, cast(source, element), axis=axis, reduction=reduction
        )

    return described(build, f"One `nn.scatter_elements` ({reduction}).")


def scatter_reduce(
    call: Call,
    x: SSAValue,
    dim: int,
    index: SSAValue,
    source: SSAValue,
    reduce: str,
    include_self: bool = True,
) -> Output:
    """`x` combined with one element per index along a dim.

    Without `x` itself, an element that gets any update starts from the neutral one.
    """
    element = element_of(x)
    kind = "sum" if reduce == "mean" else reduce
    start = x
    if not include_self:
        neutral = call.scalar(NEUTRAL[kind](element), element)
        start = value(
            scatter("none")(call, x, dim, index, neutral_like(source, neutral))
        )
    total = scatter(REDUCTIONS[kind])(call, start, dim, index, source)
    if reduce != "mean":
        return total
    first = call.scalar(1 if include_self else 0, element)
    ones = neutral_like(source, call.scalar(1, element))
    base = broadcast(first, dims_of(x))
    count = scatter("add")(call, base, dim, index, ones)
    count = nn.MaximumOp(count, call.scalar(1, element))
    return nn.DivOp(total, count)


def neutral_like(source: SSAValue, number: SSAValue) -> SSAValue:
    """A number in the shape of `source`."""
    return broadcast(number, dims_of(source))


def lowest(element: Attribute) -> float:
    """What no maximum is below."""
    return -math.inf if is_float(element) else integer_limits(element)[0]


def highest(element: Attribute) -> float:
    """What no minimum is above."""
    return math.inf if is_float(element) else integer_limits(element)[1]


NEUTRAL: dict[str, Callable[[Attribute], float]] = {
    "sum": lambda _: 0,
    "prod": lambda _: 1,
    "amax": lowest,
    "amin": highest,
}
REDUCTIONS = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}
_OLD_REDUCTIONS = {"add": "add", "multiply": "mul"}


def scatter_with_reduce(
    call: Call, x: SSAValue, dim: int, index: SSAValue, source: Operand, reduce: str
) -> Output:
    """`x` combined with one element per index along a dim."""
    return scatter(_OLD_REDUCTIONS[reduce])(call, x, dim, index, source)


def index_add(
    call: Call,
    x: SSAValue,
    dim: int,
    index: SSAValue,
    source: SSAValue,
    alpha: Operand = 1,
) -> Output:
    """`x` with slices added at positions of a dim."""
    axis = dim % rank_of(x)
    perm = [axis, *(i for i in range(rank_of(x)) if i != axis)]
    moved = transpose(x, perm)
    updates = transpose(scaled(call, cast(source, element_of(x)), alpha), perm)
    rows = reshape(as_index(index), [dims_of(updates)[0], 1])
    put = value(nn.ScatterNdOp(moved, rows, updates, reduction="add"))
    return transpose(put, [perm.index(i) for i in range(rank_of(x))])


def index_reduce(
    call: Call,
    x: SSAValue,
    dim: int,
    index: SSAValue,
    source: SSAValue,
    reduce: str,
    include_self: bool = True,
) -> Output:
    """`x` combined with slices at positions of a dim."""
    axis, dims = dim % rank_of(x), dims_of(source)
    row = [size if i == axis else 1 for i, size in enumerate(dims)]
    wide = broadcast(reshape(as_index(index), row), dims)
    return scatter_reduce(call, x, dim, wide, source, reduce, include_self)


def as_strided(
    call: Call,
    x: SSAValue,
    size: Sequence[Dim],
    stride: Sequence[Dim],
    offset: Dim | None = None,
) -> Output:
    """Elements of the contiguous tensor at offsets that strides give."""
    flat = reshape(x, [product(dims_of(x))])
    place = call.scalar(offset or 0, i64)
    rank = len(size)
    for axis, (count, step) in enumerate(zip(size, stride, strict=True)):
        if step == 0 or count == 1:
            continue
        steps = value(nn.MulOp(nn.IotaOp([count], i64), call.scalar(step, i64)))
        row = reshape(steps, [1] * axis + [count] + [1] * (rank - axis - 1))
        place = value(nn.AddOp(place, row))
    return nn.GatherOp(flat, broadcast(place, size), axis=0)


def embedding_bag(
    call: Call,
    weight: SSAValue,
    indices: SSAValue,
    offsets: SSAValue,
    scale_grad: bool = False,
    mode: int = 0,
    sparse: bool = False,
    sample_weights: SSAValue | None = None,
    include_last_offset: bool = False,
    padding_index: int = -1,
) -> Sequence[Output]:
    """Sums, means or maxima of the rows of each bag; a bag begins at each offset."""
    if include_last_offset:
        offsets = cut(offsets, 0, 0, dims_of(offsets)[0] - 1)
    bags, count, element = dims_of(offsets)[0], dims_of(indices)[0], element_of(weight)
    rows = value(nn.GatherOp(weight, indices, axis=0))
    if sample_weights is not None:
        rows = value(nn.MulOp(rows, reshape(sample_weights, [count, 1])))
    place = value(nn.IotaOp([1, count], i64, axis=1))
    begun = nn.CompareOp(reshape(as_index(offsets), [bags, 1]), place, predicate="le")
    bag = nn.ReduceOp(nn.CastOp(begun, i64), kind="sum", axes=[0], keepdims=True)
    number = nn.AddOp(value(nn.IotaOp([bags, 1], i64)), call.scalar(1, i64))
    member = value(nn.CompareOp(bag, number, predicate="eq"))
    if padding_index >= 0:
        padding = call.scalar(padding_index, element_of(indices))
        member = value(nn.AndOp(member, nn.CompareOp(indices, padding, predicate="ne")))
    weights = nn.CastOp(member, element)
    if mode != 2:
        total = nn.MatmulOp(weights, rows)
        if mode == 0:
            return [total]
        size = nn.ReduceOp(weights, kind="sum", axes=[1], keepdims=True)
        return [nn.DivOp(total, nn.MaximumOp(size, call.scalar(1, element)))]
    lowest = call.scalar(float("-inf"), element)
    spread = nn.SelectOp(nn.ReshapeOp(member, [bags, count, 1]), rows, lowest)
    best = nn.ReduceOp(spread, kind="max", axes=[1])
    is_empty = nn.CompareOp(best, lowest, predicate="eq")
    return [nn.SelectOp(is_empty, call.scalar(0, element), best)]


RULES: Rules = {
    "aten._embedding_bag.default": embedding_bag,
    "aten._embedding_bag_forward_only.default": embedding_bag,
    "aten.embedding.default": embedding,
    "aten.index_select.default": index_select,
    "aten.gather.default": gather,
    "aten.index.Tensor": index,
    "aten._unsafe_index.Tensor": index,
    "aten.index_put.default": index_put,
    "aten._unsafe_index_put.default": index_put,
    "aten.scatter.src": scatter("none"),
    "aten.scatter.value": scatter("none"),
    "aten.scatter_add.default": scatter("add"),
    "aten.scatter.reduce": scatter_with_reduce,
    "aten.scatter.value_reduce": scatter_with_reduce,
    "aten.scatter_reduce.two": scatter_reduce,
    "aten.index_add.default": index_add,
    "aten.index_reduce.default": index_reduce,
    "aten.as_strided.default": as_strided,
}
