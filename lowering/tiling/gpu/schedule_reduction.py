"""The cost model of reductions on a GPU.

A row that is contiguous in memory is one warp's work, or the block's if it is long, or
if there are few rows. Where memory is contiguous along the results instead, lanes are
results, and warps share the reduced dims when there are too few results to go around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepwell.dialects.fusion import GenericOp, Iterator, KernelOp
from stepwell.dialects.schedules import (
    SCHEDULE_ATTRIBUTE,
    Anchor,
    Extents,
    Schedule,
    ScheduleAttr,
)
from stepwell.dialects.shapes import Dim, Ranges
from stepwell.lowering.tiling.estimate import estimates
from stepwell.lowering.tiling.reduction import outer_dims
from stepwell.lowering.tiling.schedule_map import read_dim

from .block import (
    ACCESS_BITS,
    LANES,
    MULTIPROCESSORS,
    WARPS,
    WARPS_OPTION,
    balanced,
    grow,
    in_order,
    narrowest,
    power_of_two,
    volume,
)

WHOLE = 32
"""Elements of a row that a thread holds at most, when the row is held whole."""

MOST_WARPS = 16
"""Warps of a block that has a row or a few results for itself."""

UNROLLED = 4
"""Elements along a reduced dim that a thread loads at the same time."""


def schedule_reduction(kernel: KernelOp, ranges: Ranges) -> Schedule:
    """The kernel's schedule; those of its ops are set on them."""
    generics = [op for op in kernel.block.ops if isinstance(op, GenericOp)]
    dims = {name: size for op in generics for name, size in op.extents.items()}
    sizes = estimates(dims, ranges)
    outer = outer_dims(generics)
    main = max(
        (op for op in generics if Iterator.REDUCTION in op.kinds),
        key=lambda op: volume(sizes, op.dim_names),
    )
    lane = read_dim(main, sizes) or main.dim_names[-1]
    vector = ACCESS_BITS // max(16, min(32, *(narrowest(op) for op in generics), 32))
    if lane in outer:
        plan = _columns(main, sizes, outer, lane, vector)
    else:
        plan = _rows(dims, sizes, outer, lane, vector)
    for op in generics:
        axes = plan.axes_of(op, outer)
        op.attributes[SCHEDULE_ATTRIBUTE] = ScheduleAttr(
            Schedule(Anchor.REDUCTION, tile=axes)
        )
    tile = dict(plan.outer)
    grid = tuple((name, tile.get(name, 1)) for name in outer)
    options = ((WARPS_OPTION, plan.warps),)
    return Schedule(Anchor.REDUCTION, grid, (), plan.outer, options)


@dataclass(frozen=True)
class _Plan:
    """The tiles of a kernel.

    Attributes:
        outer: the outer dims that tiles span.
        lane: the reduced dim that tiles span where an op has it.
        extent: of that dim.
        warps: of a block.
        first: whether the reduced dim is the first axis, not the last.
    """

    outer: Extents
    lane: str
    extent: int
    warps: int
    first: bool = False

    def axes_of(self, op: GenericOp, outer: Sequence[str]) -> Extents:
        """The tile of one op: its own reduced dim, or extent 1 if it has none."""
        inner = [d for d in op.dim_names if d not in outer]
        axis = (self.lane, 1)
        if inner:
            name = self.lane if self.lane in inner else inner[-1]
            axis = (name, self.extent)
        return (axis, *self.outer) if self.first else (*self.outer, axis)


def _rows(
    dims: Mapping[str, Dim],
    sizes: Mapping[str, int],
    outer: Sequence[str],
    lane: str,
    vector: int,
) -> _Plan:
    """Lanes along the reduced dim; warps along rows while there are enough rows."""
    rows = [d for d in outer if sizes[d] > 1]
    count = volume(sizes, rows)
    size = sizes[lane]
    known = isinstance(dims[lane], int)
    per_lane = size / LANES
    if known and rows and per_lane <= WHOLE and count >= 2 * MULTIPROCESSORS:
        extent = _whole(size, LANES * vector)
        share = max(1, LANES * vector // extent)
        held = balanced(sizes[rows[-1]], WARPS * share)
        return _Plan(((rows[-1], held),), lane, extent, WARPS)
    warps = min(WARPS, max(1, power_of_two(size) // (LANES * vector)))
    if count < MULTIPROCESSORS // 2 and size >= WARPS * LANES * vector * 8:
        warps = MOST_WARPS
    unit = warps * LANES * vector
    extent = _whole(size, unit) if known and size <= unit * WHOLE // vector else 0
    row = ((rows[-1], 1),) if rows else tuple((d, 1) for d in outer[-1:])
    return _Plan(row, lane, extent or 2 * unit, warps)


def _whole(size: int, unit: int) -> int:
    """The extent that holds a row: a power of two, or a multiple of the threads."""
    if size <= unit:
        return power_of_two(size)
    return -(-size // unit) * unit


def _columns(
    op: GenericOp,
    sizes: Mapping[str, int],
    outer: Sequence[str],
    lane: str,
    vector: int,
) -> _Plan:
    """Lanes along results; warps along results too, or along the reduced dims."""
    threads = WARPS * LANES
    count = volume(sizes, outer)
    reduced = [d for d in op.dim_names if d not in outer]
    deep = max(reduced, key=lambda d: sizes[d])
    is_starved = count < MULTIPROCESSORS * threads
    if is_starved and sizes[deep] >= 2 * WARPS:
        across = grow([lane], sizes, LANES)
        lanes = volume(across, list(across))
        cells = -(-count // lanes)
        warps = power_of_two(-(-MULTIPROCESSORS * WARPS // cells))
        warps = max(WARPS, min(MOST_WARPS, warps, power_of_two(sizes[deep]) // 8))
        extent = balanced(sizes[deep], warps * LANES // lanes * UNROLLED)
        return _Plan(in_order(across, outer), deep, extent, warps, first=True)
    per_thread = max(1, min(vector, count // (MULTIPROCESSORS * threads)))
    per_thread = power_of_two(per_thread + 1) // 2
    tile = grow([lane, *reversed(outer)], sizes, threads * per_thread)
    axes = in_order(tile, outer) or ((lane, 1),)
    return _Plan(axes, deep, 1, WARPS, first=True)
