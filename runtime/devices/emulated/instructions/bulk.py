"""Bulk copies of flat bytes, and reductions: cp.async.bulk, cp.reduce.async.bulk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import Mask, Operation, Pending, Threads
from stepwell.runtime.devices.emulated.memory import (
    SHARED_STRIDE,
    Memory,
    check_access,
)
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
)
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    unsupported,
)

from .addressing import Locate, locate
from .barriers import uniform
from .mbarrier import complete_bytes
from .updates import UPDATES

Offsets = NDArray[np.int64]


def sent(
    threads: Threads, memory: Memory, offsets: Offsets, width: int, lane: int
) -> None:
    """A thread has issued a bulk copy that writes `width` bytes at each offset."""
    checker = threads.device.checker
    if checker is not None and memory is threads.wave.shared:
        checker.sent(threads, offsets, width, lane)


Taken = Callable[[], None] | None
"""What the checker is told when a copy has read its source; None if there is none."""


def loading(
    threads: Threads,
    source: tuple[Memory, Offsets],
    width: int,
    lane: int,
    landings: int,
) -> Taken:
    """A thread has issued a copy into the shared memory of so many blocks."""
    checker = threads.device.checker
    if checker is None:
        return None
    memory, offsets = source
    if memory is threads.wave.shared:
        under_way = checker.reading(threads, memory, offsets, width, lane)
        return partial(checker.has_read, memory, under_way)
    copies = checker.loads(threads, offsets, width, np.array([lane]), landings)
    return partial(checker.finished, copies)


def landed(
    threads: Threads,
    target: tuple[Memory, Offsets],
    width: int,
    barrier: int,
    taken: Taken,
) -> None:
    """A bulk copy has written; it is tracked by an mbarrier."""
    memory, offsets = target
    memory.mark(offsets, width)
    checker = threads.device.checker
    if checker is not None and memory is threads.wave.shared:
        checker.landed(threads.wave, offsets, width, barrier)
    if taken is not None:
        taken()


def each_lane(mask: Mask) -> list[int]:
    """The threads of a mask: bulk copies are issued one by one."""
    return [int(lane) for lane in np.flatnonzero(mask)]


def only(mask: Mask, lane: int) -> Mask:
    """The mask of one thread."""
    alone = np.zeros_like(mask)
    alone[lane] = True
    return alone


def checked_span(
    threads: Threads,
    place: tuple[Memory, Offsets],
    size: int,
    lane: int,
    alignment: int,
) -> tuple[Memory, int]:
    """Memory and start of `size` bytes; DeviceError if skew or out of bounds."""
    memory, offsets = place
    start = int(offsets[0])
    where = threads.describe(lane)
    if start % alignment or size % 16:
        raise DeviceError(
            f"expected a bulk copy of whole 16 bytes, aligned to {alignment}, "
            f"got {size} bytes at {memory.name}[{start:#x}]",
            where=where,
        )
    if not memory.holds(start, start + size):
        every = np.arange(start, start + size, 16, dtype=np.int64)
        check_access(memory, every, 16, lambda _: where, lambda: np.zeros_like(every))
    return memory, start


def bulk_copy(one: Instruction, scope: Scope) -> Operation:
    """`cp.async.bulk`, `cp.reduce.async.bulk`: by the spaces that they are between."""
    to_shared = one.modifiers[2 + (one.modifiers[0] == "reduce")].startswith("shared")
    from_shared = not to_shared or "shared::cta" in one.modifiers[3:]
    spaces = (
        "shared" if to_shared else "global",
        "shared" if from_shared else "global",
    )
    target, source = (
        locate(one, operand, scope, space)
        for operand, space in zip(one.operands[:2], spaces, strict=True)
    )
    size_of = scope.read(one.operands[2], "u32")
    if not to_shared:
        update = reduction(one)

        def store(threads: Threads, mask: Mask) -> None:
            for lane in each_lane(mask):
                alone = only(mask, lane)
                size = uniform(size_of, threads, alone)
                to, at = checked_span(threads, target(threads, alone), size, lane, 16)
                of, begin = checked_span(
                    threads, source(threads, alone), size, lane, 16
                )
                sources = np.arange(begin, begin + size, 16)
                places = np.arange(at, at + size, 16)
                issue_store(threads, alone, (of, sources), (to, places), 16, update)

        return store
    return _bulk_load(one, scope, target, source, size_of)


def _bulk_load(
    one: Instruction, scope: Scope, target: Locate, source: Locate, size_of: Read
) -> Operation:
    """A copy into shared memory, of one or of several blocks, that an mbarrier counts.

    Or a reduction: the elements there become functions of themselves and the source's.
    """
    update = reduction(one)
    tracker = locate(one, one.operands[3], scope, "shared")
    multicast = "multicast::cluster" in one.modifiers
    ranks_of = scope.read(one.operands[4], "u16") if multicast else None

    def run(threads: Threads, mask: Mask) -> None:
        for lane in each_lane(mask):
            alone = only(mask, lane)
            if update is not None and not threads.wave.launch.in_clusters:
                raise DeviceError(
                    "expected a kernel that is launched in clusters, if of one block: "
                    "Hopper refuses reductions into shared memory in others",
                    where=threads.describe(lane),
                    fix="declare .reqnctapercluster, or launch it with a cluster",
                )
            size = uniform(size_of, threads, alone)
            to, at = checked_span(threads, target(threads, alone), size, lane, 16)
            of, begin = checked_span(threads, source(threads, alone), size, lane, 16)
            barrier = int(tracker(threads, alone)[1][0])
            ways = shifts(threads, alone, ranks_of, at, lane)
            sources = np.arange(begin, begin + size, 16)
            taken = loading(threads, (of, sources), 16, lane, len(ways))
            for shift in ways:
                if update is None:
                    places = np.arange(at + shift, at + shift + size, 16)
                    sent(threads, to, places, 16, lane)
                complete = partial(
                    _finish_bulk,
                    threads,
                    (to, slice(at + shift, at + shift + size)),
                    (of, slice(begin, begin + size)),
                    barrier + shift,
                    update,
                    taken,
                    threads.describe(lane),
                )
                threads.later(lane, Pending(one.name, complete))

    return run


def _finish_bulk(
    threads: Threads,
    target: tuple[Memory, slice],
    source: tuple[Memory, slice],
    barrier: int,
    update: Update,
    taken: Taken,
    where: str,
) -> None:
    (to, there), (of, here) = target, source
    data = of.bytes[here]
    if update is not None:
        name, dtype = update
        old = to.bytes[there].view(dtype)
        data = UPDATES[name](old, data.view(dtype)).astype(dtype).view(np.uint8)
    to.bytes[there] = data
    places = np.arange(there.start, there.stop, 16)
    landed(threads, (to, places), 16, barrier, taken)
    complete_bytes(threads.wave, barrier, there.stop - there.start, where)


Update = tuple[str, np.dtype] | None


def reduction(one: Instruction) -> Update:
    """The operation and element type of `cp.reduce.async.bulk`."""
    if one.modifiers[0] != "reduce" and one.modifiers[0] != "async":
        raise unsupported(one)
    name = next((m for m in one.modifiers if m in UPDATES), None)
    if name is None:
        return None
    type_ = next((m for m in one.modifiers if m in NUMPY_TYPES), "b32")
    return name, NUMPY_TYPES[type_]


def issue_store(
    threads: Threads,
    mask: Mask,
    source: tuple[Memory, Offsets],
    target: tuple[Memory, Offsets],
    width: int,
    update: Update,
) -> None:
    """Issue a copy out of shared memory: read, then written, when waited for.

    Offsets are those of pieces of `width` bytes.
    """
    kept: list[NDArray] = []
    of, sources = source
    to, places = target
    checker = threads.device.checker
    under_way = copies = None
    if checker is not None:
        lane = int(mask.argmax())
        under_way = checker.reading(threads, of, sources, width, lane)
        copies = checker.stores(threads, places, width, lane, update is not None)

    def read(due: Mask) -> None:
        if not kept:
            kept.append(of.view(width)[sources // width])
            if checker is not None and under_way is not None:
                checker.has_read(of, under_way)

    def finish(due: Mask) -> None:
        read(due)
        data = kept[0]
        view = to.view(width)
        if update is not None:
            name, dtype = update
            old = view[places // width].view(dtype)
            data = UPDATES[name](old, data.view(dtype)).astype(dtype)
            data = data.view(view.dtype)
        view[places // width] = data
        to.mark(places, width)
        if checker is not None and copies is not None:
            checker.finished(copies)
        threads.wave.effects += 1

    threads.in_flight("bulk").issue(mask, finish, read)


def shifts(
    threads: Threads, alone: Mask, ranks_of: Read | None, start: int, lane: int
) -> list[int]:
    """How far from here the blocks are that a copy goes to."""
    if ranks_of is None:
        return [0]
    ranks = uniform(ranks_of, threads, alone)
    first = int(threads.cluster_base[lane])
    own = start // SHARED_STRIDE * SHARED_STRIDE
    count = threads.wave.launch.blocks
    chosen = [rank for rank in range(count) if ranks >> rank & 1]
    return [first + rank * SHARED_STRIDE - own for rank in chosen]
