"""Asynchronous copies: cp.async, bulk copies, tensor copies by maps, bulk reductions.

ISA sections "Data Movement and Conversion Instructions: Asynchronous copy". Copies into
shared memory that an mbarrier tracks complete when no thread can go on without them;
the others when a thread waits for their group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import Block, Mask, Operation, Pending
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
from stepwell.runtime.devices.emulated.tensor_map import MAP_BYTES, TensorMap
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    instruction,
    unsupported,
)

from .barriers import uniform
from .mbarrier import arrive_at, complete_bytes, put_state, state_at
from .memory import UPDATES, Locate, checked, locate

Offsets = NDArray[np.int64]


@instruction("cp")
def copy(one: Instruction, scope: Scope) -> Operation:
    """Every `cp` instruction, by its modifiers."""
    modifiers = one.modifiers
    if "prefetch" in modifiers:
        return lambda block, mask: None
    kind = "bulk" if "bulk" in modifiers else "copy"
    if "commit_group" in modifiers:
        return lambda block, mask: block.in_flight(kind).commit(mask)
    if "wait_group" in modifiers:
        most = scope.read(one.operands[0], "u32")
        return lambda block, mask: block.in_flight(kind).wait(
            mask, uniform(most, block, mask), "read" in modifiers
        )
    if "wait_all" in modifiers:
        return lambda block, mask: block.in_flight(kind).finish(mask)
    if "mbarrier" in modifiers:
        return _arrive_when_copied(one, scope)
    if kind == "copy":
        return _small_copy(one, scope)
    if "tensor" in modifiers:
        return _tensor_copy(one, scope)
    return _bulk_copy(one, scope)


def mark_written(memory: Memory, offsets: Offsets) -> None:
    """Bytes at these offsets now hold something."""
    if memory.written is not None:
        memory.written[offsets] = True


def _landed(block: Block, memory: Memory, offsets: Offsets) -> None:
    """Bytes of shared memory were written by a bulk copy."""
    mark_written(memory, offsets)
    checker = block.device.checker
    if checker is not None and memory is block.cluster.shared:
        checker.landed(block, offsets)


# cp.async: 4, 8 or 16 bytes of each thread.


def _small_copy(one: Instruction, scope: Scope) -> Operation:
    target = locate(one, one.operands[0], scope, "shared")
    source = locate(one, one.operands[1], scope, "global")
    size_of = scope.read(one.operands[2], "u32")
    cached = "L2::cache_hint" in one.modifiers
    has_size = len(one.operands) > 3 + cached
    source_size = scope.read(one.operands[3], "u32") if has_size else size_of

    def run(block: Block, mask: Mask) -> None:
        width = uniform(size_of, block, mask)
        counts = np.broadcast_to(source_size(block), mask.shape).astype(np.int64)
        to, to_offsets = checked(block, mask, target(block, mask), width, "write")
        active = mask & (counts > 0)
        starts = np.zeros((2, mask.size), np.int64)
        starts[0, mask] = to_offsets
        memory = block.device.memory.memory
        if active.any():
            memory, offsets = source(block, active)
            lanes = np.flatnonzero(active)
            check_access(memory, offsets, width, block.describe, lanes)
            starts[1, active] = offsets
        finish = partial(_finish_small, to, memory, starts, counts, width)
        block.in_flight("copy").issue(mask, finish)

    return run


def _finish_small(
    to: Memory, of: Memory, starts: Offsets, counts: Offsets, width: int, due: Mask
) -> None:
    span = np.arange(width)
    inside = span < counts[due][:, None]
    sources = np.where(inside, starts[1][due][:, None] + span, 0)
    data = np.where(inside, of.bytes[sources], 0)
    places = starts[0][due][:, None] + span
    to.bytes[places] = data
    mark_written(to, places)


def _arrive_when_copied(one: Instruction, scope: Scope) -> Operation:
    where = locate(one, one.operands[0], scope, "shared")
    counted = "noinc" in one.modifiers

    def run(block: Block, mask: Mask) -> None:
        _, offsets = checked(block, mask, where(block, mask), 8, "sync")
        cluster = block.cluster
        threads = mask.copy()
        text = block.describe(int(np.flatnonzero(mask)[0]))
        for at in () if counted else offsets:
            state = state_at(cluster, int(at), text)
            more = type(state)(
                state.phase, state.expected, state.pending + 1, state.owed
            )
            put_state(cluster, int(at), more)

        def complete() -> None:
            block.in_flight("copy").finish(threads)
            for at in offsets:
                arrive_at(cluster, int(at), 1, text)

        cluster.pending.append(Pending(one.name, complete))

    return run


# Bulk copies of flat bytes.


def _lanes(mask: Mask) -> list[int]:
    return [int(lane) for lane in np.flatnonzero(mask)]


def _only(mask: Mask, lane: int) -> Mask:
    alone = np.zeros_like(mask)
    alone[lane] = True
    return alone


def _checked_span(
    block: Block, place: tuple[Memory, Offsets], size: int, lane: int, alignment: int
) -> tuple[Memory, int]:
    memory, offsets = place
    start = int(offsets[0])
    where = block.describe(lane)
    if start % alignment or size % 16:
        raise DeviceError(
            f"expected a bulk copy of whole 16 bytes, aligned to {alignment}, "
            f"got {size} bytes at {memory.name}[{start:#x}]",
            where=where,
        )
    ends = np.arange(start, start + size, 16, dtype=np.int64)
    check_access(memory, ends, 16, lambda _: where, np.zeros(ends.size, np.int64))
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

        def store(block: Block, mask: Mask) -> None:
            for lane in _lanes(mask):
                alone = _only(mask, lane)
                size = uniform(size_of, block, alone)
                to, at = _checked_span(block, target(block, alone), size, lane, 16)
                of, begin = _checked_span(block, source(block, alone), size, lane, 16)
                sources = np.arange(begin, begin + size)
                places = np.arange(at, at + size)
                _issue_store(block, alone, (of, sources), (to, places), update)

        return store
    if "multicast::cluster" in one.modifiers or one.modifiers[0] == "reduce":
        raise unsupported(one)
    tracker = locate(one, one.operands[3], scope, "shared")

    def load(block: Block, mask: Mask) -> None:
        for lane in _lanes(mask):
            alone = _only(mask, lane)
            size = uniform(size_of, block, alone)
            to, at = _checked_span(block, target(block, alone), size, lane, 16)
            of, begin = _checked_span(block, source(block, alone), size, lane, 16)
            barrier = int(tracker(block, alone)[1][0])
            where = block.describe(lane)

            def complete(
                to: Memory = to,
                at: int = at,
                of: Memory = of,
                begin: int = begin,
                size: int = size,
                barrier: int = barrier,
                where: str = where,
            ) -> None:
                to.bytes[at : at + size] = of.bytes[begin : begin + size]
                _landed(block, to, np.arange(at, at + size))
                complete_bytes(block.cluster, barrier, size, where)

            block.cluster.pending.append(Pending(one.name, complete))

    return load


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
    block: Block,
    mask: Mask,
    source: tuple[Memory, Offsets],
    target: tuple[Memory, Offsets],
    update: Update,
) -> None:
    """Issue a copy out of shared memory: read, then written, when waited for."""
    kept: list[NDArray[np.uint8]] = []
    of, sources = source
    to, places = target
    checker = block.device.checker
    if checker is not None:
        lanes = np.flatnonzero(mask)[:1]
        checker.access(block, of, sources, 1, np.repeat(lanes, sources.size), "async")

    def read(due: Mask) -> None:
        if not kept:
            kept.append(of.bytes[sources].copy())

    def finish(due: Mask) -> None:
        read(due)
        data = kept[0]
        if update is not None:
            name, dtype = update
            old = to.bytes[places].view(dtype)
            with np.errstate(all="ignore"):
                data = UPDATES[name](old, data.view(dtype)).astype(dtype)
            data = data.view(np.uint8)
        to.bytes[places] = data
        mark_written(to, places)
        block.cluster.effects += 1

    block.in_flight("bulk").issue(mask, finish, read)


# Tensor copies.


def _coordinates(one: Instruction, address: Operand, scope: Scope) -> list[Read]:
    if not isinstance(address, Address) or len(address.coordinates) != 1:
        raise unsupported(one)
    (tile,) = address.coordinates
    elements: Sequence[Operand] = tile.elements if isinstance(tile, Vector) else (tile,)
    return [scope.read(element, "s32") for element in elements]


def read_map(block: Block, where: Locate, mask: Mask, lane: int) -> TensorMap:
    """The tensor map that an operand names. Raises DeviceError if it is none."""
    memory, offsets = where(block, mask)
    start = int(offsets[0])
    found = TensorMap.decode(bytes(memory.bytes[start : start + MAP_BYTES]))
    if found is None:
        raise DeviceError(
            f"expected a tensor map at {memory.name}[{start:#x}]",
            where=block.describe(lane),
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
) -> Callable[[Block, Mask, int], Tile]:
    """How to read the map and the coordinates of a copy."""
    where = locate(one, operand, scope, "generic")
    reads = _coordinates(one, operand, scope)
    columns = any(m.startswith("im2col") for m in one.modifiers)

    def read(block: Block, mask: Mask, lane: int) -> Tile:
        tensor = read_map(block, where, mask, lane)
        at = [uniform(read, block, mask) for read in reads]
        if len(at) != len(tensor.dims):
            raise DeviceError(
                f"expected {len(tensor.dims)} coordinates, got {len(at)}",
                where=block.describe(lane),
            )
        if columns != (tensor.window is not None):
            raise DeviceError(
                f"expected a tensor map of {'im2col' if columns else 'tile'} mode",
                where=block.describe(lane),
            )
        return tensor, at

    return read


def _box(
    block: Block, tile: Tile, taps: Sequence[int], lane: int
) -> tuple[Offsets, NDArray[np.bool_]]:
    """Addresses of a box's elements and which are inside; errors name the thread."""
    tensor, at = tile
    try:
        return tensor.elements(at, taps)
    except DeviceError as error:
        raise DeviceError(error.summary, where=block.describe(lane)) from None


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

    def run(block: Block, mask: Mask) -> None:
        for lane in _lanes(mask):
            alone = _only(mask, lane)
            tensor, at = tile_of(block, alone, lane)
            shift_by = [uniform(tap, block, alone) for tap in taps]
            box = _box(block, (tensor, at), shift_by, lane)
            start = _shared_box(block, target(block, alone), tensor, lane)
            barrier = int(tracker(block, alone)[1][0])
            shifts = [0]
            if ranks_of is not None:
                ranks = uniform(ranks_of, block, alone)
                base = start // SHARED_STRIDE * SHARED_STRIDE
                count = len(block.cluster.blocks)
                chosen = [rank for rank in range(count) if ranks >> rank & 1]
                shifts = [rank * SHARED_STRIDE - base for rank in chosen]
            for shift in shifts:
                complete = partial(
                    _finish_load,
                    block,
                    tensor,
                    box,
                    start + shift,
                    barrier + shift,
                    block.describe(lane),
                )
                block.cluster.pending.append(Pending(one.name, complete))

    return run


def _shared_box(
    block: Block, place: tuple[Memory, Offsets], tensor: TensorMap, lane: int
) -> int:
    """Where a box begins in shared memory, checked for alignment and bounds."""
    size = -(-tensor.box_bytes // 16) * 16
    return _checked_span(block, place, size, lane, 128)[1]


def _finish_load(
    block: Block,
    tensor: TensorMap,
    box: tuple[Offsets, NDArray[np.bool_]],
    start: int,
    barrier: int,
    where: str,
) -> None:
    addresses, inside = box
    width = tensor.width
    memory = block.device.memory.memory
    sources = addresses[inside] - GLOBAL_BASE
    check_access(memory, sources, width, lambda _: where, sources)
    data = np.full(addresses.size, tensor.fill, f"u{width}")
    data[inside] = memory.view(width)[sources // width]
    shared = block.cluster.shared
    places = tensor.offsets(start)
    shared.view(width)[places // width] = data
    span = np.arange(width)
    _landed(block, shared, (places[:, None] + span).reshape(-1))
    complete_bytes(block.cluster, barrier, tensor.box_bytes, where)


def _tensor_store(one: Instruction, scope: Scope) -> Operation:
    tile_of = _tile_of(one, one.operands[0], scope)
    source = locate(one, one.operands[1], scope, "shared")
    update = _reduction(one)

    def run(block: Block, mask: Mask) -> None:
        for lane in _lanes(mask):
            alone = _only(mask, lane)
            tensor, at = tile_of(block, alone, lane)
            start = _shared_box(block, source(block, alone), tensor, lane)
            addresses, inside = _box(block, (tensor, at), (), lane)
            memory = block.device.memory.memory
            places = addresses[inside] - GLOBAL_BASE
            where = block.describe(lane)
            check_access(memory, places, tensor.width, lambda _, w=where: w, places)
            span = np.arange(tensor.width)
            sources = tensor.offsets(start)[inside]
            change = None
            if update is not None:
                change = (update[0], _element_dtype(tensor))
            _issue_store(
                block,
                alone,
                (block.cluster.shared, (sources[:, None] + span).reshape(-1)),
                (memory, (places[:, None] + span).reshape(-1)),
                change,
            )

    return run


def _element_dtype(tensor: TensorMap) -> np.dtype:
    names = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}
    return NUMPY_TYPES[names.get(tensor.element, f"u{8 * tensor.width}")]
