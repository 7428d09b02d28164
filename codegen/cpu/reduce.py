"""Rules of the folds: `tile.reduce`, `tile.arg_reduce` and `tile.scan`.

A fold along the last dim keeps one vector per row and folds its lanes at the end; along
another dim it keeps the pieces of a row. Sums and products of narrow floats are held in
f32 until the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects.builtin import FloatAttr, i1, i64
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_text import is_float
from stepwell.codegen.scalars.elements import from_bytes, to_bytes
from stepwell.codegen.scalars.folds import Fold
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim

from .kernel import UNROLLED_OPS, Kernel
from .values import Position, Registers, Scratch, Tile, type_extents

MOST_ROWS = 32
"""Rows that are folded side by side, each with a register of its own."""


def inside_last(kernel: Kernel, held: Tile, start: Dim) -> SSAValue | None:
    """The lanes of a piece that belong to the tile, None where all do."""
    last = held.extents[-1]
    if held.lanes == 1 or last % held.lanes == 0:
        return None
    b = kernel.b
    if isinstance(start, int):
        if start + held.lanes <= last:
            return None
        return b.constants([int(start + i < last) for i in range(held.lanes)], i1)
    at = b.splat(kernel.space.value(start), held.lanes)
    at = b.binary("add", at, b.iota(held.lanes))
    return b.icmp("slt", at, b.constant(last, at.type))


def reduce(kernel: Kernel, op: Operation) -> None:
    """`tile.reduce`."""
    assert isinstance(op, tile.ReduceOp)
    held = kernel.tiles[op.input]
    fold = Fold(kernel.b, op.kind.data, held.element)
    dim = op.dim.value.data
    if dim == held.rank - 1:
        _reduce_last(kernel, op, held, fold)
    else:
        _reduce_leading(kernel, op, held, fold, dim)


def _piece(kernel: Kernel, fold: Fold, value: SSAValue, pos: Position) -> SSAValue:
    """A piece to fold, with the identity in lanes beyond the tile."""
    held = kernel.tiles[value]
    piece = fold.widen(kernel.piece(value, pos))
    mask = inside_last(kernel, held, pos[-1])
    if mask is None:
        return piece
    return kernel.b.select(mask, piece, fold.identity(held.lanes))


def _rows(
    kernel: Kernel, result: SSAValue, row: Callable[[Position], SSAValue]
) -> None:
    """Fills a result of scalar rows, in registers if they are few."""
    shape = Tile(*type_extents(result), kernel.native)
    if shape.pieces <= MOST_ROWS:
        values = [row(pos) for pos in shape.positions()]
        kernel.tiles[result] = Registers(shape, values)
        return
    buffer = kernel.scratch(shape.extents, shape.element)
    kernel.tiles[result] = buffer
    kernel.strip(shape, lambda pos: buffer.put(pos, row(pos)), kernel.limits([result]))


def _reduce_last(kernel: Kernel, op: tile.ReduceOp, held: Tile, fold: Fold) -> None:
    value = op.input
    cost = held.pieces * (held.cost + 2)
    if not held.is_static_only and held.chunks > 1 and cost > UNROLLED_OPS:
        if held.rows <= MOST_ROWS:
            _side_by_side(kernel, op, held, fold)
            return
        _rows(kernel, op.result, lambda pos: _row_loop(kernel, value, held, fold, pos))
        return
    if held.rows > MOST_ROWS and held.is_static_only:
        kernel.spill(value)
        held = kernel.tiles[value]

    def row(pos: Position) -> SSAValue:
        total: SSAValue | None = None
        for start in range(0, held.extents[-1], held.lanes):
            piece = _piece(kernel, fold, value, (*pos[:-1], start))
            total = piece if total is None else fold.combine(total, piece)
        assert total is not None
        return fold.narrow(fold.lanes(total, held.lanes))

    _rows(kernel, op.result, row)


def _row_loop(
    kernel: Kernel, value: SSAValue, held: Tile, fold: Fold, pos: Position
) -> SSAValue:
    """One row, chunk by chunk."""
    start = [fold.identity(held.lanes)]
    with kernel.b.loop(held.chunks, start) as loop, kernel.space.scope():
        at = kernel.space.leaf("t", loop.index, held.chunks)
        piece = _piece(kernel, fold, value, (*pos[:-1], at * held.lanes))
        loop.results = [fold.combine(loop.args[0], piece)]
    return fold.narrow(fold.lanes(loop.results[0], held.lanes))


def _side_by_side(kernel: Kernel, op: tile.ReduceOp, held: Tile, fold: Fold) -> None:
    """A few rows, all in one loop over the chunks."""
    shape = Tile(*type_extents(op.result), kernel.native)
    rows = shape.positions()
    start = [fold.identity(held.lanes)] * len(rows)
    with kernel.b.loop(held.chunks, start) as loop, kernel.space.scope():
        at = kernel.space.leaf("t", loop.index, held.chunks) * held.lanes
        loop.results = [
            fold.combine(total, _piece(kernel, fold, op.input, (*pos[:-1], at)))
            for total, pos in zip(loop.args, rows, strict=True)
        ]
    totals = [fold.narrow(fold.lanes(v, held.lanes)) for v in loop.results]
    kernel.tiles[op.result] = Registers(shape, totals)


def _reduce_leading(
    kernel: Kernel, op: tile.ReduceOp, held: Tile, fold: Fold, dim: int
) -> None:
    """Along a dim that is not vectorised: piece by piece of the result."""
    value, extent = op.input, held.extents[dim]
    shape = Tile(*type_extents(op.result), kernel.native)
    unrolled = held.is_static_only or extent * (held.cost + 1) <= UNROLLED_OPS

    def at(pos: Position, step: Dim) -> SSAValue:
        place = (*pos[:dim], step, *pos[dim + 1 :])
        return fold.widen(kernel.piece(value, place))

    def flat(pos: Position) -> SSAValue:
        total = at(pos, 0)
        for step in range(1, extent):
            total = fold.combine(total, at(pos, step))
        return fold.narrow(total)

    def looped(pos: Position) -> SSAValue:
        start = [fold.identity(shape.lanes)]
        with kernel.b.loop(extent, start) as loop, kernel.space.scope():
            step = kernel.space.leaf("t", loop.index, extent)
            loop.results = [fold.combine(loop.args[0], at(pos, step))]
        return fold.narrow(loop.results[0])

    one = flat if unrolled else looped
    if shape.pieces <= MOST_ROWS or held.is_static_only:
        values = [one(pos) for pos in shape.positions()]
        kernel.tiles[op.result] = Registers(shape, values)
        return
    buffer = kernel.scratch(shape.extents, shape.element)
    kernel.tiles[op.result] = buffer
    limits = kernel.limits([op.result])
    kernel.strip(shape, lambda pos: buffer.put(pos, one(pos)), limits)


# ---- scans and positions: scalar code over scratch ----------------------------------


def element_at(kernel: Kernel, buffer: Scratch, pos: Position) -> SSAValue:
    """One element of a buffer."""
    value = kernel.b.load(buffer.pointer(pos), buffer.storage, buffer.align)
    return from_bytes(kernel.b, value, buffer.carrier)


def put_element(
    kernel: Kernel, buffer: Scratch, pos: Position, value: SSAValue
) -> None:
    """Write one element of a buffer."""
    value = to_bytes(kernel.b, value, buffer.carrier)
    kernel.b.store(value, buffer.pointer(pos), buffer.align)


def over_rows(
    kernel: Kernel, extents: Sequence[int], dim: int, body: Callable[[Position], None]
) -> None:
    """Runs `body` for each position with 0 along `dim`."""

    def nest(pos: Position) -> None:
        at = len(pos)
        if at == len(extents):
            body(pos)
        elif at == dim or extents[at] == 1:
            nest((*pos, 0))
        else:
            with kernel.counted(extents[at]) as step:
                nest((*pos, step))

    nest(())


def with_dim(pos: Position, dim: int, at: Dim) -> Position:
    """A position moved along one dim."""
    return (*pos[:dim], at, *pos[dim + 1 :])


def scan(kernel: Kernel, op: Operation) -> None:
    """`tile.scan`, one element after the other along the dim."""
    assert isinstance(op, tile.ScanOp)
    source = kernel.to_scratch(op.input)
    dim, extents = op.dim.value.data, source.extents
    fold = Fold(kernel.b, op.kind.data, source.element)
    target = kernel.scratch(extents, source.element)
    exclusive, backward = op.exclusive is not None, op.reverse is not None
    count = extents[dim]

    def row(pos: Position) -> None:
        start = [fold.identity(1)]
        with kernel.b.loop(count, start) as loop, kernel.space.scope():
            step = kernel.space.leaf("t", loop.index, count)
            place = with_dim(pos, dim, count - 1 - step if backward else step)
            item = fold.widen(element_at(kernel, source, place))
            total = fold.combine(loop.args[0], item)
            shown = loop.args[0] if exclusive else total
            put_element(kernel, target, place, fold.narrow(shown))
            loop.results = [total]

    over_rows(kernel, extents, dim, row)
    kernel.tiles[op.result] = target


def arg_reduce(kernel: Kernel, op: Operation) -> None:
    """`tile.arg_reduce`: the first (or last) extreme element; NaN wins."""
    assert isinstance(op, tile.ArgReduceOp)
    b = kernel.b
    source = kernel.to_scratch(op.input)
    dim, extents = op.dim.value.data, source.extents
    values = kernel.scratch(*type_extents(op.value))
    indices = kernel.scratch(*type_extents(op.index))
    last, largest = op.last is not None, op.kind.data == "max"
    count = extents[dim]

    def row(pos: Position) -> None:
        first = element_at(kernel, source, pos)
        start = [first, b.constant(0, i64)]
        with b.loop(count, start) as loop, kernel.space.scope():
            step = kernel.space.leaf("t", loop.index, count)
            item = element_at(kernel, source, with_dim(pos, dim, step))
            best, at = loop.args
            better = is_better(b, item, best, largest, or_equal=last)
            loop.results = [
                b.select(better, item, best),
                b.select(better, loop.index, at),
            ]
        best, at = loop.results
        put_element(kernel, values, pos, best)
        put_element(kernel, indices, pos, b.cast("trunc", at, indices.carrier))

    over_rows(kernel, extents, dim, row)
    kernel.tiles[op.value], kernel.tiles[op.index] = values, indices


def is_better(
    b: Builder, a: SSAValue, c: SSAValue, largest: bool, or_equal: bool
) -> SSAValue:
    """Whether `a` comes before `c` as the extreme; NaN before all numbers."""
    if not is_float(a.type):
        unsigned = "u" if a.type == i1 else "s"
        word = ("g" if largest else "l") + ("e" if or_equal else "t")
        return b.icmp(unsigned + word, a, c)
    word = ("g" if largest else "l") + ("e" if or_equal else "t")
    a_nan, c_nan = b.fcmp("uno", a, a), b.fcmp("uno", c, c)
    if not or_equal:
        c_number = b.binary("xor", c_nan, b.constant(1, i1))
        a_nan = b.binary("and", a_nan, c_number)
    return b.binary("or", b.fcmp(f"o{word}", a, c), a_nan)


__all__ = ["FloatAttr", "arg_reduce", "element_at", "over_rows", "reduce", "scan"]
