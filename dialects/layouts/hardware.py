"""The layouts that instructions dictate, and those that schedules choose.

Coordinates are `(row, column)`: of A `(m, k)`, of B `(k, n)`, of C and D `(m, n)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .linear import Basis, log2
from .tiled import LANE, OFFSET, REGISTER, WARP, TileLayout

_QUAD_ROWS: tuple[Basis, ...] = ((0, 2), (0, 4), (1, 0), (2, 0), (4, 0))
"""Lane l holds row `l / 4` and columns `2 * (l % 4)` and the next."""


FRAGMENTS: Mapping[str, Callable[[int], tuple[int, int]]] = {
    "mma_a": lambda bits: (16, 256 // bits),
    "mma_b": lambda bits: (256 // bits, 8),
    "mma_c": lambda bits: (16, 8),
}
"""The shape of one fragment of `mma.m16n8`, by the bits of an operand's element."""


def blocked(
    per_thread: Sequence[int],
    lanes: Sequence[int],
    warps: Sequence[int],
    *,
    repeat: Sequence[int] | None = None,
    order: Sequence[int] | None = None,
) -> TileLayout:
    """Each thread holds a block, each warp a grid of blocks, and so on.

    Args:
        per_thread, lanes, warps: the extents per dim; powers of two.
        repeat: how often the whole stands along each dim.
        order: the dims, fastest first; by default the last dim is fastest.
    """
    rank = len(per_thread)
    order = list(order or reversed(range(rank)))
    scale = [1] * rank
    inputs: dict[str, list[Basis]] = {}
    for name, extents in ((REGISTER, per_thread), (LANE, lanes), (WARP, warps)):
        bases: list[Basis] = []
        for dim in order:
            for _ in range(log2(extents[dim])):
                bases.append(tuple(scale[d] * (d == dim) for d in range(rank)))
                scale[dim] *= 2
        inputs[name] = bases
    return TileLayout.of(dict(inputs), scale, repeat)


def replicated(rank: int, lanes: int, warps: int) -> TileLayout:
    """One element, held by all threads."""
    zero = (0,) * rank
    inputs = {
        REGISTER: [],
        LANE: [zero] * log2(lanes),
        WARP: [zero] * log2(warps),
    }
    return TileLayout.of(inputs, [1] * rank)


def mma_a(rows: int, depth: int, bits: int = 16) -> TileLayout:
    """A of `mma.m16n8`, a warp's rows x depth; PTX ISA, "Warp-level matrix fragments".

    A row of the instruction is 32 bytes: k is 16 for 16-bit elements, 32 for 8-bit.
    """
    registers, lane, k = _fragment_columns(bits)
    bases = [*registers, (8, 0), (0, k // 2)]
    return TileLayout.of(
        {REGISTER: bases, LANE: lane}, (16, k), (_times(rows, 16), _times(depth, k))
    )


def mma_b(depth: int, columns: int, bits: int = 16) -> TileLayout:
    """B of `mma.m16n8`, a warp's depth x columns."""
    registers, lane, k = _fragment_columns(bits)
    flip = [(b, a) for a, b in registers]
    return TileLayout.of(
        {REGISTER: [*flip, (k // 2, 0)], LANE: [(b, a) for a, b in lane]},
        (k, 8),
        (_times(depth, k), _times(columns, 8)),
    )


def mma_c(rows: int, columns: int) -> TileLayout:
    """C and D of `mma.m16n8`, a warp's rows x columns of 32-bit elements."""
    return TileLayout.of(
        {REGISTER: [(0, 1), (8, 0)], LANE: _QUAD_ROWS},
        (16, 8),
        (_times(rows, 16), _times(columns, 8)),
    )


def on_warps(
    fragment: TileLayout,
    extents: Sequence[int],
    warps: Sequence[tuple[int | None, int]],
) -> TileLayout:
    """A tile made of a warp's fragments, side by side in the order of the warps.

    Args:
        fragment: of one warp.
        extents: of the tile; multiples of what all warps hold at once.
        warps: for each factor of the warp's number, fastest first, the dim along which
            it moves (None where all hold the same) and how many there are.
    """
    rank = len(extents)
    scale = list(fragment.base_extents)
    bases: list[Basis] = []
    for dim, count in warps:
        for _ in range(log2(count)):
            bases.append(tuple(scale[d] * (d == dim) for d in range(rank)))
            if dim is not None:
                scale[dim] *= 2
    inputs = {name: fragment.base.bases[name] for name in (REGISTER, LANE)}
    repeat = [_times(n, unit) for n, unit in zip(extents, scale, strict=True)]
    return TileLayout.of({**inputs, WARP: bases}, scale, repeat)


def mma_on_warps(
    name: str, arguments: Sequence[int], down: int, across: int
) -> TileLayout:
    """The fragments `name` of a product over `down * across` warps.

    Warps stand above one another first; those that need the same fragment hold it
    together.

    Args:
        name: `mma_a`, `mma_b` or `mma_c`.
        arguments: the tile's extents, and for operands the bits of an element.
    """
    rows, columns, *rest = arguments
    bits = rest[0] if rest else (32 if name == "mma_c" else 16)
    unit = FRAGMENTS[name](bits)
    one = {"mma_a": mma_a, "mma_b": mma_b}.get(name)
    fragment = mma_c(*unit) if one is None else one(*unit, bits)
    row = None if name == "mma_b" else 0
    column = None if name == "mma_a" else 1
    return on_warps(fragment, (rows, columns), [(row, down), (column, across)])


def wgmma_accumulator(columns: int) -> TileLayout:
    """D of `wgmma.m64nNk*`: 64 x columns over the four warps of a warpgroup."""
    return TileLayout.of(
        {
            REGISTER: [(0, 1), (8, 0)],
            LANE: _QUAD_ROWS,
            WARP: [(16, 0), (32, 0)],
        },
        (64, 8),
        (1, _times(columns, 8)),
    )


def wgmma_a(depth: int, bits: int = 16) -> TileLayout:
    """A of `wgmma` from registers: 64 x depth over the four warps of a warpgroup."""
    registers, lane, k = _fragment_columns(bits)
    return TileLayout.of(
        {
            REGISTER: [*registers, (8, 0), (0, k // 2)],
            LANE: lane,
            WARP: [(16, 0), (32, 0)],
        },
        (64, k),
        (1, _times(depth, k)),
    )


def matrix_8x8() -> TileLayout:
    """One 8x8 matrix of 16-bit elements of `ldmatrix` and `stmatrix`."""
    return TileLayout.of({REGISTER: [(0, 1)], LANE: _QUAD_ROWS}, (8, 8))


def row_major(extents: Sequence[int]) -> TileLayout:
    """Memory without swizzle, the last dim contiguous.

    All extents but the first are powers of two.
    """
    inner = list(extents[1:])
    sizes = [1, *inner]
    bases: list[Basis] = []
    for dim in reversed(range(1, len(extents))):
        for bit in range(log2(extents[dim])):
            bases.append(tuple((1 << bit) * (d == dim) for d in range(len(extents))))
    return TileLayout.of({OFFSET: bases}, sizes, (extents[0], *[1] * len(inner)))


def swizzled(rows: int, columns: int, bits: int, span: int = 128) -> TileLayout:
    """Memory whose 16-byte chunks are permuted within rows of `span` bytes.

    The chunk index is XORed with bits of the row, as TMA and wgmma do: PTX ISA, "Tensor
    memory swizzle". The base is 8 rows (128-byte span), and wider tiles are several
    blocks of `span` bytes one after another, each of all rows.

    Args:
        rows, columns: extents; columns along the contiguous dim.
        bits: of an element.
        span: 128, 64, 32, or 16 for no swizzle (8x16-byte core matrices).
    """
    width = span * 8 // bits
    chunk = 128 // bits
    rows_of_chunk = log2(128 // span)
    bases: list[Basis] = [(0, 1 << b) for b in range(log2(width))]
    for b in range(3):
        moved = b - rows_of_chunk
        flip = chunk << moved if moved >= 0 and (chunk << moved) < width else 0
        bases.append((1 << b, flip))
    return TileLayout.of(
        {OFFSET: bases}, (8, width), (_times(rows, 8), _times(columns, width))
    )


def vector_pieces(rows: int, columns: int, lanes: int) -> TileLayout:
    """A tile of one core: lanes along the last dim, the rest in registers.

    Args:
        rows, columns: extents; `lanes` divides `columns`.
        lanes: elements of a native vector, a power of two.
    """
    bases = [(0, 1 << b) for b in range(log2(lanes))]
    return TileLayout.of({LANE: bases}, (1, lanes), (rows, _times(columns, lanes)))


def _fragment_columns(bits: int) -> tuple[list[Basis], tuple[Basis, ...], int]:
    """Register and lane bases along a row of fragments, and the row's elements."""
    if bits not in (8, 16, 32):
        raise ValueError(f"expected elements of 8, 16 or 32 bits, got {bits}")
    per_register = 32 // bits
    registers: list[Basis] = [(0, 1 << b) for b in range(log2(per_register))]
    lane: tuple[Basis, ...] = (
        (0, per_register),
        (0, 2 * per_register),
        (1, 0),
        (2, 0),
        (4, 0),
    )
    return registers, lane, 8 * per_register


def _times(extent: int, unit: int) -> int:
    if extent % unit or extent < unit:
        raise ValueError(f"expected a multiple of {unit}, got {extent}")
    return extent // unit
