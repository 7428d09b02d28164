"""Kernels of reductions: statistics of rows, and maps that use them.

A cell walks the outer dims. At each place the ops of the kernel run one after the
other, each with loops over its own dims; what they pass on is held in tiles, or
computed again from the inputs where that is wider than a row's statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.fusion import Combine, GenericOp, Iterator, KernelOp
from stepwell.dialects.schedules import SCHEDULE_ATTRIBUTE, Schedule, ScheduleAttr
from stepwell.dialects.shapes import element_of, is_zero_or_more
from stepwell.dialects.tile import CombineKind, FuncOp, ReduceOp, tile_of

from .combines import identity, is_unsigned
from .emission import Accumulator, KernelProgram, scalar_constant
from .frame import Frame
from .nest import cell_frame, grid_of, ragged, ranges_of, walk


def convert_reduction(kernel: KernelOp, schedule: Schedule, name: str) -> FuncOp:
    """The program of a reduction kernel."""
    generics = [op for op in kernel.block.ops if isinstance(op, GenericOp)]
    sizes = {dim: size for op in generics for dim, size in op.extents.items()}
    outer = outer_dims(generics)
    parts = KernelProgram(kernel, grid_of(schedule, sizes), name)
    start = cell_frame(parts.program, schedule)

    def row(frame: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        held = dict(parts.tiles)
        for op in generics:
            own = _own_schedule(op, schedule)
            here = frame.spanning(own.tile)
            if Iterator.REDUCTION in op.kinds:
                _reduce(parts, op, own, here, outer)
            else:
                _map(parts, op, own, here, outer)
        parts.tiles = held
        parts.shared.clear()
        return []

    ranges = ranges_of(schedule, sizes, start, outer)
    walk(parts.program, ranges, start, [], row)
    return parts.program.finish()


def outer_dims(generics: Sequence[GenericOp]) -> list[str]:
    """The dims that all ops of the kernel share: no reduction runs over them."""
    first = next(op for op in generics if Iterator.REDUCTION in op.kinds)
    reduced = {d for op in generics for d in op.dims_of_kind(Iterator.REDUCTION)}
    return [d for d in first.dim_names if d not in reduced]


def _own_schedule(op: GenericOp, kernel: Schedule) -> Schedule:
    attribute = op.attributes.get(SCHEDULE_ATTRIBUTE)
    return attribute.data if isinstance(attribute, ScheduleAttr) else kernel


def _reduce(
    parts: KernelProgram,
    op: GenericOp,
    schedule: Schedule,
    frame: Frame,
    outer: Sequence[str],
) -> None:
    """Reduce the row of `frame`: a tile of partial results, then across the tile."""
    inner = [d for d in op.dim_names if d not in outer]
    elements = [element_of(value) for value in op.outputs]
    beyond = ragged(op.extents, frame, inner)
    ranges = ranges_of(schedule, op.extents, frame, inner)

    def accumulators(tiles: Sequence[SSAValue]) -> list[Accumulator]:
        triples = zip(op.combines, elements, tiles, strict=True)
        return [Accumulator(kind, e, t, beyond) for kind, e, t in triples]

    def step(here: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        return parts.compute(op, here, accumulators=accumulators(carried))

    if beyond and all(
        is_zero_or_more(schedule.extent(d) - op.extents[d]) for d in inner
    ):
        # The row is held: what is dear to compute is not computed again by others.
        for value, tile in zip(op.yielded, parts.compute(op, frame), strict=True):
            parts.share(op, value, tile)
    if beyond or any(op.extents[r.dim] != r.step for r in ranges):
        zeros = [
            parts.program.full(identity(kind, e), frame.extents, value.type)
            for kind, e, value in zip(op.combines, elements, op.yielded, strict=True)
        ]
        totals = walk(parts.program, ranges, frame, zeros, step)
    else:
        totals = parts.compute(op, frame)
        for value, tile in zip(op.yielded, totals, strict=True):
            parts.share(op, value, tile)
    for position, total in enumerate(totals):
        for axis, (dim, _) in enumerate(frame.axes):
            if dim in inner:
                kind = op.combines[position]
                total = reduce_axis(parts, total, axis, kind, elements[position])
        parts.tiles[op.outputs[position]] = total
        parts.write(op, position, total, frame)


def reduce_axis(
    parts: KernelProgram, tile: SSAValue, axis: int, kind: Combine, element: Attribute
) -> SSAValue:
    """Combine a tile along one axis; unsigned extremes go by way of signed ones."""
    if tile_of(tile).extents[axis] == 1:
        return tile
    ordered = kind in (Combine.MAX, Combine.MIN)
    if not ordered or not is_unsigned(element):
        return parts.program.value(ReduceOp(CombineKind(kind.value), tile, axis))
    if bit_width(tile_of(tile).element_type) == 1:
        logic = CombineKind.OR if kind is Combine.MAX else CombineKind.AND
        return parts.program.value(ReduceOp(logic, tile, axis))
    flipped = flip_sign(parts, tile)
    reduced = parts.program.value(ReduceOp(CombineKind(kind.value), flipped, axis))
    return flip_sign(parts, reduced)


def flip_sign(parts: KernelProgram, tile: SSAValue) -> SSAValue:
    """Exchange the order of unsigned integers for that of signed ones, and back."""
    kind = tile_of(tile)
    lowest = -(1 << (bit_width(kind.element_type) - 1))
    with parts.program.map([tile], [kind]) as body:
        sign = parts.program.value(scalar_constant(lowest, kind.element_type))
        flip = arith.XOrIOp(body.scalars[0], sign)
        body.yielded = [parts.program.value(flip)]
    return body.results[0]


def _map(
    parts: KernelProgram,
    op: GenericOp,
    schedule: Schedule,
    frame: Frame,
    outer: Sequence[str],
) -> None:
    """A map of statistics is held; a wider one is stored, or left to its readers."""
    inner = [d for d in op.dim_names if d not in outer]

    def step(here: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        for position, tile in enumerate(parts.compute(op, here)):
            parts.write(op, position, tile, here)
        return []

    is_whole = all(is_zero_or_more(schedule.extent(d) - op.extents[d]) for d in inner)
    if is_whole:
        for value, tile in zip(op.outputs, parts.compute(op, frame), strict=True):
            parts.tiles[value] = tile
            parts.write(op, op.results.index(value), tile, frame)
    elif any(value in parts.outputs for value in op.outputs):
        walk(
            parts.program,
            ranges_of(schedule, op.extents, frame, inner),
            frame,
            [],
            step,
        )
