"""The sizes and times that cost models reckon with."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.dialects.shapes import Dim, Ranges, evaluate, symbols_of
from stepwell.dialects.target import Target

UNKNOWN_SIZE = 128
"""What a symbol without range is taken for."""

CELL_SECONDS = 40e-6
"""Work that a grid cell should hold: some hundred times what it costs to fetch one."""

CELLS_PER_THREAD = 4
"""Cells that each thread should get, so that an uneven last round costs little."""

CLOCK = 2.5e9
"""Cycles per second of a server core under vector load."""


def estimate(dim: Dim, ranges: Ranges) -> int:
    """The size to tune for: symbols at their optimum, or within their range."""
    if isinstance(dim, int):
        return dim
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


def wanted_cells(cycles: float, target: Target) -> int:
    """The number of cells to cut work of `cycles` (of one core) into.

    One if it is not worth waking another thread; otherwise enough for each thread to
    get several.
    """
    seconds = cycles / CLOCK
    if seconds < CELL_SECONDS / 8 or target.threads == 1:
        return max(1, round(seconds / (8 * CELL_SECONDS)))
    return max(
        round(seconds / CELL_SECONDS),
        min(CELLS_PER_THREAD, 1 + round(seconds / 5e-6)) * target.threads,
    )


def divide(size: int, parts: int, unit: int = 1) -> int:
    """The extent, a multiple of `unit`, of each of at most `parts` pieces of `size`."""
    units = -(-size // unit)
    return max(1, -(-units // max(1, parts))) * unit
