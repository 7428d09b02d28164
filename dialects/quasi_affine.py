"""Quasi-affine index expressions: dim expressions in which some symbols are loop dims.

`stepwell.dialects.shapes` holds the algebra. What it cannot know is that an iteration
dim `o0` stays below its extent, which is what lets `(o1 * 64 + o0) floordiv 64` become
`o1`: the functions here take the extents of the dims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from .dims import (
    Atom,
    Dim,
    DimExpr,
    Monomial,
    bounds,
    dim_max,
    dim_min,
    product,
    symbols_of,
)

Extents: TypeAlias = Mapping[str, Dim]
"""The extent of each iteration dim by name: `0 <= dim < extent`."""

Grid: TypeAlias = np.ndarray
"""An int64 array of index values."""

INDIRECT = "at$"
"""Symbols `at$0`, `at$1`, ... stand for values read from index operands."""


def is_indirect(name: str) -> bool:
    """Whether a symbol stands for a value read from memory (it may be negative)."""
    return name.startswith(INDIRECT)


def as_symbol(expr: Dim) -> str | None:
    """The name of the symbol that `expr` is, or None."""
    if isinstance(expr, int) or len(expr.terms) != 1:
        return None
    (monomial, factor), *_ = expr.terms
    if factor != 1 or len(monomial) != 1 or monomial[0].kind is not None:
        return None
    return monomial[0].symbol


def coefficient(expr: Dim, name: str) -> tuple[Dim, Dim] | None:
    """`(c, rest)` with `expr == c * name + rest`, both free of `name`, or None."""
    if isinstance(expr, int):
        return 0, expr
    factor: Dim = 0
    rest: Dim = 0
    for monomial, value in expr.terms:
        term = _term(monomial, value)
        if name not in symbols_of(term):
            rest = rest + term
            continue
        others = tuple(atom for atom in monomial if atom.symbol != name)
        cofactor = _term(others, value)
        if len(others) != len(monomial) - 1 or name in symbols_of(cofactor):
            return None
        factor = factor + cofactor
    return factor, rest


def upper(expr: Dim, extents: Extents) -> Dim | None:
    """A bound that `expr` never exceeds, as an expression of sizes, or None."""
    return _sum_bounds(expr, extents, largest=True)


def lower(expr: Dim, extents: Extents) -> Dim | None:
    """A bound that `expr` never falls below, as an expression of sizes, or None."""
    return _sum_bounds(expr, extents, largest=False)


def is_non_negative(expr: Dim, extents: Extents) -> bool:
    """Whether `expr >= 0` is proved for all points of a non-empty space."""
    low = lower(expr, extents)
    return low is not None and _at_least(low, 0, extents)


def is_below(expr: Dim, bound: Dim, extents: Extents) -> bool:
    """Whether `expr < bound` is proved for all points of a non-empty space."""
    high = upper(expr, extents)
    return high is not None and _at_least(bound - high, 1, extents)


def is_within(expr: Dim, size: Dim, extents: Extents) -> bool:
    """Whether `0 <= expr < size` is proved for all points of a non-empty space."""
    return is_non_negative(expr, extents) and is_below(expr, size, extents)


def simplify(expr: Dim, extents: Extents) -> Dim:
    """`expr` with floordiv, mod, min and max resolved where the extents decide them."""
    if isinstance(expr, int) or all(_is_plain(m) for m, _ in expr.terms):
        return expr
    return _simplify(expr, tuple(sorted(extents.items(), key=lambda item: item[0])))


@lru_cache(maxsize=65536)
def _simplify(expr: DimExpr, items: tuple[tuple[str, Dim], ...]) -> Dim:
    extents = dict(items)
    total: Dim = 0
    for monomial, factor in expr.terms:
        total = total + factor * product(_simplify_atom(a, extents) for a in monomial)
    return total


def _simplify_atom(atom: Atom, extents: Extents) -> Dim:
    if atom.kind is None:
        return DimExpr((((atom,), 1),))
    operands = [simplify(operand, extents) for operand in atom.operands]
    if atom.kind == "floordiv":
        return floor_divide(operands[0], operands[1], extents)
    if atom.kind == "mod":
        return modulo(operands[0], operands[1], extents)
    combine = dim_min if atom.kind == "min" else dim_max
    return combine(*_without_dominated(operands, atom.kind == "min", extents))


def floor_divide(expr: Dim, by: Dim, extents: Extents) -> Dim:
    """`expr floordiv by`, simplified under the extents."""
    if by == 1:
        return expr
    quotient, rest = split_multiples(expr, by)
    if is_within(rest, by, extents):
        return quotient
    for unit in _common_units(rest, by):
        high, low = split_multiples(rest, unit)
        if is_within(low, unit, extents):
            return quotient + high // _exact(by, unit)
    return quotient + rest // by


def modulo(expr: Dim, by: Dim, extents: Extents) -> Dim:
    """`expr mod by`, simplified under the extents."""
    if by == 1:
        return 0
    _, rest = split_multiples(expr, by)
    if is_within(rest, by, extents):
        return rest
    for unit in _common_units(rest, by):
        high, low = split_multiples(rest, unit)
        if is_within(low, unit, extents):
            return high % _exact(by, unit) * unit + low
    return rest % by


def split_multiples(expr: Dim, by: Dim) -> tuple[Dim, Dim]:
    """`(quotient, rest)` with `expr == quotient * by + rest`, term by term."""
    single = _single_term(by)
    if single is None:
        return 0, expr
    by_atoms, by_factor = single
    quotient: Dim = 0
    rest: Dim = 0
    for monomial, factor in _terms(expr):
        reduced = _without(monomial, by_atoms)
        if reduced is None:
            rest = rest + _term(monomial, factor)
            continue
        whole, remainder = divmod(factor, by_factor)
        quotient = quotient + _term(reduced, whole)
        rest = rest + _term(monomial, remainder)
    return quotient, rest


def evaluate_grid(expr: Dim, values: Mapping[str, Grid | int]) -> Grid | int:
    """`expr` over arrays of index values, which broadcast against each other.

    Raises `KeyError` when a symbol has no value.
    """
    if isinstance(expr, int):
        return expr
    total: Grid | int = 0
    for monomial, factor in expr.terms:
        term: Grid | int = factor
        for atom in monomial:
            term = term * _evaluate_atom(atom, values)
        total = total + term
    return total


_OPERATORS: dict[str, Callable[..., Grid | int]] = {
    "floordiv": np.floor_divide,
    "mod": np.mod,
    "min": lambda *parts: np.minimum.reduce(np.broadcast_arrays(*parts)),
    "max": lambda *parts: np.maximum.reduce(np.broadcast_arrays(*parts)),
}


def _evaluate_atom(atom: Atom, values: Mapping[str, Grid | int]) -> Grid | int:
    if atom.kind is None:
        return values[atom.symbol]
    return _OPERATORS[atom.kind](*(evaluate_grid(o, values) for o in atom.operands))


def _terms(expr: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(expr, int):
        return (((), expr),) if expr else ()
    return expr.terms


def _term(monomial: Monomial, factor: int) -> Dim:
    if not monomial or not factor:
        return factor
    return DimExpr(((monomial, factor),))


def _single_term(expr: Dim) -> tuple[Monomial, int] | None:
    terms = _terms(expr)
    return terms[0] if len(terms) == 1 else None


def _is_plain(monomial: Monomial) -> bool:
    return all(atom.kind is None for atom in monomial)


def _without(monomial: Monomial, atoms: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in atoms:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _exact(by: Dim, unit: Dim) -> Dim:
    quotient, rest = split_multiples(by, unit)
    assert rest == 0
    return quotient


def _common_units(expr: Dim, by: Dim) -> list[Dim]:
    """Proper divisors of `by` that divide some term of `expr`, largest first."""
    single = _single_term(by)
    if single is None:
        return []
    by_atoms, by_factor = single
    units: dict[str, tuple[int, Dim]] = {}
    for monomial, factor in _terms(expr):
        shared = tuple(atom for atom in by_atoms if atom in monomial)
        unit = _term(shared, math.gcd(factor, by_factor))
        if unit not in (1, by):
            units[str(unit)] = (len(shared) * 1_000_000 + math.gcd(factor), unit)
    return [unit for _, unit in sorted(units.values(), key=lambda u: -u[0])]


def _without_dominated(
    operands: list[Dim], smallest: bool, extents: Extents
) -> list[Dim]:
    kept: list[Dim] = []
    for operand in operands:
        if any(_dominates(o, operand, smallest, extents) for o in kept):
            continue
        kept = [o for o in kept if not _dominates(operand, o, smallest, extents)]
        kept.append(operand)
    return kept


def _dominates(winner: Dim, loser: Dim, smallest: bool, extents: Extents) -> bool:
    gap = loser - winner if smallest else winner - loser
    return is_non_negative(gap, extents)


def _at_least(value: Dim, minimum: int, extents: Extents) -> bool:
    if symbols_of(value) & extents.keys():
        return False
    return bounds(value)[0] >= minimum


def _sum_bounds(expr: Dim, extents: Extents, largest: bool) -> Dim | None:
    total: Dim = 0
    for monomial, factor in _terms(expr):
        bound = _monomial_bound(monomial, extents, largest == (factor > 0))
        if bound is None:
            return None
        total = total + factor * bound
    return total


def _monomial_bound(monomial: Monomial, extents: Extents, largest: bool) -> Dim | None:
    """Bound of a product of atoms, all of which are at least 0."""
    total: Dim = 1
    for atom in monomial:
        bound = _atom_bound(atom, extents, largest)
        if bound is None or (
            len(monomial) > 1 and not _is_atom_non_negative(atom, extents)
        ):
            return None
        total = total * bound
    return total


def _is_atom_non_negative(atom: Atom, extents: Extents) -> bool:
    low = _atom_bound(atom, extents, largest=False)
    return low is not None and _at_least(low, 0, extents)


def _atom_bound(atom: Atom, extents: Extents, largest: bool) -> Dim | None:
    if atom.kind is None:
        if is_indirect(atom.symbol):
            return None
        if atom.symbol in extents:
            return extents[atom.symbol] - 1 if largest else 0
        return DimExpr((((atom,), 1),))
    if not any(_mentions(operand, extents) for operand in atom.operands):
        return DimExpr((((atom,), 1),))
    if atom.kind == "mod":
        return _mod_bound(atom, extents, largest)
    if atom.kind == "floordiv":
        return _floordiv_bound(atom, extents, largest)
    combine = dim_min if atom.kind == "min" else dim_max
    limits = [_sum_bounds(o, extents, largest) for o in atom.operands]
    known = [limit for limit in limits if limit is not None]
    if len(known) < len(limits) and largest != (atom.kind == "min"):
        return None
    return combine(*known) if known else None


def _mod_bound(atom: Atom, extents: Extents, largest: bool) -> Dim | None:
    value, by = atom.operands
    if not largest:
        return 0
    if _mentions(by, extents):
        return None
    high = upper(value, extents)
    if high is not None and is_non_negative(value, extents):
        return dim_min(high, by - 1)
    return by - 1


def _floordiv_bound(atom: Atom, extents: Extents, largest: bool) -> Dim | None:
    value, by = atom.operands
    limit = _sum_bounds(value, extents, largest)
    if limit is None or _mentions(by, extents):
        return None
    return limit // by


def _mentions(expr: Dim, extents: Extents) -> bool:
    return any(name in extents or is_indirect(name) for name in symbols_of(expr))


__all__ = [
    "INDIRECT",
    "Extents",
    "as_symbol",
    "coefficient",
    "evaluate_grid",
    "floor_divide",
    "is_below",
    "is_indirect",
    "is_non_negative",
    "is_within",
    "lower",
    "modulo",
    "simplify",
    "split_multiples",
    "upper",
]
