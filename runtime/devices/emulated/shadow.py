"""Shadow memory: who touched each granule of memory last, when, at which PTX line.

A granule is the narrowest access of the module, so that neighbours are told apart.
Threads are numbered through the grid for global memory, through the wave for shared;
copies have numbers too (`copies.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .copies import IN_FLIGHT, MOST_READS, PAGE, Pages

NOBODY = -1
NEVER = -1

Offsets = NDArray[np.int64]


@dataclass
class Last:
    """The last access of one kind, per granule: who, when, at which line.

    Arrays hold numbers plus one, so that untouched pages of zeros cost no memory. What
    happened before `since` (an earlier launch) does not count.
    """

    _who: NDArray[np.int64]
    _when: NDArray[np.int64]
    _line: NDArray[np.int32]
    since: int = 0

    @staticmethod
    def of(granules: int) -> Last:
        """Nobody yet."""
        return Last(
            np.zeros(granules, np.int64),
            np.zeros(granules, np.int64),
            np.zeros(granules, np.int32),
        )

    def who(self, at: Offsets) -> NDArray[np.int64]:
        """A thread, ENGINE, a copy or NOBODY."""
        return np.where(self._when[at] > self.since, self._who[at] - 1, NOBODY)

    def when(self, at: Offsets) -> NDArray[np.int64]:
        """A time, IN_FLIGHT or NEVER."""
        return self._when[at] - 1

    def line(self, at: Offsets) -> NDArray[np.int32]:
        """A line of PTX; negative for atomics."""
        return self._line[at]

    def put(self, at: Offsets, who: Offsets | int, when: int, line: int) -> None:
        """Remember an access."""
        self._who[at] = who + 1
        self._when[at] = when + 1
        self._line[at] = line

    def settle(self, at: Offsets, when: int, who: int | None = None) -> None:
        """What was in flight has happened, or another has had part in it."""
        self._when[at] = when + 1
        if who is not None:
            self._who[at] = who + 1

    def clear(self, stride: int, used: int) -> None:
        """Nobody touched the first `used` of every `stride` granules."""
        for array in (self._who, self._when):
            array.reshape(-1, stride)[:, :used] = 0

    def forget(self, at: Offsets) -> None:
        """Nobody."""
        self._who[at] = 0
        self._when[at] = 0


@dataclass
class Readers:
    """All reads of each granule since its last write, as chains of entries.

    `_head` is the youngest entry of a granule's chain; 0 ends a chain. Entries up to
    `_since` belong to earlier launches.
    """

    _head: NDArray[np.int64]
    _who: NDArray[np.int64]
    _when: NDArray[np.int64]
    _line: NDArray[np.int32]
    _next: NDArray[np.int64]
    _since: int = 0
    _count: int = 0

    @staticmethod
    def of(granules: int) -> Readers:
        """Nobody yet."""
        empty = np.zeros(1024, np.int64)
        return Readers(
            np.zeros(granules, np.int64),
            empty,
            empty.copy(),
            np.zeros(1024, np.int32),
            empty.copy(),
        )

    def begin(self) -> None:
        """Forget everything: a launch begins."""
        self._since += self._count
        self._count = 0

    def add(self, at: Offsets, who: Offsets, when: int, line: int) -> None:
        """Remember reads; a thread that was the last reader already stays one entry."""
        heads = np.maximum(self._head[at] - self._since, 0)
        again = (heads > 0) & (self._who[heads] == who)
        self._when[heads[again]] = when
        self._line[heads[again]] = line
        fresh = np.flatnonzero(~again)
        if not fresh.size or self._count + fresh.size > MOST_READS:
            return
        order, places = fresh, at[fresh]
        chained = np.diff(places, prepend=-1) <= 0
        if chained.any():  # several at one place, or in disorder
            order = fresh[np.argsort(places, kind="stable")]
            places = at[order]
            chained = np.diff(places, prepend=-1) == 0
        self._reserve(fresh.size)
        new = np.arange(self._count + 1, self._count + 1 + fresh.size)
        self._count += fresh.size
        self._who[new], self._when[new], self._line[new] = who[order], when, line
        self._next[new] = np.where(chained, new - 1, heads[order])
        self._head[places] = new + self._since

    def chains(self, at: Offsets) -> Iterator[tuple[Offsets, Offsets]]:
        """The youngest reads of granules, then those before them, and so on.

        Places in `at`, and entries; see `entry`.
        """
        entries = np.maximum(self._head[at] - self._since, 0)
        places = np.flatnonzero(entries)
        while places.size:
            found = entries[places]
            yield places, found
            entries[places] = self._next[found]
            places = places[entries[places] > 0]

    def entry(self, entries: Offsets) -> tuple[Offsets, Offsets, NDArray[np.int32]]:
        """Who read, when, at which line."""
        return self._who[entries], self._when[entries], self._line[entries]

    def forget(self, at: Offsets) -> None:
        """Nobody."""
        self._head[at] = 0

    def _reserve(self, more: int) -> None:
        size = self._who.size
        if self._count + more < size:
            return
        for name in ("_who", "_when", "_line", "_next"):
            old = getattr(self, name)
            new = np.zeros(2 * (size + more), old.dtype)
            new[:size] = old
            setattr(self, name, new)


@dataclass
class Shadow:
    """What is remembered of a memory.

    Of reads: for shared memory, the last one of each warp of the cluster (`times`, and
    which lane's it was in `lanes`); for global memory, all since the last write
    (`readers`; those of copies begin in `pages`). `busy` counts asynchronous reads
    of shared memory that are under way, `busy_line` is where one was issued.
    `reductions` are those of bulk copies since the last write, which is another: they
    race with all but one another.
    """

    granule: int
    writes: Last
    reads: Last
    readers: Readers | None
    pages: Pages | None
    times: NDArray[np.int32]
    lanes: NDArray[np.int8]
    busy: NDArray[np.int16]
    busy_line: NDArray[np.int32]
    reductions: Readers | None = None

    @staticmethod
    def of(size: int, granule: int, warps: int = 0) -> Shadow:
        """Nothing touched; with `warps`, reads are remembered for each of so many."""
        count = -(-size // granule)
        return Shadow(
            granule,
            Last.of(count),
            Last.of(count if warps else 0),
            None if warps else Readers.of(count),
            None if warps else Pages.of(size),
            np.zeros((count, warps), np.int32),
            np.zeros((count, warps), np.int8),
            np.zeros(count, np.int16),
            np.zeros(count, np.int32),
        )

    @property
    def size(self) -> int:
        """Bytes of the memory."""
        return self.busy.size * self.granule

    def clear(self, stride: int, used: int) -> None:
        """Forget all of shared memory: the first `used` bytes of every `stride`."""
        each, kept = stride // self.granule, -(-used // self.granule)
        for last in (self.writes, self.reads):
            last.clear(each, kept)
        self.busy.reshape(-1, each)[:, :kept] = 0
        self.times.reshape(-1, each, self.times.shape[1])[:, :kept] = 0

    def begin(self, now: int) -> None:
        """Forget everything: a launch begins."""
        for last in (self.writes, self.reads):
            last.since = now
        if self.readers is not None:
            self.readers.begin()
            self.pages = Pages.of(self.size)
        self.reductions = None

    def readers_near(self, at: Offsets) -> Readers | None:
        """All readers of granules, copies too; None for shared memory."""
        if self.readers is None or self.pages is None:
            return None
        if not self.pages.loads:
            return self.readers
        for load in self.pages.taken(self.pages_of(at)):
            granules, each = self.granules(load.offsets, load.width)
            who = np.broadcast_to(load.copies, load.offsets.shape).repeat(each)
            self.readers.add(granules, who, IN_FLIGHT, load.line)
        return self.readers

    def forget_reads(self, at: Offsets) -> None:
        """Granules were written: what was read and reduced before counts no more."""
        if self.readers is None:
            self.reads.forget(at)
            self.times[at] = 0
            return
        self.readers.forget(at)
        if self.reductions is not None:
            self.reductions.forget(at)

    def pages_of(self, at: Offsets) -> Offsets:
        """The pages of granules."""
        return at >> (PAGE // self.granule).bit_length() - 1

    def reduce(self, at: Offsets, who: Offsets, when: int, line: int) -> None:
        """Remember a reduction by a bulk copy."""
        if self.reductions is None:
            self.reductions = Readers.of(self.busy.size)
        self.reductions.add(at, who, when, line)

    def granules(self, offsets: Offsets, width: int) -> tuple[Offsets, int]:
        """The granules of accesses (access after access), and how many each has."""
        each = max(1, width // self.granule)
        first = offsets // self.granule
        if each == 1:
            return first, 1
        return (first[:, None] + np.arange(each)).reshape(-1), each
