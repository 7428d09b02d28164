"""What is known of dims: symbols, values, divisors, equality."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

from stepwell.errors import ShapeError

from .bounds import ANY_SIZE, Ranges, bounds
from .expression import (
    FUNCTIONS,
    Atom,
    AtomKind,
    Dim,
    DimExpr,
    product,
    require_positive,
)


def symbols_of(dim: Dim) -> frozenset[str]:
    """The names of the symbols in `dim`."""
    return frozenset() if isinstance(dim, int) else dim.symbols


def evaluate(dim: Dim, bindings: Mapping[str, int]) -> int:
    """The value of `dim`.

    Raises:
        ShapeError: a symbol has no value, or a divisor is not positive.
    """
    if isinstance(dim, int):
        return dim
    try:
        return sum(
            factor * math.prod(_evaluate_atom(atom, bindings) for atom in monomial)
            for monomial, factor in dim.terms
        )
    except KeyError:
        missing = sorted(symbols_of(dim) - bindings.keys())
        raise ShapeError(
            f"expected a value for {', '.join(missing)} in {dim}"
        ) from None


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """`dim` with each symbol that is a key of `values` replaced."""
    if isinstance(dim, int) or dim.symbols.isdisjoint(values):
        return dim
    total: Dim = 0
    for monomial, factor in dim.terms:
        total = total + factor * product(
            _substitute_atom(atom, values) for atom in monomial
        )
    return total


def divisor(dim: Dim, ranges: Ranges | None = None) -> int:
    """The largest number known to divide every value of `dim` (0 divides only 0)."""
    if isinstance(dim, int):
        return abs(dim)
    known = ranges or {}
    return math.gcd(
        *(
            factor * math.prod(_atom_divisor(atom, known) for atom in monomial)
            for monomial, factor in dim.terms
        )
    )


def may_be_equal(left: Dim, right: Dim) -> bool:
    """Whether no proof says that the two dims differ."""
    if left == right:
        return True
    low, high = bounds(left - right)
    return low <= 0 <= high


_NUMBERS: dict[AtomKind, Callable[..., int]] = {
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": min,
    "max": max,
}


def _evaluate_atom(atom: Atom, bindings: Mapping[str, int]) -> int:
    if atom.kind is None:
        return bindings[atom.symbol]
    operands = [evaluate(operand, bindings) for operand in atom.operands]
    if atom.kind in ("floordiv", "mod"):
        require_positive(operands[1])
    return _NUMBERS[atom.kind](*operands)


def _substitute_atom(atom: Atom, values: Mapping[str, Dim]) -> Dim:
    if atom.kind is None:
        return values.get(atom.symbol, DimExpr((((atom,), 1),)))
    operands = [substitute(operand, values) for operand in atom.operands]
    return FUNCTIONS[atom.kind](*operands)


def _atom_divisor(atom: Atom, ranges: Ranges) -> int:
    if atom.kind is None:
        return ranges.get(atom.symbol, ANY_SIZE).divisor
    known = [divisor(operand, ranges) for operand in atom.operands]
    if atom.kind != "floordiv":
        return math.gcd(*known)
    by = atom.operands[1]
    return known[0] // by if isinstance(by, int) and known[0] % by == 0 else 1
