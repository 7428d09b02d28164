"""The rules of races: which accesses of the same bytes nothing orders.

Each access of a group of threads is compared with what `shadow.py` remembers of the
granules that it touches, by what `ordering.py` knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

from .machine import Threads, Wave
from .memory import Memory
from .ordering import Ordering
from .shadow import ENGINE, IN_FLIGHT, NOBODY, Shadow
from .wave import WARP

Offsets = NDArray[np.int64]
Bits = Sequence[NDArray]
Found = tuple[Offsets, Offsets, NDArray[np.int32]]
"""An earlier access: who, when, at which line."""


class Race(DeviceError):
    """Two accesses of the same memory, or registers, that nothing orders."""


@dataclass(frozen=True)
class Access:
    """An access that is being checked: one entry per granule that it touches.

    `thread` numbers threads of the wave, `name` threads as shadows do; `kind` is read,
    write, atomic, sent (a bulk load's write) or async (an asynchronous read).
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


@dataclass
class Suspects:
    """Plain reads raced with atomics: how a loop of compare-and-swap may begin.

    They are reported when the block ends, unless one of the threads of that line does
    an atomic at the same place: then the line is the start of such a loop.
    """

    _loops: set[int] = field(default_factory=set[int])
    _places: dict[int, dict[tuple[int, int], int]] = field(
        default_factory=dict[int, dict[tuple[int, int], int]]
    )
    _findings: dict[int, Race] = field(default_factory=dict[int, Race])

    def add(self, one: Access, racy: NDArray[np.bool_], finding: Race) -> None:
        """These entries of an access raced."""
        line = one.threads.wave.line
        if line in self._loops:
            return
        found = self._places.setdefault(line, {})
        self._findings.setdefault(line, finding)
        memory = id(one.memory)
        for at, name in zip(one.at[racy], one.name[racy], strict=True):
            found[memory, int(at)] = int(name)

    def clear(self, one: Access) -> None:
        """Atomics: the plain reads of the same bytes by the same threads are fine."""
        if not self._places:
            return
        memory = id(one.memory)
        places = dict(zip(one.at.tolist(), one.name.tolist(), strict=True))
        for line, found in list(self._places.items()):
            if any(found.get((memory, at)) == name for at, name in places.items()):
                self._loops.add(line)
                del self._places[line], self._findings[line]

    def report(self) -> None:
        """Raise Race for a line that began no loop."""
        for finding in self._findings.values():
            raise finding


@dataclass
class Rules:
    """The rules, over the clocks of a wave."""

    order: Ordering
    suspects: Suspects

    def check(self, one: Access) -> None:
        """Raise Race if the access is not ordered behind what it conflicts with."""
        shadow, at = one.shadow, one.at
        who, when = shadow.writes.who(at), shadow.writes.when(at)
        atomic = shadow.writes.line(at) < 0
        before = who != NOBODY
        if one.kind in ("atomic", "strong write"):
            before &= ~atomic
        racy = before
        if before.any():
            racy = before & ~self._ordered(one, who, when)
        if one.kind in ("write", "copy"):
            racy &= self._differs(one, racy)
        if one.kind == "read" and (racy & atomic).any():
            finding = self._write_race(one, racy & atomic)
            self.suspects.add(one, racy & atomic, finding)
            racy &= ~atomic
        if racy.any():
            raise self._write_race(one, racy)
        if one.kind == "async":
            self._check_shown(one, who, when)
        if one.kind in ("read", "async"):
            return
        self._check_busy(one)
        if one.kind != "atomic":
            self._check_reads(one)

    def _check_busy(self, one: Access) -> None:
        """Raise Race if a write hits what an asynchronous operation still reads."""
        busy = one.shadow.busy[one.at]
        if busy.any():
            first = int(busy.argmax())
            line = int(one.shadow.busy_line[one.at[first]])
            raise Race(
                f"{_verb(one.kind)} {_label(one, first)}, which an asynchronous "
                f"operation issued at {one.threads.wave.place(line)} still reads",
                where=self._where(one, first),
                fix="wait for its group first",
            )

    def _check_reads(self, one: Access) -> None:
        """Raise Race if a write is not behind the reads of the same bytes."""
        shadow, at, order = one.shadow, one.at, self.order
        if shadow.readers is not None:
            for places, entries in shadow.readers.chains(at):
                who, when, _ = shadow.readers.entry(entries)
                racy = ~self._ordered(one.chosen(places), who, when)
                if racy.any():
                    first = int(racy.argmax())
                    found = shadow.readers.entry(entries[first : first + 1])
                    raise self._race(one, int(places[first]), found, "read")
            return
        times = shadow.times[at].astype(np.int64) - 1
        index, column = np.nonzero(times > -1)
        if not index.size:
            return
        lane = shadow.lanes[at[index], column].astype(np.int64)
        when = times[index, column]
        who = order.thread_at(one.thread[index] // WARP, column, lane)
        racy = ~self._ordered(one.chosen(index), who, when)
        if racy.any():
            first = int(racy.argmax())
            line = shadow.reads.line(at[index[first : first + 1]])
            found = who[first : first + 1], when[first : first + 1], line
            raise self._race(one, int(index[first]), found, "read")

    def _ordered(
        self, one: Access, who: Offsets, when: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether accesses of `who` (by name) at `when` are before this one."""
        order = self.order
        wave = one.threads.wave
        same = who == one.name
        if one.shared:
            thread, here = who, who >= 0
        else:  # in this wave?
            block = who // (WARP * wave.warps) - order.first
            here = (who >= 0) & (block >= 0) & (block < wave.blocks)
            number = who // WARP % wave.warps
            thread = (number * wave.blocks + block) * WARP + who % WARP
        thread = np.where(here, thread, 0)
        warp, theirs = one.thread // WARP, thread // WARP
        column = np.where(who == ENGINE, order.engine, order.column[theirs])
        ordered = order.knows(one.thread, column, thread % WARP) >= when
        ordered |= here & (theirs == warp) & (when == order.now)
        if not one.shared:
            size = wave.launch.blocks
            mine = one.name // (WARP * wave.warps) // size
            apart = (who >= 0) & (who // (WARP * wave.warps) // size != mine)
            if apart.any():
                by_grid = order.published(np.where(apart, who // WARP, 0), when, warp)
                ordered = np.where(apart, by_grid, ordered)
        return (ordered | same) & (when != IN_FLIGHT)

    def _check_shown(self, one: Access, who: Offsets, when: NDArray[np.int64]) -> None:
        """Raise Race if an asynchronous read comes before a fence of what it reads."""
        if not one.shared:
            return
        order = self.order
        thread = np.maximum(who, 0)
        warp, theirs = one.thread // WARP, thread // WARP
        shown = order.fenced[thread] > when
        shown |= order.shown[warp, order.column[theirs], thread % WARP] >= when
        shown |= (warp == theirs) & (order.fenced[one.thread] > when)
        hidden = (who >= 0) & ~shown
        if hidden.any():
            first = int(hidden.argmax())
            line = abs(int(one.shadow.writes.line(one.at[first : first + 1])[0]))
            wave = one.threads.wave
            raise Race(
                f"asynchronous read of {_label(one, first)}, which "
                f"{wave.name_of(int(who[first]))} wrote at {wave.place(line)} "
                "without a fence since",
                where=self._where(one, first),
                fix="fence.proxy.async after the write",
            )

    @staticmethod
    def _differs(one: Access, racy: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a write changes what is there: the same value twice is no race."""
        if not racy.any() or not one.bits or one.bits[0].size * one.each < racy.size:
            return np.ones_like(racy)
        first = np.flatnonzero(racy.reshape(-1, one.each).any(axis=1))
        width = one.bits[0].dtype.itemsize
        start = one.at.reshape(-1, one.each)[first, 0] * one.shadow.granule
        changed = np.zeros(first.size, np.bool_)
        for index, values in enumerate(one.bits):
            old = one.memory.view(width)[start // width + index]
            changed |= old != values[first]
        differs = np.zeros((racy.size // one.each, one.each), np.bool_)
        differs[first] = changed[:, None]
        return differs.reshape(-1)

    def remember(self, one: Access, when: int) -> None:
        """This is now the last access. Raises Race if it is one of itself."""
        shadow, line = one.shadow, one.threads.wave.line
        if one.kind == "read":
            if shadow.readers is not None:
                shadow.readers.add(one.at, one.name, when, line)
                return
            column = self.order.column[one.thread // WARP]
            shadow.times[one.at, column] = when + 1
            shadow.lanes[one.at, column] = one.thread % WARP
            shadow.reads.put(one.at, one.name, when, line)
            return
        atomic = one.kind in ("atomic", "strong write")
        shadow.writes.put(one.at, one.name, when, -line if atomic else line)
        if not atomic:
            self._check_same_instruction(one)
        if shadow.readers is not None:
            shadow.readers.forget(one.at)
        else:
            shadow.reads.forget(one.at)
            shadow.times[one.at] = 0

    def _check_same_instruction(self, one: Access) -> None:
        """Raise Race if threads of several warps write different values at once."""
        winner = one.shadow.writes.who(one.at)
        racy = winner // WARP != one.name // WARP
        if not racy.any():
            return
        for values in one.bits:
            each = np.repeat(values, one.each)
            unique, back = np.unique(one.at, return_inverse=True)
            least = np.full(unique.size, each.max(), each.dtype)
            np.minimum.at(least, back, each)
            greatest = np.zeros(unique.size, each.dtype)
            np.maximum.at(greatest, back, each)
            if (racy & (least != greatest)[back]).any():
                racy &= (least != greatest)[back]
                raise self._write_race(one, racy)

    def _write_race(self, one: Access, racy: NDArray[np.bool_]) -> Race:
        """The race of the first of these entries with the last write."""
        first = int(racy.argmax())
        at, writes = one.at[first : first + 1], one.shadow.writes
        found = writes.who(at), writes.when(at), writes.line(at)
        return self._race(one, first, found, "write")

    def _race(self, one: Access, first: int, last: Found, before: str) -> Race:
        who, line = int(last[0][0]), abs(int(last[2][0]))
        wave = one.threads.wave
        place = wave.place(line)
        if who == ENGINE:
            return Race(
                f"race: {_verb(one.kind)} {_label(one, first)}, which the bulk copy "
                f"issued at {place} writes, without a wait for its mbarrier",
                where=self._where(one, first),
            )
        if int(last[1][0]) == IN_FLIGHT:
            return Race(
                f"race: {_verb(one.kind)} {_label(one, first)}, which the cp.async "
                f"issued at {place} writes, without a wait for its group",
                where=self._where(one, first),
            )
        name = wave.name_of(who) if one.shared else self._name(wave, who)
        return Race(
            f"race: {_verb(one.kind)} {_label(one, first)} with the {before} of {name} "
            f"at {place}, and no barrier between",
            where=self._where(one, first),
        )

    def _name(self, wave: Wave, who: int) -> str:
        """A thread of the grid."""
        block, number = who // (WARP * wave.warps), who % (WARP * wave.warps)
        return wave.launch.name_of(block, number)

    @staticmethod
    def _where(one: Access, index: int) -> str:
        return one.threads.wave.describe(int(one.thread[index]))


def _verb(kind: str) -> str:
    return {
        "read": "read of",
        "async": "asynchronous read of",
        "sent": "bulk load into",
        "copy": "cp.async into",
    }.get(kind, f"{kind} of")


def _label(one: Access, index: int) -> str:
    return one.memory.label(int(one.at[index]) * one.shadow.granule)
