"""Counted loops, as the passes that make them want to write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Block, Operation, Region, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import Dim, dims_of, element_of, tensor_type
from stepwell.dialects.weights import WeightStore
from stepwell.lowering.rewriting import Rewriter, stamp


@dataclass
class Emitter:
    """Appends ops to a block, all with one location."""

    block: Block
    location: LocationAttr
    weights: WeightStore

    def emit(self, op: Operation) -> SSAValue:
        """Append `op` and return its first result."""
        stamp(op, self.location)
        self.block.add_op(op)
        return op.results[0]

    def constant(self, array: object, like: SSAValue | None = None) -> SSAValue:
        """A constant, with the element type of `like` if that is given."""
        op = nn.make_constant(np.asarray(array), self.weights)
        value = self.emit(op)
        if like is None or element_of(like) == element_of(value):
            return value
        return self.emit(nn.CastOp(value, element_of(like)))


Body = Callable[
    [Emitter, SSAValue, Sequence[SSAValue]], tuple[list[SSAValue], list[SSAValue]]
]
"""Fills the loop's block, given the iteration and the carried values; returns the next
carried values and one slice of each scanned output."""


def counted_loop(
    steps: Dim, initial: Sequence[SSAValue], body: Body, rewriter: Rewriter
) -> nn.LoopOp:
    """Insert an `nn.loop` of `steps` rounds before the matched op.

    Its results are the last carried values, then the scanned outputs stacked along a
    new dim 0.
    """
    types = [value.type for value in initial]
    block = Block(arg_types=[tensor_type((), i64), *types])
    emitter = Emitter(block, rewriter.location, rewriter.weights)
    carried, scanned = body(emitter, block.args[0], block.args[1:])
    going = emitter.constant(np.array(True))
    block.add_op(nn.YieldOp(going, *carried, *scanned))
    stacked = [
        tensor_type((steps, *dims_of(value)), element_of(value)) for value in scanned
    ]
    trips = rewriter.emit(nn.DimValueOp(steps))
    return rewriter.insert(
        nn.LoopOp(trips, None, initial, [*types, *stacked], Region(block))
    )


def row_at(emitter: Emitter, x: SSAValue, index: SSAValue, axis: int = 0) -> SSAValue:
    """The slice of `x` at `index` along `axis`, which vanishes."""
    return emitter.emit(nn.GatherOp(x, index, axis=axis))


def counted_down(emitter: Emitter, index: SSAValue, steps: Dim) -> SSAValue:
    """`steps - 1 - index`."""
    last = emitter.emit(nn.DimValueOp(steps - 1))
    return emitter.emit(nn.SubOp(last, index))


def reversed_along(value: SSAValue, axis: int, rewriter: Rewriter) -> SSAValue:
    """`value` from its last element to its first along `axis`."""
    dims = dims_of(value)
    starts: list[Dim] = [0] * len(dims)
    limits, steps = list(dims), [1] * len(dims)
    starts[axis], limits[axis], steps[axis] = dims[axis] - 1, -1, -1
    return rewriter.emit(nn.SliceOp(value, starts, limits, steps))
