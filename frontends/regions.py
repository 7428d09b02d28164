"""Branches and loops: the types of values that regions hand on."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Block, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import (
    Dim,
    DimRange,
    bounds,
    dims_of,
    element_of,
    tensor_type,
)
from stepwell.frontends.contents import as_value
from stepwell.frontends.emit import value
from stepwell.frontends.node import GraphNode
from stepwell.frontends.values import Tensor


def common_type(node: GraphNode, left: SSAValue, right: SSAValue) -> Attribute:
    """One type for the results of two branches; dims that differ become symbols."""
    if element_of(left) != element_of(right):
        raise node.unsupported(
            f"branches of types {element_of(left)} and {element_of(right)}"
        )
    first, second = dims_of(left), dims_of(right)
    if len(first) != len(second):
        raise node.unsupported(
            f"branches of ranks {len(first)} and {len(second)}",
            fix="fix the inputs or shapes that the condition depends on",
        )
    dims = [
        a if a == b else fresh_dim(node, a, b)
        for a, b in zip(first, second, strict=True)
    ]
    return tensor_type(dims, element_of(left))


def fresh_dim(node: GraphNode, left: Dim, right: Dim) -> Dim:
    """A symbol for a size that is one of two at run time."""
    ranges = node.builder.ranges
    low = min(bounds(dim, ranges)[0] for dim in (left, right))
    high = max(bounds(dim, ranges)[1] for dim in (left, right))
    known = DimRange(max(int(low), 0), None if high == float("inf") else int(high))
    return node.builder.symbol(
        node.builder.fresh_name(f"{node.symbol_stem}_dim"), known
    )


def loop_block(initial: Sequence[SSAValue], dims: Sequence[Sequence[Dim]]) -> Block:
    """A block that takes the iteration and the carried values."""
    kinds = [
        tensor_type(shape, element_of(each))
        for each, shape in zip(initial, dims, strict=True)
    ]
    return Block(arg_types=[tensor_type((), i64), *kinds])


def tensor_of(ssa: SSAValue) -> Tensor:
    """The importer's view of a block argument."""
    found = as_value(ssa)
    assert isinstance(found, Tensor)
    return found


def widen(
    node: GraphNode,
    dims: Sequence[list[Dim]],
    yielded: Sequence[SSAValue],
    open_dims: set[tuple[int, int]],
) -> bool:
    """Make dims that change from step to step symbols; whether there were new ones.

    Args:
        dims: the dims of each carried value; changed in place.
        yielded: the next values, for values of `dims`.
        open_dims: value and axis of the dims that are such symbols; gets the new ones.
    """
    changed = False
    for index, (shape, each) in enumerate(zip(dims, yielded, strict=True)):
        new = dims_of(each)
        if len(new) != len(shape):
            raise node.unsupported("a loop that changes the rank of a value")
        for axis, (before, after) in enumerate(zip(shape, new, strict=True)):
            if before != after and (index, axis) not in open_dims:
                open_dims.add((index, axis))
                name = node.builder.fresh_name(f"{node.symbol_stem}_dim")
                shape[axis] = node.builder.symbol(name, DimRange(min=0))
                changed = True
    return changed


def as_scalar(x: SSAValue) -> SSAValue:
    """A tensor of one element as a scalar."""
    return value(nn.ReshapeOp(x, [])) if dims_of(x) else x
