"""Scalar bodies on a GPU: the shared rules, and the instructions a GPU has for some.

Approximate instructions are taken where their error is below 1e-6: `ex2.approx` and
`rsqrt.approx` (PTX ISA, "Floating point instructions"). Functions are written in place:
LLVM's inliner need not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.dialects import math
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import (
    Builder,
    element_of,
    f32,
    f64,
    lanes_of,
    vector,
)
from stepwell.codegen.math import MATH_FUNCTIONS, MathLibrary
from stepwell.codegen.math.exponential import LOG2_E, log
from stepwell.codegen.math.vectors import V
from stepwell.codegen.scalars import bodies
from stepwell.errors import CompileError

from .registers import CARRIERS

LOG_2, LOG10_2 = 1.4426950408889634, 0.4342944819032518


class Scalars(bodies.Scalars):
    """The rules of bodies on a GPU."""

    def __init__(self, b: Builder) -> None:
        super().__init__(b, MathLibrary(), CARRIERS)

    @property
    def rules(self) -> Mapping[type[Operation], bodies.Rule]:
        """The rule of each op."""
        return RULES

    def function(self, name: str, operands: Sequence[SSAValue]) -> SSAValue:
        """A function of f32 or f64, written in place.

        Raises:
            CompileError: there is none for the type.
        """
        element = element_of(operands[0].type)
        table = _F32 if element == f32 else {}
        made = table.get(name) or MATH_FUNCTIONS[name]
        if name == "math.erf" and element == f64:
            raise CompileError("no translation to a GPU for erf of f64")
        return made(*(V(self.b, v) for v in operands)).value


def _exp(x: V) -> V:
    return _exp2(x * LOG2_E)


def _exp2(x: V) -> V:
    return x.intrinsic("exp2")


def _log2(x: V) -> V:
    return log(x) * LOG_2


def _log10(x: V) -> V:
    return log(x) * LOG10_2


_F32: Mapping[str, Callable[..., V]] = {
    "math.exp": _exp,
    "math.exp2": _exp2,
    "math.log2": _log2,
    "math.log10": _log10,
}
"""Functions of f32 that a GPU computes otherwise than a CPU."""


def _rsqrt(s: bodies.Scalars, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    """`rsqrt.approx`, relative error 2^-22.9; halves through f32."""
    b, x = s.b, operands[0]
    lanes = lanes_of(x.type)
    if element_of(x.type) == f64:
        return bodies.RULES[math.RsqrtOp](s, op, operands)
    wide = b.cast("fpext", x, vector(f32, lanes))
    name = "llvm.nvvm.rsqrt.approx.f"
    if lanes == 1:
        result = b.intrinsic(name, (wide,), f32)
    else:
        result = b.poison(wide.type)
        for lane in range(lanes):
            one = b.intrinsic(name, (b.extract(wide, lane),), f32)
            result = b.insert_lane(result, one, lane)
    return b.cast("fptrunc", result, x.type)


RULES: Mapping[type[Operation], bodies.Rule] = {
    **bodies.RULES,
    math.RsqrtOp: _rsqrt,
}
"""The rule of each op of a body."""
