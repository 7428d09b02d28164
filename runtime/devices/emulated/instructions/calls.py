"""Calls: of functions by name and by address, recursive; the stack of a thread.

ISA sections "call" and "Stack Manipulation Instructions".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError, ModelError
from stepwell.runtime.devices.emulated.machine import (
    Group,
    Mask,
    Operation,
    Step,
    Threads,
    Wave,
)
from stepwell.runtime.devices.emulated.syntax import (
    Group as Arguments,
)
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
    Integer,
    Operand,
    Register,
    Symbol,
    Variable,
)
from stepwell.runtime.devices.emulated.translate import (
    CODE_BASE,
    STACK_BYTES,
    Scope,
    element_type,
    instruction,
    jump,
    require,
)

from .control import Targets, label_of
from .system import SYSTEM

Take = Callable[[Threads, Mask], NDArray]
Put = Callable[[Threads, Mask, NDArray], None]


@jump("call")
def call(one: Instruction, scope: Scope) -> Step:
    """`call`: copies arguments in, runs the function; its `ret` copies results out."""
    operands = list(one.operands)
    results = _group(operands)
    callee = operands.pop(0)
    arguments = _group(operands)
    if isinstance(callee, Register):
        return _indirect(one, scope, callee, results, arguments)
    name = label_of(callee)
    if name not in scope.program.module.functions:
        return _absent(one, scope, name, results, arguments)
    require(scope.program, name)
    return Step(one.line, one.name, jump=Link(scope, name, results, arguments).enter)


class Link:
    """One function called from one place: what goes in, and what comes out.

    Registers and parameters are rows of the function, per thread; a call of a function
    that is running already keeps them aside until it returns.
    """

    def __init__(
        self,
        scope: Scope,
        name: str,
        results: tuple[Operand, ...],
        arguments: tuple[Operand, ...],
    ) -> None:
        callee = scope.program.module.functions[name]
        self._caller, self._inner = scope, scope.program.scopes[name]
        expected = len(callee.parameters), len(callee.results)
        if expected != (len(arguments), len(results)):
            raise ModelError(
                f"{name}: expected {expected[0]} arguments and {expected[1]} results, "
                f"got {len(arguments)} and {len(results)}"
            )
        self._arguments = [
            _transfer(argument, scope, parameter.name, self._inner, parameter)
            for argument, parameter in zip(arguments, callee.parameters, strict=True)
        ]
        self._results = [
            _transfer(
                Symbol(result.name), self._inner, _destination(target), scope, result
            )
            for target, result in zip(results, callee.results, strict=True)
        ]

    def enter(self, threads: Threads, group: Group, mask: Mask) -> Targets:
        """Copy arguments in; the group is then inside of one more call."""
        values = [take(threads, mask) for take, _ in self._arguments]
        if self._is_running(group.stack):
            self._frame(threads, len(group.stack)).keep(threads, mask)
        for (_, put), value in zip(self._arguments, values, strict=True):
            put(threads, mask, value)
        back = group.pc + 1
        key = self._inner.function.name, back
        self._inner.program.returns.setdefault(key, self.leave)
        group.stack = (*group.stack, back)
        return [(self._inner.first, mask)]

    def leave(self, threads: Threads, stack: tuple[int, ...], mask: Mask) -> None:
        """Copy results out, for threads that return to where `stack` is the rest."""
        values = [take(threads, mask) for take, _ in self._results]
        if self._is_running(stack):
            self._frame(threads, len(stack)).restore(threads, mask)
        for (_, put), value in zip(self._results, values, strict=True):
            put(threads, mask, value)

    def _is_running(self, stack: tuple[int, ...]) -> bool:
        first = self._inner.first
        last = first + len(self._inner.function.body)
        return self._caller is self._inner or any(
            first <= back <= last for back in stack
        )

    def _frame(self, threads: Threads, depth: int) -> Frame:
        frames, key = threads.wave.frames, (self._inner.function.name, depth)
        if key not in frames:
            frames[key] = Frame(threads.wave, self._inner)
        return frames[key]


class Frame:
    """The registers and local variables of a function, kept aside per thread."""

    def __init__(self, wave: Wave, scope: Scope) -> None:
        rows: dict[str, list[int]] = {}
        for slot in scope.registers.values():
            rows.setdefault(slot.bank, []).append(slot.row)
        self._rows = {bank: np.array(found) for bank, found in rows.items()}
        self._banks = {
            bank: wave.banks[bank][found].copy() for bank, found in self._rows.items()
        }
        names = {variable.name: variable.size for variable in scope.declared}
        self._spans = [
            (offset, names[name])
            for name, (space, offset) in scope.variables.items()
            if space == "local" and name in names
        ]
        self._local = [self._bytes(wave, *span).copy() for span in self._spans]

    @staticmethod
    def _bytes(wave: Wave, offset: int, size: int) -> NDArray[np.uint8]:
        every = wave.local.bytes[: wave.count * wave.launch.local]
        return every.reshape(wave.count, -1)[:, offset : offset + size]

    def keep(self, threads: Threads, mask: Mask) -> None:
        """Copy what the threads of a mask hold."""
        self._copy(threads, mask, inward=True)

    def restore(self, threads: Threads, mask: Mask) -> None:
        """Copy it back."""
        self._copy(threads, mask, inward=False)

    def _copy(self, threads: Threads, mask: Mask, inward: bool) -> None:
        wave, lanes = threads.wave, threads.start + np.flatnonzero(mask)
        for bank, rows in self._rows.items():
            here, there = wave.banks[bank], self._banks[bank]
            places = rows[:, None], lanes[None, :]
            if inward:
                there[:, lanes] = here[places]
            else:
                here[places] = there[:, lanes]
        for span, there in zip(self._spans, self._local, strict=True):
            here = self._bytes(wave, *span)
            if inward:
                there[lanes] = here[lanes]
            else:
                here[lanes] = there[lanes]


def _indirect(
    one: Instruction,
    scope: Scope,
    callee: Register,
    results: tuple[Operand, ...],
    arguments: tuple[Operand, ...],
) -> Step:
    """Each thread calls the function whose address it holds."""
    read = scope.read(callee, "u64")
    program = scope.program
    links: dict[int, Link] = {}

    def link(address: int, lane: int, threads: Threads) -> Link:
        for name, first in program.entries.items():
            function = program.module.functions[name]
            if CODE_BASE + first == address and not function.is_entry:
                require(program, name)
                return Link(scope, name, results, arguments)
        raise DeviceError(
            f"call of {address:#x}, where no function is", where=threads.describe(lane)
        )

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        addresses = np.broadcast_to(read(threads), mask.shape)
        stack, moved = group.stack, list[tuple[int, Mask]]()
        for address in np.unique(addresses[mask]).tolist():
            mine = mask & (addresses == address)
            if address not in links:
                lane = int(np.flatnonzero(mine)[0])
                links[address] = link(address, lane, threads)
            group.stack = stack
            moved += links[address].enter(threads, group, mine)
        return moved

    return Step(one.line, one.name, jump=go)


def _group(operands: list[Operand]) -> tuple[Operand, ...]:
    """Take a leading `(...)` off the operands."""
    if operands and isinstance(operands[0], Arguments):
        first = operands.pop(0)
        assert isinstance(first, Arguments)
        return first.elements
    return ()


def _absent(
    one: Instruction,
    scope: Scope,
    name: str,
    results: tuple[Operand, ...],
    arguments: tuple[Operand, ...],
) -> Step:
    """A function without a body: one of the system's, or an error once it is called."""
    system = SYSTEM.get(name)
    places = [scope.place(label_of(argument))[1] for argument in arguments]
    put = scope.place(label_of(results[0]))[1] if results else None
    sizes = {variable.name: variable.size for variable in scope.declared}
    width = sizes[label_of(results[0])] if results else 0

    def go(threads: Threads, group: Group, mask: Mask) -> Targets:
        if system is None:
            raise DeviceError(
                f"call of {name}: no body of {name}",
                where=threads.describe(int(np.flatnonzero(mask)[0])),
            )
        for lane in np.flatnonzero(mask).tolist():
            answer = system(threads, lane, places)
            if put is not None:
                at = int(threads.local_offsets[lane]) + put
                data = (answer & ((1 << 8 * width) - 1)).to_bytes(width, "little")
                threads.wave.local.bytes[at : at + width] = list(data)
        return [(group.pc + 1, mask)]

    return Step(one.line, one.name, jump=go)


def _destination(operand: Operand) -> str:
    return operand.name if isinstance(operand, Register) else label_of(operand)


def _transfer(
    source: Operand, of: Scope, target: str, to: Scope, variable: Variable
) -> tuple[Take, Put]:
    """Copy a parameter between functions: registers, or memory of each thread."""
    if variable.space == "reg" or not isinstance(source, Symbol):
        type_ = variable.type
        source = Register(source.name) if isinstance(source, Symbol) else source
        read, write = of.read(source, type_), to.write(Register(target), type_)
        return (
            lambda threads, mask: np.array(read(threads)),
            lambda threads, mask, value: write(threads, mask, value),
        )
    begin, end_ = of.place(source.name)[1], to.place(target)[1]
    span = np.arange(variable.size)

    def take(threads: Threads, mask: Mask) -> NDArray:
        base = threads.local_offsets[mask][:, None] + span
        return threads.wave.local.bytes[base + begin]

    def put(threads: Threads, mask: Mask, value: NDArray) -> None:
        base = threads.local_offsets[mask][:, None] + span
        threads.wave.local.bytes[base + end_] = value

    return take, put


@instruction("stacksave", "stackrestore", "alloca")
def stack(one: Instruction, scope: Scope) -> Operation:
    """Memory of a thread that a function takes as it runs: its top is a register."""
    program = scope.program
    top = program.stack_pointer()
    type_ = element_type(one)
    if one.opcode == "stackrestore":
        back = scope.read(one.operands[0], type_)
        return lambda threads, mask: top.write(threads, mask, back(threads))
    write = scope.write(one.operands[0], type_)
    if one.opcode == "stacksave":
        return lambda threads, mask: write(threads, mask, top.read(threads))
    size = scope.read(one.operands[1], type_)
    aligned = one.operands[2] if len(one.operands) > 2 else Integer(8)
    alignment = getattr(aligned, "value", 8)

    def take(threads: Threads, mask: Mask) -> None:
        start = -(-top.read(threads).astype(np.int64) // alignment) * alignment
        end_ = start + size(threads).astype(np.int64)
        over = mask & (end_ > STACK_BYTES)
        if over.any():
            raise DeviceError(
                f"expected at most {STACK_BYTES} bytes of stack, got {end_[over][0]}",
                where=threads.describe(int(np.flatnonzero(over)[0])),
            )
        write(threads, mask, (start + program.stack_base).astype(np.uint64))
        top.write(threads, mask, end_.astype(np.uint64))

    return take
