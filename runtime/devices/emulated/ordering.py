"""Happens-before: what the threads of a wave know of one another.

Time counts executed instructions. `known[w, c, l]` is the time up to which all lanes of
warp w know what lane l of column c did; a column is a warp of w's cluster, its copy
engine, or all other clusters. What single lanes know beyond that is kept apart, until
the warp meets. Barriers and mbarriers publish what threads did and know, thread by
thread, and hand it on; so do atomics, warp by warp. Between clusters only atomics order
anything (`Grid`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .wave import BARRIERS, WARP, Mask, Threads, Wave

Times = NDArray[np.int64]
ADDRESSES = 1024
"""Atomics on addresses that are equal modulo so many words count as one."""
SPACES = ("global", "shared")
"""Memories that fences of the asynchronous proxy are of."""


@dataclass
class Grid:
    """What orders warps of different clusters: atomics, taken as release and acquire.

    `released[c, w]` is the time up to which an atomic has published what column w of
    cluster c did: a warp, or its copy engine. `shown` is the same for what a fence of
    global memory has covered; fences behind an acquire cover what other clusters had
    released by the time `fenced`.
    """

    released: Times
    shown: Times
    fenced: int = -1

    @staticmethod
    def of(clusters: int, warps: int) -> Grid:
        """Nothing happened yet."""
        empty = np.full((clusters, warps + 1), -1, np.int64)
        return Grid(empty, empty.copy())


def _raise(table: Times, rows: Times, values: Times) -> None:
    """`table[row] = max(table[row], value)` for each of the rows, with repetitions."""
    if not rows.size:
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    most = np.maximum.reduceat(values[order], starts, axis=0)
    table[ordered[starts]] = np.maximum(table[ordered[starts]], most)


@dataclass
class Ordering:
    """The vector clocks of a wave.

    `_shown` is as `known`, for what a fence of the asynchronous proxy has covered after
    it was known; by the space of memory that the fence is of, once there is one.
    """

    wave: Wave
    grid: Grid
    first: int
    now: int
    known: Times = field(init=False)
    column: Times = field(init=False)
    _shown: dict[str, Times] = field(default_factory=dict[str, Times])
    _more: NDArray[np.bool_] = field(init=False)
    _beyond: dict[int, Times] = field(default_factory=dict[int, Times])
    _tables: dict[tuple[str, str], Times] = field(
        default_factory=dict[tuple[str, str], Times]
    )
    _mbarriers: dict[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        wave = self.wave
        blocks = wave.launch.blocks
        warps = wave.count // WARP
        number, block = np.arange(warps) // wave.blocks, wave.block_of[::WARP]
        self.column = block % blocks * wave.warps + number
        self.warps = wave.warps * blocks
        self.cluster = self.first // blocks + block // blocks
        self.known = np.full((warps, self.warps + 2, WARP), -1, np.int64)
        self._more = np.zeros(wave.count, np.bool_)
        # The number of a warp in the whole grid.
        self.grid_warp = (self.first + block) * wave.warps + number

    @property
    def engine(self) -> int:
        """The column of the copy engine."""
        return self.warps

    @property
    def others(self) -> int:
        """The column of what atomics of other clusters have published."""
        return self.warps + 1

    def knows(self, thread: Times, column: Times, lane: Times) -> Times:
        """The times up to which threads know what lanes of columns did."""
        found = self.known[thread // WARP, column, lane]
        more = self._more[thread]
        if more.any():
            for one in np.unique(thread[more]).tolist():
                mine = thread == one
                beyond = self._beyond[one][column[mine], lane[mine]]
                found[mine] = np.maximum(found[mine], beyond)
        return found

    def thread_at(self, near: Times, column: Times, lane: Times) -> Times:
        """The threads of the wave at columns and lanes of the clusters of warps."""
        wave, blocks = self.wave, self.wave.launch.blocks
        cluster = wave.block_of[near * WARP] // blocks
        rank, number = column // wave.warps, column % wave.warps
        block = cluster * blocks + rank
        return (number * wave.blocks + block) * WARP + lane

    def published(
        self, cluster: Times, column: Times, when: Times, later: Times
    ) -> NDArray[np.bool_]:
        """Whether atomics order what columns of other clusters did before warps.

        `later` are warps of this wave.
        """
        released = self.grid.released[cluster, column]
        return (released >= when) & (self.known[later, self.others, 0] >= when)

    def shows(
        self, space: str, warp: Times, column: Times, lane: Times, when: Times
    ) -> NDArray[np.bool_]:
        """Whether fences have shown warps what lanes of their clusters did."""
        shown = self._shown.get(space)
        if shown is None:
            return np.zeros(warp.shape, np.bool_)
        return shown[warp, column, lane] >= when

    def shows_published(
        self, cluster: Times, column: Times, when: Times, later: Times
    ) -> NDArray[np.bool_]:
        """The same of global memory, for what atomics order (`published`)."""
        fenced = self.grid.shown[cluster, column] >= when
        fenced |= self.grid.fenced >= when
        mine = self._shown.get("global")
        return (
            fenced if mine is None else fenced | (mine[later, self.others, 0] >= when)
        )

    def meet(self, threads: Threads, mask: Mask) -> None:
        """The lanes of each warp in the mask know what they all did and knew."""
        whole, parts = self._parted(threads, mask, np.zeros(mask.size, np.int64))
        for warp in whole[self._more.reshape(-1, WARP)[whole].any(axis=1)]:
            for thread in range(warp * WARP, warp * WARP + WARP):
                if self._more[thread]:
                    beyond = self._beyond.pop(thread)
                    self.known[warp] = np.maximum(self.known[warp], beyond)
                    self._more[thread] = False
        self.known[whole, self.column[whole]] = self.now
        for warp in np.unique(parts // WARP):
            lanes = parts[parts // WARP == warp]
            clocks = np.maximum.reduce([self._clock(thread) for thread in lanes])
            clocks[self.column[warp], lanes % WARP] = self.now
            for thread in lanes.tolist():
                self._more[thread] = True
                self._beyond[thread] = clocks.copy()

    def fence(self, threads: Threads, mask: Mask, spaces: Sequence[str]) -> None:
        """A fence of the asynchronous proxy, of these spaces."""
        warps = self.warps_of(threads, mask)
        own = self.column[warps]
        lanes = mask.reshape(-1, WARP)[warps - threads.start // WARP]
        for space in spaces:
            if space not in self._shown:
                self._shown[space] = np.full_like(self.known, -1)
            shown = self._shown[space]
            shown[warps] = np.maximum(shown[warps], self.known[warps])
            shown[warps, own] = np.where(lanes, self.now, shown[warps, own])
            for thread in self._singular(threads, mask):
                warp, beyond = thread // WARP, self._beyond[thread]
                shown[warp] = np.maximum(shown[warp], beyond)

    @staticmethod
    def warps_of(threads: Threads, mask: Mask) -> NDArray[np.int64]:
        """The warps of the wave that have threads in the mask."""
        present = np.logical_or.reduce(mask.reshape(-1, WARP), axis=1)
        return np.flatnonzero(present) + threads.start // WARP

    def release(self, threads: Threads, mask: Mask, kind: str, keys: Times) -> None:
        """The threads publish what they did and know, under keys (one per thread)."""
        if kind == "atomic":
            self._release_atomic(threads, mask, keys)
            return
        rows = self._rows(kind, keys)
        at = np.zeros(mask.size, np.int64)
        at[mask] = rows
        whole, parts = self._parted(threads, mask, at)
        known = self._table(kind)
        at_first = at.reshape(-1, WARP)[:, 0][whole - threads.start // WARP]
        clocks = self.known[whole]
        clocks[np.arange(whole.size), self.column[whole]] = self.now
        for thread in self._singular(threads, mask):
            place = np.flatnonzero(whole == thread // WARP)
            clocks[place] = np.maximum(clocks[place], self._beyond[thread])
        _raise(known, at_first, clocks)
        for space, shown in self._shown.items():
            _raise(self._table(kind, space), at_first, shown[whole])
        for thread in parts:
            row, warp = at[thread - threads.start], thread // WARP
            clock = self._clock(thread)
            clock[self.column[warp], thread % WARP] = self.now
            known[row] = np.maximum(known[row], clock)
            for space, shown in self._shown.items():
                table = self._table(kind, space)
                table[row] = np.maximum(table[row], shown[warp])

    def acquire(self, threads: Threads, mask: Mask, kind: str, keys: Times) -> None:
        """The threads take over what was published under keys."""
        if kind == "atomic":
            self._acquire_atomic(threads, mask, keys)
            return
        at = np.zeros(mask.size, np.int64)
        at[mask] = self._rows(kind, keys)
        whole, parts = self._parted(threads, mask, at)
        known = self._table(kind)
        rows = at.reshape(-1, WARP)[:, 0][whole - threads.start // WARP]
        self.known[whole] = np.maximum(self.known[whole], known[rows])
        for space, shown in self._shown.items():
            table = self._table(kind, space)
            shown[whole] = np.maximum(shown[whole], table[rows])
        for thread in parts.tolist():
            row, warp = at[thread - threads.start], thread // WARP
            self._beyond[thread] = np.maximum(self._clock(thread), known[row])
            self._more[thread] = True
            for space, shown in self._shown.items():
                table = self._table(kind, space)
                shown[warp] = np.maximum(shown[warp], table[row])

    def landed(self, key: int) -> None:
        """The copy engine publishes, under an mbarrier, that a copy has landed."""
        row = self._mbarrier_row(key)
        self._table("mbarrier")[row, self.engine] = self.now

    def _clock(self, thread: int) -> Times:
        """A copy of what a thread knows."""
        shared = self.known[thread // WARP]
        if self._more[thread]:
            return np.maximum(shared, self._beyond[thread])
        return shared.copy()

    def _singular(self, threads: Threads, mask: Mask) -> list[int]:
        """The threads of a mask that know more than their warps."""
        if not self._beyond:
            return []
        here = mask & self._more[threads.start : threads.stop]
        return (np.flatnonzero(here) + threads.start).tolist()

    def _parted(
        self, threads: Threads, mask: Mask, at: Times
    ) -> tuple[Times, NDArray[np.int64]]:
        """Warps all of whose threads are here and go to one row, and other threads."""
        here, rows = mask.reshape(-1, WARP), at.reshape(-1, WARP)
        there = here | threads.exited.reshape(-1, WARP)
        lead = rows[np.arange(len(rows)), here.argmax(axis=1)]
        alike = ((rows == lead[:, None]) | ~here).all(axis=1)
        whole = here.any(axis=1) & there.all(axis=1) & alike
        rows[whole, 0] = lead[whole]
        parts = np.flatnonzero((here & ~whole[:, None]).reshape(-1))
        first = threads.start // WARP
        return np.flatnonzero(whole) + first, parts + threads.start

    # Atomics, whose addresses are many: clocks of whole warps.

    def _release_atomic(self, threads: Threads, mask: Mask, keys: Times) -> None:
        warps, rows = self._pairs(threads, mask, keys)
        clocks = self.known[warps].max(axis=2)
        for thread in self._singular(threads, mask):
            place = np.flatnonzero(warps == thread // WARP)
            beyond = self._beyond[thread].max(axis=1)
            clocks[place] = np.maximum(clocks[place], beyond)
        clocks[np.arange(warps.size), self.column[warps]] = self.now
        _raise(self._table("atomic"), rows, clocks)
        clusters, grid = self.cluster[warps], self.grid
        _raise(grid.released, clusters, clocks[:, : self.others])
        for space, shown in self._shown.items():
            covered = shown[warps].max(axis=2)
            _raise(self._table("atomic", space), rows, covered)
            if space == "global":
                _raise(grid.shown, clusters, covered[:, : self.others])
                grid.fenced = max(grid.fenced, int(covered[:, self.others].max()))

    def _acquire_atomic(self, threads: Threads, mask: Mask, keys: Times) -> None:
        warps, rows = self._pairs(threads, mask, keys)
        for what, own in (("known", self.known), *self._shown.items()):
            found = self._table("atomic", what)[rows][:, :, None]
            _raise(own, warps, np.repeat(found, WARP, axis=2))
        self.known[warps, self.others] = self.now

    def _pairs(self, threads: Threads, mask: Mask, keys: Times) -> tuple[Times, Times]:
        """The (warp, row of the table) pairs of the threads of a mask."""
        lanes = np.flatnonzero(mask)
        cluster = threads.block_of[lanes] // self.wave.launch.blocks
        rows = cluster * ADDRESSES + keys // 4 % ADDRESSES
        warps = (lanes + threads.start) // WARP
        if warps.size == 1:
            return warps, rows
        size = 1 << 40
        pairs = np.unique(warps * size + rows)
        return pairs // size, pairs % size

    def _rows(self, kind: str, keys: Times) -> Times:
        if kind == "mbarrier":
            known, back = np.unique(keys, return_inverse=True)
            rows = np.array([self._mbarrier_row(int(key)) for key in known])
            return rows[back]
        return keys

    def _mbarrier_row(self, key: int) -> int:
        return self._mbarriers.setdefault(key, len(self._mbarriers))

    def _table(self, kind: str, what: str = "known") -> Times:
        """What was published, per key: knowledge, or what fences of a space cover."""
        wave, columns = self.wave, self.warps + 2
        found = self._tables.get((kind, what))
        if found is None:
            shape = {
                "barrier": (wave.blocks * BARRIERS, columns, WARP),
                "cluster": (wave.clusters, columns, WARP),
                "mbarrier": (64, columns, WARP),
                "atomic": (wave.clusters * ADDRESSES, columns),
            }[kind]
            found = self._tables[kind, what] = np.full(shape, -1, np.int64)
        while kind == "mbarrier" and len(found) < len(self._mbarriers):
            found = np.concatenate([found, np.full_like(found, -1)])
            self._tables[kind, what] = found
        return found
