"""Elementwise `nn` ops as scalar code: one table row per op.

A row maps an op's name to a function of the body's builder, the op, and one scalar per
operand (floats at least f32 wide). Formulas are those of the ops' docstrings.
"""

from __future__ import annotations

import math as pymath
from collections.abc import Callable
from typing import TypeAlias

from xdsl.dialects import arith, math
from xdsl.ir import Operation

from stepwell.dialects.dtypes import (
    bit_width,
    i1,
    is_float,
    is_unsigned,
)
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.shapes import dims_of, element_of

from .loops import Loops, Read, Write, broadcast_index, replace, variables
from .scalars import Scalar, Scalars


def nn_names(text: str) -> frozenset[str]:
    """The full names of the `nn` ops in a list of short ones."""
    return frozenset(f"nn.{name}" for name in text.split())


Formula: TypeAlias = Callable[..., Scalar]


def decompose_elementwise(op: NnOp) -> None:
    """Replace an elementwise op by one generic over the shape of its result."""
    loops = Loops(op)
    result = op.results[0]
    axes = loops.axes(dims_of(result))
    reads = [Read(v, broadcast_index(axes, dims_of(v))) for v in op.operands]
    formula = FORMULAS[op.name]
    made = loops.generic(
        axes,
        reads,
        Write(result.type, variables(axes)),  # pyright: ignore[reportArgumentType]
        lambda s, *args: formula(s, op, *args),
    )
    replace(op, made)


def _unary(kind: type[Operation]) -> Formula:
    return lambda s, op, x: s.math(kind, x)


def _reciprocal(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    return s.div(s.like(1, x), x)


def _sigmoid(s: Scalars, x: Scalar) -> Scalar:
    one = s.like(1, x)
    return s.div(one, s.add(one, s.math(math.ExpOp, s.neg(x))))


def _softplus(s: Scalars, x: Scalar) -> Scalar:
    """`max(x, 0) + log1p(exp(-|x|))`: no overflow for large x."""
    tail = s.math(math.Log1pOp, s.math(math.ExpOp, s.neg(s.abs(x))))
    return s.add(s.maximum(x, s.like(0, x)), tail)


def _softsign(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    return s.div(x, s.add(s.like(1, x), s.abs(x)))


def _gelu(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    half, one = s.like(0.5, x), s.like(1, x)
    if op.value("approximate") == "tanh":
        cube = s.mul(s.mul(x, x), x)
        inner = s.add(x, s.mul(s.like(0.044715, x), cube))
        bent = s.math(math.TanhOp, s.mul(s.like(pymath.sqrt(2 / pymath.pi), x), inner))
    else:
        bent = s.math(math.ErfOp, s.mul(x, s.like(pymath.sqrt(0.5), x)))
    return s.mul(s.mul(half, x), s.add(one, bent))


def _clamped(s: Scalars, x: Scalar, low: float | None, high: float | None) -> Scalar:
    if low is not None:
        x = s.maximum(x, s.like(_in_range(low, x), x))
    if high is not None:
        x = s.minimum(x, s.like(_in_range(high, x), x))
    return x


def _in_range(number: float, x: Scalar) -> float:
    """A bound as a number of the scalar's type: saturated for integers."""
    if is_float(x.element):
        return number
    width, unsigned = bit_width(x.element), is_unsigned(x.element)
    low = 0 if unsigned else -(1 << (width - 1))
    high = (1 << width) - 1 if unsigned else (1 << (width - 1)) - 1
    return max(low, min(high, number))


def _hard_sigmoid(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    alpha, beta = op.value("alpha"), op.value("beta")
    return _clamped(s, s.add(s.mul(s.like(alpha, x), x), s.like(beta, x)), 0, 1)


def _hard_swish(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    gate = s.add(s.mul(x, s.like(1 / 6, x)), s.like(0.5, x))
    return s.mul(x, _clamped(s, gate, 0, 1))


def _leaky(s: Scalars, x: Scalar, below: Scalar) -> Scalar:
    return s.select(s.compare("ge", x, s.like(0, x)), x, below)


def _elu(s: Scalars, x: Scalar, alpha: float) -> Scalar:
    below = s.mul(s.like(alpha, x), s.math(math.ExpM1Op, x))
    return s.select(s.compare("gt", x, s.like(0, x)), x, below)


def _selu(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    return s.mul(s.like(op.value("gamma"), x), _elu(s, x, op.value("alpha")))


def _celu(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    alpha, zero = s.like(op.value("alpha"), x), s.like(0, x)
    below = s.mul(alpha, s.math(math.ExpM1Op, s.div(x, alpha)))
    return s.add(s.maximum(x, zero), s.minimum(below, zero))


def _mish(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    return s.mul(x, s.math(math.TanhOp, _softplus(s, x)))


def _sign(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    zero, one = s.like(0, x), s.like(1, x)
    if is_unsigned(x.element):
        return s.select(s.compare("ne", x, zero), one, zero)
    below = s.select(s.compare("lt", x, zero), s.like(-1, x), x)
    return s.select(s.compare("gt", x, zero), one, below)


def _round(s: Scalars, op: NnOp, x: Scalar, kind: type[Operation]) -> Scalar:
    return s.math(kind, x) if is_float(x.element) else x


def _is_inf(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    found = s.constant(0, i1)
    for flag, number in (("positive", pymath.inf), ("negative", -pymath.inf)):
        if op.value(f"detect_{flag}"):
            found = s.bit_or(found, s.compare("eq", x, s.like(number, x)))
    return found


def _power(s: Scalars, op: NnOp, a: Scalar, b: Scalar) -> Scalar:
    result = element_of(op.results[0])
    if is_float(a.element):
        return s.math(math.PowFOp, a, s.cast(b, a.element))
    if not is_float(b.element):
        return _integer_power(s, a, b)
    return s.cast(s.math(math.PowFOp, s.cast(a, b.element), b), result)


def _integer_power(s: Scalars, a: Scalar, b: Scalar) -> Scalar:
    """Square and multiply over the bits of the exponent, which is at least 0."""
    result, square = s.like(1, a), a
    bits = bit_width(b.element) - (not is_unsigned(b.element))
    for bit in range(bits):
        is_set = s.compare("ne", s.bit_and(b, s.like(1 << bit, b)), s.like(0, b))
        result = s.select(is_set, s.mul(result, square), result)
        square = s.mul(square, square)
    return result


def _modulo(s: Scalars, op: NnOp, a: Scalar, b: Scalar) -> Scalar:
    if is_float(a.element):
        return _float_modulo(s, op, a, b)
    rest = s.rem(a, b)
    if is_unsigned(a.element) or op.value("fmod"):
        return rest
    zero = s.like(0, rest)
    differs = s.compare("lt", s.bit_xor(rest, b), zero)
    wraps = s.bit_and(s.compare("ne", rest, zero), differs)
    return s.select(wraps, s.add(rest, b), rest)


def _float_modulo(s: Scalars, op: NnOp, a: Scalar, b: Scalar) -> Scalar:
    """The remainder of the truncated quotient, made to follow the divisor's sign."""
    quotient = s.math(math.TruncOp, s.div(a, b))
    rest = s.sub(a, s.mul(quotient, b))
    infinity = s.like(pymath.inf, a)
    endless = s.compare("eq", s.abs(b), infinity)
    finite = s.compare("lt", s.abs(a), infinity)
    rest = s.select(s.bit_and(endless, finite), a, rest)
    if op.value("fmod"):
        return s.math(math.CopySignOp, rest, a)
    zero = s.like(0, rest)
    below, b_below = s.compare("lt", rest, zero), s.compare("lt", b, zero)
    differs = s.bit_xor(below, b_below)
    wraps = s.bit_and(s.compare("ne", rest, zero), differs)
    return s.select(wraps, s.add(rest, b), rest)


def _shift(s: Scalars, op: NnOp, a: Scalar, b: Scalar, left: bool) -> Scalar:
    """Shifts by the width or more give 0, or the sign."""
    width = s.like(bit_width(a.element), b)
    inside = s.emit(arith.CmpiOp(b.value, width.value, "ult"), i1)
    by = s.select(inside, b, s.like(0, b))
    unsigned = is_unsigned(a.element)
    right = arith.ShRUIOp if unsigned else arith.ShRSIOp
    kind = arith.ShLIOp if left else right
    moved = s.emit(kind(a.value, by.value), a.element)
    if left or unsigned:
        return s.select(inside, moved, s.like(0, a))
    last = s.emit(right(a.value, s.like(bit_width(a.element) - 1, a).value), a.element)
    return s.select(inside, moved, last)


def _cast(s: Scalars, op: NnOp, x: Scalar) -> Scalar:
    return s.cast(x, op.value("to"))


FORMULAS: dict[str, Formula] = {
    "nn.abs": lambda s, op, x: s.abs(x),
    "nn.neg": lambda s, op, x: s.neg(x),
    "nn.exp": _unary(math.ExpOp),
    "nn.expm1": _unary(math.ExpM1Op),
    "nn.log": _unary(math.LogOp),
    "nn.log1p": _unary(math.Log1pOp),
    "nn.sqrt": _unary(math.SqrtOp),
    "nn.rsqrt": lambda s, op, x: s.div(s.like(1, x), s.math(math.SqrtOp, x)),
    "nn.reciprocal": _reciprocal,
    "nn.sin": _unary(math.SinOp),
    "nn.cos": _unary(math.CosOp),
    "nn.tan": _unary(math.TanOp),
    "nn.asin": _unary(math.AsinOp),
    "nn.acos": _unary(math.AcosOp),
    "nn.atan": _unary(math.AtanOp),
    "nn.sinh": _unary(math.SinhOp),
    "nn.cosh": _unary(math.CoshOp),
    "nn.tanh": _unary(math.TanhOp),
    "nn.asinh": _unary(math.AsinhOp),
    "nn.acosh": _unary(math.AcoshOp),
    "nn.atanh": _unary(math.AtanhOp),
    "nn.erf": _unary(math.ErfOp),
    "nn.floor": lambda s, op, x: _round(s, op, x, math.FloorOp),
    "nn.ceil": lambda s, op, x: _round(s, op, x, math.CeilOp),
    "nn.round": lambda s, op, x: _round(s, op, x, math.RoundEvenOp),
    "nn.sign": _sign,
    "nn.not": lambda s, op, x: s.bit_not(x),
    "nn.is_nan": lambda s, op, x: s.is_nan(x),
    "nn.is_inf": _is_inf,
    "nn.relu": lambda s, op, x: s.maximum(x, s.like(0, x)),
    "nn.sigmoid": lambda s, op, x: _sigmoid(s, x),
    "nn.softplus": lambda s, op, x: _softplus(s, x),
    "nn.softsign": _softsign,
    "nn.gelu": _gelu,
    "nn.silu": lambda s, op, x: s.mul(x, _sigmoid(s, x)),
    "nn.hard_sigmoid": _hard_sigmoid,
    "nn.hard_swish": _hard_swish,
    "nn.elu": lambda s, op, x: _elu(s, x, op.value("alpha")),
    "nn.leaky_relu": lambda s, op, x: _leaky(
        s, x, s.mul(s.like(op.value("alpha"), x), x)
    ),
    "nn.selu": _selu,
    "nn.celu": _celu,
    "nn.mish": _mish,
    "nn.clamp": lambda s, op, x: _clamped(s, x, op.value("min"), op.value("max")),
    "nn.cast": _cast,
    "nn.add": lambda s, op, a, b: s.add(a, b),
    "nn.sub": lambda s, op, a, b: s.sub(a, b),
    "nn.mul": lambda s, op, a, b: s.mul(a, b),
    "nn.div": lambda s, op, a, b: s.div(a, b),
    "nn.pow": _power,
    "nn.mod": _modulo,
    "nn.minimum": lambda s, op, a, b: s.minimum(a, b),
    "nn.maximum": lambda s, op, a, b: s.maximum(a, b),
    "nn.and": lambda s, op, a, b: s.bit_and(a, b),
    "nn.or": lambda s, op, a, b: s.bit_or(a, b),
    "nn.xor": lambda s, op, a, b: s.bit_xor(a, b),
    "nn.shift_left": lambda s, op, a, b: _shift(s, op, a, b, left=True),
    "nn.shift_right": lambda s, op, a, b: _shift(s, op, a, b, left=False),
    "nn.compare": lambda s, op, a, b: s.compare(op.value("predicate"), a, b),
    "nn.prelu": lambda s, op, x, slope: _leaky(s, x, s.mul(slope, x)),
    "nn.select": lambda s, op, c, a, b: s.select(c, a, b),
}
"""What each elementwise op computes."""

CHEAP = nn_names(
    "abs neg floor ceil round sign not is_nan is_inf relu hard_sigmoid hard_swish "
    "leaky_relu clamp cast add sub mul minimum maximum and or xor shift_left "
    "shift_right compare prelu select"
)
"""Elementwise ops of a few instructions, which may be computed more than once."""
