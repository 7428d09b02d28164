"""`tile.mma`: products of register fragments by `mma.sync.m16n8`.

Which fragments of the operands meet in which of the sum is read off the coordinates of
their layouts. f32 is read as TF32, whose low bits the hardware drops; a split product
adds the parts that this loses: `hi hi + hi lo + lo hi`, relative error about 2^-21.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    IntegerType,
    i32,
)
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_types import lanes_of, vector
from stepwell.dialects import nvvm, tile
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import TileLayout
from stepwell.errors import CompileError

from .aggregates import fields
from .kernel import Kernel
from .registers import Registers, in_pieces, scalars_of, take, usual_lanes

_TF32_MASK, _TF32_HALF = -(1 << 13), 1 << 12
"""The bits of an f32 that TF32 keeps, and half of the last of them."""


def mma(k: Kernel, op: Operation) -> None:
    """A product for each fragment of the sum and each step along the depth."""
    assert isinstance(op, tile.MmaOp)
    lhs, rhs, acc = (k.registers(v) for v in (op.lhs, op.rhs, op.acc))
    element = lhs.kind.element_type
    types, depth = _types(op, element), 256 // bit_width(element)
    plan = fragments(lhs.layout, rhs.layout, acc.layout, depth)
    sums = [list(four) for four in _fours(scalars_of(k.b, acc))]

    def add(target: int, a: Words, b: Words) -> None:
        product = nvvm.MmaOp(a, b, sums[target], (16, 8, depth), types)
        result = k.nvvm(product)
        assert result is not None
        sums[target] = fields(k.b, result)

    if op.split is None:
        left, right = _words(k, lhs), _words(k, rhs)
        for target, a, b in plan:
            add(target, left[4 * a : 4 * a + 4], right[2 * b : 2 * b + 2])
    else:
        _split_products(k, lhs, rhs, plan, add)
    flat = tuple(value for four in sums for value in four)
    k.bind(op.result, Registers(acc.kind, flat))


def _split_products(
    k: Kernel,
    lhs: Registers,
    rhs: Registers,
    plan: Sequence[tuple[int, int, int]],
    add: Callable[[int, Words, Words], None],
) -> None:
    """Column by column, so that few parts are needed at a time.

    The small products come first, so that the large ones round last.
    """
    left, right = _Parts(k, lhs, 4), _Parts(k, rhs, 2)
    columns: dict[int, list[tuple[int, int, int]]] = {}
    first: dict[int, int] = {}
    for target, a, b in plan:
        # The first fragment of the right side that a sum meets names its column.
        column = first.setdefault(target, b)
        columns.setdefault(column, []).append((target, a, b))
    for column in columns.values():
        for high_left, high_right in ((False, True), (True, False), (True, True)):
            for target, a, b in column:
                add(target, left.words(a, high_left), right.words(b, high_right))


def _fours(values: list[SSAValue]) -> list[list[SSAValue]]:
    return [values[i : i + 4] for i in range(0, len(values), 4)]


@lru_cache(maxsize=1024)
def fragments(
    lhs: TileLayout, rhs: TileLayout, acc: TileLayout, depth: int
) -> tuple[tuple[int, int, int], ...]:
    """`(sum, left, right)`: the fragments of each product, step by step of `depth`.

    Raises:
        CompileError: a warp does not hold what its part of the sum needs.
    """
    lefts = {corner: n for n, corner in enumerate(_corners(lhs, depth // 2))}
    rights = {corner: n for n, corner in enumerate(_corners(rhs, depth // 4))}
    found: list[tuple[int, int, int]] = []
    for start in range(0, lhs.extents[1], depth):
        at = np.full(lhs.warps, start).tobytes()
        for number, (row, column) in enumerate(_corners(acc, 4)):
            left, right = lefts.get((row, at)), rights.get((at, column))
            if left is None or right is None:
                raise CompileError(
                    "expected operands whose warps hold what their sums need"
                )
            found.append((number, left, right))
    return tuple(found)


def _corners(layout: TileLayout, registers: int) -> list[tuple[bytes, ...]]:
    """The first coordinates of each fragment, warp by warp."""
    firsts = [
        np.ascontiguousarray(c[::registers, 0, :].astype(np.int64))
        for c in layout.coordinates
    ]
    return [tuple(c[n].tobytes() for c in firsts) for n in range(len(firsts[0]))]


def _types(
    op: tile.MmaOp, element: Attribute
) -> tuple[nvvm.MMAType, nvvm.MMAType] | None:
    if isinstance(element, Float16Type):
        return None
    if isinstance(element, BFloat16Type):
        return nvvm.MMAType.BF16, nvvm.MMAType.BF16
    if isinstance(element, Float32Type):
        return nvvm.MMAType.TF32, nvvm.MMAType.TF32
    if element == IntegerType(8):
        flags = (op.lhs_unsigned, op.rhs_unsigned)
        kinds = [nvvm.MMAType.S8 if f is None else nvvm.MMAType.U8 for f in flags]
        return kinds[0], kinds[1]
    raise CompileError(f"no product of fragments of {element}")


Words = list[SSAValue]


def _words(k: Kernel, held: Registers) -> Words:
    """Registers as the 32-bit words of fragments."""
    b, element = k.b, held.kind.element_type
    pieces = in_pieces(b, held, 32 // bit_width(element))
    if isinstance(element, Float16Type):
        return list(pieces)
    return [b.cast("bitcast", piece, i32) for piece in pieces]


class _Parts:
    """f32 as what TF32 keeps of it and the rest, computed where they are needed.

    Args:
        count: registers of a fragment.
    """

    def __init__(self, k: Kernel, held: Registers, count: int) -> None:
        self.k, self.held, self.count = k, held, count
        self.lanes = max(usual_lanes(held.kind), count)
        self.known: dict[int, tuple[SSAValue, SSAValue]] = {}
        self.found: dict[tuple[int, bool], Words] = {}

    def words(self, fragment: int, high: bool) -> Words:
        """The words of one part of a fragment."""
        known = self.found.get((fragment, high))
        if known is None:
            b, start = self.k.b, fragment * self.count
            part = self._piece(start // self.lanes)[0 if high else 1]
            first = start % self.lanes
            lanes = range(first, first + self.count)
            known = [b.cast("bitcast", b.extract(part, i), i32) for i in lanes]
            self.found[fragment, high] = known
        return known

    def _piece(self, number: int) -> tuple[SSAValue, SSAValue]:
        known = self.known.get(number)
        if known is None:
            b, start = self.k.b, number * self.lanes
            piece = take(b, self.held, range(start, start + self.lanes))
            whole = vector(i32, lanes_of(piece.type))
            bits = b.cast("bitcast", piece, whole)
            # Rounded to nearest. A NaN may be lost here, but stays in the rest.
            bits = b.binary("add", bits, b.constant(_TF32_HALF, whole))
            bits = b.binary("and", bits, b.constant(_TF32_MASK, whole))
            high = b.cast("bitcast", bits, piece.type)
            known = self.known[number] = high, b.binary("fsub", piece, high)
        return known


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {tile.MmaOp: mma}
"""The rules of this file."""
