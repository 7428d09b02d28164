"""Control flow: bra, brx, ret, exit (ISA chapter "Control Flow")."""

from __future__ import annotations

import numpy as np

from stepwell.errors import DeviceError, ModelError
from stepwell.runtime.devices.emulated.machine import (
    Group,
    Mask,
    Step,
    Threads,
)
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
    Operand,
    Symbol,
)
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    jump,
)

Targets = list[tuple[int, Mask]]


def label_of(operand: Operand) -> str:
    """The name that an operand is."""
    if not isinstance(operand, Symbol):
        raise ModelError(f"expected a label, got {operand}")
    return operand.name


@jump("bra")
def branch(one: Instruction, scope: Scope) -> Step:
    """`bra`: all threads whose guard holds go to the label."""
    target = scope.label(label_of(one.operands[0]))

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        return [(target, mask)]

    return Step(one.line, one.name, jump=go, target=target)


@jump("brx")
def indexed_branch(one: Instruction, scope: Scope) -> Step:
    """`brx.idx`: each thread goes to the label its index names."""
    read = scope.read(one.operands[0], "u32")
    labels = scope.function.tables[label_of(one.operands[1])]
    targets = [scope.label(label) for label in labels]

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        index = np.broadcast_to(read(threads), mask.shape)
        moved = [(to, mask & (index == at)) for at, to in enumerate(targets)]
        return [(to, threads) for to, threads in moved if threads.any()]

    return Step(one.line, one.name, jump=go)


@jump("exit", "trap", "brkpt")
def end(one: Instruction, scope: Scope) -> Step:
    """`exit` ends threads; `trap` and `brkpt` end the kernel with an error."""

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        if one.opcode != "exit":
            raise DeviceError(
                f"the kernel executed {one.opcode}",
                where=threads.describe(int(np.flatnonzero(mask)[0])),
            )
        np.logical_or(threads.exited, mask, threads.exited)
        threads.wave.effects += 1
        return []

    return Step(one.line, one.name, jump=go)


@jump("ret")
def return_(one: Instruction, scope: Scope) -> Step:
    """`ret`: back behind the call; from an entry, the end of the threads."""

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        if group.stack:
            *outer, back = group.stack
            group.stack = tuple(outer)
            name = scope.function.name
            scope.program.returns[name, back](threads, group.stack, mask)
            return [(back, mask)]
        np.logical_or(threads.exited, mask, threads.exited)
        threads.wave.effects += 1
        return []

    return Step(one.line, one.name, jump=go)
