"""Transpose constant right factors whose rows are not whole 16 bytes.

A GPU moves 16 bytes at once, and TMA only rows of whole 16 bytes. The weights of a
vocabulary's 50257 words, `[k, n]`, are therefore stored as `[n, k]`, where k suits. The
transpose is an `nn` op on the constant, outside the kernel, for `fold-constants`.

```mlir
fusion.generic [m: 64, n: 50257, reduction k: 768] ins(%x[m, k], %w[k, n])
// becomes
fusion.generic [m: 64, n: 50257, reduction k: 768] ins(%x[m, k], %w[n, k])
```

Input invariant: kernels that `flatten-products` left, without schedules.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp
from xdsl.ir import BlockArgument
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects.access import AccessAttr, AccessMap
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.fusion import GenericOp, KernelOp
from stepwell.dialects.nn.shape import TransposeOp
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.lowering.rewriting import stamp

from .contraction import without_extension
from .pack_weights import is_constant
from .product import product_of

CHUNK_BITS = 128
"""What a GPU's threads and TMA move at once."""
FACTOR_BITS = 16
"""Elements whose products tensor cores sum: both orders of a factor are as good."""


def align_kernel(kernel: KernelOp) -> None:
    """Transpose the right factor of a kernel's product, if that aligns its rows."""
    anchor = kernel.block.first_op
    product = product_of(anchor) if isinstance(anchor, GenericOp) else None
    right = None if product is None else without_extension(product.rhs.value)
    if not isinstance(anchor, GenericOp) or not isinstance(right, BlockArgument):
        return
    position = right.index
    source, access = anchor.inputs[position], anchor.in_maps[position]
    if (
        not isinstance(source, BlockArgument)
        or not source.has_one_use()
        or not is_constant(kernel.input_of(source))
        or not _is_aligned_by_transposing(source, access)
    ):
        return
    turned = TransposeOp(kernel.input_of(source), [1, 0])
    stamp(turned, kernel.location)
    Rewriter.insert_op(turned, InsertPoint.before(kernel))
    kernel.operands[source.index] = turned.result
    Rewriter.replace_value_with_new_type(source, turned.result.type)
    maps = list(anchor.input_maps)
    swapped = AccessMap(access.dims, access.results[::-1])
    maps[position] = AccessAttr(swapped)
    anchor.properties["input_maps"] = ArrayAttr(maps)


def _is_aligned_by_transposing(source: BlockArgument, access: AccessMap) -> bool:
    dims, bits = dims_of(source), bit_width(element_of(source))
    if len(dims) != 2 or bits != FACTOR_BITS:
        return False
    if not access.is_projection or access.guards or access.indirects:
        return False
    return dims[1] * bits % CHUNK_BITS != 0 and dims[0] * bits % CHUNK_BITS == 0


@dataclass(frozen=True)
class AlignWeightsPass(ModulePass):
    """Transpose constant right factors whose rows are not whole 16 bytes."""

    name = "align-weights"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite every kernel whose anchor is a product."""
        for kernel in [one for one in op.walk() if isinstance(one, KernelOp)]:
            align_kernel(kernel)
