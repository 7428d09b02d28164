"""Video instructions: on bytes and halves of registers, singly or side by side.

ISA chapter "Video Instructions". `vadd` and its kin take one part of each operand, at
most 34 bits of result, and may merge it into a third or add it to that; `vadd2` and
`vadd4` do the same to all halves or bytes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import Instruction, Operand, Selected
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    instruction,
    unsupported,
)

from .compare import COMPARISONS
from .elementwise import Array, Function

PLAIN: dict[str, Function] = {
    "vadd": lambda a, b: a + b,
    "vsub": lambda a, b: a - b,
    "vabsdiff": lambda a, b: np.abs(a - b),
    "vmin": np.minimum,
    "vmax": np.maximum,
    "vavrg": lambda a, b: (a + b + (a + b >= 0)) >> 1,
}
SECOND: dict[str, Function] = {
    "add": lambda value, c: value + c,
    "min": np.minimum,
    "max": np.maximum,
}


def limits(bits: int, signed: bool) -> tuple[int, int]:
    """The least and the largest integer of a width."""
    if signed:
        return -(1 << bits - 1), (1 << bits - 1) - 1
    return 0, (1 << bits) - 1


def wrapped(value: Array, bits: int, signed: bool) -> Array:
    """The low bits of a 64-bit integer, as a number again."""
    left = np.int64(64 - bits)
    if signed:
        return value << left >> left
    return value & np.int64((1 << bits) - 1)


def part(operand: Operand, scope: Scope, signed: bool) -> Read:
    """How to read a byte, a half or all of an operand, extended to 64 bits."""
    name = operand.part if isinstance(operand, Selected) else ""
    inner = operand.operand if isinstance(operand, Selected) else operand
    read = scope.read(inner, "u32")
    bits = {"": 32, "b": 8, "h": 16}[name[:1]]
    shift = np.int64(bits * int(name[1:] or 0))

    def value(threads: Threads) -> Array:
        return wrapped(read(threads).astype(np.int64) >> shift, bits, signed)

    return value


def _types(one: Instruction) -> list[bool]:
    """Which of the types are signed."""
    return [m == "s32" for m in one.modifiers if m in ("s32", "u32")]


@instruction("vadd", "vsub", "vabsdiff", "vmin", "vmax", "vshl", "vshr")
def scalar(one: Instruction, scope: Scope) -> Operation:
    """One part of each of two operands, then merged, or joined with a third."""
    types = _types(one)
    if len(types) != 3:
        raise unsupported(one)
    function = PLAIN.get(one.opcode) or _shift(one)
    return _finished(one, scope, function, types)


def _shift(one: Instruction) -> Function:
    wrap, left = "wrap" in one.modifiers, one.opcode == "vshl"

    def shift(a: Array, by: Array) -> Array:
        amount = by & 31 if wrap else np.clip(by, 0, 32)
        return a << amount if left else a >> amount

    return shift


@instruction("vset")
def compared(one: Instruction, scope: Scope) -> Operation:
    """One where the comparison holds."""
    name = next((m for m in one.modifiers if m in COMPARISONS), None)
    if name is None:
        raise unsupported(one)
    compare = COMPARISONS[name]
    types = [False, *_types(one)]
    return _finished(one, scope, lambda a, b: compare(a, b).astype(np.int64), types)


def _finished(
    one: Instruction, scope: Scope, function: Function, types: list[bool]
) -> Operation:
    target = one.operands[0]
    to = target.part if isinstance(target, Selected) else ""
    signed = types[0]
    bits = {"": 32, "b": 8, "h": 16}[to[:1]]
    place = np.int64(bits * int(to[1:] or 0))
    second = next((SECOND[m] for m in one.modifiers[3:] if m in SECOND), None)
    if one.opcode == "vset":
        second = next((SECOND[m] for m in one.modifiers if m in SECOND), None)
    reads = [
        part(o, scope, s) for o, s in zip(one.operands[1:3], types[1:], strict=True)
    ]
    third = part(one.operands[3], scope, signed) if len(one.operands) > 3 else None
    inner = target.operand if isinstance(target, Selected) else target
    write = scope.write(inner, "b32")
    saturate = "sat" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        value = function(*(read(threads) for read in reads))
        if saturate:
            value = np.clip(value, *limits(bits, signed))
        value = wrapped(value, bits, signed)
        if to and third is not None:
            keep = ~np.int64(((1 << bits) - 1) << int(place))
            field = (value & np.int64((1 << bits) - 1)) << place
            value = (third(threads) & keep) | field
        elif second is not None and third is not None:
            value = second(value, third(threads))
        write(threads, mask, value.astype(np.uint32))

    return run


@instruction("vmad")
def multiply_add(one: Instruction, scope: Scope) -> Operation:
    """The product of two parts, plus a word, shifted by 0, 7 or 15."""
    types = _types(one)
    if len(types) != 3 or "po" in one.modifiers:
        raise unsupported(one)
    signed = types[1] or types[2]
    reads = [
        part(o, scope, s) for o, s in zip(one.operands[1:3], types[1:], strict=True)
    ]
    addend = part(one.operands[3], scope, signed)
    write = scope.write(one.operands[0], "b32")
    shift = next((int(m[3:]) for m in one.modifiers if m.startswith("shr")), 0)
    saturate = "sat" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        a, b = (read(threads) for read in reads)
        value = (a * b + addend(threads)) >> np.int64(shift)
        if saturate:
            value = np.clip(value, *limits(32, signed))
        write(threads, mask, value.astype(np.uint32))

    return run


# All halves or bytes at once.


def _lanes(
    operands: tuple[Operand, Operand],
    scope: Scope,
    which: int,
    count: int,
    signed: bool,
) -> Read:
    """The halves or bytes of both operands that one operand's selector names."""
    operand = operands[which]
    bits = 32 // count
    reads: list[Read] = []
    for each in operands:
        inner = each.operand if isinstance(each, Selected) else each
        reads.append(scope.read(inner, "u32"))
    if isinstance(operand, Selected):
        chosen = [int(digit) for digit in reversed(operand.part[1:])]
    else:
        chosen = [count * which + lane for lane in range(count)]

    def value(threads: Threads) -> Array:
        a, b = (read(threads).astype(np.int64) for read in reads)
        both = (a, b)
        parts = [both[c // count] >> np.int64(bits * (c % count)) for c in chosen]
        return wrapped(np.stack(np.broadcast_arrays(*parts)), bits, signed)

    return value


def _packed_function(one: Instruction) -> Function:
    if one.opcode.startswith("vset"):
        name = next((m for m in one.modifiers if m in COMPARISONS), None)
        if name is None:
            raise unsupported(one)
        compare: Callable[..., Array] = COMPARISONS[name]
        return lambda a, b: compare(a, b).astype(np.int64)
    return PLAIN[one.opcode[:-1]]


@instruction(
    *(f"{name}{count}" for name in (*PLAIN, "vset") for count in (2, 4)),
)
def packed(one: Instruction, scope: Scope) -> Operation:
    """The same on two halves or four bytes; `.add` sums the results."""
    count = int(one.opcode[-1])
    bits = 32 // count
    types = _types(one)
    signed = types[0] if len(types) == 3 else False
    function = _packed_function(one)
    target, a, b, c = one.operands
    reads = [
        _lanes((a, b), scope, which, count, types[which - 2]) for which in range(2)
    ]
    third = scope.read(c, "u32")
    inner = target.operand if isinstance(target, Selected) else target
    write = scope.write(inner, "b32")
    digits = target.part[1:] if isinstance(target, Selected) else "0123"[:count]
    kept = [lane for lane in range(count) if str(lane) in digits]
    saturate, sums = "sat" in one.modifiers, "add" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        value = function(*(read(threads) for read in reads))
        if saturate:
            value = np.clip(value, *limits(bits, signed))
        total = third(threads).astype(np.int64)
        for lane in kept:
            if sums:
                total = total + value[lane]
                continue
            ones = np.int64((1 << bits) - 1)
            shift = np.int64(bits * lane)
            total = (total & ~(ones << shift)) | (value[lane] & ones) << shift
        write(threads, mask, total.astype(np.uint32))

    return run
