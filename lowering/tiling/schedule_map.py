"""The cost model of maps: which dims a tile spans, and how much a cell does.

The vector dim is the one along which the results are contiguous; when the largest
input is contiguous along another one, the tile spans both, and the transposition
happens inside of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepwell.dialects.access import AccessMap, Stride
from stepwell.dialects.fusion import GenericOp, StructuredOp
from stepwell.dialects.schedules import Anchor, Extents, Schedule
from stepwell.dialects.shapes import (
    Ranges,
    Shape,
    dims_of,
    element_of,
    symbols_of,
)
from stepwell.dialects.target import Target

from .cells import Cutter
from .estimate import estimates

VECTORS = 4
"""Vectors of a tile: enough independent work, few enough to stay in registers."""

TRANSPOSED = 16
"""Rows of a tile that is read along one dim and written along another."""

NARROW = 4
"""Up to this extent of the vector dim, lanes run along the dim of the read instead."""

CYCLES_PER_VECTOR = 4.0
"""Cycles of one vector of a simple map whose operands are in the L2 cache."""


def schedule_map(op: GenericOp, target: Target, ranges: Ranges) -> Schedule:
    """Choose the tile and the grid of a map kernel by its first generic."""
    sizes = estimates(op.extents, ranges)
    lanes = target.lanes(widest(op))
    serial = serial_dims(op)
    if serial:
        return _schedule_scatter(op, sizes, serial, lanes, target)
    tile = map_tile(op, sizes, lanes)
    return Schedule(Anchor.MAP, map_grid(op, sizes, tile, lanes, target), (), tile)


def serial_dims(op: StructuredOp) -> list[str]:
    """The dims that a computed place of writing depends on.

    Two indices along them may write one element, so they are walked in order.
    """
    names: set[str] = set()
    for access in op.out_maps:
        for indirect in access.indirects:
            names = names.union(*map(symbols_of, indirect.index))
    return [name for name in op.dim_names if name in names]


def _schedule_scatter(
    op: GenericOp,
    sizes: Mapping[str, int],
    serial: Sequence[str],
    lanes: int,
    target: Target,
) -> Schedule:
    """Loops over the serial dims inside of cells over the others."""
    others = {name: size for name, size in sizes.items() if name not in serial}
    lane = max(others, key=lambda n: op.dim_names.index(n), default=serial[-1])
    count = vector_extent(sizes[lane], lanes, VECTORS) if lane in others else 1
    tile = ((lane, count),)
    grid = map_grid(op, sizes, tile, lanes, target)
    grid = tuple(axis for axis in grid if axis[0] in others)
    return Schedule(Anchor.MAP, grid, tuple((name, 1) for name in serial), tile)


def widest(op: StructuredOp) -> int:
    """Bits of the widest scalar among inputs and results, at least 8."""
    widths = [getattr(element_of(v), "bitwidth", 8) for v in (*op.inputs, *op.outputs)]
    return max(8, *widths)


def contiguous_dim(
    access: AccessMap, shape: Shape, sizes: Mapping[str, int]
) -> str | None:
    """The iteration dim along which `access` walks memory element by element."""
    for name in reversed(access.dims):
        if sizes[name] > 1 and access.classify(name, shape) is Stride.CONTIGUOUS:
            return name
    return None


def vector_dim(op: StructuredOp, sizes: Mapping[str, int]) -> str | None:
    """The dim along which the first result is contiguous, else the largest dim."""
    access, shape = op.out_maps[0], dims_of(op.outputs[0])
    found = contiguous_dim(access, shape, sizes) or read_dim(op, sizes)
    return found or max(sizes, key=lambda d: sizes[d], default=None)


def read_dim(op: StructuredOp, sizes: Mapping[str, int]) -> str | None:
    """The dim along which the input that touches most points is contiguous."""
    best, volume = None, 0
    for value, access in zip(op.inputs, op.in_maps, strict=True):
        points = _volume(sizes, [d for d in access.dims if d in access.used_dims])
        name = contiguous_dim(access, dims_of(value), sizes)
        if name is not None and points > volume:
            best, volume = name, points
    return best


def map_tile(op: StructuredOp, sizes: Mapping[str, int], lanes: int) -> Extents:
    """The axes of the tile, the vector dim last."""
    vector = vector_dim(op, sizes)
    if vector is None:
        return ()
    read = read_dim(op, sizes)
    if read is not None and read != vector:
        if sizes[vector] <= NARROW:
            lane = vector_extent(sizes[read], lanes, VECTORS)
            return ((vector, sizes[vector]), (read, lane))
        return (
            (read, min(TRANSPOSED, sizes[read])),
            (vector, vector_extent(sizes[vector], lanes, 1)),
        )
    extent = vector_extent(sizes[vector], lanes, VECTORS)
    rows = _row_dim(op, sizes, vector)
    if rows is None or extent * 2 > lanes * VECTORS:
        return ((vector, extent),)
    count = min(sizes[rows], max(1, lanes * VECTORS // max(extent, lanes)))
    return ((rows, count), (vector, extent)) if count > 1 else ((vector, extent),)


def vector_extent(size: int, lanes: int, vectors: int) -> int:
    """The extent along a vector dim: all of a short one, else the least waste."""
    if size <= lanes * vectors:
        return size
    choices = [lanes * count for count in range(vectors, max(1, vectors // 2) - 1, -1)]
    return min(choices, key=lambda n: -(-size // n) * n)


def _row_dim(op: StructuredOp, sizes: Mapping[str, int], vector: str) -> str | None:
    """The innermost dim beside the vector dim that is worth walking in tiles."""
    others = [d for d in op.dim_names if d != vector and sizes[d] > 1]
    return others[-1] if others else None


def map_grid(
    op: StructuredOp,
    sizes: Mapping[str, int],
    tile: Extents,
    lanes: int,
    target: Target,
    cycles_per_vector: float = CYCLES_PER_VECTOR,
) -> Extents:
    """Cut the outer dims into cells until there are as many as wanted."""
    extents = dict(tile)
    vectors = 1
    for name, size in sizes.items():
        step = extents.get(name, 1)
        vectors *= -(-size // step)
    vectors *= max(1, -(-_volume(extents, list(extents)) // lanes))
    cutter = Cutter(vectors * cycles_per_vector * max(1, len(op.inputs)), target)
    for name, size, _ in op.space:
        cutter.cut(name, size, sizes[name], extents.get(name, 1))
    return cutter.grid


def _volume(sizes: Mapping[str, int], dims: Sequence[str]) -> int:
    total = 1
    for name in dims:
        total *= sizes[name]
    return total
