"""Happens-before: what the warps of a wave know of one another.

Time counts executed instructions. `known[w, c]` is the time up to which warp w knows
what column c did: a warp of w's cluster, its copy engine, or all other clusters.
Barriers, mbarriers and atomics publish what a warp knows and hand it on. Within a warp
only a convergent instruction or a barrier orders its lanes: `met` is when each thread
last took part in one. Between clusters only atomics order anything (`Grid`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .wave import BARRIERS, WARP, Mask, Threads, Wave

Times = NDArray[np.int64]
ADDRESSES = 1024
"""Atomics on addresses that are equal modulo so many words count as one."""


@dataclass
class Grid:
    """What orders warps of different clusters: atomics, taken as release and acquire.

    `released[c, w]` is the time up to which an atomic has published what warp w of
    cluster c did.
    """

    released: Times

    @staticmethod
    def of(clusters: int, warps: int) -> Grid:
        """Nothing happened yet."""
        return Grid(np.full((clusters, warps), -1, np.int64))


def _raise(table: Times, rows: Times, values: Times) -> None:
    """`table[row] = max(table[row], value)` for each of the rows, with repetitions."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    most = np.maximum.reduceat(values[order], starts, axis=0)
    table[ordered[starts]] = np.maximum(table[ordered[starts]], most)


@dataclass
class Ordering:
    """The vector clocks of a wave.

    `shown` is as `known`, for what a fence of the asynchronous proxy has covered after
    it was known; `fenced` is when each thread last executed such a fence.
    """

    wave: Wave
    grid: Grid
    first: int
    now: int
    known: Times = field(init=False)
    shown: Times = field(init=False)
    met: Times = field(init=False)
    fenced: Times = field(init=False)
    column: Times = field(init=False)
    _tables: dict[str, tuple[Times, Times]] = field(init=False)
    _mbarriers: dict[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        wave = self.wave
        blocks = wave.launch.blocks
        warps = wave.count // WARP
        number, block = np.arange(warps) // wave.blocks, wave.block_of[::WARP]
        self.column = block % blocks * wave.warps + number
        self.columns = wave.warps * blocks + 2
        self.cluster = self.first // blocks + block // blocks
        self.known = np.full((warps, self.columns), -1, np.int64)
        self.shown = self.known.copy()
        self.met = np.full(wave.count, -1, np.int64)
        self.fenced = self.met.copy()
        self._tables = {}
        # The number of a warp in the whole grid.
        self.grid_warp = (self.first + block) * wave.warps + number

    @property
    def engine(self) -> int:
        """The column of the copy engine."""
        return self.columns - 2

    @property
    def others(self) -> int:
        """The column of what atomics of other clusters have published."""
        return self.columns - 1

    def published(self, warps: Times, when: Times, later: Times) -> NDArray[np.bool_]:
        """Whether atomics order accesses of other clusters before warps of this wave.

        `warps` are numbers in the grid, `later` in the wave.
        """
        width = self.columns - 2
        released = self.grid.released[warps // width, warps % width]
        return (released >= when) & (self.known[later, self.others] >= when)

    def meet(self, threads: Threads, mask: Mask) -> None:
        """A convergent instruction: the lanes of each warp have met."""
        np.copyto(self.met[threads.start : threads.stop], self.now, where=mask)

    def fence(self, threads: Threads, mask: Mask) -> None:
        """A fence of the asynchronous proxy."""
        np.copyto(self.fenced[threads.start : threads.stop], self.now, where=mask)
        warps = self.warps_of(threads, mask)
        self.shown[warps] = np.maximum(self.shown[warps], self.known[warps])

    @staticmethod
    def warps_of(threads: Threads, mask: Mask) -> NDArray[np.int64]:
        """The warps of the wave that have threads in the mask."""
        present = np.logical_or.reduce(mask.reshape(-1, WARP), axis=1)
        return np.flatnonzero(present) + threads.start // WARP

    def release(self, threads: Threads, mask: Mask, kind: str, keys: Times) -> None:
        """The warps publish what they did and know, under keys (one per thread)."""
        self.meet(threads, mask)
        warps, rows = self._pairs(threads, mask, kind, keys)
        self.known[warps, self.column[warps]] = self.now
        known, shown = self._table(kind)
        _raise(known, rows, self.known[warps])
        _raise(shown, rows, self.shown[warps])
        if kind == "atomic":
            released = self.known[warps, : self.columns - 2]
            _raise(self.grid.released, self.cluster[warps], released)

    def acquire(self, threads: Threads, mask: Mask, kind: str, keys: Times) -> None:
        """The warps take over what was published under keys."""
        self.meet(threads, mask)
        warps, rows = self._pairs(threads, mask, kind, keys)
        known, shown = self._table(kind)
        _raise(self.known, warps, known[rows])
        _raise(self.shown, warps, shown[rows])
        if kind == "atomic":
            self.known[warps, self.others] = self.now

    def landed(self, key: int) -> None:
        """The copy engine publishes, under an mbarrier, that a copy has landed."""
        known, _ = self._table("mbarrier")
        known[self._mbarrier_row(key), self.engine] = self.now

    def _pairs(
        self, threads: Threads, mask: Mask, kind: str, keys: Times
    ) -> tuple[Times, Times]:
        """The (warp, row of the table) pairs of the threads of a mask."""
        lanes = np.flatnonzero(mask)
        rows = self._rows(kind, keys, threads.block_of[lanes])
        warps = (lanes + threads.start) // WARP
        if warps.size == 1:
            return warps, rows
        size = 1 << 40
        pairs = np.unique(warps * size + rows)
        return pairs // size, pairs % size

    def _rows(self, kind: str, keys: Times, blocks: Times) -> Times:
        if kind == "mbarrier":
            known, back = np.unique(keys, return_inverse=True)
            rows = np.array([self._mbarrier_row(int(key)) for key in known])
            return rows[back]
        if kind == "atomic":
            cluster = blocks // self.wave.launch.blocks
            return cluster * ADDRESSES + keys // 4 % ADDRESSES
        return keys

    def _mbarrier_row(self, key: int) -> int:
        row = self._mbarriers.setdefault(key, len(self._mbarriers))
        known, shown = self._table("mbarrier")
        if row == len(known):
            more = np.full_like(known, -1)
            self._tables["mbarrier"] = (
                np.concatenate([known, more]),
                np.concatenate([shown, more]),
            )
        return row

    def _table(self, kind: str) -> tuple[Times, Times]:
        """What was published, per key: knowledge, and what fences covered of it."""
        found = self._tables.get(kind)
        if found is None:
            wave = self.wave
            rows = {
                "barrier": wave.blocks * BARRIERS,
                "cluster": wave.clusters,
                "mbarrier": 64,
                "atomic": wave.clusters * ADDRESSES,
            }[kind]
            empty = np.full((rows, self.columns), -1, np.int64)
            found = self._tables[kind] = (empty, empty.copy())
        return found
