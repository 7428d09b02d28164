"""The cost model of attention on a GPU: rows and columns of a tile of scores."""

from __future__ import annotations

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float64Type

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.nn import AttentionOp
from stepwell.dialects.schedules import Anchor, Schedule
from stepwell.dialects.shapes import Dim, Ranges, element_of
from stepwell.dialects.target import Target
from stepwell.errors import CompileError
from stepwell.lowering.tiling.attention import (
    COLUMN,
    HEAD,
    INNER,
    NARROW_OPTION,
    ROW,
    VALUE,
    attention_sizes,
)
from stepwell.lowering.tiling.estimate import estimates

from .block import (
    MULTIPROCESSORS,
    ROWS_OPTION,
    STAGES_OPTION,
    WARPS,
    WARPS_OPTION,
    power_of_two,
    volume,
)

ROWS = 64
"""Rows of q of a block: 16 for each of four warps."""

COLUMNS = 64
"""Keys of a chunk."""

FRAGMENT = 16
"""The least rows, and inner features, of a product on tensor cores."""

PAIRS = 2048
"""Products of a tile where no tensor core sums them: 16 for each thread."""

WIDE = 2048
"""Bits of a value that one warp sums; of wider ones several warps sum parts, so that
the sums of a chunk beside those of all still fit registers."""

WIDEST = 512
"""The most features of a head."""


def schedule_attention(op: AttentionOp, target: Target, ranges: Ranges) -> Schedule:
    """Choose the tiles: a block per head and tile of rows.

    Raises:
        CompileError: the heads have no known size, or too many features.
    """
    dims = attention_sizes(op)
    sizes = estimates(dims, ranges)
    inner, values = (_features(op, dims[name]) for name in (INNER, VALUE))
    batch = [name for name in dims if name.startswith("b")]
    if isinstance(element_of(op.result), Float64Type):
        return _without_tensor_cores([*batch, HEAD], inner, values)
    outer = volume(sizes, [*batch, HEAD])
    rows = ROWS
    while rows > FRAGMENT and outer * -(-sizes[ROW] // rows) < MULTIPROCESSORS:
        rows //= 2
    rows = min(rows, max(FRAGMENT, power_of_two(sizes[ROW])))
    bits = bit_width(element_of(op.v))
    columns = min(COLUMNS, max(FRAGMENT, power_of_two(sizes[COLUMN])))
    chunk = (inner + values) * bits // 8
    most = target.shared_bytes // 3
    while columns > FRAGMENT and 2 * columns * chunk > most:
        columns //= 2
    grid = (*((name, 1) for name in (*batch, HEAD)), (ROW, rows))
    tile = ((ROW, rows), (COLUMN, columns), (INNER, inner), (VALUE, values))
    down, across = rows // FRAGMENT, -(-values * bits // WIDE)
    options = {WARPS_OPTION: down * power_of_two(across), ROWS_OPTION: down}
    if 2 * columns * chunk <= most:
        options[STAGES_OPTION] = 2
    if isinstance(element_of(op.v), Float16Type | BFloat16Type):
        options[NARROW_OPTION] = 1
    return Schedule(Anchor.ATTENTION, grid, (), tile).with_options(**options)


def _without_tensor_cores(outer: list[str], inner: int, values: int) -> Schedule:
    """One row of q at a time, and few keys: all pairs of a product are registers."""
    columns = max(1, PAIRS // power_of_two(max(inner, values)))
    grid = (*((name, 1) for name in outer), (ROW, 1))
    tile = ((ROW, 1), (COLUMN, columns), (INNER, inner), (VALUE, values))
    return Schedule(Anchor.ATTENTION, grid, (), tile, ((WARPS_OPTION, WARPS),))


def _features(op: AttentionOp, size: Dim) -> int:
    if not isinstance(size, int) or size > WIDEST:
        raise CompileError(
            f"expected heads of at most {WIDEST} features, a known number, got {size}",
            where=str(op.location),
        )
    return -(-size // FRAGMENT) * FRAGMENT
