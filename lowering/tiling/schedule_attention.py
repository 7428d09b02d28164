"""The cost model of attention: rows and columns of a tile of scores."""

from __future__ import annotations

from stepwell.dialects.nn import AttentionOp
from stepwell.dialects.schedules import Anchor, Schedule
from stepwell.dialects.shapes import Dim, Ranges
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

from .attention import COLUMN, HEAD, INNER, ROW, VALUE, attention_sizes
from .estimate import divide, estimates, wanted_cells

ROWS = 48
"""Rows of q that share a pass over the keys and values."""

COLUMNS = 128
"""Keys of a chunk: with them and their values, and the scores, L1 and L2 are in use."""

WIDEST = 1024
"""The most features of a head."""


def schedule_attention(op: AttentionOp, target: Target, ranges: Ranges) -> Schedule:
    """Choose the tiles and the grid: whole heads, then parts of their rows.

    Raises:
        CompileError: the heads have no known size, or too many features.
    """
    dims = attention_sizes(op)
    sizes = estimates(dims, ranges)
    inner, values = (_features(op, dims[name]) for name in (INNER, VALUE))
    rows = _balanced(dims[ROW], ROWS, 6)
    columns = _balanced(dims[COLUMN], COLUMNS, target.lanes(32))
    batch = [name for name in dims if name.startswith("b")]
    pairs = sizes[ROW] * sizes[COLUMN] * (inner + values + 16)
    outer = sizes[HEAD]
    for name in batch:
        outer *= sizes[name]
    cells = wanted_cells(outer * pairs / target.lanes(32) / 1.5, target)
    grid = {name: 1 for name in (*batch, HEAD) if dims[name] != 1}
    left = round(cells / outer)
    if left > 1 or not grid:
        grid[ROW] = divide(sizes[ROW], max(1, left), rows)
    return Schedule(
        Anchor.ATTENTION,
        grid=tuple(grid.items()),
        loops=((ROW, rows),),
        tile=((ROW, rows), (COLUMN, columns), (INNER, inner), (VALUE, values)),
    )


def _features(op: AttentionOp, size: Dim) -> int:
    if not isinstance(size, int) or size > WIDEST:
        raise CompileError(
            f"expected heads of at most {WIDEST} features, a known number, got {size}",
            where=str(op.location),
        )
    return size


def _balanced(size: Dim, most: int, unit: int) -> int:
    """At most `most`, in equal parts of a known size, rounded up to `unit`."""
    if not isinstance(size, int):
        return most
    if size <= most:
        return size
    return min(most, divide(size, -(-size // most), unit))
