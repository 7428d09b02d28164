"""Bring the structured ops of each kernel into the form that tiling converts.

Input invariant: kernels of structured ops (and `nn.attention`). Output: elementwise
producers are inlined, data movement has become maps, dims are split where a map needed
`floordiv` or `mod` and named alike throughout a kernel (docs/00-architecture.md,
level 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument
from xdsl.passes import ModulePass

from stepwell.dialects.fusion import KernelOp, StructuredOp
from stepwell.errors import CompileError

from .align_dims import align_dims
from .inline_producers import inline_producers
from .merge_siblings import merge_siblings
from .split_dims import split_dims


@dataclass(frozen=True)
class FuseGenericsPass(ModulePass):
    """Fuse within every kernel."""

    name = "fuse-generics"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite all kernels of the module."""
        for kernel in [inner for inner in op.walk() if isinstance(inner, KernelOp)]:
            fuse_kernel(kernel)


def fuse_kernel(kernel: KernelOp) -> None:
    """Bring one kernel into form."""
    # Maps vanish into their readers first: what follows sees final maps only.
    inline_producers(kernel)
    # A dim is split in all ops that share it, so names are shared first.
    align_dims(kernel)
    if split_dims(kernel):
        # The parts of a dim may be another op's dims: the groups of channels, say.
        align_dims(kernel)
    # Results over one space are one loop nest.
    merge_siblings(kernel)
    _expect_no_lookup_inside(kernel)


def _expect_no_lookup_inside(kernel: KernelOp) -> None:
    """Only memory has places that can be computed: a result inside a kernel has none.

    Raises:
        CompileError: an op looks up the result of another op of the kernel.
    """
    for op in (op for op in kernel.block.ops if isinstance(op, StructuredOp)):
        for value, access in zip(op.inputs, op.in_maps, strict=True):
            if access.indirects and not isinstance(value, BlockArgument):
                raise CompileError(
                    f"kernel {kernel.kernel_name.data} looks up a value of its own",
                    where=str(op.location),
                )
