"""Shadow memory: who touched each granule of memory last, when, at which PTX line.

A granule is the narrowest access of the module, so that neighbours are told apart.
Threads are numbered through the grid for global memory, through the wave for shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOBODY = -1
ENGINE = -2
"""A writer that is no thread: the copy engine."""
NEVER = -1
IN_FLIGHT = 1 << 60
"""When an operation happens that is under way: after everything else."""

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
        """A thread, ENGINE or NOBODY."""
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
class Shadow:
    """What is remembered of a memory.

    Of reads: for shared memory, the last one of each warp of the cluster (`times`);
    for global memory the first and the last reader since the last write. `busy` counts
    asynchronous reads that are under way, `busy_line` is where one was issued.
    """

    granule: int
    writes: Last
    reads: Last
    first_reads: Last | None
    times: NDArray[np.int32] | None
    busy: NDArray[np.int16]
    busy_line: NDArray[np.int32]

    @staticmethod
    def of(size: int, granule: int, columns: int = 0) -> Shadow:
        """Nothing touched; with `columns`, reads are remembered for each of so many."""
        count = -(-size // granule)
        return Shadow(
            granule,
            Last.of(count),
            Last.of(count),
            None if columns else Last.of(count),
            np.zeros((count, columns), np.int32) if columns else None,
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
        if self.times is not None:
            self.times.reshape(-1, each, self.times.shape[1])[:, :kept] = 0

    def begin(self, now: int) -> None:
        """Forget everything: a launch begins."""
        for last in (self.writes, self.reads, self.first_reads):
            if last is not None:
                last.since = now

    def granules(self, offsets: Offsets, width: int) -> tuple[Offsets, int]:
        """The granules of accesses (access after access), and how many each has."""
        each = max(1, width // self.granule)
        first = offsets // self.granule
        if each == 1:
            return first, 1
        return (first[:, None] + np.arange(each)).reshape(-1), each
