"""Schedules of scans and sorts on a GPU: a block works on rows of one dim."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.dialects.fusion import Iterator, ScanOp, SortOp, StructuredOp
from stepwell.dialects.schedules import Anchor, Extents, Schedule
from stepwell.dialects.shapes import Ranges
from stepwell.lowering.tiling.estimate import estimates
from stepwell.lowering.tiling.schedule_map import read_dim
from stepwell.lowering.tiling.schedule_order import longest_row

from .block import LANES, WARPS, WARPS_OPTION, balanced, power_of_two

CHUNK = 4
"""Elements of a scan that a thread holds."""


def schedule_scan(op: ScanOp, ranges: Ranges) -> Schedule:
    """Chunks along the scan dim if that is contiguous, else many scans at once."""
    sizes = estimates(op.extents, ranges)
    along = op.dims_of_kind(Iterator.SCAN)[0]
    lane = read_dim(op, sizes) or along
    threads = WARPS * LANES
    if lane == along:
        tile = ((along, balanced(sizes[along], threads * CHUNK)),)
    else:
        tile = ((lane, balanced(sizes[lane], threads)),)
    return Schedule(Anchor.SCAN, _rows(op, along, sizes, tile), (), tile, _WARPS)


def schedule_sort(op: SortOp, ranges: Ranges) -> Schedule:
    """A tile is one row, filled up to a power of two.

    Raises:
        CompileError: a row may be longer than a tile can be.
    """
    sizes = estimates(op.extents, ranges)
    along = op.dims_of_kind(Iterator.SORT)[0]
    extent = power_of_two(max(1, longest_row(op, along, ranges)))
    tile = ((along, extent),)
    warps = max(1, min(32, extent // (LANES * CHUNK)))
    options = ((WARPS_OPTION, warps),)
    return Schedule(Anchor.SORT, _rows(op, along, sizes, tile), (), tile, options)


_WARPS = ((WARPS_OPTION, WARPS),)


def _rows(
    op: StructuredOp, along: str, sizes: Mapping[str, int], tile: Extents
) -> Extents:
    """Cells over every dim but the one that is scanned or sorted."""
    return tuple((n, dict(tile).get(n, 1)) for n in op.extents if n != along)
