"""Accesses that are checked, and whether those before them are ordered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .copies import ENGINE, IN_FLIGHT, Copies
from .machine import Threads
from .memory import Memory
from .ordering import Ordering
from .shadow import Shadow
from .wave import WARP

Offsets = NDArray[np.int64]
Truths = NDArray[np.bool_]
Bits = Sequence[NDArray]


@dataclass(frozen=True)
class Access:
    """An access that is being checked: one entry per granule that it touches.

    `thread` numbers threads of the wave, `name` threads as shadows do; `kind` is read,
    write, atomic, sent (a bulk load's write), async (an asynchronous read), store or
    reduce (a bulk copy's write to global memory).
    """

    threads: Threads
    memory: Memory
    shadow: Shadow
    at: Offsets
    thread: Offsets
    name: Offsets
    kind: str
    bits: Bits = ()
    each: int = 1

    def chosen(self, places: Offsets) -> Access:
        """Some of the entries, in any order."""
        thread, name = self.thread[places], self.name[places]
        return replace(self, at=self.at[places], thread=thread, name=name)

    @property
    def shared(self) -> bool:
        """Whether the memory is a cluster's."""
        return self.memory is self.threads.wave.shared


@dataclass(frozen=True)
class Apart:
    """Which earlier accesses are other clusters'; their clusters, and columns there."""

    where: Truths
    cluster: Offsets
    column: Offsets


@dataclass(frozen=True)
class Earlier:
    """Accesses before those of `one`, as the clocks of the wave number who made them.

    `same` says which are of the same threads, or of lanes of the warp at this time;
    `thread` and `column` hold for those of the cluster, `apart` for all others, if
    there are any. `engine` says which a copy engine made.
    """

    one: Access
    order: Ordering
    when: Offsets
    engine: Truths
    same: Truths
    thread: Offsets
    column: Offsets
    apart: Apart | None

    @staticmethod
    def of(
        one: Access, order: Ordering, copies: Copies, who: Offsets, when: Offsets
    ) -> Earlier:
        """Accesses of `who` (by name) at `when`, one for each entry of `one`."""
        if one.shared:
            engine, here, apart = who == ENGINE, who >= 0, None
            thread = np.maximum(who, 0)
        else:
            who, when, engine = copies.resolve(who, when)
            here, thread = _in_wave(one, order, who)
            apart = _apart(one, who)
        theirs = thread // WARP
        at_once = here & (theirs == one.thread // WARP) & (when == order.now)
        same = (at_once | (who == one.name)) & ~engine
        column = order.column[theirs]
        return Earlier(one, order, when, engine, same, thread, column, apart)

    def ordered(self) -> Truths:
        """Which happen before."""
        order, when, one, lane = self.order, self.when, self.one, self.thread % WARP
        column = np.where(self.engine, order.engine, self.column)
        found = self.same | (order.knows(one.thread, column, lane) >= when)
        if self.apart is not None:
            cluster, there = self.apart.cluster, self.apart.column
            there = np.where(self.engine, order.engine, there)
            published = order.published(cluster, there, when, one.thread // WARP)
            found = np.where(self.apart.where, published, found)
        return found & (when != IN_FLIGHT)

    def shown(self) -> Truths:
        """Which a fence has shown to the asynchronous proxy, if they happen before."""
        order, when, warp = self.order, self.when, self.one.thread // WARP
        space = "shared" if self.one.shared else "global"
        found = order.shows(space, warp, self.column, self.thread % WARP, when)
        if self.apart is None:
            return found
        cluster, there = self.apart.cluster, self.apart.column
        published = order.shows_published(cluster, there, when, warp)
        return np.where(self.apart.where, published, found)


def _in_wave(one: Access, order: Ordering, who: Offsets) -> tuple[Truths, Offsets]:
    """Which threads of the grid are of this wave; their numbers in it."""
    wave = one.threads.wave
    block = who // (WARP * wave.warps) - order.first
    here = (who >= 0) & (block >= 0) & (block < wave.blocks)
    number = who // WARP % wave.warps
    thread = (number * wave.blocks + block) * WARP + who % WARP
    return here, np.where(here, thread, 0)


def _apart(one: Access, who: Offsets) -> Apart | None:
    """Which threads of the grid are of other clusters; None if all are of this."""
    wave = one.threads.wave
    threads = WARP * wave.warps * wave.launch.blocks
    apart = (who >= 0) & (who // threads != one.name // threads)
    if not apart.any():
        return None
    place = np.where(apart, who, 0)
    return Apart(apart, place // threads, place % threads // WARP)
