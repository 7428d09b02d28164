"""Symbolic sizes of PyTorch (`SymInt`, SymPy inside) as dims.

A symbol of an input takes the name that the user gave its `torch.export.Dim`, else
input and axis (`x_0`). The ranges are those of the exported program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import sympy
import torch

from stepwell.dialects import nn
from stepwell.dialects.shapes import (
    Dim,
    DimRange,
    bounds,
    ceildiv,
    dim_max,
    dim_min,
    product,
)
from stepwell.errors import UnsupportedError
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.inputs import sanitise

EXACT_DENOMINATOR = 1 << 20
"""Powers of two up to which a float factor of a size is read as a fraction."""


@dataclass(frozen=True)
class Relation:
    """A comparison of sizes that their ranges do not decide: `left predicate right`."""

    predicate: str
    left: Dim
    right: Dim

    def __str__(self) -> str:
        return f"{self.left} {self.predicate} {self.right}"

    def expect(self, message: str) -> None:
        """Check it once per new shape, where the builder stands."""
        left, right, predicate = self.left, self.right, self.predicate
        if predicate in ("gt", "ge"):
            left, right, predicate = right, left, _TURNED[predicate]
        if predicate == "ne":
            left, right = dim_min(left, right), dim_max(left, right)
            predicate = "lt"
        nn.AssertDimsOp(
            left=[left], right=[right], predicate=predicate, message=message
        )


class Symbols:
    """The symbols of one program.

    `ranges` are those of the exported program, by SymPy's name of the symbol.
    """

    def __init__(self, builder: GraphBuilder, ranges: Mapping[str, Any]) -> None:
        self.builder = builder
        self.ranges = ranges
        self._dims: dict[str, Dim] = {}
        self._known: dict[Any, Dim] = {}

    def is_known(self, symbol: sympy.Symbol) -> bool:
        """Whether the symbol has a name and a value."""
        return symbol.name in self._dims

    def define(
        self, symbol: sympy.Symbol, name: str, wanted: int | DimRange | None = None
    ) -> Dim:
        """Give a symbol its name, and the number or range that a profile wants."""
        if isinstance(wanted, int):
            self._dims[symbol.name] = wanted
            return wanted
        stem = sanitise(name)
        dim = self.builder.symbol(
            self.builder.fresh_name(stem), wanted or self.range_of(symbol)
        )
        self._dims[symbol.name] = dim
        return dim

    def define_derived(self, expression: Any, name: str) -> bool:
        """Give a size `a * s + b` a name of its own, and `s` its value from it.

        Only a bare symbol can be read from the shape of an input, and the program may
        have no input whose size is `s` itself. Returns whether the size is such a one.
        """
        unknown = [each for each in expression.free_symbols if not self.is_known(each)]
        if len(unknown) != 1:
            return False
        factor = expression.coeff(unknown[0])
        offset = sympy.expand(expression - factor * unknown[0])
        if not (factor.is_Integer and int(factor) > 0 and offset.is_Integer):
            return False
        known, step, shift = self.range_of(unknown[0]), int(factor), int(offset)
        high = None if known.max is None else step * known.max + shift
        divisor = step if shift % step == 0 else 1
        span = DimRange(step * known.min + shift, high, divisor=divisor)
        dim = self.builder.symbol(self.builder.fresh_name(sanitise(name)), span)
        self._known[expression] = dim
        self._dims[unknown[0].name] = (dim - shift) // step
        return True

    def range_of(self, symbol: sympy.Symbol) -> DimRange:
        """What the program states of a symbol.

        PyTorch writes 2 for a lower bound that nobody gave, because it treats sizes of
        0 and 1 as special while it traces; its own programs run at 1, and so do ours.
        """
        stated = self.ranges.get(symbol.name)
        if stated is None:
            return DimRange(min=0)
        low, high = stated.lower, stated.upper
        least = max(int(low), 0) if low.is_Integer else 0
        return DimRange(
            1 if least == 2 else least,
            int(high) if high.is_Integer and int(high) < 1 << 62 else None,
        )

    def dims(self, shape: Any) -> tuple[Dim, ...]:
        """The dims of a torch shape."""
        return tuple([each if type(each) is int else self.dim(each) for each in shape])

    def dim(self, value: Any) -> Dim:
        """An `int` or `SymInt` as a dim.

        Raises:
            UnsupportedError: the expression is not one of sizes.
        """
        return value if isinstance(value, int) else self.dim_of(value.node.expr)

    def dim_of(self, expression: Any) -> Dim:
        """A SymPy expression as a dim."""
        found = self._known.get(expression)
        if found is None:
            found = self._known[expression] = self._convert(expression)
        return found

    def number(self, value: Any) -> Dim | float | bool | Relation:
        """A symbolic or plain number: sizes as dims, what is constant as it is.

        Raises:
            UnsupportedError: a fraction of sizes, or a condition but a comparison.
        """
        if isinstance(value, torch.SymInt):
            return self.dim(value)
        if isinstance(value, torch.SymBool):
            return self.truth(value.node.expr)
        if isinstance(value, torch.SymFloat):
            if value.node.expr.is_number:
                return float(value.node.expr)
            raise UnsupportedError(f"a fraction of sizes: {value.node.expr}")
        return value

    def truth(self, expression: Any) -> bool | Relation:
        """A comparison of sizes, decided if their ranges decide it."""
        if expression in (sympy.true, sympy.false):
            return bool(expression)
        predicate = _PREDICATES.get(type(expression).__name__)
        if predicate is None:
            raise UnsupportedError(f"a condition on sizes: {expression}")
        left, right = map(self.dim_of, expression.args)
        low, high = bounds(left - right, self.builder.ranges)
        is_true, is_false = {
            "lt": (high < 0, low >= 0),
            "le": (high <= 0, low > 0),
            "gt": (low > 0, high <= 0),
            "ge": (low >= 0, high < 0),
            "eq": (low == high == 0, low > 0 or high < 0),
            "ne": (low > 0 or high < 0, low == high == 0),
        }[predicate]
        if is_true or is_false:
            return is_true
        return Relation(predicate, left, right)

    def _convert(self, expression: Any) -> Dim:
        if expression.is_Integer:
            return int(expression)
        if expression.is_Symbol:
            if expression.name not in self._dims:
                raise UnsupportedError(f"a size that nothing gives: {expression}")
            return self._dims[expression.name]
        name = type(expression).__name__
        if name in _ROUNDINGS:
            above, below = self._fraction(expression.args[0])
            return _ROUNDINGS[name](above, below)
        if (combine := _FUNCTIONS.get(name)) is None:
            raise UnsupportedError(f"a size computed by {name}: {expression}")
        return combine(*map(self.dim_of, expression.args))

    def _fraction(self, expression: Any) -> tuple[Dim, int]:
        """An expression of floats as a dim over a positive number."""
        if expression.is_Integer:
            return int(expression), 1
        if expression.is_Float or expression.is_Rational:
            exact = Fraction(float(expression))
            if exact.denominator <= EXACT_DENOMINATOR:
                return exact.numerator, exact.denominator
            raise UnsupportedError(f"a size scaled by {float(expression)}")
        match type(expression).__name__:
            case "ToFloat":
                return self.dim_of(expression.args[0]), 1
            case "Mul":
                parts = [self._fraction(each) for each in expression.args]
                return product(part[0] for part in parts), prod(p[1] for p in parts)
            case "FloatTrueDiv" | "IntTrueDiv":
                top, bottom = map(self._fraction, expression.args)
                if isinstance(bottom[0], int) and bottom[0] > 0:
                    return top[0] * bottom[1], top[1] * bottom[0]
            case _:
                pass
        if type(expression).__name__ in (*_FUNCTIONS, "Symbol"):
            return self.dim_of(expression), 1
        raise UnsupportedError(f"a size computed with fractions: {expression}")


def _power(base: Dim, exponent: Dim) -> Dim:
    if not isinstance(exponent, int) or exponent < 1:
        raise UnsupportedError(f"a size to the power of {exponent}")
    return product([base] * exponent)


_FUNCTIONS: dict[str, Callable[..., Dim]] = {
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *factors: product(factors),
    "Pow": _power,
    "PowByNatural": _power,
    "FloorDiv": lambda top, bottom: top // bottom,
    "CleanDiv": lambda top, bottom: top // bottom,
    "CeilDiv": ceildiv,
    "Mod": lambda top, bottom: top % bottom,
    "PythonMod": lambda top, bottom: top % bottom,
    "Max": dim_max,
    "Min": dim_min,
    "Identity": lambda dim: dim,
}
_PREDICATES = {
    "StrictLessThan": "lt",
    "LessThan": "le",
    "StrictGreaterThan": "gt",
    "GreaterThan": "ge",
    "Equality": "eq",
    "Unequality": "ne",
}
"""SymPy's classes of relations."""
_TURNED = {"gt": "lt", "ge": "le"}

_ROUNDINGS: dict[str, Callable[[Dim, int], Dim]] = {
    "FloorToInt": lambda top, bottom: top // bottom,
    "TruncToInt": lambda top, bottom: top // bottom,
    "CeilToInt": ceildiv,
}
