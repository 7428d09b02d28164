"""Layouts of shared memory between coalesced copies and the fragments of products."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from stepwell.dialects.layouts import (
    OFFSET,
    TileLayout,
    bank_conflicts,
    matrix_access,
)
from stepwell.dialects.layouts.linear import Basis

SPANS = (128, 64, 32, 16)
CHUNK = 128
"""Bits that are never torn apart: what one copy or matrix row moves."""


@lru_cache(maxsize=1024)
def staging_layout(
    extents: tuple[int, int], dim: int, bits: int, held: TileLayout, stages: int
) -> TileLayout:
    """Memory for `stages` tiles, one behind the other along the dim that is not `dim`.

    Args:
        extents: of one tile.
        dim: the dim along which it is contiguous, as in global memory.
        bits: of an element.
        held: the layout that a tile is read into: of the swizzles the one is taken
            that reads without conflicts between banks, or with the fewest.
        stages: how many tiles.

    Raises:
        ValueError: rows of the tile are not made of whole 16-byte chunks.
    """
    rows, columns = extents[1 - dim], extents[dim]
    best: tuple[int, TileLayout] | None = None
    for shift, span in _choices(columns, bits):
        one = _oriented(_swizzled(rows, columns, bits, span, shift), dim)
        conflicts = _conflicts(held, one, bits)
        if best is None or conflicts < best[0]:
            whole = _swizzled(rows * stages, columns, bits, span, shift)
            best = (conflicts, _oriented(whole, dim))
        if conflicts == 0:
            break
    if best is None:
        raise ValueError(f"rows of {columns} elements of {bits} bits are no chunks")
    return best[1]


def _conflicts(held: TileLayout, memory: TileLayout, bits: int) -> int:
    # A matrix instruction reads whole chunks of 8 rows, which every swizzle spreads.
    if matrix_access(held, memory, bits) is not None:
        return 0
    return bank_conflicts(held, memory, bits)


def _choices(columns: int, bits: int) -> Iterator[tuple[int, int]]:
    width = row_width(columns)
    for shift in (0, 1, 2):
        for span in SPANS:
            if width * bits >= span * 8:
                yield shift, span
                break


def row_width(columns: int) -> int:
    """The power of two that rows are made of: one run of memory."""
    return columns & -columns


def _oriented(layout: TileLayout, dim: int) -> TileLayout:
    return layout if dim == 1 else layout.permute([1, 0])


def _swizzled(rows: int, columns: int, bits: int, span: int, shift: int) -> TileLayout:
    """Rows one after another, their 16-byte chunks permuted in runs of `span` bytes.

    The chunk's number is XORed with bits of the row, moved up by `shift`: rows that
    start in one bank then differ.
    """
    chunk = CHUNK // bits
    chunks = span * 8 // CHUNK
    width = row_width(columns)
    lost = max(0, _log2(128 // (width * bits // 8)))
    bases: list[Basis] = [(0, 1 << b) for b in range(_log2(width))]
    for b in range(3):
        moved = b - lost + shift
        flip = chunk << moved if moved >= 0 and (1 << moved) < chunks else 0
        bases.append((1 << b, flip))
    if rows % 8:
        raise ValueError(f"expected a multiple of 8 rows, got {rows}")
    return TileLayout.of({OFFSET: bases}, (8, width), (rows // 8, columns // width))


def _log2(size: int) -> int:
    return size.bit_length() - 1 if size else 0
