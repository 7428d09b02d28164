"""Kernels of pure maps: each element of the results by itself."""

from __future__ import annotations

from xdsl.ir import SSAValue

from stepwell.dialects.fusion import GenericOp, KernelOp
from stepwell.dialects.schedules import Schedule
from stepwell.dialects.tile import FuncOp

from .emission import KernelProgram
from .frame import Frame
from .nest import cell_frame, grid_of, ranges_of, walk


def convert_map(kernel: KernelOp, schedule: Schedule, name: str) -> FuncOp:
    """The program of a map kernel: load, compute, store at each place of the nest."""
    generics = [op for op in kernel.block.ops if isinstance(op, GenericOp)]
    sizes = generics[0].extents
    parts = KernelProgram(kernel, grid_of(schedule, sizes), name)
    start = cell_frame(parts.program, schedule)

    def body(frame: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        for op in generics:
            for position, tile in enumerate(parts.compute(op, frame)):
                parts.tiles[op.outputs[position]] = tile
                parts.write(op, position, tile, frame)
        return []

    walk(parts.program, ranges_of(schedule, sizes, start, list(sizes)), start, [], body)
    return parts.program.finish()
