"""mbarrier objects: arrivals, transaction counts, waits by state or by parity.

ISA section "mbarrier". The state lives in the object's 64 bits of shared memory: a
mark, the phase, the arrivals a phase expects and those still pending, and the bytes
that asynchronous copies still owe (in two's complement).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError, ModelError
from stepwell.runtime.devices.emulated.machine import Block, Cluster, Mask, Operation
from stepwell.runtime.devices.emulated.syntax import (
    SINK,
    Instruction,
    Operand,
    Register,
)
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    instruction,
    unsupported,
)

from .memory import checked, locate, state_space

COUNT_BITS, BYTES_BITS = 20, 22
MARK = 2
"""In the upper two bits of an initialised object."""


@dataclass(frozen=True)
class State:
    """What an mbarrier object says."""

    phase: int
    expected: int
    pending: int
    owed: int = 0

    def encode(self) -> int:
        """Its 64 bits."""
        word = MARK << 1 | self.phase
        word = word << COUNT_BITS | self.expected
        word = word << COUNT_BITS - 1 | self.pending
        return word << BYTES_BITS | self.owed & (1 << BYTES_BITS) - 1

    @staticmethod
    def decode(word: int) -> State | None:
        """The state in 64 bits; None if they hold no mbarrier."""
        owed = word & (1 << BYTES_BITS) - 1
        if owed >> BYTES_BITS - 1:
            owed -= 1 << BYTES_BITS
        word >>= BYTES_BITS
        pending = word & (1 << COUNT_BITS - 1) - 1
        word >>= COUNT_BITS - 1
        expected = word & (1 << COUNT_BITS) - 1
        word >>= COUNT_BITS
        if word >> 1 != MARK:
            return None
        return State(word & 1, expected, pending, owed)

    def settled(self) -> State:
        """The next phase, if this one is complete."""
        if self.pending or self.owed:
            return self
        return State(self.phase ^ 1, self.expected, self.expected)


def state_at(cluster: Cluster, offset: int, where: str) -> State:
    """The object at an offset of the cluster's shared memory."""
    state = State.decode(int(cluster.shared.view(8)[offset // 8]))
    if state is None:
        raise DeviceError(
            f"expected an initialised mbarrier at shared[{offset:#x}]", where=where
        )
    return state


def put_state(cluster: Cluster, offset: int, state: State) -> None:
    """Store an object's state, and go to the next phase if this one is complete."""
    cluster.shared.view(8)[offset // 8] = state.settled().encode()
    assert cluster.shared.written is not None
    cluster.shared.written[offset : offset + 8] = True
    cluster.effects += 1


def complete_bytes(cluster: Cluster, offset: int, count: int, where: str) -> None:
    """An asynchronous copy is done: `count` bytes are no longer owed."""
    state = state_at(cluster, offset, where)
    put_state(cluster, offset, replace(state, owed=state.owed - count))


def arrive_at(cluster: Cluster, offset: int, count: int, where: str) -> None:
    """`count` arrivals."""
    state = state_at(cluster, offset, where)
    if count > state.pending:
        raise DeviceError(
            f"expected at most {state.pending} more arrivals in this phase of the "
            f"mbarrier at shared[{offset:#x}], got {count}",
            where=where,
        )
    put_state(cluster, offset, replace(state, pending=state.pending - count))


def _operands(one: Instruction) -> tuple[Operand, list[Operand]]:
    """The destination (or the sink) and the rest."""
    operands = list(one.operands)
    if isinstance(operands[0], Register) or operands[0] == SINK:
        return operands[0], operands[1:]
    return SINK, operands


@instruction("mbarrier")
def mbarrier(one: Instruction, scope: Scope) -> Operation:
    """All of `mbarrier`, by the first modifier."""
    action = one.modifiers[0]
    if action == "init":
        return _init(one, scope)
    if action == "inval":
        return _invalidate(one, scope)
    if action in ("arrive", "arrive_drop"):
        return _arrive(one, scope)
    if action in ("expect_tx", "complete_tx"):
        return _count_bytes(one, scope)
    if action in ("test_wait", "try_wait"):
        return _wait(one, scope)
    if action == "pending_count":
        return _pending_count(one, scope)
    raise unsupported(one)


def _space(one: Instruction) -> str:
    return state_space(one)


def _init(one: Instruction, scope: Scope) -> Operation:
    where = locate(one, one.operands[0], scope, _space(one))
    count = scope.read(one.operands[1], "u32")

    def run(block: Block, mask: Mask) -> None:
        _, offsets = checked(block, mask, where(block, mask), 8, "sync")
        counts = np.broadcast_to(count(block), mask.shape)[mask]
        for offset, arrivals in zip(offsets, counts, strict=True):
            put_state(
                block.cluster, int(offset), State(0, int(arrivals), int(arrivals))
            )

    return run


def _invalidate(one: Instruction, scope: Scope) -> Operation:
    where = locate(one, one.operands[0], scope, _space(one))

    def run(block: Block, mask: Mask) -> None:
        memory, offsets = checked(block, mask, where(block, mask), 8, "sync")
        memory.view(8)[offsets // 8] = 0

    return run


def _arrive(one: Instruction, scope: Scope) -> Operation:
    target, (address, *rest) = _operands(one)
    write = scope.write(target, "b64")
    where = locate(one, address, scope, _space(one))
    expects = "expect_tx" in one.modifiers
    amount = scope.read(rest[0], "u32") if rest else None
    drops = one.modifiers[0] == "arrive_drop"

    def run(block: Block, mask: Mask) -> None:
        _, offsets = checked(block, mask, where(block, mask), 8, "sync")
        lanes = np.flatnonzero(mask)
        amounts = np.ones(mask.size, np.int64)
        if amount is not None:
            amounts = np.broadcast_to(amount(block), mask.shape).astype(np.int64)
        tokens = np.zeros(mask.size, np.uint64)
        for lane, at in zip(lanes, offsets, strict=True):
            where_ = block.describe(int(lane))
            offset = int(at)
            _release(block, int(lane), offset)
            state = state_at(block.cluster, offset, where_)
            tokens[lane] = state.encode()
            if expects:
                state = replace(state, owed=state.owed + int(amounts[lane]))
            count = 1 if expects else int(amounts[lane])
            if drops:
                state = replace(state, expected=state.expected - count)
            block.cluster.shared.view(8)[offset // 8] = state.encode()
            arrive_at(block.cluster, offset, count, where_)
        write(block, mask, tokens)

    return run


def _release(block: Block, lane: int, offset: int) -> None:
    checker = block.device.checker
    if checker is not None:
        alone = np.zeros(block.registers.threads, np.bool_)
        alone[lane] = True
        checker.release(block, alone, offset)


def _count_bytes(one: Instruction, scope: Scope) -> Operation:
    where = locate(one, one.operands[0], scope, _space(one))
    amount = scope.read(one.operands[1], "u32")
    sign = 1 if one.modifiers[0] == "expect_tx" else -1

    def run(block: Block, mask: Mask) -> None:
        _, offsets = checked(block, mask, where(block, mask), 8, "sync")
        amounts = np.broadcast_to(amount(block), mask.shape)[mask]
        for at, count in zip(offsets, amounts, strict=True):
            where_ = block.describe(int(np.flatnonzero(mask)[0]))
            complete_bytes(block.cluster, int(at), -sign * int(count), where_)

    return run


def _wait(one: Instruction, scope: Scope) -> Operation:
    target, address, given, *_ = one.operands
    write = scope.write(target, "pred")
    where = locate(one, address, scope, _space(one))
    by_parity = "parity" in one.modifiers
    wanted = scope.read(given, "u32" if by_parity else "b64")

    def run(block: Block, mask: Mask) -> None:
        _, offsets = checked(block, mask, where(block, mask), 8, "sync")
        first = block.describe(int(np.flatnonzero(mask)[0]))
        values = np.broadcast_to(wanted(block), mask.shape)[mask]
        done = np.zeros(mask.size, np.bool_)
        done[mask] = _phases(block, offsets, first) != _wanted(values, by_parity)
        write(block, mask, done)
        if not done.any():
            names = ", ".join(f"shared[{at:#x}]" for at in np.unique(offsets)[:4])
            states = [state_at(block.cluster, int(a), first) for a in offsets[:1]]
            block.poll(
                f"waits for the mbarrier at {names} "
                f"({states[0].pending} arrivals and {states[0].owed} bytes pending)"
            )
        elif block.device.checker is not None:
            for at in np.unique(offsets):
                block.device.checker.acquire(block, done, int(at))

    return run


def _phases(block: Block, offsets: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    unique, back = np.unique(offsets, return_inverse=True)
    phases = [state_at(block.cluster, int(at), where).phase for at in unique]
    return np.array(phases)[back]


def _wanted(values: NDArray, by_parity: bool) -> NDArray[np.int64]:
    """The phase that must be over."""
    if by_parity:
        return values.astype(np.int64) & 1
    states = [State.decode(int(value)) for value in values]
    if None in states:
        raise ModelError("expected a state that mbarrier.arrive returned")
    return np.array([state.phase for state in states if state is not None])


def _pending_count(one: Instruction, scope: Scope) -> Operation:
    write = scope.write(one.operands[0], "u32")
    read = scope.read(one.operands[1], "b64")

    def run(block: Block, mask: Mask) -> None:
        shift, keep = np.uint64(BYTES_BITS), np.uint64((1 << COUNT_BITS - 1) - 1)
        write(block, mask, read(block) >> shift & keep)

    return run
