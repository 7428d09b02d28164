"""What is known of symbols, and the interval of values that follows for a dim."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .expression import Atom, Dim, DimExpr

REMEMBERED = 1 << 14
"""How many results of each operation are kept: the layers of a model repeat them."""


@dataclass(frozen=True)
class DimRange:
    """What is known of a symbol: `min <= value <= max`, a multiple of `divisor`.

    `max` is None when unbounded; `opt` is the value to tune for.
    """

    min: int = 0
    max: int | None = None
    opt: int | None = None
    divisor: int = 1


Ranges: TypeAlias = Mapping[str, DimRange]

Bounds: TypeAlias = tuple[float, float]
"""Inclusive interval; `math.inf` where unbounded, exact `int` elsewhere."""

ANY_SIZE = DimRange()
"""What is known of a symbol without a range."""


def bounds(dim: Dim, ranges: Ranges | None = None) -> Bounds:
    """An interval that holds every value of `dim`; symbols without range are >= 0."""
    if isinstance(dim, int):
        return dim, dim
    return _bounds_in(dim, ranges) if ranges else _bounds(dim)


@lru_cache(maxsize=REMEMBERED)
def _bounds(dim: DimExpr) -> Bounds:
    return _bounds_in(dim, {})


def _bounds_in(dim: DimExpr, ranges: Ranges) -> Bounds:
    low: float = 0
    high: float = 0
    for monomial, factor in dim.terms:
        interval: Bounds = (factor, factor)
        for atom in monomial:
            interval = _multiply_bounds(interval, _atom_bounds(atom, ranges))
        low, high = low + interval[0], high + interval[1]
    return low, high


def is_zero_or_more(dim: Dim, ranges: Ranges | None = None) -> bool:
    """Whether `dim >= 0` is proved."""
    return bounds(dim, ranges)[0] >= 0


def _atom_bounds(atom: Atom, ranges: Ranges) -> Bounds:
    if atom.kind is None:
        known = ranges.get(atom.symbol, ANY_SIZE)
        return known.min, math.inf if known.max is None else known.max
    operands = [bounds(operand, ranges) for operand in atom.operands]
    lows, highs = [low for low, _ in operands], [high for _, high in operands]
    if atom.kind == "min":
        return min(lows), min(highs)
    if atom.kind == "max":
        return max(lows), max(highs)
    (low, high), (by_low, by_high) = operands
    if atom.kind == "mod":
        return 0, min(by_high - 1, high) if low >= 0 else by_high - 1
    corners = [
        _floor_quotient(value, by)
        for value in (low, high)
        for by in (max(by_low, 1), by_high)
    ]
    return min(corners), max(corners)


def _floor_quotient(value: float, by: float) -> float:
    if math.isinf(by):
        return -1 if value < 0 else 0
    return value if math.isinf(value) else value // by


def _multiply_bounds(left: Bounds, right: Bounds) -> Bounds:
    corners = [0 if 0 in (a, b) else a * b for a in left for b in right]
    return min(corners), max(corners)
