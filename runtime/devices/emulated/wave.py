"""Waves: the blocks that run side by side, and the ranges of threads that act.

The threads of many blocks lie in one vector, warp after warp; within a warp number,
block after block: warp 0 of every block, then warp 1 of every block, and so on. So the
threads that do the same (a warp-specialised role, a whole grid) are one range of it,
and an instruction is one NumPy call for all of them. A wave holds whole clusters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .asynchronous import AsyncGroups, InFlight
from .memory import SHARED_STRIDE, LocalMemory, SharedMemory
from .provenance import Provenance
from .registers import Layout, register_banks

if TYPE_CHECKING:
    from .machine import Machine

WARP = 32
BARRIERS = 16
Mask = NDArray[np.bool_]
Triple = tuple[int, int, int]
SPECIAL: dict[str, Callable[[Threads], NDArray]] = {}
"""Special registers: name to the value for all threads of a range."""
LOOKS = 8
"""Reads of the same at one place after which others get their turn."""
VOLATILE = ("%clock", "%clock64", "%clock_hi", "%globaltimer")
"""Special registers that change while threads run."""


@dataclass(frozen=True)
class Launch:
    """What the blocks of a launch have in common.

    `entry` is the first step, `parameters` the generic address of the kernel's
    parameters, `local` and `shared` are bytes per thread and block, `stack` is the row
    of the stack's pointer. `granule` is the narrowest access in bytes, and
    `product_rows` the rows of registers that wgmma uses: both for the checker.
    `provenance` names what lines came from; `dynamic` counts the shared bytes that the
    launch gives; `workspace` is the generic address of what a barrier of the whole grid
    needs, 0 if there is none; `in_clusters` says whether clusters were asked for, of
    one block too.
    """

    layout: Layout
    grid: Triple
    block: Triple
    cluster: Triple
    parameters: int
    entry: int
    local: int
    shared: int
    stack: int | None = None
    granule: int = 4
    product_rows: frozenset[int] = frozenset()
    provenance: Provenance = field(default_factory=Provenance)
    dynamic: int = 0
    workspace: int = 0
    in_clusters: bool = False

    def index_of(self, block: int) -> Triple:
        """The index of a block, by its number in the order that blocks run in."""
        cluster, rank = divmod(block, self.blocks)
        counts = [n // size for n, size in zip(self.grid, self.cluster, strict=True)]
        x, y, z = (
            along % count * size + within
            for along, count, size, within in zip(
                _unravel(cluster, counts),
                counts,
                self.cluster,
                _unravel(rank, self.cluster),
                strict=True,
            )
        )
        return x, y, z

    def name_of(self, block: int, thread: int) -> str:
        """A thread, for messages, by its number and its block's."""
        return f"thread {_unravel(thread, self.block)} of block {self.index_of(block)}"

    @property
    def threads(self) -> int:
        """Threads of a block."""
        x, y, z = self.block
        return x * y * z

    @property
    def blocks(self) -> int:
        """Blocks of a cluster."""
        x, y, z = self.cluster
        return x * y * z


def _unravel(number: int, extents: Sequence[int]) -> Triple:
    """A number as (x, y, z), x fastest."""
    x, y, _ = extents
    return number % x, number // x % y, number // (x * y)


@dataclass
class Wait:
    """Why a group stands still: `ready` says which of its threads may go on.

    `resume` runs first for those that do; `reason` is for messages.
    """

    reason: Callable[[], str]
    ready: Callable[[], Mask]
    resume: Callable[[Mask], None] | None = None


@dataclass(eq=False)
class Group:
    """Threads of a wave at one instruction, and the calls they are inside of.

    `mask` is `threads.everyone` itself if all of them take part. A group that asked in
    vain, or ran for long, is `tired` until others had their turn.
    """

    pc: int
    threads: Threads
    mask: Mask
    stack: tuple[int, ...] = ()
    wait: Wait | None = None
    reason: str = ""
    tired: bool = False
    gone: bool = False
    size: int = field(init=False)
    warps: int = field(init=False)

    def __post_init__(self) -> None:
        self.measure()

    def measure(self) -> None:
        """Count threads and warps of the mask."""
        if self.mask is self.threads.everyone:
            self.size = self.threads.count
            self.warps = self.size // WARP
        else:
            self.size = int(np.count_nonzero(self.mask))
            rows = np.logical_or.reduce(self.mask.reshape(-1, WARP), axis=1)
            self.warps = int(np.count_nonzero(rows))

    def place(self) -> tuple[float, ...]:
        """Orders groups by how far they are: inside a call is before its return."""
        return (*self.stack, self.pc, float("inf"))


@dataclass(frozen=True)
class Pending:
    """An asynchronous operation that has been issued and not carried out."""

    name: str
    complete: Callable[[], None]


class Rows(dict[int, NDArray]):
    """Views of the registers of a range of threads, by their number; made at need."""

    def __init__(self, threads: Threads) -> None:
        super().__init__()
        self._threads = threads

    def __missing__(self, number: int) -> NDArray:
        view = self._threads.wave.launch.layout.views[number]
        threads = self._threads
        if view.bank == "constant":
            assert view.value is not None
            row = view.value
        elif view.bank == "special":
            row = SPECIAL[str(view.row)](threads).astype(view.dtype)
            if view.row in VOLATILE:
                return row
            threads.wave.cached.append((self, number))
        else:
            bank = threads.wave.banks[view.bank]
            row = bank[int(view.row), threads.start : threads.stop]
            if row.dtype.itemsize == view.dtype.itemsize:
                row = row.view(view.dtype)
            else:  # the low bits of a wider register
                row = row.view(f"u{view.dtype.itemsize}")
                row = row[:: row.size // threads.count].view(view.dtype)
        self[number] = row
        return row


class Threads:
    """A range of a wave's threads: what an instruction acts on, under a mask.

    All arrays have one entry per thread of the range, `count` of them, a multiple of
    32. `shared_base` and `cluster_base` are offsets of the shared memory of a thread's
    block, and of the first block of its cluster, in the wave's.
    """

    def __init__(self, wave: Wave, start: int, stop: int) -> None:
        self.wave, self.start, self.stop = wave, start, stop
        self.count = stop - start
        self.device = wave.machine
        self.everyone = np.ones(self.count, np.bool_)
        self.everyone.flags.writeable = False
        self.rows = Rows(self)
        here = slice(start, stop)
        self.exited = wave.exited[here]
        self.carry = wave.carry[here]
        self.block_of = wave.block_of[here]
        self.thread_of = wave.thread_of[here]
        self.shared_base = wave.shared_base[here]
        self.cluster_base = wave.cluster_base[here]
        self.local_offsets = wave.local_offsets[here]
        self._in_flight: dict[str, InFlight] = {}
        self.kept: dict[object, NDArray] = {}

    def in_flight(self, kind: str) -> InFlight:
        """The asynchronous operations of a kind: copy, bulk or wgmma."""
        found = self._in_flight.get(kind)
        if found is None:
            groups = self.wave.async_groups.get(kind)
            if groups is None:
                groups = AsyncGroups.of(self.wave.count)
                self.wave.async_groups[kind] = groups
            found = self._in_flight[kind] = InFlight(groups, self)
        return found

    def forget(self) -> None:
        """Other blocks begin."""
        self._in_flight.clear()

    def later(self, lane: int, pending: Pending) -> None:
        """Let an operation of a thread complete when its cluster cannot go on."""
        cluster = int(self.block_of[lane]) // self.wave.launch.blocks
        self.wave.pending[cluster].append(pending)

    def wait(self, wait: Wait) -> None:
        """Let the running group stand still until `wait` is over."""
        assert self.wave.current is not None
        self.wave.current.wait = wait
        self.wave.stopped = True

    def poll(self, reason: str) -> None:
        """The running group asked in vain: others get their turn first."""
        assert self.wave.current is not None
        self.wave.current.reason = reason
        self.wave.current.tired = True
        self.wave.stopped = True

    def look(self, what: str, found: bytes) -> None:
        """Note what a read found that others may change: who finds the same polls."""
        wave = self.wave
        key = wave.line, self.start, self.stop
        before, times = wave.looks.get(key, (b"", 0))
        times = times + 1 if before == found else 0
        wave.looks[key] = found, times
        if times >= LOOKS:
            self.poll(f"polls {what}")

    def hold(self, reason: str, lanes: Mask) -> None:
        """Let threads try the running instruction again later; it waits for others."""
        self.poll(reason)
        self.wave.held = lanes

    def describe(self, lane: int) -> str:
        """A thread, for messages."""
        return self.wave.describe(self.start + lane)


class Wave:
    """The blocks that run together: registers, shared memories, groups, barriers.

    Threads are numbered by their place in the vector of all of them. `effects` counts
    what may wake somebody; `cached` lists the special registers that were read;
    `at_barrier` and `members` say at which barrier of its block, and of its warp, each
    thread has arrived while others of its warp have not; `divided` if there are any.
    """

    def __init__(self, machine: Machine, launch: Launch, clusters: int) -> None:
        self.machine, self.launch, self.clusters = machine, launch, clusters
        blocks = clusters * launch.blocks
        self.blocks = blocks
        self.warps = -(-launch.threads // WARP)
        self.count = self.warps * blocks * WARP
        self.banks = register_banks(launch.layout, self.count)
        place = np.arange(self.count)
        self.block_of = place // WARP % blocks
        self.thread_of = place // (WARP * blocks) * WARP + place % WARP
        self.shared_base = self.block_of * SHARED_STRIDE
        first = self.block_of // launch.blocks * launch.blocks
        self.cluster_base = first * SHARED_STRIDE
        self.local_offsets = place * launch.local
        self.exited = np.zeros(self.count, np.bool_)
        self.carry = np.zeros(self.count, np.bool_)
        self.shared = SharedMemory(blocks, launch.shared, machine.memory.shadow)
        self.local = LocalMemory(launch.local * self.count)
        self.ranges: dict[tuple[int, int], Threads] = {}
        self.cached: list[tuple[Rows, int]] = []
        self._fresh = True

    def start(self, clusters: Sequence[Triple], first: int = 0) -> None:
        """Begin with clusters, whose indices these are; `first` numbers the first."""
        self.first_block = first * self.launch.blocks
        launch, blocks = self.launch, self.blocks
        if not self._fresh:
            self.shared.clear()
        self._fresh = False
        self.carry[:] = False
        self.exited[:] = self.thread_of >= launch.threads
        if launch.stack is not None:
            self.banks["b64"][launch.stack] = 0
        size = np.array(launch.cluster)
        rank = np.arange(launch.blocks)
        x, y, _ = launch.cluster
        within = np.stack([rank % x, rank // x % y, rank // (x * y)], axis=1)
        at = np.array(clusters)[:, None, :] * size + within
        self.cluster_index = np.repeat(np.array(clusters), launch.blocks, axis=0)
        self.block_index = at.reshape(blocks, 3)
        for rows, number in self.cached:
            rows.pop(number, None)
        self.cached.clear()
        self.pending = [deque[Pending]() for _ in clusters]
        self.async_groups: dict[str, AsyncGroups] = {}
        for threads in self.ranges.values():
            threads.forget()
        self.arrived = np.zeros(blocks * BARRIERS, np.int64)
        self.at_barrier = np.full(self.count, -1)
        self.divided = False
        self.members = np.zeros(self.count, np.uint32)
        self.generation = np.zeros(blocks * BARRIERS, np.int64)
        self.reductions: dict[tuple[int, int], list[int]] = {}
        self.cluster_arrived = np.zeros(self.count, np.bool_)
        self.cluster_generation = np.zeros(self.clusters, np.int64)
        self.cluster_phase = np.zeros(self.count, np.int64)
        self.frames: dict[tuple[str, int], Any] = {}
        self.effects = self.line = 0
        self.stopped = False
        self.looks: dict[tuple[int, int, int], tuple[bytes, int]] = {}
        self.held: Mask | None = None
        self.current: Group | None = None
        self.groups: list[Group] = []
        self.group(launch.entry, 0, ~self.exited, ())

    def range(self, start: int, stop: int) -> Threads:
        """The threads of a range, whose ends are multiples of 32."""
        found = self.ranges.get((start, stop))
        if found is None:
            found = self.ranges[start, stop] = Threads(self, start, stop)
        return found

    def group(
        self, pc: int, start: int, mask: Mask, stack: tuple[int, ...]
    ) -> Group | None:
        """Add the threads of a mask, which begins at thread `start`, as a group.

        It gets the narrowest range; None if the mask is empty.
        """
        rows = np.logical_or.reduce(mask.reshape(-1, WARP), axis=1)
        present = np.flatnonzero(rows)
        if not present.size:
            return None
        low, high = int(present[0]) * WARP, (int(present[-1]) + 1) * WARP
        threads = self.range(start + low, start + high)
        if low or high < mask.size:
            mask = mask[low:high]
        if np.count_nonzero(mask) == mask.size:
            mask = threads.everyone
        made = Group(pc, threads, mask, stack)
        self.groups.append(made)
        return made

    def drop(self, group: Group) -> None:
        """Take a group out."""
        group.gone = True
        self.groups.remove(group)

    def join(self, one: Group, other: Group) -> Group:
        """Put two groups at the same instruction together."""
        start = min(one.threads.start, other.threads.start)
        stop = max(one.threads.stop, other.threads.stop)
        mask = np.zeros(stop - start, np.bool_)
        for group in (one, other):
            self.drop(group)
            first = group.threads.start - start
            mask[first : first + group.threads.count] |= group.mask
        made = self.group(one.pc, start, mask, one.stack)
        assert made is not None
        return made

    def live_threads(self) -> NDArray[np.int64]:
        """Per block, threads of warps that have not ended: a full barrier's count."""
        alive = ~np.logical_and.reduce(self.exited.reshape(-1, WARP), axis=1)
        return WARP * alive.reshape(self.warps, self.blocks).sum(axis=0)

    def index_of(self, thread: int) -> Triple:
        """The index of the block that a thread belongs to."""
        x, y, z = (int(i) for i in self.block_index[self.block_of[thread]])
        return x, y, z

    def place(self, line: int) -> str:
        """A line of PTX and what it came from."""
        return self.launch.provenance.place(line)

    def name_of(self, thread: int) -> str:
        """A thread, for messages."""
        number = int(self.thread_of[thread])
        at = _unravel(number, self.launch.block)
        return f"thread {at} of block {self.index_of(thread)}"

    def describe(self, thread: int) -> str:
        """The running instruction and a thread, for messages."""
        at = _unravel(int(self.thread_of[thread]), self.launch.block)
        place = self.place(self.line)
        return f"{place}, block {self.index_of(thread)}, thread {at}"
