"""Groups of asynchronous operations: issued, committed, waited for.

`cp.async`, bulk copies out of shared memory and `wgmma` share one scheme (ISA,
"Async-groups"): a thread issues operations, commits those issued since the last commit
as one group, and waits until at most N of its youngest groups are pending. Operations
run when a wait asks for them: as late as the ISA permits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Action = Callable[[Mask], None]


@dataclass
class Issued:
    """An operation of the threads of `mask`, in their groups number `group`.

    `finish` carries it out for some of them; `read` (if any) takes only its sources.
    """

    mask: Mask
    group: NDArray[np.int64]
    finish: Action
    read: Action | None = None


class AsyncGroups:
    """The operations of one kind that the threads of a block have in flight."""

    def __init__(self, threads: int) -> None:
        self._committed = np.zeros(threads, np.int64)
        self._issued: list[Issued] = []

    def issue(self, mask: Mask, finish: Action, read: Action | None = None) -> None:
        """Start an operation; it belongs to the group that is open."""
        self._issued.append(Issued(mask.copy(), self._committed.copy(), finish, read))

    def commit(self, mask: Mask) -> None:
        """Close the open group of each thread."""
        self._committed[mask] += 1

    def wait(self, mask: Mask, most: int, only_reads: bool = False) -> None:
        """Finish all groups of the threads but their `most` youngest committed ones."""
        for one in self._issued:
            due = one.mask & mask & (one.group < self._committed - most)
            if not due.any():
                continue
            if only_reads and one.read is not None:
                one.read(due)
            else:
                self._finish(one, due)
        self._forget()

    def finish(self, mask: Mask) -> None:
        """Finish everything the threads issued, committed or not."""
        for one in self._issued:
            due = one.mask & mask
            if due.any():
                self._finish(one, due)
        self._forget()

    @staticmethod
    def _finish(one: Issued, due: Mask) -> None:
        one.finish(due)
        one.mask = one.mask & ~due

    def _forget(self) -> None:
        self._issued = [one for one in self._issued if one.mask.any()]
