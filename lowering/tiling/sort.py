"""Kernels of sorts: a row is one tile, sorted with the indices of its elements."""

from __future__ import annotations

import math

from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, IntegerType, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.fusion import GenericOp, Iterator, KernelOp
from stepwell.dialects.fusion import SortOp as FusionSortOp
from stepwell.dialects.schedules import Schedule
from stepwell.dialects.shapes import element_of
from stepwell.dialects.tile import FuncOp, IotaOp, SortOp, TileType, tile_of

from .combines import is_unsigned
from .emission import KernelProgram, scalar_constant
from .frame import Frame
from .nest import cell_frame, grid_of, ragged, ranges_of, walk
from .reduction import flip_sign


def convert_sort(kernel: KernelOp, schedule: Schedule, name: str) -> FuncOp:
    """The program of a sort kernel, with the map behind it."""
    op, *maps = (o for o in kernel.block.ops if isinstance(o, FusionSortOp | GenericOp))
    assert isinstance(op, FusionSortOp)
    sizes = op.extents
    along = op.dims_of_kind(Iterator.SORT)[0]
    parts = KernelProgram(kernel, grid_of(schedule, sizes), name)
    start = cell_frame(parts.program, schedule)

    def row(frame: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        for position, tile in enumerate(_sort_row(parts, op, along, frame)):
            parts.tiles[op.outputs[position]] = tile
            parts.write(op, position, tile, frame)
        for consumer in maps:
            for position, tile in enumerate(parts.compute(consumer, frame)):
                parts.write(consumer, position, tile, frame)
        return []

    outer = [d for d in sizes if d != along]
    walk(parts.program, ranges_of(schedule, sizes, start, outer), start, [], row)
    return parts.program.finish()


def _sort_row(
    parts: KernelProgram, op: FusionSortOp, along: str, frame: Frame
) -> list[SSAValue]:
    """The sorted keys and where each of them was."""
    element = element_of(op.outputs[0])
    descending = op.descending is not None
    keys = parts.compute(op, frame)[0]
    unsigned = is_unsigned(element) and tile_of(keys).element_type != IntegerType(1)
    if unsigned:
        keys = flip_sign(parts, keys)
    if ragged(op.extents, frame, [along]):
        last = _last_key(tile_of(keys).element_type, descending)
        keys = _pad(parts, op, along, frame, keys, last)
    axis = frame.names.index(along)
    kind = TileType(tile_of(keys).extents, i64)
    places = parts.program.outermost(("places", axis, kind), IotaOp, axis, kind)
    sort = SortOp([keys, places], axis, descending=descending)
    parts.program.insert(sort)
    values, indices = sort.outputs
    return [flip_sign(parts, values) if unsigned else values, indices]


def _last_key(kind: Attribute, descending: bool) -> float | int:
    """A key behind which no key comes: the sort is stable."""
    if isinstance(kind, AnyFloat):
        return -math.inf if descending else math.nan
    assert isinstance(kind, IntegerType)
    width = kind.width.data
    if width == 1:
        return 0 if descending else 1
    return -(1 << (width - 1)) if descending else (1 << (width - 1)) - 1


def _pad(
    parts: KernelProgram,
    op: FusionSortOp,
    along: str,
    frame: Frame,
    keys: SSAValue,
    last: float,
) -> SSAValue:
    """The keys, with `last` past the end of the row."""
    program = parts.program
    places = program.positions(frame.extents, frame.names.index(along))
    with program.map([keys, places], [tile_of(keys)]) as body:
        key, place = body.scalars
        size = program.index(op.extents[along])
        inside = program.value(arith.CmpiOp(place, size, "slt"))
        filler = program.value(scalar_constant(last, key.type))
        body.yielded = [program.value(arith.SelectOp(inside, key, filler))]
    return body.results[0]
