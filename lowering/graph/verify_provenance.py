"""Check that every op can still be traced to the user's model."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnknownLoc
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.passes import ModulePass
from xdsl.traits import ConstantLike, IsTerminator

from stepwell.errors import CompileError


@dataclass(frozen=True)
class VerifyProvenancePass(ModulePass):
    """Fail on the first op that computes something and has no location."""

    name = "verify-provenance"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Raise `CompileError` naming the op; change nothing."""
        for inner in op.walk():
            if not isinstance(inner.location, UnknownLoc):
                continue
            if isinstance(inner, ModuleOp | FuncOp | ReturnOp):
                continue
            if inner.has_trait(ConstantLike) or inner.has_trait(IsTerminator):
                continue
            raise CompileError(
                f"{inner.name} has no location: its source in the model is lost",
                notes=[str(inner).strip()[:200]],
                fix="make the op through a Rewriter, or give it a location",
            )
