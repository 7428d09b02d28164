"""Scalar bodies on vector pieces: what each `arith` and `math` op becomes.

One row of `RULES` per op. Integer division never traps: a zero divisor counts as 1,
as in the reference interpreter, and `INT_MIN / -1` wraps. Shifts by the width or more
give 0 or the sign. Floats may contract `a * b + c`, and nothing else: NaN, infinities
and signed zeros are those of IEEE 754.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    f32,
    f64,
    i1,
    i32,
    i64,
)
from xdsl.dialects.llvm import ConstantOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.codegen.llvm_builder import CONTRACT, PLAIN, Builder
from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import element_of, lanes_of, vector
from stepwell.codegen.math import MATH_FUNCTIONS, MathLibrary
from stepwell.errors import CompileError

from .elements import CPU, Carriers, carrier_type, is_rounded, round_to_element


@dataclass
class Scalars:
    """What the rules need: a builder, the math library, the device's carriers."""

    b: Builder
    library: MathLibrary
    carriers: Carriers = CPU

    def run(
        self,
        block: Block,
        args: Sequence[SSAValue],
        lanes: int,
        outer: Callable[[SSAValue], SSAValue],
    ) -> list[SSAValue]:
        """The operands of the body's terminator, for one piece.

        Args:
            block: the body.
            args: the pieces of the block's arguments, of `lanes` lanes or one.
            lanes: the lanes of the results.
            outer: the scalar value of an SSA value defined outside the body.
        """
        values: dict[SSAValue, SSAValue] = dict(zip(block.args, args, strict=True))

        def value_of(value: SSAValue) -> SSAValue:
            known = values.get(value)
            if known is None:
                known = values[value] = outer(value)
            return known

        last = block.last_op
        assert last is not None
        for op in block.ops:
            if op is last:
                break
            if isinstance(op, arith.ConstantOp):
                values[op.results[0]] = self.apply(op, (), 1)
                continue
            # What depends on no lane is computed once, as a scalar.
            operands = [value_of(v) for v in op.operands]
            wide = max((lanes_of(v.type) for v in operands), default=1)
            operands = [self._widened(v, wide) for v in operands]
            values[op.results[0]] = self.apply(op, operands, wide)
        return [self._widened(value_of(v), lanes) for v in last.operands]

    def _widened(self, value: SSAValue, lanes: int) -> SSAValue:
        return value if lanes_of(value.type) == lanes else self.b.splat(value, lanes)

    def apply(
        self, op: Operation, operands: Sequence[SSAValue], lanes: int
    ) -> SSAValue:
        """One op on pieces.

        Raises:
            CompileError: the op has no rule.
        """
        element = op.results[0].type
        if isinstance(op, arith.ConstantOp):
            attr = op.value
            if not isinstance(attr, FloatAttr | IntegerAttr):
                raise _no_rule(op)
            carrier = carrier_type(element, self.carriers)
            return self.b.constant(attr.value.data, vector(carrier, lanes))
        rule = self.rules.get(type(op))
        if rule is not None:
            result = rule(self, op, operands)
        elif op.name in MATH_FUNCTIONS:
            result = self._math(op, operands)
        else:
            raise _no_rule(op)
        if is_rounded(element, self.carriers):
            return round_to_element(self.b, result, element)
        return result

    @property
    def rules(self) -> Mapping[type[Operation], Rule]:
        """The rule of each op."""
        return RULES

    def function(self, name: str, operands: Sequence[SSAValue]) -> SSAValue:
        """A function of the math library, e.g. "math.exp", of f32 or f64."""
        return self.library.call(self.b, name, operands)

    def result_type(self, op: Operation, like: SSAValue) -> Attribute:
        """The type that carries an op's result, of as many lanes as `like`."""
        carrier = carrier_type(op.results[0].type, self.carriers)
        return vector(carrier, lanes_of(like.type))

    def _math(self, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        """A function of the math library; half precision goes through f32."""
        type_ = operands[0].type
        half = isinstance(element_of(type_), _HALVES)
        if half:
            wide = vector(f32, lanes_of(type_))
            operands = [self.b.cast("fpext", v, wide) for v in operands]
        result = self.function(op.name, operands)
        return self.b.cast("fptrunc", result, type_) if half else result


_HALVES = (Float16Type, BFloat16Type)


def _no_rule(op: Operation) -> CompileError:
    return CompileError(
        f"expected a scalar op with a rule, got {op.name}",
        where=str(op.location),
        fix="add a row to RULES in codegen/scalars/bodies.py",
    )


Rule = Callable[[Scalars, Operation, Sequence[SSAValue]], SSAValue]


# ---- floats -------------------------------------------------------------------------


def _float(name: str) -> Rule:
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        narrow = is_rounded(op.results[0].type, s.carriers)
        half = isinstance(op.results[0].type, _HALVES)
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
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        return float_extremum(s.b, name, operands[0], operands[1], s.carriers)

    return rule


def _number_extremum(predicate: str) -> Rule:
    """The other operand where one is NaN."""

    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        left, right = operands
        b = s.b
        chosen = b.select(b.fcmp(predicate, left, right), left, right)
        if _is_number(right):
            return chosen
        return b.select(b.fcmp("uno", right, right), left, chosen)

    return rule


def _through_f32(rule: Rule) -> Rule:
    """Half precision computed in f32 and rounded once."""

    def wrapped(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        type_ = operands[0].type
        if not isinstance(element_of(type_), _HALVES):
            return rule(s, op, operands)
        wide = vector(f32, lanes_of(type_))
        widened = [s.b.cast("fpext", v, wide) for v in operands]
        return s.b.cast("fptrunc", rule(s, op, widened), type_)

    return wrapped


def _intrinsic(name: str) -> Rule:
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        type_ = operands[0].type
        return s.b.intrinsic(f"llvm.{name}.{type_suffix(type_)}", operands, type_)

    return _through_f32(rule)


def _negate(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.fneg(operands[0])


def _round_half_away(
    s: Scalars, op: Operation, operands: Sequence[SSAValue]
) -> SSAValue:
    """`trunc(x + copysign(0.5 - ulp, x))`, exact for all x."""
    b, x = s.b, operands[0]
    suffix, type_ = type_suffix(x.type), x.type
    below = 0.49999999999999994 if element_of(type_) == f64 else 0.49999997
    half = b.constant(below, type_)
    half = b.intrinsic(f"llvm.copysign.{suffix}", (half, x), type_)
    return b.intrinsic(f"llvm.trunc.{suffix}", (b.binary("fadd", x, half),), type_)


def _float_to_integer_power(
    s: Scalars, op: Operation, operands: Sequence[SSAValue]
) -> SSAValue:
    x, n = operands
    return s.function("math.powf", [x, s.b.cast("sitofp", n, x.type)])


def _rsqrt(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    b, x = s.b, operands[0]
    root = b.intrinsic(f"llvm.sqrt.{type_suffix(x.type)}", (x,), x.type)
    return b.binary("fdiv", b.constant(1.0, x.type), root)


def _compare_floats(
    s: Scalars, op: Operation, operands: Sequence[SSAValue]
) -> SSAValue:
    assert isinstance(op, arith.CmpfOp)
    return s.b.fcmp(_FCMP_NAMES[op.predicate.value.data], *operands)


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
_ICMP_NAMES = ["eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"]


# ---- integers -----------------------------------------------------------------------


def _integer(name: str) -> Rule:
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        return s.b.binary(name, operands[0], operands[1])

    return rule


def _compare_integers(
    s: Scalars, op: Operation, operands: Sequence[SSAValue]
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


def _divsi(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return signed_division(s.b, operands[0], operands[1])[0]


def _remsi(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    """The remainder; by a zero divisor the dividend, as `a - (a / 1) * 0`."""
    b = s.b
    left, right = operands
    rest = signed_division(b, left, right)[1]
    if _is_safe_divisor(right):
        return rest
    return b.select(b.icmp("eq", right, b.constant(0, left.type)), left, rest)


def _rounded_division(towards: str) -> Rule:
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
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
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
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
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
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
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
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


def _select(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.select(*operands)


# ---- casts --------------------------------------------------------------------------


def _cast(name: str) -> Rule:
    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        return s.b.cast(name, operands[0], s.result_type(op, operands[0]))

    return rule


def _int_to_float(name: str) -> Rule:
    """Through f32 where the result is narrower, as its own rounding comes after."""

    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        b, x = s.b, operands[0]
        target = s.result_type(op, x)
        if not isinstance(element_of(target), _HALVES):
            return b.cast(name, x, target)
        wide = b.cast(name, x, vector(f32, lanes_of(x.type)))
        return b.cast("fptrunc", wide, target)

    return rule


def _float_to_int(signed: bool) -> Rule:
    """Towards zero; saturated at the wide type, then wrapped to the narrow one."""

    def rule(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        b, x = s.b, operands[0]
        target = element_of(s.result_type(op, x))
        assert isinstance(target, IntegerType)
        lanes = lanes_of(x.type)
        if isinstance(element_of(x.type), _HALVES):
            x = b.cast("fpext", x, vector(f32, lanes))
        width = target.width.data
        unsigned = not signed and width >= 32
        wide = vector(i64 if width == 64 else i32, lanes)
        name = f"llvm.fpto{'u' if unsigned else 's'}i.sat"
        name += f".{type_suffix(wide)}.{type_suffix(x.type)}"
        result = b.intrinsic(name, (x,), wide)
        if not signed and not unsigned:
            zero = b.constant(0, wide)
            result = b.intrinsic(f"llvm.smax.{type_suffix(wide)}", (result, zero), wide)
        return b.cast("trunc", result, vector(target, lanes))

    return rule


def _truncf(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    """To a narrower float; f64 to 16 bits through f32 rounded to odd."""
    b, x = s.b, operands[0]
    target = s.result_type(op, x)
    narrow = is_rounded(op.results[0].type, s.carriers)
    if isinstance(element_of(x.type), Float64Type) and (
        narrow or isinstance(element_of(target), _HALVES)
    ):
        x = _to_f32_odd(b, x)
    elif narrow and isinstance(element_of(x.type), _HALVES):
        return b.cast("fpext", x, target)
    return b.cast("fptrunc", x, target)


def _to_f32_odd(b: Builder, x: SSAValue) -> SSAValue:
    """An f64 as f32 rounded to odd: a second, narrower rounding is then exact."""
    lanes = lanes_of(x.type)
    near = b.cast("fptrunc", x, vector(f32, lanes))
    back = b.cast("fpext", near, x.type)
    suffix = type_suffix(x.type)
    size, size_back = (
        b.intrinsic(f"llvm.fabs.{suffix}", (v,), x.type) for v in (x, back)
    )
    bits = b.cast("bitcast", near, vector(i32, lanes))
    above = b.cast("zext", b.fcmp("ogt", size_back, size), bits.type)
    inexact = b.cast("zext", b.fcmp("one", back, x), bits.type)
    bits = b.binary("or", b.binary("sub", bits, above), inexact)
    return b.cast("bitcast", bits, near.type)


def _extf(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.cast("fpext", operands[0], s.result_type(op, operands[0]))


def _index_cast(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    x = operands[0]
    target = s.result_type(op, x)
    source, wanted = element_of(x.type), element_of(target)
    assert isinstance(source, IntegerType) and isinstance(wanted, IntegerType)
    if source.width.data == wanted.width.data:
        return x
    wider = wanted.width.data > source.width.data
    return s.b.cast("sext" if wider else "trunc", x, target)


def _bitcast(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    kinds = (op.results[0].type, op.operands[0].type)
    if any(is_rounded(kind, s.carriers) for kind in kinds):
        raise _no_rule(op)
    return s.b.cast("bitcast", operands[0], s.result_type(op, operands[0]))


def _fma(s: Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.fma(*operands)


RULES: Mapping[type[Operation], Rule] = {
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
    arith.SelectOp: _select,
    arith.ExtFOp: _extf,
    arith.TruncFOp: _truncf,
    arith.ExtSIOp: _cast("sext"),
    arith.ExtUIOp: _cast("zext"),
    arith.TruncIOp: _cast("trunc"),
    arith.SIToFPOp: _int_to_float("sitofp"),
    arith.UIToFPOp: _int_to_float("uitofp"),
    arith.FPToSIOp: _float_to_int(signed=True),
    arith.FPToUIOp: _float_to_int(signed=False),
    arith.IndexCastOp: _index_cast,
    arith.BitcastOp: _bitcast,
    math.AbsFOp: _intrinsic("fabs"),
    math.AbsIOp: _integer_intrinsic("abs"),
    math.CeilOp: _intrinsic("ceil"),
    math.FloorOp: _intrinsic("floor"),
    math.TruncOp: _intrinsic("trunc"),
    math.RoundEvenOp: _intrinsic("roundeven"),
    math.RoundOp: _through_f32(_round_half_away),
    math.CopySignOp: _intrinsic("copysign"),
    math.SqrtOp: _intrinsic("sqrt"),
    math.RsqrtOp: _through_f32(_rsqrt),
    math.FPowIOp: _float_to_integer_power,
    math.FmaOp: _through_f32(_fma),
    math.CtPopOp: _integer_intrinsic("ctpop"),
    math.CountLeadingZerosOp: _integer_intrinsic("ctlz"),
    math.CountTrailingZerosOp: _integer_intrinsic("cttz"),
}
