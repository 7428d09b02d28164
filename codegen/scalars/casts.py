"""From one element type to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import Float64Type, IntegerType, f32, i32, i64
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import element_of, lanes_of, vector

from .elements import is_rounded
from .rules import HALVES, Context, Rule, no_rule


def _cast(name: str) -> Rule:
    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        return s.b.cast(name, operands[0], s.result_type(op, operands[0]))

    return rule


def _int_to_float(name: str) -> Rule:
    """Through f32 where the result is narrower, as its own rounding comes after."""

    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        b, x = s.b, operands[0]
        target = s.result_type(op, x)
        if not isinstance(element_of(target), HALVES):
            return b.cast(name, x, target)
        wide = b.cast(name, x, vector(f32, lanes_of(x.type)))
        return b.cast("fptrunc", wide, target)

    return rule


def _float_to_int(signed: bool) -> Rule:
    """Towards zero; saturated at the wide type, then wrapped to the narrow one."""

    def rule(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        b, x = s.b, operands[0]
        target = element_of(s.result_type(op, x))
        assert isinstance(target, IntegerType)
        lanes = lanes_of(x.type)
        if isinstance(element_of(x.type), HALVES):
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


def _truncf(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    """To a narrower float; f64 to 16 bits through f32 rounded to odd."""
    b, x = s.b, operands[0]
    target = s.result_type(op, x)
    narrow = is_rounded(op.results[0].type, s.carriers)
    if isinstance(element_of(x.type), Float64Type) and (
        narrow or isinstance(element_of(target), HALVES)
    ):
        x = _to_f32_odd(b, x)
    elif narrow and isinstance(element_of(x.type), HALVES):
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


def _extf(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    return s.b.cast("fpext", operands[0], s.result_type(op, operands[0]))


def _index_cast(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    x = operands[0]
    target = s.result_type(op, x)
    source, wanted = element_of(x.type), element_of(target)
    assert isinstance(source, IntegerType) and isinstance(wanted, IntegerType)
    if source.width.data == wanted.width.data:
        return x
    wider = wanted.width.data > source.width.data
    return s.b.cast("sext" if wider else "trunc", x, target)


def _bitcast(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    kinds = (op.results[0].type, op.operands[0].type)
    if any(is_rounded(kind, s.carriers) for kind in kinds):
        raise no_rule(op)
    return s.b.cast("bitcast", operands[0], s.result_type(op, operands[0]))


CASTS: Mapping[type[Operation], Rule] = {
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
}
