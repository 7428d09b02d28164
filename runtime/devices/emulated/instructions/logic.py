"""Logic, shifts and bit fields (ISA chapter "Logic and Shift Instructions")."""

from __future__ import annotations

import numpy as np

from stepwell.runtime.devices.emulated.machine import Operation
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import Instruction, Integer
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
        first = (start & np.uint32(255)).astype(np.int64)
        count = (length & np.uint32(255)).astype(np.int64)
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
            field = np.where(negative & (count > 0), field | ~ones, field)
        return field.astype(f"u{width // 8}").view(a.dtype)

    return elementwise(one, scope, run, (type_, "u32", "u32"))


@instruction("bfi")
def insert_field(one: Instruction, scope: Scope) -> Operation:
    """`bfi d, a, b, start, length`: the low bits of a, put into b."""
    type_ = element_type(one)
    width = NUMPY_TYPES[type_].itemsize * 8

    def run(a: Array, b: Array, start: Array, length: Array) -> Array:
        first = np.minimum(start & np.uint32(255), width).astype(np.int64)
        count = np.minimum(length & np.uint32(255), width - first).astype(np.int64)
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
    """Any function of three bits, by its truth table."""

    def run(a: Array, b: Array, c: Array, table: Array) -> Array:
        code = int(table)
        result = np.zeros_like(a)
        for row in range(8):
            if code >> row & 1:
                term = a if row & 4 else ~a
                term = term & (b if row & 2 else ~b)
                result = result | (term & (c if row & 1 else ~c))
        return result

    return elementwise(one, scope, run)


@instruction("prmt")
def permute(one: Instruction, scope: Scope) -> Operation:
    """`prmt`: picks four of eight bytes, or repeats their sign."""
    if len(one.modifiers) > 1:
        raise unsupported(one)

    def run(a: Array, b: Array, selector: Array) -> Array:
        both = b.astype(np.uint64) << np.uint64(32) | a
        result = np.zeros_like(both)
        for position in range(4):
            pick = selector.astype(np.uint64) >> np.uint64(4 * position)
            byte = both >> ((pick & np.uint64(7)) * np.uint64(8)) & np.uint64(255)
            sign = np.where(byte & np.uint64(128), np.uint64(255), np.uint64(0))
            byte = np.where(pick & np.uint64(8), sign, byte)
            result = result | byte << np.uint64(8 * position)
        return result.astype(np.uint32)

    return elementwise(one, scope, run)
