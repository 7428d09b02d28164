"""Bring the graph into the one form that later passes match."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.lowering.rewriting import apply_patterns

from .canonical import casts, control, elementwise, movement, reductions, slices

PATTERNS = (
    *elementwise.PATTERNS,
    *casts.PATTERNS,
    *movement.PATTERNS,
    *slices.PATTERNS,
    *reductions.PATTERNS,
    *control.PATTERNS,
)


@dataclass(frozen=True)
class CanonicalizePass(ModulePass):
    """Algebraic identities and compositions that never make more ops.

    Constants end up on the right, subtracting a constant is adding, dividing by one is
    multiplying, chains of reshapes, transposes, slices, casts are one each.
    """

    name = "canonicalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Apply all patterns to a fixed point."""
        apply_patterns(op, PATTERNS, ctx)
