"""Give Hopper's matrix products a producer and consumers: TMA, rings, `wgmma`.

Input: kernels of the upper half. Those whose schedule asks for it (`tile.options =
{wgmma = 1}`) become programs of the lower half, with `tile.launch`, if they are
products of f16 or bf16 whose tensors TMA can move; if not, `tile.not_specialised`
says why.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from stepwell.dialects import tile
from stepwell.dialects.target import Target

from .gpu.schedule_hopper import WGMMA_OPTION
from .hopper.match import Refusal, find_gemm
from .hopper.program import HopperProgram

REASON = "tile.not_specialised"
"""On a kernel with a product: why it is not computed by wgmma."""


@dataclass(frozen=True)
class SpecialiseWarpsPass(ModulePass):
    """Rewrite each matrix product of a module for `sm_90a`.

    ```mlir
    scf.for %k { tile.load; tile.load; tile.dot } tile.map tile.store
    ->
    tile.ring  tile.specialise {
      tile.role "producer" { tile.acquire; tile.tma_load; tile.tma_load; tile.commit }
      tile.role "consumer" { tile.wait; tile.wgmma; tile.release; tile.map; ... }
    }
    ```
    """

    name = "specialise-warps"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite all kernels that fit."""
        target = Target.of(op)
        if not target.has_wgmma:
            return
        for func in [f for f in op.walk() if isinstance(f, tile.FuncOp)]:
            wanted = func.option(WGMMA_OPTION, 0)
            if tile.LAUNCH_ATTRIBUTE in func.attributes or not wanted:
                continue
            try:
                made = HopperProgram(find_gemm(func), target).build()
            except Refusal as reason:
                func.attributes[REASON] = StringAttr(str(reason))
            else:
                Rewriter.replace_op(func, made, [])
