"""`tile.sort`: a bitonic network on keys with their places, then a gather.

A key becomes an integer in whose order the keys stand; with the place below it, no two
are equal, so that the network is stable. Keys of 32 bits and fewer and their place are
one i64; wider keys go beside their place. The partner of a step differs in one bit of
the coordinate: another register, another lane, or, through shared memory, another warp.
At the end every tile is written to shared memory and read at the places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType, f32, i1, i8, i32, i64
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_text import is_float
from stepwell.codegen.llvm_types import element_of, lanes_of, vector
from stepwell.codegen.scalars.elements import load_conversion, storage_type
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import TileLayout
from stepwell.errors import CompileError

from .elementwise import coordinate_tile, resize_index
from .kernel import Kernel, llvm_type
from .moves import bytes_of_element, row_major, write_scratch
from .positions import positions
from .registers import CARRIERS, Registers, in_pieces, join, pack, split
from .scans import Step, steps_along
from .shuffles import from_partner

Column = list[SSAValue]
"""The registers of a thread, in vectors of the whole width, one per column."""


def sort(k: Kernel, op: Operation) -> None:
    """`tile.sort`."""
    assert isinstance(op, tile.SortOp)
    keys, dim = k.registers(op.inputs[0]), op.dim.value.data
    extent = keys.kind.extents[dim]
    if extent & (extent - 1):
        raise CompileError(f"expected a power of two of keys, got {extent}")
    network = _Network(k, op, keys, dim)
    places = network.run()
    for value, result in zip(op.inputs, op.outputs, strict=True):
        held = k.registers(value)
        if _is_place(value, dim):
            carrier = llvm_type(held.kind.element_type)
            scalars = [v for place in places for v in split(k.b, place, 1)]
            moved = tuple(resize_index(k, v, carrier) for v in scalars)
            k.bind(result, Registers(held.kind, moved))
            continue
        start = network.memory()
        k.bind(result, _gathered(k, held, places, dim, start))


def _is_place(value: SSAValue, dim: int) -> bool:
    """Whether a tile holds the coordinates along the dim: what a sort makes anyway."""
    owner = value.owner
    return isinstance(owner, tile.IotaOp) and owner.dim.value.data == dim


def _gathered(
    k: Kernel, held: Registers, places: Sequence[SSAValue], dim: int, start: SSAValue
) -> Registers:
    """The tile with its elements along `dim` taken from the places."""
    b, kind, layout = k.b, held.kind, held.layout
    strides = row_major(kind.extents)
    write_scratch(k, held, start, strides)
    k.group_barrier()
    size, storage = bytes_of_element(kind), storage_type(kind.element_type, CARRIERS)
    wanted = [v for piece in places for v in split(b, piece, 1)]
    rows = _rows(k, layout, dim, strides)
    values: list[SSAValue] = []
    for place, row in zip(wanted, rows, strict=True):
        at = k.arith("mul", place, strides[dim])
        at = b.binary("add", at, k.space.value(row))
        pointer = b.gep(start, k.arith("mul", at, size), i8)
        stored = b.load(pointer, storage, size)
        values.append(load_conversion(b, stored, kind.element_type, CARRIERS))
    return Registers(kind, tuple(values))


def _rows(k: Kernel, layout: TileLayout, dim: int, strides: Sequence[int]) -> list[Dim]:
    """The element number of each register's row."""
    totals: list[Dim] = [0] * layout.registers
    for d, stride in enumerate(strides):
        if d != dim and layout.extents[d] > 1:
            places = positions(k, layout, d)
            totals = [t + p * stride for t, p in zip(totals, places, strict=True)]
    return totals


@dataclass
class _Network:
    """The network on composite keys: one column, or the keys and their places."""

    k: Kernel
    op: tile.SortOp
    keys: Registers
    dim: int

    def __post_init__(self) -> None:
        self.layout = self.keys.layout
        self.count = self.layout.registers
        self.scratch: SSAValue | None = None
        self.steps = _all_steps(self.layout, self.dim)

    def memory(self) -> SSAValue:
        """The scratch of the op, free to be written."""
        if self.scratch is None:
            self.scratch = self.k.scratch(self.op)
        else:
            self.k.group_barrier()
        return self.scratch

    def run(self) -> list[SSAValue]:
        """The places, an i32 per register, in order of the keys."""
        columns = self._columns()
        depth = len(self.steps)
        for phase in range(depth):
            for bit in reversed(range(phase + 1)):
                # Blocks whose next bit is set are sorted the other way round.
                turned = phase + 1 if phase + 1 < depth else None
                columns = self._exchange(columns, bit, turned)
        b = self.k.b
        places = columns[-1]
        wide = vector(i32, lanes_of(places.type))
        return [b.cast("trunc", places, wide) if len(columns) == 1 else places]

    def _columns(self) -> Column:
        k, b = self.k, self.k.b
        place_kind = tile.TileType(self.keys.kind.extents, i32, self.keys.kind.layout)
        places = _whole(k, coordinate_tile(k, place_kind, self.dim))
        key = _sortable(k, _whole(k, self.keys))
        if self.op.descending is not None:
            key = b.binary("xor", key, b.constant(-1, key.type))
        if element_of(key.type) == i64:
            return [key, places]
        wide = vector(i64, lanes_of(key.type))
        high = b.binary("shl", b.cast("sext", key, wide), b.constant(32, wide))
        return [b.binary("or", high, b.cast("zext", places, wide))]

    # ---- one step ----

    def _exchange(self, columns: Column, bit: int, turned: int | None) -> Column:
        """Partners along a bit swap if they are out of order."""
        step = self.steps[bit]
        if step.partner:
            return self._in_thread(columns, step, turned)
        return self._across(columns, step, turned)

    def _in_thread(self, columns: Column, step: Step, turned: int | None) -> Column:
        b = self.k.b
        low = [r for r in range(self.count) if not step.upper[r]]
        high = [step.partner[r] for r in low]
        lows = [_lanes(self.k, c, low) for c in columns]
        highs = [_lanes(self.k, c, high) for c in columns]
        swap = _greater(self.k, lows, highs)
        swap = self._turn(swap, low, turned)
        both = list(zip(lows, highs, strict=True))
        firsts = [b.select(swap, below, above) for above, below in both]
        seconds = [b.select(swap, above, below) for above, below in both]
        place = {r: n for n, r in enumerate((*low, *high))}
        back = [place[r] for r in range(self.count)]
        pairs = zip(firsts, seconds, strict=True)
        return [_merged(self.k, f, s, back) for f, s in pairs]

    def _turn(
        self, swap: SSAValue, registers: Sequence[int], turned: int | None
    ) -> SSAValue:
        """The other way round where the coordinate has the bit `turned`."""
        if turned is None:
            return swap
        b, step = self.k.b, self.steps[turned]
        if step.partner:
            flags = [int(step.upper[r]) for r in registers]
            mask = (
                b.constants(flags, i1) if len(flags) > 1 else b.constant(flags[0], i1)
            )
            return b.binary("xor", swap, mask)
        return b.binary("xor", swap, b.splat(self._has(step), len(registers)))

    def _has(self, step: Step) -> SSAValue:
        """Whether this thread has the bit of a step across threads."""
        mask = self.k.arith("and", self.k.group.thread, 1 << step.thread)
        return self.k.b.icmp("ne", mask, self.k.number(0))

    def _across(self, columns: Column, step: Step, turned: int | None) -> Column:
        k, b = self.k, self.k.b
        if step.thread < 5:
            others = [from_partner(k, c, 1 << step.thread) for c in columns]
        else:
            others = self._through_memory(columns, 1 << step.thread)
        # The thread without the bit keeps the smaller one, the other the greater.
        greater = _greater(k, columns, others)
        take_other = self._turn(greater, range(self.count), turned)
        upper = b.splat(self._has(step), self.count)
        take_other = b.binary("xor", take_other, upper)
        pairs = zip(columns, others, strict=True)
        return [b.select(take_other, other, mine) for mine, other in pairs]

    def _through_memory(self, columns: Column, mask: int) -> Column:
        """What the thread whose index differs in `mask` holds."""
        k, b = self.k, self.k.b
        start, threads = self.memory(), 32 * k.group.warps
        partner = k.arith("xor", k.group.thread, mask)
        sizes = [bit_width(element_of(c.type)) // 8 for c in columns]
        offset = 0
        for value, size in zip(columns, sizes, strict=True):
            base = b.gep(start, k.arith("mul", k.group.thread, size), i8)
            for number, part in enumerate(split(b, value, 1)):
                at = k.offset(base, offset + number * threads * size)
                b.store(part, at, size)
            offset += self.count * threads * size
        k.group_barrier()
        found: Column = []
        offset = 0
        for value, size in zip(columns, sizes, strict=True):
            base = b.gep(start, k.arith("mul", partner, size), i8)
            parts = [
                b.load(
                    k.offset(base, offset + number * threads * size),
                    element_of(value.type),
                    size,
                )
                for number in range(self.count)
            ]
            found.append(pack(b, parts))
            offset += self.count * threads * size
        return found


def _all_steps(layout: TileLayout, dim: int) -> tuple[Step, ...]:
    """The steps of all bits of the coordinate, those of the repeats last."""
    steps, blocks = steps_along(layout, dim)
    found = list(steps)
    position = {
        r: (n, i) for n, block in enumerate(blocks) for i, r in enumerate(block)
    }
    for bit in range(len(blocks).bit_length() - 1):
        where = [position[r] for r in range(layout.registers)]
        partner = tuple(blocks[n ^ (1 << bit)][i] for n, i in where)
        found.append(Step(partner, tuple(bool(n >> bit & 1) for n, _ in where)))
    return tuple(found)


def _whole(k: Kernel, held: Registers) -> SSAValue:
    """All registers as one vector."""
    if held.count & (held.count - 1):
        return pack(k.b, [v for p in held.pieces for v in split(k.b, p, 1)])
    return join(k.b, in_pieces(k.b, held, held.lanes))


def _lanes(k: Kernel, value: SSAValue, lanes: Sequence[int]) -> SSAValue:
    if len(lanes) == 1:
        return k.b.extract(value, lanes[0])
    return k.b.shuffle(value, k.b.poison(value.type), lanes)


def _merged(
    k: Kernel, first: SSAValue, second: SSAValue, back: Sequence[int]
) -> SSAValue:
    if lanes_of(first.type) == 1:
        return pack(k.b, [(first, second)[n] for n in back])
    return k.b.shuffle(first, second, back)


def _greater(k: Kernel, a: Column, c: Column) -> SSAValue:
    """Whether composite keys are greater, lane by lane."""
    b = k.b
    if len(a) == 1:
        return b.icmp("sgt", a[0], c[0])
    greater = b.icmp("sgt", a[0], c[0])
    later = b.icmp("sgt", a[1], c[1])
    equal = b.icmp("eq", a[0], c[0])
    return b.binary("or", greater, b.binary("and", equal, later))


def _sortable(k: Kernel, keys: SSAValue) -> SSAValue:
    """Keys as i32 or i64 in the same order; zeros are equal, NaN is the greatest."""
    b, element, lanes = k.b, element_of(keys.type), lanes_of(keys.type)
    if not is_float(keys.type):
        assert isinstance(element, IntegerType)
        wide = vector(i64 if element.width.data > 32 else i32, lanes)
        return b.cast("zext" if element == i1 else "sext", keys, wide)
    if bit_width(element) < 32:
        keys = b.cast("fpext", keys, vector(f32, lanes))
    width = bit_width(element_of(keys.type))
    whole = vector(IntegerType(width), lanes)
    keys = b.binary("fadd", keys, b.constant(0.0, keys.type))
    bits = b.cast("bitcast", keys, whole)
    sign = b.binary("ashr", bits, b.constant(width - 1, whole))
    largest = b.constant((1 << (width - 1)) - 1, whole)
    bits = b.binary("xor", bits, b.binary("and", sign, largest))
    return b.select(b.fcmp("uno", keys, keys), largest, bits)


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {tile.SortOp: sort}
"""The rules of this file."""
