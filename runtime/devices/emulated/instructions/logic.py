"""Logic, shifts and bit fields (ISA chapter "Logic and Shift Instructions")."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import SINK, Instruction, Integer, Pair
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    element_type,
    instruction,
    unsupported,
)

from .elementwise import (
    Array,
    elementwise,
)

# Logic, shifts and bit fields.


@instruction("and", "or", "xor")
def logic(one: Instruction, scope: Scope) -> Operation:
    """Bitwise on integers, logical on predicates."""
    name = {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor"}[one.opcode]
    return elementwise(one, scope, getattr(np, name))


@instruction("not")
def not_(one: Instruction, scope: Scope) -> Operation:
    """Bitwise complement."""
    return elementwise(one, scope, np.invert)


@instruction("cnot")
def cnot(one: Instruction, scope: Scope) -> Operation:
    """One where the operand is zero."""
    return elementwise(one, scope, lambda a: (a == 0).astype(a.dtype))


@instruction("shl", "shr")
def shift(one: Instruction, scope: Scope) -> Operation:
    """Shifts clamp: by the width or more, all bits leave."""
    type_ = element_type(one)
    width = NUMPY_TYPES[type_].itemsize * 8
    left = one.opcode == "shl"
    by = one.operands[2]
    if isinstance(by, Integer) and 0 <= by.value < width:
        plain = np.left_shift if left else np.right_shift
        return elementwise(one, scope, plain)

    def run(a: Array, by: Array) -> Array:
        amount = np.minimum(by, np.uint32(width - 1)).astype(a.dtype)
        shifted = a << amount if left else a >> amount
        gone = a.dtype.type(0) if left or a.dtype.kind == "u" else shifted
        return np.where(by >= width, gone, shifted)

    return elementwise(one, scope, run, (type_, "u32"))


@instruction("shf")
def funnel_shift(one: Instruction, scope: Scope) -> Operation:
    """`shf.l`, `shf.r`: 32 bits out of a 64-bit value shifted, wrapping or clamping."""
    wrap, left = "wrap" in one.modifiers, "l" in one.modifiers

    def run(low: Array, high: Array, by: Array) -> Array:
        amount = (by & np.uint32(31)) if wrap else np.minimum(by, np.uint32(32))
        both = high.astype(np.uint64) << np.uint64(32) | low
        if left:
            kept = both << amount.astype(np.uint64) >> np.uint64(32)
        else:
            kept = both >> amount.astype(np.uint64)
        return kept.astype(np.uint32)

    return elementwise(one, scope, run)


@instruction("popc", "clz", "brev", "bfind", "ffs")
def bits(one: Instruction, scope: Scope) -> Operation:
    """Counting and reversing bits."""
    type_ = element_type(one)
    width = NUMPY_TYPES[type_].itemsize * 8
    if one.opcode == "brev":
        return elementwise(one, scope, lambda a: reverse_bits(a, width))
    read = scope.read(one.operands[1], type_)
    write = scope.write(one.operands[0], "u32")

    def count(a: Array) -> Array:
        if one.opcode == "popc":
            return np.bitwise_count(a).astype(np.uint32)
        if a.dtype.kind == "i":  # bfind of a signed value ignores the sign bits
            a = np.where(a < 0, ~a, a)
        length = bit_length(a)
        if one.opcode == "clz":
            return (width - length).astype(np.uint32)
        if "shiftamt" in one.modifiers:
            return np.where(length == 0, -1, width - length).astype(np.uint32)
        return (length - 1).astype(np.uint32)

    return lambda threads, mask: write(threads, mask, count(read(threads)))


def bit_length(a: Array) -> Array:
    """Bits up to the highest set one."""
    value = a.astype(np.uint64)
    for step in (1, 2, 4, 8, 16, 32):
        value = value | value >> np.uint64(step)
    return np.bitwise_count(value).astype(np.int64)


def reverse_bits(a: Array, width: int) -> Array:
    """The bits in opposite order."""
    octets = np.ascontiguousarray(a).view(np.uint8).reshape(*a.shape, width // 8)
    order = np.unpackbits(octets, axis=-1, bitorder="little")[..., ::-1]
    packed = np.packbits(order, axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).view(f"u{width // 8}")[..., 0]


@instruction("bfe")
def extract_field(one: Instruction, scope: Scope) -> Operation:
    """`bfe`: `length` bits from `start`, sign-extended for signed types."""
    type_ = element_type(one)
    width = NUMPY_TYPES[type_].itemsize * 8

    def run(a: Array, start: Array, length: Array) -> Array:
        first, count = _position(start, length, width)
        unsigned = a.astype(np.uint64) & np.uint64((1 << width) - 1)
        inside = np.minimum(first, 63).astype(np.uint64)
        field = np.where(first >= width, np.uint64(0), unsigned >> inside)
        keep = np.minimum(count, 63).astype(np.uint64)
        ones = (np.uint64(1) << keep) - np.uint64(1)
        ones = np.where(count >= 64, ~np.uint64(0), ones)
        field = field & ones
        if a.dtype.kind == "i":
            last = np.minimum(first + count - 1, width - 1).clip(0)
            negative = (unsigned >> last.astype(np.uint64) & np.uint64(1)) == 1
            inner = np.clip(np.minimum(count, width - first), 0, 63).astype(np.uint64)
            above = ~((np.uint64(1) << inner) - np.uint64(1))
            field = np.where(negative & (count > 0), field | above, field)
        return field.astype(f"u{width // 8}").view(a.dtype)

    return elementwise(one, scope, run, (type_, "u32", "u32"))


def _position(start: Array, length: Array, width: int) -> tuple[Array, Array]:
    """First bit and length of a field, which count to 255; of 64 bits, they clamp."""
    if width == 32:
        start, length = start & np.uint32(255), length & np.uint32(255)
    return np.minimum(start, 255).astype(np.int64), np.minimum(length, 255).astype(
        np.int64
    )


@instruction("bfi")
def insert_field(one: Instruction, scope: Scope) -> Operation:
    """`bfi d, a, b, start, length`: the low bits of a, put into b."""
    type_ = element_type(one)
    width = NUMPY_TYPES[type_].itemsize * 8

    def run(a: Array, b: Array, start: Array, length: Array) -> Array:
        first, count = _position(start, length, width)
        first = np.minimum(first, width)
        count = np.minimum(count, width - first)
        ones = np.where(
            count >= 64,
            ~np.uint64(0),
            (np.uint64(1) << count.astype(np.uint64)) - np.uint64(1),
        )
        ones = np.where(first >= width, np.uint64(0), ones)
        at = np.minimum(first, 63).astype(np.uint64)
        merged = (b.astype(np.uint64) & ~(ones << at)) | ((a & ones) << at)
        return merged.astype(f"u{width // 8}")

    return elementwise(one, scope, run, (type_, type_, "u32", "u32"))


@instruction("lop3")
def lop3(one: Instruction, scope: Scope) -> Operation:
    """Any function of three bits, by its truth table.

    `lop3.or`, `lop3.and` also write a predicate: whether any bit is set, joined with
    another predicate.
    """
    join = next((m for m in one.modifiers if m in ("and", "or")), None)
    target = one.operands[0]
    pair = target if isinstance(target, Pair) else Pair(target, SINK)
    if (join is None) != (pair.second == SINK):
        raise unsupported(one)
    reads = [scope.read(operand, "b32") for operand in one.operands[1:5]]
    write, flag = scope.write(pair.first, "b32"), scope.write(pair.second, "pred")
    extra = scope.read(one.operands[5], "pred") if join else None
    joined = np.logical_or if join == "or" else np.logical_and

    def run(threads: Threads, mask: Mask) -> None:
        a, b, c, table = (read(threads) for read in reads)
        result = _by_table(a, b, c, int(table))
        write(threads, mask, result)
        if extra is not None:
            flag(threads, mask, joined(result != 0, extra(threads)))

    return run


def _by_table(a: Array, b: Array, c: Array, table: int) -> Array:
    """Bit k of the table is the result where the bits of a, b, c spell k."""
    result = np.zeros_like(a & b & c)
    for row in range(8):
        if table >> row & 1:
            term = a if row & 4 else ~a
            term = term & (b if row & 2 else ~b)
            result = result | (term & (c if row & 1 else ~c))
    return result


PICKS: dict[str, Callable[[int, Array], Array]] = {
    "f4e": lambda at, first: first + at,
    "b4e": lambda at, first: first - at,
    "rc8": lambda at, first: first,
    "ecl": lambda at, first: np.maximum(first, at),
    "ecr": lambda at, first: np.minimum(first, at),
    "rc16": lambda at, first: 2 * (first & 1) + (at & 1),
}
"""Modes of `prmt`: which byte goes to place `at`, by the two bits of the selector."""


@instruction("prmt")
def permute(one: Instruction, scope: Scope) -> Operation:
    """`prmt`: picks four of eight bytes, or repeats their sign."""
    mode = one.modifiers[1] if len(one.modifiers) > 1 else None
    if mode is not None and mode not in PICKS:
        raise unsupported(one)

    def pick(at: int, selector: Array) -> Array:
        if mode is None:
            return selector.astype(np.int64) >> 4 * at
        return PICKS[mode](at, selector.astype(np.int64) & 3) & 7

    def run(a: Array, b: Array, selector: Array) -> Array:
        both = b.astype(np.uint64) << np.uint64(32) | a
        result = np.zeros_like(both)
        for at in range(4):
            chosen = pick(at, selector)
            byte = both >> (chosen & 7).astype(np.uint64) * np.uint64(8)
            byte = byte & np.uint64(255)
            sign = np.where(byte & np.uint64(128), np.uint64(255), np.uint64(0))
            byte = np.where(chosen & 8, sign, byte)
            result = result | byte << np.uint64(8 * at)
        return result.astype(np.uint32)

    return elementwise(one, scope, run)


@instruction("szext")
def extend(one: Instruction, scope: Scope) -> Operation:
    """`szext`: the low bits, extended by their sign or by zeros."""
    wrap = "wrap" in one.modifiers

    def run(a: Array, count: Array) -> Array:
        bits = (count & np.uint32(31)) if wrap else np.minimum(count, np.uint32(32))
        left = (32 - bits.astype(np.int64)).astype(np.uint64)
        shifted = (a.astype(np.uint32).astype(np.uint64) << left).astype(np.uint32)
        kept = shifted.view(a.dtype).astype(np.int64) >> left.astype(np.int64)
        return np.where(bits == 0, 0, kept).astype(a.dtype)

    return elementwise(one, scope, run, (element_type(one), "u32"))


@instruction("bmsk")
def bit_mask(one: Instruction, scope: Scope) -> Operation:
    """`bmsk`: ones, `b` of them from bit `a` on."""
    wrap = "wrap" in one.modifiers

    def run(a: Array, b: Array) -> Array:
        first, count = (
            ((v & np.uint32(31)) if wrap else np.minimum(v, 32)).astype(np.uint64)
            for v in (a, b)
        )
        ones = (np.uint64(1) << count) - np.uint64(1)
        return (ones << first).astype(np.uint32)

    return elementwise(one, scope, run)


@instruction("fns")
def find_nth_set(one: Instruction, scope: Scope) -> Operation:
    """`fns`: the n-th set bit from a base upwards, or for negative n downwards."""
    places = np.arange(32)

    def run(mask: Array, base: Array, nth: Array) -> Array:
        bits = (mask[..., None] >> places.astype(np.uint32) & np.uint32(1)) == 1
        start, n = base.astype(np.int64)[..., None], nth.astype(np.int64)[..., None]
        upward = bits & (places >= start)
        downward = (bits & (places <= start))[..., ::-1]
        counted = np.where(n > 0, upward.cumsum(-1), downward.cumsum(-1)[..., ::-1])
        found = np.where(n > 0, upward, downward[..., ::-1]) & (counted == np.abs(n))
        found = np.where(n == 0, bits & (places == start), found)
        return np.where(found.any(-1), found.argmax(-1), -1).astype(np.uint32)

    return elementwise(one, scope, run, ("b32", "b32", "s32"))
