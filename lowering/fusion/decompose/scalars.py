"""Scalar code: a builder for the bodies of structured ops.

A `Scalar` knows the element type it stands for, so that `a / b` picks `divf`, `divsi`
or `divui`. Storage narrower than f32 is computed in f32: `widen` extends it, `narrow`
rounds once at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects.dims import Dim
from stepwell.dialects.dtypes import (
    bit_width,
    f32,
    f64,
    i1,
    is_bool,
    is_float,
    is_unsigned,
)
from stepwell.dialects.fusion import DimOp, IndexOp
from stepwell.dialects.fusion.structured import storage_type

FLOAT_PREDICATES = {
    "eq": "oeq",
    "ne": "une",
    "lt": "olt",
    "le": "ole",
    "gt": "ogt",
    "ge": "oge",
}


Binary: TypeAlias = Callable[[SSAValue, SSAValue], Operation]
"""The class of an op of two scalars."""


@dataclass(frozen=True)
class Scalar:
    """A value of a body, and the element type it stands for (`ui8` is held in `i8`)."""

    value: SSAValue
    element: Attribute


class Scalars:
    """Appends scalar ops to the body of a structured op."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._constants: dict[tuple[str, Attribute], Scalar] = {}

    def emit(self, op: Operation, element: Attribute) -> Scalar:
        """Append an op with one result."""
        self.block.add_op(op)
        return Scalar(op.results[0], element)

    def constant(self, number: float, element: Attribute) -> Scalar:
        """A number of an element type; equal ones are one op."""
        key = (repr(number), element)
        if key not in self._constants:
            storage = storage_type(element)
            if isinstance(storage, AnyFloat):
                value: Attribute = FloatAttr(float(number), storage)
            else:
                assert isinstance(storage, IntegerType | IndexType)
                value = IntegerAttr(_wrap(int(number), storage), storage)
            self._constants[key] = self.emit(arith.ConstantOp(value), element)
        return self._constants[key]

    def like(self, number: float, scalar: Scalar) -> Scalar:
        """A number of the scalar's element type."""
        return self.constant(number, scalar.element)

    def index(self, expr: Dim, element: Attribute) -> Scalar:
        """An expression of the iteration dims as a number of `element`."""
        op = DimOp(expr) if isinstance(expr, int) else IndexOp(expr)
        return self._from_index(self.emit(op, IndexType()), element)

    def dim(self, expr: Dim, element: Attribute) -> Scalar:
        """An expression of sizes as a number of `element`."""
        if isinstance(expr, int):
            return self.constant(expr, element)
        return self._from_index(self.emit(DimOp(expr), IndexType()), element)

    def widen(self, x: Scalar) -> Scalar:
        """Floats narrower than f32 as f32; anything else as it is."""
        if is_float(x.element) and bit_width(x.element) < 32:
            return self.emit(arith.ExtFOp(x.value, f32), f32)
        return x

    def cast(self, x: Scalar, element: Attribute) -> Scalar:
        """ONNX Cast: floats round to even, to integers truncate; bool is `x != 0`."""
        if x.element == element:
            return x
        if is_bool(element):
            return self.compare("ne", x, self.like(0, x))
        source, target = is_float(x.element), is_float(element)
        if source and target:
            return self._float_to_float(x, element)
        if source:
            return self._float_to_integer(x, element)
        if target:
            return self._integer_to_float(x, element)
        return self._resize_integer(x, element)

    def add(self, a: Scalar, b: Scalar) -> Scalar:
        """`a + b`; on i1 their or."""
        if is_bool(a.element):
            return self.bit_or(a, b)
        kind = arith.AddfOp if is_float(a.element) else arith.AddiOp
        return self.emit(kind(a.value, b.value), a.element)

    def sub(self, a: Scalar, b: Scalar) -> Scalar:
        """`a - b`."""
        kind = arith.SubfOp if is_float(a.element) else arith.SubiOp
        return self.emit(kind(a.value, b.value), a.element)

    def mul(self, a: Scalar, b: Scalar) -> Scalar:
        """`a * b`; on i1 their and."""
        if is_bool(a.element):
            return self.bit_and(a, b)
        kind = arith.MulfOp if is_float(a.element) else arith.MuliOp
        return self.emit(kind(a.value, b.value), a.element)

    def div(self, a: Scalar, b: Scalar) -> Scalar:
        """`a / b`; integers truncate toward 0."""
        return self.emit(self._by_type(a, *_DIV)(a.value, b.value), a.element)

    def rem(self, a: Scalar, b: Scalar) -> Scalar:
        """The integer remainder with the sign of `a`."""
        return self.emit(self._by_type(a, *_REM)(a.value, b.value), a.element)

    def maximum(self, a: Scalar, b: Scalar) -> Scalar:
        """The larger one; NaN if either is."""
        return self.emit(self._by_type(a, *_MAX)(a.value, b.value), a.element)

    def minimum(self, a: Scalar, b: Scalar) -> Scalar:
        """The smaller one; NaN if either is."""
        return self.emit(self._by_type(a, *_MIN)(a.value, b.value), a.element)

    def neg(self, x: Scalar) -> Scalar:
        """`-x`."""
        if is_float(x.element):
            return self.emit(arith.NegfOp(x.value), x.element)
        return self.sub(self.like(0, x), x)

    def bit_and(self, a: Scalar, b: Scalar) -> Scalar:
        """Bitwise and."""
        return self.emit(arith.AndIOp(a.value, b.value), a.element)

    def bit_or(self, a: Scalar, b: Scalar) -> Scalar:
        """Bitwise or."""
        return self.emit(arith.OrIOp(a.value, b.value), a.element)

    def bit_xor(self, a: Scalar, b: Scalar) -> Scalar:
        """Bitwise exclusive or."""
        return self.emit(arith.XOrIOp(a.value, b.value), a.element)

    def bit_not(self, x: Scalar) -> Scalar:
        """Bitwise not; on i1 logical."""
        return self.bit_xor(x, self.like(1 if is_bool(x.element) else -1, x))

    def compare(self, predicate: str, a: Scalar, b: Scalar) -> Scalar:
        """`a <predicate> b` as i1, with a predicate of eq, ne, lt, le, gt, ge."""
        if is_float(a.element):
            name = FLOAT_PREDICATES[predicate]
            return self.emit(arith.CmpfOp(a.value, b.value, name), i1)
        if predicate not in ("eq", "ne"):
            unsigned = is_unsigned(a.element) or is_bool(a.element)
            predicate = f"{'u' if unsigned else 's'}{predicate}"
        return self.emit(arith.CmpiOp(a.value, b.value, predicate), i1)

    def is_nan(self, x: Scalar) -> Scalar:
        """Whether a float is NaN."""
        return self.emit(arith.CmpfOp(x.value, x.value, "uno"), i1)

    def select(self, condition: Scalar, a: Scalar, b: Scalar) -> Scalar:
        """`a if condition else b`."""
        op = arith.SelectOp(condition.value, a.value, b.value)
        return self.emit(op, a.element)

    def math(self, kind: type[Operation], *operands: Scalar) -> Scalar:
        """An op of the `math` dialect on floats."""
        values = [operand.value for operand in operands]
        return self.emit(kind(*values), operands[0].element)

    def abs(self, x: Scalar) -> Scalar:
        """`|x|`."""
        if is_unsigned(x.element) or is_bool(x.element):
            return x
        kind = math.AbsFOp if is_float(x.element) else math.AbsIOp
        return self.emit(kind(x.value), x.element)

    def _by_type(
        self, x: Scalar, on_float: Binary, on_signed: Binary, on_unsigned: Binary
    ) -> Binary:
        if is_float(x.element):
            return on_float
        unsigned = is_unsigned(x.element) or is_bool(x.element)
        return on_unsigned if unsigned else on_signed

    def _from_index(self, x: Scalar, element: Attribute) -> Scalar:
        if isinstance(element, IndexType):
            return x
        wide = IntegerType(64)
        number = self.emit(arith.IndexCastOp(x.value, wide), wide)
        return self.cast(number, element)

    def _float_to_float(self, x: Scalar, element: Attribute) -> Scalar:
        before, after = bit_width(x.element), bit_width(element)
        if before == after or (before < 32 and after < 32):
            wide = self.emit(arith.ExtFOp(x.value, f32), f32)
            return self.emit(arith.TruncFOp(wide.value, element), element)
        kind = arith.ExtFOp if after > before else arith.TruncFOp
        return self.emit(kind(x.value, element), element)

    def _float_to_integer(self, x: Scalar, element: Attribute) -> Scalar:
        wide = self.widen(x)
        kind = arith.FPToUIOp if is_unsigned(element) else arith.FPToSIOp
        return self.emit(kind(wide.value, _integer(element)), element)

    def _integer_to_float(self, x: Scalar, element: Attribute) -> Scalar:
        unsigned = is_unsigned(x.element) or is_bool(x.element)
        kind = arith.UIToFPOp if unsigned else arith.SIToFPOp
        wide = f64 if element == f64 else f32
        number = self.emit(kind(x.value, wide), wide)
        return self.cast(number, element)

    def _resize_integer(self, x: Scalar, element: Attribute) -> Scalar:
        storage = _integer(element)
        before, after = bit_width(x.element), bit_width(element)
        if before == after:
            return Scalar(x.value, element)
        if after < before:
            return self.emit(arith.TruncIOp(x.value, storage), element)
        unsigned = is_unsigned(x.element) or is_bool(x.element)
        kind = arith.ExtUIOp if unsigned else arith.ExtSIOp
        return self.emit(kind(x.value, storage), element)


_DIV = (arith.DivfOp, arith.DivSIOp, arith.DivUIOp)
_REM = (arith.DivfOp, arith.RemSIOp, arith.RemUIOp)
_MAX = (arith.MaximumfOp, arith.MaxSIOp, arith.MaxUIOp)
_MIN = (arith.MinimumfOp, arith.MinSIOp, arith.MinUIOp)


def _integer(element: Attribute) -> IntegerType:
    """The storage type of an integer element."""
    storage = storage_type(element)
    assert isinstance(storage, IntegerType)
    return storage


def _wrap(number: int, storage: Attribute) -> int:
    """`number` as the signed value with the same bits."""
    if isinstance(storage, IndexType) or storage == i1:
        return number
    width = bit_width(storage)
    return (number + (1 << (width - 1))) % (1 << width) - (1 << (width - 1))
