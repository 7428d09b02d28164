"""Branches whose side is known."""

from __future__ import annotations

from xdsl.rewriter import InsertPoint

from stepwell.dialects import nn
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern


@pattern(nn.IfOp)
def inline_decided_branch(op: nn.IfOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.if true { A } { B }   ->   A
    ```
    """
    condition = rewriter.scalar(op.condition)
    if condition is None:
        return None
    block = (op.then_region if condition else op.else_region).block
    last = block.last_op
    assert isinstance(last, nn.YieldOp)
    values = list(last.arguments)
    if [value.type for value in values] != list(op.result_types):
        return "the branch yields another type than the op has"
    last.detach()
    last.erase()
    rewriter.inline_block(block, InsertPoint.before(op))
    rewriter.replace(op, (), values)
    return None


PATTERNS = (inline_decided_branch,)
