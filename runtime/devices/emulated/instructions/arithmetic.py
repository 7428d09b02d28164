"""Arithmetic, comparison and logic on integers and floating-point numbers.

ISA chapters "Integer Arithmetic", "Floating Point", "Half Precision Floating Point",
"Comparison and Selection" and "Logic and Shift" instructions. One-to-one instructions
are rows of tables; packed halves run the same rows on pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.instructions import floats
from stepwell.runtime.devices.emulated.machine import Block, Mask, Operation
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import Instruction, Pair
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    element_type,
    instruction,
    unsupported,
)

Array = NDArray
Function = Callable[..., Array]
ROUNDING = ("rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna")
PACKED = {"f16x2": "f16", "bf16x2": "bf16"}
FLOATS = ("f16", "bf16", "f32", "f64")


def elementwise(
    one: Instruction, scope: Scope, function: Function, types: tuple[str, ...] = ()
) -> Operation:
    """`d = function(a, b, ...)`; `types` are the operands' where not the result's."""
    type_ = element_type(one)
    sources = one.operands[1:]
    types = types or (type_,) * len(sources)
    reads = [scope.read(o, t) for o, t in zip(sources, types, strict=True)]
    write = scope.write(one.operands[0], type_)

    def run(block: Block, mask: Mask) -> None:
        with np.errstate(all="ignore"):
            write(block, mask, function(*(read(block) for read in reads)))

    return run


def on_pairs(function: Function, type_: str) -> Function:
    """A function of halves, applied to both halves of packed 32-bit registers."""
    dtype = NUMPY_TYPES[PACKED[type_]]

    def apply(*packed: Array) -> Array:
        halves = [np.ascontiguousarray(p).reshape(-1, 1).view(dtype) for p in packed]
        result = function(*halves)
        return np.ascontiguousarray(result, dtype).view(np.uint32)[:, 0]

    return apply


def float_function(one: Instruction, function: Function, type_: str) -> Function:
    """Wrap a function of floats with the rules of the modifiers ftz, sat and relu."""
    modifiers = one.modifiers
    steps: list[Callable[[Array], Array]] = []
    if "ftz" in modifiers and type_ == "f32":
        steps.append(floats.flush)
    if "sat" in modifiers:
        steps.append(floats.saturate)
    if "relu" in modifiers:
        steps.append(relu)
    if not steps:
        return function
    flush_inputs = "ftz" in modifiers and type_ == "f32"

    def apply(*values: Array) -> Array:
        if flush_inputs:
            values = tuple(floats.flush(value) for value in values)
        result = function(*values)
        for step in steps:
            result = step(result)
        return result

    return apply


def relu(value: Array) -> Array:
    """Negative values become zero; NaN becomes the canonical NaN."""
    return np.where(np.isnan(value), value, np.maximum(value, value.dtype.type(0)))


def rounding(one: Instruction) -> str:
    """The rounding modifier; to nearest even if there is none."""
    return next((m for m in one.modifiers if m in ROUNDING), "rn")


def by_type(one: Instruction, scope: Scope, table: Mapping[str, Function]) -> Operation:
    """Pick the function for the instruction's type: exact, or by the kind of number."""
    type_ = element_type(one)
    scalar = PACKED.get(type_, type_)
    kind = "float" if scalar in FLOATS else "int"
    function = table.get(scalar, table.get(kind))
    if function is None:
        raise unsupported(one)
    if kind == "float":
        function = float_function(one, function, scalar)
    if type_ in PACKED:
        function = on_pairs(function, type_)
    return elementwise(one, scope, function)


# Addition, multiplication and fused multiply-add.


def _saturating(function: Function) -> Function:
    def apply(a: Array, b: Array) -> Array:
        exact = function(a.astype(np.int64), b.astype(np.int64))
        return np.clip(exact, -(2**31), 2**31 - 1).astype(np.int32)

    return apply


@instruction("add", "sub")
def add_sub(one: Instruction, scope: Scope) -> Operation:
    """`add`, `sub`: integers wrap (or saturate), floats round by their modifier."""
    function: Function = np.add if one.opcode == "add" else np.subtract
    mode = rounding(one)
    table: dict[str, Function] = {
        "int": _saturating(function) if "sat" in one.modifiers else function,
        "f64": function,
        "f16": floats.in_double(function),
        "bf16": floats.in_double(function),
        "f32": lambda a, b: floats.sum32(a, b if one.opcode == "add" else -b, mode),
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
        "f32": lambda a, b: floats.product32(a, b, mode),
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

    def run(block: Block, mask: Mask) -> None:
        a, b = (read(block).astype(dtype) for read in sources)
        result = a * b
        write(block, mask, result if addend is None else result + addend(block))

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


# Minimum and maximum.


def extremum(largest: bool, keep_nan: bool) -> Function:
    """PTX's min and max: -0 < +0; a NaN loses, or with `.NaN` wins as canonical."""

    def apply(*values: Array) -> Array:
        result = values[0]
        for value in values[1:]:
            result = pick(result, value)
        return result

    def pick(a: Array, b: Array) -> Array:
        if a.dtype.kind in "iu":
            return np.maximum(a, b) if largest else np.minimum(a, b)
        above = (a > b) | ((a == b) & (np.signbit(b) & ~np.signbit(a)))
        chosen = np.where(above == largest, a, b)
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

    return lambda block, mask: write(block, mask, count(read(block)))


def bit_length(a: Array) -> Array:
    """Bits up to the highest set one."""
    value = a.astype(np.uint64)
    for step in (1, 2, 4, 8, 16, 32):
        value = value | value >> np.uint64(step)
    return np.bitwise_count(value).astype(np.int64)


def reverse_bits(a: Array, width: int) -> Array:
    """The bits in opposite order."""
    octets = np.ascontiguousarray(a).view(np.uint8).reshape(*a.shape, width // 8)
    flipped = np.unpackbits(octets[..., ::-1], axis=-1, bitorder="big")[..., ::-1]
    packed = np.packbits(flipped, axis=-1, bitorder="big")
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


# Comparison and selection.

COMPARISONS: dict[str, Function] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}


def comparison(name: str) -> Function | None:
    """The function of a comparison; `equ` and the like are true on NaN, `ne` is not."""
    if name == "num":
        return lambda a, b: ~(np.isnan(a) | np.isnan(b))
    if name == "nan":
        return lambda a, b: np.isnan(a) | np.isnan(b)
    if name == "ne":
        return lambda a, b: (a != b) & (a == a) & (b == b)
    if name in COMPARISONS:
        return COMPARISONS[name]
    if name.endswith("u") and name[:-1] in COMPARISONS:
        base = COMPARISONS[name[:-1]]
        return lambda a, b: base(a, b) | (a != a) | (b != b)
    return None


@instruction("setp", "set")
def setp(one: Instruction, scope: Scope) -> Operation:
    """Compare, combine with a predicate, write one or two predicates (or a mask)."""
    function = comparison(one.modifiers[0])
    type_ = element_type(one)
    if function is None or type_ in PACKED:
        raise unsupported(one)
    combine = next((m for m in one.modifiers if m in ("and", "or", "xor")), None)
    reads = [scope.read(operand, type_) for operand in one.operands[1:3]]
    extra = scope.read(one.operands[3], "pred") if combine else None
    joined = getattr(np, f"logical_{combine}") if combine else None
    destination = one.operands[0]
    pair = destination if isinstance(destination, Pair) else Pair(destination, None)  # type: ignore[arg-type]
    if one.opcode == "set":
        return _set(one, scope, function, reads, extra, joined)
    first = scope.write(pair.first, "pred")
    second = scope.write(pair.second, "pred") if pair.second is not None else None

    def run(block: Block, mask: Mask) -> None:
        outcome = function(*(read(block) for read in reads))
        other = ~outcome
        if joined is not None and extra is not None:
            outcome, other = joined(outcome, extra(block)), joined(other, extra(block))
        first(block, mask, outcome)
        if second is not None:
            second(block, mask, other)

    return run


def _set(one, scope, function, reads, extra, joined) -> Operation:  # type: ignore[no-untyped-def]
    type_ = next(m for m in one.modifiers if m in NUMPY_TYPES)
    write = scope.write(one.operands[0], type_)
    true = NUMPY_TYPES[type_].type(1.0 if type_ == "f32" else -1 & 0xFFFFFFFF)

    def run(block: Block, mask: Mask) -> None:
        outcome = function(*(read(block) for read in reads))
        if joined is not None and extra is not None:
            outcome = joined(outcome, extra(block))
        write(block, mask, np.where(outcome, true, true.dtype.type(0)))

    return run


@instruction("selp")
def selp(one: Instruction, scope: Scope) -> Operation:
    """`a` where the predicate holds, else `b`."""
    type_ = element_type(one)
    types = (type_, type_, "pred")
    return elementwise(one, scope, lambda a, b, p: np.where(p, a, b), types)


@instruction("slct")
def slct(one: Instruction, scope: Scope) -> Operation:
    """`a` where `c` is at least zero, else `b`."""
    of, by = (m for m in one.modifiers if m in NUMPY_TYPES)
    reads = [scope.read(o, t) for o, t in zip(one.operands[1:], (of, of, by))]
    write = scope.write(one.operands[0], of)

    def run(block: Block, mask: Mask) -> None:
        a, b, c = (read(block) for read in reads)
        write(block, mask, np.where(c >= 0, a, b))

    return run
