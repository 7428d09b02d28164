"""Asynchronous copies: cp.async, bulk copies, tensor copies by maps, bulk reductions.

ISA sections "Data Movement and Conversion Instructions: Asynchronous copy". Copies into
shared memory that an mbarrier tracks complete when no thread can go on without them;
the others when a thread waits for their group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import Mask, Operation, Pending, Threads
from stepwell.runtime.devices.emulated.memory import (
    GLOBAL_BASE,
    SHARED_STRIDE,
    Memory,
    check_access,
)
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import (
    Address,
    Instruction,
    Operand,
    Vector,
)
from stepwell.runtime.devices.emulated.tensor_map import (
    MAP_BYTES,
    TensorMap,
    swizzled,
)
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    instruction,
    unsupported,
)

from .addressing import Locate, checked, locate
from .barriers import uniform
from .mbarrier import arrive_at, complete_bytes, put_state, state_at
from .updates import UPDATES

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
        return _tensor_copy(one, scope)
    return _bulk_copy(one, scope)


def _sent(
    threads: Threads, memory: Memory, offsets: Offsets, width: int, lane: int
) -> None:
    """A thread has issued a bulk copy that writes `width` bytes at each offset."""
    checker = threads.device.checker
    if checker is not None and memory is threads.wave.shared:
        checker.sent(threads, offsets, width, lane)


def _landed(
    threads: Threads, memory: Memory, offsets: Offsets, width: int, barrier: int
) -> None:
    """A bulk copy has written; it is tracked by an mbarrier."""
    memory.mark(offsets, width)
    checker = threads.device.checker
    if checker is not None and memory is threads.wave.shared:
        checker.landed(threads.wave, offsets, width, barrier)


# cp.async: 4, 8 or 16 bytes of each thread.


def _small_copy(one: Instruction, scope: Scope) -> Operation:
    target = locate(one, one.operands[0], scope, "shared")
    source = locate(one, one.operands[1], scope, "global")
    size_of = scope.read(one.operands[2], "u32")
    cached = "L2::cache_hint" in one.modifiers
    has_size = len(one.operands) > 3 + cached
    source_size = scope.read(one.operands[3], "u32") if has_size else size_of

    def run(threads: Threads, mask: Mask) -> None:
        width = uniform(size_of, threads, mask)
        counts = np.broadcast_to(source_size(threads), mask.shape).astype(np.int64)
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
        finish = partial(_finish_small, threads, to, memory, starts, counts, width)
        threads.in_flight("copy").issue(mask, finish)

    return run


def _finish_small(
    threads: Threads,
    to: Memory,
    of: Memory,
    starts: Offsets,
    counts: Offsets,
    width: int,
    due: Mask,
) -> None:
    places, sources = starts[0][due], starts[1][due]
    if (counts[due] == width).all():
        to.view(width)[places // width] = of.view(width)[sources // width]
    else:
        span = np.arange(width)
        inside = span < counts[due][:, None]
        taken = of.bytes[np.where(inside, sources[:, None] + span, 0)]
        to.bytes[places[:, None] + span] = np.where(inside, taken, 0)
    to.mark(places, width)
    if threads.device.checker is not None:
        threads.device.checker.copied(to, places, width)


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


# Bulk copies of flat bytes.


def _lanes(mask: Mask) -> list[int]:
    return [int(lane) for lane in np.flatnonzero(mask)]


def _only(mask: Mask, lane: int) -> Mask:
    alone = np.zeros_like(mask)
    alone[lane] = True
    return alone


def _checked_span(
    threads: Threads,
    place: tuple[Memory, Offsets],
    size: int,
    lane: int,
    alignment: int,
) -> tuple[Memory, int]:
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


def _bulk_copy(one: Instruction, scope: Scope) -> Operation:
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
        update = _reduction(one)

        def store(threads: Threads, mask: Mask) -> None:
            for lane in _lanes(mask):
                alone = _only(mask, lane)
                size = uniform(size_of, threads, alone)
                to, at = _checked_span(threads, target(threads, alone), size, lane, 16)
                of, begin = _checked_span(
                    threads, source(threads, alone), size, lane, 16
                )
                sources = np.arange(begin, begin + size, 16)
                places = np.arange(at, at + size, 16)
                _issue_store(threads, alone, (of, sources), (to, places), 16, update)

        return store
    return _bulk_load(one, scope, target, source, size_of)


def _bulk_load(
    one: Instruction, scope: Scope, target: Locate, source: Locate, size_of: Read
) -> Operation:
    """A copy into shared memory, of one or of several blocks, that an mbarrier counts.

    Or a reduction: the elements there become functions of themselves and the source's.
    """
    update = _reduction(one)
    tracker = locate(one, one.operands[3], scope, "shared")
    multicast = "multicast::cluster" in one.modifiers
    ranks_of = scope.read(one.operands[4], "u16") if multicast else None

    def run(threads: Threads, mask: Mask) -> None:
        for lane in _lanes(mask):
            alone = _only(mask, lane)
            size = uniform(size_of, threads, alone)
            to, at = _checked_span(threads, target(threads, alone), size, lane, 16)
            of, begin = _checked_span(threads, source(threads, alone), size, lane, 16)
            barrier = int(tracker(threads, alone)[1][0])
            for shift in _shifts(threads, alone, ranks_of, at, lane):
                if update is None:
                    places = np.arange(at + shift, at + shift + size, 16)
                    _sent(threads, to, places, 16, lane)
                complete = partial(
                    _finish_bulk,
                    threads,
                    (to, slice(at + shift, at + shift + size)),
                    (of, slice(begin, begin + size)),
                    barrier + shift,
                    update,
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
    where: str,
) -> None:
    (to, there), (of, here) = target, source
    data = of.bytes[here]
    if update is not None:
        name, dtype = update
        old = to.bytes[there].view(dtype)
        data = UPDATES[name](old, data.view(dtype)).astype(dtype).view(np.uint8)
    to.bytes[there] = data
    _landed(threads, to, np.arange(there.start, there.stop, 16), 16, barrier)
    complete_bytes(threads.wave, barrier, there.stop - there.start, where)


Update = tuple[str, np.dtype] | None


def _reduction(one: Instruction) -> Update:
    """The operation and element type of `cp.reduce.async.bulk`."""
    if one.modifiers[0] != "reduce" and one.modifiers[0] != "async":
        raise unsupported(one)
    name = next((m for m in one.modifiers if m in UPDATES), None)
    if name is None:
        return None
    type_ = next((m for m in one.modifiers if m in NUMPY_TYPES), "b32")
    return name, NUMPY_TYPES[type_]


def _issue_store(
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
    under_way = (
        None
        if checker is None
        else checker.reading(threads, of, sources, width, int(mask.argmax()))
    )

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
        threads.wave.effects += 1

    threads.in_flight("bulk").issue(mask, finish, read)


# Tensor copies.


def _coordinates(one: Instruction, address: Operand, scope: Scope) -> list[Read]:
    if not isinstance(address, Address) or len(address.coordinates) != 1:
        raise unsupported(one)
    (tile,) = address.coordinates
    elements: Sequence[Operand] = tile.elements if isinstance(tile, Vector) else (tile,)
    return [scope.read(element, "s32") for element in elements]


@lru_cache(maxsize=256)
def _decoded(data: bytes) -> TensorMap | None:
    return TensorMap.decode(data)


def read_map(threads: Threads, where: Locate, mask: Mask, lane: int) -> TensorMap:
    """The tensor map that an operand names. Raises DeviceError if it is none."""
    memory, offsets = where(threads, mask)
    start = int(offsets[0])
    found = _decoded(bytes(memory.bytes[start : start + MAP_BYTES]))
    if found is None:
        raise DeviceError(
            f"expected a tensor map at {memory.name}[{start:#x}]",
            where=threads.describe(lane),
            fix="make it with stepwell.runtime.devices.emulated.encode_tensor_map",
        )
    return found


def _tensor_copy(one: Instruction, scope: Scope) -> Operation:
    if any(m.startswith(("im2col::", "tile::")) for m in one.modifiers):
        raise unsupported(one)
    loads = "global" in one.modifiers and any(
        m.startswith("mbarrier") for m in one.modifiers
    )
    return _tensor_load(one, scope) if loads else _tensor_store(one, scope)


Tile = tuple[TensorMap, list[int]]
"""A map, and the coordinates that a copy starts at."""


def _tile_of(
    one: Instruction, operand: Operand, scope: Scope
) -> Callable[[Threads, Mask, int], Tile]:
    """How to read the map and the coordinates of a copy."""
    where = locate(one, operand, scope, "generic")
    reads = _coordinates(one, operand, scope)
    columns = any(m.startswith("im2col") for m in one.modifiers)

    def read(threads: Threads, mask: Mask, lane: int) -> Tile:
        tensor = read_map(threads, where, mask, lane)
        at = [uniform(read, threads, mask) for read in reads]
        if len(at) != len(tensor.dims):
            raise DeviceError(
                f"expected {len(tensor.dims)} coordinates, got {len(at)}",
                where=threads.describe(lane),
            )
        if columns != (tensor.window is not None):
            raise DeviceError(
                f"expected a tensor map of {'im2col' if columns else 'tile'} mode",
                where=threads.describe(lane),
            )
        return tensor, at

    return read


def _box(
    threads: Threads, tile: Tile, taps: Sequence[int], lane: int
) -> tuple[Offsets, NDArray[np.bool_]]:
    """Addresses of a box's elements and which are inside; errors name the thread."""
    tensor, at = tile
    try:
        return tensor.elements(at, taps)
    except DeviceError as error:
        raise DeviceError(error.summary, where=threads.describe(lane)) from None


Copied = tuple[Offsets, Offsets, int]
"""Offsets in global and in shared memory, of pieces of so many bytes."""


@lru_cache(maxsize=256)
def _chunks(tensor: TensorMap) -> tuple[Offsets, Offsets] | None:
    """The 16-byte chunks of a whole box, from its first byte, here and there.

    None if its rows are not such chunks.
    """
    inner = tensor.box[0] * tensor.width
    regular = tensor.window is None and all(step == 1 for step in tensor.every)
    if not regular or inner % 16:
        return None
    sources = 16 * np.arange(inner // 16)
    for extent, stride in zip(tensor.box[1:], tensor.strides, strict=True):
        sources = (np.arange(extent)[:, None] * stride + sources).reshape(-1)
    places = swizzled(16 * np.arange(sources.size), tensor.swizzle)
    return sources, places


def _whole_box(tensor: TensorMap, at: Sequence[int], start: int) -> Copied | None:
    """A copy by chunks, of a box that is inside the tensor; None for others."""
    chunks = _chunks(tensor)
    if chunks is None or (tensor.swizzle and start % 1024):
        return None
    if any(
        c < 0 or c + e > d for c, e, d in zip(at, tensor.box, tensor.dims, strict=True)
    ):
        return None
    steps = (tensor.width, *tensor.strides)
    first = tensor.address + sum(c * s for c, s in zip(at, steps, strict=True))
    if first % 16:
        return None
    return chunks[0] + (first - GLOBAL_BASE), chunks[1] + start, 16


def _copied(
    threads: Threads, tile: Tile, taps: Sequence[int], start: int, lane: int
) -> tuple[Copied, NDArray[np.bool_] | None]:
    """What a tensor copy moves, checked; and which elements are inside (None: all)."""
    tensor, at = tile
    memory, where = threads.device.memory.memory, threads.describe(lane)
    found, inside = _whole_box(tensor, at, start), None
    if found is None:
        addresses, inside = _box(threads, tile, taps, lane)
        found = (
            addresses[inside] - GLOBAL_BASE,
            tensor.offsets(start),
            tensor.width,
        )
    check_access(memory, found[0], found[2], lambda _: where, lambda: found[0])
    return found, inside


def _tensor_load(one: Instruction, scope: Scope) -> Operation:
    target = locate(one, one.operands[0], scope, "shared")
    tile_of = _tile_of(one, one.operands[1], scope)
    tracker = locate(one, one.operands[2], scope, "shared")
    multicast = "multicast::cluster" in one.modifiers
    extra = list(one.operands[3:])
    taps: list[Read] = []
    if "im2col" in one.modifiers:
        given = extra.pop(0)
        elements = given.elements if isinstance(given, Vector) else (given,)
        taps = [scope.read(element, "u16") for element in elements]
    ranks_of = scope.read(extra[0], "u16") if multicast else None

    def run(threads: Threads, mask: Mask) -> None:
        for lane in _lanes(mask):
            alone = _only(mask, lane)
            tile = tile_of(threads, alone, lane)
            shift_by = [uniform(tap, threads, alone) for tap in taps]
            start = _shared_box(threads, target(threads, alone), tile[0], lane)
            (sources, places, width), inside = _copied(
                threads, tile, shift_by, start, lane
            )
            barrier = int(tracker(threads, alone)[1][0])
            for shift in _shifts(threads, alone, ranks_of, start, lane):
                _sent(threads, threads.wave.shared, places + shift, width, lane)
                complete = partial(
                    _finish_load,
                    threads,
                    tile[0],
                    (sources, places + shift, width),
                    inside,
                    barrier + shift,
                    threads.describe(lane),
                )
                threads.later(lane, Pending(one.name, complete))

    return run


def _shifts(
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


def _shared_box(
    threads: Threads, place: tuple[Memory, Offsets], tensor: TensorMap, lane: int
) -> int:
    """Where a box begins in shared memory, checked for alignment and bounds."""
    size = -(-tensor.box_bytes // 16) * 16
    return _checked_span(threads, place, size, lane, 128)[1]


def _finish_load(
    threads: Threads,
    tensor: TensorMap,
    copied: Copied,
    inside: NDArray[np.bool_] | None,
    barrier: int,
    where: str,
) -> None:
    sources, places, width = copied
    shared = threads.wave.shared
    data = threads.device.memory.memory.view(width)[sources // width]
    if inside is not None:
        filled = np.full(inside.size, tensor.fill, f"u{width}")
        filled[inside] = data
        data = filled
    shared.view(width)[places // width] = data
    _landed(threads, shared, places, width, barrier)
    complete_bytes(threads.wave, barrier, tensor.box_bytes, where)


def _tensor_store(one: Instruction, scope: Scope) -> Operation:
    tile_of = _tile_of(one, one.operands[0], scope)
    source = locate(one, one.operands[1], scope, "shared")
    update = _reduction(one)

    def run(threads: Threads, mask: Mask) -> None:
        for lane in _lanes(mask):
            alone = _only(mask, lane)
            tensor, at = tile_of(threads, alone, lane)
            start = _shared_box(threads, source(threads, alone), tensor, lane)
            (places, sources, width), inside = _copied(
                threads, (tensor, at), (), start, lane
            )
            if inside is not None:
                sources = sources[inside]
            change = None
            if update is not None:
                change = (update[0], _element_dtype(tensor))
            _issue_store(
                threads,
                alone,
                (threads.wave.shared, sources),
                (threads.device.memory.memory, places),
                width,
                change,
            )

    return run


def _element_dtype(tensor: TensorMap) -> np.dtype:
    names = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}
    return NUMPY_TYPES[names.get(tensor.element, f"u{8 * tensor.width}")]
