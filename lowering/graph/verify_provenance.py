"""Check that every op can still be traced to the user's model."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects.levels import verify_provenance


@dataclass(frozen=True)
class VerifyProvenancePass(ModulePass):
    """Fail on the first op that computes something and has no location."""

    name = "verify-provenance"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Raise `CompileError` naming the op; change nothing."""
        verify_provenance(op)
