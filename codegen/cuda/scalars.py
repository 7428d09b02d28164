"""Scalar bodies on a GPU: the shared rules, and the instructions a GPU has for some.

Approximate instructions are taken where their error is below 1e-6: `ex2.approx` and
`rsqrt.approx` (PTX ISA, "Floating point instructions"). Functions are written in place:
LLVM's inliner need not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import f32, f64
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import element_of, lanes_of, vector
from stepwell.codegen.math import MATH_FUNCTIONS, MathLibrary
from stepwell.codegen.math.exponential import LOG2_E, log
from stepwell.codegen.math.trigonometric import erf_f32
from stepwell.codegen.math.vectors import V
from stepwell.codegen.scalars import bodies
from stepwell.codegen.scalars.rules import Context, Rule
from stepwell.errors import CompileError

from .registers import CARRIERS

LOG_2, LOG10_2 = 1.4426950408889634, 0.4342944819032518


class Scalars(bodies.Scalars):
    """The rules of bodies on a GPU."""

    def __init__(self, b: Builder) -> None:
        super().__init__(b, MathLibrary(), CARRIERS)

    @property
    def rules(self) -> Mapping[type[Operation], Rule]:
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


def _tanh(x: V) -> V:
    """Within 3 ulp: `x P(x^2)` for |x| <= 0.55, else `1 - 2 / (1 + e^(2 |x|))`.

    Source of P: N. Juffa, as `tanhf` in https://stackoverflow.com/a/43024105.
    """
    size, square = x.abs(), x * x
    far = (1.0 - 2.0 / (_exp2(size * (2 * LOG2_E)) + 1.0)).with_sign_of(x)
    near = square.polynomial(
        (1.57296831e-2, -5.23029624e-2, 1.33152977e-1, -3.33327681e-1)
    )
    near = (near * square).fma(x, x)
    return far.where(size.compare("ogt", 0.55), near)


_F32: Mapping[str, Callable[..., V]] = {
    "math.exp": _exp,
    "math.exp2": _exp2,
    "math.log2": _log2,
    "math.log10": _log10,
    "math.tanh": _tanh,
    "math.erf": lambda x: erf_f32(x, _exp),
}
"""Functions of f32 that a GPU computes otherwise than a CPU."""


def _rsqrt(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    """`rsqrt.approx`, relative error 2^-22.9; halves through f32."""
    b, x = s.b, operands[0]
    if element_of(x.type) == f64:
        return bodies.RULES[math.RsqrtOp](s, op, operands)
    wide = b.cast("fpext", x, vector(f32, lanes_of(x.type)))
    result = _by_lane(b, "llvm.nvvm.rsqrt.approx.f", (wide,))
    return b.cast("fptrunc", result, x.type)


_ROUNDING = (
    *(math.RoundEvenOp, math.RoundOp, math.FloorOp, math.CeilOp, math.TruncOp),
    *(arith.FPToSIOp, arith.FPToUIOp),
)


def _divide(s: Context, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
    """A quotient within 2 ulp, but correctly rounded where a whole number is made of
    it: 2 ulp would be a whole step, as of a quantization."""
    users = [use.operation for use in op.results[0].uses]
    if op.results[0].type == f32 and any(isinstance(one, _ROUNDING) for one in users):
        return _by_lane(s.b, "llvm.nvvm.div.rn.f", operands)
    return bodies.RULES[arith.DivfOp](s, op, operands)


def _by_lane(b: Builder, name: str, operands: Sequence[SSAValue]) -> SSAValue:
    """An intrinsic of f32 on each lane of vectors."""
    kind = operands[0].type
    lanes = lanes_of(kind)
    if lanes == 1:
        return b.intrinsic(name, tuple(operands), f32)
    result = b.poison(kind)
    for lane in range(lanes):
        parts = tuple(b.extract(one, lane) for one in operands)
        result = b.insert_lane(result, b.intrinsic(name, parts, f32), lane)
    return result


RULES: Mapping[type[Operation], Rule] = {
    **bodies.RULES,
    arith.DivfOp: _divide,
    math.RsqrtOp: _rsqrt,
}
"""The rule of each op of a body."""
