"""Symbolic dims: integer expressions over named symbols, always in normal form.

A dim is `Dim = int | DimExpr`. Every operation returns the normal form, so equal
expressions of one form compare equal, and a constant result is a plain `int`.

Symbols are sizes: they are at least 0. A divisor is assumed positive; a constant one
that is not raises `ShapeError`.
"""

from .analysis import divisor, evaluate, may_be_equal, substitute, symbols_of
from .bounds import Bounds, DimRange, Ranges, bounds, is_zero_or_more
from .expression import (
    Atom,
    AtomKind,
    Dim,
    DimExpr,
    Monomial,
    Terms,
    ceildiv,
    dim_max,
    dim_min,
    product,
    symbol,
)
from .text import parse_dim, parse_dim_with

__all__ = [
    "Atom",
    "AtomKind",
    "Bounds",
    "Dim",
    "DimExpr",
    "DimRange",
    "Monomial",
    "Ranges",
    "Terms",
    "bounds",
    "ceildiv",
    "dim_max",
    "dim_min",
    "divisor",
    "evaluate",
    "is_zero_or_more",
    "may_be_equal",
    "parse_dim",
    "parse_dim_with",
    "product",
    "substitute",
    "symbol",
    "symbols_of",
]
