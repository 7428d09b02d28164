"""Blocks, thread groups and the scheduler.

A *group* is a set of threads of one block at the same instruction. A branch that
threads take differently splits a group; groups that meet at the same instruction join
again, because the scheduler runs the group with the lowest program counter first. A
group that waits (at a barrier, or in a loop that polls) gives way to others. Only when
nobody else can go on are pending asynchronous operations carried out, one by one: as
late as the ISA permits, so that a missing wait shows.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

from .asynchronous import AsyncGroups
from .memory import SHARED_STRIDE, GlobalMemory, Memory
from .registers import RegisterFile

WARP = 32
QUANTUM = 20_000
"""Instructions a group may run before others get a turn."""
PATIENCE = 64
"""Rounds of the scheduler without any effect before a deadlock is reported."""
Mask = NDArray[np.bool_]
Operation = Callable[["Block", Mask], None]
"""What an instruction does to the threads of a mask."""


class Deadlock(DeviceError):
    """Every thread waits, and nothing that is pending can wake one."""


@dataclass(frozen=True)
class Step:
    """One instruction, ready to run.

    `operation` acts on threads; `jump` decides where threads go next and returns, for
    each target, the mask of those who go there; neither falls through.
    `guard` reads the predicate.
    """

    line: int
    name: str
    operation: Operation | None = None
    jump: Callable[[Block, Group, Mask], list[tuple[int, Mask]]] | None = None
    guard: Callable[[Block], Mask] | None = None


@dataclass
class Wait:
    """Why a group stands still: `ready` says when it may go on, with `resume` first."""

    reason: str
    ready: Callable[[], bool]
    resume: Callable[[], None] | None = None


@dataclass(eq=False)
class Group:
    """Threads of a block at one instruction, and the calls they are inside of."""

    pc: int
    mask: Mask
    stack: tuple[int, ...] = ()
    wait: Wait | None = None
    reason: str = ""

    def meets(self, other: Group) -> bool:
        """Whether both are at the same place of the same call."""
        return (
            self.pc == other.pc
            and self.stack == other.stack
            and self.wait is None
            and other.wait is None
        )


@dataclass(eq=False)
class Block:
    """One thread block (CTA): registers, shared memory, its groups and barriers.

    `parameters` is the generic address of the kernel's parameters; `shared_base` the
    offset of the block's shared memory in the cluster's; `current` the group that runs.
    """

    index: tuple[int, int, int]
    shape: tuple[int, int, int]
    grid: tuple[int, int, int]
    cluster: Cluster
    rank: int
    registers: RegisterFile
    local: Memory
    local_offsets: NDArray[np.int64]
    parameters: int
    groups: list[Group] = field(default_factory=list[Group])
    barriers: dict[int, Barrier] = field(default_factory=dict[int, "Barrier"])
    line: int = 0
    polling: bool = False
    held: bool = False
    current: Group | None = None
    cluster_phase: NDArray[np.int64] = field(init=False)
    exited: Mask = field(init=False)
    carry: Mask = field(init=False)
    groups_in_flight: dict[str, AsyncGroups] = field(
        default_factory=dict[str, AsyncGroups]
    )

    def __post_init__(self) -> None:
        self.exited = np.ones(self.registers.threads, np.bool_)
        self.exited[: self.thread_count] = False
        self.carry = np.zeros_like(self.exited)
        self.cluster_phase = np.zeros(self.registers.threads, np.int64)
        self.groups.append(Group(0, ~self.exited))

    @property
    def thread_count(self) -> int:
        """Threads that were launched."""
        x, y, z = self.shape
        return x * y * z

    @property
    def live_threads(self) -> int:
        """Threads of warps that have not ended, which a full barrier waits for."""
        return WARP * _warps(~self.exited)

    @property
    def shared_base(self) -> int:
        """Where the block's shared memory begins in the cluster's."""
        return self.rank * SHARED_STRIDE

    @property
    def device(self) -> Machine:
        """The machine the block runs on."""
        return self.cluster.machine

    def wait(self, wait: Wait) -> None:
        """Let the running group stand still until `wait` is over."""
        assert self.current is not None
        if not wait.ready():
            self.current.wait = wait
        elif wait.resume is not None:
            wait.resume()

    def poll(self, reason: str) -> None:
        """The running group asked in vain: others get their turn first."""
        assert self.current is not None
        self.current.reason = reason
        self.polling = True

    def hold(self, reason: str) -> None:
        """Try the running instruction again later: some of its threads are not here."""
        self.poll(reason)
        self.held = True

    def in_flight(self, kind: str) -> AsyncGroups:
        """The asynchronous operations of a kind: copy, bulk or wgmma."""
        found = self.groups_in_flight.get(kind)
        if found is None:
            found = AsyncGroups(self.registers.threads)
            self.groups_in_flight[kind] = found
        return found

    def describe(self, thread: int) -> str:
        """A thread, for messages."""
        x, y, _ = self.shape
        at = (thread % x, thread // x % y, thread // (x * y))
        return f"PTX line {self.line}, block {self.index}, thread {at}"


@dataclass
class Barrier:
    """One of a block's named barriers (`bar`, `barrier`)."""

    arrived: int = 0
    generation: int = 0
    reduction: list[Mask] = field(default_factory=list[Mask])
    outcome: Mask | None = None


@dataclass(eq=False)
class Cluster:
    """The blocks that run together, their shared memories and what is in flight."""

    machine: Machine
    shape: tuple[int, int, int]
    index: tuple[int, int, int]
    shared: Memory
    blocks: list[Block] = field(default_factory=list[Block])
    pending: deque[Pending] = field(default_factory=deque["Pending"])
    arrived: int = 0
    generation: int = 0
    effects: int = 0


class Checker(Protocol):
    """What watches every access of a run."""

    def access(
        self,
        block: Block,
        memory: Memory,
        offsets: NDArray[np.int64],
        width: int,
        lanes: NDArray[np.int64],
        kind: str,
    ) -> None:
        """Called before each read, write or atomic of the threads `lanes`."""
        ...

    def step(self, block: Block, group: Group, mask: Mask, step: Step) -> None:
        """Called before each instruction."""
        ...

    def landed(self, block: Block, offsets: NDArray[np.int64]) -> None:
        """An asynchronous copy has written these bytes of shared memory."""
        ...

    def release(self, block: Block, mask: Mask, key: object) -> None:
        """The threads publish what they did, under a key (a barrier)."""
        ...

    def acquire(self, block: Block, mask: Mask, key: object) -> None:
        """The threads learn what was published under a key."""
        ...


@dataclass(frozen=True)
class Pending:
    """An asynchronous operation that has been issued and not carried out."""

    name: str
    complete: Callable[[], None]


@dataclass
class Machine:
    """A device: its global memory and how it schedules.

    `shuffle` carries pending operations out in random order instead of oldest first.
    """

    memory: GlobalMemory = field(default_factory=GlobalMemory)
    shuffle: random.Random | None = None
    instructions: int = 0
    limit: int | None = None
    checker: Checker | None = None

    def run(self, cluster: Cluster, code: list[Step]) -> None:
        """Run the blocks of a cluster to their end."""
        idle_rounds = 0
        while True:
            before = cluster.effects
            alive = moving = False
            for block in cluster.blocks:
                for group in sorted(block.groups, key=lambda g: (len(g.stack), g.pc)):
                    if group not in block.groups:
                        continue  # joined another one meanwhile
                    alive = True
                    if group.wait is not None:
                        if not group.wait.ready():
                            continue
                        over, group.wait = group.wait, None
                        if over.resume is not None:
                            over.resume()
                    moving |= self._run_group(block, group, code)
            if not alive:
                return
            moving |= cluster.effects != before
            idle_rounds = 0 if moving else idle_rounds + 1
            if idle_rounds == 0 or self._complete_one(cluster):
                continue
            if idle_rounds > PATIENCE:
                raise Deadlock(
                    "deadlock: every thread waits, and nothing is in flight",
                    notes=[
                        _waiting(block, group, code)
                        for block in cluster.blocks
                        for group in block.groups
                    ],
                )

    def drain(self, cluster: Cluster) -> None:
        """Carry out everything that is still in flight."""
        while self._complete_one(cluster):
            pass
        for block in cluster.blocks:
            for groups in block.groups_in_flight.values():
                groups.finish(np.ones(block.registers.threads, np.bool_))

    def _complete_one(self, cluster: Cluster) -> bool:
        if not cluster.pending:
            return False
        if self.shuffle is not None:
            cluster.pending.rotate(self.shuffle.randrange(len(cluster.pending)))
        cluster.pending.popleft().complete()
        return True

    def _run_group(self, block: Block, group: Group, code: list[Step]) -> bool:
        """Run a group until it waits, polls in vain, ends, or meets another group.

        False if it stands still: it waits or polls.
        """
        block.current = group
        for _ in range(QUANTUM):
            step = code[group.pc]
            block.line = step.line
            mask = group.mask
            if step.guard is not None:
                mask = mask & step.guard(block)
            self.instructions += _warps(group.mask)
            if self.limit is not None and self.instructions > self.limit:
                raise DeviceError(
                    f"gave up after {self.limit} warp instructions",
                    where=f"PTX line {step.line}",
                )
            if self.checker is not None:
                self.checker.step(block, group, mask, step)
            if step.jump is not None:
                if not self._jump(block, group, step, mask):
                    return True
            else:
                if step.operation is not None and mask.any():
                    step.operation(block, mask)
                group.pc += not block.held
            if block.polling:
                block.polling = block.held = False
                return False
            if group.wait is not None:
                return False
            if len(block.groups) > 1 and self._join(block, group):
                return True
        return True

    def _jump(self, block: Block, group: Group, step: Step, mask: Mask) -> bool:
        """Move a group; False when its threads ended or were split."""
        assert step.jump is not None
        if not mask.any():  # a branch that nobody takes is no progress of itself
            group.pc += 1
            return True
        stack = group.stack
        moved = step.jump(block, group, mask)
        stays = group.mask & ~mask
        if len(moved) == 1 and not stays.any():
            group.pc, group.mask = moved[0]
            return True
        block.groups.remove(group)
        for pc, threads in moved:
            self._add(block, Group(pc, threads, group.stack))
        if stays.any():
            self._add(block, Group(group.pc + 1, stays, stack))
        return False

    @staticmethod
    def _add(block: Block, group: Group) -> None:
        for other in block.groups:
            if other.meets(group):
                other.mask = other.mask | group.mask
                return
        block.groups.append(group)

    @staticmethod
    def _join(block: Block, group: Group) -> bool:
        """Join a group at the same place, or give way to one that is behind."""
        for other in block.groups:
            if other is group or other.wait is not None:
                continue
            if other.meets(group):
                other.mask = other.mask | group.mask
                block.groups.remove(group)
                return True
            if other.stack == group.stack and other.pc < group.pc:
                return True
        return False


def _warps(mask: Mask) -> int:
    return int(mask.reshape(-1, WARP).any(axis=1).sum())


def _waiting(block: Block, group: Group, code: list[Step]) -> str:
    threads = np.flatnonzero(group.mask)
    step = code[group.pc]
    if group.wait is not None:
        reason = group.wait.reason
    else:
        reason = group.reason or f"polls at {step.name}"
    return (
        f"block {block.index}, threads {threads[0]}..{threads[-1]} "
        f"({threads.size}): {reason}, PTX line {step.line}"
    )


def grid_clusters(
    grid: tuple[int, int, int], cluster: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    """The indices (x, y, z) of a grid's clusters, x fastest."""
    counts = [blocks // size for blocks, size in zip(grid, cluster, strict=True)]
    order = product(*(range(count) for count in reversed(counts)))
    return [(x, y, z) for z, y, x in order]
