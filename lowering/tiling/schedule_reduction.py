"""The cost model of reductions: lanes along the contiguous dim, reduced or not.

If the largest input is contiguous along a reduced dim, a tile is some rows by a run of
that dim, and its partial results are combined across lanes at the end. If it is
contiguous along an outer dim, lanes are independent results, and the reduced dims are
plain loops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepwell.dialects.fusion import GenericOp, Iterator, KernelOp
from stepwell.dialects.schedules import (
    SCHEDULE_ATTRIBUTE,
    Anchor,
    Extents,
    Schedule,
    ScheduleAttr,
)
from stepwell.dialects.shapes import Dim, Ranges
from stepwell.dialects.target import Target

from .cells import Cutter
from .estimate import estimates
from .reduction import outer_dims
from .schedule_map import read_dim, vector_extent, widest

ROW_LIMIT = 4096
"""The longest row, in elements, that is held whole: 16 KiB of f32, half of L1."""

VECTORS = 4
"""Vectors of a tile of partial results."""

ACCUMULATORS = 14
"""Vectors of a tile of independent results: they stay in registers."""

CYCLES_PER_VECTOR = 6.0
"""Cycles of one vector in one op of a reduction kernel."""


def schedule_reduction(kernel: KernelOp, target: Target, ranges: Ranges) -> Schedule:
    """The kernel's schedule; those of its ops are set on them."""
    generics = [op for op in kernel.block.ops if isinstance(op, GenericOp)]
    dims = {name: size for op in generics for name, size in op.extents.items()}
    sizes = estimates(dims, ranges)
    outer = outer_dims(generics)
    main = max(
        (op for op in generics if Iterator.REDUCTION in op.kinds),
        key=lambda op: _volume(sizes, op.dim_names),
    )
    lanes = target.lanes(min(32, max(widest(op) for op in generics)))
    lane = read_dim(main, sizes) or main.dim_names[-1]
    if lane in outer:
        axes = _independent_axes(main, sizes, outer, lane, lanes)
        own = dict.fromkeys(generics, axes)
    else:
        row = _row_axis(sizes, outer, dims[lane], sizes[lane], lanes)
        axes = (row,)
        own = {op: (row, _inner_axis(op, dims, outer, lane, lanes)) for op in generics}
    for op, tile in own.items():
        op.attributes[SCHEDULE_ATTRIBUTE] = ScheduleAttr(
            Schedule(Anchor.REDUCTION, tile=tile)
        )
    vectors = sum(_vectors(op, sizes, lanes) for op in generics)
    cutter = Cutter(vectors * CYCLES_PER_VECTOR, target)
    for name in outer:
        cutter.cut(name, dims[name], sizes[name], dict(axes).get(name, 1))
    return Schedule(Anchor.REDUCTION, grid=cutter.grid, tile=axes)


def _independent_axes(
    op: GenericOp, sizes: Mapping[str, int], outer: Sequence[str], lane: str, lanes: int
) -> Extents:
    """Rows of an outer dim by vectors of the lane dim, all of them results."""
    vectors = (
        2 if sizes[lane] % (2 * lanes) == 0 or sizes[lane] > 4 * lanes else VECTORS
    )
    across = vector_extent(sizes[lane], lanes, vectors)
    others = [d for d in outer if d != lane and sizes[d] > 1]
    if not others:
        return ((lane, across),)
    row = others[-1]
    most = max(1, ACCUMULATORS // max(1, -(-across // lanes)))
    count = min(range(1, most + 1), key=lambda n: (-(-sizes[row] // n) * (n + 1), -n))
    return ((row, min(count, sizes[row])), (lane, across))


def _row_axis(
    sizes: Mapping[str, int],
    outer: Sequence[str],
    size: Dim,
    estimated: int,
    lanes: int,
) -> tuple[str, int]:
    """How many rows a tile holds: several when they are short."""
    others = [d for d in outer if sizes[d] > 1]
    if not others:
        return (outer[-1] if outer else "", 1)
    row = others[-1]
    if not isinstance(size, int) or estimated >= VECTORS * lanes:
        return (row, 1)
    count = max(1, VECTORS * lanes // max(lanes, estimated))
    return (row, min(count, sizes[row]))


def _inner_axis(
    op: GenericOp, dims: Mapping[str, Dim], outer: Sequence[str], lane: str, lanes: int
) -> tuple[str, int]:
    """The reduced dim that a tile of `op` spans, and how far."""
    inner = [d for d in op.dim_names if d not in outer]
    if not inner:
        return (lane, 1)
    axis = lane if lane in inner else inner[-1]
    size = dims[axis]
    if not isinstance(size, int):
        return (axis, VECTORS * lanes)
    if size <= ROW_LIMIT:
        return (axis, max(1, size))
    return (axis, vector_extent(size, lanes, 2 * VECTORS))


def _vectors(op: GenericOp, sizes: Mapping[str, int], lanes: int) -> int:
    return -(-_volume(sizes, op.dim_names) // lanes) * len(op.inputs)


def _volume(sizes: Mapping[str, int], dims: Sequence[str]) -> int:
    total = 1
    for name in dims:
        total *= sizes[name]
    return total
