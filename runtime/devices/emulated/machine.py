"""The scheduler: runs the groups of a wave until all of its threads have ended.

A *group* is a set of threads at the same instruction. A branch that threads take
differently splits a group; groups that meet at the same instruction join again, because
the group that is furthest behind runs first. A group that waits (at a barrier, or in a
loop that polls) gives way to others. Only when nobody else can go on are pending
asynchronous operations carried out, one per cluster: as late as the ISA permits, so
that a missing wait shows.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

from .memory import GlobalMemory
from .wave import WARP, Group, Launch, Mask, Pending, Threads, Triple, Wait, Wave

if TYPE_CHECKING:
    from .checker import MemoryChecker
    from .statistics import Statistics

__all__ = ["WARP", "Group", "Launch", "Mask", "Pending", "Threads", "Wait", "Wave"]

QUANTUM = 20_000
"""Instructions a group may run before others get a turn."""
PATIENCE = 64
"""Rounds of the scheduler without any effect before a deadlock is reported."""
FAR = 1 << 60
Operation = Callable[[Threads, Mask], None]
"""What an instruction does to the threads of a mask."""
Targets = list[tuple[int, Mask]]
Offsets = NDArray[np.int64]


class Deadlock(DeviceError):
    """Every thread waits, and nothing that is pending can wake one."""


@dataclass(frozen=True)
class Registers:
    """Rows of 32-bit registers: all that an instruction names, those that it writes,
    and those that an asynchronous product holds until it is waited for."""

    all: frozenset[int] = frozenset()
    written: frozenset[int] = frozenset()
    product: frozenset[int] = frozenset()


NO_REGISTERS = Registers()


@dataclass(frozen=True)
class Step:
    """One instruction, ready to run.

    `operation` acts on threads; `jump` decides where threads go next and returns, for
    each target, the mask of those who go there; neither falls through. A `target` is
    where all threads go whose guard holds. `guard` reads the predicate.
    `registers` lists what it uses.
    """

    line: int
    name: str
    operation: Operation | None = None
    jump: Callable[[Threads, Group, Mask], Targets] | None = None
    guard: Callable[[Threads], Mask] | None = None
    target: int | None = None
    registers: Callable[[], Registers] = lambda: NO_REGISTERS


@dataclass
class Machine:
    """A device: its global memory and how it schedules.

    `shuffle` carries pending operations out in random order instead of oldest first;
    `sink` takes what kernels print.
    """

    memory: GlobalMemory = field(default_factory=GlobalMemory)
    shuffle: random.Random | None = None
    instructions: int = 0
    limit: int | None = None
    checker: MemoryChecker | None = None
    sink: Callable[[str], object] = sys.stdout.write
    statistics: Statistics | None = None
    _time: int = 0

    def time(self) -> int:
        """A clock: instructions, and later at each look at it."""
        self._time = max(self._time + 1, self.instructions)
        return self._time

    def run(self, wave: Wave, code: list[Step]) -> None:
        """Run the blocks of a wave to their end, and all that is in flight then."""
        with np.errstate(all="ignore"):
            if self.checker is not None:
                self.checker.begin(wave)
            self._run(wave, code)
            if self.checker is not None:
                self.checker.end(wave)
            while self._complete(wave):
                pass
            for groups in wave.async_groups.values():
                everyone = wave.range(0, wave.count)
                groups.carry_out(groups.due(everyone, everyone.everyone, None))

    def _run(self, wave: Wave, code: list[Step]) -> None:
        idle_rounds = 0
        while wave.groups:
            before = wave.effects
            moving = False
            for group in sorted(wave.groups, key=Group.place):
                if group.gone:
                    continue  # joined another one meanwhile
                ready = group if group.wait is None else _woken(wave, group)
                if ready is not None:
                    moving |= self._advance(wave, ready, code)
            moving |= wave.effects != before
            idle_rounds = 0 if moving else idle_rounds + 1
            if idle_rounds == 0 or self._complete(wave):
                continue
            if idle_rounds > PATIENCE:
                raise Deadlock(
                    "deadlock: every thread waits, and nothing is in flight",
                    notes=[
                        *(_waiting(wave, group, code) for group in wave.groups),
                        *_ended(wave),
                    ],
                )

    def _complete(self, wave: Wave) -> bool:
        """Carry out one pending operation of each cluster; False if there is none."""
        found = False
        for queue in wave.pending:
            if queue:
                if self.shuffle is not None:
                    queue.rotate(self.shuffle.randrange(len(queue)))
                queue.popleft().complete()
                found = True
        return found

    def _advance(self, wave: Wave, group: Group, code: list[Step]) -> bool:
        """Run a group until it waits, polls in vain, ends, or meets another group.

        False if it stands still: it waits or polls, or others are behind it.
        """
        behind, meeting = _others(wave, group)
        pc = group.pc
        if pc in meeting:
            _meet(wave, group)
            return True
        if pc >= behind:
            return False
        wave.current = group
        group.tired = False
        threads, checker, statistics = group.threads, self.checker, self.statistics
        budget = self._budget(group)
        for done in range(1, budget + 1):
            step = code[pc]
            wave.line = step.line
            mask = group.mask
            if step.guard is not None:
                mask = mask & step.guard(threads)
            if checker is not None:
                checker.step(group, mask, step)
            if statistics is not None:
                statistics.step(group, mask, step)
            if step.jump is not None:
                moved = self._jump(wave, group, step, mask, pc)
                if moved is None:
                    self.instructions += done * group.warps
                    return True
                pc = moved
            elif step.guard is None or np.count_nonzero(mask):
                assert step.operation is not None
                step.operation(threads, mask)
                if wave.stopped:
                    _stand_still(wave, group, mask, pc)
                    self.instructions += done * group.warps
                    return False
                pc += 1
            else:
                pc += 1
            if pc >= behind or pc in meeting:
                group.pc = pc
                self.instructions += done * group.warps
                if pc in meeting:
                    _meet(wave, group)
                return True
        group.pc = pc
        group.tired = True
        self.instructions += budget * group.warps
        if self.limit is not None and self.instructions >= self.limit:
            raise DeviceError(
                f"gave up after {self.limit} warp instructions",
                where=wave.place(code[pc].line),
            )
        return True

    def _budget(self, group: Group) -> int:
        if self.limit is None:
            return QUANTUM
        left = self.limit - self.instructions
        return max(1, min(QUANTUM, -(-left // group.warps)))

    @staticmethod
    def _jump(wave: Wave, group: Group, step: Step, mask: Mask, pc: int) -> int | None:
        """Where a group goes; None when its threads ended or were split."""
        taken = group.size if mask is group.mask else int(np.count_nonzero(mask))
        if taken == 0:
            return pc + 1
        if step.target is not None and taken == group.size:
            return step.target
        assert step.jump is not None
        stack, start = group.stack, group.threads.start
        group.pc = pc
        moved = step.jump(group.threads, group, mask)
        stays = group.mask & ~mask
        if len(moved) == 1 and not stays.any():
            return moved[0][0]
        wave.drop(group)
        for to, threads in moved:
            wave.group(to, start, threads, group.stack)
        wave.group(pc + 1, start, stays, stack)
        return None


def _others(wave: Wave, group: Group) -> tuple[int, set[int]]:
    """The step from which another group is behind, and steps where some stand.

    Tired groups are not waited for, though met.
    """
    behind, meeting = FAR, set[int]()
    if len(wave.groups) == 1:
        return behind, meeting
    stack = group.stack
    depth = len(stack)
    for other in wave.groups:
        if other is group or other.wait is not None:
            continue
        if other.stack == stack:
            meeting.add(other.pc)
            if not other.tired:
                behind = min(behind, other.pc)
        elif other.stack[:depth] == stack and not other.tired:
            behind = min(behind, other.stack[depth])
    return behind, meeting


def _meet(wave: Wave, group: Group) -> None:
    """Join the group at the same place."""
    for other in wave.groups:
        same = other.pc == group.pc and other.stack == group.stack
        if other is not group and same and other.wait is None:
            wave.join(group, other)
            return


def _stand_still(wave: Wave, group: Group, mask: Mask, pc: int) -> None:
    """Part a group that an instruction has stopped.

    Who is held tries it again; who waits, or has polled, stands behind it; who was
    served beside those that are held, or whose guard failed, goes on.
    """
    held, wave.stopped, wave.held = wave.held, False, None
    group.pc = pc + (held is None)
    if held is None and group.wait is None:
        return
    start, stays = group.threads.start, mask if held is None else held
    if mask is not group.mask:
        wave.group(pc + 1, start, group.mask & ~mask, group.stack)
    if held is not None:
        served = mask & ~held
        if group.wait is None:
            wave.group(pc + 1, start, served, group.stack)
        else:  # the wait is of this range of threads
            behind = Group(pc + 1, group.threads, served, group.stack, group.wait)
            wave.groups.append(behind)
            group.wait = None
    if stays is not group.mask:
        group.mask = stays
        group.measure()


def _woken(wave: Wave, group: Group) -> Group | None:
    """The part of a waiting group that may go on; the rest stays behind."""
    wait = group.wait
    assert wait is not None
    due = wait.ready() & group.mask
    count = int(np.count_nonzero(due))
    if count == 0:
        return None
    wave.current = group
    if wait.resume is not None:
        wait.resume(due)
    if count == group.size:
        group.wait = None
        return group
    group.mask = group.mask & ~due
    group.measure()
    return wave.group(group.pc, group.threads.start, due, group.stack)


def _waiting(wave: Wave, group: Group, code: list[Step]) -> str:
    places = np.flatnonzero(group.mask) + group.threads.start
    step = code[group.pc]
    if group.wait is not None:
        reason = group.wait.reason()
        step = code[group.pc - 1]
    else:
        reason = group.reason or f"polls at {step.name}"
    return f"{_names(wave, places)}: {reason}, {wave.place(step.line)}"


def _ended(wave: Wave) -> list[str]:
    """Threads of blocks that others wait in, who will never come."""
    waiting = np.unique(
        np.concatenate([group.threads.block_of[group.mask] for group in wave.groups])
    )
    gone = wave.exited & (wave.thread_of < wave.launch.threads)
    places = np.flatnonzero(gone & np.isin(wave.block_of, waiting))
    return [f"{_names(wave, places)}: have ended"] if places.size else []


def _names(wave: Wave, places: NDArray[np.int64]) -> str:
    """Threads of a wave, block by block, the first few."""
    parts: list[str] = []
    blocks = wave.block_of[places]
    for block in np.unique(blocks)[:4]:
        mine = places[blocks == block]
        numbers = wave.thread_of[mine]
        parts.append(
            f"block {wave.index_of(int(mine[0]))}, threads "
            f"{numbers.min()}..{numbers.max()} ({numbers.size})"
        )
    return "; ".join(parts)


def grid_clusters(grid: Triple, cluster: Triple) -> list[Triple]:
    """The indices (x, y, z) of a grid's clusters, x fastest."""
    counts = [blocks // size for blocks, size in zip(grid, cluster, strict=True)]
    order = product(*(range(count) for count in reversed(counts)))
    return [(x, y, z) for z, y, x in order]
