"""Compute convolutions and pools with channels last, and everything between them."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects.context import weights_of
from stepwell.lowering.rewriting import explain_of

from .layout.engine import Walk
from .layout.movers import MOVERS
from .layout.windows import HANDLERS


@dataclass(frozen=True)
class PropagateChannelsLastPass(ModulePass):
    """One order of dims for both devices: `[N, spatial.., C]`.

    Convolutions, pools and the ops between them move; transposes remain where the
    model's own inputs and outputs, or an op that needs the other order, meet them.
    """

    name = "propagate-channels-last"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert in one forward walk."""
        Walk({**MOVERS, **HANDLERS}, weights_of(ctx), explain_of(ctx)).run(op)
