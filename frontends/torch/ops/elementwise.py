"""Elementwise arithmetic, comparisons, activations, casts."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import (
    bit_width,
    i1,
    i16,
    i32,
    i64,
    is_bool,
    is_float,
)
from stepwell.dialects.shapes import element_of
from stepwell.frontends.described import described, op_name
from stepwell.frontends.emit import broadcast, cast, value
from stepwell.frontends.torch.call import Call, Operand
from stepwell.frontends.torch.registry import Build, Output, Rules

from .rows import binary, compare, nothing, same, unary


def add(call: Call, a: Operand, b: Operand, alpha: Operand = 1) -> Operation:
    """`a + alpha * b`; on booleans `or`."""
    element = call.element()
    left, right = call.operand(a, element), call.operand(b, element)
    if is_bool(element):
        return nn.OrOp(left, right)
    return nn.AddOp(left, scaled(call, right, alpha))


def sub(call: Call, a: Operand, b: Operand, alpha: Operand = 1) -> Operation:
    """`a - alpha * b`."""
    element = call.element()
    right = scaled(call, call.operand(b, element), alpha)
    return nn.SubOp(call.operand(a, element), right)


def rsub(call: Call, a: Operand, b: Operand, alpha: Operand = 1) -> Operation:
    """`b - alpha * a`."""
    return sub(call, b, a, alpha)


def scaled(call: Call, x: SSAValue, factor: Operand) -> SSAValue:
    """`factor * x`."""
    if not isinstance(factor, SSAValue) and factor == 1:
        return x
    return value(nn.MulOp(x, call.operand(factor, element_of(x))))


def mul(call: Call, a: Operand, b: Operand) -> Operation:
    """`a * b`; on booleans `and`."""
    element = call.element()
    op = nn.AndOp if is_bool(element) else nn.MulOp
    return op(call.operand(a, element), call.operand(b, element))


def addc(op: Any) -> Build:
    """`x + value * op(a, b)`."""

    def build(
        call: Call, x: SSAValue, a: SSAValue, b: SSAValue, value: Operand = 1
    ) -> Operation:
        element = call.element()
        inner = op(cast(a, element), cast(b, element)).results[0]
        return nn.AddOp(cast(x, element), scaled(call, inner, value))

    return described(build, f"`nn.add` of one `{op_name(op)}`.")


def signbit(call: Call, x: SSAValue) -> Operation:
    """Whether the sign is minus; of -0 and NaN too, so bits are looked at."""
    element = element_of(x)
    if not is_float(element):
        return nn.CompareOp(x, call.scalar(0, element), predicate="lt")
    bits = {16: i16, 32: i32, 64: i64}[bit_width(element)]
    return nn.CompareOp(nn.BitcastOp(x, bits), call.scalar(0, bits), predicate="lt")


def copysign(call: Call, x: Operand, sign: Operand) -> Operation:
    """`|x|` with the sign of another tensor."""
    element = call.element()
    size = value(nn.AbsOp(call.operand(x, element)))
    is_minus = signbit(call, call.operand(sign, element))
    return nn.SelectOp(is_minus, nn.NegOp(size), size)


def hypot(call: Call, a: SSAValue, b: SSAValue) -> Operation:
    """`sqrt(a**2 + b**2)`."""
    return nn.SqrtOp(nn.AddOp(nn.MulOp(a, a), nn.MulOp(b, b)))


def extremum_of_numbers(op: Any) -> Build:
    """The larger or smaller of two, where only one is a number that one."""

    def build(call: Call, a: SSAValue, b: SSAValue) -> Operation:
        element = call.element()
        a, b = cast(a, element), cast(b, element)
        best = op(a, b)
        if not is_float(element):
            return best
        return nn.SelectOp(nn.IsNanOp(a), b, nn.SelectOp(nn.IsNanOp(b), a, best))

    return described(build, f"One `{op_name(op)}` that passes over NaN.")


def erfc(call: Call, x: SSAValue) -> Operation:
    """`1 - erf x`."""
    element = call.element()
    return nn.SubOp(call.scalar(1, element), nn.ErfOp(cast(x, element)))


def ldexp(call: Call, x: SSAValue, exponent: SSAValue) -> Operation:
    """`x * 2**exponent`."""
    element = call.element()
    power_of_two = nn.PowOp(call.scalar(2, element), cast(exponent, element))
    return nn.MulOp(cast(x, element), power_of_two)


def view_dtype(call: Call, x: SSAValue, *_: Any) -> Output:
    """The same bits as another type of the same width."""
    element = call.element()
    if bit_width(element) != bit_width(element_of(x)):
        raise call.unsupported(f"the bits of {element_of(x)} as {element}")
    return nn.BitcastOp(x, element)


def square(call: Call, x: SSAValue) -> Operation:
    """`x * x`."""
    return nn.MulOp(x, x)


def div(call: Call, a: Operand, b: Operand) -> Operation:
    """`a / b`."""
    return div_mode(call, a, b, None)


def div_mode(call: Call, a: Operand, b: Operand, mode: str | None) -> Operation:
    """`a / b`: exact, or rounded to zero (`trunc`) or down (`floor`)."""
    element = call.element()
    left, right = call.operand(a, element), call.operand(b, element)
    if mode is None:
        return nn.DivOp(left, right)
    if mode == "trunc":
        quotient = nn.DivOp(left, right)
        return truncated(value(quotient)) if is_float(element) else quotient
    rest = value(nn.ModOp(left, right))
    quotient = nn.DivOp(nn.SubOp(left, rest), right)
    return nn.RoundOp(quotient) if is_float(element) else quotient


def floor_divide(call: Call, a: Operand, b: Operand) -> Operation:
    """`a / b`, rounded down."""
    return div_mode(call, a, b, "floor")


def truncated(x: SSAValue) -> Operation:
    """`x` rounded to zero."""
    return nn.MulOp(nn.SignOp(x), nn.FloorOp(nn.AbsOp(x)))


def trunc(call: Call, x: SSAValue) -> Output:
    """`x` rounded to zero."""
    return truncated(x) if is_float(element_of(x)) else x


def rounding(op: Any) -> Any:
    """A rounding, which leaves integers alone."""

    def build(call: Call, x: SSAValue, *_: Any) -> Output:
        return op(x) if is_float(element_of(x)) else x

    return described(build, f"One `{op_name(op)}`; integers stay as they are.")


def round_decimals(call: Call, x: SSAValue, decimals: int) -> Output:
    """`x` rounded to a number of decimals."""
    if not is_float(element_of(x)):
        return x
    scale = call.scalar(10.0 ** abs(decimals), element_of(x))
    up, down = (nn.MulOp, nn.DivOp) if decimals >= 0 else (nn.DivOp, nn.MulOp)
    return down(nn.RoundOp(up(x, scale)), scale)


def frac(call: Call, x: SSAValue) -> Operation:
    """What `trunc` takes away."""
    return nn.SubOp(x, truncated(x))


def power(call: Call, a: Operand, b: Operand) -> Operation:
    """`a ** b`."""
    element = call.element()
    base = call.operand(a, element)
    if b == 2 and not isinstance(b, SSAValue):
        return nn.MulOp(base, base)
    if b == 0.5 and not isinstance(b, SSAValue):
        return nn.SqrtOp(base)
    return nn.PowOp(base, call.operand(b, element))


def logical(op: Any) -> Any:
    """A logical op of truth values: everything but 0 is true."""

    def build(call: Call, a: SSAValue, b: SSAValue) -> Operation:
        return op(truth(call, a), truth(call, b))

    return described(build, f"One `{op_name(op)}` of truth values.")


def truth(call: Call, x: SSAValue) -> SSAValue:
    """Whether each element is not 0."""
    if is_bool(element_of(x)):
        return x
    return value(nn.CompareOp(x, call.scalar(0, element_of(x)), predicate="ne"))


def logical_not(call: Call, x: SSAValue) -> Operation:
    """Whether each element is 0."""
    if is_bool(element_of(x)):
        return nn.NotOp(x)
    return nn.CompareOp(x, call.scalar(0, element_of(x)), predicate="eq")


def predicate(op: Any) -> Any:
    """A test of floats, false for integers."""

    def build(call: Call, x: SSAValue) -> Output:
        if is_float(element_of(x)):
            return op(x)
        return broadcast(call.scalar(False, i1), call.dims())

    return described(build, f"One `{op_name(op)}`; false for integers.")


def where(call: Call, condition: SSAValue, a: Operand, b: Operand) -> Operation:
    """`a` where the condition holds, else `b`."""
    element = call.element()
    test = truth(call, condition)
    return nn.SelectOp(test, call.operand(a, element), call.operand(b, element))


def masked_fill(call: Call, x: SSAValue, mask: SSAValue, number: Operand) -> Operation:
    """`number` where the mask holds, else `x`."""
    return nn.SelectOp(mask, call.operand(number, element_of(x)), x)


def log_base(base: float) -> Any:
    """The logarithm to a base."""

    def build(call: Call, x: SSAValue) -> Operation:
        element = call.element()
        factor = call.scalar(1 / math.log(base), element)
        return nn.MulOp(nn.LogOp(cast(x, element)), factor)

    return described(build, f"The logarithm to the base {base}.")


def exp2(call: Call, x: SSAValue) -> Operation:
    """`2 ** x`."""
    element = call.element()
    return nn.PowOp(call.scalar(2.0, element), cast(x, element))


def to_dtype(call: Call, x: SSAValue, *_: Any) -> SSAValue:
    """`x` in the result's type."""
    return cast(x, call.element())


def atan2(call: Call, y: SSAValue, x: SSAValue) -> Operation:
    """The angle of the point (x, y), in (-pi, pi]."""
    element = call.element()
    y, x = cast(y, element), cast(x, element)
    zero, pi = call.scalar(0, element), call.scalar(math.pi, element)
    is_left = nn.CompareOp(x, zero, predicate="lt")
    is_below = nn.CompareOp(y, zero, predicate="lt")
    is_steep = nn.CompareOp(nn.AbsOp(y), nn.AbsOp(x), predicate="gt")
    turn = nn.SelectOp(is_below, nn.NegOp(pi), pi)
    is_origin = nn.AndOp(
        nn.CompareOp(x, zero, predicate="eq"), nn.CompareOp(y, zero, predicate="eq")
    )
    flat = nn.AtanOp(nn.DivOp(y, nn.SelectOp(is_origin, call.scalar(1, element), x)))
    half = nn.SelectOp(
        is_below, call.scalar(-math.pi / 2, element), call.scalar(math.pi / 2, element)
    )
    upright = nn.SubOp(half, nn.AtanOp(nn.DivOp(x, y)))
    level = nn.SelectOp(is_left, nn.AddOp(flat, turn), flat)
    return nn.SelectOp(is_steep, upright, level)


def lerp(call: Call, a: SSAValue, b: SSAValue, weight: Operand) -> Operation:
    """`a + weight * (b - a)`."""
    difference = value(nn.SubOp(b, a))
    return nn.AddOp(a, scaled(call, difference, weight))


def copy(call: Call, into: SSAValue, source: Operand, *_: Any) -> Output:
    """The second argument in the type and shape of the first."""
    return broadcast(call.operand(source, call.element()), call.dims())


_UNARY = {
    "abs": nn.AbsOp,
    "acos": nn.AcosOp,
    "acosh": nn.AcoshOp,
    "asin": nn.AsinOp,
    "asinh": nn.AsinhOp,
    "atan": nn.AtanOp,
    "atanh": nn.AtanhOp,
    "bitwise_not": nn.NotOp,
    "cos": nn.CosOp,
    "cosh": nn.CoshOp,
    "erf": nn.ErfOp,
    "exp": nn.ExpOp,
    "expm1": nn.Expm1Op,
    "log": nn.LogOp,
    "log1p": nn.Log1pOp,
    "neg": nn.NegOp,
    "reciprocal": nn.ReciprocalOp,
    "rsqrt": nn.RsqrtOp,
    "sign": nn.SignOp,
    "sgn": nn.SignOp,
    "sin": nn.SinOp,
    "sinh": nn.SinhOp,
    "sqrt": nn.SqrtOp,
    "tan": nn.TanOp,
    "tanh": nn.TanhOp,
}
_BITS = {
    "bitwise_and": nn.AndOp,
    "bitwise_or": nn.OrOp,
    "bitwise_xor": nn.XorOp,
}
_SHIFTS = {
    "bitwise_left_shift": nn.ShiftLeftOp,
    "bitwise_right_shift": nn.ShiftRightOp,
}
_COMPARISONS = {
    "eq": "eq",
    "ne": "ne",
    "lt": "lt",
    "le": "le",
    "gt": "gt",
    "ge": "ge",
}
_OVERLOADS = ("Tensor", "Scalar")

RULES: Rules = {
    **{f"aten.{name}.default": unary(op) for name, op in _UNARY.items()},
    **{
        f"aten.{name}.{overload}": binary(op)
        for name, op in _BITS.items()
        for overload in ("Tensor", "Scalar", "Scalar_Tensor")
    },
    **{
        f"aten.{name}.{overload}": binary(op)
        for name, op in _SHIFTS.items()
        for overload in ("Tensor", "Tensor_Scalar", "Scalar_Tensor")
    },
    **{
        f"aten.remainder.{overload}": binary(nn.ModOp)
        for overload in ("Tensor", "Scalar", "Scalar_Tensor")
    },
    **{
        f"aten.{name}.{overload}": compare(predicate)
        for name, predicate in _COMPARISONS.items()
        for overload in _OVERLOADS
    },
    **{
        f"aten.__{name}__.{overload}": binary(op)
        for name, op in (
            ("and", nn.AndOp),
            ("or", nn.OrOp),
            ("xor", nn.XorOp),
            ("lshift", nn.ShiftLeftOp),
            ("rshift", nn.ShiftRightOp),
        )
        for overload in _OVERLOADS
    },
    **{f"aten.add.{overload}": add for overload in _OVERLOADS},
    **{f"aten.sub.{overload}": sub for overload in _OVERLOADS},
    **{f"aten.rsub.{overload}": rsub for overload in _OVERLOADS},
    **{f"aten.mul.{overload}": mul for overload in _OVERLOADS},
    **{f"aten.div.{overload}": div for overload in _OVERLOADS},
    **{f"aten.div.{overload}_mode": div_mode for overload in _OVERLOADS},
    **{f"aten.fmod.{overload}": binary(nn.ModOp, fmod=True) for overload in _OVERLOADS},
    "aten.true_divide.Tensor": div,
    "aten.floor_divide.default": floor_divide,
    "aten.floor_divide.Scalar": floor_divide,
    "aten.pow.Tensor_Tensor": power,
    "aten.pow.Tensor_Scalar": power,
    "aten.pow.Scalar": power,
    "aten.minimum.default": binary(nn.MinimumOp),
    "aten.maximum.default": binary(nn.MaximumOp),
    "aten.min.other": binary(nn.MinimumOp),
    "aten.max.other": binary(nn.MaximumOp),
    "aten.addcmul.default": addc(nn.MulOp),
    "aten.addcdiv.default": addc(nn.DivOp),
    "aten.square.default": square,
    "aten.signbit.default": signbit,
    "aten.copysign.Tensor": copysign,
    "aten.copysign.Scalar": copysign,
    "aten.hypot.default": hypot,
    "aten.fmax.default": extremum_of_numbers(nn.MaximumOp),
    "aten.fmin.default": extremum_of_numbers(nn.MinimumOp),
    "aten.erfc.default": erfc,
    "aten.ldexp.Tensor": ldexp,
    "aten.view.dtype": view_dtype,
    "aten.atan2.default": atan2,
    "aten.ceil.default": rounding(nn.CeilOp),
    "aten.floor.default": rounding(nn.FloorOp),
    "aten.round.default": rounding(nn.RoundOp),
    "aten.round.decimals": round_decimals,
    "aten.trunc.default": trunc,
    "aten.frac.default": frac,
    "aten.log2.default": log_base(2),
    "aten.log10.default": log_base(10),
    "aten.exp2.default": exp2,
    "aten.logical_and.default": logical(nn.AndOp),
    "aten.logical_or.default": logical(nn.OrOp),
    "aten.logical_xor.default": logical(nn.XorOp),
    "aten.logical_not.default": logical_not,
    "aten.isnan.default": predicate(nn.IsNanOp),
    "aten.isinf.default": predicate(nn.IsInfOp),
    "aten.where.self": where,
    "aten.where.ScalarOther": where,
    "aten.where.ScalarSelf": where,
    "aten.where.Scalar": where,
    "aten.masked_fill.Scalar": masked_fill,
    "aten.masked_fill.Tensor": masked_fill,
    "aten.lerp.Scalar": lerp,
    "aten.lerp.Tensor": lerp,
    "aten._to_copy.default": to_dtype,
    "aten.to.dtype": to_dtype,
    "aten.to.dtype_layout": to_dtype,
    "aten.to.device": to_dtype,
    "aten.to.other": to_dtype,
    "aten.type_as.default": to_dtype,
    "aten.copy.default": copy,
    "aten.clone.default": same,
    "aten.contiguous.default": same,
    "aten.alias.default": same,
    "aten.detach.default": same,
    "aten.detach_.default": same,
    "aten.lift_fresh_copy.default": same,
    "aten.lift_fresh.default": same,
    "aten._assert_tensor_metadata.default": nothing,
    "prims.convert_element_type.default": to_dtype,
}
