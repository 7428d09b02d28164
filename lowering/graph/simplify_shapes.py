"""Compute on dims what the model computes on tensors of dims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.rewriter import Rewriter as IRRewriter

from stepwell.dialects import nn
from stepwell.dialects.context import weights_of
from stepwell.dialects.dtypes import i64, is_integer
from stepwell.dialects.shapes import (
    Dim,
    Ranges,
    bounds,
    dim_max,
    dim_min,
    dims_of,
    element_of,
    is_zero_or_more,
    num_elements,
    ranges_of,
)
from stepwell.dialects.weights import WeightStore

from .dce import erase_dead_ops

ARITHMETIC: dict[type[Operation], Callable[[Dim, Dim], Dim]] = {
    nn.AddOp: lambda left, right: left + right,
    nn.SubOp: lambda left, right: left - right,
    nn.MulOp: lambda left, right: left * right,
    nn.MinimumOp: dim_min,
    nn.MaximumOp: dim_max,
}
PASSING = (nn.ReshapeOp, nn.BroadcastToOp, nn.CastOp)
"""Ops of one element that hand on the number they were given."""


@dataclass
class ShapeFolder:
    """Integer tensors of one element whose value is known as a dim."""

    ranges: Ranges
    weights: WeightStore
    known: dict[SSAValue, Dim] = field(default_factory=dict[SSAValue, Dim])

    def visit(self, block: Block) -> None:
        """Simplify `block` and the blocks inside it."""
        for op in list(block.ops):
            for region in op.regions:
                for nested in region.blocks:
                    self.visit(nested)
            if isinstance(op, nn.AssertDimsOp):
                self.drop_proved(op)
            elif isinstance(op, nn.CompareOp):
                self.decide(op)
            elif (dim := self.dim_of(op)) is not None:
                self.known[op.results[0]] = dim
                self.replace(op, dim)

    def dim_of(self, op: Operation) -> Dim | None:
        """The value of the one result of `op` as a dim, if it has one."""
        if len(op.results) != 1 or not is_one_integer(op.results[0]):
            return None
        if isinstance(op, nn.DimValueOp):
            return op.value("dim")[0]
        if isinstance(op, PASSING):
            return self.value(op.operand)
        if isinstance(op, nn.DivOp):
            return self.quotient(op)
        combine = ARITHMETIC.get(type(op))
        operands = [self.value(value) for value in op.operands]
        if combine is None or len(operands) != 2:
            return None
        left, right = operands
        return None if left is None or right is None else combine(left, right)

    def quotient(self, op: nn.DivOp) -> Dim | None:
        """Truncation is rounding down where nothing is negative."""
        left, right = self.value(op.lhs), self.value(op.rhs)
        if left is None or not isinstance(right, int) or right < 1:
            return None
        return left // right if is_zero_or_more(left, self.ranges) else None

    def value(self, value: SSAValue) -> Dim | None:
        """The dim that `value` holds, if it is known."""
        if value in self.known:
            return self.known[value]
        if not is_one_integer(value):
            return None
        array = nn.constant_value(value, self.weights)
        return None if array is None else int(array.reshape(()))

    def replace(self, op: Operation, dim: Dim) -> None:
        """Let `nn.dim_value` or a constant serve the users of a scalar of `i64`."""
        result = op.results[0]
        is_done = isinstance(op, nn.DimValueOp) and not isinstance(dim, int)
        if is_done or dims_of(result) != () or element_of(result) != i64:
            return
        new: Operation = nn.DimValueOp(dim)
        if isinstance(dim, int):
            new = nn.make_constant(np.array(dim, np.int64), self.weights)
        self.substitute(op, new)
        self.known[new.results[0]] = dim

    def decide(self, op: nn.CompareOp) -> None:
        """Replace a comparison that holds for all sizes, or for none."""
        left, right = self.value(op.lhs), self.value(op.rhs)
        if left is None or right is None:
            return
        truth = decided(op.value("predicate"), left - right, self.ranges)
        if truth is not None:
            array = np.full([1] * len(dims_of(op.result)), truth)
            self.substitute(op, nn.make_constant(array, self.weights))

    def drop_proved(self, op: nn.AssertDimsOp) -> None:
        """Erase an assertion that holds for all sizes."""
        pairs = zip(op.value("left"), op.value("right"), strict=True)
        predicate = op.value("predicate")
        if all(decided(predicate, a - b, self.ranges) is True for a, b in pairs):
            IRRewriter.erase_op(op)

    def substitute(self, op: Operation, new: Operation) -> None:
        """Put `new` in the place of `op`, with its location."""
        new.location = op.location
        IRRewriter.insert_op(new, InsertPoint.before(op))
        op.results[0].replace_all_uses_with(new.results[0])
        IRRewriter.erase_op(op)


def is_one_integer(value: SSAValue) -> bool:
    """Whether `value` is a tensor of a single integer."""
    return is_integer(element_of(value)) and num_elements(value) == 1


def decided(predicate: str, difference: Dim, ranges: Ranges) -> bool | None:
    """Whether `difference <predicate> 0` holds for all sizes, for none, or unknown."""
    low, high = bounds(difference, ranges)
    match predicate:
        case "eq" | "ne":
            if low == high == 0:
                return predicate == "eq"
            return predicate == "ne" if low > 0 or high < 0 else None
        case "lt":
            return True if high < 0 else False if low >= 0 else None
        case "le":
            return True if high <= 0 else False if low > 0 else None
        case "gt":
            return True if low > 0 else False if high <= 0 else None
        case _:
            return True if low >= 0 else False if high < 0 else None


@dataclass(frozen=True)
class SimplifyShapesPass(ModulePass):
    """Arithmetic on single integers that stand for dims, done on the dims.

    What remains is one `nn.dim_value` per number that a kernel needs; comparisons and
    assertions that hold for all sizes in the symbols' ranges are decided.
    """

    name = "simplify-shapes"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Fold in one forward walk."""
        folder = ShapeFolder(ranges_of(op), weights_of(ctx))
        for block in op.body.blocks:
            folder.visit(block)
        erase_dead_ops(op.body)
