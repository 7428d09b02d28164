"""Arithmetic and functions of floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, f32, f64
from xdsl.dialects.llvm import ConstantOp
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import CONTRACT, PLAIN, Builder
from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import element_of

from .elements import CPU, Carriers, is_rounded
from .rules import HALVES, Context, Rule, through_f32

_FCMP_NAMES = [
    "_false",
    "oeq",
    "ogt",
    "oge",
    "olt",
    "ole",
    "one",
    "ord",
    "ueq",
    "ugt",
    "uge",
    "ult",
    "ule",
    "une",
    "uno",
    "_true",
]


def _float(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        narrow = is_rounded(op.results[0].type, s.carriers)
        half = isinstance(op.results[0].type, HALVES)
        flags = PLAIN if narrow or half or name == "fdiv" else CONTRACT
        return s.b.binary(name, operands[0], operands[1], flags)

    return rule


def _is_number(value: SSAValue) -> bool:
    """Whether a value is a constant that is not NaN."""
    if not isinstance(value.owner, ConstantOp):
        return False
    attr = value.owner.value
    if isinstance(attr, FloatAttr):
        return attr.value.data == attr.value.data
    if isinstance(attr, IntegerAttr):
        return True
    return all(v == v for v in attr.iter_values())


def float_extremum(
    b: Builder, name: str, left: SSAValue, right: SSAValue, on: Carriers = CPU
) -> SSAValue:
    """`max` or `min` of floats that gives NaN where either is NaN.

    `left > right ? left : right` is one instruction, and gives `right` where one side
    is NaN; so only a NaN on the left needs care.
    """
    if on.nan_extrema and element_of(left.type) == f32:
        full = f"llvm.{name}imum.{type_suffix(left.type)}"
        return b.intrinsic(full, (left, right), left.type)
    if _is_number(right):
        left, right = right, left
    predicate = "ogt" if name == "max" else "olt"
    chosen = b.select(b.fcmp(predicate, left, right), left, right)
    if _is_number(left):
        return chosen
    return b.select(b.fcmp("uno", left, left), left, chosen)


def _extremum(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        return float_extremum(s.b, name, operands[0], operands[1], s.carriers)

    return rule


def _number_extremum(predicate: str) -> Rule:
    """The other operand where one is NaN."""

    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        left, right = operands
        b = s.b
        chosen = b.select(b.fcmp(predicate, left, right), left, right)
        if _is_number(right):
            return chosen
        return b.select(b.fcmp("uno", right, right), left, chosen)

    return rule


def _intrinsic(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        type_ = operands[0].type
        return s.b.intrinsic(f"llvm.{name}.{type_suffix(type_)}", operands, type_)

    return through_f32(rule)


def _negate(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.fneg(operands[0])


def _round_half_away(
    s: Context, op: Operation, operands: Sequence[SSAValue]
) -> SSAValue:
    """`trunc(x + copysign(0.5 - ulp, x))`, exact for all x."""
    b, x = s.b, operands[0]
    suffix, type_ = type_suffix(x.type), x.type
    below = 0.49999999999999994 if element_of(type_) == f64 else 0.49999997
    half = b.constant(below, type_)
    half = b.intrinsic(f"llvm.copysign.{suffix}", (half, x), type_)
    return b.intrinsic(f"llvm.trunc.{suffix}", (b.binary("fadd", x, half),), type_)


def _float_to_integer_power(
    s: Context, op: Operation, operands: Sequence[SSAValue]
) -> SSAValue:
    x, n = operands
    return s.function("math.powf", [x, s.b.cast("sitofp", n, x.type)])


def _rsqrt(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    b, x = s.b, operands[0]
    root = b.intrinsic(f"llvm.sqrt.{type_suffix(x.type)}", (x,), x.type)
    return b.binary("fdiv", b.constant(1.0, x.type), root)


def _compare_floats(
    s: Context, op: Operation, operands: Sequence[SSAValue]
) -> SSAValue:
    assert isinstance(op, arith.CmpfOp)
    return s.b.fcmp(_FCMP_NAMES[op.predicate.value.data], *operands)


def _fma(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.fma(*operands)


FLOATS: Mapping[type[Operation], Rule] = {
    arith.AddfOp: _float("fadd"),
    arith.SubfOp: _float("fsub"),
    arith.MulfOp: _float("fmul"),
    arith.DivfOp: _float("fdiv"),
    arith.NegfOp: _negate,
    arith.MaximumfOp: _extremum("max"),
    arith.MinimumfOp: _extremum("min"),
    arith.MaxnumfOp: _number_extremum("ogt"),
    arith.MinnumfOp: _number_extremum("olt"),
    arith.CmpfOp: _compare_floats,
    math.AbsFOp: _intrinsic("fabs"),
    math.CeilOp: _intrinsic("ceil"),
    math.FloorOp: _intrinsic("floor"),
    math.TruncOp: _intrinsic("trunc"),
    math.RoundEvenOp: _intrinsic("roundeven"),
    math.RoundOp: through_f32(_round_half_away),
    math.CopySignOp: _intrinsic("copysign"),
    math.SqrtOp: _intrinsic("sqrt"),
    math.RsqrtOp: through_f32(_rsqrt),
    math.FPowIOp: _float_to_integer_power,
    math.FmaOp: through_f32(_fma),
}
