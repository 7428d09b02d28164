"""Expressions as numbers in mixed radix, whose digits are iteration dims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepwell.dialects.dims import Dim, symbol, symbols_of
from stepwell.dialects.quasi_affine import Extents, coefficient


@dataclass(frozen=True)
class Digits:
    """`offset + sum(factor * dim)`, each factor above all that the later dims reach."""

    offset: Dim
    factors: tuple[tuple[str, Dim], ...]


def digits_of(expr: Dim, dims: Sequence[str], extents: Extents) -> Digits | None:
    """The digits of an expression, most significant first; None if it has none."""
    rest = expr
    factors: list[tuple[str, Dim]] = []
    for name in dims:
        split = coefficient(rest, name)
        if split is None:
            return None
        factor, rest = split
        if factor != 0:
            factors.append((name, factor))
    if symbols_of(rest) & set(dims):
        return None
    ordered = _order_digits(factors, extents)
    return None if ordered is None else Digits(rest, ordered)


def _order_digits(
    factors: list[tuple[str, Dim]], extents: Extents
) -> tuple[tuple[str, Dim], ...] | None:
    """Most significant first, or None when the digits overlap."""
    left = list(factors)
    ordered: list[tuple[str, Dim]] = []
    span: Dim = 1
    while left:
        fitting = [f for f in left if _is_multiple(f[1], span)]
        smallest = min(fitting, key=lambda f: len(str(f[1])), default=None)
        for candidate in fitting:
            if all(_is_multiple(other[1], candidate[1]) for other in left):
                smallest = candidate
        if smallest is None:
            return None
        left.remove(smallest)
        ordered.insert(0, smallest)
        span = smallest[1] * extents[smallest[0]]
    return tuple(ordered)


def _is_multiple(value: Dim, of: Dim) -> bool:
    """Whether `value` is proved to be a positive multiple of `of`."""
    if isinstance(value, int) and value <= 0:
        return False
    return value % of == 0


def collapsed(
    expr: Dim, names: Sequence[str], merged: str, extents: Extents
) -> Dim | None:
    """`expr` in terms of the merged dim, when it is linear in the merge."""
    factors: list[Dim] = []
    rest = expr
    for name in names:
        split = coefficient(rest, name)
        if split is None or symbols_of(split[0]) & set(extents):
            return None
        factor, rest = split
        factors.append(factor)
    unit = factors[-1]
    for position in range(len(names) - 1, -1, -1):
        if extents[names[position]] != 1 and factors[position] != unit:
            return None
        unit = unit * extents[names[position]]
    return rest + factors[-1] * symbol(merged)
