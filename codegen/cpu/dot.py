"""`tile.dot`: a micro-kernel of broadcasts and fused multiply-adds.

The accumulator's pieces stay in registers while k runs; per step of k one vector of the
right operand is read for each piece of a row, and one scalar of the left operand for
each row. Operands that come straight from a `tile.load` are read where they lie:

* rows of the left operand are pointers, made before the k loop; a row whose guard fails
  (padding, ragged M) points to zeros;
* the right operand must be contiguous along n; lanes outside are masked;
* a guard along k only shortens the loop.

Anything else is first copied to scratch. An accumulator that needs more registers than
there are is scratch, and the micro-kernel walks over it in sub-tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    Float16Type,
    IntegerType,
    TensorType,
    f32,
    i8,
    i32,
)
from xdsl.dialects.llvm import GlobalOp, LLVMArrayType
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_builder import CONTRACT, Value
from stepwell.codegen.llvm_text import is_float
from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.elements import (
    element_bytes,
    is_rounded,
    load_conversion,
    round_to_element,
)
from stepwell.codegen.views import position
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim, ceildiv, dim_min, symbols_of
from stepwell.dialects.quasi_affine import coefficient, is_indirect

from .kernel import Kernel
from .memory import Transfer
from .pieces import Pieces, masked_load
from .transposes import repeat
from .values import Position, Recipe, Registers, Scratch, Tile

ZEROS = "stepwell.zeros"
ZEROS_BYTES = 1 << 16
CACHE_LINE = 64


@dataclass(frozen=True)
class Along:
    """A transfer whose k dim is a plain step: what stays once k is 0."""

    transfer: Transfer
    step: Dim
    limit: Dim

    @property
    def align(self) -> int:
        """Bytes of one element."""
        return self.transfer.pieces.align


@dataclass
class Widening:
    """How operands become the accumulator's type."""

    kernel: Kernel
    target: Attribute
    unsigned: bool

    def apply(self, value: SSAValue, lanes: int) -> SSAValue:
        """The value (of `lanes` lanes) in the accumulator's type."""
        wanted = vector(self.target, lanes)
        if value.type == wanted:
            return value
        if isinstance(self.target, IntegerType):
            return self.kernel.b.cast(
                "zext" if self.unsigned else "sext", value, wanted
            )
        return self.kernel.b.cast("fpext", value, wanted)


def dot(kernel: Kernel, op: Operation) -> None:
    """Chooses where operands and accumulator live, and runs the micro-kernel."""
    assert isinstance(op, tile.DotOp)
    acc = kernel.tiles[op.acc]
    left = _left(kernel, op.lhs)
    right = _right(kernel, op.rhs)
    micro = Micro(kernel, op, left, right)
    if acc.pieces <= kernel.register_budget:
        pieces = {pos: kernel.piece(op.acc, pos) for pos in acc.positions()}
        for batch in product(*(range(n) for n in acc.extents[:-2])):
            mine = [pos for pos in pieces if pos[:-2] == batch]
            done = micro.run(batch, 0, 0, [pieces[pos] for pos in mine], mine)
            pieces.update(zip(mine, done, strict=True))
        kernel.tiles[op.result] = Registers(acc, list(pieces.values()))
        return
    kernel.tiles[op.result] = _in_scratch(kernel, op, acc, micro)


def _in_scratch(kernel: Kernel, op: tile.DotOp, acc: Tile, micro: Micro) -> Scratch:
    """The accumulator in memory, updated sub-tile by sub-tile."""
    if acc.is_static_only:
        kernel.spill(op.acc)
        acc = kernel.tiles[op.acc]
    if isinstance(acc, Scratch) and _is_free(kernel, op, acc):
        buffer = acc
    else:
        buffer = kernel.scratch(acc.extents, acc.element)
    *batch_sizes, m_size, _ = acc.extents
    rows, chunks = sub_tile(m_size, acc.chunks, kernel.register_budget)
    lanes = acc.lanes

    def at(batch: Sequence[Dim], m: Dim, n: Dim, height: int, width: int) -> None:
        places: list[Position] = [
            (*batch, m + i, n + j * lanes) for i in range(height) for j in range(width)
        ]
        start = [kernel.piece(op.acc, pos) for pos in places]
        local = [(*batch, i, j * lanes) for i in range(height) for j in range(width)]
        done = micro.run(batch, m, n, start, local)
        for pos, value in zip(places, done, strict=True):
            buffer.put(pos, value)

    def columns(batch: Sequence[Dim], m: Dim, height: int) -> None:
        whole, rest = divmod(acc.chunks, chunks)
        step = chunks * lanes
        repeat(kernel, whole, lambda t: at(batch, m, t * step, height, chunks))
        if rest:
            at(batch, m, whole * step, height, rest)

    def all_rows(batch: Sequence[Dim]) -> None:
        whole, rest = divmod(m_size, rows)
        limit = kernel.limits([op.result])[-1]
        trip = whole if limit == m_size else dim_min(whole, ceildiv(limit, rows))
        with kernel.space.scope():
            repeat(kernel, trip, lambda t: columns(batch, t * rows, rows), whole)
        if rest:
            columns(batch, whole * rows, rest)

    kernel.tiles[op.result] = buffer
    _over_batch(kernel, batch_sizes, (), all_rows)
    return buffer


def _is_free(kernel: Kernel, op: tile.DotOp, acc: Scratch) -> bool:
    """Whether nobody reads the accumulator after this, not even a pending recipe."""
    for value, held in kernel.tiles.items():
        mine = isinstance(held, Scratch) and held.buffer is acc.buffer
        if mine or (isinstance(held, Recipe) and held.uses(acc.buffer)):
            later = (use.operation for use in value.uses)
            if any(o is not op and o not in kernel.done for o in later):
                return False
    return True


def _over_batch(
    kernel: Kernel,
    extents: Sequence[int],
    at: Position,
    body: Callable[[Position], object],
) -> None:
    if not extents:
        body(at)
        return
    repeat(
        kernel,
        extents[0],
        lambda t: _over_batch(kernel, extents[1:], (*at, t), body),
    )


def sub_tile(rows: int, chunks: int, budget: int) -> tuple[int, int]:
    """Rows and pieces per row of a register tile, balanced for few loads per FMA."""
    width = next(w for w in (4, 2, 1) if w <= chunks and (w < 4 or chunks % 4 == 0))
    height = max(1, min(rows, budget // width))
    # Even shares: 16 rows are two times 8 rather than 14 and 2.
    return -(-rows // -(-rows // height)), width


# ---- operands -----------------------------------------------------------------------


def _left(kernel: Kernel, value: SSAValue) -> Along | Scratch:
    held = kernel.tiles[value]
    if isinstance(held, Recipe) and held.transfer is not None:
        direct = along(held.transfer, held.rank - 1)
        if direct is not None and _zeros_reach(direct, held.extents[-1]):
            return direct
    return kernel.to_scratch(value)


def _zeros_reach(direct: Along, steps: int) -> bool:
    size = element_bytes(direct.transfer.view.type.element_type)
    step = direct.step
    return isinstance(step, int) and 0 <= step * steps * size < ZEROS_BYTES


def _right(kernel: Kernel, value: SSAValue) -> Along | Scratch:
    held = kernel.tiles[value]
    if isinstance(held, Recipe) and held.transfer is not None:
        direct = along(held.transfer, held.rank - 2)
        if direct is not None and held.extents[-1] > 1:
            split = coefficient(held.transfer.address, position(held.rank - 1))
            if split is not None and split[0] == 1:
                return direct
    return kernel.to_scratch(value)


def along(transfer: Transfer, dim: int) -> Along | None:
    """A load as a base and a constant step along `dim`, or None.

    The guards along `dim` must have the form `0 <= a + dim < size` with `a >= 0`.
    """
    name = position(dim)
    split = coefficient(transfer.address, name)
    if split is None or transfer.pieces.fill != 0:
        return None
    for _, index in transfer.indirects:
        if any(name in symbols_of(e) for e in index):
            return None
    limit: Dim = transfer.extents[dim]
    kept: list[tuple[Dim, Dim]] = []
    for expr, size in transfer.guards:
        if name not in symbols_of(expr):
            kept.append((expr, size))
            continue
        part = coefficient(expr, name)
        others = set(transfer.positions) - {name}
        if part is None or part[0] != 1 or symbols_of(part[1]) & others:
            return None
        if not transfer.space.is_non_negative(part[1]):
            return None
        limit = dim_min(limit, size - part[1])
    fixed = transfer.without_guards(kept)
    return Along(fixed, split[0], limit)


# ---- the micro-kernel ---------------------------------------------------------------


class Micro:
    """One register tile: `acc += left[m.., :] @ right[:, n..]`."""

    def __init__(
        self,
        kernel: Kernel,
        op: tile.DotOp,
        left: Along | Scratch,
        right: Along | Scratch,
    ) -> None:
        self.kernel = kernel
        self.left = left
        self.right = right
        acc = kernel.tiles[op.acc]
        self.lanes = acc.lanes
        half = isinstance(acc.carrier, Float16Type)
        self.carrier = f32 if half else acc.carrier
        self.rounding: Callable[[SSAValue], SSAValue] | None = None
        if half:
            narrow = vector(acc.carrier, acc.lanes)
            self.rounding = lambda v: kernel.b.cast("fptrunc", v, narrow)
        elif is_rounded(acc.element):
            self.rounding = lambda v: round_to_element(kernel.b, v, acc.element)
        self.widen_left = Widening(kernel, self.carrier, op.lhs_unsigned is not None)
        self.widen_right = Widening(kernel, self.carrier, op.rhs_unsigned is not None)
        limit: Dim = tile.tile_of(op.lhs).extents[-1]
        for side in (left, right):
            if isinstance(side, Along):
                limit = dim_min(limit, side.limit)
        self.limit = kernel.space.simplify(limit)
        self.is_float = is_float(self.carrier)

    def run(
        self,
        batch: Sequence[Dim],
        m: Dim,
        n: Dim,
        start: Sequence[SSAValue],
        local: Sequence[Position],
    ) -> list[SSAValue]:
        """The accumulator's pieces after all of k.

        Args:
            batch: position in the leading dims.
            m, n: where the register tile starts.
            start: the pieces, row-major.
            local: their positions within the register tile.
        """
        b = self.kernel.b
        if self.rounding is None:
            return self._run(batch, m, n, start, local)
        wide = [b.cast("fpext", v, vector(self.carrier, self.lanes)) for v in start]
        return [self.rounding(v) for v in self._run(batch, m, n, wide, local)]

    def _run(
        self,
        batch: Sequence[Dim],
        m: Dim,
        n: Dim,
        start: Sequence[SSAValue],
        local: Sequence[Position],
    ) -> list[SSAValue]:
        kernel, b = self.kernel, self.kernel.b
        heights = dict.fromkeys(pos[-2] for pos in local)
        widths = dict.fromkeys(pos[-1] for pos in local)
        rows = [self._left_row(batch, m + i) for i in heights]
        columns = [self._right_column(batch, n + j) for j in widths]
        line = self._line()
        if line is None:
            trip = kernel.space.emit(self.limit)
            once = kernel.space.is_non_negative(self.limit - 1)
            return self._steps(rows, columns, start, trip, 0, once)
        lines = kernel.space.emit(self.limit // line)
        with b.loop(lines, start, 1) as loop, kernel.space.scope():
            first = b.mul(loop.index, line)
            for row in rows:
                row.prefetch(self, b.add(first, line))
            loop.results = self._steps(rows, columns, loop.args, line, first, True)
        return loop.results

    def _line(self) -> int | None:
        """Steps of k in one cache line of a row, if rows are read in whole lines.

        All rows come to the end of their lines at once, more misses than the core can
        have in flight; so the next lines are asked for one line ahead.
        """
        side = self.left
        size = side.align
        step = 1 if isinstance(side, Scratch) else side.step
        if isinstance(side, Scratch) or step != 1 or not isinstance(self.limit, int):
            return None
        line = CACHE_LINE // size
        return line if self.limit % line == 0 and self.limit >= 32 * line else None

    def _steps(
        self,
        rows: Sequence[_Row],
        columns: Sequence[_Column],
        start: Sequence[SSAValue],
        trip: Value,
        first: Value,
        once: bool,
    ) -> list[SSAValue]:
        """`trip` steps of k from `first` on.

        Not unrolled: LLVM would hoist the next step's loads and run out of registers.
        """
        kernel, b = self.kernel, self.kernel.b
        with (
            b.loop(trip, start, 1, at_least_once=once) as loop,
            kernel.space.scope(),
        ):
            k = b.value(b.add(first, loop.index))
            results: list[SSAValue] = []
            vectors = [c.read(self, k) for c in columns]
            args = iter(loop.args)
            for row in rows:
                scalar = row.read(self, k)
                results += [self._multiply_add(scalar, v, next(args)) for v in vectors]
            loop.results = results
        return loop.results

    def _multiply_add(self, a: SSAValue, v: SSAValue, acc: SSAValue) -> SSAValue:
        b = self.kernel.b
        if not self.is_float:
            return b.binary("add", acc, b.binary("mul", a, v))
        return b.binary("fadd", acc, b.binary("fmul", a, v, CONTRACT), CONTRACT)

    def _left_row(self, batch: Sequence[Dim], m: Dim) -> _Row:
        side = self.left
        if isinstance(side, Scratch):
            pointer = side.pointer((*batch, m, 0))
            return _Row(pointer, 1, side.storage, side.align, None)
        pieces = side.transfer.pieces
        place = side.transfer.place((*batch, m, 0), 1)
        pointer = pieces.base_pointer(place)
        if place.scalar is not None:
            zeros = zeros_pointer(self.kernel)
            pointer = self.kernel.b.select(place.scalar, pointer, zeros)
        step = self.kernel.space.emit(side.step)
        return _Row(pointer, step, pieces.storage, pieces.align, pieces)

    def _right_column(self, batch: Sequence[Dim], n: Dim) -> _Column:
        side = self.right
        if isinstance(side, Scratch):
            pointer = side.pointer((*batch, 0, n))
            return _Column(pointer, side.pitch, side.storage, side.align, None, None)
        pieces = side.transfer.pieces
        place = side.transfer.place((*batch, 0, n), self.lanes)
        base, mask = pieces.base_pointer(place), pieces.mask(place, self.lanes)
        step = self.kernel.space.emit(side.step)
        return _Column(base, step, pieces.storage, pieces.align, mask, pieces)


@dataclass
class _Row:
    """A row of the left operand: where it starts and its step along k."""

    base: SSAValue
    step: Value
    storage: Attribute
    align: int
    pieces: Pieces | None

    def prefetch(self, micro: Micro, k: Value) -> None:
        """Asks for the line of the element at `k`."""
        b = micro.kernel.b
        pointer = b.gep(self.base, k, self.storage)
        read, keep, data = (b.constant(c, i32) for c in (0, 3, 1))
        b.intrinsic_void("llvm.prefetch.p0", (pointer, read, keep, data))

    def read(self, micro: Micro, k: SSAValue) -> SSAValue:
        """Its element at `k`, in every lane."""
        b = micro.kernel.b
        pointer = b.gep(self.base, b.mul(k, self.step), self.storage)
        value = b.load(pointer, self.storage, self.align)
        if self.pieces is not None:
            value = load_conversion(b, value, self.pieces.element)
        return b.splat(micro.widen_left.apply(value, 1), micro.lanes)


@dataclass
class _Column:
    """A vector of columns of the right operand, its step along k, and its mask."""

    base: SSAValue
    step: Value
    storage: Attribute
    align: int
    mask: SSAValue | None
    pieces: Pieces | None

    def read(self, micro: Micro, k: SSAValue) -> SSAValue:
        """The vector at `k`, zero where masked."""
        b = micro.kernel.b
        pointer = b.gep(self.base, b.mul(k, self.step), self.storage)
        type_ = vector(self.storage, micro.lanes)
        value = masked_load(b, pointer, type_, self.align, self.mask)
        if self.pieces is not None:
            value = load_conversion(b, value, self.pieces.element)
        return micro.widen_right.apply(value, micro.lanes)


def zeros_pointer(kernel: Kernel) -> SSAValue:
    """Memory of `ZEROS_BYTES` zeros, shared by the module."""
    known = kernel.space.remembered("zeros$")
    if known is None:
        known = kernel.b.address_of(ZEROS)
        kernel.space.remember("zeros$", known)
        kernel.library.needs_zeros = True
    assert isinstance(known, SSAValue)
    return known


def zeros_global() -> GlobalOp:
    """The definition of the zeros."""
    kind = LLVMArrayType(ZEROS_BYTES, i8)
    zeros = DenseIntOrFPElementsAttr.from_list(TensorType(i8, [ZEROS_BYTES]), [0])
    return GlobalOp(
        kind, ZEROS, "internal", constant=True, value=zeros, alignment=CACHE_LINE
    )


__all__ = ["Along", "along", "dot", "is_indirect", "sub_tile", "zeros_global"]
