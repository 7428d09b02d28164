"""The checker: what a correct run may still do wrong.

Reads of memory nobody wrote, and races in shared memory: two accesses of one byte by
different warps, one of them a write, that no barrier orders. Order is happens-before,
by vector clocks of warps: barriers, mbarriers and atomics publish and take over what a
warp did. Asynchronous reads (bulk copies, wgmma) of bytes that a thread wrote need its
`fence.proxy.async` after the write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

from .machine import WARP, Group, Mask, Step, Threads, Wave
from .memory import Memory

Offsets = NDArray[np.int64]
Clock = NDArray[np.int64]


class Race(DeviceError):
    """Two accesses of shared memory that nothing orders."""


class Uninitialised(DeviceError):
    """A read of memory that nothing was written to."""


@dataclass
class History:
    """Who touched the shared memory of a cluster, and what each warp knows.

    A warp's number is that of its block's rank and itself. `clocks[w, v]` is the last
    moment of warp v that warp w is behind. Per byte: the last writer, when, in which
    of its proxy epochs, and at which line; per reader the last reader and when.
    """

    warps: int
    clocks: Clock
    epochs: NDArray[np.int64]
    writer: NDArray[np.int32]
    written_at: Clock
    written_epoch: Clock
    written_line: NDArray[np.int32]
    reader: NDArray[np.int32]
    read_at: Clock
    read_line: NDArray[np.int32]
    published: dict[object, Clock] = field(default_factory=dict[object, Clock])

    @staticmethod
    def of(wave: Wave) -> History:
        """Nothing happened yet."""
        each = wave.warps
        warps, size = each * wave.blocks, wave.shared.size
        nobody = np.full(size, -1, np.int32)
        zeros = np.zeros(size, np.int64)
        return History(
            each,
            np.eye(warps, dtype=np.int64),
            np.zeros(warps, np.int64),
            nobody,
            zeros,
            zeros.copy(),
            np.zeros(size, np.int32),
            nobody.copy(),
            zeros.copy(),
            np.zeros(size, np.int32),
        )

    def warps_of(self, threads: Threads, mask: Mask) -> NDArray[np.int64]:
        """The numbers of the warps that have threads in the mask."""
        present = mask.reshape(-1, WARP).any(axis=1)
        return np.flatnonzero(present) + threads.start // WARP


class MemoryChecker:
    """Watches the accesses of a machine (see `machine.Checker`)."""

    def __init__(self) -> None:
        self._wave: object = None
        self._history: History | None = None

    def _of(self, threads: Threads) -> History:
        if self._history is None or self._wave != threads.wave.serial:
            self._wave = threads.wave.serial
            self._history = History.of(threads.wave)
        return self._history

    def step(self, group: Group, mask: Mask, step: Step) -> None:
        """Count the fences that show a warp's writes to the asynchronous proxy."""
        if step.name.startswith("fence.proxy.async"):
            history = self._of(group.threads)
            history.epochs[history.warps_of(group.threads, mask)] += 1

    def landed(self, threads: Threads, offsets: Offsets, width: int) -> None:
        """Forget who wrote the bytes before: a copy took their place."""
        places = (offsets[:, None] + np.arange(width)).reshape(-1)
        self._of(threads).writer[places] = -1

    def release(self, threads: Threads, mask: Mask, keys: Sequence[object]) -> None:
        """The warps publish what they did and know, under a key."""
        history = self._of(threads)
        warps = history.warps_of(threads, mask)
        known = history.clocks[warps].max(axis=0)
        for key in keys:
            before = history.published.get(key)
            both = known if before is None else np.maximum(before, known)
            history.published[key] = both
        history.clocks[warps, warps] += 1

    def acquire(self, threads: Threads, mask: Mask, keys: Sequence[object]) -> None:
        """The warps take over what was published under a key."""
        history = self._of(threads)
        warps = history.warps_of(threads, mask)
        for key in keys:
            published = history.published.get(key)
            if published is not None:
                history.clocks[warps] = np.maximum(history.clocks[warps], published)

    def access(
        self,
        threads: Threads,
        memory: Memory,
        offsets: Offsets,
        width: int,
        lanes: Offsets,
        kind: str,
    ) -> None:
        """Check one access of the threads `lanes`, and remember it."""
        if offsets.size == 0 or kind == "sync":
            return
        if memory.written is not None and kind in ("read", "atomic", "async"):
            self._check_written(threads, memory, offsets, width, lanes)
        if memory is not threads.wave.shared:
            return
        history = self._of(threads)
        bytes_ = (offsets[:, None] + np.arange(width)).reshape(-1)
        warp = np.repeat((lanes + threads.start) // WARP, width)
        if kind == "atomic":
            self._atomic(threads, offsets, lanes)
            return
        self._check_order(history, threads, bytes_, warp, kind)
        self._remember(history, threads, bytes_, warp, kind)

    @staticmethod
    def _check_written(
        threads: Threads, memory: Memory, offsets: Offsets, width: int, lanes: Offsets
    ) -> None:
        assert memory.written is not None
        for byte in (0, width - 1):
            fresh = ~memory.written[offsets + byte]
            if fresh.any():
                first = int(np.flatnonzero(fresh)[0])
                raise Uninitialised(
                    f"read of {memory.name}[{int(offsets[first]):#x}], "
                    "which nothing was written to",
                    where=threads.describe(int(lanes[first])),
                )

    def _atomic(self, threads: Threads, offsets: Offsets, lanes: Offsets) -> None:
        """Atomics order the accesses around them (taken as acquire and release)."""
        mask = np.zeros(threads.count, np.bool_)
        mask[lanes] = True
        for offset in np.unique(offsets):
            self.acquire(threads, mask, [("atomic", int(offset))])
            self.release(threads, mask, [("atomic", int(offset))])

    @staticmethod
    def _check_order(
        history: History, threads: Threads, at: Offsets, warp: Offsets, kind: str
    ) -> None:
        writer = history.writer[at]
        known = history.clocks[warp, writer]
        racy = (writer >= 0) & (writer != warp) & (known < history.written_at[at])
        if racy.any():
            _report(threads, at, racy, "write", writer, history.written_line, kind)
        if kind == "async":
            shown = history.epochs[writer] > history.written_epoch[at]
            hidden = (writer >= 0) & ~shown
            if hidden.any():
                first = int(np.flatnonzero(hidden)[0])
                raise Race(
                    f"asynchronous read of shared[{int(at[first]):#x}], which warp "
                    f"{writer[first]} wrote at PTX line "
                    f"{history.written_line[at[first]]} without a fence since",
                    where=threads.describe(int(warp[first] % history.warps) * WARP),
                    fix="fence.proxy.async after the write",
                )
        if kind == "write":
            reader = history.reader[at]
            known = history.clocks[warp, reader]
            racy = (reader >= 0) & (reader != warp) & (known < history.read_at[at])
            if racy.any():
                _report(threads, at, racy, "read", reader, history.read_line, kind)

    @staticmethod
    def _remember(
        history: History, threads: Threads, at: Offsets, warp: Offsets, kind: str
    ) -> None:
        moment = history.clocks[warp, warp]
        if kind == "write":
            history.writer[at] = warp
            history.written_at[at] = moment
            history.written_epoch[at] = history.epochs[warp]
            history.written_line[at] = threads.wave.line
            history.reader[at] = -1
        elif kind == "read":
            history.reader[at] = warp
            history.read_at[at] = moment
            history.read_line[at] = threads.wave.line


def _report(
    threads: Threads,
    at: Offsets,
    racy: NDArray[np.bool_],
    before: str,
    who: NDArray[np.int32],
    lines: NDArray[np.int32],
    kind: str,
) -> None:
    first = int(np.flatnonzero(racy)[0])
    raise Race(
        f"race: {kind} of shared[{int(at[first]):#x}] with the {before} of warp "
        f"{who[first]} at PTX line {lines[at[first]]}, and no barrier between",
        where=f"PTX line {threads.wave.line}",
    )
