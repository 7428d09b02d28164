"""How elements meet: plans of reductions, and of moves between threads.

A plan says which registers, lanes and warps take part, and how much shared memory a
trip needs; code generation follows it, and the planner of shared memory asks it for
sizes. So both agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from math import prod

import numpy as np

from .linear import Array
from .tiled import LANE, WARP, TileLayout

MOST_SHUFFLES = 32
"""Shuffles of a thread that are still cheaper than a trip through shared memory."""
ALIGNMENT = 16
"""Bytes that a region of shared memory is aligned to: the widest access."""


# ---- reductions ---------------------------------------------------------------------


@dataclass(frozen=True)
class ReducePlan:
    """How a layout is reduced along a dim.

    Attributes:
        outputs: for each register, the register of the result it is folded into; -1
            for one that repeats another.
        lanes, warps: bits of the lane and the warp to fold over.
        kept_lanes, kept_warps: bits of the lane and the warp that the result keeps.
    """

    outputs: tuple[int, ...]
    lanes: tuple[int, ...]
    warps: tuple[int, ...]
    kept_lanes: tuple[int, ...]
    kept_warps: tuple[int, ...]

    @property
    def results(self) -> int:
        """Registers of the result."""
        return max(self.outputs) + 1

    @property
    def slots(self) -> int:
        """Results that one warp position brings to shared memory."""
        return self.results << (len(self.kept_lanes) + len(self.kept_warps))

    def bytes(self, size: int) -> int:
        """Shared memory for partial results of `size` bytes each."""
        if not self.warps:
            return 0
        return aligned(self.slots * size << len(self.warps))


def aligned(size: int) -> int:
    """A size rounded up to whole vectors."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@lru_cache(maxsize=4096)
def reduce_plan(layout: TileLayout, dim: int) -> ReducePlan:
    """The plan of a reduction along a dim.

    Raises:
        ValueError: a bit of the thread moves along this dim and another one.
    """
    places = _flat(layout, skip=dim)
    wanted = _flat(layout.slice(dim), skip=dim)
    along = layout.coordinates[dim][:, 0, 0]
    outputs: list[int] = []
    seen: set[tuple[int, int]] = set()
    for register in range(layout.registers):
        match = np.all(wanted == places[register], axis=(1, 2))
        key = (int(np.argmax(match)), int(along[register]))
        outputs.append(-1 if key in seen else key[0])
        seen.add(key)
    lanes, kept_lanes = _bits(layout, LANE, dim)
    warps, kept_warps = _bits(layout, WARP, dim)
    return ReducePlan(tuple(outputs), lanes, warps, kept_lanes, kept_warps)


def _flat(layout: TileLayout, skip: int | None = None) -> Array:
    """The coordinates as one number each, `[registers, lanes, warps]`."""
    total = np.zeros((), np.int64)
    for d, (c, n) in enumerate(zip(layout.coordinates, layout.extents, strict=True)):
        if d != skip:
            total = total * n + c
    return np.broadcast_to(total, (layout.registers, layout.lanes, layout.warps))


def _bits(
    layout: TileLayout, name: str, dim: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bits of the lane or warp that move along the dim, and along others."""
    free = layout.base.free_bits().get(name, 0)
    along: list[int] = []
    kept: list[int] = []
    for bit, basis in enumerate(layout.base.bases.get(name, ())):
        others = any(v for d, v in enumerate(basis) if d != dim)
        if basis[dim] and (others or free >> bit & 1):
            raise ValueError("expected threads that move along one dim at a time")
        if basis[dim]:
            along.append(bit)
        elif others and not free >> bit & 1:
            kept.append(bit)
    return tuple(along), tuple(kept)


# ---- moves --------------------------------------------------------------------------


@dataclass(frozen=True)
class Shuffle:
    """A register that comes from other lanes of the warp.

    Attributes:
        registers: one or two registers of the source.
        lane: the lane to read, by thread.
        second: by thread, whether it is the second of the registers.
    """

    registers: tuple[int, ...]
    lane: tuple[int, ...]
    second: tuple[bool, ...]


@dataclass(frozen=True)
class Staging:
    """A trip through shared memory: elements per step along each dim, and their number.

    Dims are in an order and with padding that make both accesses wide and free of
    conflicts.
    """

    strides: tuple[int, ...]
    elements: int


@dataclass(frozen=True)
class Exchange:
    """How a tile gets from one layout into another: by exactly one of three ways."""

    registers: tuple[int, ...] | None = None
    shuffles: tuple[Shuffle, ...] | None = None
    staging: Staging | None = None

    def bytes(self, size: int) -> int:
        """Shared memory for elements of `size` bytes."""
        return 0 if self.staging is None else aligned(self.staging.elements * size)


@lru_cache(maxsize=4096)
def exchange(source: TileLayout, target: TileLayout, size: int) -> Exchange:
    """The cheapest way from `source` to `target`, for elements of `size` bytes.

    Both layouts may have different extents with the same elements in row-major order.

    Raises:
        ValueError: the layouts are not of the same threads.
    """
    if (source.lanes, source.warps) != (target.lanes, target.warps):
        raise ValueError("expected layouts over the same threads")
    have, need = _flat(source), _flat(target)
    renamed = _renamed(have, need)
    if renamed is not None:
        return Exchange(registers=renamed)
    shuffles = _shuffles(have, need, max(size // 4, 1))
    if shuffles is not None:
        return Exchange(shuffles=shuffles)
    return Exchange(staging=_staging(source, target, size))


def _renamed(have: Array, need: Array) -> tuple[int, ...] | None:
    rows = {row.tobytes(): n for n, row in reversed(list(enumerate(have)))}
    found = [rows.get(row.tobytes()) for row in need]
    return None if None in found else tuple(n for n in found if n is not None)


def _shuffles(have: Array, need: Array, words: int) -> tuple[Shuffle, ...] | None:
    registers, lanes, warps = have.shape
    count = int(max(have.max(), need.max())) + 1
    where = np.full((warps, count), -1)
    place = np.arange(registers)[:, None] * lanes + np.arange(lanes)[None, :]
    for warp in range(warps):
        where[warp, have[::-1, ::-1, warp].reshape(-1)] = place[::-1, ::-1].reshape(-1)
    found = np.stack([where[w, need[:, :, w]] for w in range(warps)], axis=1)
    if (found < 0).any():
        return None
    moves: list[Shuffle] = []
    for row in found:
        register, lane = (row // lanes).reshape(-1), (row % lanes).reshape(-1)
        used = tuple(int(r) for r in np.unique(register))
        if len(used) > 2 or not (_is_linear(lane) and _is_linear(register)):
            return None
        second = tuple(bool(r != min(used)) for r in register)
        moves.append(Shuffle(used, tuple(int(i) for i in lane), second))
    if sum(len(m.registers) for m in moves) * words > MOST_SHUFFLES:
        return None
    return tuple(moves)


def _is_linear(values: Array) -> bool:
    """Whether a table of a thread's index is linear over F2, up to a start."""
    moved = values ^ values[0]
    total = np.zeros_like(moved)
    index = np.arange(len(values))
    for bit in range(len(values).bit_length() - 1):
        total = total ^ ((index >> bit & 1) * moved[1 << bit])
    return bool(np.array_equal(total, moved))


def _staging(source: TileLayout, target: TileLayout, size: int) -> Staging:
    if source.extents != target.extents:
        strides = _strides(source.extents, range(len(source.extents)), 0)
        return Staging(strides, prod(source.extents))
    return min(
        _candidates(source.extents, size),
        key=lambda s: (
            _passes(source, s.strides, size) + _passes(target, s.strides, size),
            s.elements,
        ),
    )


def _candidates(extents: Sequence[int], size: int) -> Iterator[Staging]:
    dims = [d for d, n in enumerate(extents) if n > 1]
    orders = permutations(dims) if len(dims) <= 3 else [tuple(dims)]
    for order in orders:
        for padding in sorted({0, max(4 // size, 1), 8 // size, 16 // size}):
            if padding and len(dims) < 2:
                continue
            strides = _strides(extents, order, padding)
            last = sum((n - 1) * s for n, s in zip(extents, strides, strict=True))
            yield Staging(strides, last + 1)


def _strides(
    extents: Sequence[int], order: Sequence[int], padding: int
) -> tuple[int, ...]:
    """Elements per step along each dim; the last of `order` is contiguous."""
    strides = [0] * len(extents)
    step = 1
    for position, dim in enumerate(reversed(list(order))):
        strides[dim] = step
        step *= extents[dim]
        if position == 0:
            step += padding
    return tuple(strides)


def _passes(layout: TileLayout, strides: Sequence[int], size: int) -> float:
    """Passes over the banks that the accesses of one warp take, per register."""
    pairs = zip(layout.coordinates, strides, strict=True)
    offsets = np.asarray(sum(c[:, :, 0] * s for c, s in pairs))
    width = 1
    while width * 2 * size <= 16 and len(offsets) % (width * 2) == 0:
        groups = offsets.reshape(-1, width * 2, offsets.shape[1])
        run = groups == groups[:, :1] + np.arange(width * 2)[None, :, None]
        if not (np.all(run) and np.all(groups[:, 0] % (width * 2) == 0)):
            break
        width *= 2
    first = offsets[::width][:8] * size
    step = max(width * size, 4)
    part = max(32 * 4 // step, 1)
    total = 0
    for row in first:
        for start in range(0, len(row), part):
            words = np.unique(
                (row[start : start + part, None] + np.arange(0, step, 4)) // 4
            )
            total += int(np.bincount(words % 32).max())
    return total / (len(first) * width)


__all__ = [
    "Exchange",
    "ReducePlan",
    "Shuffle",
    "Staging",
    "aligned",
    "exchange",
    "reduce_plan",
]
