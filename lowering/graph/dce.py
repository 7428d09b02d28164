"""Erase ops without effect whose results nobody uses."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Region
from xdsl.passes import ModulePass
from xdsl.transforms.dead_code_elimination import is_trivially_dead


def erase_dead_ops(region: Region) -> bool:
    """Erase dead ops in one walk from the last to the first; say whether any was."""
    changed = False
    for block in reversed(region.blocks):
        for op in reversed(list(block.ops)):
            if is_trivially_dead(op):
                block.erase_op(op)
                changed = True
                continue
            for inner in op.regions:
                changed |= erase_dead_ops(inner)
    return changed


@dataclass(frozen=True)
class DcePass(ModulePass):
    """Dead code elimination."""

    name = "dce"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Erase dead ops, users before producers, so that one walk is enough."""
        erase_dead_ops(op.body)
