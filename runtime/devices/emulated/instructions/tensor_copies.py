"""Tensor copies: boxes and columns of pixels, by tensor maps.

ISA sections "cp.async.bulk.tensor" and "cp.reduce.async.bulk.tensor".
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
    CHUNK,
    MAP_BYTES,
    TensorMap,
    swizzled,
)
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    unsupported,
)

from .addressing import Locate, locate
from .barriers import uniform
from .bulk import (
    Taken,
    checked_span,
    each_lane,
    issue_store,
    landed,
    loading,
    only,
    reduction,
    sent,
    shifts,
)
from .conversion import tf32_bits
from .mbarrier import complete_bytes

Offsets = NDArray[np.int64]


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


def tensor_copy(one: Instruction, scope: Scope) -> Operation:
    """`cp.async.bulk.tensor`, `cp.reduce.async.bulk.tensor`."""
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
    rounded = tensor.element.startswith("tfloat32")
    if not regular or rounded or inner % CHUNK or inner != tensor.pitch:
        return None
    sources = CHUNK * np.arange(inner // CHUNK)
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
        for lane in each_lane(mask):
            alone = only(mask, lane)
            tile = tile_of(threads, alone, lane)
            shift_by = [uniform(tap, threads, alone) for tap in taps]
            start = _shared_box(threads, target(threads, alone), tile[0], lane)
            (sources, places, width), inside = _copied(
                threads, tile, shift_by, start, lane
            )
            barrier = int(tracker(threads, alone)[1][0])
            ways = shifts(threads, alone, ranks_of, start, lane)
            memory = threads.device.memory.memory
            taken = loading(threads, (memory, sources), width, lane, len(ways))
            for shift in ways:
                sent(threads, threads.wave.shared, places + shift, width, lane)
                complete = partial(
                    _finish_load,
                    threads,
                    tile[0],
                    (sources, places + shift, width),
                    inside,
                    barrier + shift,
                    taken,
                    threads.describe(lane),
                )
                threads.later(lane, Pending(one.name, complete))

    return run


def _shared_box(
    threads: Threads, place: tuple[Memory, Offsets], tensor: TensorMap, lane: int
) -> int:
    """Where a box begins in shared memory, checked for alignment and bounds."""
    size = -(-tensor.span // CHUNK) * CHUNK
    return checked_span(threads, place, size, lane, 128)[1]


def _finish_load(
    threads: Threads,
    tensor: TensorMap,
    copied: Copied,
    inside: NDArray[np.bool_] | None,
    barrier: int,
    taken: Taken,
    where: str,
) -> None:
    sources, places, width = copied
    shared = threads.wave.shared
    data = threads.device.memory.memory.view(width)[sources // width]
    if tensor.element.startswith("tfloat32"):
        data = tf32_bits(data, "rn")
    if inside is not None:
        filled = np.full(inside.size, tensor.fill, f"u{width}")
        filled[inside] = data
        data = filled
    shared.view(width)[places // width] = data
    landed(threads, (shared, places), width, barrier, taken)
    complete_bytes(threads.wave, barrier, tensor.box_bytes, where)


def _tensor_store(one: Instruction, scope: Scope) -> Operation:
    tile_of = _tile_of(one, one.operands[0], scope)
    source = locate(one, one.operands[1], scope, "shared")
    update = reduction(one)

    def run(threads: Threads, mask: Mask) -> None:
        for lane in each_lane(mask):
            alone = only(mask, lane)
            tensor, at = tile_of(threads, alone, lane)
            start = _shared_box(threads, source(threads, alone), tensor, lane)
            lowest = min(*at, *(tensor.window.lower if tensor.window else ()), 0)
            if lowest < 0:
                raise DeviceError(
                    "expected a tensor store at coordinates of at least zero, got "
                    f"{lowest}: Hopper clips stores at the upper bounds only",
                    where=threads.describe(lane),
                )
            (places, sources, width), inside = _copied(
                threads, (tensor.clipped_by_chunks(), at), (), start, lane
            )
            if inside is not None:
                sources = sources[inside]
            change = None
            if update is not None:
                change = (update[0], _element_dtype(tensor))
            issue_store(
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
    names |= {"int32": "s32", "int64": "s64"}
    return NUMPY_TYPES[names.get(tensor.element, f"u{8 * tensor.width}")]
