"""The cost model of matrix products by TMA and `wgmma`; see `specialise-warps`.

A persistent block sums tiles of `64 * groups x columns`. The model was fitted to times
on an H100 (14 shapes, its first choice 2 % from the best on average): a wave of tiles
costs the largest of issuing the products, loading shared memory, and the L2 cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type
from xdsl.ir import BlockArgument, SSAValue

from stepwell.dialects.access import AccessMap
from stepwell.dialects.fusion import GenericOp, KernelOp
from stepwell.dialects.quasi_affine import as_symbol
from stepwell.dialects.schedules import Anchor, Schedule
from stepwell.dialects.shapes import DimExpr, Ranges, Shape, dims_of
from stepwell.lowering.tiling.contraction import factors
from stepwell.lowering.tiling.estimate import estimates
from stepwell.lowering.tiling.hopper.match import DEPTH, GROUP_ROWS
from stepwell.lowering.tiling.product import Product, product_of

from .block import MULTIPROCESSORS
from .schedule_contraction import is_mma

WGMMA_OPTION = "wgmma"
"""The option that asks `specialise-warps` for a program of producer and consumers."""

LEAST_ROWS = 32
"""Fewer rows waste more than half of a warpgroup's products."""


def schedule_hopper(kernel: KernelOp, ranges: Ranges) -> Schedule | None:
    """The schedule of a product whose factors TMA can move; None for other kernels."""
    first = kernel.block.first_op
    product = product_of(first) if isinstance(first, GenericOp) else None
    if product is None or not is_mma(product, ranges):
        return None
    return schedule_product(product, estimates(product.op.extents, ranges))


def schedule_product(product: Product, sizes: Mapping[str, int]) -> Schedule | None:
    """The schedule of a product, if its factors fit TMA and it is large enough."""
    axes = hopper_axes(product)
    if axes is None or sizes[axes[0]] < LEAST_ROWS or sizes[axes[2]] < 2 * DEPTH:
        return None
    row, column, inner = axes
    batch = 1
    for dim in (*product.batch, *product.m, *product.n):
        batch *= 1 if dim in (row, column) else sizes[dim]

    def cost(choice: tuple[int, int]) -> float:
        return microseconds(*choice, batch, sizes[row], sizes[column], sizes[inner])

    choices = [c for c in hopper_tiles() if c[1] // 2 < sizes[column]]
    groups, columns = min(choices, key=cost)
    tile = ((row, GROUP_ROWS * groups), (column, columns), (inner, DEPTH))
    steps = dict(tile)
    order = (*product.batch, *product.m, *product.n)
    grid = tuple((dim, steps.get(dim, 1)) for dim in order)
    schedule = Schedule(Anchor.CONTRACTION, grid, ((inner, DEPTH),), tile)
    return schedule.with_options(**{WGMMA_OPTION: 1})


def hopper_tiles() -> Iterator[tuple[int, int]]:
    """Consumer warpgroups and columns of the tiles to choose from."""
    for groups in (1, 2, 3):
        for columns in (16, 32, 64, 96, 128, 160, 192, 224, 256):
            if groups < 3 or columns <= 192:
                yield groups, columns


def microseconds(
    groups: int, columns: int, batch: int, m: int, n: int, k: int
) -> float:
    """The time of a product; groups and columns say how it is cut."""
    tiles = batch * -(-m // (GROUP_ROWS * groups)) * -(-n // columns)
    waves = -(-tiles // MULTIPROCESSORS)
    issue = 2.0 * columns * groups
    load = (GROUP_ROWS * groups + columns) * 1.6
    cache = (8192 * groups + 128 * groups * columns) / 115
    step = max(issue, load, cache) / 1450
    rest = 0.3 + 1.3 * groups * columns / 512
    return 2.2 + waves * (-(-k // DEPTH) * step + rest)


def hopper_axes(product: Product) -> tuple[str, str, str] | None:
    """The dims of rows, columns and K, if both factors are tiles of whole tensors."""
    left, right = factors(product)
    inner = [d for d in product.k if product.op.extents[d] != 1]
    if len(inner) != 1 or not _is_summed_by_wgmma(product, left, right):
        return None
    k = inner[0]
    ends = [_last_dim(product, value) for value in (left, right)]
    if ends[0] != k or ends[1] is None:
        return None
    column = ends[1] if ends[1] in product.n else next(iter(reversed(product.n)), None)
    rows = [d for d in product.m if product.op.extents[d] != 1]
    if column is None or not rows or (ends[1] != k and ends[1] != column):
        return None
    return rows[-1], column, k


def _is_summed_by_wgmma(product: Product, left: SSAValue, right: SSAValue) -> bool:
    element, total = left.type, product.op.yielded[0].type
    return (
        isinstance(element, Float16Type | BFloat16Type)
        and right.type == element
        and isinstance(total, Float32Type)
    )


def _last_dim(product: Product, value: SSAValue) -> str | None:
    """The dim along which a factor's tensor is contiguous, if TMA can move it."""
    if not isinstance(value, BlockArgument):
        return None
    if not product.op.inputs[value.index].has_one_use():
        return None  # the kernel's epilogue reads it too, as no tile of the product
    access: AccessMap = product.op.in_maps[value.index]
    shape: Shape = dims_of(product.op.inputs[value.index])
    if access.indirects or not access.is_projection or not 1 < len(shape) <= 5:
        return None
    aligned = shape[-1] % 8
    if isinstance(aligned, DimExpr) or aligned != 0:
        return None
    return as_symbol(access.results[-1])
