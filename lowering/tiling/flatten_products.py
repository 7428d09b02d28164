"""Merge the row dims of products into one, for tiles of many rows.

A convolution's rows are output pixels: tiles that span only one dim of `n, p, q` waste
a tensor core where an image is 7 pixels wide. So the row dims become one, and the
input is read at its quotients and remainders. The same goes for the window and the
channels where there are too few channels to fill the inner dim of a tile.

```mlir
fusion.generic [p: 7, q: 7, o: 64, reduction c: 512] ins(%x[p, q * 2, c], %w[c, o])
// becomes
fusion.generic [pq: 49, o: 64, reduction c: 512]
    ins(%x[pq floordiv 7, (pq mod 7) * 2, c], %w[c, o])
```

Input invariant: kernels that `collapse-dims` left. For GPUs only: a core of a CPU walks
rows one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects.fusion import GenericOp, KernelOp, StructuredOp
from stepwell.dialects.shapes import Ranges
from stepwell.dialects.target import Target
from stepwell.lowering.tiling.product import Product, product_of

from .collapse_dims import Pair, Plan, carry_out, plan_merge, reshape_around
from .estimate import estimates, tuned_ranges
from .gpu.schedule_contraction import DEPTH, is_mma

WASTE = 1.2
"""How much of the inner dim of tiles may be filled up before dims are merged."""


def flatten_kernel(kernel: KernelOp, ranges: Ranges) -> None:
    """Merge what can be merged in a kernel whose anchor is a product."""
    ops = [op for op in kernel.block.ops if isinstance(op, StructuredOp)]
    if not ops or len(ops) + 1 != len(list(kernel.block.ops)):
        return
    anchor = ops[0]
    changed = False
    while isinstance(anchor, GenericOp):
        product = product_of(anchor)
        if product is None or not is_mma(product, ranges):
            break
        plan = _next_plan(ops, product, ranges)
        if plan is None:
            break
        carry_out(plan)
        changed = True
    if changed:
        reshape_around(kernel)


def _next_plan(
    ops: list[StructuredOp], product: Product, ranges: Ranges
) -> Plan | None:
    """The next merge: neighbours of one role, innermost first."""
    extents = product.op.extents
    roles = [product.m, product.n]
    if _is_wasteful(product, ranges):
        roles.append(product.shared_k)
    for dims in roles:
        for outer, inner in reversed(list(pairwise(dims))):
            pair = Pair(outer, inner, extents[inner])
            plan = plan_merge(ops, pair, dividing=True)
            if plan is not None:
                return plan
    return None


def _is_wasteful(product: Product, ranges: Ranges) -> bool:
    """Whether tiles along the last reduction dim would be filled up too much."""
    dims = product.shared_k
    if len(dims) < 2 or len(dims) != len(product.k):
        return False
    size = estimates(product.op.extents, ranges)[dims[-1]]
    return -(-size // DEPTH) * DEPTH > WASTE * size


@dataclass(frozen=True)
class FlattenProductsPass(ModulePass):
    """Merge dims of the products of a module for a GPU."""

    name = "flatten-products"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite the kernels and insert reshapes around them."""
        if Target.of(op).is_cpu:
            return
        ranges = tuned_ranges(op)
        for kernel in [one for one in op.walk() if isinstance(one, KernelOp)]:
            flatten_kernel(kernel, ranges)
