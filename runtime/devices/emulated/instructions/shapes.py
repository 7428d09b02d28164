"""Products of a warp in the less common shapes: f64, 4-bit and 1-bit, m8n8k*.

ISA section "Matrix Fragments for mma". Where elements lie is a table of indices, so
that one path serves all; the common shapes (in matrix.py) are transposes instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import WARP, Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import Instruction, Operand, Register
from stepwell.runtime.devices.emulated.translate import Scope, unsupported

from .addressing import vector_elements
from .matrix import OPERAND_TYPES, to_tf32, whole_warps

Array = NDArray
Indices = NDArray[np.int64]
BITS = {
    "s4": 4,
    "u4": 4,
    "b1": 1,
    "f64": 64,
    "s32": 32,
    **{name: 8 * kind.itemsize for name, kind in OPERAND_TYPES.items()},
}
LANE = np.arange(WARP)
GROUP, MEMBER = LANE >> 2, LANE & 3


def decoded(words: Array, type_: str) -> Array:
    """Registers `[..., lanes]` as numbers `[..., lanes, parts]` of 64 bits."""
    if type_ in ("s4", "u4", "b1"):
        bits = BITS[type_]
        shifts = np.arange(0, 32, bits, dtype=np.uint32)
        parts = (words[..., None] >> shifts) & np.uint32((1 << bits) - 1)
        values = parts.astype(np.int64)
        return values - 16 * (values > 7) if type_ == "s4" else values
    kind = {"f64": "f8", "s32": "i4"}.get(type_) or OPERAND_TYPES[type_]
    dtype = np.dtype(kind)
    parts = words[..., None].view(dtype)
    if type_ == "tf32":
        parts = to_tf32(np.ascontiguousarray(parts))
    return parts.astype(np.float64 if dtype.kind not in "iu" else np.int64)


@dataclass(frozen=True)
class Place:
    """Where each element `[registers, lanes, parts]` of a fragment is.

    `matrix` counts the independent products of a warp (m8n8k4 makes four).
    """

    row: Indices
    column: Indices
    matrix: Indices
    shape: tuple[int, int]
    count: int = 1

    def dense(self, values: Array) -> Array:
        """`[registers, warps, lanes, parts]` as `[warps, count, rows, columns]`."""
        warps = values.shape[1]
        full = np.zeros((warps, self.count, *self.shape), values.dtype)
        full[:, self.matrix, self.row, self.column] = values.transpose(1, 0, 2, 3)
        return full

    def taken(self, full: Array) -> Array:
        """The inverse of `dense`."""
        picked = full[:, self.matrix, self.row, self.column]
        return np.ascontiguousarray(picked.transpose(1, 0, 2, 3))


def _placed(row: Array, column: Array, matrix: Array, count: int) -> Place:
    row, column, matrix = np.broadcast_arrays(row, column, matrix)
    shape = (int(row.max()) + 1, int(column.max()) + 1)
    return Place(row, column, matrix, shape, count)


def _axes(registers: int, parts: int) -> tuple[Array, Array]:
    return np.arange(registers)[:, None, None], np.arange(parts)[None, None, :]


ONE = np.zeros((1, 1, 1), np.int64)


def left(registers: int, parts: int, rows: int) -> Place:
    """The left operand: 8 or 16 rows, a quarter of 4 `parts` columns per register."""
    register, each = _axes(registers, parts)
    halves = rows // 8
    row = GROUP[None, :, None] + 8 * (register % halves)
    column = register // halves * 4 * parts + MEMBER[None, :, None] * parts + each
    return _placed(row, column, ONE, 1)


def right(registers: int, parts: int) -> Place:
    """The right operand, k by 8."""
    register, each = _axes(registers, parts)
    row = register * 4 * parts + MEMBER[None, :, None] * parts + each
    return _placed(row, GROUP[None, :, None], ONE, 1)


def result(registers: int, parts: int) -> Place:
    """Accumulators: pairs of neighbours in a row, eight rows apart."""
    register, each = _axes(registers, parts)
    element = register * parts + each
    row = GROUP[None, :, None] + 8 * (element >> 1)
    column = 2 * MEMBER[None, :, None] + (element & 1)
    return _placed(row, column, ONE, 1)


# m8n8k4: quads 0 to 3 of each half warp make a product of their own.

QUAD = (LANE % 16 // 4)[None, :, None]
UPPER = (LANE >= 16).astype(np.int64)[None, :, None]
MEMBERS = MEMBER[None, :, None]


def quad_operand(is_left: bool, by_lane: bool) -> Place:
    """An operand of m8n8k4: 8 by 4 (left) or 4 by 8; lanes along m or n, or along k."""
    register, each = _axes(2, 2)
    element = 2 * register + each
    outer = MEMBERS + 4 * UPPER if by_lane else element + 4 * UPPER
    inner = element if by_lane else MEMBERS
    row, column = (outer, inner) if is_left else (inner, outer)
    return _placed(row, column, QUAD, 4)


def quad_result(parts: int) -> Place:
    """Accumulators of m8n8k4, of singles or packed halves."""
    register, each = _axes(8 // parts, parts)
    element = register * parts + each
    if parts == 2:
        row, column = MEMBERS + 4 * UPPER, element
    else:
        row = (MEMBERS & 1) + (element & 2) + 4 * UPPER
        column = (element & 4) + (MEMBERS & 2) + (element & 1)
    return _placed(row, column, QUAD, 4)


# The instruction.


@dataclass(frozen=True)
class Registers:
    """The registers of an operand, in a bank."""

    bank: str
    rows: Indices

    @staticmethod
    def of(one: Instruction, operand: Operand, scope: Scope, bank: str) -> Registers:
        """Those of `{...}`."""
        rows: list[int] = []
        for element in vector_elements(operand):
            if not isinstance(element, Register):
                raise unsupported(one, f"constant in a matrix of {one.name}")
            slot = scope.slot(element.name)
            if slot.bank != bank:
                raise unsupported(one, f"{slot.bank} register in {one.name}")
            rows.append(slot.row)
        return Registers(bank, np.array(rows))

    def read(self, threads: Threads, warps: Array | None) -> Array:
        """`[registers, warps, lanes]`."""
        bank = threads.wave.banks[self.bank][:, threads.start : threads.stop]
        values = bank[self.rows].reshape(self.rows.size, -1, WARP)
        return values if warps is None else values[:, warps]

    def write(self, threads: Threads, warps: Array | None, values: Array) -> None:
        """The inverse of `read`."""
        bank = threads.wave.banks[self.bank][:, threads.start : threads.stop]
        by_warp = bank.reshape(len(bank), -1, WARP)
        chosen = np.arange(by_warp.shape[1]) if warps is None else warps
        by_warp[self.rows[:, None], chosen] = values


def general_mma(one: Instruction, scope: Scope) -> Operation:
    """`mma.sync` of any dense shape."""
    types = [m for m in one.modifiers if m in BITS]
    found = [re.fullmatch(r"m(\d+)n8k(\d+)", m) for m in one.modifiers]
    shape = next((match for match in found if match is not None), None)
    if len(types) != 4 or shape is None or len(one.operands) != 4:
        raise unsupported(one)
    d_type, a_type, _, c_type = types
    if d_type != c_type or d_type not in ("f64", "s32", "f32", "f16"):
        raise unsupported(one)
    bank = "b64" if a_type == "f64" else "b32"
    registers = [Registers.of(one, operand, scope, bank) for operand in one.operands]
    counts = [len(part.rows) for part in registers]
    places = _places(one, types, counts, int(shape[1]), int(shape[2]))
    to, *of = registers

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        a, b, c = (
            place.dense(decoded(part.read(threads, warps), type_))
            for place, part, type_ in zip(places, of, types[1:], strict=True)
        )
        total = multiplied(one, a, b) + c
        to.write(threads, warps, encoded(one, places[2].taken(total), d_type))

    return run


def multiplied(one: Instruction, a: Array, b: Array) -> Array:
    """`a b`; of single bits, the number of ones in `a & b` or `a ^ b`."""
    if "xor" not in one.modifiers:
        return a @ b
    ones = a.sum(axis=-1)[..., :, None] + b.sum(axis=-2)[..., None, :]
    return ones - 2 * (a @ b)


def encoded(one: Instruction, values: Array, type_: str) -> Array:
    """Numbers `[registers, warps, lanes, parts]` as registers of a result."""
    kind = np.dtype({"f64": "f8", "s32": "i4", "f32": "f4", "f16": "f2"}[type_])
    if "satfinite" in one.modifiers and type_ == "s32":
        values = np.clip(values, -(2**31), 2**31 - 1)
    narrow = np.ascontiguousarray(values.astype(kind))
    return narrow.view("u8" if type_ == "f64" else "u4")[..., 0]


def _places(
    one: Instruction, types: Sequence[str], counts: Sequence[int], rows: int, depth: int
) -> tuple[Place, Place, Place]:
    """Where the elements of a, b and c are; checked against the shape."""
    _, a_type, b_type, c_type = types
    d, a, b, c = counts
    if rows == 8 and a_type == "f16":
        a_row, b_column = (
            order == natural
            for order, natural in zip(
                (m for m in one.modifiers if m in ("row", "col")),
                ("row", "col"),
                strict=True,
            )
        )
        parts = 32 // BITS[c_type]
        places = (
            quad_operand(True, a_row),
            quad_operand(False, b_column),
            quad_result(parts),
        )
        expected = (8 // parts, 2, 2, 8 // parts)
    else:
        word = 64 if a_type == "f64" else 32
        places = (
            left(a, word // BITS[a_type], rows),
            right(b, word // BITS[b_type]),
            result(c, word // BITS[c_type]),
        )
        expected = (c, a, b, c)
    shapes = [place.shape for place in places]
    wanted = [(rows, depth), (depth, 8), (rows, 8)]
    if shapes != wanted or tuple(counts) != expected or d != c:
        raise unsupported(one)
    return places
