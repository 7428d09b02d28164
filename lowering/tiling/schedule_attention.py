"""The cost model of attention: rows and columns of a tile of scores."""

from __future__ import annotations

from stepwell.dialects.nn import AttentionOp
from stepwell.dialects.schedules import Anchor, Schedule
from stepwell.dialects.shapes import Dim, Ranges
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

from .attention import COLUMN, HEAD, INNER, ROW, VALUE, attention_sizes
from .cells import Cutter, divide
from .estimate import estimates

ROWS = 48
"""Rows of q that share a pass over the keys and values."""

COLUMNS = 128
"""Keys of a chunk: with them and their values, and the scores, L1 and L2 are in use."""

SHORT_ROWS, SHORT_COLUMNS = 32, 64
"""The same where the sizes are symbolic: short sequences should not waste much."""

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
    rows = _balanced(dims[ROW], ROWS, 6, SHORT_ROWS)
    columns = _balanced(dims[COLUMN], COLUMNS, target.lanes(32), SHORT_COLUMNS)
    batch = [name for name in dims if name.startswith("b")]
    pairs = sizes[ROW] * sizes[COLUMN] * (inner + values + 16)
    outer = sizes[HEAD]
    for name in batch:
        outer *= sizes[name]
    cutter = Cutter(outer * pairs / target.lanes(32) / 1.5, target)
    for name in (*batch, HEAD):
        if dims[name] != 1:
            cutter.each(name, sizes[name])
    cutter.cut(ROW, dims[ROW], sizes[ROW], rows)
    return Schedule(
        Anchor.ATTENTION,
        grid=cutter.grid,
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


def _balanced(size: Dim, most: int, unit: int, unknown: int) -> int:
    """At most `most`, in equal parts of a known size, rounded up to `unit`."""
    if not isinstance(size, int):
        return unknown
    if size <= most:
        return max(1, size)
    return min(most, divide(size, -(-size // most), unit))
