"""What must hold of a whole kernel in the lower half: threads, memory, registers.

Run by `tile.func` when it has a launch (`tile.launch`).
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.layouts import LayoutAttr
from stepwell.dialects.target import ATTRIBUTE, Target
from stepwell.errors import OptionError

from .attrs import Launch
from .copy import TmaLoadOp, TmaStoreOp, TmaStoreWaitOp
from .device_types import (
    STAGE_ALIGNMENT,
    AccumulatorType,
    RingType,
    SharedType,
    StagingType,
)
from .ring import AcquireOp, CommitOp, ReleaseOp, RingOp, StagingOp, WaitOp
from .roles import ElectOp, RoleOp, SpecialiseOp
from .shared import SharedAllocOp
from .tensor_core import WgmmaOp, WgmmaWaitOp
from .types import TileType

REGISTERS_PER_SM = 65536
"""32-bit registers of one multiprocessor: CUDA programming guide, all of sm_80 on."""

_OTHER_REGISTERS = 24
"""Registers that addresses and counters need beside an accumulator (measured)."""


def verify_kernel(func: Operation, launch: Launch) -> None:
    """Check a kernel of the lower half.

    Raises:
        VerifyException: a rule is broken.
    """
    ops = list(func.walk())
    _verify_threads(ops, launch)
    _verify_layouts(func, launch.warps)
    _verify_shared_memory(func, ops, launch)
    _verify_registers(ops, launch)
    for op in ops:
        if isinstance(op, RingOp):
            _verify_ring(op)
        if isinstance(op, AcquireOp):
            _verify_bytes(op, launch)
        if isinstance(op, TmaLoadOp | TmaStoreOp | TmaStoreWaitOp | AcquireOp):
            _expect_elected(op)


def _fail(op: Operation, message: str) -> None:
    raise VerifyException(f"{op.name}: {message}")


def _verify_threads(ops: list[Operation], launch: Launch) -> None:
    for op in ops:
        if isinstance(op, SpecialiseOp):
            total = sum(role.total_warps for role in op.roles)
            if total != launch.warps:
                _fail(op, f"roles have {total} warps, the launch {launch.warps}")


def _verify_layouts(func: Operation, warps: int) -> None:
    for op in func.walk():
        role = _role_of(op)
        expected = role.warps.value.data if role is not None else warps
        for result in op.results:
            kind = result.type
            if not isinstance(kind, TileType) or not isinstance(
                kind.layout, LayoutAttr
            ):
                continue
            got = kind.layout.data.warps
            if got != expected:
                _fail(op, f"the layout is of {got} warps, and {expected} run here")


def _role_of(op: Operation) -> RoleOp | None:
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, RoleOp):
        parent = parent.parent_op()
    return parent


def shared_bytes(ops: list[Operation]) -> int:
    """Shared memory of all allocations, each aligned to the swizzle's period.

    An allocation inside a role is made for each of its groups.
    """
    total = 0
    for op in ops:
        size = 0
        if isinstance(op, RingOp | StagingOp):
            assert isinstance(op.result.type, RingType | StagingType)
            size = op.result.type.bytes
        elif isinstance(op, SharedAllocOp):
            assert isinstance(op.result.type, SharedType)
            size = op.result.type.bytes
        role = _role_of(op) if size else None
        groups = 1 if role is None else role.groups.value.data
        total += groups * -(-size // STAGE_ALIGNMENT) * STAGE_ALIGNMENT
    return total


def _verify_shared_memory(
    func: Operation, ops: list[Operation], launch: Launch
) -> None:
    target = _target_of(func)
    if target is None:
        return
    total = shared_bytes(ops)
    if total * launch.blocks_per_sm > target.shared_bytes:
        _fail(
            func,
            f"needs {total} bytes of shared memory for each of {launch.blocks_per_sm} "
            f"blocks, and {target.name} has {target.shared_bytes}",
        )


def _target_of(func: Operation) -> Target | None:
    module = func.parent_op()
    while module is not None and not isinstance(module, ModuleOp):
        module = module.parent_op()
    if module is None or ATTRIBUTE not in module.attributes:
        return None
    try:
        target = Target.of(module)
    except OptionError as error:
        raise VerifyException(error.summary) from None
    return None if target.is_cpu else target


def _verify_registers(ops: list[Operation], launch: Launch) -> None:
    threads = launch.warps * 32 * launch.blocks_per_sm
    entry = min(REGISTERS_PER_SM // threads // 8 * 8, 255)
    for op in ops:
        if isinstance(op, SpecialiseOp):
            _verify_budgets(op, launch)
        if isinstance(op, WgmmaOp):
            assert isinstance(op.result.type, AccumulatorType)
            needed = op.result.type.registers + _OTHER_REGISTERS
            if needed > entry:
                _fail(
                    op,
                    f"needs {needed} registers a thread, and a block of "
                    f"{launch.warps} warps starts with {entry}",
                )


def _verify_budgets(op: SpecialiseOp, launch: Launch) -> None:
    if all(role.budget is None for role in op.roles):
        return
    if any(role.budget is None for role in op.roles):
        _fail(op, "expected a register budget for every role or for none")
    total = sum(role.total_warps * 32 * (role.budget or 0) for role in op.roles)
    if total * launch.blocks_per_sm > REGISTERS_PER_SM:
        _fail(
            op,
            f"the roles' budgets are {total} registers, and a multiprocessor has "
            f"{REGISTERS_PER_SM} for {launch.blocks_per_sm} blocks",
        )


def _verify_ring(op: RingOp) -> None:
    users = [use.operation for use in op.result.uses]
    waits = [user for user in users if isinstance(user, WaitOp)]
    releases = [user for user in users if isinstance(user, ReleaseOp)]
    if bool(waits) != bool(releases):
        _fail(op, "a ring that is waited on must be released, and the other way round")
    roles = {role for wait in waits if (role := _role_of(wait)) is not None}
    warps = sum(role.total_warps for role in roles)
    if roles and warps != op.consumers.value.data:
        _fail(
            op,
            f"expects {op.consumers.value.data} consuming warps, and {warps} wait on "
            "it",
        )
    assert isinstance(op.result.type, RingType)
    for wait in waits:
        needed = _groups_in_flight(wait) + 1
        if needed > op.result.type.stages:
            _fail(
                op,
                f"{needed} stages are read at the same time, and there are "
                f"{op.result.type.stages}: the consumer would wait for itself",
            )


def _groups_in_flight(wait: WaitOp) -> int:
    """Products left running at the end of the block that waits for a stage."""
    assert wait.parent is not None
    reads = set(wait.tiles)
    pending = 0
    for op in wait.parent.ops:
        if isinstance(op, WgmmaOp) and not reads.isdisjoint(_roots(op)):
            pending = 1
        if isinstance(op, WgmmaWaitOp):
            pending = min(pending, op.pending.value.data)
    return pending


def _roots(op: WgmmaOp) -> Iterator[SSAValue]:
    """The tiles that a product reads, seen through slices and transposes."""
    for value in (op.lhs, op.rhs):
        yield value
        while isinstance(value.owner, Operation) and value.owner.name in (
            "tile.shared_slice",
            "tile.shared_transpose",
        ):
            value = value.owner.operands[0]
            yield value


def _verify_bytes(op: AcquireOp, launch: Launch) -> None:
    moved = 0
    for use in op.slot.uses:
        copy = use.operation
        if isinstance(copy, TmaLoadOp):
            if copy.parent is not op.parent:
                _fail(copy, "expected the copy beside the tile.acquire of its slot")
            moved += copy.bytes * (launch.cluster if copy.multicast is not None else 1)
            _expect_own_tile(op, copy)
        elif not isinstance(copy, CommitOp):
            _fail(copy, "expected only copies into a slot")
    if moved != op.bytes.value.data:
        _fail(op, f"expects {op.bytes.value.data} bytes, and the copies bring {moved}")


def _expect_own_tile(op: AcquireOp, copy: TmaLoadOp) -> None:
    value = copy.tile
    while (
        isinstance(value.owner, Operation) and value.owner.name == "tile.shared_slice"
    ):
        value = value.owner.operands[0]
    if value not in op.tiles:
        _fail(copy, "expected a tile of the slot's own stage")


def _expect_elected(op: Operation) -> None:
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, ElectOp):
        parent = parent.parent_op()
    if parent is None:
        _fail(op, "expected to be inside tile.elect: one thread does it")
