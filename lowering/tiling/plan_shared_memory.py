"""`plan-shared-memory`: places shared memory in the kernels of the lower half.

Input: `tile.func`s with a launch and layouts. Output: the same with offsets on the ops
that use shared memory, and the total on the function.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects import tile
from stepwell.dialects.provenance import location_names
from stepwell.dialects.target import ATTRIBUTE, Target
from stepwell.dialects.tile.scratch import plan_shared
from stepwell.errors import CompileError


@dataclass(frozen=True)
class PlanSharedMemoryPass(ModulePass):
    """Place the shared memory of every kernel that has a launch."""

    name = "plan-shared-memory"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Plan all kernels of the module, also those of modules inside it.

        Raises:
            CompileError: a kernel needs more than a block of the target may use.
        """
        limit = Target.of(op).shared_bytes if ATTRIBUTE in op.attributes else 0
        for func in op.walk():
            if isinstance(func, tile.FuncOp) and _is_lower(func):
                _plan(func, limit)


def _is_lower(func: tile.FuncOp) -> bool:
    return tile.LAUNCH_ATTRIBUTE in func.attributes


def _plan(func: tile.FuncOp, limit: int) -> None:
    try:
        total = plan_shared(func)
    except ValueError as error:
        raise CompileError(str(error), where=func.sym_name.data) from None
    if limit and total > limit:
        raise CompileError(
            f"expected a kernel of at most {limit} bytes of shared memory, got one of "
            f"{total}",
            where=", ".join(location_names(func)) or func.sym_name.data,
            fix="give it smaller tiles",
        )
