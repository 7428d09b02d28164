"""The sizes that cost models reckon with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from stepwell.dialects.shapes import (
    Dim,
    DimRange,
    Ranges,
    dims_of,
    evaluate,
    ranges_of,
    symbols_of,
)

UNKNOWN_SIZE = 128
"""What a symbol without range is taken for."""


def tuned_ranges(module: ModuleOp) -> dict[str, DimRange]:
    """The ranges of the module's symbols, with an optimum for those of batches.

    A symbol that the model's inputs only have as their first dim counts samples. Unless
    the user states an optimum, one sample is what is tuned for.
    """
    ranges = ranges_of(module)
    leading: set[str] = set()
    others: set[str] = set()
    for op in module.ops:
        for value in op.body.block.args if isinstance(op, FuncOp) else ():
            first, *rest = dims_of(value) or (1,)
            leading |= symbols_of(first)
            others = others.union(*map(symbols_of, rest))
    for name in leading - others:
        known = ranges.get(name, DimRange())
        if known.opt is None:
            ranges[name] = replace(known, opt=max(1, known.min))
    return ranges


def estimate(dim: Dim, ranges: Ranges) -> int:
    """The size to tune for: symbols at their optimum, or within their range."""
    if isinstance(dim, int):
        return max(1, dim)
    values: dict[str, int] = {}
    for name in symbols_of(dim):
        known = ranges.get(name)
        if known is None:
            values[name] = UNKNOWN_SIZE
        elif known.opt is not None:
            values[name] = known.opt
        else:
            top = UNKNOWN_SIZE if known.max is None else min(known.max, UNKNOWN_SIZE)
            values[name] = max(known.min, top)
    return max(1, evaluate(dim, values))


def estimates(sizes: Mapping[str, Dim], ranges: Ranges) -> dict[str, int]:
    """`estimate` of each dim."""
    return {name: estimate(size, ranges) for name, size in sizes.items()}
