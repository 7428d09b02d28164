"""Arithmetic on integers and floating-point numbers.

ISA chapters "Integer Arithmetic", "Floating Point" and "Half Precision Floating Point"
instructions. Instructions are rows of tables; packed halves run the same rows on pairs.
"""

from __future__ import annotations

import numpy as np

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import Instruction
from stepwell.runtime.devices.emulated.tensor_map import OUTSIDE
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    element_type,
    instruction,
)

from . import doubles, floats
from .elementwise import (
    Array,
    Function,
    by_type,
    elementwise,
    rounding,
)
from .integers import (
    PACKED_INTEGERS,
    clamped,
    high_product,
    multiply_with_carry,
    on_integer_pairs,
    saturating,
    with_carry,
)

# Addition, multiplication and fused multiply-add.


@instruction("add", "sub")
def add_sub(one: Instruction, scope: Scope) -> Operation:
    """`add`, `sub`: integers wrap (or saturate), floats round by their modifier."""
    if "cc" in one.modifiers:
        return with_carry(one, scope)
    function: Function = np.add if one.opcode == "add" else np.subtract
    if element_type(one) in PACKED_INTEGERS:
        return on_integer_pairs(one, scope, function)
    mode = rounding(one)
    table: dict[str, Function] = {
        "int": saturating(function) if "sat" in one.modifiers else function,
        "f64": function if mode == "rn" else doubles.directed(one.opcode, mode),
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
        "f64": np.multiply if mode == "rn" else doubles.directed("mul", mode),
        "f16": floats.in_double(np.multiply),
        "bf16": floats.in_double(np.multiply),
        "f32": np.multiply
        if mode == "rn"
        else lambda a, b: floats.product32(a, b, mode),
    }
    return by_type(one, scope, table)


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
    if "cc" in one.modifiers:
        return multiply_with_carry(one, scope)
    if "wide" in one.modifiers:
        return _wide(one, scope, accumulate=True)
    if "hi" in one.modifiers and "sat" in one.modifiers:
        return elementwise(one, scope, _saturating_high)
    if "hi" in one.modifiers:
        return elementwise(one, scope, lambda a, b, c: high_product(a, b) + c)
    if element_type(one) in ("f32", "f64"):
        return fma(one, scope)
    return elementwise(one, scope, lambda a, b, c: a * b + c)


def _saturating_high(a: Array, b: Array, c: Array) -> Array:
    return clamped(high_product(a, b).astype(np.int64) + c)


@instruction("fma")
def fma(one: Instruction, scope: Scope) -> Operation:
    """`a * b + c`, rounded once; with `.oob`, zero where a factor is out of bounds."""
    mode = rounding(one)
    half = _zero_out_of_bounds if "oob" in one.modifiers else floats.half_fma
    exact = floats.fma64 if mode == "rn" else doubles.directed("fma", mode)
    table: dict[str, Function] = {
        "f32": lambda a, b, c: floats.fma32(a, b, c, mode),
        "f64": exact,
        "f16": half,
        "bf16": half,
    }
    return by_type(one, scope, table)


def _zero_out_of_bounds(a: Array, b: Array, c: Array) -> Array:
    """The NaN that a tensor map fills with stands for an element outside a tensor,
    whatever its sign."""
    outside = _is_outside(a) | _is_outside(b)
    return np.where(outside, a.dtype.type(0), floats.half_fma(a, b, c))


def _is_outside(x: Array) -> Array:
    return x.view(np.uint16) & 0x7FFF == OUTSIDE


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
        result = floats.narrow(exact, mode, np.dtype(np.float32))
        if "ftz" in one.modifiers:  # by the size before rounding
            tiny = np.abs(exact) < 2.0**-126
            return np.where(tiny, np.copysign(np.float32(0), result), result)
        return result

    exact = np.divide if mode == "rn" else doubles.directed("div", mode)
    table: dict[str, Function] = {"int": integers, "f32": divide, "f64": exact}
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
    mode = rounding(one)
    if one.opcode in ("rcp", "sqrt") and mode != "rn":
        return by_type(one, scope, _directed(one.opcode, mode))
    return by_type(one, scope, UNARY[one.opcode])


def _directed(opcode: str, mode: str) -> dict[str, Function]:
    double = np.sqrt if opcode == "sqrt" else np.reciprocal

    def single(a: Array) -> Array:
        # The root or quotient of singles in double is on the same side of every
        # single as the exact one, unless it is a single itself.
        return floats.narrow(double(a.astype(np.float64)), mode, np.dtype(np.float32))

    return {"f32": single, "f64": doubles.directed(opcode, mode)}


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
        "normal": lambda a: (
            (a == 0) | np.isfinite(a) & (np.abs(a) >= np.finfo(a.dtype).tiny)
        ),
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


def _largest_by_size(function: Function) -> Function:
    """`.xorsign.abs`: of the absolute values, with the product of the signs."""

    def apply(*values: Array) -> Array:
        chosen = function(*(np.abs(value) for value in values))
        negative = np.logical_xor.reduce([np.signbit(value) for value in values])
        return np.where(negative, -np.abs(chosen), np.abs(chosen))

    return apply


@instruction("min", "max")
def min_max(one: Instruction, scope: Scope) -> Operation:
    """`min`, `max`, with two or three operands, `.NaN`, `.relu`, `.xorsign.abs`."""
    type_ = element_type(one)
    function = extremum(one.opcode == "max", "NaN" in one.modifiers)
    if "abs" in one.modifiers:
        function = _largest_by_size(function)
    whole = function
    if "relu" in one.modifiers:

        def whole(*values: Array) -> Array:
            return np.maximum(function(*values), 0)

    if type_ in PACKED_INTEGERS:
        return on_integer_pairs(one, scope, whole)
    return by_type(one, scope, {"int": whole, "float": function})
