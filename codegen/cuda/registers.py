"""Tiles in registers: pieces, single registers, other orders of the same registers.

A thread's share of a tile is a few LLVM vectors of equal length, so that an elementwise
op is one op per vector. NVPTX gives each lane a register of its own: shuffles of lanes
are renamings and cost nothing on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import i32
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import lanes_of, vector
from stepwell.codegen.scalars.elements import Carriers
from stepwell.dialects.layouts import LayoutAttr, TileLayout
from stepwell.dialects.tile import TileType
from stepwell.errors import CompileError

CARRIERS = Carriers(index=i32, bf16=True, nan_extrema=True)
"""Registers carry bf16 as such and indices as i32; `max.NaN` is an instruction."""

MOST_LANES = 16
"""Registers of a tile that are one LLVM vector: few ops here, short lives in PTX."""


@dataclass(frozen=True)
class Registers:
    """A tile: what this thread holds, the registers of the layout in equal vectors."""

    kind: TileType
    pieces: tuple[SSAValue, ...]

    @property
    def lanes(self) -> int:
        """Registers of one piece."""
        return lanes_of(self.pieces[0].type)

    @property
    def layout(self) -> TileLayout:
        """The tile's layout."""
        return layout_of(self.kind)

    @property
    def count(self) -> int:
        """The number of registers."""
        return self.lanes * len(self.pieces)


def layout_of(kind: Attribute) -> TileLayout:
    """The layout of a tile type.

    Raises:
        CompileError: it has none.
    """
    if not isinstance(kind, TileType) or not isinstance(kind.layout, LayoutAttr):
        raise CompileError(f"expected a tile with a layout, got {kind}")
    return kind.layout.data


def usual_lanes(kind: TileType) -> int:
    """Registers of a piece of a tile where nothing else decides: a power of two."""
    count = layout_of(kind).registers
    return min(count & -count, MOST_LANES)


def register(b: Builder, held: Registers, index: int) -> SSAValue:
    """One register."""
    lanes = held.lanes
    piece = held.pieces[index // lanes]
    return piece if lanes == 1 else b.extract(piece, index % lanes)


def take(b: Builder, held: Registers, indices: Sequence[int]) -> SSAValue:
    """Some registers as one vector, or one of them as a scalar."""
    lanes = held.lanes
    count = len(indices)
    if count == 1:
        return register(b, held, indices[0])
    first = indices[0]
    if lanes == count and first % lanes == 0 and _is_run(indices):
        return held.pieces[first // lanes]
    if len(set(indices)) == 1:
        return b.splat(register(b, held, first), count)
    if lanes == 1:
        return pack(b, [held.pieces[i] for i in indices])
    used = sorted({i // lanes for i in indices})
    if len(used) > 2 and _is_run(indices) and first % lanes == 0:
        return join(b, held.pieces[used[0] : used[-1] + 1])
    return _gather(b, [held.pieces[p] for p in used], used, indices)


def _is_run(indices: Sequence[int]) -> bool:
    return all(i == indices[0] + n for n, i in enumerate(indices))


def _gather(
    b: Builder,
    pieces: Sequence[SSAValue],
    numbers: Sequence[int],
    wanted: Sequence[int],
) -> SSAValue:
    """Lanes of several vectors of one type, two vectors at a time."""
    lanes = lanes_of(pieces[0].type)
    total: SSAValue | None = None
    for start in range(0, len(pieces), 2):
        pair = pieces[start : start + 2]
        chosen: dict[int, int] = {}
        for offset, number in enumerate(numbers[start : start + 2]):
            for position, index in enumerate(wanted):
                if index // lanes == number:
                    chosen[position] = offset * lanes + index % lanes
        mask = [chosen.get(p, -1) for p in range(len(wanted))]
        other = pair[1] if len(pair) == 2 else b.poison(pair[0].type)
        part = b.shuffle(pair[0], other, mask)
        if total is not None:
            both = [len(wanted) + p if p in chosen else p for p in range(len(wanted))]
            part = b.shuffle(total, part, both)
        total = part
    assert total is not None
    return total


def join(b: Builder, parts: Sequence[SSAValue]) -> SSAValue:
    """Vectors of one type, a power of two of them, one behind the other."""
    parts = list(parts)
    while len(parts) > 1:
        lanes = 2 * lanes_of(parts[0].type)
        if lanes == 2:
            parts = [pack(b, parts[i : i + 2]) for i in range(0, len(parts), 2)]
            continue
        parts = [
            b.shuffle(parts[i], parts[i + 1], range(lanes))
            for i in range(0, len(parts), 2)
        ]
    return parts[0]


def pack(b: Builder, values: Sequence[SSAValue]) -> SSAValue:
    """Scalars as one vector."""
    if len(values) == 1:
        return values[0]
    result = b.poison(vector(values[0].type, len(values)))
    for lane, value in enumerate(values):
        result = b.insert_lane(result, value, lane)
    return result


def split(b: Builder, value: SSAValue, lanes: int) -> list[SSAValue]:
    """A vector cut into vectors of `lanes` lanes."""
    total = lanes_of(value.type)
    if total == lanes:
        return [value]
    if lanes == 1:
        return [b.extract(value, i) for i in range(total)]
    poison = b.poison(value.type)
    starts = range(0, total, lanes)
    return [b.shuffle(value, poison, range(s, s + lanes)) for s in starts]


def in_pieces(b: Builder, held: Registers, lanes: int) -> tuple[SSAValue, ...]:
    """All registers in vectors of `lanes` lanes."""
    if held.lanes == lanes:
        return held.pieces
    starts = range(0, held.count, lanes)
    return tuple(take(b, held, range(s, s + lanes)) for s in starts)


def normal(b: Builder, held: Registers) -> Registers:
    """The tile in pieces of the usual length."""
    lanes = usual_lanes(held.kind)
    return Registers(held.kind, in_pieces(b, held, lanes))


def scalars_of(b: Builder, held: Registers) -> list[SSAValue]:
    """Every register on its own."""
    return [register(b, held, i) for i in range(held.count)]
