"""Groups of asynchronous operations: issued, committed, waited for.

`cp.async`, bulk copies out of shared memory and `wgmma` share one scheme (ISA,
"Async-groups"): a thread issues operations, commits those issued since the last commit
as one group, and waits until at most N of its youngest groups are pending. Operations
run when a wait asks for them: as late as the ISA permits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Action = Callable[[Mask], None]


class Range(Protocol):
    """A range of a wave's threads."""

    start: int
    stop: int


class HoldsRegisters(Protocol):
    """A product in flight: rows of its accumulators and of its left operand."""

    line: int

    @property
    def accumulators(self) -> frozenset[int]:
        """Registers that get its sums."""
        ...

    @property
    def left(self) -> frozenset[int]:
        """Registers that it reads."""
        ...


@dataclass(eq=False)
class Issued:
    """An operation of the threads of `mask` (of `threads`), in their groups `group`.

    `finish` carries it out for some of them; `read` (if any) takes only its sources.
    `waited` says for which of them the present wait finishes it.
    """

    threads: Range
    mask: Mask
    group: NDArray[np.int64]
    finish: Action
    read: Action | None = None
    waited: Mask | None = None
    tag: HoldsRegisters | None = None


Due = tuple[Issued, Mask]


@dataclass
class AsyncGroups:
    """The operations of one kind that the threads of a wave have in flight.

    `finisher` may carry several out together; it gets them in the order of issue.
    """

    committed: NDArray[np.int64]
    issued: list[Issued] = field(default_factory=list[Issued])

    @staticmethod
    def of(threads: int) -> AsyncGroups:
        """Nothing in flight."""
        return AsyncGroups(np.zeros(threads, np.int64))

    def due(self, threads: Range, mask: Mask, most: int | None) -> list[Due]:
        """What a wait of threads finishes: all groups but the `most` youngest.

        Uncommitted operations too if `most` is None.
        """
        found: list[Due] = []
        for one in self.issued:
            start = max(one.threads.start, threads.start)
            stop = min(one.threads.stop, threads.stop)
            if start >= stop:
                continue
            inner = slice(start - one.threads.start, stop - one.threads.start)
            due = np.zeros_like(one.mask)
            outer = slice(start - threads.start, stop - threads.start)
            due[inner] = one.mask[inner] & mask[outer]
            if most is not None:
                due[inner] &= one.group[inner] < self.committed[start:stop] - most
            if due.any():
                found.append((one, due))
        return found

    def latest(self, threads: Range) -> Issued | None:
        """The youngest operation that threads of a range have in flight."""
        for one in reversed(self.issued):
            if one.threads.start < threads.stop and threads.start < one.threads.stop:
                return one
        return None

    def carry_out(self, due: Sequence[Due], only_reads: bool = False) -> None:
        """Finish operations, or let them take their sources."""
        for one, mask in due:
            one.waited = mask
        for one, mask in due:
            one.waited = None
            if only_reads and one.read is not None:
                one.read(mask)
                continue
            one.finish(mask)
            one.mask = one.mask & ~mask
        self.issued = [one for one in self.issued if one.mask.any()]


@dataclass(frozen=True)
class InFlight:
    """The operations of one kind, as a range of threads sees them."""

    groups: AsyncGroups
    threads: Range

    def issue(self, mask: Mask, finish: Action, read: Action | None = None) -> Issued:
        """Start an operation; it belongs to the group that is open."""
        numbers = self.groups.committed[self.threads.start : self.threads.stop].copy()
        one = Issued(self.threads, mask.copy(), numbers, finish, read)
        self.groups.issued.append(one)
        return one

    def commit(self, mask: Mask) -> None:
        """Close the open group of each thread."""
        self.groups.committed[self.threads.start : self.threads.stop] += mask

    def wait(self, mask: Mask, most: int, only_reads: bool = False) -> None:
        """Finish all groups of the threads but their `most` youngest committed ones."""
        if self.groups.issued:
            due = self.groups.due(self.threads, mask, most)
            self.groups.carry_out(due, only_reads)

    def finish(self, mask: Mask) -> None:
        """Finish everything the threads issued, committed or not."""
        if self.groups.issued:
            self.groups.carry_out(self.groups.due(self.threads, mask, None))
