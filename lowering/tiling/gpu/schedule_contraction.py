"""The cost model of matrix products on a GPU's tensor cores.

A block computes a tile of `rows x columns` sums. Per step of the inner dim it does
`rows * columns` products and moves `rows + columns` elements from the L2 cache, and all
multiprocessors work on as many tiles at the same time: the last, partial wave of tiles
is what costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    IntegerType,
)
from xdsl.ir import Attribute

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.schedules import Anchor, Extents, Schedule
from stepwell.dialects.shapes import Ranges
from stepwell.dialects.target import Target
from stepwell.lowering.tiling.contraction import FLAT_OPTION, factors
from stepwell.lowering.tiling.estimate import estimates
from stepwell.lowering.tiling.product import Product
from stepwell.lowering.tiling.schedule_contraction import (
    SINGLE_ROW,
    inner_axis,
    is_dot,
)

from .block import (
    ACCESS_BITS,
    BLOCKS_OPTION,
    LANES,
    MULTIPROCESSORS,
    ROWS_OPTION,
    STAGES_OPTION,
    WARPS_OPTION,
    power_of_two,
    volume,
)

DEPTH = 32
"""Extent of the inner dim of a tile: whole sectors of every element type."""

PRODUCTS = {8: 1280.0, 16: 640.0, 32: 110.0}
"""Products that a multiprocessor does per cycle by `mma.sync`, by bits of the elements:
dense rates of an H100, two thirds of them reached, and three products for f32."""

BYTES = 40.0
"""Bytes per cycle that a multiprocessor gets from the L2 cache."""

COPIES = 6
"""Copies of 16 bytes that a thread makes in a round of the loop: with fewer, rounds are
mostly barriers."""

DEEPEST = 128
"""The longest run of the inner dim that a round multiplies."""

SHARED_BYTES = 128.0
"""Bytes per cycle that a multiprocessor reads from its shared memory."""

TILE_CYCLES = 1500.0
"""Cycles of a tile beside its products: launch, the first loads, and the stores."""

ROUND_CYCLES = 150.0
"""Cycles of a round beside its products that nothing hides in a small block."""

OTHER_REGISTERS, SPLIT_REGISTERS = 60, 100
"""Registers of a thread beside its sums: fragments and addresses. Where f32 is split
there are also the parts, and the sums of one round beside those of all."""

REGISTERS = 64
"""Sums of a thread at most: more would leave no registers for the factors."""


@dataclass(frozen=True)
class BlockTile:
    """A tile of sums, and how the warps stand in it."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int

    @property
    def warps(self) -> int:
        """The warps of the block."""
        return self.warp_rows * self.warp_columns

    @property
    def fragment_rows(self) -> int:
        """Rows and columns that all warps read for each step of the inner dim."""
        return self.rows * self.warp_columns + self.columns * self.warp_rows


def is_mma(product: Product, ranges: Ranges) -> bool:
    """Whether a product is one for tensor cores, and worth them.

    A single row is better reduced: it is limited by reading the right factor once.
    """
    if not is_dot(product, ranges) or not product.m:
        return False
    total = product.op.yielded[0].type
    return _sums(element_of_factors(product), total)


def element_of_factors(product: Product) -> Attribute:
    """The element type that a dot multiplies."""
    return factors(product)[0].type


def _sums(element: Attribute, total: Attribute) -> bool:
    """Whether tensor cores sum products of `element` in `total`."""
    if isinstance(element, IntegerType):
        return element.width.data == 8 and total == IntegerType(32)
    known = isinstance(element, Float16Type | BFloat16Type | Float32Type)
    return known and isinstance(total, Float32Type)


def schedule_contraction(product: Product, target: Target, ranges: Ranges) -> Schedule:
    """Choose the tile, the warps and the loops: a cell is one tile of sums."""
    sizes = {**estimates(product.op.extents, ranges), SINGLE_ROW: 1}
    row = product.m[-1] if product.m else SINGLE_ROW
    column, inner = product.n[-1], inner_axis(product, sizes)
    tile = _best_tile(product, sizes, row, column, inner)
    depth = _depth(product, inner, tile)
    axes = ((row, tile.rows), (column, tile.columns), (inner, depth))
    steps = dict(axes)
    parallel = (*product.batch, *product.m, *product.n)
    grid = tuple((d, steps.get(d, 1)) for d in parallel)
    loops = tuple((d, steps.get(d, 1)) for d in product.k if sizes[d] > 1)
    bits = bit_width(element_of_factors(product))
    schedule = Schedule(Anchor.CONTRACTION, _raster(grid, row, column), loops, axes)
    options = {ROWS_OPTION: tile.warp_rows, WARPS_OPTION: tile.warps, FLAT_OPTION: 1}
    bytes_ = (tile.rows + tile.columns) * depth * bits // 8
    stages = max(2, min(4, target.shared_bytes * 2 // 5 // bytes_))
    options[STAGES_OPTION] = stages
    options[BLOCKS_OPTION] = _blocks(tile, bits, stages * bytes_, target)
    return schedule.with_options(**options)


def _blocks(tile: BlockTile, bits: int, stage_bytes: int, target: Target) -> int:
    """Blocks that fit on a multiprocessor: by registers, and by shared memory.

    The epilogue may bring sums into another layout through shared memory of its own.
    """
    threads = tile.warps * LANES
    sums = tile.rows * tile.columns // threads
    registers = sums + OTHER_REGISTERS if bits < 32 else 2 * sums + SPLIT_REGISTERS
    shared = stage_bytes + tile.rows * tile.columns * 2
    return max(1, min(4, 65536 // (threads * registers), target.shared_bytes // shared))


def _depth(product: Product, inner: str, tile: BlockTile) -> int:
    """Extent along the inner dim: `COPIES` of each thread, but not past the size."""
    size = product.op.extents[inner]
    bits = bit_width(element_of_factors(product))
    unit = 256 // bits
    if isinstance(size, int) and size < DEPTH:
        return max(unit, power_of_two(size))
    most = tile.warps * LANES * COPIES * ACCESS_BITS // bits
    depth = max(DEPTH, unit)
    while 2 * depth * (tile.rows + tile.columns) <= most and depth < DEEPEST:
        if isinstance(size, int) and -(-size // (2 * depth)) * 2 * depth > 1.1 * size:
            break
        depth *= 2
    return depth


def _raster(grid: Extents, row: str, column: str) -> Extents:
    """Neighbouring cells share rows of the left factor, then the panel of columns."""
    return tuple(sorted(grid, key=lambda axis: (axis[0] == column, axis[0] == row)))


def block_tiles(bits: int) -> Iterator[BlockTile]:
    """The tiles to choose from, for elements of so many bits."""
    most = REGISTERS if bits < 32 else REGISTERS // 2
    for rows in (16, 32, 64, 128):
        for columns in (16, 32, 64, 128):
            for warps in (2, 4, 8):
                if rows * columns > warps * LANES * most:
                    continue
                if rows * columns < warps * 16 * 8:
                    continue
                yield _arranged(rows, columns, warps)


def _arranged(rows: int, columns: int, warps: int) -> BlockTile:
    """The warps in the grid in which each reads the fewest rows and columns."""
    choices = [(1 << n, warps >> n) for n in range(warps.bit_length())]
    choices = [c for c in choices if rows % (16 * c[0]) == columns % (8 * c[1]) == 0]
    down, across = min(choices, key=lambda c: rows // c[0] + columns // c[1])
    return BlockTile(rows, columns, down, across)


def _best_tile(
    product: Product, sizes: Mapping[str, int], row: str, column: str, inner: str
) -> BlockTile:
    """The tile with the least cycles over the whole space."""
    bits = bit_width(element_of_factors(product))
    others = [
        d for d in (*product.batch, *product.m, *product.n) if d not in (row, column)
    ]
    outer = volume(sizes, others)
    steps = volume(sizes, [d for d in product.k if d != inner])

    def cost(tile: BlockTile) -> float:
        depth = _depth(product, inner, tile)
        deep = steps * -(-sizes[inner] // depth) * depth
        cells = outer * -(-sizes[row] // tile.rows) * -(-sizes[column] // tile.columns)
        multiply = tile.rows * tile.columns / PRODUCTS.get(bits, 110.0)
        fetch = (tile.rows + tile.columns) * bits / 8 / BYTES
        read = tile.fragment_rows * bits / 8 / SHARED_BYTES
        slowest = max(multiply, fetch, read)
        each = deep * (slowest + 0.1 * (multiply + fetch + read)) + TILE_CYCLES
        each += deep / depth * ROUND_CYCLES
        return (max(1.0, cells / MULTIPROCESSORS) + 0.5) * each

    return min(block_tiles(bits), key=lambda t: (cost(t), -t.warps))
