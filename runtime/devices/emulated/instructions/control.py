"""Control flow: bra, brx, call, ret, exit (ISA chapter "Control Flow")."""

from __future__ import annotations

import numpy as np

from stepwell.errors import DeviceError, ModelError
from stepwell.runtime.devices.emulated.machine import (
    Group,
    Mask,
    Operation,
    Step,
    Threads,
)
from stepwell.runtime.devices.emulated.syntax import (
    Group as Arguments,
)
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
    Operand,
    Register,
    Symbol,
    Variable,
)
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    jump,
    require,
)

Targets = list[tuple[int, Mask]]


def _label(operand: Operand) -> str:
    if not isinstance(operand, Symbol):
        raise ModelError(f"expected a label, got {operand}")
    return operand.name


@jump("bra")
def branch(one: Instruction, scope: Scope) -> Step:
    """`bra`: all threads whose guard holds go to the label."""
    target = scope.label(_label(one.operands[0]))

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        return [(target, mask)]

    return Step(one.line, one.name, jump=go, target=target)


@jump("brx")
def indexed_branch(one: Instruction, scope: Scope) -> Step:
    """`brx.idx`: each thread goes to the label its index names."""
    read = scope.read(one.operands[0], "u32")
    labels = scope.function.tables[_label(one.operands[1])]
    targets = [scope.label(label) for label in labels]

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        index = np.broadcast_to(read(threads), mask.shape)
        moved = [(to, mask & (index == at)) for at, to in enumerate(targets)]
        return [(to, threads) for to, threads in moved if threads.any()]

    return Step(one.line, one.name, jump=go)


@jump("exit", "trap")
def end(one: Instruction, scope: Scope) -> Step:
    """`exit` ends threads; `trap` ends the kernel with an error."""

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        if one.opcode == "trap":
            raise DeviceError(
                "the kernel executed trap",
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
            scope.program.returns[back](threads, mask)
            return [(back, mask)]
        np.logical_or(threads.exited, mask, threads.exited)
        threads.wave.effects += 1
        return []

    return Step(one.line, one.name, jump=go)


@jump("call")
def call(one: Instruction, scope: Scope) -> Step:
    """`call`: copies arguments in, runs the function; its `ret` copies results out.

    Parameters are memory of the callee, per thread, so that a function may not call
    itself.
    """
    operands = list(one.operands)
    results = _group(operands)
    name = _label(operands.pop(0))
    arguments = _group(operands)
    callee = scope.program.module.functions.get(name)
    if callee is None:
        return _absent(one, name)
    require(scope.program, name)
    inner = scope.program.scopes[name]
    copies_in = [
        _transfer(argument, scope, parameter.name, inner, parameter)
        for argument, parameter in zip(arguments, callee.parameters, strict=True)
    ]
    copies_out = [
        _transfer(Symbol(result.name), inner, _destination(target), scope, result)
        for target, result in zip(results, callee.results, strict=True)
    ]
    first = inner.first

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        for copy in copies_in:
            copy(threads, mask)
        back = group.pc + 1
        scope.program.returns.setdefault(back, give_back)
        group.stack = (*group.stack, back)
        return [(first, mask)]

    def give_back(threads: Threads, mask: Mask) -> None:
        for copy in copies_out:
            copy(threads, mask)

    return Step(one.line, one.name, jump=go)


def _group(operands: list[Operand]) -> tuple[Operand, ...]:
    """Take a leading `(...)` off the operands."""
    if operands and isinstance(operands[0], Arguments):
        first = operands.pop(0)
        assert isinstance(first, Arguments)
        return first.elements
    return ()


def _absent(one: Instruction, name: str) -> Step:
    """A function without a body: an error, once it is called."""

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        what = "an assertion failed" if name == "__assertfail" else f"no body of {name}"
        raise DeviceError(
            f"call of {name}: {what}",
            where=threads.describe(int(np.flatnonzero(mask)[0])),
        )

    return Step(one.line, one.name, jump=go)


def _destination(operand: Operand) -> str:
    return operand.name if isinstance(operand, Register) else _label(operand)


def _transfer(
    source: Operand, of: Scope, target: str, to: Scope, variable: Variable
) -> Operation:
    """Copy a parameter between functions: registers, or memory of each thread."""
    if variable.space == "reg" or not isinstance(source, Symbol):
        type_ = variable.type
        source = Register(source.name) if isinstance(source, Symbol) else source
        read, write = of.read(source, type_), to.write(Register(target), type_)
        return lambda threads, mask: write(threads, mask, read(threads))
    begin, end_ = of.place(source.name)[1], to.place(target)[1]
    span = np.arange(variable.size)

    def copy(threads: Threads, mask: Mask) -> None:
        base = threads.local_offsets[mask][:, None] + span
        threads.wave.local.bytes[base + end_] = threads.wave.local.bytes[base + begin]

    return copy
