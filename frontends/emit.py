"""Short words for what builder functions of all frontends write most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import Dim, dims_of, element_of
from stepwell.frontends.node import GraphNode


def scalar(node: GraphNode, value: float | bool, element: Attribute) -> SSAValue:
    """A 0-d constant of an element type."""
    return node.builder.constant(np.array(value).astype(numpy_dtype(element)))


def like(node: GraphNode, value: float, x: SSAValue) -> SSAValue:
    """A 0-d constant of the element type of `x`."""
    return scalar(node, value, element_of(x))


def value(op: Operation) -> SSAValue:
    """The single result of an op."""
    return op.results[0]


def cast(x: SSAValue, element: Attribute) -> SSAValue:
    """`x` with another element type; `x` itself if it has that already."""
    return x if element_of(x) == element else value(nn.CastOp(x, element))


def rank_of(x: SSAValue) -> int:
    """The number of dims of `x`."""
    return len(dims_of(x))


def reshape(x: SSAValue | Operation, dims: Sequence[Dim]) -> SSAValue:
    """`x` in another shape; `x` itself if it has that already."""
    x = SSAValue.get(x)
    return x if dims_of(x) == tuple(dims) else value(nn.ReshapeOp(x, dims))


def transpose(x: SSAValue | Operation, perm: Sequence[int]) -> SSAValue:
    """`x` with its dims in another order."""
    x = SSAValue.get(x)
    is_same = list(perm) == list(range(len(perm)))
    return x if is_same else value(nn.TransposeOp(x, perm=perm))


def broadcast(x: SSAValue | Operation, dims: Sequence[Dim]) -> SSAValue:
    """`x` repeated to a shape; `x` itself if it has that already."""
    x = SSAValue.get(x)
    return x if dims_of(x) == tuple(dims) else value(nn.BroadcastToOp(x, dims))


def cut(x: SSAValue, axis: int, start: Dim, limit: Dim, step: int = 1) -> SSAValue:
    """The elements from `start` to `limit` along one axis; `x` itself if it is all."""
    dims = dims_of(x)
    if start == 0 and limit == dims[axis] and step == 1:
        return x
    starts: list[Dim] = [0] * len(dims)
    limits, steps = list(dims), [1] * len(dims)
    starts[axis], limits[axis], steps[axis] = start, limit, step
    return value(nn.SliceOp(x, starts, limits, steps))
