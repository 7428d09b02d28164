"""Rules of tiles in shared memory: to and from registers, and asynchronous copies.

Addresses are read off the layouts of both sides, as linear functions of the thread and
constants apart. 8x8 matrices of 16-bit elements move by `ldmatrix` and `stmatrix`, all
else in vectors as wide as both sides allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.elements import (
    load_conversion,
    storage_type,
    store_conversion,
)
from stepwell.dialects import nvvm, tile
from stepwell.dialects.layouts import MatrixAccess, TileLayout, matrix_8x8

from .aggregates import fields
from .bits import Array, Steps, emit_linear, emit_step, linear_of, steps_of
from .kernel import Kernel, Shared, bytes_of
from .positions import holders, is_holder
from .registers import CARRIERS, Registers, in_pieces, layout_of, take
from .transfers import WIDEST, Access, Transfer, condition, fetch, spread

STMATRIX_SM = 90
"""The first compute capability with `stmatrix`: PTX ISA, "stmatrix"."""
ASYNC_SIZES = (4, 8, 16)
"""Bytes that one `cp.async` moves: PTX ISA, "cp.async"."""


def shared_alloc(k: Kernel, op: Operation) -> None:
    """The address of the planned memory; each group of a role has its own."""
    assert isinstance(op, tile.SharedAllocOp)
    kind = op.result.type
    assert isinstance(kind, tile.SharedType)
    k.bind(op.result, Shared(kind, k.place(op)))


# ---- addresses ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """Where a family of accesses lies, in bytes: a sum of steps, each times a factor.

    Attributes:
        width: registers that one access may move.
    """

    families: Sequence[tuple[int, Steps]]
    width: int = 1


@lru_cache(maxsize=1024)
def _plan(kind: tile.SharedType, layout: TileLayout) -> _Plan:
    """An access for each register of a layout."""
    moved = [
        np.ascontiguousarray(c.transpose(0, 2, 1)).reshape(layout.registers, -1)
        for c in layout.coordinates
    ]
    own, _ = holders(layout)
    width = _width(byte_offsets(kind, moved)[list(own)], bytes_of(kind.element_type))
    return _Plan(_families(kind, moved), width)


class _Addresses:
    """Byte addresses of a family of accesses, emitted on demand."""

    def __init__(self, k: Kernel, memory: Shared, plan: _Plan) -> None:
        self.k, self.pointer = k, memory.pointer
        self.families = plan.families
        self.bases: list[SSAValue] = []

    def __getitem__(self, number: int) -> SSAValue:
        k, b = self.k, self.k.b
        if not self.bases:
            self.bases = [
                emit_linear(b, steps.first, k.group.thread)
                for _, steps in self.families
            ]
        pointer = self.pointer
        for base, (factor, steps) in zip(self.bases, self.families, strict=True):
            step = steps.adds[number]
            if step is None:
                moved = emit_step(b, steps, base, number)
                pointer = k.offset(pointer, k.arith("mul", moved, factor))
                continue
            # The constant becomes the immediate of the access.
            pointer = k.offset(pointer, k.arith("mul", base, factor))
            pointer = k.offset(pointer, step * factor)
        return pointer


def byte_offsets(kind: tile.SharedType, place: Sequence[Array]) -> Array:
    """Where elements lie, in bytes."""
    return np.asarray(kind.layout.offset_of(place)) * bytes_of(kind.element_type)


def _families(
    kind: tile.SharedType, places: Sequence[Array]
) -> Sequence[tuple[int, Steps]]:
    """The offsets of accesses as one linear function, or as a sum of some.

    Args:
        places: along each dim, the coordinate by access and thread.

    Raises:
        ValueError: they are neither.
    """
    try:
        return [(1, steps_of(byte_offsets(kind, places)))]
    except ValueError:
        return _block_families(kind, places)


def _block_families(
    kind: tile.SharedType, places: Sequence[Array]
) -> Sequence[tuple[int, Steps]]:
    """The place in a block, and per dim the number of the block.

    A repeat that is no power of two makes the sum of linear functions none itself.
    """
    layout, size = kind.layout, bytes_of(kind.element_type)
    extents = layout.base_extents
    inner = [c % n for c, n in zip(places, extents, strict=True)]
    found = [(1, steps_of(byte_offsets(kind, inner)))]
    for dim, extent in enumerate(extents):
        blocks = places[dim] // extent
        if blocks.any():
            unit = [extent * (d == dim) for d in range(len(extents))]
            found.append((int(layout.offset_of(unit)) * size, steps_of(blocks)))
    return found


def _is_linear(table: Array) -> bool:
    try:
        linear_of(table)
    except ValueError:
        return False
    return True


def _width(tables: Array, size: int) -> int:
    """Registers per access: consecutive and aligned in all threads."""
    width = 1
    while 2 * width * size <= WIDEST and len(tables) % (2 * width) == 0:
        wide = 2 * width
        groups = tables.reshape(-1, wide, tables.shape[1])
        steps = size * np.arange(wide)[:, None]
        if np.any(groups[:, 0] % (wide * size)) or np.any(
            groups != groups[:, :1] + steps
        ):
            break
        width = wide
    return width


# ---- matrices -----------------------------------------------------------------------


def _matrix_rows(
    layout: TileLayout, access: MatrixAccess, count: int
) -> Sequence[Array]:
    """For each group of `count` matrices, the coordinates of the row each thread gives.

    Lane l gives row `l % 8` of matrix `l / 8`. Which elements these are is read off
    the layout: the first element of each row of a matrix is held by one lane.
    """
    lanes, offsets = (
        np.tile(held, 4) for held in zip(*_row_holders(access), strict=True)
    )
    matrix = np.repeat(np.arange(4), 8) % count
    groups = np.arange(0, layout.registers // 2, count)
    registers = 2 * (groups[:, None] + matrix) + offsets
    return [
        c[registers, lanes].transpose(0, 2, 1).reshape(len(groups), -1)
        for c in layout.coordinates
    ]


def _row_holders(access: MatrixAccess) -> list[tuple[int, int]]:
    """Lane and register of the first element of each row of an 8x8 matrix."""
    one = matrix_8x8().permute([1, 0]) if access.flipped else matrix_8x8()
    inner = one.coordinates[access.along]
    across = one.coordinates[1 - access.along]
    found: list[tuple[int, int]] = []
    for row in range(8):
        register, lane, _ = np.argwhere((across == row) & (inner == 0))[0]
        found.append((int(lane), int(register)))
    return found


def _matrices(
    k: Kernel, layout: TileLayout, memory: Shared, access: MatrixAccess | None
) -> tuple[int, _Addresses] | None:
    """How many matrices move at once, and where from; None if vectors must do."""
    found = None if access is None else _matrix_plan(memory.kind, layout, access)
    return None if found is None else (found[0], _Addresses(k, memory, found[1]))


@lru_cache(maxsize=1024)
def _matrix_plan(
    kind: tile.SharedType, layout: TileLayout, access: MatrixAccess
) -> tuple[int, _Plan] | None:
    for count in (4, 2, 1):
        if access.count % count == 0:
            places = _matrix_rows(layout, access, count)
            if all(_is_linear(row) for rows in places for row in rows):
                return count, _Plan(_families(kind, places))
    return None


def _way(access: MatrixAccess) -> nvvm.MMALayout:
    return nvvm.MMALayout.COL if access.transposed else nvvm.MMALayout.ROW


# ---- loads and stores ---------------------------------------------------------------


def shared_load(k: Kernel, op: Operation) -> None:
    """`tile.shared_load`, where its only user stands: registers live shortly."""
    assert isinstance(op, tile.SharedLoadOp)
    if _may_wait(op):
        k.deferred[op.result] = lambda: _load(k, op)
    else:
        _load(k, op)


_WRITERS = (
    *(tile.AsyncLoadOp, tile.SharedStoreOp, tile.BarrierOp, tile.NamedBarrierOp),
    *(tile.AsyncWaitOp, tile.ReleaseOp, tile.TmaLoadOp, tile.ElectOp),
)
"""What may change shared memory, or let others change it."""


def _may_wait(op: tile.SharedLoadOp) -> bool:
    """Whether nothing between a load and its only user changes what it reads."""
    users = [use.operation for use in op.result.uses]
    if len(users) != 1 or users[0].parent is not op.parent:
        return False
    following = op.next_op
    while following is not None and following is not users[0]:
        nested = bool(following.regions) and not isinstance(following, tile.MapOp)
        if nested or isinstance(following, _WRITERS):
            return False
        following = following.next_op
    return following is users[0]


def _load(k: Kernel, op: tile.SharedLoadOp) -> None:
    kind, memory = tile.tile_of(op.result), k.shared(op.source)
    layout, access = layout_of(kind), op.matrix
    found = _matrices(k, layout, memory, access)
    if found is None or access is None:
        k.bind(op.result, _load_vectors(k, kind, memory))
        return
    count, addresses = found
    pair = VectorType(kind.element_type, [2])
    pieces: list[SSAValue] = []
    for number in range(layout.registers // 2 // count):
        load = nvvm.LdMatrixOp(addresses[number], count, _way(access))
        loaded = k.nvvm(load)
        assert loaded is not None
        words = fields(k.b, loaded) if count > 1 else [loaded]
        pieces += [k.b.cast("bitcast", word, pair) for word in words]
    k.bind(op.result, Registers(kind, tuple(pieces)))


def _load_vectors(k: Kernel, kind: tile.TileType, memory: Shared) -> Registers:
    layout, element = layout_of(kind), kind.element_type
    size = bytes_of(element)
    own, _ = holders(layout)
    plan = _plan(memory.kind, layout)
    addresses, width = _Addresses(k, memory, plan), plan.width
    storage = vector(storage_type(element, CARRIERS), width)
    parts: dict[int, SSAValue] = {}
    for start in range(0, len(own), width):
        stored = k.b.load(addresses[own[start]], storage, size * width)
        parts[own[start]] = load_conversion(k.b, stored, element, CARRIERS)
    return spread(k, kind, parts, width)


def shared_store(k: Kernel, op: Operation) -> None:
    """`tile.shared_store`."""
    assert isinstance(op, tile.SharedStoreOp)
    held, memory = k.registers(op.tile), k.shared(op.target)
    access = op.matrix if k.target.sm >= STMATRIX_SM else None
    found = _matrices(k, held.layout, memory, access)
    if found is None or access is None:
        _store_vectors(k, held, memory)
        return
    count, addresses = found
    words = half_words(k.b, held)
    for number in range(len(words) // count):
        some = words[count * number : count * (number + 1)]
        k.nvvm(nvvm.StMatrixOp(addresses[number], some, _way(access)))


def _store_vectors(k: Kernel, held: Registers, memory: Shared) -> None:
    element = held.kind.element_type
    size = bytes_of(element)
    own, _ = holders(held.layout)
    plan = _plan(memory.kind, held.layout)
    addresses, width = _Addresses(k, memory, plan), plan.width
    holder = is_holder(k, held.layout)
    with k.b.when(holder) if holder is not None else nullcontext(), k.space.scope():
        for start in range(0, len(own), width):
            value = take(k.b, held, own[start : start + width])
            value = store_conversion(k.b, value, element, CARRIERS)
            k.b.store(value, addresses[own[start]], size * width)


def half_words(b: Builder, held: Registers) -> list[SSAValue]:
    """16-bit registers two by two, as words."""
    pairs = in_pieces(b, held, 2)
    return [b.cast("bitcast", pair, i32) for pair in pairs]


# ---- asynchronous copies ------------------------------------------------------------


def async_load(k: Kernel, op: Operation) -> None:
    """`tile.async_load`: `cp.async`; what is masked is zero."""
    assert isinstance(op, tile.AsyncLoadOp)
    memory = k.shared(op.target)
    layout = _copy_layout(op)
    plan = _plan(memory.kind, layout)
    addresses = _Addresses(k, memory, plan)
    transfer = Transfer(k, op, layout, plan.width)
    holder = is_holder(k, layout)
    with k.b.when(holder) if holder is not None else nullcontext(), k.space.scope():
        for access in transfer.accesses():
            _copy(k, transfer, access, addresses[access.registers[0]])


def _copy_layout(op: tile.AsyncLoadOp) -> TileLayout:
    kind = op.target.type
    assert isinstance(kind, tile.SharedType)
    return layout_of(tile.TileType(kind.extents, kind.element_type, op.layout))


def _copy(k: Kernel, transfer: Transfer, access: Access, target: SSAValue) -> None:
    size = transfer.align(len(access.registers))
    if size not in ASYNC_SIZES:
        k.b.store(fetch(k, transfer, access, 0), target, size)
        return
    pointer, read = transfer.pointer(access.address), None
    inside = condition(k, access.guards)
    if inside is not None:
        pointer = k.b.select(inside, pointer, transfer.view.root)
        read = k.b.select(inside, k.number(size), k.number(0))
    cache = "cg" if size == max(ASYNC_SIZES) else "ca"
    k.nvvm(nvvm.CpAsyncOp(target, pointer, size, cache, read))


def async_commit(k: Kernel, op: Operation) -> None:
    """Ends a group of copies of this thread."""
    k.nvvm(nvvm.CpAsyncCommitGroupOp())


def async_wait(k: Kernel, op: Operation) -> None:
    """Waits for all groups of this thread but the last ones."""
    assert isinstance(op, tile.AsyncWaitOp)
    k.nvvm(nvvm.CpAsyncWaitGroupOp(op.pending.value.data))


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.SharedAllocOp: shared_alloc,
    tile.SharedLoadOp: shared_load,
    tile.SharedStoreOp: shared_store,
    tile.AsyncLoadOp: async_load,
    tile.AsyncCommitOp: async_commit,
    tile.AsyncWaitOp: async_wait,
}
"""The rules of this file."""
