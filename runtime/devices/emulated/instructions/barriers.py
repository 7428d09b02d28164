"""Barriers of a block, a warp and a cluster: bar, barrier.

ISA chapter "Parallel Synchronization and Communication Instructions".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import (
    WARP,
    Mask,
    Operation,
    Threads,
    Wait,
    Wave,
)
from stepwell.runtime.devices.emulated.syntax import Instruction, Not
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    instruction,
    unsupported,
)
from stepwell.runtime.devices.emulated.wave import BARRIERS

FULL = 0xFFFFFFFF
"""The member mask that names all lanes."""
LANES = np.arange(WARP, dtype=np.uint32)


def uniform(read: Read, threads: Threads, mask: Mask) -> int:
    """The value of an operand that all threads give alike."""
    value = read(threads)
    if value.ndim == 0:
        return int(value)
    return int(value[int(mask.argmax())])


@instruction("bar", "barrier")
def barrier(one: Instruction, scope: Scope) -> Operation:
    """`bar.sync`, `bar.arrive`, `bar.red`, `bar.warp.sync` and `barrier.cluster`."""
    if "cluster" in one.modifiers:
        return _cluster_barrier(one)
    if "warp" in one.modifiers:
        return _warp_barrier(scope.read(one.operands[0], "b32"))
    if "red" in one.modifiers:
        return _reduction(one, scope)
    number = scope.read(one.operands[0], "u32")
    count = scope.read(one.operands[1], "u32") if len(one.operands) > 1 else None
    arrive_only = "arrive" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        arrive(threads, mask, number, count, not arrive_only)

    return _aligned(one, run)


def _aligned(one: Instruction, operation: Operation) -> Operation:
    """An operation that all lanes of a warp do together, unless it may be divergent."""
    if one.opcode == "barrier" and "aligned" not in one.modifiers:
        return operation
    everyone = np.array(FULL, np.uint32)
    return converged(lambda threads: everyone, operation)


def arrive(
    threads: Threads,
    mask: Mask,
    number: Read,
    count: Read | None,
    waits: bool,
    finish: Callable[[Mask, NDArray[np.int64]], None] | None = None,
) -> None:
    """Arrive at a barrier of the block; if `waits`, stand until it is complete.

    `finish` runs when it is, with the barriers of the threads that go on.
    """
    wave = threads.wave
    which = _barriers_of(threads, mask, number)
    wanted = None if count is None else uniform(count, threads, mask)
    if wanted is not None and wanted % WARP:
        raise DeviceError(
            f"expected a barrier of whole warps, got {wanted} threads",
            where=threads.describe(int(mask.argmax())),
        )
    _come(threads, mask, which)
    wave.effects += 1
    checker = threads.device.checker
    if checker is not None:
        checker.release(threads, mask, "barrier", which[mask])
    generation = wave.generation[which]

    def ready() -> Mask:
        if wave.divided:
            _count_divided(wave)
        full = (
            np.repeat(wave.live_threads(), BARRIERS)
            if wanted is None
            else np.full(wave.arrived.size, wanted)
        )
        here = np.unique(which[mask & (wave.generation[which] == generation)])
        over = here[(wave.arrived >= full)[here]]
        wave.arrived[over] -= full[over]
        wave.generation[over] += 1
        return wave.generation[which] != generation

    def resume(due: Mask) -> None:
        if checker is not None:
            checker.acquire(threads, due, "barrier", which[due])
        if finish is not None:
            finish(due, which)

    if not waits:
        ready()
        return

    def reason() -> str:
        first = int(which[mask][0])
        full = int(wave.live_threads()[first // BARRIERS]) if wanted is None else wanted
        return (
            f"waits at barrier {first % BARRIERS} for {full} threads, of which "
            f"{wave.arrived[first]} are there"
        )

    threads.wait(Wait(reason, ready, resume))


def _come(threads: Threads, mask: Mask, which: NDArray[np.int64]) -> None:
    """Count the warps that arrive at barriers; of parts of warps, keep the threads."""
    wave, places = threads.wave, which.reshape(-1, WARP)
    if _complete(threads, mask):
        here = mask.reshape(-1, WARP)
        first = here.argmax(axis=1)
        rows = np.flatnonzero(here[np.arange(len(here)), first])
        np.add.at(wave.arrived, places[rows, first[rows]], WARP)
        return
    np.copyto(wave.at_barrier[threads.start : threads.stop], which, where=mask)
    wave.divided = True
    _count_divided(wave)


def _count_divided(wave: Wave) -> None:
    """A barrier counts warps: those whose threads have all arrived, or ended."""
    there = wave.at_barrier.reshape(-1, WARP)
    arrived = (there >= 0).any(axis=1)
    arrived &= ((there >= 0) | wave.exited.reshape(-1, WARP)).all(axis=1)
    if arrived.any():
        np.add.at(wave.arrived, there[arrived].max(axis=1), WARP)
        there[arrived] = -1
    wave.divided = bool((there >= 0).any())


def _barriers_of(threads: Threads, mask: Mask, number: Read) -> NDArray[np.int64]:
    """For each thread, the barrier of its block among the wave's."""
    which = number(threads).astype(np.int64)
    bad = mask & ((which < 0) | (which >= BARRIERS))
    if bad.any():
        lane = int(bad.argmax())
        got = int(np.broadcast_to(which, mask.shape)[lane])
        raise DeviceError(
            f"expected a barrier of 0 to {BARRIERS - 1}, got {got}",
            where=threads.describe(lane),
        )
    return np.where(mask, threads.block_of * BARRIERS + which, 0)


def _reduction(one: Instruction, scope: Scope) -> Operation:
    """`bar.red`: popc, and, or over a predicate of all threads."""
    operands = list(one.operands[1:])
    type_ = "u32" if "popc" in one.modifiers else "pred"
    write = scope.write(one.operands[0], type_)
    vote_of = operands.pop()
    inverted = isinstance(vote_of, Not)
    given = scope.read(vote_of.operand if inverted else vote_of, "pred")
    number = scope.read(operands[0], "u32")
    count = scope.read(operands[1], "u32") if len(operands) > 1 else None
    mode = next(m for m in one.modifiers if m in ("popc", "and", "or"))

    def run(threads: Threads, mask: Mask) -> None:
        wave = threads.wave
        which = _barriers_of(threads, mask, number)
        holds = mask & (given(threads) ^ inverted)
        phase: dict[int, tuple[int, int]] = {}
        for at in np.unique(which[mask]):
            mine = mask & (which == at)
            phase[int(at)] = key = (int(at), int(wave.generation[at]))
            sums = wave.reductions.setdefault(key, [0, 0])
            sums[0] += int(np.count_nonzero(holds & mine))
            sums[1] += int(np.count_nonzero(mine))

        def finish(due: Mask, which: NDArray[np.int64]) -> None:
            for at in np.unique(which[due]):
                true, all_ = wave.reductions[phase[int(at)]]
                outcome = {"popc": true, "and": true == all_, "or": true > 0}[mode]
                write(threads, due & (which == at), np.asarray(outcome))

        arrive(threads, mask, number, count, True, finish)

    return _aligned(one, run)


def converged(members: Read, operation: Operation) -> Operation:
    """An operation of the lanes of a member mask: it waits until they are all here.

    Lanes of one warp that give different masks are apart from one another. Raises
    DeviceError for a thread that its own mask does not name.
    """

    def run(threads: Threads, mask: Mask) -> None:
        words = _words(members, threads, mask)
        if words is None:
            operation(threads, mask)
            return
        left, waiting = mask, np.zeros_like(mask)
        while left.any():
            mine, ready = _meeting(words, threads, left)
            waiting |= mine & ~ready
            ready &= mine
            if ready.any():
                operation(threads, mask if ready.all() else ready)
            left = left & ~mine
        if waiting.any():
            threads.hold(_absent(words, threads, waiting), waiting)

    return run


def _words(members: Read, threads: Threads, mask: Mask) -> Mask | None:
    """The member mask of each thread; None if all name all, and all are here."""
    given = members(threads)
    if given.ndim == 0 and given == FULL and _complete(threads, mask):
        return None
    return np.broadcast_to(given, mask.shape)


def _complete(threads: Threads, mask: Mask) -> bool:
    """Whether all threads are there that have not ended."""
    return mask is threads.everyone or bool((mask | threads.exited).all())


def _meeting(words: Mask, threads: Threads, left: Mask) -> tuple[Mask, Mask]:
    """The threads that give the same member mask as the first of their warp's.

    And which warps (thread by thread) have all the threads there that they name.
    """
    rows, by_warp = left.reshape(-1, WARP), words.reshape(-1, WARP)
    word = by_warp[np.arange(len(rows)), rows.argmax(axis=1)]
    mine = rows & (by_warp == word[:, None])
    named = (word[:, None] >> LANES & 1).astype(np.bool_)
    stray = mine & ~named
    if stray.any():
        lane = int(stray.argmax())
        raise DeviceError(
            f"lane {lane % WARP} is not in the member mask "
            f"{int(words[lane]):#010x} that it gives",
            where=threads.describe(lane),
        )
    missing = (named & ~mine & ~threads.exited.reshape(-1, WARP)).any(axis=1)
    return mine.reshape(-1), np.repeat(~missing, WARP)


def _warp_barrier(members: Read) -> Operation:
    """`bar.warp.sync`: the lanes of a member mask, each at any of these barriers."""

    def run(threads: Threads, mask: Mask) -> None:
        words = _words(members, threads, mask)
        if words is None:
            _meet(threads, mask)
            return
        left = mask
        while left.any():  # every lane is in its own mask
            left = left & ~_meeting(words, threads, left)[0]
        wave, here = threads.wave, slice(threads.start, threads.stop)
        np.copyto(wave.members[here], words, where=mask)
        wave.effects += 1

        def ready() -> Mask:
            _open_warp_barriers(wave)
            return wave.members[here] == 0

        threads.wait(Wait(lambda: _absent(words, threads, mask), ready))

    return run


def _open_warp_barriers(wave: Wave) -> None:
    """Let the lanes go on whose mask names only lanes that gave it too, or ended."""
    by_warp = wave.members.reshape(-1, WARP)
    rows = np.flatnonzero(by_warp.any(axis=1))
    words, gone = by_warp[rows], wave.exited.reshape(-1, WARP)[rows]
    named = (words[:, :, None] >> LANES & 1).astype(np.bool_)
    there = (words[:, :, None] == words[:, None, :]) | gone[:, None, :]
    opened = (there | ~named).all(axis=2) & (words != 0)
    everyone = wave.range(0, wave.count)
    full = np.zeros((by_warp.shape), np.bool_)
    for word in np.unique(words[opened]):  # of each warp, one set of lanes at a time
        full[rows] = opened & (words == word)
        _meet(everyone, full.reshape(-1))
    by_warp[rows] = np.where(opened, 0, words)


def _meet(threads: Threads, mask: Mask) -> None:
    if threads.device.checker is not None:
        threads.device.checker.met(threads, mask)


def _absent(words: Mask, threads: Threads, waiting: Mask) -> str:
    """Whom the first of the waiting threads waits for."""
    lane = int(waiting.argmax())
    start = lane // WARP * WARP
    here = waiting[start : start + WARP] & (words[start : start + WARP] == words[lane])
    gone = threads.exited[start : start + WARP]
    named = (words[lane] >> LANES & 1).astype(np.bool_)
    return f"waits for lanes {np.flatnonzero(named & ~here & ~gone)[:8]} of its warp"


def _cluster_barrier(one: Instruction) -> Operation:
    act: Callable[[Threads, Mask], None]
    act = _cluster_arrive if "arrive" in one.modifiers else _cluster_wait
    if "arrive" not in one.modifiers and "wait" not in one.modifiers:
        raise unsupported(one)
    return act


def _cluster_arrive(threads: Threads, mask: Mask) -> None:
    wave = threads.wave
    cluster = threads.block_of // wave.launch.blocks
    here = slice(threads.start, threads.stop)
    np.copyto(wave.cluster_phase[here], wave.cluster_generation[cluster], where=mask)
    wave.cluster_arrived[here] |= mask
    wave.effects += 1
    if threads.device.checker is not None:
        threads.device.checker.release(threads, mask, "cluster", cluster[mask])
    _complete_clusters(threads)


def _complete_clusters(threads: Threads) -> None:
    """Open the barriers of the clusters whose threads have arrived or ended."""
    wave = threads.wave
    missing = ~(wave.cluster_arrived | wave.exited)
    cluster = wave.block_of // wave.launch.blocks
    absent = np.bincount(cluster, missing, wave.clusters)
    arrived = np.bincount(cluster, wave.cluster_arrived, wave.clusters)
    over = (absent == 0) & (arrived > 0)
    wave.cluster_generation += over
    wave.cluster_arrived &= ~over[cluster]


def _cluster_wait(threads: Threads, mask: Mask) -> None:
    wave = threads.wave
    cluster = threads.block_of // wave.launch.blocks
    phase = wave.cluster_phase[threads.start : threads.stop].copy()
    checker = threads.device.checker

    def ready() -> Mask:
        _complete_clusters(threads)
        return wave.cluster_generation[cluster] != phase

    def resume(due: Mask) -> None:
        if checker is not None:
            checker.acquire(threads, due, "cluster", cluster[due])

    threads.wait(Wait(lambda: "waits at the cluster barrier", ready, resume))
