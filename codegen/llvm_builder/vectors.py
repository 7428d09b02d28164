"""Vectors: splats, shuffles and single lanes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, i32, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_types import element_of, vector

from .inserter import Inserter, Value


class Vectors(Inserter):
    """What makes vectors and takes them apart."""

    def splat(self, scalar: SSAValue, lanes: int) -> SSAValue:
        """A scalar in every lane."""
        if lanes == 1:
            return scalar
        owner = scalar.owner
        if isinstance(owner, xllvm.ConstantOp):
            attr = owner.value
            assert isinstance(attr, FloatAttr | IntegerAttr)
            return self.constant(attr.value.data, vector(scalar.type, lanes))
        type_ = vector(scalar.type, lanes)
        zero = self.constant(0, i32)
        first = self.make("insertelement", (self.poison(type_), scalar, zero), type_)
        return self.shuffle(first, self.poison(type_), [0] * lanes)

    def shuffle(self, a: SSAValue, b: SSAValue, mask: Sequence[int]) -> SSAValue:
        """Lanes of `a` then `b` chosen by number."""
        type_ = vector(element_of(a.type), len(mask))
        properties: dict[str, Attribute] = {
            "mask": DenseArrayBase.from_list(i32, list(mask))
        }
        return self.make("shufflevector", (a, b), type_, properties)

    def extract(self, vector_: SSAValue, lane: Value) -> SSAValue:
        """One lane."""
        index = self.value(lane, i32)
        return self.make("extractelement", (vector_, index), element_of(vector_.type))

    def insert_lane(self, vector_: SSAValue, item: SSAValue, lane: Value) -> SSAValue:
        """The vector with one lane replaced."""
        index = self.value(lane, i32)
        return self.make("insertelement", (vector_, item, index), vector_.type)

    def iota(self, lanes: int, element: Attribute = i64) -> SSAValue:
        """`0, 1, 2, ...`."""
        if lanes == 1:
            return self.constant(0, element)
        return self.constants(range(lanes), element)
