"""The checker: what a run may do wrong though its results are right.

Reads of memory nobody wrote, and races: two accesses of the same bytes by different
threads, one of them a write, that nothing orders (`ordering.py`). The asynchronous
proxy takes part: bulk copies read and write, and wgmma reads, until somebody has waited
for them; they see a thread's writes only behind a `fence.proxy.async`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

from .access import Access, Bits
from .copies import ENGINE, IN_FLIGHT, MOST_READS, Copies
from .machine import Group, Launch, Mask, Step, Threads, Wave
from .memory import SHARED_STRIDE, Memory
from .ordering import SPACES, Grid, Ordering
from .races import Race, Rules, Suspects
from .shadow import Shadow
from .wave import WARP
from .wgmma_registers import RegistersInFlight

__all__ = ["Leak", "MemoryChecker", "Race", "Uninitialised"]
Offsets = NDArray[np.int64]


class Uninitialised(DeviceError):
    """A read of memory that nothing was written to."""


class Leak(DeviceError):
    """A block ended with asynchronous operations that nobody waited for."""


@dataclass
class MemoryChecker:
    """Watches the accesses of a machine."""

    now: int = 0
    _granule: int = 4
    _grid: Grid | None = None
    _ordering: Ordering | None = None
    _globals: dict[int, Shadow] = field(default_factory=dict[int, Shadow])
    _shared: Shadow | None = None
    _wave: Wave | None = None
    _registers: RegistersInFlight = field(default_factory=RegistersInFlight)
    _mbarriers: dict[int, int] = field(default_factory=dict[int, int])
    _owed: dict[tuple[int, int], int] = field(
        default_factory=dict[tuple[int, int], int]
    )
    _suspects: Suspects = field(default_factory=Suspects)
    _copies: Copies = field(default_factory=Copies)

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
        self._copies = Copies()

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
        self._suspects = Suspects()

    def end(self, wave: Wave) -> None:
        """All threads have ended. Raises Leak for what nobody waited for."""
        self._suspects.report()
        self._copies.close()
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
        for (offset, _), line in self._owed.items():
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
        if step.name.startswith("fence.proxy.async"):
            spaces = [space for space in SPACES if space in step.name] or SPACES
            ordering.fence(group.threads, mask, spaces)
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

    def met(self, threads: Threads, mask: Mask) -> None:
        """Lanes have met at a barrier of their warp."""
        self._order().meet(threads, mask)

    def release(self, threads: Threads, mask: Mask, kind: str, keys: Offsets) -> None:
        """The threads publish what they did, each under a key."""
        self._order().release(threads, mask, kind, keys)

    def acquire(self, threads: Threads, mask: Mask, kind: str, keys: Offsets) -> None:
        """The threads learn what was published under their keys."""
        self._order().acquire(threads, mask, kind, keys)

    def initialised(self, threads: Threads, offset: int) -> None:
        """An mbarrier was initialised."""
        self._mbarriers[offset] = threads.wave.line

    def invalidated(self, offset: int) -> None:
        """An mbarrier is no more."""
        self._mbarriers.pop(offset, None)

    def expects(self, threads: Threads, offset: int, phase: int) -> None:
        """A phase of an mbarrier expects transactions, which somebody must wait for."""
        self._owed[offset, phase] = threads.wave.line

    def waited(self, offsets: Offsets, phases: Offsets) -> None:
        """Threads have waited for phases of mbarriers."""
        if self._owed:
            for offset, phase in set(
                zip(offsets.tolist(), phases.tolist(), strict=True)
            ):
                self._owed.pop((offset, phase), None)

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
        self._rules().check(one)
        if kind == "use":
            return
        if kind == "atomic":
            self._suspects.clear(one)
        if kind in ("read", "atomic"):
            _check_written(threads, memory, offsets, width, lanes)
        self._rules().remember(one, IN_FLIGHT if kind == "copy" else self.now)
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
        self._rules().check(one)
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
        self._rules().check(one)
        _check_written(threads, memory, offsets, width, lanes)
        np.add.at(one.shadow.busy, one.at, np.ones(one.at.size, np.int16))
        one.shadow.busy_line[one.at] = threads.wave.line
        return one.at

    def loads(
        self,
        threads: Threads,
        offsets: Offsets,
        width: int,
        lanes: Offsets,
        landings: int = 0,
    ) -> Offsets:
        """Copies out of global memory were issued.

        A bulk load of one lane, which lands in so many blocks, or `cp.async` of lanes,
        a piece each. Their numbers, for `finished`; none once there are too many.
        """
        memory, line = threads.device.memory.memory, threads.wave.line
        issuers = self._named(lanes + threads.start)
        if not landings and self._copies.count >= MOST_READS:
            issuers = issuers[:0]
        copies = self._copies.issue(issuers, landings)
        pages = self._shadow(memory).pages
        assert pages is not None
        if offsets.size and pages.wrote(pages.load(copies, line, offsets, width)):
            each = np.broadcast_to(lanes, offsets.shape)
            kind = "async" if landings else "read"
            one = self._access(threads, memory, offsets, width, each, kind, ())
            self._rules().check(one)
        return copies

    def stores(
        self, threads: Threads, offsets: Offsets, width: int, lane: int, reduces: bool
    ) -> Offsets:
        """A bulk store or reduction into global memory was issued.

        Its number, for `finished`.
        """
        memory, lanes = threads.device.memory.memory, np.full(offsets.size, lane)
        kind = "reduce" if reduces else "store"
        one = self._access(threads, memory, offsets, width, lanes, kind, ())
        self._rules().check(one)
        copies = self._copies.issue(self._named(np.array([lane + threads.start])))
        by_copy = replace(one, name=np.broadcast_to(copies, one.name.shape))
        self._rules().remember(by_copy, self.now)
        return copies

    def finished(self, copies: Offsets) -> None:
        """Copies have landed, or their threads have waited for them."""
        self._copies.finish(copies, self.now)

    def has_read(self, memory: Memory, at: Offsets) -> None:
        """An asynchronous read is done."""
        np.subtract.at(self._shadow(memory).busy, at, np.ones(at.size, np.int16))

    def _rules(self) -> Rules:
        return Rules(self._order(), self._suspects, self._copies)

    def _order(self) -> Ordering:
        assert self._ordering is not None
        return self._ordering

    def _shadow(self, memory: Memory) -> Shadow:
        if memory is self._order().wave.shared:
            if self._shared is None:
                warps = self._order().warps
                self._shared = Shadow.of(memory.size, self._granule, warps)
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
            name = self._named(thread)
        return Access(threads, memory, shadow, at, thread, name, kind, bits, each)

    def _named(self, thread: Offsets) -> Offsets:
        """Threads of the wave, as they are numbered through the grid."""
        return self._order().grid_warp[thread // WARP] * WARP + thread % WARP

    def _atomic_order(
        self, threads: Threads, lanes: Offsets, offsets: Offsets, what: str
    ) -> None:
        mask = np.zeros(threads.count, np.bool_)
        mask[lanes] = True
        getattr(self._order(), what)(threads, mask, "atomic", offsets)


def _check_written(
    threads: Threads, memory: Memory, offsets: Offsets, width: int, lanes: Offsets
) -> None:
    assert memory.written is not None
    words = memory.written.view(f"u{min(width, 8)}")
    first, count = offsets // words.itemsize, max(1, width // 8)
    whole = words.dtype.type(0x0101010101010101 & (1 << 8 * words.itemsize) - 1)
    for word in range(count):
        fresh = words[first + word] != whole
        if fresh.any():
            lane = int(fresh.argmax())
            start = int(offsets[lane]) + 8 * word
            byte = int(memory.written[start : start + words.itemsize].argmin())
            raise Uninitialised(
                f"read of {memory.label(start + byte)}, which nothing was written to",
                where=threads.describe(int(lanes[lane])),
            )
