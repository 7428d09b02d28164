"""Schedules of scans and sorts: rows are independent, a row is one cell's work."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.dialects.fusion import Iterator, ScanOp, SortOp, StructuredOp
from stepwell.dialects.schedules import Anchor, Extents, Schedule
from stepwell.dialects.shapes import Ranges, bounds
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

from .estimate import estimates
from .schedule_map import map_grid, read_dim, vector_extent, widest

VECTORS = 4
"""Vectors of a chunk of a scan, or of independent scans side by side."""

LONGEST_SORT = 1 << 16
"""The most elements that a tile is sorted by."""

CYCLES_PER_VECTOR = 16.0
"""Cycles of one vector of a scan: its steps depend on one another."""


def schedule_scan(op: ScanOp, target: Target, ranges: Ranges) -> Schedule:
    """Chunks along the scan dim if that is contiguous, else many scans at once."""
    sizes = estimates(op.extents, ranges)
    along = op.dims_of_kind(Iterator.SCAN)[0]
    lanes = target.lanes(widest(op))
    lane = read_dim(op, sizes) or along
    tile = ((lane, vector_extent(sizes[lane], lanes, VECTORS)),)
    grid = _rows_grid(op, along, sizes, tile, lanes, target)
    return Schedule(Anchor.SCAN, grid, (), tile)


def schedule_sort(op: SortOp, target: Target, ranges: Ranges) -> Schedule:
    """A tile is one row.

    Raises:
        CompileError: a row may be longer than a tile can be.
    """
    sizes = estimates(op.extents, ranges)
    along = op.dims_of_kind(Iterator.SORT)[0]
    tile = ((along, longest_row(op, along, ranges)),)
    grid = _rows_grid(op, along, sizes, tile, target.lanes(widest(op)), target)
    return Schedule(Anchor.SORT, grid, (), tile)


def longest_row(op: SortOp, along: str, ranges: Ranges) -> int:
    """The most elements that one row may have.

    Raises:
        CompileError: more than a tile can hold, or unknown.
    """
    high = bounds(op.extents[along], ranges)[1]
    if high > LONGEST_SORT:
        raise CompileError(
            f"expected at most {LONGEST_SORT} elements to sort, got "
            f"{op.extents[along]}",
            where=str(op.location),
            fix="give the symbol a smaller maximum in the shape profile",
        )
    return int(high)


def _rows_grid(
    op: StructuredOp,
    along: str,
    sizes: Mapping[str, int],
    tile: Extents,
    lanes: int,
    target: Target,
) -> Extents:
    """Cells over every dim but the one that is scanned or sorted."""
    grid = map_grid(op, sizes, tile, lanes, target, CYCLES_PER_VECTOR)
    return tuple(axis for axis in grid if axis[0] != along)
