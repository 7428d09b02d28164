"""Rules of tiles in registers: loads, stores, scalar bodies, renamings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder, i32
from stepwell.dialects import nvvm, tile
from stepwell.dialects.layouts import (
    TileLayout,
    matrix_8x8,
)
from stepwell.errors import CompileError

from .bits import Array, emit_linear, emit_step, steps_of
from .kernel import Kernel, Shared, bytes_of
from .registers import Registers, in_pieces

# ---- shared memory ------------------------------------------------------------------


def shared_store(k: Kernel, op: Operation) -> None:
    """`stmatrix`, four 8x8 matrices at a time."""
    assert isinstance(op, tile.SharedStoreOp)
    held, target = k.registers(op.tile), k.values[op.target]
    assert isinstance(target, Shared)
    matrix = op.matrix
    if matrix is None or matrix.count != 4:
        raise CompileError(
            "no translation to a GPU for this store to shared memory yet"
        )
    layout = held.layout
    tables = _row_addresses(layout, target.kind, matrix.transposed)
    steps = steps_of(tables)
    base = emit_linear(k.b, steps.first, k.group.thread)
    words = half_words(k.b, held)
    way = nvvm.MMALayout.COL if matrix.transposed else nvvm.MMALayout.ROW
    for number in range(len(tables)):
        offset = emit_step(k.b, steps, base, number)
        pointer = k.offset(target.pointer, offset)
        four = words[4 * number : 4 * number + 4]
        k.nvvm(nvvm.StMatrixOp(pointer, four, way))


def _row_addresses(
    layout: TileLayout, target: tile.SharedType, transposed: bool
) -> list[Array]:
    """For each group of four matrices, the byte address that each thread gives.

    Lane l gives row `l % 8` of matrix `l / 8`. Which elements these are is read off
    the layout: the first element of each row of a matrix is held by one lane.
    """
    along = 0 if transposed else 1
    holders = _row_holders(along)
    coordinates = layout.coordinates
    pairs = layout.registers // 2
    tables: list[Array] = []
    size = bytes_of(target.element_type)
    for group in range(0, pairs, 4):
        table = np.zeros((layout.warps, 32), np.int64)
        for matrix in range(4):
            for row, (lane, offset) in enumerate(holders):
                register = 2 * (group + matrix) + offset
                place = [c[register, lane, :] for c in coordinates]
                table[:, 8 * matrix + row] = target.layout.offset_of(place) * size
        tables.append(table.reshape(-1))
    return tables


def _row_holders(along: int) -> list[tuple[int, int]]:
    """Lane and register of the first element of each row of an 8x8 matrix."""
    one = matrix_8x8()
    rows, columns = one.coordinates
    across, inner = (rows, columns) if along == 1 else (columns, rows)
    holders: list[tuple[int, int]] = []
    for row in range(8):
        register, lane, _ = np.argwhere((across == row) & (inner == 0))[0]
        holders.append((int(lane), int(register)))
    return holders


def half_words(b: Builder, held: Registers) -> list[SSAValue]:
    """16-bit registers two by two, as words."""
    pairs = in_pieces(b, held, 2)
    return [b.cast("bitcast", pair, i32) for pair in pairs]


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.SharedStoreOp: shared_store,
}
"""The rules of this file."""
