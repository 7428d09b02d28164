"""What the cost models of a GPU share: threads of a block, and extents of tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepwell.dialects.fusion import StructuredOp
from stepwell.dialects.schedules import Extents
from stepwell.dialects.shapes import element_of

WARPS = 4
"""Warps of a block unless a model has a reason for another number."""

LANES = 32

MULTIPROCESSORS = 132
"""Of an H100; on a smaller device the blocks come in more waves."""

ACCESS_BITS = 128
"""What one thread moves at once at most."""

SHORTER = 1.15
"""What half the extent along a dim costs: runs of memory are half as long."""

WARPS_OPTION = "warps"
"""The option of a schedule that says how many warps run a cell."""

ROWS_OPTION = "warp_rows"
"""The option that says how many warps stand above one another in a tile of sums."""

BLOCKS_OPTION = "blocks"
"""The option that says how many blocks are to run on a multiprocessor at once."""

STAGES_OPTION = "stages"
"""The option that says for how many rounds of loads there is shared memory."""


def power_of_two(size: int) -> int:
    """The least power of two that is not below `size`."""
    return 1 << max(0, size - 1).bit_length()


def narrowest(op: StructuredOp) -> int:
    """Bits of the narrowest element among inputs and results, at least 8."""
    widths = [getattr(element_of(v), "bitwidth", 8) for v in (*op.inputs, *op.outputs)]
    return max(8, min(widths))


def elements_per_thread(op: StructuredOp, total: int, threads: int) -> int:
    """Elements of a thread: a whole access, or fewer if threads would be idle."""
    most = ACCESS_BITS // narrowest(op)
    busy = max(1, total // (MULTIPROCESSORS * threads))
    return min(most, power_of_two(busy + 1) // 2)


def balanced(size: int, most: int) -> int:
    """A power of two up to `most` that covers `size` with little waste."""
    if size <= most:
        return power_of_two(size)
    choices = [(shift, most >> shift) for shift in range(3) if most >> shift]
    return min(choices, key=lambda c: -(-size // c[1]) * c[1] * SHORTER ** c[0])[1]


def grow(
    order: Sequence[str], sizes: Mapping[str, int], elements: int, first: Extents = ()
) -> dict[str, int]:
    """Extents of a tile of about `elements`: along `order`, one dim after the other."""
    tile = dict(first)
    left = elements
    for extent in tile.values():
        left //= extent
    for name in order:
        if left <= 1:
            break
        if name not in tile and sizes[name] > 1:
            tile[name] = balanced(sizes[name], left)
            left //= tile[name]
    return tile


def in_order(tile: Mapping[str, int], names: Sequence[str]) -> Extents:
    """The axes of a tile in the order of the space."""
    return tuple((name, tile[name]) for name in names if name in tile)


def volume(sizes: Mapping[str, int], dims: Sequence[str]) -> int:
    """The number of points of a space."""
    total = 1
    for name in dims:
        total *= sizes[name]
    return total
