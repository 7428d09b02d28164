"""cp: asynchronous copies, of a few bytes by each thread; the others by kind.

ISA sections "Data Movement and Conversion Instructions: Asynchronous copy". Copies into
shared memory that an mbarrier tracks complete when no thread can go on without them;
the others when a thread waits for their group.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Pending, Threads
from stepwell.runtime.devices.emulated.memory import (
    Memory,
    check_access,
)
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
    Not,
    Operand,
    Register,
)
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    instruction,
)

from .addressing import checked, locate
from .barriers import uniform
from .bulk import bulk_copy
from .mbarrier import arrive_at, put_state, state_at
from .tensor_copies import tensor_copy

Offsets = NDArray[np.int64]


@instruction("cp")
def copy(one: Instruction, scope: Scope) -> Operation:
    """Every `cp` instruction, by its modifiers."""
    modifiers = one.modifiers
    if "prefetch" in modifiers:
        return lambda threads, mask: None
    kind = "bulk" if "bulk" in modifiers else "copy"
    if "commit_group" in modifiers:
        return lambda threads, mask: threads.in_flight(kind).commit(mask)
    if "wait_group" in modifiers:
        most = scope.read(one.operands[0], "u32")
        return lambda threads, mask: threads.in_flight(kind).wait(
            mask, uniform(most, threads, mask), "read" in modifiers
        )
    if "wait_all" in modifiers:
        return lambda threads, mask: threads.in_flight(kind).finish(mask)
    if "mbarrier" in modifiers:
        return _arrive_when_copied(one, scope)
    if kind == "copy":
        return _small_copy(one, scope)
    if "tensor" in modifiers:
        return tensor_copy(one, scope)
    return bulk_copy(one, scope)


# cp.async: 4, 8 or 16 bytes of each thread.


def _small_copy(one: Instruction, scope: Scope) -> Operation:
    target = locate(one, one.operands[0], scope, "shared")
    source = locate(one, one.operands[1], scope, "global")
    size_of = scope.read(one.operands[2], "u32")
    cached = "L2::cache_hint" in one.modifiers
    extra = one.operands[3] if len(one.operands) > 3 + cached else None
    ignored, source_size = None, size_of
    if extra is not None and _is_predicate(extra, scope):
        ignored = scope.read(extra, "pred")
    elif extra is not None:
        source_size = scope.read(extra, "u32")

    def run(threads: Threads, mask: Mask) -> None:
        width = uniform(size_of, threads, mask)
        if ignored is not None:
            given = np.where(ignored(threads), 0, width)
        else:
            given = source_size(threads)
        counts = np.broadcast_to(given, mask.shape).astype(np.int64)
        to, to_offsets = checked(threads, mask, target(threads, mask), width, "copy")
        active = mask & (counts > 0)
        starts = np.zeros((2, mask.size), np.int64)
        starts[0, mask] = to_offsets
        memory = threads.device.memory.memory
        if active.any():
            memory, offsets = source(threads, active)
            check_access(
                memory,
                offsets,
                width,
                threads.describe,
                lambda: np.flatnonzero(active),
            )
            starts[1, active] = offsets
        whole = mask & (counts == width)
        taken = _reading(threads, whole, starts[1], width)
        finish = partial(
            _finish_small, threads, to, memory, starts, counts, width, taken
        )
        threads.in_flight("copy").issue(mask, finish)

    return run


def _reading(
    threads: Threads, mask: Mask, starts: Offsets, width: int
) -> Callable[[Mask], None] | None:
    """Tell the checker that threads read so many bytes; what to call when they have.

    Copies of fewer bytes, at edges, are not told of.
    """
    checker = threads.device.checker
    if checker is None or not mask.any():
        return None
    lanes = np.flatnonzero(mask)
    copies = checker.loads(threads, starts[lanes], width, lanes)
    if not copies.size:
        return None
    return lambda due: checker.finished(copies[due[lanes]])


def _is_predicate(operand: Operand, scope: Scope) -> bool:
    """Whether an operand is `ignore-src` (a predicate), not the size of the source."""
    if isinstance(operand, Not):
        return True
    return isinstance(operand, Register) and scope.slot(operand.name).bank == "pred"


def _finish_small(
    threads: Threads,
    to: Memory,
    of: Memory,
    starts: Offsets,
    counts: Offsets,
    width: int,
    taken: Callable[[Mask], None] | None,
    due: Mask,
) -> None:
    places, sources = starts[0][due], starts[1][due]
    if (counts[due] == width).all():
        to.view(width)[places // width] = of.view(width)[sources // width]
    else:
        span = np.arange(width)
        inside = span < counts[due][:, None]
        found = of.bytes[np.where(inside, sources[:, None] + span, 0)]
        to.bytes[places[:, None] + span] = np.where(inside, found, 0)
    to.mark(places, width)
    if threads.device.checker is not None:
        threads.device.checker.copied(to, places, width)
    if taken is not None:
        taken(due)


def _arrive_when_copied(one: Instruction, scope: Scope) -> Operation:
    where = locate(one, one.operands[0], scope, "shared")
    counted = "noinc" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        _, offsets = checked(threads, mask, where(threads, mask), 8, "use")
        wave, waiting = threads.wave, mask.copy()
        lane = int(mask.argmax())
        text = threads.describe(lane)
        for at in () if counted else offsets:
            state = state_at(wave, int(at), text)
            more = type(state)(
                state.phase, state.expected, state.pending + 1, state.owed
            )
            put_state(wave, int(at), more)

        def complete() -> None:
            threads.in_flight("copy").finish(waiting)
            checker = threads.device.checker
            if checker is not None:
                checker.release(threads, waiting, "mbarrier", offsets)
            for at in offsets:
                arrive_at(wave, int(at), 1, text)

        threads.later(lane, Pending(one.name, complete))

    return run
