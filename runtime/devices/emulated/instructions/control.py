"""Control flow and barriers: bra, brx, call, ret, exit, bar.

ISA chapters "Control Flow" and "Parallel Synchronization and Communication".
"""

from __future__ import annotations

import numpy as np

from stepwell.errors import DeviceError, ModelError
from stepwell.runtime.devices.emulated.machine import (
    Barrier,
    Block,
    Group,
    Mask,
    Operation,
    Step,
    Wait,
)
from stepwell.runtime.devices.emulated.syntax import (
    Group as Arguments,
)
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
    Operand,
    Symbol,
)
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    instruction,
    jump,
    unsupported,
)

Targets = list[tuple[int, Mask]]


def _label(operand: Operand) -> str:
    if not isinstance(operand, Symbol):
        raise ModelError(f"expected a label, got {operand}")
    return operand.name


@jump("bra")
def branch(one: Instruction, scope: Scope) -> Step:
    """`bra`: all threads whose guard holds go to the label."""
    target = scope.target(_label(one.operands[0]))

    def go(block: Block, group: Group, mask: Mask) -> Targets:
        return [(target, mask)]

    return Step(one.line, one.name, jump=go)


@jump("brx")
def indexed_branch(one: Instruction, scope: Scope) -> Step:
    """`brx.idx`: each thread goes to the label its index names."""
    read = scope.read(one.operands[0], "u32")
    labels = scope.function.tables[_label(one.operands[1])]
    targets = [scope.target(label) for label in labels]

    def go(block: Block, group: Group, mask: Mask) -> Targets:
        index = np.broadcast_to(read(block), mask.shape)
        moved = [(to, mask & (index == at)) for at, to in enumerate(targets)]
        return [(to, threads) for to, threads in moved if threads.any()]

    return Step(one.line, one.name, jump=go)


@jump("exit", "trap")
def end(one: Instruction, scope: Scope) -> Step:
    """`exit` ends threads; `trap` ends the kernel with an error."""

    def go(block: Block, group: Group, mask: Mask) -> Targets:
        if one.opcode == "trap":
            raise DeviceError(
                "the kernel executed trap",
                where=block.describe(int(np.flatnonzero(mask)[0])),
            )
        block.exited = block.exited | mask
        block.cluster.effects += 1
        return []

    return Step(one.line, one.name, jump=go)


@jump("ret")
def return_(one: Instruction, scope: Scope) -> Step:
    """`ret`: back behind the call; from an entry, the end of the threads."""

    def go(block: Block, group: Group, mask: Mask) -> Targets:
        if group.stack:
            *outer, back = group.stack
            group.stack = tuple(outer)
            return [(back, mask)]
        block.exited = block.exited | mask
        block.cluster.effects += 1
        return []

    return Step(one.line, one.name, jump=go)


@jump("call")
def call(one: Instruction, scope: Scope) -> Step:
    """`call`: copies arguments in, runs the function, copies its result out.

    Parameters are per-thread memory of the callee, so that a function may not call
    itself.
    """
    operands = list(one.operands)
    results: tuple[Operand, ...] = ()
    if operands and isinstance(operands[0], Arguments):
        results = operands.pop(0).elements  # type: ignore[union-attr]
    callee = scope.program.module.functions.get(_label(operands.pop(0)))
    if callee is None:
        raise unsupported(one, f"call of a function without a body ({one.operands})")
    arguments: tuple[Operand, ...] = ()
    if operands and isinstance(operands[0], Arguments):
        arguments = operands[0].elements
    raise unsupported(one, f"call with {len(arguments)} arguments, {len(results)} results")


# Barriers.


@instruction("bar", "barrier")
def barrier(one: Instruction, scope: Scope) -> Operation:
    """`bar.sync`, `bar.arrive`, `bar.red` and the same of `barrier.cta`."""
    if "cluster" in one.modifiers:
        return _cluster_barrier(one, scope)
    operands = list(one.operands)
    if "red" in one.modifiers:
        raise unsupported(one)
    number = scope.read(operands[0], "u32")
    count = scope.read(operands[1], "u32") if len(operands) > 1 else None
    arrive_only = "arrive" in one.modifiers

    def run(block: Block, mask: Mask) -> None:
        which = int(np.broadcast_to(number(block), mask.shape)[mask][0])
        here = block.barriers.setdefault(which, Barrier())
        if count is None:
            expected = block.live_threads
        else:
            expected = int(np.broadcast_to(count(block), mask.shape)[mask][0])
        # A barrier counts warps: every thread of a warp that arrives.
        here.arrived += 32 * int(mask.reshape(-1, 32).any(axis=1).sum())
        block.cluster.effects += 1
        generation = here.generation
        if here.arrived >= expected:
            here.arrived -= expected
            here.generation += 1
        if not arrive_only:
            block.wait(
                Wait(
                    f"waits at barrier {which} for {expected} threads",
                    lambda: here.generation != generation,
                )
            )

    return run


def _cluster_barrier(one: Instruction, scope: Scope) -> Operation:
    arrives = "arrive" in one.modifiers

    def arrive(block: Block, mask: Mask) -> None:
        cluster = block.cluster
        block.cluster_phase = cluster.generation
        cluster.arrived += int(mask.sum())
        cluster.effects += 1
        total = sum(other.thread_count for other in cluster.blocks)
        if cluster.arrived >= total:
            cluster.arrived -= total
            cluster.generation += 1

    def wait(block: Block, mask: Mask) -> None:
        generation = block.cluster_phase
        block.wait(
            Wait(
                "waits at the cluster barrier",
                lambda: block.cluster.generation != generation,
            )
        )

    return arrive if arrives else wait
