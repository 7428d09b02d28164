"""The cost model of matrix products on a CPU.

A cell computes tiles of `rows x columns` accumulators that stay in vector registers
while one row of the inner dim after the other is multiplied in: `columns` loads of the
right factor and `rows` broadcasts of the left one feed `rows * columns` products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import AnyFloat

from stepwell.dialects.schedules import Anchor, Extents, Schedule
from stepwell.dialects.shapes import Ranges, dims_of, symbols_of
from stepwell.dialects.target import Target

from .cells import Cutter
from .estimate import estimates
from .product import Product
from .schedule_map import contiguous_dim

PORTS = 2
"""Multiply-adds, and loads, that a core issues each cycle (Intel since Haswell)."""

LATENCY = 4
"""Cycles of one multiply-add: so many times `PORTS` must be independent."""

DOT_OVERHEAD = 12
"""Cycles to enter and leave one dot, beside moving its accumulators."""

L2_BYTES_PER_CYCLE = 24
"""What the right factor streams at when it does not stay in L1."""

STEP_OVERHEAD = 1
"""Cycles of one step along the inner dim beside its products."""

ADDRESSES = 12
"""Rows whose addresses fit general registers when each has a guard of its own."""

TIGHT = 1.02
SPILLED = 1.05
"""How much slower more rows than that are, without and with guards (measured on
Cascade Lake)."""

INNER_LIMIT = 4096
"""The longest inner dim that one dot runs over."""

INNER_CHUNK = 256
"""Extent of the inner dim per dot when its size is not known."""


PANEL_REUSE = 16
"""Tiles of rows that share one reading of weights larger than the cache."""

SINGLE_ROW = "row"
"""The name of the row axis where the product has no row dim."""


@dataclass(frozen=True)
class RegisterTile:
    """A tile of accumulators: `rows` times `vectors` vector registers."""

    rows: int
    vectors: int


def register_tiles(target: Target) -> Iterator[RegisterTile]:
    """All tiles of accumulators that leave registers for the factors."""
    registers = target.vector_registers - 1  # the broadcast element of the left factor
    for vectors in range(1, 7):
        most = min(registers // vectors - 1, (target.vector_registers - 4) // vectors)
        for rows in range(1, most + 1):
            yield RegisterTile(rows, vectors)


def cycles_per_dot(
    tile: RegisterTile, inner: int, guarded: bool, target: Target
) -> float:
    """Cycles of one dot over `inner` rows of the inner dim."""
    products = tile.rows * tile.vectors
    loads = (tile.rows + tile.vectors) / PORTS
    stream = tile.vectors * target.vector_bytes / L2_BYTES_PER_CYCLE
    step = max(products / PORTS, loads, stream, LATENCY) + STEP_OVERHEAD
    if tile.rows > ADDRESSES:
        step *= SPILLED if guarded else TIGHT
    return step * inner + products + DOT_OVERHEAD


def schedule_contraction(product: Product, target: Target, ranges: Ranges) -> Schedule:
    """Choose axes, the register tile, the loops and the grid."""
    sizes = estimates(product.op.extents, ranges)
    column = product.n[-1]
    inner = inner_axis(product, sizes)
    row, tile = _best_tile(product, sizes, column, inner, target)
    lanes = target.lanes(accumulator_bits(product))
    axes = (
        (row, tile.rows),
        (column, tile.vectors * lanes),
        (inner, inner_extent(product, inner)),
    )
    grid = _grid(product, sizes, axes[0], axes[1], target)
    loops = _loops(product, sizes, axes, grid, target)
    return Schedule(Anchor.CONTRACTION, grid, loops, axes)


def is_dot(product: Product, ranges: Ranges) -> bool:
    """Whether tiles of dots are the way to compute a product.

    A single row is better reduced lane by lane if the right factor is contiguous along
    a reduction dim: a dot would have to transpose it.
    """
    if not product.is_dot or product.m:
        return product.is_dot
    sizes = estimates(product.op.extents, ranges)
    lanes = {
        contiguous_dim(access, dims_of(value), sizes)
        for value, access in zip(product.op.inputs, product.op.in_maps, strict=True)
        if set(product.n) & access.used_dims
    }
    return not lanes & set(product.k)


def accumulator_bits(product: Product) -> int:
    """The width of the sums."""
    element = product.op.yielded[0].type
    return element.bitwidth if isinstance(element, AnyFloat) else 32


def inner_axis(product: Product, sizes: Mapping[str, int]) -> str:
    """The reduction dim that dots run over: the longest, the last of equals."""
    order = product.shared_k
    return max(order, key=lambda d: (sizes[d], order.index(d)))


def inner_extent(product: Product, inner: str) -> int:
    """The extent of dots along the inner dim: all of it if it is known."""
    size = product.op.extents[inner]
    if not isinstance(size, int):
        return INNER_CHUNK
    chunks = -(-size // INNER_LIMIT)
    return max(1, -(-size // max(1, chunks)))


def _best_tile(
    product: Product,
    sizes: Mapping[str, int],
    column: str,
    inner: str,
    target: Target,
) -> tuple[str, RegisterTile]:
    """The row axis and register tile with the least cycles over the whole space."""
    lanes = target.lanes(accumulator_bits(product))

    guarded = {row: _is_guarded(product, row) for row in product.m}

    def cost(row: str, tile: RegisterTile) -> float:
        across = -(-sizes[column] // (tile.vectors * lanes))
        down = -(-sizes[row] // tile.rows)
        others = 1
        for dim in product.m:
            others *= 1 if dim == row else sizes[dim]
        dots = others * across * down
        return dots * cycles_per_dot(
            tile, sizes[inner], guarded.get(row, False), target
        )

    rows = product.m or (SINGLE_ROW,)
    sizes = {**sizes, SINGLE_ROW: 1}
    choices = [
        (row, RegisterTile(min(tile.rows, sizes[row]), tile.vectors))
        for row in rows
        for tile in register_tiles(target)
        if (tile.vectors - 1) * lanes < sizes[column]
    ]
    return min(choices, key=lambda c: (cost(*c), -rows.index(c[0]), c[1].rows))


def _is_guarded(product: Product, row: str) -> bool:
    """Whether some rows along the dim may lie outside the left factor's tensor."""
    return any(
        row in symbols_of(guard.expr)
        for access in product.op.in_maps
        for guard in access.guards
    )


def _grid(
    product: Product,
    sizes: Mapping[str, int],
    row: tuple[str, int],
    column: tuple[str, int],
    target: Target,
) -> Extents:
    """The cells: runs of rows while the weights fit in half of the L2 cache.

    Beyond that, panels of columns first; rows of unknown number come in runs that read
    a panel often enough.
    """
    extents = product.op.extents
    depth = _volume(sizes, product.k)
    outer_columns = [d for d in product.n if d != column[0]]
    space = _volume(sizes, (*product.batch, *product.m, *outer_columns))
    vectors = -(-sizes[column[0]] // target.lanes(accumulator_bits(product)))
    cutter = Cutter(space * depth * vectors / PORTS, target)
    for dim in product.batch:
        cutter.each(dim, sizes[dim])
    weights = depth * _volume(sizes, product.n) * 4
    few_rows = _volume(sizes, product.m) < 4 * cutter.left * row[1]
    if weights > target.l2_bytes // 2 or few_rows:
        for dim in outer_columns:
            cutter.each(dim, sizes[dim])
        if not isinstance(extents.get(row[0], 1), int):
            cutter.take(row[0], sizes[row[0]], PANEL_REUSE * row[1])
        cutter.cut(column[0], extents[column[0]], sizes[column[0]], column[1])
    for dim in product.m:
        if dim not in dict(cutter.grid):
            unit = row[1] if dim == row[0] else 1
            cutter.cut(dim, extents[dim], sizes[dim], unit)
    return cutter.grid


def _loops(
    product: Product,
    sizes: Mapping[str, int],
    tile: Extents,
    grid: Extents,
    target: Target,
) -> Extents:
    """The loops of a cell.

    A panel of columns that fits in L1, or that is too large to come around again, stays
    while all rows pass; otherwise all columns are done for one tile of rows.
    """
    _, column, inner = tile
    cells = dict(grid)
    depth = _volume(sizes, product.k)
    panel = depth * cells.get(column[0], sizes[column[0]]) * 4
    in_l1 = depth * column[1] * 4 <= target.l1_bytes * 5 // 8
    by_rows = panel <= target.l2_bytes // 2 and not in_l1
    steps = dict(tile)
    rows = [(d, steps.get(d, 1)) for d in product.m]
    columns = [(d, 1) for d in product.n if d != column[0]] + [column]
    parallel = [*rows, *columns] if by_rows else [*columns, *rows]
    depths = [(d, inner[1] if d == inner[0] else 1) for d in product.k]
    every = [*((d, 1) for d in product.batch), *parallel, *depths]
    return tuple(
        one
        for one in every
        if _is_loop(product, one[0]) and cells.get(one[0]) != one[1]
    )


def _is_loop(product: Product, dim: str) -> bool:
    return product.op.extents[dim] != 1


def _volume(sizes: Mapping[str, int], dims: tuple[str, ...]) -> int:
    total = 1
    for dim in dims:
        total *= sizes[dim]
    return total
