"""What copies read and write in global memory, while they are under way and after.

A copy is under way from its issue until somebody can know that it is done: its mbarrier
completes (bulk loads), or the thread that issued it waits for its group (bulk stores
and reductions, `cp.async`). Shadows name a copy by a number below `ENGINE`; who and
when that stands for is looked up here, so that the end of a copy is one entry, however
much it moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Offsets = NDArray[np.int64]
ENGINE = -2
"""A writer that is no thread: the copy engine, in shared memory."""
IN_FLIGHT = 1 << 60
"""When an operation happens that is under way: after everything else."""
PAGE = 512
"""Bytes: allocations start at multiples of it."""
MOST_READS = 1 << 24
"""Reads of global memory of one launch that are remembered."""


@dataclass
class Copies:
    """The copies of a launch: who issued them, and when they were done.

    `_left` counts what must happen before a copy is done: a load lands in so many
    blocks. What is under way when its blocks end stays so until the launch ends.
    """

    count: int = 0
    _issuer: NDArray[np.int64] = field(default_factory=lambda: np.zeros(64, np.int64))
    _done: NDArray[np.int64] = field(default_factory=lambda: np.zeros(64, np.int64))
    _left: NDArray[np.int8] = field(default_factory=lambda: np.zeros(64, np.int8))
    _loads: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(64, np.bool_))
    _closed: int = 0

    def issue(self, issuers: Offsets, landings: int = 0) -> Offsets:
        """Copies that threads of the grid issue, one each; bulk loads if they land."""
        start, stop = self.count, self.count + issuers.size
        if stop > self._done.size:
            for name in ("_issuer", "_done", "_left", "_loads"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros(stop, old.dtype)]))
        self._issuer[start:stop], self._done[start:stop] = issuers, IN_FLIGHT
        self._left[start:stop] = max(landings, 1)
        self._loads[start:stop] = landings > 0
        self.count = stop
        return ENGINE - 1 - np.arange(start, stop)

    def finish(self, copies: Offsets, when: int) -> None:
        """Copies have landed once more, or their threads have waited for them."""
        numbers = ENGINE - 1 - copies
        self._left[numbers] -= 1
        numbers = numbers[(self._left[numbers] == 0) & (numbers >= self._closed)]
        self._done[numbers] = when

    def close(self) -> None:
        """Blocks have ended: nobody can wait for their copies any more."""
        self._closed = self.count

    def resolve(
        self, who: Offsets, when: Offsets
    ) -> tuple[Offsets, Offsets, NDArray[np.bool_]]:
        """Threads for copies, when they were done, and which of them are loads.

        What a load has done is its cluster's copy engine's, not its thread's.
        """
        copies = who < ENGINE
        if not copies.any():
            return who, when, copies
        number = np.where(copies, ENGINE - 1 - who, 0)
        return (
            np.where(copies, self._issuer[number], who),
            np.where(copies, self._done[number], when),
            copies & self._loads[number],
        )


@dataclass(eq=False)
class Pattern:
    """Where pieces of `width` bytes lie, from the first of them: many loads' alike."""

    offsets: Offsets
    width: int
    _pages: dict[int, Offsets] = field(default_factory=dict[int, Offsets])

    def pages(self, first: int) -> Offsets:
        """The pages of these pieces when they begin at `first`, ascending."""
        page, within = divmod(first, PAGE)
        found = self._pages.get(within)
        if found is None:
            ends = np.concatenate([self.offsets, self.offsets + (self.width - 1)])
            found = self._pages[within] = np.unique((ends + within) // PAGE)
        return found + page


@dataclass(frozen=True)
class Load:
    """What a bulk load reads, or a `cp.async` of some threads.

    `copies` is the number of the copy, or of those that read a piece each.
    """

    copies: Offsets
    line: int
    first: int
    pattern: Pattern
    pages: Offsets

    @property
    def offsets(self) -> Offsets:
        """Where its pieces are."""
        return self.pattern.offsets + self.first

    @property
    def width(self) -> int:
        """Bytes of a piece."""
        return self.pattern.width


@dataclass
class Pages:
    """Where a launch wrote global memory, and where copies read it, by pages.

    Most loads read what no thread of the launch writes. Only where pages say that it
    may be otherwise are they checked, and become readers of single granules; the others
    are `loads`.
    """

    _written: NDArray[np.bool_]
    _read: NDArray[np.int32]
    loads: list[Load] = field(default_factory=list[Load])
    _patterns: dict[tuple[int, bytes], Pattern] = field(
        default_factory=dict[tuple[int, bytes], Pattern]
    )

    @staticmethod
    def of(size: int) -> Pages:
        """Nothing happened yet to so many bytes."""
        count = -(-size // PAGE)
        return Pages(np.zeros(count, np.bool_), np.zeros(count, np.int32))

    def write(self, pages: Offsets) -> None:
        """Something writes to pages."""
        self._written[pages] = True

    def load(self, copies: Offsets, line: int, offsets: Offsets, width: int) -> Load:
        """Copies of pieces of `width` bytes; kept if the copies have numbers."""
        first = int(offsets.min())
        relative = offsets - first
        key = width, relative.tobytes()
        pattern = self._patterns.get(key)
        if pattern is None:
            pattern = self._patterns[key] = Pattern(relative, width)
        load = Load(copies, line, first, pattern, pattern.pages(first))
        if copies.size:
            self.loads.append(load)
            self._read[load.pages] += 1
        return load

    def wrote(self, load: Load) -> bool:
        """Whether something wrote to the pages of a load."""
        return bool(self._written[load.pages].any())

    def taken(self, pages: Offsets) -> list[Load]:
        """Loads from about these pages, which are forgotten here."""
        if not self._read[pages].any():
            return []
        low, high = int(pages.min()), int(pages.max())
        near, far = list[Load](), list[Load]()
        for load in self.loads:
            is_near = load.pages[0] <= high and low <= load.pages[-1]
            (near if is_near else far).append(load)
        for load in near:
            self._read[load.pages] -= 1
        self.loads = far
        return near
