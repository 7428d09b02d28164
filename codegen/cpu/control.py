"""Rules of control flow and of index and scalar arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import scf
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.indices import index_expression
from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.elements import carrier_type
from stepwell.dialects import tile
from stepwell.dialects.dims import (
    Dim,
    ceildiv,
)

from .kernel import Kernel
from .values import Recipe, Registers, Scratch, Tile, type_extents

# ---- scalars ------------------------------------------------------------------------


def scalar_op(kernel: Kernel, op: Operation) -> None:
    """An op on index values becomes an expression, any other an instruction."""
    result = op.results[0]
    if isinstance(result.type, IndexType):
        dim = index_expression(kernel.space, op)
        if dim is not None:
            kernel.space.bind(result, kernel.space.simplify(dim))
            return
    operands = [kernel.scalar(v) for v in op.operands]
    value = kernel.scalars.apply(op, operands, 1)
    if isinstance(result.type, IndexType):
        kernel.space.bind(result, kernel.space.leaf("v", value, None))
    else:
        kernel.values[result] = value


def dim(kernel: Kernel, op: Operation) -> None:
    """A dim expression over the model's symbols."""
    assert isinstance(op, tile.DimOp)
    kernel.space.bind(op.result, op.dim)


# ---- loops --------------------------------------------------------------------------


def for_(kernel: Kernel, op: Operation, run: Callable[[scf.ForOp], None]) -> None:
    """`scf.for`: scalars and small tiles in registers, larger ones in scratch."""
    assert isinstance(op, scf.ForOp)
    space, b = kernel.space, kernel.b
    low, high, step = (space.of(v) for v in (op.lb, op.ub, op.step))
    trip = space.simplify(ceildiv(high - low, step))
    _settle_captured(kernel, op)
    body = op.body.block
    held = [_loop_value(kernel, init) for init in op.iter_args]
    carried = [v for group in held for v in _as_values(kernel, group)]
    count = space.emit(trip)
    once = _is_positive(kernel, trip)
    with b.loop(count, carried, at_least_once=once) as loop, space.loop(loop.entry):
        at = space.leaf("i", loop.index, trip)
        space.bind(body.args[0], space.simplify(low + at * step))
        _bind(kernel, body.args[1:], held, loop.args)
        run(op)
        last = body.last_op
        assert isinstance(last, scf.YieldOp)
        loop.results = _yielded(kernel, last.operands, body.args[1:], held)
    _bind(kernel, op.results, held, loop.results)


def _is_positive(kernel: Kernel, trip: Dim) -> bool:
    return kernel.space.is_non_negative(trip - 1)


def _settle_captured(kernel: Kernel, op: Operation) -> None:
    """Compute before a region what it would compute again each time round.

    Loads stay where they are, unless the region writes memory.
    """
    writes = any(isinstance(inner, tile.StoreOp) for inner in op.walk())
    inside = set(op.walk())
    for value, held in list(kernel.tiles.items()):
        if not isinstance(held, Recipe) or value in op.operands:
            continue
        used = [use.operation for use in value.uses if use.operation in inside]
        if not used:
            continue
        plain = held.transfer is not None or held.cost == 0
        if (writes and held.reads_memory()) or not plain:
            kernel.settle(value)


_Held = Tile | SSAValue


def _loop_value(kernel: Kernel, init: SSAValue) -> _Held:
    """Where a carried value lives: a scalar, registers, or a buffer of its own."""
    if not isinstance(init.type, tile.TileType):
        return kernel.scalar(init)
    held = kernel.tiles[init]
    if held.pieces <= kernel.register_budget:
        pieces = [kernel.piece(init, pos) for pos in held.positions()]
        return Registers(held, pieces)
    buffer = kernel.scratch(held.extents, held.element)
    kernel.to_scratch(init, buffer)
    return buffer


def _as_values(kernel: Kernel, held: _Held) -> list[SSAValue]:
    if isinstance(held, Registers):
        return held.all()
    return [held] if isinstance(held, SSAValue) else []


def _bind(
    kernel: Kernel,
    names: Sequence[SSAValue],
    held: Sequence[_Held],
    values: Sequence[SSAValue],
) -> None:
    """Name the carried values: loop arguments inside, results outside."""
    rest = list(values)
    for name, group in zip(names, held, strict=True):
        if isinstance(group, Registers):
            count = len(group.values)
            kernel.tiles[name] = Registers(group, rest[:count])
            rest = rest[count:]
        elif isinstance(group, Tile):
            kernel.tiles[name] = group
        elif isinstance(name.type, IndexType):
            kernel.space.bind(name, kernel.space.leaf("c", rest.pop(0), None))
        else:
            kernel.values[name] = rest.pop(0)


def _yielded(
    kernel: Kernel,
    yields: Sequence[SSAValue],
    args: Sequence[SSAValue],
    held: Sequence[_Held],
) -> list[SSAValue]:
    """Next values: registers as they are, buffers filled in place."""
    buffers = {id(h.buffer) for h in held if isinstance(h, Scratch)}
    values: list[SSAValue] = []
    moves: list[tuple[SSAValue, Scratch]] = []
    for value, group in zip(yields, held, strict=True):
        if isinstance(group, Registers):
            tile_now = kernel.tiles[value]
            values += [kernel.piece(value, pos) for pos in tile_now.positions()]
        elif isinstance(group, Scratch):
            moves.append((value, group))
        else:
            values.append(kernel.scalar(value))
    _move_all(kernel, moves, buffers)
    return values


def _move_all(
    kernel: Kernel, moves: Sequence[tuple[SSAValue, Scratch]], buffers: set[int]
) -> None:
    """Fill loop buffers; through fresh ones where one is read after it changed."""
    pending: list[tuple[SSAValue, Scratch]] = []
    for value, into in moves:
        now = kernel.tiles[value]
        if isinstance(now, Scratch) and now.buffer is into.buffer:
            continue
        reads_loop_buffer = isinstance(now, Recipe) or (
            isinstance(now, Scratch) and id(now.buffer) in buffers
        )
        if reads_loop_buffer and not _only_in_place(kernel, value, into, buffers):
            fresh = kernel.scratch(now.extents, now.element)
            kernel.to_scratch(value, fresh)
            kernel.tiles[value] = fresh
        pending.append((value, into))
    for value, into in pending:
        kernel.to_scratch(value, into)


def _only_in_place(
    kernel: Kernel, value: SSAValue, into: Scratch, buffers: set[int]
) -> bool:
    """Whether a recipe reads no loop buffer but `into`, and that at its own position.

    Then it may be evaluated piece by piece into the buffer it reads.
    """
    held = kernel.tiles[value]
    if isinstance(held, Scratch):
        return id(held.buffer) not in buffers or held.buffer is into.buffer
    if not isinstance(held, Recipe):
        return True
    for key, source in zip(held.keys, held.sources, strict=True):
        touches = isinstance(source, Scratch) and id(source.buffer) in buffers
        moved = not held.pointwise or source.extents != into.extents
        if touches and moved:
            return False
        if not _only_in_place(kernel, key, into, buffers):
            return False
    return True


def if_(kernel: Kernel, op: Operation, run: Callable[[scf.IfOp, bool], None]) -> None:
    """`scf.if`: results meet in block arguments or in buffers."""
    assert isinstance(op, scf.IfOp)
    b = kernel.b
    _settle_captured(kernel, op)
    results = [_branch_value(kernel, result) for result in op.results]
    types = [t for group in results for t in group[1]]
    then, done = b.new_block(), b.new_block(types)
    other = b.new_block()
    b.cond_br(kernel.scalar(op.cond), then, (), other, ())
    for block, is_then in ((then, True), (other, False)):
        b.block = block
        with kernel.space.scope():
            region = op.true_region if is_then else op.false_region
            outputs: list[SSAValue] = []
            if region.blocks:
                run(op, is_then)
                last = region.block.last_op
                assert last is not None
                pairs = zip(last.operands, results, strict=True)
                for value, (buffer, _) in pairs:
                    outputs += _branch_output(kernel, value, buffer)
            b.br(done, *outputs)
    # Blocks stay in the order of dominance.
    b.region.detach_block(done)
    b.region.add_block(done)
    b.block = done
    _bind_results(kernel, op.results, results, list(done.args))


def _branch_value(
    kernel: Kernel, result: SSAValue
) -> tuple[Scratch | None, list[Attribute]]:
    if not isinstance(result.type, tile.TileType):
        return None, [carrier_type(result.type)]
    extents, element = type_extents(result)
    shape = Tile(extents, element, kernel.native)
    if shape.pieces <= kernel.register_budget:
        return None, [vector(shape.carrier, shape.lanes)] * shape.pieces
    return kernel.scratch(extents, element), []


def _branch_output(
    kernel: Kernel, value: SSAValue, buffer: Scratch | None
) -> list[SSAValue]:
    if not isinstance(value.type, tile.TileType):
        return [kernel.scalar(value)]
    if buffer is not None:
        kernel.to_scratch(value, buffer)
        return []
    return [kernel.piece(value, pos) for pos in kernel.tiles[value].positions()]


def _bind_results(
    kernel: Kernel,
    names: Sequence[SSAValue],
    results: Sequence[tuple[Scratch | None, list[Attribute]]],
    values: list[SSAValue],
) -> None:
    for name, (buffer, types) in zip(names, results, strict=True):
        mine, values = values[: len(types)], values[len(types) :]
        if buffer is not None:
            kernel.tiles[name] = buffer
        elif isinstance(name.type, tile.TileType):
            shape = Tile(*type_extents(name), kernel.native)
            kernel.tiles[name] = Registers(shape, mine)
        elif isinstance(name.type, IndexType):
            kernel.space.bind(name, kernel.space.leaf("c", mine[0], None))
        else:
            kernel.values[name] = mine[0]
