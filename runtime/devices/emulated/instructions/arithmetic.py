"""Arithmetic on integers and floating-point numbers.

ISA chapters "Integer Arithmetic", "Floating Point" and "Half Precision Floating Point"
instructions. Instructions are rows of tables; packed halves run the same rows on pairs.
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

from . import floats
from .elementwise import (
    Array,
    Function,
    by_type,
    elementwise,
    rounding,
)

# Addition, multiplication and fused multiply-add.


def _saturating(function: Function) -> Function:
    def apply(a: Array, b: Array) -> Array:
        exact = function(a.astype(np.int64), b.astype(np.int64))
        return np.clip(exact, -(2**31), 2**31 - 1).astype(np.int32)

    return apply


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
        with np.errstate(over="ignore"):
            partial = a + b
            total = partial + entering
        write(threads, mask, total)
        if "cc" in one.modifiers:
            np.copyto(threads.carry, (partial < a) | (total < partial), where=mask)

    return run


@instruction("add", "sub")
def add_sub(one: Instruction, scope: Scope) -> Operation:
    """`add`, `sub`: integers wrap (or saturate), floats round by their modifier."""
    if "cc" in one.modifiers:
        return with_carry(one, scope)
    function: Function = np.add if one.opcode == "add" else np.subtract
    mode = rounding(one)
    table: dict[str, Function] = {
        "int": _saturating(function) if "sat" in one.modifiers else function,
        "f64": function,
        "f16": floats.in_double(function),
        "bf16": floats.in_double(function),
        "f32": function
        if mode == "rn"
        else lambda a, b: floats.sum32(a, b if one.opcode == "add" else -b, mode),
    }
    return by_type(one, scope, table)


@instruction("mul")
def mul(one: Instruction, scope: Scope) -> Operation:
    """`mul.lo`, `mul.hi`, `mul.wide` of integers; `mul` of floats."""
    if "wide" in one.modifiers:
        return _wide(one, scope, accumulate=False)
    if "hi" in one.modifiers:
        return elementwise(one, scope, high_product)
    mode = rounding(one)
    table: dict[str, Function] = {
        "int": np.multiply,
        "f64": np.multiply,
        "f16": floats.in_double(np.multiply),
        "bf16": floats.in_double(np.multiply),
        "f32": np.multiply
        if mode == "rn"
        else lambda a, b: floats.product32(a, b, mode),
    }
    return by_type(one, scope, table)


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


def _wide(one: Instruction, scope: Scope, accumulate: bool) -> Operation:
    type_ = element_type(one)
    wide = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}[type_]
    dtype = NUMPY_TYPES[wide]
    sources = [scope.read(operand, type_) for operand in one.operands[1:3]]
    addend = scope.read(one.operands[3], wide) if accumulate else None
    write = scope.write(one.operands[0], wide)

    def run(threads: Threads, mask: Mask) -> None:
        a, b = (read(threads).astype(dtype) for read in sources)
        result = a * b
        write(threads, mask, result if addend is None else result + addend(threads))

    return run


@instruction("mad")
def mad(one: Instruction, scope: Scope) -> Operation:
    """`mad.lo`, `mad.hi`, `mad.wide`; `mad` of floats is `fma`."""
    if "wide" in one.modifiers:
        return _wide(one, scope, accumulate=True)
    if "hi" in one.modifiers:
        return elementwise(one, scope, lambda a, b, c: high_product(a, b) + c)
    if element_type(one) in ("f32", "f64"):
        return fma(one, scope)
    return elementwise(one, scope, lambda a, b, c: a * b + c)


@instruction("mul24", "mad24")
def mul24(one: Instruction, scope: Scope) -> Operation:
    """Products of the low 24 bits; `.lo` keeps the low 32 bits of the result."""
    if "lo" not in one.modifiers:
        raise unsupported(one)

    def low(a: Array) -> Array:
        shift = a.dtype.type(8)
        return (a << shift) >> shift

    def run(a: Array, b: Array, *c: Array) -> Array:
        product = low(a) * low(b)
        return product + c[0] if c else product

    return elementwise(one, scope, run)


@instruction("fma")
def fma(one: Instruction, scope: Scope) -> Operation:
    """`a * b + c`, rounded once."""
    mode = rounding(one)
    if mode != "rn" and element_type(one) == "f64":
        raise unsupported(one)
    table: dict[str, Function] = {
        "f32": lambda a, b, c: floats.fma32(a, b, c, mode),
        "f64": floats.fma64,
        "f16": floats.half_fma,
        "bf16": floats.half_fma,
    }
    return by_type(one, scope, table)


# Division, remainder, square roots.


def integer_quotient(a: Array, b: Array) -> Array:
    """Truncated division; by zero, all bits one (ISA: unspecified)."""
    zero = b == 0
    safe = np.where(zero, b.dtype.type(1), b)
    quotient = np.where(zero, b.dtype.type(0) - b.dtype.type(1), a // safe)
    if a.dtype.kind == "u":
        return quotient
    inexact = (a % safe != 0) & ((a < 0) != (safe < 0)) & ~zero
    return quotient + inexact.astype(a.dtype)


def integer_remainder(a: Array, b: Array) -> Array:
    """The remainder of truncated division."""
    return np.where(b == 0, a, np.fmod(a, np.where(b == 0, b.dtype.type(1), b)))


def _in_wider(function: Function) -> Function:
    """Single-precision functions whose result in double rounds right once more."""

    def apply(*values: Array) -> Array:
        return function(*(v.astype(np.float64) for v in values)).astype(np.float32)

    return apply


@instruction("div", "rem")
def div(one: Instruction, scope: Scope) -> Operation:
    """`div` (truncating on integers), `rem`; approximate forms are exact here."""
    integers = integer_quotient if one.opcode == "div" else integer_remainder
    mode = rounding(one)

    def divide(a: Array, b: Array) -> Array:
        # Innocuous double rounding: 53 >= 2 * 24 + 2 (Figueroa), for mode rn.
        exact = a.astype(np.float64) / b.astype(np.float64)
        return floats.narrow(exact, mode, np.dtype(np.float32))

    table: dict[str, Function] = {"int": integers, "f32": divide, "f64": np.divide}
    return by_type(one, scope, table)


UNARY: dict[str, dict[str, Function]] = {
    "neg": {"int": np.negative, "float": np.negative},
    "abs": {"int": np.abs, "float": np.abs},
    "sqrt": {"f32": _in_wider(np.sqrt), "f64": np.sqrt},
    "rcp": {"f32": _in_wider(np.reciprocal), "f64": np.reciprocal},
    "rsqrt": {
        "f32": _in_wider(lambda a: 1 / np.sqrt(a)),
        "f64": lambda a: 1 / np.sqrt(a),
    },
    "sin": {"f32": _in_wider(np.sin)},
    "cos": {"f32": _in_wider(np.cos)},
    "lg2": {"f32": _in_wider(np.log2)},
    "ex2": {
        "f32": _in_wider(np.exp2),
        "f16": lambda a: np.exp2(a.astype(np.float64)).astype(a.dtype),
        "bf16": lambda a: np.exp2(a.astype(np.float64)).astype(a.dtype),
    },
    "tanh": {
        "f32": _in_wider(np.tanh),
        "f16": lambda a: np.tanh(a.astype(np.float64)).astype(a.dtype),
        "bf16": lambda a: np.tanh(a.astype(np.float64)).astype(a.dtype),
    },
}


@instruction(*UNARY)
def unary(one: Instruction, scope: Scope) -> Operation:
    """One-operand functions. The approximate ones are rounded exactly here."""
    return by_type(one, scope, UNARY[one.opcode])


@instruction("copysign")
def copysign(one: Instruction, scope: Scope) -> Operation:
    """The second operand with the sign of the first."""
    return elementwise(one, scope, lambda a, b: np.copysign(b, a))


@instruction("testp")
def testp(one: Instruction, scope: Scope) -> Operation:
    """The class of a floating-point number."""
    tests: dict[str, Function] = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda a: ~np.isnan(a),
        "notanumber": np.isnan,
        "normal": lambda a: np.isfinite(a) & (np.abs(a) >= np.finfo(a.dtype).tiny),
        "subnormal": lambda a: (a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny),
    }
    test = tests[one.modifiers[0]]
    read = scope.read(one.operands[1], element_type(one))
    write = scope.write(one.operands[0], "pred")
    return lambda threads, mask: write(threads, mask, test(read(threads)))


@instruction("sad")
def sad(one: Instruction, scope: Scope) -> Operation:
    """`c + |a - b|`."""
    return elementwise(
        one, scope, lambda a, b, c: c + np.where(a < b, b - a, a - b).astype(c.dtype)
    )


@instruction("dp4a")
def dp4a(one: Instruction, scope: Scope) -> Operation:
    """The dot product of four bytes, added to a 32-bit integer."""
    types = [m for m in one.modifiers if m in ("u32", "s32")]
    kinds = [np.dtype("i1" if type_ == "s32" else "u1") for type_ in types]
    signed = "s32" in types
    reads = [scope.read(operand, "b32") for operand in one.operands[1:4]]
    write = scope.write(one.operands[0], "s32" if signed else "u32")

    def run(threads: Threads, mask: Mask) -> None:
        a, b = (
            np.ascontiguousarray(read(threads)).reshape(-1, 1).view(kind).astype("i8")
            for read, kind in zip(reads[:2], kinds, strict=True)
        )
        total = (a * b).sum(axis=1) + reads[2](threads).astype(np.int64)
        write(threads, mask, total.astype(np.uint32).view("i4" if signed else "u4"))

    return run


# Minimum and maximum.


def extremum(largest: bool, keep_nan: bool) -> Function:
    """PTX's min and max: -0 < +0; a NaN loses, or with `.NaN` wins as canonical."""

    def apply(*values: Array) -> Array:
        result = values[0]
        for value in values[1:]:
            result = pick(result, value)
        return result

    def pick(a: Array, b: Array) -> Array:
        chosen = np.maximum(a, b) if largest else np.minimum(a, b)  # NaN wins
        if a.dtype.kind in "iu":
            return chosen
        zero = chosen == 0
        if zero.any():  # of two zeros the positive (or negative) one
            both = a + b if largest else -(-a - b)
            chosen = np.where(zero & (a == b), both, chosen)
        if not np.isnan(chosen).any():
            return chosen
        nan_a, nan_b = np.isnan(a), np.isnan(b)
        nan = a.dtype.type(np.nan)
        if keep_nan:
            return np.where(nan_a | nan_b, nan, chosen)
        chosen = np.where(nan_a, b, np.where(nan_b, a, chosen))
        return np.where(nan_a & nan_b, nan, chosen)

    return apply


@instruction("min", "max")
def min_max(one: Instruction, scope: Scope) -> Operation:
    """`min`, `max`, with two or three operands, `.NaN` and `.relu`."""
    if "abs" in one.modifiers or "xorsign" in one.modifiers:
        raise unsupported(one)
    type_ = element_type(one)
    function = extremum(one.opcode == "max", "NaN" in one.modifiers)
    if type_ in ("s16x2", "u16x2"):
        raise unsupported(one)
    return by_type(one, scope, {"int": function, "float": function})
