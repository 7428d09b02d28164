"""Say each `nn` op of a kernel in loops.

Input invariant: kernels of `nn` ops. Output: the same kernels of structured ops
(`fusion.generic`, `fusion.scan`, `fusion.sort`); `nn.attention` stays whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects.fusion import InsertOp, KernelOp
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.provenance import location_names
from stepwell.errors import CompileError

from .decompose.movement import decompose_insert
from .decompose.table import DECOMPOSERS

WHOLE = frozenset({"nn.attention"})
"""Ops that stay as they are until `tile`."""


@dataclass(frozen=True)
class DecomposeKernelsPass(ModulePass):
    """Replace the `nn` ops in every kernel."""

    name = "decompose-kernels"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite all kernels of the module."""
        for kernel in [inner for inner in op.walk() if isinstance(inner, KernelOp)]:
            decompose_kernel(kernel)


def decompose_kernel(kernel: KernelOp) -> None:
    """Replace the `nn` ops of one kernel.

    Raises:
        CompileError: an op has no form in loops.
    """
    for op in list(kernel.block.ops):
        if isinstance(op, InsertOp):
            decompose_insert(op)
        if not isinstance(op, NnOp) or op.name in WHOLE:
            continue
        decomposer = DECOMPOSERS.get(op.name)
        if decomposer is None:
            raise CompileError(
                f"{op.name} stands in a kernel but has no form in loops",
                where=", ".join(location_names(op)) or None,
            )
        decomposer(op)
