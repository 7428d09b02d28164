"""Ops whose result size the data decides, and numbers read from tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
import torch
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import (
    Dim,
    DimExpr,
    DimRange,
    bounds,
    dims_of,
    element_of,
    product,
)
from stepwell.frontends.emit import broadcast, cast, rank_of, reshape, transpose, value
from stepwell.frontends.torch.call import Call, as_index
from stepwell.frontends.torch.registry import Output, Rules
from stepwell.frontends.torch.symbols import Relation

from .rows import nothing


def fresh_size(call: Call, size: Any, limit: Dim | None = None) -> Dim:
    """The size that PyTorch left open, as a new symbol of at most `limit`."""
    symbols, builder = call.importer.symbols, call.builder
    expression = (
        size.node.expr if isinstance(size, torch.SymInt) else sympy.Integer(size)
    )
    if not isinstance(expression, sympy.Symbol) or symbols.is_known(expression):
        return symbols.dim_of(expression)
    known = symbols.range_of(expression)
    high = None if limit is None else bounds(limit, builder.ranges)[1]
    if high is not None and high != float("inf"):
        most = int(high) if known.max is None else min(int(high), known.max)
        known = DimRange(known.min if known.min <= most else 0, most)
    return symbols.define(expression, f"{call.name}_size", known)


def nonzero(call: Call, x: SSAValue) -> Output:
    """The coordinates of the elements other than 0, one row each."""
    count = fresh_size(call, call.fake().shape[0], product(dims_of(x)))
    if not rank_of(x):
        x = reshape(x, [1])
        found = value(nn.NonzeroOp(x, count))
        return reshape(found, [count, 0])
    return transpose(value(nn.NonzeroOp(x, count)), [1, 0])


def masked_select(call: Call, x: SSAValue, mask: SSAValue) -> Operation:
    """The elements where a mask holds."""
    shape = nn.broadcast(dims_of(x), dims_of(mask))
    total = product(shape)
    count = fresh_size(call, call.fake().shape[0], total)
    return nn.CompressOp(_flat(x, shape), _flat(mask, shape), count, axis=0)


def _flat(x: SSAValue, shape: Sequence[Dim]) -> SSAValue:
    if dims_of(x) != tuple(shape):
        x = value(nn.BroadcastToOp(x, shape))
    return reshape(x, [product(shape)])


def masked_index(call: Call, x: SSAValue, axis: int, mask: SSAValue) -> Output:
    """The slices of `x` where a mask over the dims from `axis` on holds."""
    dims, covered = dims_of(x), rank_of(mask)
    total = product(dims[axis : axis + covered])
    count = fresh_size(call, call.fake().shape[axis], total)
    flat = reshape(x, [*dims[:axis], total, *dims[axis + covered :]])
    return nn.CompressOp(flat, reshape(mask, [total]), count, axis=axis)


def masked_scatter(
    call: Call, x: SSAValue, mask: SSAValue, source: SSAValue
) -> Operation:
    """`x` with the elements where a mask holds replaced by those of `source`."""
    dims = call.dims()
    mask = _flat(mask, dims)
    picked = next_rows(call, mask, reshape(source, [product(dims_of(source))]))
    return nn.ReshapeOp(nn.SelectOp(mask, picked, _flat(x, dims)), dims)


def next_rows(call: Call, mask: SSAValue, source: SSAValue) -> SSAValue:
    """For each element of a mask the row of `source` that is next there, of those that
    the mask takes one by one; any row where it does not hold."""
    mask = reshape(mask, [product(dims_of(mask))])
    order = value(nn.CumulativeOp(cast(mask, i64), kind="sum", axis=0))
    place = nn.MaximumOp(nn.SubOp(order, call.scalar(1, i64)), call.scalar(0, i64))
    count, *rest = dims_of(source)
    if bounds(count, call.builder.ranges)[0] < 1:  # one more, for there may be none
        none = broadcast(call.scalar(0, element_of(source)), [1, *rest])
        source, count = value(nn.ConcatOp([source, none], axis=0)), count + 1
    within = nn.MinimumOp(place, call.scalar(count - 1, i64))
    return value(nn.GatherOp(source, within, axis=0))


def item(call: Call, x: SSAValue) -> Output:
    """The only element of a tensor: a size if it is an integer."""
    x = reshape(x, [])
    number = call.node.meta["val"]
    if not isinstance(number, torch.SymInt):
        return x
    expression = number.node.expr
    symbols = call.importer.symbols
    if not isinstance(expression, sympy.Symbol) or symbols.is_known(expression):
        return symbols.dim_of(expression)
    dim = symbols.define(expression, f"{call.name}_value")
    assert isinstance(dim, DimExpr)
    call.builder.read_symbols(as_index(x), [str(dim.as_symbol())])
    return dim


def unique(
    call: Call,
    x: SSAValue,
    is_sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
) -> Sequence[Output]:
    """The distinct elements, sorted; where each element is among them; their counts."""
    flat = reshape(x, [product(dims_of(x))])
    count = fresh_size(call, call.fake().shape[0], product(dims_of(x)))
    values, _, inverse, counts = nn.UniqueOp(flat, count).results
    return [values, reshape(inverse, dims_of(x)), counts]


def histc(
    call: Call, x: SSAValue, bins: int = 100, low: float = 0, high: float = 0
) -> Output:
    """How many elements fall into each of `bins` equal parts of `[low, high]`."""
    if not low < high:
        raise call.unsupported("histc between the extremes of the data")
    element = call.element()
    flat = cast(reshape(x, [1, product(dims_of(x))]), element)
    width = call.scalar(bins / (high - low), element)
    first, top = call.scalar(low, element), call.scalar(high, element)
    place = nn.FloorOp(nn.MulOp(nn.SubOp(flat, first), width))
    last = call.scalar(bins - 1, element)
    is_top = nn.CompareOp(flat, top, predicate="eq")
    place = nn.SelectOp(is_top, last, place)
    bin_numbers = cast(value(nn.IotaOp([bins, 1], i64)), element)
    is_in = nn.CompareOp(place, bin_numbers, predicate="eq")
    return nn.ReduceOp(nn.CastOp(is_in, element), kind="sum", axes=[1])


def assert_scalar(call: Call, test: Any, message: str) -> None:
    """A check of sizes, once per new shape; none if the ranges decide it."""
    if test is False:
        raise call.unsupported(f"a check that never holds: {message}")
    if isinstance(test, Relation):
        test.expect(message)


RULES: Rules = {
    "aten.nonzero.default": nonzero,
    "aten.masked_select.default": masked_select,
    "aten.masked_scatter.default": masked_scatter,
    "aten.item.default": item,
    "aten._local_scalar_dense.default": item,
    "aten._unique2.default": unique,
    "aten.histc.default": histc,
    "aten._assert_scalar.default": assert_scalar,
    "aten._assert_async.msg": nothing,
    "aten.sym_constrain_range.default": nothing,
    "aten.sym_constrain_range_for_size.default": nothing,
}
