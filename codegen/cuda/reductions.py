"""`tile.reduce`: in a thread, over the lanes of a warp, over the warps of a group.

A fold works on columns of vectors, so that a value with its position (`arg_reduce`)
is folded like a plain value. Registers first, then a butterfly over the lane bits that
move along the dim; what differs between warps meets in shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from xdsl.dialects.builtin import i1, i8, i32
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_text import is_float
from stepwell.codegen.llvm_types import element_of, lanes_of, vector
from stepwell.codegen.scalars.elements import from_bytes, scratch_type, to_bytes
from stepwell.codegen.scalars.folds import Fold
from stepwell.dialects import tile
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts.exchange import ReducePlan, reduce_plan

from .bits import Linear, emit_linear
from .elementwise import coordinate_tile, resize_index
from .kernel import Kernel, llvm_type
from .registers import CARRIERS, Registers, in_pieces, pack, split, usual_lanes
from .shuffles import from_partner

Column = tuple[SSAValue, ...]
"""One folded thing: a value, or a value and its position; scalars or vectors."""

Combine = Callable[[Column, Column], Column]


def reduce(k: Kernel, op: Operation) -> None:
    """`tile.reduce`."""
    assert isinstance(op, tile.ReduceOp)
    held, kind = k.registers(op.input), tile.tile_of(op.result)
    fold = Fold(k.b, op.kind.data, held.kind.element_type, CARRIERS)
    pieces = in_pieces(k.b, held, usual_lanes(held.kind))
    column = tuple(fold.widen(piece) for piece in pieces)

    def combine(a: Column, c: Column) -> Column:
        return (fold.combine(a[0], c[0]),)

    known = reduce_plan(held.layout, op.dim.value.data)
    (values,) = fold_all(k, op, [column], known, combine)
    narrowed = tuple(fold.narrow(value) for value in values)
    k.bind(op.result, Registers(kind, narrowed))


def fold_all(
    k: Kernel,
    op: Operation,
    columns: Sequence[Sequence[SSAValue]],
    known: ReducePlan,
    combine: Combine,
) -> list[list[SSAValue]]:
    """Folded columns, one scalar per register of the result.

    Args:
        columns: the pieces of each column.
    """
    totals = in_thread(k, columns, known.outputs, combine)
    packed = tuple(pack(k.b, [t[c] for t in totals]) for c in range(len(columns)))
    for bit in known.lanes:
        other = tuple(from_partner(k, value, 1 << bit) for value in packed)
        packed = combine(packed, other)
    if known.warps:
        packed = _over_warps(k, op, packed, known, combine)
    count = lanes_of(packed[0].type)
    return [
        [value] if count == 1 else [k.b.extract(value, i) for i in range(count)]
        for value in packed
    ]


def in_thread(
    k: Kernel,
    columns: Sequence[Sequence[SSAValue]],
    outputs: Sequence[int],
    combine: Combine,
) -> list[Column]:
    """The registers of a thread folded; one column per register of the result."""
    lanes = lanes_of(columns[0][0].type)
    buckets: dict[tuple[int, ...], Column] = {}
    for number, piece in enumerate(zip(*columns, strict=True)):
        pattern = tuple(outputs[number * lanes : (number + 1) * lanes])
        known = buckets.get(pattern)
        buckets[pattern] = piece if known is None else combine(known, piece)
    totals: dict[int, Column] = {}
    for pattern, piece in buckets.items():
        for output, value in _in_vector(k, piece, pattern, combine):
            known = totals.get(output)
            totals[output] = value if known is None else combine(known, value)
    return [totals[output] for output in range(len(totals))]


def _in_vector(
    k: Kernel, piece: Column, pattern: Sequence[int], combine: Combine
) -> list[tuple[int, Column]]:
    """The lanes of one vector folded by what they belong to, halves onto halves."""
    b = k.b
    pattern = tuple(pattern)
    while len(pattern) > 1:
        half = len(pattern) // 2
        low, high = range(half), range(half, 2 * half)
        if pattern[:half] != pattern[half:]:
            low, high = range(0, 2 * half, 2), range(1, 2 * half, 2)
        chosen = tuple(pattern[i] for i in low)
        if chosen != tuple(pattern[i] for i in high):
            break
        piece = combine(_lanes(k, piece, low), _lanes(k, piece, high))
        pattern = chosen
    if len(pattern) == 1:
        return [(pattern[0], piece)] if pattern[0] >= 0 else []
    found: dict[int, Column] = {}
    for lane, output in enumerate(pattern):
        if output >= 0:
            value = tuple(b.extract(v, lane) for v in piece)
            known = found.get(output)
            found[output] = value if known is None else combine(known, value)
    return list(found.items())


def _lanes(k: Kernel, piece: Column, lanes: Sequence[int]) -> Column:
    b = k.b
    if len(lanes) == 1:
        return tuple(b.extract(v, lanes[0]) for v in piece)
    return tuple(b.shuffle(v, b.poison(v.type), lanes) for v in piece)


def _over_warps(
    k: Kernel, op: Operation, packed: Column, known: ReducePlan, combine: Combine
) -> Column:
    """Every warp writes its results and reads those of all warps along the dim.

    A thread's results lie side by side; slots are numbered by the bits of the thread
    that the result keeps.
    """
    b, count = k.b, lanes_of(packed[0].type)
    slot = _bits(k, (*known.kept_lanes, *(5 + w for w in known.kept_warps)))
    writer = _is_zero(k, known)
    start = k.scratch(op)
    regions: list[tuple[SSAValue, Attribute, int]] = []
    for value in packed:
        storage = scratch_type(element_of(value.type))
        size = max(bit_width(storage) // 8, 4)
        regions.append(
            (k.b.gep(start, k.arith("mul", slot, count * size), i8), storage, size)
        )
        start = k.offset(start, known.bytes(size))
    own = _bits(k, tuple(5 + w for w in known.warps))
    with b.when(writer) if writer is not None else nullcontext():
        for value, (base, storage, size) in zip(packed, regions, strict=True):
            step = known.slots * size
            pointer = k.offset(base, k.arith("mul", own, step))
            _put(k, value, pointer, storage, size)
    k.group_barrier()
    total: Column | None = None
    for warp in range(1 << len(known.warps)):
        part = tuple(
            _get(k, value, k.offset(base, warp * known.slots * size), storage, size)
            for value, (base, storage, size) in zip(packed, regions, strict=True)
        )
        total = part if total is None else combine(total, part)
    assert total is not None
    return total


def _bits(k: Kernel, bits: Sequence[int]) -> SSAValue:
    """Some bits of the thread's index, side by side."""
    bases = [0] * (max(bits, default=-1) + 1)
    for position, bit in enumerate(bits):
        bases[bit] = 1 << position
    return emit_linear(k.b, Linear(0, tuple(bases)), k.group.thread)


def _is_zero(k: Kernel, known: ReducePlan) -> SSAValue | None:
    """Whether this thread is the one of its slot that writes."""
    kept = {*known.kept_lanes, *(5 + w for w in (*known.kept_warps, *known.warps))}
    warps = k.group.warps.bit_length() - 1
    mask = sum(1 << bit for bit in range(5 + warps) if bit not in kept)
    if mask == 0:
        return None
    return k.b.icmp("eq", k.arith("and", k.group.thread, mask), k.number(0))


def _put(
    k: Kernel, value: SSAValue, pointer: SSAValue, storage: Attribute, size: int
) -> None:
    """Results of a thread, each in `size` bytes, as wide as they come."""
    b, count = k.b, lanes_of(value.type)
    value = to_bytes(b, value, element_of(value.type))
    wide = min(count & -count, 16 // size) if bit_width(storage) // 8 == size else 1
    for number, part in enumerate(split(b, value, wide)):
        at = k.offset(pointer, number * wide * size)
        b.store(part, at, min(wide * size, bit_width(storage) * wide // 8))


def _get(
    k: Kernel, like: SSAValue, pointer: SSAValue, storage: Attribute, size: int
) -> SSAValue:
    """What `_put` wrote."""
    b, count = k.b, lanes_of(like.type)
    wide = min(count & -count, 16 // size) if bit_width(storage) // 8 == size else 1
    parts: list[SSAValue] = []
    for number in range(count // wide):
        at = k.offset(pointer, number * wide * size)
        kind = vector(storage, wide)
        parts.append(b.load(at, kind, bit_width(storage) * wide // 8))
    held = [v for part in parts for v in split(b, part, 1)]
    value = pack(b, held) if len(parts) > 1 else parts[0]
    return from_bytes(b, value, element_of(like.type))


def arg_reduce(k: Kernel, op: Operation) -> None:
    """`tile.arg_reduce`: values and positions are folded together."""
    assert isinstance(op, tile.ArgReduceOp)
    held, dim = k.registers(op.input), op.dim.value.data
    lanes = usual_lanes(held.kind)
    layout_kind = tile.TileType(held.kind.extents, i32, held.kind.layout)
    places = coordinate_tile(k, layout_kind, dim)
    columns = (in_pieces(k.b, held, lanes), in_pieces(k.b, places, lanes))
    largest, last = op.kind.data == "max", op.last is not None

    def combine(a: Column, c: Column) -> Column:
        better = _is_better(k, a, c, largest=largest, last=last)
        return tuple(k.b.select(better, x, y) for x, y in zip(a, c, strict=True))

    known = reduce_plan(held.layout, dim)
    values, indices = fold_all(k, op, columns, known, combine)
    kind, index_kind = tile.tile_of(op.value), tile.tile_of(op.index)
    carrier = llvm_type(index_kind.element_type)
    k.bind(op.value, Registers(kind, tuple(values)))
    resized = tuple(resize_index(k, value, carrier) for value in indices)
    k.bind(op.index, Registers(index_kind, resized))


def _is_better(
    k: Kernel, a: Column, c: Column, *, largest: bool, last: bool
) -> SSAValue:
    """Whether `a` wins: the greater value, NaN over numbers, then the position."""
    b, (value, place), (other, other_place) = k.b, a, c
    word = "gt" if largest else "lt"
    if is_float(value.type):
        nan, other_nan = b.fcmp("uno", value, value), b.fcmp("uno", other, other)
        first = b.fcmp(f"o{word}", value, other)
        number = b.fcmp("ord", other, other)
        first = b.binary("or", first, b.binary("and", nan, number))
        both = b.binary("and", nan, other_nan)
        equal = b.binary("or", b.fcmp("oeq", value, other), both)
    else:
        sign = "u" if element_of(value.type) == i1 else "s"
        first = b.icmp(sign + word, value, other)
        equal = b.icmp("eq", value, other)
    nearer = b.icmp("sgt" if last else "slt", place, other_place)
    return b.binary("or", first, b.binary("and", equal, nearer))


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.ReduceOp: reduce,
    tile.ArgReduceOp: arg_reduce,
}
"""The rules of this file."""
