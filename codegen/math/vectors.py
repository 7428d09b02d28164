"""Arithmetic on vectors of floats, written as formulas.

`V` wraps a value and its builder, so that a polynomial reads like the paper it comes
from. All operations may contract into fused multiply-adds; none may do anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType, f32, f64, i32, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_builder import CONTRACT, Builder
from stepwell.codegen.llvm_text import is_float, type_suffix
from stepwell.codegen.llvm_types import element_of, lanes_of, vector


@dataclass(frozen=True, eq=False)
class V:
    """A vector (or scalar) of floats, integers or booleans under construction."""

    b: Builder
    value: SSAValue

    @property
    def type(self) -> Attribute:
        """Its type."""
        return self.value.type

    @property
    def lanes(self) -> int:
        """Its lanes."""
        return lanes_of(self.type)

    def like(self, number: float) -> V:
        """A constant of the same type."""
        return V(self.b, self.b.constant(number, self.type))

    def _of(self, other: V | float) -> SSAValue:
        return other.value if isinstance(other, V) else self.like(other).value

    def _binary(self, float_op: str, int_op: str, other: V | float, swap: bool) -> V:
        left, right = self.value, self._of(other)
        if swap:
            left, right = right, left
        if is_float(self.type):
            return V(self.b, self.b.binary(float_op, left, right, CONTRACT))
        return V(self.b, self.b.binary(int_op, left, right))

    def __add__(self, other: V | float) -> V:
        return self._binary("fadd", "add", other, False)

    def __radd__(self, other: float) -> V:
        return self._binary("fadd", "add", other, True)

    def __sub__(self, other: V | float) -> V:
        return self._binary("fsub", "sub", other, False)

    def __rsub__(self, other: float) -> V:
        return self._binary("fsub", "sub", other, True)

    def __mul__(self, other: V | float) -> V:
        return self._binary("fmul", "mul", other, False)

    def __rmul__(self, other: float) -> V:
        return self._binary("fmul", "mul", other, True)

    def __truediv__(self, other: V | float) -> V:
        return V(self.b, self.b.binary("fdiv", self.value, self._of(other)))

    def __rtruediv__(self, other: float) -> V:
        return V(self.b, self.b.binary("fdiv", self._of(other), self.value))

    def __neg__(self) -> V:
        return V(self.b, self.b.fneg(self.value))

    def __and__(self, other: V | int) -> V:
        return V(self.b, self.b.binary("and", self.value, self._of(other)))

    def __or__(self, other: V | int) -> V:
        return V(self.b, self.b.binary("or", self.value, self._of(other)))

    def __xor__(self, other: V | int) -> V:
        return V(self.b, self.b.binary("xor", self.value, self._of(other)))

    def __lshift__(self, count: int) -> V:
        return V(self.b, self.b.binary("shl", self.value, self._of(count)))

    def __rshift__(self, count: int) -> V:
        """Keeps the sign."""
        return V(self.b, self.b.binary("ashr", self.value, self._of(count)))

    def fma(self, factor: V | float, term: V | float) -> V:
        """`self * factor + term`, rounded once."""
        return V(self.b, self.b.fma(self.value, self._of(factor), self._of(term)))

    def compare(self, predicate: str, other: V | float) -> V:
        """Lane-wise comparison: an LLVM predicate such as `olt` or `slt`."""
        compare = self.b.fcmp if is_float(self.type) else self.b.icmp
        return V(self.b, compare(predicate, self.value, self._of(other)))

    def where(self, condition: V, other: V | float) -> V:
        """`self` where the condition holds, else `other`."""
        chosen = self.b.select(condition.value, self.value, self._of(other))
        return V(self.b, chosen)

    def at_most(self, limit: float) -> V:
        """`min(self, limit)` that keeps NaN."""
        return self.like(limit).where(self.compare("ogt", limit), self)

    def at_least(self, limit: float) -> V:
        """`max(self, limit)` that keeps NaN."""
        return self.like(limit).where(self.compare("olt", limit), self)

    def intrinsic(self, name: str, *others: V) -> V:
        """`llvm.<name>` of this type."""
        full = f"llvm.{name}.{type_suffix(self.type)}"
        args = [self.value, *(o.value for o in others)]
        return V(self.b, self.b.intrinsic(full, args, self.type))

    def abs(self) -> V:
        """The magnitude."""
        return self.intrinsic("fabs")

    def sqrt(self) -> V:
        """The square root, correctly rounded."""
        return self.intrinsic("sqrt")

    def with_sign_of(self, other: V) -> V:
        """The magnitude of this with the sign of `other`."""
        return self.intrinsic("copysign", other)

    def is_nan(self) -> V:
        """Where it is NaN."""
        return self.compare("uno", self)

    def bits(self) -> V:
        """The bits as an integer."""
        wide = element_of(self.type) == f64
        return self._cast("bitcast", i64 if wide else i32)

    def as_float(self) -> V:
        """Bits as a float."""
        element = element_of(self.type)
        assert isinstance(element, IntegerType)
        return self._cast("bitcast", f64 if element.width.data == 64 else f32)

    def to_f64(self) -> V:
        """f32 as f64."""
        return self._cast("fpext", f64)

    def to_f32(self) -> V:
        """f64 rounded to f32."""
        return self._cast("fptrunc", f32)

    def to_float(self) -> V:
        """A small integer as a float of the same width."""
        element = element_of(self.type)
        assert isinstance(element, IntegerType)
        return self._cast("sitofp", f64 if element.width.data == 64 else f32)

    def _cast(self, name: str, element: Attribute) -> V:
        return V(self.b, self.b.cast(name, self.value, vector(element, self.lanes)))

    def polynomial(self, coefficients: Sequence[float]) -> V:
        """Horner's rule; the coefficient of the highest power first."""
        total = self.like(coefficients[0])
        for c in coefficients[1:]:
            total = total.fma(self, c)
        return total
