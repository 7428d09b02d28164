"""Kernels of running folds: chunks along the scan dim carry the fold so far."""

from __future__ import annotations

from xdsl.ir import SSAValue

from stepwell.dialects.fusion import GenericOp, Iterator, KernelOp
from stepwell.dialects.fusion import ScanOp as FusionScanOp
from stepwell.dialects.schedules import Schedule
from stepwell.dialects.shapes import element_of
from stepwell.dialects.tile import (
    CombineKind,
    ExtractOp,
    FuncOp,
    ScanOp,
    TileType,
    tile_of,
)

from .combines import combine_op, identity
from .emission import KernelProgram
from .frame import Frame
from .nest import cell_frame, grid_of, ranges_of, walk


def convert_scan(kernel: KernelOp, schedule: Schedule, name: str) -> FuncOp:
    """The program of a scan kernel, with the map behind it."""
    op, *maps = (o for o in kernel.block.ops if isinstance(o, FusionScanOp | GenericOp))
    assert isinstance(op, FusionScanOp)
    sizes = op.extents
    along = op.dims_of_kind(Iterator.SCAN)[0]
    parts = KernelProgram(kernel, grid_of(schedule, sizes), name)
    start = cell_frame(parts.program, schedule)
    extents = start.extents_over(set(sizes) - {along})

    def chunk(frame: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        values = parts.compute(op, frame)
        results = [
            _scan_chunk(parts, op, position, frame, value, carry)
            for position, (value, carry) in enumerate(zip(values, carried, strict=True))
        ]
        for position, (tile, _) in enumerate(results):
            parts.tiles[op.outputs[position]] = tile
            parts.write(op, position, tile, frame)
        for consumer in maps:
            for position, tile in enumerate(parts.compute(consumer, frame)):
                parts.write(consumer, position, tile, frame)
            for value in op.outputs:
                parts.tiles.pop(value, None)
        return [carry for _, carry in results]

    def row(frame: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        elements = [element_of(value) for value in op.outputs]
        first = [
            parts.program.full(identity(kind, element), extents, value.type)
            for kind, element, value in zip(
                op.combines, elements, op.yielded, strict=True
            )
        ]
        walk(
            parts.program,
            ranges_of(schedule, sizes, frame, [along]),
            frame,
            first,
            chunk,
        )
        return []

    outer = [d for d in sizes if d != along]
    walk(parts.program, ranges_of(schedule, sizes, start, outer), start, [], row)
    return parts.program.finish()


def _scan_chunk(
    parts: KernelProgram,
    op: FusionScanOp,
    position: int,
    frame: Frame,
    value: SSAValue,
    carry: SSAValue,
) -> tuple[SSAValue, SSAValue]:
    """The results of one chunk, and the fold up to its end."""
    along = op.dims_of_kind(Iterator.SCAN)[0]
    exclusive = op.exclusive is not None
    if along not in frame.names or dict(frame.axes)[along] == 1:
        total = _combine(parts, op, position, carry, value)
        return (carry if exclusive else total), total
    axis = frame.names.index(along)
    kind = CombineKind(op.combines[position].value)
    folded = parts.program.value(ScanOp(kind, value, axis))
    inclusive = _combine(parts, op, position, folded, carry)
    kept = tile_of(inclusive)
    offsets = [n - 1 if d == axis else 0 for d, n in enumerate(kept.extents)]
    part = [1 if d == axis else n for d, n in enumerate(kept.extents)]
    last_type = TileType(part, kept.element_type)
    last = parts.program.value(ExtractOp(inclusive, offsets, last_type))
    if not exclusive:
        return inclusive, last
    before = parts.program.value(ScanOp(kind, value, axis, exclusive=True))
    return _combine(parts, op, position, before, carry), last


def _combine(
    parts: KernelProgram,
    op: FusionScanOp,
    position: int,
    left: SSAValue,
    right: SSAValue,
) -> SSAValue:
    kind, element = op.combines[position], element_of(op.outputs[position])
    with parts.program.map([left, right], [tile_of(left)]) as body:
        first, second = body.scalars
        body.yielded = [parts.program.value(combine_op(kind, element, first, second))]
    return body.results[0]
