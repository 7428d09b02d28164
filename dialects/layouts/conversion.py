"""What it takes to get a tile from one layout into another, or into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from .hardware import matrix_8x8
from .linear import Array, LinearLayout, log2
from .tiled import LANE, REGISTER, WARP, TileLayout


class Conversion(StrEnum):
    """How elements have to travel, cheapest first."""

    NONE = "none"
    """The layouts are the same."""
    REGISTERS = "registers"
    """Each thread already holds all it needs: a renaming."""
    SHUFFLE = "shuffle"
    """Elements move between the lanes of a warp."""
    SHARED = "shared"
    """Elements move between warps, through shared memory."""


def classify(source: TileLayout, target: TileLayout) -> Conversion:
    """How a tile gets from `source` to `target`.

    Raises:
        ValueError: the two are not layouts of one tile over the same threads.
    """
    if source == target:
        return Conversion.NONE
    old, new = _common(source, target)
    registers, lanes = list(old.columns), list(old.columns)
    sizes = old.input_sizes
    count = log2(sizes.get(REGISTER, 1))
    in_warp = count + log2(sizes.get(LANE, 1))
    registers, lanes = registers[:count], lanes[:in_warp]
    if _spans(registers, _moves(old, new, (LANE, WARP))):
        return Conversion.REGISTERS
    if _spans(lanes, _moves(old, new, (WARP,))):
        return Conversion.SHUFFLE
    return Conversion.SHARED


def _common(source: TileLayout, target: TileLayout) -> tuple[LinearLayout, ...]:
    """Both layouts as linear ones of equal size, inputs in one order."""
    if source.extents != target.extents:
        raise ValueError(
            f"expected layouts of one tile, got {list(source.extents)} and "
            f"{list(target.extents)}"
        )
    if source.in_memory or target.in_memory:
        raise ValueError("expected distributed layouts")
    if (source.lanes, source.warps) != (target.lanes, target.warps):
        raise ValueError(
            f"expected layouts over the same threads, got {source.warps} warps of "
            f"{source.lanes} lanes and {target.warps} of {target.lanes}"
        )
    sizes = [
        max(a, b) for a, b in zip(source.base_extents, target.base_extents, strict=True)
    ]
    return tuple(_ordered(layout.lift(sizes)) for layout in (source, target))


def _ordered(layout: LinearLayout) -> LinearLayout:
    names = (REGISTER, LANE, WARP)
    return LinearLayout(
        tuple((name, layout.bases.get(name, ())) for name in names), layout.outputs
    )


def _moves(old: LinearLayout, new: LinearLayout, fixed: Sequence[str]) -> list[int]:
    """What must be made up for when the bits of the `fixed` inputs stay the same.

    An element that `new` puts at (register, lane, warp) is at the same `fixed` inputs
    in `old` exactly if these vectors are in the span of the other bases of `old`.
    """
    columns: list[int] = []
    start = 0
    for name, bases in new.inputs:
        for bit in range(len(bases)):
            column = new.columns[start + bit]
            if name in fixed:
                column ^= old.columns[_position(old, name) + bit]
            columns.append(column)
        start += len(bases)
    return columns


def _position(layout: LinearLayout, name: str) -> int:
    start = 0
    for other, bases in layout.inputs:
        if other == name:
            return start
        start += len(bases)
    raise ValueError(f"no input {name}")


def _spans(columns: Sequence[int], vectors: Sequence[int]) -> bool:
    def rank(rows: Sequence[int]) -> int:
        kept: list[int] = []
        for row in rows:
            for pivot in kept:
                row = min(row, row ^ pivot)
            if row:
                kept = sorted([*kept, row], reverse=True)
        return len(kept)

    return rank([*columns, *vectors]) == rank(columns)


def register_sources(
    source: TileLayout, target: TileLayout, offsets: Sequence[int] | None = None
) -> list[int]:
    """For each register of `target`, the register of `source` with the same element.

    An extent of 1 in `source` is repeated; with `offsets`, `target` is of the part that
    starts there. Lane and warp are the same, so one list holds for all threads.

    Raises:
        ValueError: some thread does not hold all it needs.
    """
    if (source.lanes, source.warps) != (target.lanes, target.warps):
        raise ValueError("expected layouts over the same threads")
    wanted = [
        np.zeros_like(c) if n == 1 else c + o
        for c, n, o in zip(
            target.coordinates,
            source.extents,
            offsets or (0,) * len(source.extents),
            strict=True,
        )
    ]
    keys = _flat(source.coordinates, source.extents)
    needs = _flat(wanted, source.extents)
    result: list[int] = []
    for register in range(target.registers):
        match = np.all(keys == needs[register], axis=(1, 2))
        if not match.any():
            raise ValueError(f"register {register} is held by other threads")
        result.append(int(np.argmax(match)))
    return result


def _flat(coordinates: Sequence[Array], extents: Sequence[int]) -> Array:
    index = np.zeros((), np.int64)
    for c, n in zip(coordinates, extents, strict=True):
        index = index * n + c
    return index


def vector_width(held: TileLayout, memory: TileLayout) -> int:
    """How many consecutive registers of a thread are consecutive in memory."""
    offsets = memory.offset_of(held.coordinates)
    width = 1
    while width * 2 <= held.registers and held.registers % (width * 2) == 0:
        groups = offsets.reshape(-1, width * 2, *offsets.shape[1:])
        steps = np.arange(width * 2)[None, :, None, None]
        aligned = groups[:, :1] % (width * 2) == 0
        if not (np.all(groups == groups[:, :1] + steps) and np.all(aligned)):
            break
        width *= 2
    return width


def bank_conflicts(held: TileLayout, memory: TileLayout, bits: int) -> int:
    """Extra passes that one shared memory access of a warp takes; 0 is conflict free.

    Shared memory has 32 banks of 4 bytes. An access of 16 bytes a lane is made of four
    quarter-warp passes, one of 8 bytes of two halves. The worst access of any warp
    counts.
    """
    width = min(vector_width(held, memory), 128 // bits)
    step = max(width * bits // 8, 1)
    lanes = 32 if step <= 4 else 128 // step
    first = memory.offset_of([c[::width] for c in held.coordinates])
    worst = 0
    for register in range(first.shape[0]):
        for warp in range(first.shape[2]):
            address = first[register, :, warp] * bits // 8
            for start in range(0, held.lanes, lanes):
                words = _words(address[start : start + lanes], step)
                _, counts = np.unique(words % 32, return_counts=True)
                worst = max(worst, int(counts.max()) - 1)
    return worst


def _words(address: Array, step: int) -> Array:
    """The distinct 4-byte words that accesses of `step` bytes touch."""
    last = (address + step - 1) // 4
    spans = [address // 4 + i for i in range(max(step // 4, 1))]
    return np.unique(np.concatenate([*spans, last]))


@dataclass(frozen=True)
class MatrixAccess:
    """An `ldmatrix` or `stmatrix` that moves a tile: `.x{count}`, maybe `.trans`.

    Attributes:
        along: the dim along which rows of matrices lie in memory.
    """

    count: int
    transposed: bool
    along: int = 1

    @property
    def flipped(self) -> bool:
        """Whether registers hold the matrices with their dims exchanged."""
        return self.transposed == (self.along == 1)


def matrix_access(
    held: TileLayout, memory: TileLayout, bits: int
) -> MatrixAccess | None:
    """The matrix instruction between registers and memory, or None if none fits.

    Registers must hold 8x8 matrices the way the instruction does, and each row of 8
    elements must be 16 consecutive bytes. See PTX ISA, "ldmatrix" and "stmatrix".
    """
    if bits != 16 or len(held.extents) != 2:
        return None
    for flipped in (False, True):
        one = matrix_8x8().permute([1, 0]) if flipped else matrix_8x8()
        rest = held.base.divide_left(one.base)
        if rest is None:
            continue
        for along in (0, 1):
            if _is_run_of_8(memory, along):
                matrices = held.registers // one.registers
                count = next(n for n in (4, 2, 1) if matrices % n == 0)
                return MatrixAccess(count, flipped == (along == 1), along)
    return None


def _is_run_of_8(memory: TileLayout, dim: int) -> bool:
    if memory.extents[dim] % 8:
        return False
    coords = memory.coordinates
    runs = [c.reshape(-1, 8) for c in coords]
    steps = np.arange(8)
    along = np.all(runs[dim] == runs[dim][:, :1] + steps)
    others = all(np.all(r == r[:, :1]) for d, r in enumerate(runs) if d != dim)
    return bool(along and others and np.all(runs[dim][:, 0] % 8 == 0))
