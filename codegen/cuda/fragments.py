"""Rules of tiles in registers: loads, stores, scalar bodies, renamings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import Float16Type, Float32Type, VectorType
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder, i32, vector
from stepwell.dialects import nvvm, tile
from stepwell.dialects.access import row_major
from stepwell.dialects.layouts import (
    Conversion,
    LayoutAttr,
    TileLayout,
    matrix_8x8,
    register_sources,
)
from stepwell.dialects.shapes import Dim, DimExpr, symbol
from stepwell.errors import CompileError

from .bits import Array, emit_linear, emit_step, steps_of
from .control import scalar_value
from .kernel import Kernel, Registers, Shared, View, bytes_of


def layout_of(kind: tile.TileType) -> TileLayout:
    """The layout of a tile type.

    Raises:
        CompileError: it has none.
    """
    if not isinstance(kind.layout, LayoutAttr):
        raise CompileError(f"expected a tile with a layout, got {kind}")
    return kind.layout.data


def _registers(k: Kernel, value: SSAValue) -> Registers:
    known = k.values[value]
    assert isinstance(known, Registers)
    return known


# ---- views --------------------------------------------------------------------------


def access(k: Kernel, op: Operation) -> None:
    """The same memory under other dims."""
    assert isinstance(op, tile.AccessOp)
    source, kind = k.values[op.source], op.result.type
    assert isinstance(source, View) and isinstance(kind, tile.ViewType)
    if source.access is not None or op.access.guards or op.access.indirects:
        raise CompileError("no translation to a GPU for this access map yet")
    k.bind(op.result, View(kind, source.pointer, op.access, source.kind))


def load(k: Kernel, op: Operation) -> None:
    """Vector loads, as wide as registers are consecutive in memory."""
    assert isinstance(op, tile.LoadOp)
    kind = op.result.type
    assert isinstance(kind, tile.TileType)
    place = _Place(k, op, kind)
    values: list[SSAValue] = []
    element = kind.element_type
    for start in range(0, place.layout.registers, place.width):
        pointer = place.pointer(start)
        wide = vector(element, place.width)
        loaded = k.b.load(pointer, wide, bytes_of(element, place.width))
        values += _lanes(k.b, loaded, place.width)
    k.bind(op.result, Registers(kind, tuple(values)))


def store(k: Kernel, op: Operation) -> None:
    """Vector stores, as wide as registers are consecutive in memory."""
    assert isinstance(op, tile.StoreOp)
    if op.accumulate is not None:
        raise CompileError("no translation to a GPU for accumulating stores yet")
    held = _registers(k, op.tile)
    place = _Place(k, op, held.kind)
    element = held.kind.element_type
    for start in range(0, place.layout.registers, place.width):
        values = held.values[start : start + place.width]
        packed = _pack(k.b, values, element)
        k.b.store(packed, place.pointer(start), bytes_of(element, place.width))


def _lanes(b: Builder, value: SSAValue, count: int) -> list[SSAValue]:
    return [value] if count == 1 else [b.extract(value, i) for i in range(count)]


def _pack(b: Builder, values: Sequence[SSAValue], element: Attribute) -> SSAValue:
    if len(values) == 1:
        return values[0]
    result = b.poison(VectorType(element, [len(values)]))
    for lane, value in enumerate(values):
        result = b.insert_lane(result, value, lane)
    return result


class _Place:
    """Where the registers of a tile lie in a view.

    Only tiles that divide the view's sizes, of row-major memory: ragged edges need
    masks, which have no translation yet.
    """

    def __init__(
        self, k: Kernel, op: tile.LoadOp | tile.StoreOp, kind: tile.TileType
    ) -> None:
        self.k, self.layout, self.element = k, layout_of(kind), kind.element_type
        view = k.values[op.view]
        assert isinstance(view, View)
        self.base = view.pointer
        strides = _strides(view, op.spanned)
        _expect_whole(view, op, kind)
        self.steps = steps_of(self._tables(strides))
        self.thread = emit_linear(k.b, self.steps.first, k.group.thread)
        for index, stride in zip(op.indices, _strides(view, None), strict=True):
            moved = k.arith("mul", k.index(index), stride)
            self.thread = k.b.binary("add", self.thread, moved)
        self.width = self._width(strides)

    def _tables(self, strides: Sequence[int]) -> list[Array]:
        total = sum(
            c * s for c, s in zip(self.layout.coordinates, strides, strict=True)
        )
        return [np.asarray(t).T.reshape(-1) for t in np.asarray(total)]

    def _width(self, strides: Sequence[int]) -> int:
        """Consecutive registers that are consecutive in memory, up to 16 bytes."""
        offsets = self._tables(strides)
        width, limit = 1, 16 // bytes_of(self.element)
        while width < limit and self.layout.registers % (2 * width) == 0:
            groups = range(0, self.layout.registers, 2 * width)
            whole = all(
                np.all(offsets[g + i] == offsets[g] + i)
                and np.all(offsets[g] % (2 * width) == 0)
                for g in groups
                for i in range(2 * width)
            )
            if not whole:
                break
            width *= 2
        return width

    def pointer(self, register: int) -> SSAValue:
        """The address of a register's element."""
        offset = emit_step(self.k.b, self.steps, self.thread, register)
        return self.k.b.gep(self.base, offset, self.element)


def _strides(view: View, spanned: Sequence[int] | None) -> list[int]:
    """Elements per step along the view's dims, or along the spanned ones."""
    shape = view.kind.dims if view.source is None else view.source.dims
    memory = row_major(shape)
    strides: list[Dim] = list(memory)
    if view.access is not None:
        found = [view.access.stride_along(name, memory) for name in view.access.dims]
        if any(s is None for s in found) or view.access.address(memory) != _sum(
            found, view.access.dims
        ):
            raise CompileError("no translation to a GPU for this access map yet")
        strides = [s for s in found if s is not None]
    chosen = strides if spanned is None else [strides[d] for d in spanned]
    if any(isinstance(s, DimExpr) for s in chosen):
        raise CompileError("no translation to a GPU for strides of symbols yet")
    return [s for s in chosen if isinstance(s, int)]


def _sum(strides: Sequence[Dim | None], names: Sequence[str]) -> Dim:
    total: Dim = 0
    for stride, name in zip(strides, names, strict=True):
        total = total + (stride or 0) * symbol(name)
    return total


def _expect_whole(
    view: View, op: tile.LoadOp | tile.StoreOp, kind: tile.TileType
) -> None:
    for dim, extent in zip(op.spanned, kind.extents, strict=True):
        size = view.kind.dims[dim]
        if extent != 1 and (not isinstance(size, int) or size % extent):
            raise CompileError(
                f"no translation to a GPU for tiles of {extent} over {size} yet"
            )


# ---- values -------------------------------------------------------------------------


def full(k: Kernel, op: Operation) -> None:
    """The same constant in every register."""
    assert isinstance(op, tile.FullOp)
    kind = op.result.type
    assert isinstance(kind, tile.TileType)
    value = k.b.constant(op.value.value.data, kind.element_type)
    k.bind(op.result, Registers(kind, (value,) * layout_of(kind).registers))


def map_op(k: Kernel, op: Operation) -> None:
    """The body for each register; a broadcast input is the register it repeats."""
    assert isinstance(op, tile.MapOp)
    kinds = [value.type for value in op.outputs]
    first = kinds[0]
    assert isinstance(first, tile.TileType)
    layout = layout_of(first)
    inputs = [_registers(k, value) for value in op.inputs]
    sources = [_sources(held, first, layout) for held in inputs]
    columns: list[list[SSAValue]] = [[] for _ in kinds]
    for register in range(layout.registers):
        args = [h.values[s[register]] for h, s in zip(inputs, sources, strict=True)]
        for column, value in zip(columns, _body(k, op, args), strict=True):
            column.append(value)
    for value, kind, column in zip(op.outputs, kinds, columns, strict=True):
        assert isinstance(kind, tile.TileType)
        k.bind(value, Registers(kind, tuple(column)))


def _sources(held: Registers, kind: tile.TileType, layout: TileLayout) -> list[int]:
    if held.kind.extents == kind.extents:
        return list(range(layout.registers))
    return register_sources(layout_of(held.kind), layout)


def _body(k: Kernel, op: tile.MapOp, args: Sequence[SSAValue]) -> list[SSAValue]:
    known: dict[SSAValue, SSAValue] = dict(zip(op.body.block.args, args, strict=True))

    def value_of(value: SSAValue) -> SSAValue:
        return known[value] if value in known else k.scalar(value)

    last = op.body.block.last_op
    assert last is not None
    for inner in op.body.block.ops:
        if inner is not last:
            operands = [value_of(v) for v in inner.operands]
            known[inner.results[0]] = scalar_value(k.b, inner, operands)
    return [value_of(v) for v in last.operands]


def extract(k: Kernel, op: Operation) -> None:
    """A part of a tile: the registers that hold it."""
    assert isinstance(op, tile.ExtractOp)
    held, kind = _registers(k, op.input), op.result.type
    assert isinstance(kind, tile.TileType)
    sources = register_sources(
        layout_of(held.kind), layout_of(kind), op.offsets.get_values()
    )
    k.bind(op.result, Registers(kind, tuple(held.values[s] for s in sources)))


def convert_layout(k: Kernel, op: Operation) -> None:
    """Registers under other names; other conversions have no translation yet."""
    assert isinstance(op, tile.ConvertLayoutOp)
    if op.conversion not in (Conversion.NONE, Conversion.REGISTERS):
        raise CompileError(
            f"no translation to a GPU for a conversion by {op.conversion}"
        )
    held, kind = _registers(k, op.input), op.result.type
    assert isinstance(kind, tile.TileType)
    sources = register_sources(layout_of(held.kind), layout_of(kind))
    k.bind(op.result, Registers(kind, tuple(held.values[s] for s in sources)))


# ---- shared memory ------------------------------------------------------------------


def shared_store(k: Kernel, op: Operation) -> None:
    """`stmatrix`, four 8x8 matrices at a time."""
    assert isinstance(op, tile.SharedStoreOp)
    held, target = _registers(k, op.tile), k.values[op.target]
    assert isinstance(target, Shared)
    matrix = op.matrix
    if matrix is None or matrix.count != 4:
        raise CompileError(
            "no translation to a GPU for this store to shared memory yet"
        )
    layout = layout_of(held.kind)
    tables = _row_addresses(layout, target.kind, matrix.transposed)
    steps = steps_of(tables)
    base = emit_linear(k.b, steps.first, k.group.thread)
    words = [
        pack_halves(k.b, *held.values[i : i + 2]) for i in range(0, len(held.values), 2)
    ]
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


def pack_halves(b: Builder, low: SSAValue, high: SSAValue) -> SSAValue:
    """Two 16-bit values as one word; from f32 by one conversion."""
    if low.type == Float16Type() and _narrowed(low) and _narrowed(high):
        wide = [
            v.owner.operands[0] for v in (low, high) if isinstance(v.owner, Operation)
        ]
        pair = b.intrinsic(
            "llvm.nvvm.ff2f16x2.rn", (wide[1], wide[0]), VectorType(low.type, [2])
        )
    else:
        pair = _pack(b, (low, high), low.type)
    return b.cast("bitcast", pair, i32)


def _narrowed(value: SSAValue) -> bool:
    owner = value.owner
    return (
        isinstance(owner, Operation)
        and owner.name == "llvm.fptrunc"
        and isinstance(owner.operands[0].type, Float32Type)
    )


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.AccessOp: access,
    tile.LoadOp: load,
    tile.StoreOp: store,
    tile.FullOp: full,
    tile.MapOp: map_op,
    tile.ExtractOp: extract,
    tile.ConvertLayoutOp: convert_layout,
    tile.SharedStoreOp: shared_store,
}
"""The rules of this file."""
