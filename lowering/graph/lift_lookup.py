"""Recognise table lookups written as products with one-hot rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.dtypes import is_integer
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import producer, rank_of


@pattern(nn.MatmulOp)
def lift_lookup(op: nn.MatmulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.matmul (nn.cast (nn.compare %x, [0, 1, .., n-1] {eq})), %table
    ->   nn.select (0 <= %x < n), (nn.gather %table, %x), 0
    ```
    An index outside of the table has a row of zeros, whose product is zero.
    """
    one_hot = match_one_hot(op.lhs, rewriter)
    if one_hot is None or rank_of(op.rhs) != 2:
        return None
    table = rewriter.array(op.rhs)
    if table is None or not np.isfinite(table.astype(np.float64)).all():
        return "the table is not a finite constant"
    x, first, count = one_hot
    rewriter.absorb_down_to(x)
    index = rewriter.emit(nn.ReshapeOp(x, dims_of(op.result)[:-1]))
    if first:
        index = rewriter.emit(nn.SubOp(index, rewriter.constant(first, like=x)))
    zero, end = (rewriter.constant(n, like=x) for n in (0, count))
    above = rewriter.emit(nn.CompareOp(index, zero, predicate="ge"))
    below = rewriter.emit(nn.CompareOp(index, end, predicate="lt"))
    inside = rewriter.emit(nn.AndOp(above, below))
    safe = rewriter.emit(nn.SelectOp(inside, index, zero))
    row = rewriter.emit(nn.GatherOp(op.rhs, safe, axis=0))
    column = rewriter.emit(nn.ReshapeOp(inside, (*dims_of(inside), 1)))
    nothing = rewriter.constant(0.0, like=op.rhs)
    rewriter.replace_with(nn.SelectOp(column, row, nothing))
    return None


def match_one_hot(
    value: SSAValue, rewriter: Rewriter
) -> tuple[SSAValue, int, int] | None:
    """`(x, first, count)` if `value` is 1 where `x == first + j` along its last dim."""
    cast = producer(value, nn.CastOp)
    compare = None if cast is None else producer(cast.operand, nn.CompareOp)
    if compare is None or compare.value("predicate") != "eq":
        return None
    x, classes = unrepeated(compare.lhs), rewriter.array(unrepeated(compare.rhs))
    if classes is None or not is_integer(element_of(x)):
        return None
    dims = dims_of(compare.result)
    if dims_of(x) != (*dims[:-1], 1) or dims[-1] != classes.size:
        return None
    return None if (first := start_of(classes)) is None else (x, first, classes.size)


def unrepeated(value: SSAValue) -> SSAValue:
    """What `value` repeats, if it is a broadcast."""
    broadcast = producer(value, nn.BroadcastToOp)
    return value if broadcast is None else broadcast.operand


def start_of(classes: np.ndarray[Any, Any]) -> int | None:
    """The first of consecutive integers that lie along the last dim."""
    if classes.shape[-1:] != (classes.size,):
        return None
    flat = classes.reshape(-1)
    return int(flat[0]) if (flat == flat[0] + np.arange(flat.size)).all() else None


@dataclass(frozen=True)
class LiftLookupPass(ModulePass):
    """Replace products with one-hot rows by `nn.gather`."""

    name = "lift-lookup"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Match products whose left operand compares with consecutive numbers."""
        apply_patterns(op, [lift_lookup], ctx)
