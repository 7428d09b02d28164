"""The checker: what a run may do wrong though its results are right.

Reads of memory nobody wrote, and races: two accesses of the same bytes by different
threads, one of them a write, that nothing orders (`ordering.py`). The asynchronous
proxy takes part: bulk loads write, bulk stores and wgmma read, until somebody has
waited for them; they see a thread's writes only behind its `fence.proxy.async`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

from .machine import Group, Launch, Mask, Step, Threads, Wave
from .memory import SHARED_STRIDE, Memory
from .ordering import Grid, Ordering
from .shadow import ENGINE, IN_FLIGHT, NOBODY, Last, Shadow
from .wave import WARP
from .wgmma_registers import RegistersInFlight

Offsets = NDArray[np.int64]
Bits = Sequence[NDArray]


class Race(DeviceError):
    """Two accesses of the same memory, or registers, that nothing orders."""


class Uninitialised(DeviceError):
    """A read of memory that nothing was written to."""


class Leak(DeviceError):
    """A block ended with asynchronous operations that nobody waited for."""


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

    @property
    def shared(self) -> bool:
        """Whether the memory is a cluster's."""
        return self.memory is self.threads.wave.shared


@dataclass
class MemoryChecker:
    """Watches the accesses of a machine (see `machine.Checker`)."""

    now: int = 0
    _granule: int = 4
    _grid: Grid | None = None
    _ordering: Ordering | None = None
    _globals: dict[int, Shadow] = field(default_factory=dict[int, Shadow])
    _shared: Shadow | None = None
    _wave: Wave | None = None
    _registers: RegistersInFlight = field(default_factory=RegistersInFlight)
    _mbarriers: dict[int, int] = field(default_factory=dict[int, int])
    _owed: dict[int, int] = field(default_factory=dict[int, int])
    _loops: set[int] = field(default_factory=set[int])
    _suspects: dict[int, dict[tuple[int, int], int]] = field(
        default_factory=dict[int, dict[tuple[int, int], int]]
    )
    _findings: dict[int, Race] = field(default_factory=dict[int, Race])

    # The life of a launch.

    def launch(self, launch: Launch) -> None:
        """A launch begins: memory is as the host left it."""
        x, y, z = launch.grid
        warps = -(-launch.threads // WARP) * launch.blocks
        self._grid = Grid.of(x * y * z // launch.blocks, warps)
        self._shared = self._wave = None
        self.now += 1
        for shadow in self._globals.values():
            shadow.begin(self.now)
        self._granule = launch.granule
        self._loops.clear()

    def begin(self, wave: Wave) -> None:
        """Blocks begin."""
        assert self._grid is not None
        first = int(wave.first_block)
        self._ordering = Ordering(wave, self._grid, first, self.now)
        if self._shared is not None and self._wave is wave:
            self._shared.clear(SHARED_STRIDE, wave.shared.used)
        else:
            self._shared = None
        self._wave = wave
        self._registers = RegistersInFlight()
        self._mbarriers.clear()
        self._owed.clear()
        self._suspects.clear()

    def end(self, wave: Wave) -> None:
        """All threads have ended. Raises Leak for what nobody waited for."""
        for line in self._suspects:
            raise self._findings[line]
        shadow = self._shared
        busy = np.flatnonzero(shadow.busy) if shadow is not None else np.zeros(0)
        if shadow is not None and busy.size:
            offset = int(busy[0]) * shadow.granule
            raise Leak(
                f"a block ended while the asynchronous read of "
                f"{wave.shared.label(offset)} was under way, issued at "
                f"{wave.place(int(shadow.busy_line[busy[0]]))}",
                fix="wait for the group before the block ends",
            )
        for offset, line in self._owed.items():
            if offset in self._mbarriers:
                raise Leak(
                    f"leaked mbarrier at {wave.shared.label(offset)}: nobody waited "
                    f"for the transactions expected at {wave.place(line)}",
                    where=wave.place(self._mbarriers[offset]),
                    fix="wait for its phase before the block ends",
                )

    def step(self, group: Group, mask: Mask, step: Step) -> None:
        """Before each instruction: time goes on, lanes meet, fences are noted."""
        self.now += 1
        ordering = self._order()
        ordering.now = self.now
        if step.meets:
            ordering.meet(group.threads, mask)
        if step.name.startswith("fence.proxy.async"):
            ordering.fence(group.threads, mask)
        found = self._registers.step(group.threads, mask, step, self.now)
        if found is not None:
            raise Race(
                found.summary,
                notes=[
                    "the product was issued at " + group.threads.wave.place(found.line)
                ]
                if found.line
                else [],
                where=group.threads.describe(int(mask.argmax())),
                fix=found.fix,
            )

    def release(self, threads: Threads, mask: Mask, kind: str, keys: Offsets) -> None:
        """The threads publish what they did, each under a key."""
        self._order().release(threads, mask, kind, keys)

    def acquire(self, threads: Threads, mask: Mask, kind: str, keys: Offsets) -> None:
        """The threads learn what was published under their keys."""
        if kind == "mbarrier":
            for key in np.unique(keys):
                self._owed.pop(int(key), None)
        self._order().acquire(threads, mask, kind, keys)

    def initialised(self, threads: Threads, offset: int) -> None:
        """An mbarrier was initialised."""
        self._mbarriers[offset] = threads.wave.line

    def invalidated(self, offset: int) -> None:
        """An mbarrier is no more."""
        self._mbarriers.pop(offset, None)

    def expects(self, threads: Threads, offset: int) -> None:
        """A phase of an mbarrier expects transactions, which somebody must wait for."""
        self._owed[offset] = threads.wave.line

    # Accesses.

    def access(
        self,
        threads: Threads,
        memory: Memory,
        offsets: Offsets,
        width: int,
        lanes: Offsets,
        kind: str,
        bits: Bits = (),
    ) -> None:
        """Check one access of the threads `lanes`, and remember it.

        `kind` is read, write, atomic, copy (a write by `cp.async`), or strong read or
        write (volatile and the like, which order as atomics do), or use (of an mbarrier
        that must have been initialised before); bounds is checked elsewhere. `bits` are
        the values of a write.
        """
        if offsets.size == 0 or kind == "bounds":
            return
        if memory is threads.wave.local:
            return
        if kind == "strong read":
            _check_written(threads, memory, offsets, width, lanes)
            self._atomic_order(threads, lanes, offsets, "acquire")
            return
        if kind in ("atomic", "strong write"):
            self._atomic_order(threads, lanes, offsets, "acquire")
        as_kind = "read" if kind == "use" else kind
        one = self._access(threads, memory, offsets, width, lanes, as_kind, bits)
        self._check(one)
        if kind == "use":
            return
        if kind == "atomic" and self._suspects:
            self._clear(one)
        if kind in ("read", "atomic"):
            _check_written(threads, memory, offsets, width, lanes)
        self._remember(one, IN_FLIGHT if kind == "copy" else self.now)
        if kind in ("atomic", "strong write"):
            self._atomic_order(threads, lanes, offsets, "release")

    def copied(self, memory: Memory, offsets: Offsets, width: int) -> None:
        """A thread has waited for its `cp.async`."""
        shadow = self._shadow(memory)
        shadow.writes.settle(shadow.granules(offsets, width)[0], self.now)

    def sent(self, threads: Threads, offsets: Offsets, width: int, lane: int) -> None:
        """A bulk load into shared memory was issued: its bytes are the engine's."""
        lanes = np.full(offsets.size, lane)
        memory = threads.wave.shared
        one = self._access(threads, memory, offsets, width, lanes, "sent", ())
        self._check(one)
        one.shadow.writes.put(one.at, ENGINE, IN_FLIGHT, threads.wave.line)

    def landed(self, wave: Wave, offsets: Offsets, width: int, key: int) -> None:
        """A bulk load has arrived, tracked by the mbarrier at `key`."""
        shadow = self._shadow(wave.shared)
        self.now += 1
        at = shadow.granules(offsets, width)[0]
        shadow.writes.settle(at, self.now, ENGINE)
        self._order().now = self.now
        self._order().landed(key)

    def reading(
        self, threads: Threads, memory: Memory, offsets: Offsets, width: int, lane: int
    ) -> Offsets:
        """An asynchronous read was issued; give the result to `has_read` later."""
        lanes = np.full(offsets.size, lane)
        one = self._access(threads, memory, offsets, width, lanes, "async", ())
        self._check(one)
        _check_written(threads, memory, offsets, width, lanes)
        np.add.at(one.shadow.busy, one.at, np.ones(one.at.size, np.int16))
        one.shadow.busy_line[one.at] = threads.wave.line
        return one.at

    def has_read(self, memory: Memory, at: Offsets) -> None:
        """An asynchronous read is done."""
        np.subtract.at(self._shadow(memory).busy, at, np.ones(at.size, np.int16))

    def _order(self) -> Ordering:
        assert self._ordering is not None
        return self._ordering

    def _shadow(self, memory: Memory) -> Shadow:
        if memory is self._order().wave.shared:
            if self._shared is None:
                columns = self._order().columns
                self._shared = Shadow.of(memory.size, self._granule, columns)
            return self._shared
        found = self._globals.get(self._granule)
        if found is None or found.size < memory.size:
            found = self._globals[self._granule] = Shadow.of(memory.size, self._granule)
        return found

    def _access(
        self,
        threads: Threads,
        memory: Memory,
        offsets: Offsets,
        width: int,
        lanes: Offsets,
        kind: str,
        bits: Bits,
    ) -> Access:
        shadow = self._shadow(memory)
        at, each = shadow.granules(offsets, width)
        thread = (
            np.repeat(lanes, each) + threads.start
            if each > 1
            else (lanes + threads.start)
        )
        name = thread
        if memory is not threads.wave.shared:
            warp = self._order().grid_warp[thread // WARP]
            name = warp * WARP + thread % WARP
        return Access(threads, memory, shadow, at, thread, name, kind, bits, each)

    def _atomic_order(
        self, threads: Threads, lanes: Offsets, offsets: Offsets, what: str
    ) -> None:
        mask = np.zeros(threads.count, np.bool_)
        mask[lanes] = True
        getattr(self._order(), what)(threads, mask, "atomic", offsets)

    # Rules.

    def _check(self, one: Access) -> None:
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
            self._suspect(one, racy & atomic)
            racy &= ~atomic
        if racy.any():
            raise self._race(one, racy, shadow.writes, "write")
        if one.kind == "async":
            self._check_shown(one, who, when)
        if one.kind in ("read", "async"):
            return
        if shadow.busy[at].any():
            first = int(shadow.busy[at].argmax())
            line = one.threads.wave.place(int(shadow.busy_line[at[first]]))
            raise Race(
                f"{_verb(one.kind)} {_label(one, first)}, which an asynchronous "
                f"operation issued at {line} still reads",
                where=self._where(one, first),
                fix="wait for its group first",
            )
        if one.kind != "atomic":
            self._check_reads(one)

    def _check_reads(self, one: Access) -> None:
        """Raise Race if a write is not behind the reads of the same bytes."""
        shadow, at = one.shadow, one.at
        order = self._order()
        if shadow.times is not None:
            warp = one.thread // WARP
            times = shadow.times[at] - 1
            unknown = times > order.known[warp]
            unknown[np.arange(at.size), order.column[warp]] = False
            racy = np.logical_or.reduce(unknown, axis=1)
            if racy.any():
                raise self._race(one, racy, shadow.reads, "read")
        lasts = [shadow.reads]
        if shadow.first_reads is not None:
            lasts.append(shadow.first_reads)
        for last in lasts:
            who, when = last.who(at), last.when(at)
            racy = who != NOBODY
            if racy.any():
                racy &= ~self._ordered(one, who, when)
            if shadow.times is not None:  # the lanes of one warp
                racy &= who // WARP == one.thread // WARP
            if racy.any():
                raise self._race(one, racy, last, "read")

    def _ordered(
        self, one: Access, who: Offsets, when: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether accesses of `who` (by name) at `when` are before this one."""
        order = self._order()
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
        ordered = order.known[warp, column] >= when
        lanes = here & (theirs == warp)
        if lanes.any():
            met = np.minimum(order.met[one.thread], order.met[thread])
            ordered = np.where(lanes, (met > when) | (when == self.now), ordered)
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
        order = self._order()
        thread = np.maximum(who, 0)
        warp, theirs = one.thread // WARP, thread // WARP
        shown = order.fenced[thread] > when
        shown |= order.shown[warp, order.column[theirs]] >= when
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
        accesses = np.flatnonzero(racy.reshape(-1, one.each).any(axis=1))
        first = accesses.repeat(1)
        width = one.bits[0].dtype.itemsize
        start = one.at.reshape(-1, one.each)[first, 0] * one.shadow.granule
        changed = np.zeros(first.size, np.bool_)
        for index, values in enumerate(one.bits):
            old = one.memory.view(width)[start // width + index]
            changed |= old != values[first]
        differs = np.zeros((racy.size // one.each, one.each), np.bool_)
        differs[first] = changed[:, None]
        return differs.reshape(-1)

    def _remember(self, one: Access, when: int) -> None:
        shadow, line = one.shadow, one.threads.wave.line
        if one.kind == "read":
            if shadow.first_reads is not None:
                fresh = one.at[shadow.first_reads.who(one.at) == NOBODY]
                names = one.name[shadow.first_reads.who(one.at) == NOBODY]
                shadow.first_reads.put(fresh, names, when, line)
            else:
                assert shadow.times is not None
                column = self._order().column[one.thread // WARP]
                shadow.times[one.at, column] = when + 1
            shadow.reads.put(one.at, one.name, when, line)
            return
        atomic = one.kind in ("atomic", "strong write")
        shadow.writes.put(one.at, one.name, when, -line if atomic else line)
        if not atomic:
            self._check_same_instruction(one)
        shadow.reads.forget(one.at)
        if shadow.first_reads is not None:
            shadow.first_reads.forget(one.at)
        if shadow.times is not None:
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
                raise self._race(one, racy, one.shadow.writes, "write")

    def _suspect(self, one: Access, racy: NDArray[np.bool_]) -> None:
        """Plain reads raced with atomics: how a loop of compare-and-swap may begin.

        They are reported when the block ends, unless one of these threads does an
        atomic at the same place.
        """
        line = one.threads.wave.line
        if line in self._loops:
            return
        found = self._suspects.setdefault(line, {})
        if not found:
            self._findings[line] = self._race(one, racy, one.shadow.writes, "write")
        memory = id(one.memory)
        for at, name in zip(one.at[racy], one.name[racy], strict=True):
            found[memory, int(at)] = int(name)

    def _clear(self, one: Access) -> None:
        """Atomics: the plain reads of the same bytes by the same threads are fine."""
        memory = id(one.memory)
        places = dict(zip(one.at.tolist(), one.name.tolist(), strict=True))
        for line, found in list(self._suspects.items()):
            if any(found.get((memory, at)) == name for at, name in places.items()):
                self._loops.add(line)
                del self._suspects[line]

    # Messages.

    def _race(
        self, one: Access, racy: NDArray[np.bool_], last: Last, before: str
    ) -> Race:
        first = int(racy.argmax())
        at = one.at[first : first + 1]
        who, line = int(last.who(at)[0]), abs(int(last.line(at)[0]))
        wave = one.threads.wave
        place = wave.place(line)
        if who == ENGINE:
            return Race(
                f"race: {_verb(one.kind)} {_label(one, first)}, which the bulk copy "
                f"issued at {place} writes, without a wait for its mbarrier",
                where=self._where(one, first),
            )
        if int(last.when(at)[0]) == IN_FLIGHT:
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


def _check_written(
    threads: Threads, memory: Memory, offsets: Offsets, width: int, lanes: Offsets
) -> None:
    assert memory.written is not None
    for byte in {0, width - 1}:
        fresh = ~memory.written[offsets + byte]
        if fresh.any():
            first = int(fresh.argmax())
            raise Uninitialised(
                f"read of {memory.label(int(offsets[first]))}, "
                "which nothing was written to",
                where=threads.describe(int(lanes[first])),
            )
