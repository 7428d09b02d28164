"""The fragments of `mma.sync` that a product's tiles are made of."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import TileLayout, mma_a, mma_b, mma_c, on_warps
from stepwell.dialects.tile import DotOp, tile_of


@dataclass(frozen=True)
class Fragments:
    """The layouts of a product's left and right side, and of its sums."""

    left: TileLayout
    right: TileLayout
    sums: TileLayout


def fragments_of(op: DotOp, warp_rows: int, warp_columns: int) -> Fragments:
    """The fragments of a product over a grid of warps.

    Raises:
        ValueError: the tiles are not made of whole fragments, or not of rank 2.
    """
    lhs, rhs = tile_of(op.lhs), tile_of(op.rhs)
    if len(lhs.extents) != 2:
        raise ValueError(f"expected tiles of rank 2, got {list(lhs.extents)}")
    bits = bit_width(lhs.element_type)
    depth = 256 // bits
    down, across = warp_rows, warp_columns
    # Fewer columns than warps: some warps compute the same.
    fits = min(across, max(1, rhs.extents[1] // 8))
    columns: list[tuple[int | None, int]] = [(1, fits), (None, across // fits)]
    fill: list[tuple[int | None, int]] = [(None, across)]
    return Fragments(
        on_warps(mma_a(16, depth, bits), lhs.extents, [(0, down), *fill]),
        on_warps(mma_b(depth, 8, bits), rhs.extents, [(None, down), *columns]),
        on_warps(mma_c(16, 8), tile_of(op.result).extents, [(0, down), *columns]),
    )
