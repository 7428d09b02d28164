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
from stepwell.runtime.devices.emulated.machine import (
    Mask,
    Operation,
    Threads,
    Wait,
    Wave,
)
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

from .addressing import checked, locate, state_space, taken

COUNT_BITS, BYTES_BITS = 20, 22
PHASE_BIT = 2 * COUNT_BITS - 1 + BYTES_BITS
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


def state_at(wave: Wave, offset: int, where: str) -> State:
    """The object at an offset of the wave's shared memory."""
    state = State.decode(int(wave.shared.view(8)[offset // 8]))
    if state is None:
        raise DeviceError(
            f"expected an initialised mbarrier at {wave.shared.label(offset)}",
            where=where,
        )
    return state


def put_state(wave: Wave, offset: int, state: State) -> None:
    """Store an object's state, and go to the next phase if this one is complete."""
    wave.shared.view(8)[offset // 8] = state.settled().encode()
    if wave.shared.written is not None:
        wave.shared.written[offset : offset + 8] = True
    wave.effects += 1


def complete_bytes(wave: Wave, offset: int, count: int, where: str) -> None:
    """An asynchronous copy is done: `count` bytes are no longer owed."""
    state = state_at(wave, offset, where)
    put_state(wave, offset, replace(state, owed=state.owed - count))


def arrive_at(wave: Wave, offset: int, count: int, where: str) -> None:
    """`count` arrivals."""
    state = state_at(wave, offset, where)
    if count > state.pending:
        raise DeviceError(
            f"expected at most {state.pending} more arrivals in this phase of the "
            f"mbarrier at {wave.shared.label(offset)}, got {count}",
            where=where,
        )
    put_state(wave, offset, replace(state, pending=state.pending - count))


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

    def run(threads: Threads, mask: Mask) -> None:
        _, offsets = checked(threads, mask, where(threads, mask), 8, "write")
        counts = taken(threads, mask, count(threads))
        checker = threads.device.checker
        for offset, arrivals in zip(offsets, counts, strict=True):
            state = State(0, int(arrivals), int(arrivals))
            put_state(threads.wave, int(offset), state)
            if checker is not None:
                checker.initialised(threads, int(offset))

    return run


def _invalidate(one: Instruction, scope: Scope) -> Operation:
    where = locate(one, one.operands[0], scope, _space(one))

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), 8, "use")
        memory.view(8)[offsets // 8] = 0
        checker = threads.device.checker
        if checker is not None:
            for offset in offsets:
                checker.invalidated(int(offset))

    return run


def _arrive(one: Instruction, scope: Scope) -> Operation:
    target, (address, *rest) = _operands(one)
    write = scope.write(target, "b64")
    where = locate(one, address, scope, _space(one))
    expects = "expect_tx" in one.modifiers
    amount = scope.read(rest[0], "u32") if rest else None
    drops = one.modifiers[0] == "arrive_drop"

    def run(threads: Threads, mask: Mask) -> None:
        _, offsets = checked(threads, mask, where(threads, mask), 8, "use")
        lanes = np.flatnonzero(mask)
        amounts = np.ones(lanes.size, np.int64)
        if amount is not None:
            amounts = taken(threads, mask, amount(threads)).astype(np.int64)
        checker = threads.device.checker
        if checker is not None:
            checker.release(threads, mask, "mbarrier", offsets)
        tokens = np.zeros(mask.size, np.uint64)
        for at in np.unique(offsets):
            if checker is not None and expects:
                checker.expects(threads, int(at), _phase(threads.wave, int(at)))
            here = np.flatnonzero(offsets == at)
            if expects or drops:
                for i in here:
                    where_ = threads.describe(int(lanes[i]))
                    token = _arrive_alone(
                        threads.wave, int(at), int(amounts[i]), (expects, drops), where_
                    )
                    tokens[lanes[i]] = token
            else:
                tokens[lanes[here]] = _arrive_all(
                    threads, int(at), amounts[here], lanes[here]
                )
        write(threads, mask, tokens)

    return run


def _arrive_alone(
    wave: Wave, offset: int, amount: int, how: tuple[bool, bool], where: str
) -> int:
    """One thread's `arrive.expect_tx` or `arrive_drop`; the state before."""
    expects, drops = how
    before = state = state_at(wave, offset, where)
    if expects:
        state = replace(state, owed=state.owed + amount)
    count = 1 if expects else amount
    if drops:
        state = replace(state, expected=state.expected - count)
    wave.shared.view(8)[offset // 8] = state.encode()
    arrive_at(wave, offset, count, where)
    return before.encode()


def _arrive_all(
    threads: Threads, offset: int, amounts: NDArray[np.int64], lanes: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Threads arrive one after the other; the state before each."""
    wave = threads.wave
    state = state_at(wave, offset, threads.describe(int(lanes[0])))
    total = np.cumsum(amounts)
    if int(total[-1]) <= state.pending:
        put_state(wave, offset, replace(state, pending=state.pending - int(total[-1])))
        earlier = (total - amounts).astype(np.uint64) << np.uint64(BYTES_BITS)
        return np.uint64(state.encode()) - earlier
    tokens = np.zeros(lanes.size, np.uint64)
    for i, lane in enumerate(lanes):
        where = threads.describe(int(lane))
        tokens[i] = state_at(wave, offset, where).encode()
        arrive_at(wave, offset, int(amounts[i]), where)
    return tokens


def _count_bytes(one: Instruction, scope: Scope) -> Operation:
    where = locate(one, one.operands[0], scope, _space(one))
    amount = scope.read(one.operands[1], "u32")
    sign = 1 if one.modifiers[0] == "expect_tx" else -1

    def run(threads: Threads, mask: Mask) -> None:
        _, offsets = checked(threads, mask, where(threads, mask), 8, "use")
        amounts = np.broadcast_to(amount(threads), mask.shape)[mask]
        for at, count in zip(offsets, amounts, strict=True):
            where_ = threads.describe(int(np.flatnonzero(mask)[0]))
            checker = threads.device.checker
            if checker is not None and sign > 0:
                checker.expects(threads, int(at), _phase(threads.wave, int(at)))
            complete_bytes(threads.wave, int(at), -sign * int(count), where_)

    return run


def _wait(one: Instruction, scope: Scope) -> Operation:
    target, address, given, *_ = one.operands
    write = scope.write(target, "pred")
    where = locate(one, address, scope, _space(one))
    by_parity = "parity" in one.modifiers
    wanted = scope.read(given, "u32" if by_parity else "b64")
    waits = one.modifiers[0] == "try_wait"

    def run(threads: Threads, mask: Mask) -> None:
        _, offsets = checked(threads, mask, where(threads, mask), 8, "use")
        wave = threads.wave
        phases = _wanted(taken(threads, mask, wanted(threads)), by_parity)
        checker = threads.device.checker

        def ready() -> Mask:
            over = np.zeros(mask.size, np.bool_)
            over[mask] = _phases(threads, mask, offsets) != phases
            return over

        def resume(due: Mask) -> None:
            write(threads, due, np.array(True))
            if checker is not None:
                mine = due[mask]
                checker.waited(offsets[mine], phases[mine])
                checker.acquire(threads, due, "mbarrier", offsets[mine])

        done = ready()
        count = int(np.count_nonzero(done))
        if count == offsets.size:
            resume(mask)
            return

        def reason() -> str:
            first = int(offsets[~ready()[mask]][0])
            state = state_at(wave, first, "")
            return (
                f"waits for the mbarrier at {wave.shared.label(first)} "
                f"({state.pending} arrivals and {state.owed} bytes pending)"
            )

        if waits:  # it may be suspended until the phase is over
            threads.wait(Wait(reason, ready, resume))
            return
        write(threads, mask, done)
        if count:
            resume(done)
        else:
            threads.poll(reason())

    return run


def _phase(wave: Wave, offset: int) -> int:
    """The current phase of an object; 0 if there is none."""
    state = State.decode(int(wave.shared.view(8)[offset // 8]))
    return 0 if state is None else state.phase


def _phases(
    threads: Threads, mask: Mask, offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The current phases of objects, each of which must be initialised."""
    words = threads.wave.shared.view(8)[offsets // 8]
    marked = words >> np.uint64(PHASE_BIT + 1) == MARK
    if not marked.all():
        lane = int(np.flatnonzero(mask)[np.flatnonzero(~marked)[0]])
        at = int(offsets[np.flatnonzero(~marked)[0]])
        state_at(threads.wave, at, threads.describe(lane))
    return (words >> np.uint64(PHASE_BIT)).astype(np.int64) & 1


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

    def run(threads: Threads, mask: Mask) -> None:
        shift, keep = np.uint64(BYTES_BITS), np.uint64((1 << COUNT_BITS - 1) - 1)
        write(threads, mask, read(threads) >> shift & keep)

    return run
