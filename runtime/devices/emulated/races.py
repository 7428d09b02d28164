"""The rules of races: which accesses of the same bytes nothing orders.

Each access of a group of threads is compared with what `shadow.py` remembers of the
granules that it touches, by what `ordering.py` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

from .access import Access, Earlier
from .copies import ENGINE, IN_FLIGHT, Copies
from .ordering import Ordering
from .shadow import NOBODY, Readers
from .wave import WARP

Offsets = NDArray[np.int64]
Found = tuple[Offsets, Offsets, NDArray[np.int32]]
"""An earlier access: who, when, at which line."""


class Race(DeviceError):
    """Two accesses of the same memory, or registers, that nothing orders."""


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
    copies: Copies

    def check(self, one: Access) -> None:
        """Raise Race if the access is not ordered behind what it conflicts with."""
        shadow, at = one.shadow, one.at
        who, when = shadow.writes.who(at), shadow.writes.when(at)
        atomic = shadow.writes.line(at) < 0
        before = who != NOBODY
        if one.kind in ("atomic", "strong write"):
            before &= ~atomic
        racy, earlier = before, None
        if before.any():
            earlier = self._earlier(one, who, when)
            racy = before & ~earlier.ordered()
        if one.kind in ("write", "copy"):
            racy &= self._differs(one, racy) | (who < ENGINE)
        if one.kind == "read" and (racy & atomic).any():
            finding = self._write_race(one, racy & atomic)
            self.suspects.add(one, racy & atomic, finding)
            racy &= ~atomic
        if racy.any():
            raise self._write_race(one, racy)
        if one.kind in ("async", "store", "reduce") and earlier is not None:
            self._check_shown(one, who, earlier)
        if shadow.reductions is not None and one.kind != "reduce":
            self._check_chain(one, shadow.reductions, "reduction")
        if one.kind in ("read", "async"):
            return
        if one.shared:
            self._check_busy(one)
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
                where=_where(one, first),
                fix="wait for its group first",
            )

    def _check_reads(self, one: Access) -> None:
        """Raise Race if a write is not behind the reads of the same bytes.

        Atomics need not be behind what threads read.
        """
        shadow, at, order = one.shadow, one.at, self.order
        readers = shadow.readers_near(at)
        if readers is not None:
            if one.kind != "atomic" or self.copies.count:
                self._check_chain(one, readers, "read")
            return
        if one.kind == "atomic":
            return
        times = shadow.times[at].astype(np.int64) - 1
        index, column = np.nonzero(times > -1)
        if not index.size:
            return
        lane = shadow.lanes[at[index], column].astype(np.int64)
        when = times[index, column]
        who = order.thread_at(one.thread[index] // WARP, column, lane)
        racy = ~self._earlier(one.chosen(index), who, when).ordered()
        if racy.any():
            first = int(racy.argmax())
            line = shadow.reads.line(at[index[first : first + 1]])
            found = who[first : first + 1], when[first : first + 1], line
            raise self._race(one, int(index[first]), found, "read")

    def _check_chain(self, one: Access, chain: Readers, before: str) -> None:
        """Raise Race if a write is not behind the accesses of a chain."""
        for places, entries in chain.chains(one.at):
            who, when, _ = chain.entry(entries)
            racy = ~self._earlier(one.chosen(places), who, when).ordered()
            if one.kind == "atomic":
                racy &= who < ENGINE
            if racy.any():
                first = int(racy.argmax())
                found = chain.entry(entries[first : first + 1])
                raise self._race(one, int(places[first]), found, before)

    def _earlier(self, one: Access, who: Offsets, when: Offsets) -> Earlier:
        return Earlier.of(one, self.order, self.copies, who, when)

    def _check_shown(self, one: Access, who: Offsets, earlier: Earlier) -> None:
        """Raise Race if a copy's access comes before a fence of what a thread wrote.

        What copies wrote is behind the fence that their end implies.
        """
        hidden = (who >= 0) & ~earlier.shown()
        if not hidden.any():
            return
        first = int(hidden.argmax())
        line = abs(int(one.shadow.writes.line(one.at[first : first + 1])[0]))
        raise Race(
            f"{_verb(one.kind)} {_label(one, first)}, which "
            f"{_name(one, int(who[first]))} wrote at "
            f"{one.threads.wave.place(line)} without a fence since",
            where=_where(one, first),
            fix=f"fence.proxy.async{'' if one.shared else '.global'} after the write",
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
        if shadow.pages is not None:
            shadow.pages.write(shadow.pages_of(one.at))
        if one.kind == "reduce":
            shadow.reduce(one.at, one.name, when, line)
            return
        atomic = one.kind in ("atomic", "strong write")
        shadow.writes.put(one.at, one.name, when, -line if atomic else line)
        if not atomic:
            self._check_same_instruction(one)
        shadow.forget_reads(one.at)

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
        what, place = f"race: {_verb(one.kind)} {_label(one, first)}", wave.place(line)
        where = _where(one, first)
        if who == ENGINE:
            return Race(
                f"{what}, which the bulk copy issued at {place} writes, without a wait "
                "for its mbarrier",
                where=where,
            )
        if who < ENGINE:
            return self._race_with_copy(one, first, last, before)
        if int(last[1][0]) == IN_FLIGHT:
            return Race(
                f"{what}, which the cp.async issued at {place} writes, without a wait "
                "for its group",
                where=where,
            )
        return Race(
            f"{what} with the {before} of {_name(one, who)} at {place}, and no "
            "barrier between",
            where=where,
        )

    def _race_with_copy(
        self, one: Access, first: int, last: Found, before: str
    ) -> Race:
        """A race with what a copy does to global memory."""
        (issuer,), (when,), (is_load,) = self.copies.resolve(last[0], last[1])
        small = before == "read" and not is_load
        what, where = (
            f"race: {_verb(one.kind)} {_label(one, first)}",
            _where(one, first),
        )
        copy = (
            f"{'cp.async' if small else 'bulk copy'} that {_name(one, int(issuer))} "
            f"issued at {one.threads.wave.place(int(last[2][0]))}"
        )
        if when != IN_FLIGHT and not is_load:
            return Race(
                f"{what} with the {before} of the {copy}, and no barrier since the "
                "wait for its group",
                where=where,
            )
        does, waited, fix = "writes", "group", "cp.async.bulk.wait_group (not .read)"
        if before == "read":
            does = "reads"
            waited = "group" if small else "mbarrier"
            fix = "cp.async.wait_group" if small else "mbarrier.try_wait"
        return Race(
            f"{what}, which the {copy} {does}, without a wait for its {waited}",
            where=where,
            fix=f"{fix}, and a barrier behind it for other threads",
        )


def _name(one: Access, who: int) -> str:
    """A thread, by its name in the shadow."""
    wave = one.threads.wave
    if one.shared:
        return wave.name_of(who)
    block, number = who // (WARP * wave.warps), who % (WARP * wave.warps)
    return wave.launch.name_of(block, number)


def _where(one: Access, index: int) -> str:
    return one.threads.wave.describe(int(one.thread[index]))


def _verb(kind: str) -> str:
    return {
        "read": "read of",
        "async": "asynchronous read of",
        "sent": "bulk load into",
        "store": "bulk store into",
        "reduce": "bulk reduction of",
        "copy": "cp.async into",
    }.get(kind, f"{kind} of")


def _label(one: Access, index: int) -> str:
    return one.memory.label(int(one.at[index]) * one.shadow.granule)
