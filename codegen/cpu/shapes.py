"""Rules of the ops that move elements: transpose, reshape, extract, and sort."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import IndexType, i1, i64
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_text import is_float
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim

from .elementwise import load_from
from .kernel import Kernel
from .reduce import element_at, over_rows, put_element, with_dim
from .transposes import SMALLEST, repeat, turn
from .values import Position, Recipe, Registers, Scratch, Tile, type_extents


def transpose(kernel: Kernel, op: Operation) -> None:
    """A load is read in the other order; anything else is copied element by element."""
    assert isinstance(op, tile.TransposeOp)
    perm = op.perm.get_values()
    held = kernel.tiles[op.input]
    if isinstance(held, Recipe) and held.transfer is not None:
        load_from(kernel, op.result, held.transfer.permuted(perm))
        return
    source = kernel.to_scratch(op.input)
    target = kernel.scratch(*type_extents(op.result))
    kernel.tiles[op.result] = target
    moved = perm[-1] != len(perm) - 1
    if moved and min(source.extents[-1], target.extents[-1]) >= SMALLEST:
        _turn(kernel, source, target, perm)
        return

    def copy(pos: Position) -> None:
        place = _source_place(perm, pos)
        put_element(kernel, target, pos, element_at(kernel, source, place))

    over_rows(kernel, target.extents, -1, copy)


def _source_place(perm: Sequence[int], pos: Position) -> Position:
    place: list[Dim] = [0] * len(perm)
    for to, source_dim in enumerate(perm):
        place[source_dim] = pos[to]
    return tuple(place)


def _turn(
    kernel: Kernel, source: Scratch, target: Scratch, perm: Sequence[int]
) -> None:
    """Blocks of the source's last dim and of the one that becomes last."""
    across = list(perm).index(len(perm) - 1)

    def nest(pos: Position) -> None:
        at = len(pos)
        if at == len(perm) - 1:
            plane((*pos, 0))
        elif at == across:
            nest((*pos, 0))
        else:
            repeat(kernel, target.extents[at], lambda t: nest((*pos, t)))

    def plane(pos: Position) -> None:
        def at(column: Dim, row: Dim) -> Position:
            place = list(pos)
            place[across], place[-1] = column, row
            return tuple(place)

        turn(
            kernel,
            target.extents[-1],
            target.extents[across],
            (source.lanes, target.lanes),
            lambda row, column: source.piece(_source_place(perm, at(column, row))),
            lambda column, row, piece: target.put(at(column, row), piece),
        )

    nest(())


def reshape(kernel: Kernel, op: Operation) -> None:
    """The same memory where rows stay rows; else copied element by element."""
    assert isinstance(op, tile.ReshapeOp)
    extents, element = type_extents(op.result)
    held = kernel.tiles[op.input]
    shape = Tile(extents, element, kernel.native)
    same_rows = held.extents[-1:] == extents[-1:]
    if same_rows and isinstance(held, Registers):
        kernel.tiles[op.result] = Registers(shape, held.all())
        return
    source = kernel.to_scratch(op.input)
    whole = source.extents[-1] % source.lanes == 0
    if same_rows or (whole and extents[-1] % shape.lanes == 0):
        kernel.tiles[op.result] = Scratch(
            kernel.space, extents, element, kernel.native, source.buffer
        )
        return
    target = kernel.scratch(extents, element)

    def copy(pos: Position) -> None:
        flat: Dim = 0
        for size, at in zip(extents, pos, strict=True):
            flat = flat * size + at
        place: list[Dim] = []
        for dim, size in enumerate(source.extents):
            inner = prod(source.extents[dim + 1 :])
            place.append(kernel.space.simplify((flat // inner) % size))
        put_element(kernel, target, pos, element_at(kernel, source, tuple(place)))

    over_rows(kernel, extents, -1, copy)
    kernel.tiles[op.result] = target


def extract(kernel: Kernel, op: Operation) -> None:
    """A part of a tile, or one element as a scalar."""
    assert isinstance(op, tile.ExtractOp)
    offsets = op.offsets.get_values()
    if not isinstance(op.result.type, tile.TileType):
        _extract_scalar(kernel, op, tuple(offsets))
        return
    held = kernel.tiles[op.input]
    extents, element = type_extents(op.result)
    shape = Tile(extents, element, kernel.native)
    whole_last = extents[-1] == held.extents[-1]
    aligned = offsets[-1] % held.lanes == 0 and shape.lanes == held.lanes
    if whole_last or aligned:
        moved = tuple(offsets)
        kernel.recipe(
            op.result,
            lambda pos: kernel.piece(
                op.input, tuple(p + o for p, o in zip(pos, moved, strict=True))
            ),
            (op.input,),
            cost=0,
            pointwise=False,
        )
        kernel.settle(op.result)
        return
    source = kernel.to_scratch(op.input)
    target = kernel.scratch(extents, element)

    def copy(pos: Position) -> None:
        place = tuple(p + o for p, o in zip(pos, offsets, strict=True))
        put_element(kernel, target, pos, element_at(kernel, source, place))

    over_rows(kernel, extents, -1, copy)
    kernel.tiles[op.result] = target


def _extract_scalar(kernel: Kernel, op: tile.ExtractOp, at: Position) -> None:
    held = kernel.tiles[op.input]
    if isinstance(held, Scratch):
        value = element_at(kernel, held, at)
    else:
        last = int(at[-1]) if at else 0  # pyright: ignore[reportArgumentType]
        start = last - last % held.lanes
        value = kernel.piece(op.input, (*at[:-1], start) if at else at)
        if held.lanes > 1:
            value = kernel.b.extract(value, last - start)
    if isinstance(op.result.type, IndexType):
        leaf = kernel.space.leaf("v", value, None)
        kernel.space.bind(op.result, leaf)
    else:
        kernel.values[op.result] = value


def sort(kernel: Kernel, op: Operation) -> None:
    """`tile.sort` by merging runs of doubling length: stable, O(n log n).

    Runs are merged from one buffer into the other; the last pass's target is the
    result. Descending keeps the order of equal keys, too.
    """
    assert isinstance(op, tile.SortOp)
    dim, descending = op.dim.value.data, op.descending is not None
    sources = [_owned(kernel, v) for v in op.inputs]
    targets = [kernel.scratch(s.extents, s.element) for s in sources]
    extents = sources[0].extents
    count, width = extents[dim], 1
    while width < count:
        _merge_pass(kernel, sources, targets, dim, width, descending)
        sources, targets = targets, sources
        width *= 2
    for result, held in zip(op.outputs, sources, strict=True):
        kernel.tiles[result] = held


def _owned(kernel: Kernel, value: SSAValue) -> Scratch:
    """A buffer with the tile's elements that nobody else reads."""
    held = kernel.tiles[value]
    buffer = kernel.scratch(held.extents, held.element)
    return kernel.to_scratch(value, buffer)


def _merge_pass(
    kernel: Kernel,
    sources: list[Scratch],
    targets: list[Scratch],
    dim: int,
    width: int,
    descending: bool,
) -> None:
    b, space = kernel.b, kernel.space
    count = sources[0].extents[dim]
    pairs = -(-count // (2 * width))

    def row(pos: Position) -> None:
        with kernel.counted(pairs) as pair:
            low = pair * (2 * width)
            middle, high = _least(low + width, count), _least(low + 2 * width, count)
            start = [space.value(low), space.value(middle)]
            trip = space.emit(high - low)
            middle_value, high_value = space.value(middle), space.value(high)
            with b.loop(trip, start, at_least_once=True) as loop, space.scope():
                left, right = loop.args
                in_left = b.icmp("slt", left, middle_value)
                in_right = b.icmp("slt", right, high_value)
                zero = b.constant(0, i64)
                safe = (b.select(in_left, left, zero), b.select(in_right, right, zero))
                places = [with_dim(pos, dim, _leaf(kernel, v)) for v in safe]
                keys = [element_at(kernel, sources[0], p) for p in places]
                earlier = comes_before(b, keys[1], keys[0], descending)
                not_left = b.binary("xor", in_left, b.constant(1, i1))
                take_right = b.binary("or", earlier, not_left)
                take_right = b.binary("and", take_right, in_right)
                to = with_dim(pos, dim, low + _leaf(kernel, loop.index))
                for number, (source, target) in enumerate(
                    zip(sources, targets, strict=True)
                ):
                    items = (
                        keys
                        if number == 0
                        else [element_at(kernel, source, p) for p in places]
                    )
                    item = b.select(take_right, items[1], items[0])
                    put_element(kernel, target, to, item)
                one = b.constant(1, i64)
                loop.results = [
                    b.select(take_right, left, b.binary("add", left, one)),
                    b.select(take_right, b.binary("add", right, one), right),
                ]

    over_rows(kernel, sources[0].extents, dim, row)


def _leaf(kernel: Kernel, value: SSAValue) -> Dim:
    return kernel.space.leaf("v", value, None)


def _least(a: Dim, limit: int) -> Dim:
    from stepwell.dialects.dims import dim_min

    return dim_min(a, limit)


def comes_before(b: Builder, a: SSAValue, c: SSAValue, descending: bool) -> SSAValue:
    """Whether key `a` must stand before key `c`; NaN is the greatest number."""
    if descending:
        a, c = c, a
    if not is_float(a.type):
        return b.icmp("ult" if a.type == i1 else "slt", a, c)
    # a < c, or c is NaN and a is not.
    less = b.fcmp("olt", a, c)
    c_nan, a_number = b.fcmp("uno", c, c), b.fcmp("ord", a, a)
    return b.binary("or", less, b.binary("and", c_nan, a_number))
