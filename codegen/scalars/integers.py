"""Arithmetic of integers and booleans. Nothing traps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IntegerAttr, IntegerType, i1
from xdsl.dialects.llvm import ConstantOp
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import element_of

from .rules import Context, Rule

_ICMP_NAMES = ["eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"]


def _integer(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        return s.b.binary(name, operands[0], operands[1])

    return rule


def _compare_integers(
    s: Context, op: Operation, operands: Sequence[SSAValue]
) -> SSAValue:
    assert isinstance(op, arith.CmpiOp)
    return s.b.icmp(_ICMP_NAMES[op.predicate.value.data], *operands)


def _is_safe_divisor(value: SSAValue) -> bool:
    """Whether a divisor is a constant other than 0 and -1."""
    if not isinstance(value.owner, ConstantOp):
        return False
    attr = value.owner.value
    if isinstance(attr, IntegerAttr):
        return attr.value.data not in (0, -1)
    return all(v not in (0, -1) for v in attr.iter_values())  # pyright: ignore


def signed_division(
    b: Builder, left: SSAValue, right: SSAValue
) -> tuple[SSAValue, SSAValue]:
    """Quotient towards zero and remainder, for any operands without a trap."""
    if _is_safe_divisor(right):
        quotient = b.binary("sdiv", left, right)
        return quotient, b.binary("srem", left, right)
    type_ = left.type
    zero, one, minus = (b.constant(c, type_) for c in (0, 1, -1))
    negated = b.icmp("eq", right, minus)
    unsafe = b.binary("or", b.icmp("eq", right, zero), negated)
    divisor = b.select(unsafe, one, right)
    quotient = b.binary("sdiv", left, divisor)
    quotient = b.select(negated, b.binary("sub", zero, left), quotient)
    return quotient, b.binary("srem", left, divisor)


def _divsi(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return signed_division(s.b, operands[0], operands[1])[0]


def _remsi(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    """The remainder; by a zero divisor the dividend, as `a - (a / 1) * 0`."""
    b = s.b
    left, right = operands
    rest = signed_division(b, left, right)[1]
    if _is_safe_divisor(right):
        return rest
    return b.select(b.icmp("eq", right, b.constant(0, left.type)), left, rest)


def _rounded_division(towards: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        b = s.b
        left, right = operands
        zero = b.constant(0, left.type)
        if not _is_safe_divisor(right):
            one = b.constant(1, left.type)
            right = b.select(b.icmp("eq", right, zero), one, right)
        quotient, rest = signed_division(b, left, right)
        inexact = b.icmp("ne", rest, zero)
        differ = b.icmp("slt", b.binary("xor", left, right), zero)
        if towards == "ceil":
            differ = b.binary("xor", differ, b.constant(1, differ.type))
        adjust = b.cast("zext", b.binary("and", inexact, differ), left.type)
        return b.binary("sub" if towards == "floor" else "add", quotient, adjust)

    return rule


def _unsigned_division(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        b = s.b
        left, right = operands
        if not _is_safe_divisor(right):
            zero, one = (b.constant(c, left.type) for c in (0, 1))
            right = b.select(b.icmp("eq", right, zero), one, right)
        if name != "ceil":
            return b.binary(name, left, right)
        quotient, rest = b.binary("udiv", left, right), b.binary("urem", left, right)
        some = b.icmp("ne", rest, b.constant(0, left.type))
        return b.binary("add", quotient, b.cast("zext", some, left.type))

    return rule


def _shift(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        b = s.b
        left, by = operands
        type_ = left.type
        element = element_of(type_)
        assert isinstance(element, IntegerType)
        width = element.width.data
        inside = b.icmp("ult", by, b.constant(width, type_))
        last = b.constant(width - 1, type_)
        shifted = b.binary(name, left, b.select(inside, by, last))
        if name == "ashr":
            return shifted
        return b.select(inside, shifted, b.constant(0, type_))

    return rule


def _integer_intrinsic(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        type_ = operands[0].type
        flags = (s.b.constant(0, i1),) if name in ("abs", "ctlz", "cttz") else ()
        if element_of(type_) == i1:
            return _boolean_extremum(s.b, name, operands)
        suffix = type_suffix(type_)
        return s.b.intrinsic(f"llvm.{name}.{suffix}", (*operands, *flags), type_)

    return rule


def _boolean_extremum(b: Builder, name: str, operands: Sequence[SSAValue]) -> SSAValue:
    """Of booleans NumPy's maximum is `or`, its minimum `and`."""
    word = {"smax": "or", "umax": "or", "smin": "and", "umin": "and"}.get(name)
    if word is None:
        return operands[0]
    return b.binary(word, operands[0], operands[1])


INTEGERS: Mapping[type[Operation], Rule] = {
    arith.AddiOp: _integer("add"),
    arith.SubiOp: _integer("sub"),
    arith.MuliOp: _integer("mul"),
    arith.AndIOp: _integer("and"),
    arith.OrIOp: _integer("or"),
    arith.XOrIOp: _integer("xor"),
    arith.DivSIOp: _divsi,
    arith.RemSIOp: _remsi,
    arith.DivUIOp: _unsigned_division("udiv"),
    arith.RemUIOp: _unsigned_division("urem"),
    arith.CeilDivUIOp: _unsigned_division("ceil"),
    arith.FloorDivSIOp: _rounded_division("floor"),
    arith.CeilDivSIOp: _rounded_division("ceil"),
    arith.ShLIOp: _shift("shl"),
    arith.ShRUIOp: _shift("lshr"),
    arith.ShRSIOp: _shift("ashr"),
    arith.MinSIOp: _integer_intrinsic("smin"),
    arith.MaxSIOp: _integer_intrinsic("smax"),
    arith.MinUIOp: _integer_intrinsic("umin"),
    arith.MaxUIOp: _integer_intrinsic("umax"),
    arith.CmpiOp: _compare_integers,
    math.AbsIOp: _integer_intrinsic("abs"),
    math.CtPopOp: _integer_intrinsic("ctpop"),
    math.CountLeadingZerosOp: _integer_intrinsic("ctlz"),
    math.CountTrailingZerosOp: _integer_intrinsic("cttz"),
}
