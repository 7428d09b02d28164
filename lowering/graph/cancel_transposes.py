"""Carry transposes down the graph to where they meet their opposite."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects.context import weights_of
from stepwell.lowering.rewriting import explain_of

from .layout.engine import Walk
from .layout.movers import MOVERS


@dataclass(frozen=True)
class CancelTransposesPass(ModulePass):
    """Move transposes behind elementwise ops, concats, pads, reductions, reshapes."""

    name = "cancel-transposes"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Move in one forward walk; no op changes which order it computes in."""
        Walk(MOVERS, weights_of(ctx), explain_of(ctx)).run(op)
