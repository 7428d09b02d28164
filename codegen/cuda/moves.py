"""Rules of ops that move elements: between registers, lanes and warps.

`layouts.exchange` says how: a renaming, shuffles, or a trip through shared memory whose
addresses are index expressions like those of global memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.indices import split_constant
from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.elements import (
    element_bytes,
    load_conversion,
    storage_type,
    store_conversion,
)
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim, divisor
from stepwell.dialects.layouts import TileLayout, register_sources, replicated
from stepwell.dialects.layouts.exchange import Shuffle, Staging, exchange

from .bits import emit_linear, linear_of
from .kernel import Kernel
from .positions import holders, is_holder, positions
from .registers import CARRIERS, Registers, layout_of, register, take
from .shuffles import from_lane
from .transfers import WIDEST, reordered, spread


def convert(k: Kernel, op: Operation) -> None:
    """`tile.convert_layout` and `tile.reshape`: other holders of the same elements."""
    assert isinstance(op, tile.ConvertLayoutOp | tile.ReshapeOp)
    held, kind = k.registers(op.input), tile.tile_of(op.result)
    size = bytes_of_element(kind)
    way = exchange(held.layout, layout_of(kind), size)
    if way.registers is not None:
        made = reordered(k, held, kind, way.registers)
    elif way.shuffles is not None:
        made = _by_shuffles(k, held, kind, way.shuffles)
    else:
        assert way.staging is not None
        made = _by_memory(k, op, held, kind, way.staging)
    k.bind(op.result, made)


def bytes_of_element(kind: tile.TileType) -> int:
    """Bytes of an element in shared memory."""
    return element_bytes(CARRIERS.index if _is_index(kind) else kind.element_type)


def _is_index(kind: tile.TileType) -> bool:
    return isinstance(kind.element_type, IndexType)


def _by_shuffles(
    k: Kernel, held: Registers, kind: tile.TileType, moves: Sequence[Shuffle]
) -> Registers:
    """Each register from one or two registers of another lane."""
    values: list[SSAValue] = []
    for move in moves:
        lane = _table(k, move.lane)
        parts = [
            from_lane(k, register(k.b, held, source), lane) for source in move.registers
        ]
        if len(parts) == 2:
            second = k.b.icmp(
                "ne", _table(k, [int(s) for s in move.second]), k.number(0)
            )
            parts = [k.b.select(second, parts[1], parts[0])]
        values += parts
    return Registers(kind, tuple(values))


def _table(k: Kernel, values: Sequence[int]) -> SSAValue:
    """The value of a table that is linear in the thread's index."""
    function = linear_of(np.asarray(values))
    key = f"table {id(k.group)} {function}"
    known = k.space.recall(key)
    if known is None:
        known = emit_linear(k.b, function, k.group.thread)
        k.space.keep(key, known)
    assert isinstance(known, SSAValue)
    return known


def _by_memory(
    k: Kernel, op: Operation, held: Registers, kind: tile.TileType, staging: Staging
) -> Registers:
    start = k.scratch(op)
    strides = staging.strides
    write_scratch(k, held, start, strides)
    k.group_barrier()
    if held.kind.extents != kind.extents:
        strides = row_major(kind.extents)
    return read_scratch(k, kind, start, strides)


def row_major(extents: Sequence[int]) -> tuple[int, ...]:
    """Elements per step along each dim, without padding."""
    strides: list[int] = []
    step = 1
    for extent in reversed(extents):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def _addresses(k: Kernel, layout: TileLayout, strides: Sequence[int]) -> list[Dim]:
    """The element number of each register, by strides."""
    totals: list[Dim] = [0] * layout.registers
    for dim, stride in enumerate(strides):
        if stride and layout.extents[dim] > 1:
            places = positions(k, layout, dim)
            totals = [t + p * stride for t, p in zip(totals, places, strict=True)]
    return totals


def _width(addresses: Sequence[Dim], own: Sequence[int], size: int) -> int:
    """Registers per access of shared memory."""
    width = 1
    while 2 * width * size <= WIDEST and len(own) % (2 * width) == 0:
        groups = [own[s : s + 2 * width] for s in range(0, len(own), 2 * width)]
        if not all(
            divisor(addresses[g[0]]) % (2 * width) == 0
            and all(addresses[r] - addresses[g[0]] == n for n, r in enumerate(g))
            for g in groups
        ):
            break
        width *= 2
    return width


def write_scratch(
    k: Kernel, held: Registers, start: SSAValue, strides: Sequence[int]
) -> None:
    """Each element once, at its coordinates times the strides."""
    b, element = k.b, held.kind.element_type
    size = bytes_of_element(held.kind)
    own, _ = holders(held.layout)
    addresses = _addresses(k, held.layout, strides)
    width = _width(addresses, own, size)
    holder = is_holder(k, held.layout)
    with b.when(holder) if holder is not None else nullcontext(), k.space.scope():
        for first in range(0, len(own), width):
            group = own[first : first + width]
            value = take(b, held, group)
            value = store_conversion(b, value, element, CARRIERS)
            pointer = _pointer(k, start, addresses[group[0]], size)
            b.store(value, pointer, size * width)


def read_scratch(
    k: Kernel, kind: tile.TileType, start: SSAValue, strides: Sequence[int]
) -> Registers:
    """A tile from where `write_scratch` put its elements."""
    layout, element = layout_of(kind), kind.element_type
    size = bytes_of_element(kind)
    own, _ = holders(layout)
    addresses = _addresses(k, layout, strides)
    width = _width(addresses, own, size)
    storage = vector(storage_type(element, CARRIERS), width)
    parts: dict[int, SSAValue] = {}
    for first in range(0, len(own), width):
        pointer = _pointer(k, start, addresses[own[first]], size)
        stored = k.b.load(pointer, storage, size * width)
        parts[own[first]] = load_conversion(k.b, stored, element, CARRIERS)
    return spread(k, kind, parts, width)


def _pointer(k: Kernel, start: SSAValue, address: Dim, size: int) -> SSAValue:
    constant, dynamic = split_constant(address)
    base = start
    if dynamic != 0:
        key = f"shared {id(start)} {size} {dynamic}"
        known = k.space.recall(key)
        if known is None:
            known = k.offset(start, k.space.value(dynamic * size))
            k.space.keep(key, known)
        assert isinstance(known, SSAValue)
        base = known
    return k.offset(base, constant * size)


def transpose(k: Kernel, op: Operation) -> None:
    """The same registers; only the order of the dims changes."""
    assert isinstance(op, tile.TransposeOp)
    held, kind = k.registers(op.input), tile.tile_of(op.result)
    k.bind(op.result, Registers(kind, held.pieces))


def extract(k: Kernel, op: Operation) -> None:
    """A part of a tile: the registers that hold it; a scalar is held by all threads."""
    assert isinstance(op, tile.ExtractOp)
    held, kind = k.registers(op.input), op.result.type
    offsets = op.offsets.get_values()
    if isinstance(kind, tile.TileType):
        sources = register_sources(held.layout, layout_of(kind), offsets)
        k.bind(op.result, reordered(k, held, kind, sources))
        return
    whole = held.layout
    one = replicated(len(whole.extents), whole.lanes, whole.warps)
    (source,) = register_sources(whole, one, offsets)
    k.bind(op.result, register(k.b, held, source))


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.ConvertLayoutOp: convert,
    tile.ReshapeOp: convert,
    tile.TransposeOp: transpose,
    tile.ExtractOp: extract,
}
"""The rules of this file."""
