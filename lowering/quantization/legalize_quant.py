"""Turn `quant` ops into what the target computes."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.lowering.rewriting import apply_patterns

from . import affine, products


@dataclass(frozen=True)
class LegalizeQuantPass(ModulePass):
    """Quantization as arithmetic, integer products as exact float products.

    Input: `nn` and `quant`. Output: `nn`, but for fp8 and types below 8 bits. The
    results are those of the `quant` ops, bit for bit: a dequantize, a float op and a
    quantize are computed as such, and integer products stay exact integers.
    """

    name = "legalize-quant"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Legalize each op where it stands."""
        apply_patterns(op, [*affine.PATTERNS, *products.PATTERNS], ctx)
