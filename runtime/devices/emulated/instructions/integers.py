"""Integer instructions of several words, of parts of words, and of dot products.

ISA chapters "Integer Arithmetic" and "Extended-Precision Integer Arithmetic".
"""

from __future__ import annotations

import numpy as np

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import Instruction
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    element_type,
    instruction,
    unsupported,
)

from .elementwise import Array, Function, elementwise

INT32 = (-(2**31), 2**31 - 1)


@instruction("addc", "subc")
def with_carry(one: Instruction, scope: Scope) -> Operation:
    """`add.cc`, `addc`, `sub.cc`, `subc`: sums of many words, carried by a flag.

    Subtraction is addition of the complement; the flag is then "no borrow".
    """
    type_ = element_type(one).replace("s", "u")
    if type_ not in ("u32", "u64"):
        raise unsupported(one)
    reads = [scope.read(operand, type_) for operand in one.operands[1:]]
    write = scope.write(one.operands[0], type_)
    subtracts, takes = one.opcode[:3] == "sub", one.opcode[-1] == "c"

    def run(threads: Threads, mask: Mask) -> None:
        a, b = (read(threads) for read in reads)
        if subtracts:
            b = ~b
        entering = (threads.carry if takes else np.array(subtracts)).astype(a.dtype)
        total, leaving = add_with_carry(a, b, entering)
        write(threads, mask, total)
        if "cc" in one.modifiers:
            np.copyto(threads.carry, leaving, where=mask)

    return run


def add_with_carry(a: Array, b: Array, entering: Array) -> tuple[Array, Array]:
    """The sum of unsigned integers and a carry, and the carry that leaves."""
    with np.errstate(over="ignore"):
        partial = a + b
        total = partial + entering
    return total, (partial < a) | (total < partial)


@instruction("madc")
def multiply_with_carry(one: Instruction, scope: Scope) -> Operation:
    """`mad.cc`, `madc`: half of a product, added with the carry flag."""
    type_ = element_type(one)
    if type_ not in ("u32", "s32", "u64", "s64"):
        raise unsupported(one)
    unsigned = NUMPY_TYPES[type_.replace("s", "u")]
    reads = [scope.read(operand, type_) for operand in one.operands[1:]]
    write = scope.write(one.operands[0], type_)
    takes, high = one.opcode == "madc", "hi" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        a, b, c = (read(threads) for read in reads)
        with np.errstate(over="ignore"):
            product = high_product(a, b) if high else a * b
        entering = (threads.carry if takes else np.zeros(1)).astype(unsigned)
        words = product.astype(unsigned), c.astype(unsigned)
        total, leaving = add_with_carry(*words, entering)
        write(threads, mask, total.view(a.dtype))
        if "cc" in one.modifiers:
            np.copyto(threads.carry, leaving, where=mask)

    return run


def high_product(a: Array, b: Array) -> Array:
    """The upper half of the product of two integers of equal width."""
    width = a.dtype.itemsize * 8
    if width < 64:
        wide = a.astype(np.int64 if a.dtype.kind == "i" else np.uint64)
        return (wide * b.astype(wide.dtype) >> np.uint8(width)).astype(a.dtype)
    return _high64(a, b)


def _high64(a: Array, b: Array) -> Array:
    ua, ub = a.astype(np.uint64), b.astype(np.uint64)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    (ah, al), (bh, bl) = (ua >> half, ua & low), (ub >> half, ub & low)
    middle = (al * bl >> half) + (ah * bl & low) + (al * bh & low)
    high = ah * bh + (ah * bl >> half) + (al * bh >> half) + (middle >> half)
    if a.dtype.kind == "i":
        high = high - np.where(a < 0, ub, 0) - np.where(b < 0, ua, 0)
    return high.astype(a.dtype)


def clamped(exact: Array, dtype: np.dtype = NUMPY_TYPES["s32"]) -> Array:
    """64-bit integers, clamped to a narrower type."""
    info = np.iinfo(dtype)
    return np.clip(exact, info.min, info.max).astype(dtype)


def saturating(function: Function) -> Function:
    """A function of 32-bit integers, exact, then clamped."""

    def apply(*values: Array) -> Array:
        return clamped(function(*(value.astype(np.int64) for value in values)))

    return apply


@instruction("mul24", "mad24")
def mul24(one: Instruction, scope: Scope) -> Operation:
    """Products of the low 24 bits: bits 0 to 31 of the product, or 16 to 47."""
    high, sat = "hi" in one.modifiers, "sat" in one.modifiers

    def low(a: Array) -> Array:
        shift = a.dtype.type(8)
        return ((a << shift) >> shift).astype(np.int64)

    def run(a: Array, b: Array, *c: Array) -> Array:
        product = low(a) * low(b)
        if high:
            product = product >> 16
        if c:
            # The sum is of 32-bit numbers, of which a product's low half is one.
            product = product.astype(a.dtype).astype(np.int64) + c[0]
        return clamped(product) if sat else product.astype(a.dtype)

    return elementwise(one, scope, run)


@instruction("dp4a", "dp2a")
def dot_product(one: Instruction, scope: Scope) -> Operation:
    """The dot product of four bytes, or of two halves with two bytes of four."""
    types = [m for m in one.modifiers if m in ("u32", "s32")]
    signs = ["i" if type_ == "s32" else "u" for type_ in types]
    pair = one.opcode == "dp2a"
    kinds = (f"{signs[0]}{2 if pair else 1}", f"{signs[1]}1")
    upper = slice(2, 4) if "hi" in one.modifiers else slice(0, 2)
    chosen = upper if pair else slice(0, 4)
    result = "s32" if "i" in signs else "u32"
    reads = [scope.read(operand, "b32") for operand in one.operands[1:4]]
    write = scope.write(one.operands[0], result)

    def run(threads: Threads, mask: Mask) -> None:
        a, b = (
            np.ascontiguousarray(read(threads)).reshape(-1, 1).view(kind).astype("i8")
            for read, kind in zip(reads[:2], kinds, strict=True)
        )
        total = (a * b[:, chosen]).sum(axis=1) + reads[2](threads).astype(np.int64)
        write(threads, mask, total.astype(np.uint32).view(NUMPY_TYPES[result]))

    return run


PACKED_INTEGERS = {"u16x2": np.dtype("u2"), "s16x2": np.dtype("i2")}


def on_integer_pairs(one: Instruction, scope: Scope, function: Function) -> Operation:
    """A function of 16-bit integers, on both halves of 32-bit registers."""
    kind = PACKED_INTEGERS[element_type(one)]
    reads = [scope.read(operand, "b32") for operand in one.operands[1:]]
    write = scope.write(one.operands[0], "b32")

    def run(threads: Threads, mask: Mask) -> None:
        halves = [
            np.ascontiguousarray(read(threads)).reshape(-1, 1).view(kind)
            for read in reads
        ]
        with np.errstate(over="ignore"):
            result = np.ascontiguousarray(function(*halves), kind)
        write(threads, mask, result.view(np.uint32)[:, 0])

    return run
