"""Recognise softmax written out as exponentials and a sum."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import producer, reduced_axes


@pattern(nn.DivOp)
def lift_softmax(op: nn.DivOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    %e = nn.exp(%x - nn.reduce %x {max, axis})
    %e / nn.reduce %e {sum, axis}                  ->   nn.softmax %x {axis}
    ```
    """
    exp = producer(op.lhs, nn.ExpOp)
    if exp is None or op.lhs.type != op.result.type:
        return None
    axis = reduced_axis(op.rhs, op.lhs, "sum")
    if axis is None:
        return None
    shifted = producer(exp.operand, nn.SubOp)
    if shifted is None or shifted.lhs.type != op.result.type:
        return None
    if reduced_axis(shifted.rhs, shifted.lhs, "max") != axis:
        return "the exponent is not shifted by the maximum along the same axis"
    rewriter.absorb_down_to(shifted.lhs)
    rewriter.replace_with(nn.SoftmaxOp(shifted.lhs, axis=axis))
    return None


def reduced_axis(value: SSAValue, source: SSAValue, kind: str) -> int | None:
    """The axis along which `value` is the `kind` reduction of `source`."""
    axes = reduced_axes(value, source, kind)
    return axes[0] if axes is not None and len(axes) == 1 else None


@dataclass(frozen=True)
class LiftSoftmaxPass(ModulePass):
    """Replace written-out softmax by `nn.softmax`."""

    name = "lift-softmax"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Match quotients of an exponential and its own sum."""
        apply_patterns(op, [lift_softmax], ctx)
