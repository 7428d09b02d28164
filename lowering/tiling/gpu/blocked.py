"""Blocked layouts of tiles of any extents: a thread's run, then lanes, then warps."""

from __future__ import annotations

from functools import lru_cache

from stepwell.dialects.layouts import LANE, REGISTER, WARP, TileLayout

from .block import LANES


@lru_cache(maxsize=4096)
def blocked_tile(
    extents: tuple[int, ...], order: tuple[int, ...], run: int, warps: int
) -> TileLayout:
    """A layout in which neighbours along `order[0]` are in neighbouring threads.

    Args:
        extents: of the tile. Of an extent that is no power of two the odd factor is
            repeated in registers.
        order: the dims, the one of coalesced access first.
        run: elements along `order[0]` that a thread holds side by side.
        warps: of the block; warps take the slowest dims first, so that what is reduced
            along a fast dim stays in a warp. Bits of lanes and warps that the tile has
            no elements for hold what the others hold.
    """
    rank = len(extents)
    sizes = [extent & -extent for extent in extents]
    scale = [1] * rank
    inputs: dict[str, list[list[int]]] = {REGISTER: [], LANE: [], WARP: []}

    def take(name: str, dim: int, bits: int) -> int:
        while bits and scale[dim] < sizes[dim]:
            inputs[name].append([scale[dim] * (d == dim) for d in range(rank)])
            scale[dim] *= 2
            bits -= 1
        return bits

    if rank:
        take(REGISTER, order[0], run.bit_length() - 1)
    lane_bits, warp_bits = LANES.bit_length() - 1, warps.bit_length() - 1
    for dim in order:
        lane_bits = take(LANE, dim, lane_bits)
    for dim in reversed(order):
        warp_bits = take(WARP, dim, warp_bits)
    inputs[LANE] += [[0] * rank] * lane_bits
    inputs[WARP] += [[0] * rank] * warp_bits
    repeat = [extent // s for extent, s in zip(extents, scale, strict=True)]
    return TileLayout.of(dict(inputs), scale, repeat)
