"""Shared memory of a kernel: what each op needs, and where it lies.

Tiles in shared memory, rings and staging buffers live as long as the kernel. *Scratch*
is what reductions over warps, sorts and conversions of layouts pass through: all of it
shares one region per role, and an op that may find the region in use waits at a barrier
first. Offsets are attributes of the ops, the total one of the function.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from xdsl.dialects.builtin import IndexType, IntegerAttr, UnitAttr, i64
from xdsl.dialects.scf import ForOp
from xdsl.ir import Attribute, Operation

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import LayoutAttr, TileLayout
from stepwell.dialects.layouts.exchange import aligned, exchange, reduce_plan

from .device_types import STAGE_ALIGNMENT, RingType, SharedType, StagingType
from .folds import ArgReduceOp, ReduceOp, ScanOp, SortOp
from .function import FuncOp
from .rearrange import ReshapeOp
from .ring import RingOp, StagingOp
from .roles import RoleOp
from .shared import ConvertLayoutOp, SharedAllocOp
from .types import TileType

SHARED_OFFSET = "tile.shared_offset"
"""On an op: where its shared memory starts, in bytes; in a role, that of group 0."""
SHARED_STRIDE = "tile.shared_stride"
"""On an op in a role of several groups: bytes from one group's memory to the next."""
SHARED_REUSED = "tile.shared_reused"
"""On an op: its scratch may be in use, so the group meets at a barrier first."""
SHARED_BYTES = "tile.shared_bytes"
"""On a function: the shared memory of a block, in bytes."""
BARRIER_OFFSET = "tile.barrier_offset"
"""On a ring: its full barriers, a word per stage, and behind them the empty ones."""

BARRIER_BYTES = 8


def element_bytes(kind: TileType) -> int:
    """Bytes of an element in scratch: whole bytes, and `index` in four."""
    if isinstance(kind.element_type, IndexType):
        return 4
    return max(bit_width(kind.element_type) // 8, 1)


def scratch_bytes(op: Operation) -> int:
    """Scratch that an op of the lower half needs; 0 for most.

    Raises:
        ValueError: a reduction along a dim that its layout mixes with another.
    """
    match op:
        case ConvertLayoutOp() | ReshapeOp():
            source, target = (_layout(v.type) for v in (op.input, op.result))
            assert isinstance(op.input.type, TileType)
            size = element_bytes(op.input.type)
            return exchange(source, target, size).bytes(size)
        case ReduceOp():
            plan = reduce_plan(_layout(op.input.type), op.dim.value.data)
            return plan.bytes(_folded_bytes(op.input.type))
        case ArgReduceOp():
            plan = reduce_plan(_layout(op.input.type), op.dim.value.data)
            return plan.bytes(_folded_bytes(op.input.type)) + plan.bytes(4)
        case ScanOp():
            layout, size = _layout(op.input.type), _folded_bytes(op.input.type)
            plan = reduce_plan(layout, op.dim.value.data)
            threads = layout.registers * layout.lanes * layout.warps
            return aligned(threads * size) if plan.warps else 0
        case SortOp():
            return sort_bytes(op)
        case _:
            return 0


def sort_bytes(op: SortOp) -> int:
    """Scratch of a sort: keys with places between warps, then each tile in turn."""
    layout = _layout(op.inputs[0].type)
    kinds = [value.type for value in op.inputs]
    sizes = [element_bytes(kind) for kind in kinds if isinstance(kind, TileType)]
    threads = layout.registers * layout.lanes * layout.warps
    keys = threads * (12 if sizes[0] == 8 else 8)
    return aligned(max(keys, prod(layout.extents) * max(sizes)))


def _folded_bytes(kind: Attribute) -> int:
    """Narrow elements are folded in 32 bits."""
    assert isinstance(kind, TileType)
    return max(element_bytes(kind), 4)


def _layout(kind: Attribute) -> TileLayout:
    if not isinstance(kind, TileType) or not isinstance(kind.layout, LayoutAttr):
        raise ValueError(f"expected a tile with a layout, got {kind}")
    return kind.layout.data


def plan_shared(func: FuncOp) -> int:
    """Place all shared memory of a kernel; the total in bytes.

    Long-lived memory comes first, aligned for swizzles, then the barriers of the rings,
    then one scratch region per role.
    """
    offset = 0
    rings: list[RingOp] = []
    for op in func.walk():
        size = _lasting_bytes(op)
        if size is None:
            continue
        groups = _groups(op)
        _place(op, offset, size, groups)
        offset += groups * size
        if isinstance(op, RingOp):
            rings.append(op)
    for op in rings:
        assert isinstance(op.result.type, RingType)
        op.attributes[BARRIER_OFFSET] = IntegerAttr(offset, i64)
        offset += 2 * BARRIER_BYTES * op.result.type.stages
    for users in _scratch_users(func):
        size = max(scratch_bytes(op) for op in users)
        offset = aligned(offset)
        groups = _groups(users[0])
        for number, op in enumerate(users):
            _place(op, offset, size, groups)
            if number or _in_loop(op):
                op.attributes[SHARED_REUSED] = UnitAttr()
            else:
                op.attributes.pop(SHARED_REUSED, None)
        offset += groups * size
    func.attributes[SHARED_BYTES] = IntegerAttr(offset, i64)
    return offset


def _lasting_bytes(op: Operation) -> int | None:
    kind = op.results[0].type if op.results else None
    match op:
        case SharedAllocOp():
            assert isinstance(kind, SharedType)
            return _whole_stages(kind.bytes)
        case StagingOp():
            assert isinstance(kind, StagingType)
            return _whole_stages(kind.data_bytes)
        case RingOp():
            assert isinstance(kind, RingType)
            return sum(kind.stages * _whole_stages(part.bytes) for part in kind.tiles)
        case _:
            return None


def _whole_stages(size: int) -> int:
    return -(-size // STAGE_ALIGNMENT) * STAGE_ALIGNMENT


def _place(op: Operation, offset: int, size: int, groups: int) -> None:
    op.attributes[SHARED_OFFSET] = IntegerAttr(offset, i64)
    if groups > 1:
        op.attributes[SHARED_STRIDE] = IntegerAttr(size, i64)


def _scratch_users(func: FuncOp) -> Iterator[list[Operation]]:
    """The ops that need scratch, by role."""
    found: dict[RoleOp | None, list[Operation]] = {}
    for op in func.walk():
        if scratch_bytes(op):
            found.setdefault(_role(op), []).append(op)
    yield from found.values()


def _role(op: Operation) -> RoleOp | None:
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, RoleOp):
        parent = parent.parent_op()
    return parent


def _groups(op: Operation) -> int:
    role = _role(op)
    return 1 if role is None else role.groups.value.data


def _in_loop(op: Operation) -> bool:
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, FuncOp):
        if isinstance(parent, ForOp):
            return True
        parent = parent.parent_op()
    return False
