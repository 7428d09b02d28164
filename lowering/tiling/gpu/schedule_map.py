"""The cost model of maps on a GPU: a thread moves 16 bytes, a block one tile.

Tiles are long along the dim in which the results are contiguous. If the largest input
is contiguous along another dim, the tile spans both, so that reads and writes are whole
sectors and the exchange happens in the block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepwell.dialects.fusion import GenericOp
from stepwell.dialects.schedules import Anchor, Extents, Schedule
from stepwell.dialects.shapes import Ranges
from stepwell.lowering.tiling.estimate import estimates
from stepwell.lowering.tiling.schedule_map import read_dim, serial_dims, vector_dim

from .block import (
    LANES,
    WARPS,
    WARPS_OPTION,
    balanced,
    elements_per_thread,
    grow,
    in_order,
    narrowest,
    power_of_two,
    volume,
)

LINE_BITS = 1024
"""What a transposing tile spans along each of its two dims: a line of the cache."""

SHORT = 4
"""Up to this extent along the dim of the write, lanes run along that of the read."""


def schedule_map(op: GenericOp, ranges: Ranges) -> Schedule:
    """Choose the tile and the grid of a map kernel by its first generic."""
    sizes = estimates(op.extents, ranges)
    serial = serial_dims(op)
    tile = map_tile(op, sizes, serial)
    grid = tuple((n, dict(tile).get(n, 1)) for n in sizes if n not in serial)
    loops = tuple((name, 1) for name in serial)
    return Schedule(Anchor.MAP, grid, loops, tile, ((WARPS_OPTION, WARPS),))


def map_tile(op: GenericOp, sizes: Mapping[str, int], serial: Sequence[str]) -> Extents:
    """The axes of the tile, in the order of the space."""
    free = {name: n for name, n in sizes.items() if name not in serial}
    if not free:
        return ()
    threads = WARPS * LANES
    total = volume(free, list(free))
    count = threads * elements_per_thread(op, total, threads)
    write, read = vector_dim(op, sizes), read_dim(op, sizes)
    inner = [name for name in reversed(op.dim_names) if name in free]
    if write in free and read in free and write != read and free[write] > SHORT:
        line = LINE_BITS // narrowest(op)
        most = min(64, line)
        pair = tuple((n, min(most, power_of_two(free[n]))) for n in (read, write))
        return in_order(grow(inner, free, count, pair), op.dim_names)
    lead = [name for name in (read, write) if name in free]
    if write in free and read in free and write != read:
        first = ((write, balanced(free[write], count)),)
        return in_order(grow([read, *inner], free, count, first), op.dim_names)
    return in_order(grow([*lead[-1:], *inner], free, count), op.dim_names) or (
        (inner[0], 1),
    )
