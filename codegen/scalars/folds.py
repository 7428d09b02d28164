"""The monoids of reductions, scans and accumulating stores, on vectors.

Sums and products of narrow floats are held in f32 until the end.
"""

from __future__ import annotations

from math import inf

from xdsl.dialects.builtin import BFloat16Type, Float16Type, IntegerType, f32, i1
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_builder import CONTRACT, Builder
from stepwell.codegen.llvm_text import is_float, type_suffix
from stepwell.codegen.llvm_types import element_of, lanes_of, vector

from .elements import CPU, Carriers, carrier_type, is_rounded, round_to_element
from .floats import float_extremum


class Fold:
    """One monoid on one carrier type."""

    def __init__(
        self, b: Builder, kind: str, element: Attribute, on: Carriers = CPU
    ) -> None:
        self.b = b
        self.kind = kind
        self.element = element
        self.on = on
        self.carrier = carrier_type(element, on)
        half = isinstance(self.carrier, Float16Type | BFloat16Type)
        narrow = half and kind in ("add", "mul")
        self.type = f32 if narrow else self.carrier

    def widen(self, value: SSAValue) -> SSAValue:
        """An input piece in the type that is folded."""
        lanes_type = _with_element(value.type, self.type)
        return self.b.cast("fpext", value, lanes_type)

    def narrow(self, value: SSAValue) -> SSAValue:
        """A folded piece in the element's carrier."""
        if is_rounded(self.element, self.on):
            return round_to_element(self.b, value, self.element)
        return self.b.cast("fptrunc", value, _with_element(value.type, self.carrier))

    def identity(self, lanes: int) -> SSAValue:
        """What leaves every other value as it is."""
        return self.b.constant(self._identity(), vector(self.type, lanes))

    def _identity(self) -> float:
        if self.kind in ("add", "or"):
            return 0
        if self.kind == "mul":
            return 1
        if self.kind == "and":
            return -1
        if is_float(self.type):
            return -inf if self.kind == "max" else inf
        assert isinstance(self.type, IntegerType)
        width = self.type.width.data
        if width == 1:
            return int(self.kind == "min")
        return -(1 << (width - 1)) if self.kind == "max" else (1 << (width - 1)) - 1

    def combine(self, a: SSAValue, c: SSAValue) -> SSAValue:
        """`a` and `c` folded, lane by lane."""
        b = self.b
        if is_float(self.type):
            if self.kind in ("max", "min"):
                return float_extremum(b, self.kind, a, c, self.on)
            return b.binary("fadd" if self.kind == "add" else "fmul", a, c, CONTRACT)
        if element_of(self.type) == i1:
            word = {"add": "or", "max": "or", "mul": "and", "min": "and"}
            return b.binary(word.get(self.kind, self.kind), a, c)
        if self.kind in ("max", "min"):
            name = f"llvm.s{self.kind}.{type_suffix(a.type)}"
            return b.intrinsic(name, (a, c), a.type)
        return b.binary(self.kind, a, c)

    def lanes(self, value: SSAValue, lanes: int) -> SSAValue:
        """All lanes folded into a scalar, halves onto halves."""
        b = self.b
        while lanes > 2:
            lanes //= 2
            poison = b.poison(value.type)
            low = b.shuffle(value, poison, range(lanes))
            high = b.shuffle(value, poison, range(lanes, 2 * lanes))
            value = self.combine(low, high)
        if lanes == 2:
            value = self.combine(b.extract(value, 0), b.extract(value, 1))
        return value


def _with_element(like: Attribute, element: Attribute) -> Attribute:
    return vector(element, lanes_of(like))
