"""What a rule is, and what all kinds of rules use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.dialects.builtin import BFloat16Type, Float16Type, f32
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import element_of, lanes_of, vector
from stepwell.codegen.math import MathLibrary
from stepwell.errors import CompileError

from .elements import CPU, Carriers, carrier_type


@dataclass
class Context:
    """What the rules need: a builder, the math library, the device's carriers."""

    b: Builder
    library: MathLibrary
    carriers: Carriers = CPU

    def function(self, name: str, operands: Sequence[SSAValue]) -> SSAValue:
        """A function of the math library, e.g. "math.exp", of f32 or f64."""
        return self.library.call(self.b, name, operands)

    def result_type(self, op: Operation, like: SSAValue) -> Attribute:
        """The type that carries an op's result, of as many lanes as `like`."""
        carrier = carrier_type(op.results[0].type, self.carriers)
        return vector(carrier, lanes_of(like.type))


Rule: TypeAlias = Callable[[Context, Operation, Sequence[SSAValue]], SSAValue]
"""What an op on pieces becomes, given the pieces of its operands."""

HALVES = (Float16Type, BFloat16Type)


def no_rule(op: Operation) -> CompileError:
    """What to raise for an op that has no row."""
    return CompileError(
        f"expected a scalar op with a rule, got {op.name}",
        where=str(op.location),
        fix="add a row to a table in codegen/scalars",
    )


def through_f32(rule: Rule) -> Rule:
    """Half precision computed in f32 and rounded once."""

    def wrapped(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        type_ = operands[0].type
        if not isinstance(element_of(type_), HALVES):
            return rule(s, op, operands)
        wide = vector(f32, lanes_of(type_))
        widened = [s.b.cast("fpext", v, wide) for v in operands]
        return s.b.cast("fptrunc", rule(s, op, widened), type_)

    return wrapped
