"""Barriers of a block, a warp and a cluster: bar, barrier.

ISA chapter "Parallel Synchronization and Communication Instructions".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import (
    WARP,
    Barrier,
    Block,
    Mask,
    Operation,
    Wait,
)
from stepwell.runtime.devices.emulated.syntax import Instruction, Not
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    instruction,
    unsupported,
)

BARRIERS = 16


def uniform(read: Read, block: Block, mask: Mask) -> int:
    """The value of an operand that all threads give alike."""
    return int(np.broadcast_to(read(block), mask.shape)[mask][0])


@instruction("bar", "barrier")
def barrier(one: Instruction, scope: Scope) -> Operation:
    """`bar.sync`, `bar.arrive`, `bar.red`, `bar.warp.sync` and `barrier.cluster`."""
    if "cluster" in one.modifiers:
        return _cluster_barrier(one)
    if "warp" in one.modifiers:
        return converged(scope.read(one.operands[0], "b32"), lambda block, mask: None)
    if "red" in one.modifiers:
        return _reduction(one, scope)
    number = scope.read(one.operands[0], "u32")
    count = scope.read(one.operands[1], "u32") if len(one.operands) > 1 else None
    arrive_only = "arrive" in one.modifiers

    def run(block: Block, mask: Mask) -> None:
        arrive(block, mask, number, count, not arrive_only)

    return run


def arrive(
    block: Block,
    mask: Mask,
    number: Read,
    count: Read | None,
    waits: bool,
    finish: Callable[[], None] | None = None,
) -> None:
    """Arrive at a barrier of the block; if `waits`, stand until it is complete.

    `finish` runs when it is.
    """
    which = uniform(number, block, mask)
    if not 0 <= which < BARRIERS:
        raise DeviceError(
            f"expected a barrier of 0 to {BARRIERS - 1}, got {which}",
            where=block.describe(int(np.flatnonzero(mask)[0])),
        )
    here = block.barriers.setdefault(which, Barrier())
    expected = None if count is None else uniform(count, block, mask)
    # A barrier counts warps: every thread of a warp that arrives.
    here.arrived += WARP * int(mask.reshape(-1, WARP).any(axis=1).sum())
    block.cluster.effects += 1
    checker = block.device.checker
    if checker is not None:
        checker.release(block, mask, (id(block), which))
    generation = here.generation

    def ready() -> bool:
        wanted = block.live_threads if expected is None else expected
        if here.generation == generation and here.arrived >= wanted:
            here.arrived -= wanted
            here.generation += 1
        return here.generation != generation

    def resume() -> None:
        if checker is not None:
            checker.acquire(block, mask, (id(block), which))
        if finish is not None:
            finish()

    if not waits:
        ready()
        return
    named = "all" if expected is None else str(expected)
    reason = f"waits at barrier {which} for {named} threads"
    block.wait(Wait(reason, ready, resume))


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

    def run(block: Block, mask: Mask) -> None:
        here = block.barriers.setdefault(uniform(number, block, mask), Barrier())
        here.reduction.append(
            np.broadcast_to(given(block) ^ inverted, mask.shape)[mask]
        )
        mine = here.reduction

        def finish() -> None:
            every = np.concatenate(mine)
            if here.reduction is mine:
                here.reduction = []
            outcome = {"popc": every.sum(), "and": every.all(), "or": every.any()}
            write(block, mask, np.asarray(outcome[mode]))

        arrive(block, mask, number, count, True, finish)

    return run


def converged(members: Read, operation: Operation) -> Operation:
    """An operation of the lanes of a member mask: it waits until they are all here."""

    def run(block: Block, mask: Mask) -> None:
        if not (mask | block.exited).all():
            wanted = lanes_of(members, block, mask)
            missing = wanted & ~mask & ~block.exited
            if missing.any():
                block.hold(f"waits for lanes {np.flatnonzero(missing)[:8]} of its warp")
                return
        operation(block, mask)

    return run


def lanes_of(members: Read, block: Block, mask: Mask) -> Mask:
    """The threads that the member masks of the threads of `mask` name."""
    words = np.broadcast_to(members(block), mask.shape).astype(np.uint64)
    per_warp = np.bitwise_or.reduce(
        np.where(mask, words, np.uint64(0)).reshape(-1, WARP), axis=1
    )
    bits = per_warp[:, None] >> np.arange(WARP, dtype=np.uint64) & np.uint64(1)
    return bits.astype(np.bool_).reshape(-1)


def _cluster_barrier(one: Instruction) -> Operation:
    act: Callable[[Block, Mask], None]
    act = _cluster_arrive if "arrive" in one.modifiers else _cluster_wait
    if "arrive" not in one.modifiers and "wait" not in one.modifiers:
        raise unsupported(one)
    return act


def _cluster_arrive(block: Block, mask: Mask) -> None:
    cluster = block.cluster
    block.cluster_phase[mask] = cluster.generation
    cluster.arrived += int(mask.sum())
    cluster.effects += 1
    if block.device.checker is not None:
        block.device.checker.release(block, mask, id(cluster))
    total = sum(other.thread_count for other in cluster.blocks)
    if cluster.arrived >= total:
        cluster.arrived -= total
        cluster.generation += 1


def _cluster_wait(block: Block, mask: Mask) -> None:
    generation = int(block.cluster_phase[mask].max())
    checker = block.device.checker

    def resume() -> None:
        if checker is not None:
            checker.acquire(block, mask, id(block.cluster))

    block.wait(
        Wait(
            "waits at the cluster barrier",
            lambda: block.cluster.generation != generation,
            resume,
        )
    )
