"""Rules of the ops that work element by element: loads, stores, maps, constants."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, i32
from xdsl.dialects.llvm import GlobalOp
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.folds import Fold
from stepwell.dialects import tile

from .kernel import Kernel, is_used_once_here
from .memory import Transfer
from .transposes import TurnedLoad
from .values import Position, Recipe, Tile, type_extents

LOAD_COST = 3
HOISTED_PIECES = 4
LOCK = "stepwell.lock"


def load(kernel: Kernel, op: Operation) -> None:
    """A recipe: memory is read where the piece is used."""
    assert isinstance(op, tile.LoadOp)
    transfer = Transfer.of(kernel.space, op, kernel.view(op.view))
    load_from(kernel, op.result, transfer)


def load_from(kernel: Kernel, value: SSAValue, transfer: Transfer) -> None:
    """Let `value` be what a transfer reads."""
    extents, element = type_extents(value)
    across = TurnedLoad.dim_of(transfer)
    if across is not None:
        shape = Tile(extents, element, kernel.native)
        kernel.tiles[value] = TurnedLoad(kernel, shape, transfer, across)
        return
    made = Recipe(
        extents,
        element,
        kernel.native,
        lambda pos: transfer.load(pos, made.lanes),
        cost=LOAD_COST,
        transfer=transfer,
    )
    kernel.tiles[value] = made
    # What a loop reads again and again is read once in front of it. LLVM cannot do
    # that: it does not know that the stores of the loop go elsewhere.
    depth = transfer.depth
    hoistable = transfer.view.argument not in kernel.written
    if made.pieces <= HOISTED_PIECES and depth < kernel.space.loops and hoistable:
        with kernel.space.outside(depth):
            kernel.settle(value)


def store(kernel: Kernel, op: Operation) -> None:
    """Evaluates the tile piece by piece and writes each."""
    assert isinstance(op, tile.StoreOp)
    kernel.settle_reads(op)
    transfer = Transfer.of(kernel.space, op, kernel.view(op.view))
    lanes = kernel.tiles[op.tile].lanes

    def sink(pos: Position, pieces: Sequence[SSAValue]) -> None:
        transfer.store(pos, lanes, pieces[0])

    def updating(pos: Position, pieces: Sequence[SSAValue]) -> None:
        transfer.update(pos, lanes, fold.widen(pieces[0]), accumulated)

    def accumulated(old: SSAValue, new: SSAValue) -> SSAValue:
        return fold.narrow(fold.combine(fold.widen(old), new))

    if op.accumulate is None:
        kernel.evaluate([op.tile], sink)
        return
    fold = Fold(kernel.b, op.accumulate.data, transfer.pieces.element)
    with locked(kernel):
        kernel.evaluate([op.tile], updating)


@contextmanager
def locked(kernel: Kernel) -> Generator[None]:
    """Code that one thread runs at a time; cells may meet in an element."""
    if kernel.cells == 1:
        yield
        return
    b = kernel.b
    lock = b.address_of(LOCK)
    kernel.library.needs_lock = True
    free, taken = b.constant(0, i32), b.constant(1, i32)
    spin, held = b.new_block(), b.new_block()
    b.br(spin)
    b.block = spin
    b.intrinsic_void("llvm.x86.sse2.pause", ())
    old = b.exchange(lock, taken)
    b.cond_br(b.icmp("eq", old, free), held, (), spin, ())
    b.block = held
    yield
    b.store_release(free, lock, 4)


def lock_global() -> GlobalOp:
    """The definition of the lock."""
    zero = IntegerAttr(0, i32)
    return GlobalOp(i32, LOCK, "internal", value=zero, alignment=64)


def full(kernel: Kernel, op: Operation) -> None:
    """A constant."""
    assert isinstance(op, tile.FullOp)
    attr = op.value
    assert isinstance(attr, FloatAttr | IntegerAttr)
    shape = Tile(*type_extents(op.result), kernel.native)
    held = vector(shape.carrier, shape.lanes)
    value = attr.value.data
    kernel.recipe(op.result, lambda pos: kernel.b.constant(value, held), cost=0)


def iota(kernel: Kernel, op: Operation) -> None:
    """The position along one dim."""
    assert isinstance(op, tile.IotaOp)
    dim = op.dim.value.data
    extents, element = type_extents(op.result)
    shape = Tile(extents, element, kernel.native)
    b, lanes, carrier = kernel.b, shape.lanes, shape.carrier

    def compute(pos: Position) -> SSAValue:
        start = kernel.space.emit(pos[dim])
        narrow = b.value(start)
        if isinstance(start, int):
            narrow = b.constant(start, carrier)
        else:
            narrow = b.cast("trunc", narrow, carrier)
        base = b.splat(narrow, lanes)
        if dim != len(extents) - 1 or lanes == 1:
            return base
        return b.binary("add", base, b.iota(lanes, carrier))

    kernel.recipe(op.result, compute, cost=1)


def map_(kernel: Kernel, op: Operation) -> None:
    """The body on the pieces of the inputs; a recipe while one op here uses it."""
    assert isinstance(op, tile.MapOp)
    count = len(op.body.block.ops) - 1
    for index, result in enumerate(op.outputs):
        lanes = Tile(*type_extents(result), kernel.native).lanes

        def compute(pos: Position, index: int = index, lanes: int = lanes) -> SSAValue:
            return _map_piece(kernel, op, pos, lanes)[index]

        kernel.recipe(result, compute, tuple(op.inputs), cost=count)
    for result in op.outputs:
        if not is_used_once_here(result):
            kernel.settle(result)


def _map_piece(
    kernel: Kernel, op: tile.MapOp, pos: Position, lanes: int
) -> list[SSAValue]:
    key = f"map {id(op)} {','.join(map(str, pos))}"
    memo = kernel.space.remembered(f"{key} 0")
    if memo is None:
        pieces = [kernel.piece(v, _repeated(kernel, v, pos)) for v in op.inputs]
        made = kernel.scalars.run(op.body.block, pieces, lanes, kernel.scalar)
        for index, value in enumerate(made):
            kernel.space.remember(f"{key} {index}", value)
        return made
    found = [kernel.space.remembered(f"{key} {i}") for i in range(len(op.outputs))]
    return [v for v in found if isinstance(v, SSAValue)]


def broadcast_piece(
    kernel: Kernel, value: SSAValue, pos: Position, lanes: int
) -> SSAValue:
    """The piece of a tile at the position of a larger one that repeats it."""
    piece = kernel.piece(value, _repeated(kernel, value, pos))
    if lanes > 1 and kernel.tiles[value].lanes == 1:
        return kernel.b.splat(piece, lanes)
    return piece


def _repeated(kernel: Kernel, value: SSAValue, pos: Position) -> Position:
    """The position in a tile whose dims of extent 1 are repeated."""
    extents = kernel.tiles[value].extents
    return tuple(0 if n == 1 else p for n, p in zip(extents, pos, strict=True))


def broadcast(kernel: Kernel, op: Operation) -> None:
    """Pieces of the smaller tile, repeated."""
    assert isinstance(op, tile.BroadcastOp)
    lanes = Tile(*type_extents(op.result), kernel.native).lanes
    kernel.recipe(
        op.result,
        lambda pos: broadcast_piece(kernel, op.input, pos, lanes),
        (op.input,),
        cost=1,
    )
