"""From a parsed module to steps: registers get rows, variables addresses.

An opcode's meaning is a *builder*: a function of the instruction and the `Scope` it
stands in that returns the operation to run. Builders register themselves by opcode, in
the files of `instructions/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import ModelError, UnsupportedError

from .machine import Mask, Operation, Registers, Step, Threads
from .registers import NUMPY_TYPES, Layout, RowView, Slot
from .syntax import (
    SINK,
    WIDTHS,
    Address,
    Float,
    Function,
    Group,
    Instruction,
    Integer,
    Module,
    Not,
    Operand,
    Pair,
    Register,
    Symbol,
    Variable,
    Vector,
)
from .wave import SPECIAL

__all__ = ["SPECIAL", "Read", "Scope", "Write", "instruction", "jump", "translate"]

Value = NDArray
Read = Callable[[Threads], Value]
Write = Callable[[Threads, Mask, Value], None]
Builder = Callable[[Instruction, "Scope"], Operation]
JumpBuilder = Callable[[Instruction, "Scope"], Step]

BUILDERS: dict[str, Builder] = {}
JUMPS: dict[str, JumpBuilder] = {}


def instruction(*opcodes: str) -> Callable[[Builder], Builder]:
    """Register a builder for opcodes."""

    def register(builder: Builder) -> Builder:
        for opcode in opcodes:
            BUILDERS[opcode] = builder
        return builder

    return register


def jump(*opcodes: str) -> Callable[[JumpBuilder], JumpBuilder]:
    """Register a builder for opcodes that decide where threads go next."""

    def register(builder: JumpBuilder) -> JumpBuilder:
        for opcode in opcodes:
            JUMPS[opcode] = builder
        return builder

    return register


def unsupported(one: Instruction, what: str | None = None) -> UnsupportedError:
    """The error for an instruction, or a form of one, that is not emulated."""
    return UnsupportedError(
        f"the emulator has no {what or one.name}", where=f"PTX line {one.line}"
    )


def element_type(one: Instruction) -> str:
    """The last modifier that is a type: the type of `ld.global.v2.f32`."""
    for modifier in reversed(one.modifiers):
        if modifier in WIDTHS:
            return modifier
    raise unsupported(one)


@dataclass
class Program:
    """A translated module.

    `entries` maps a kernel's name to its first step; `parameters` and `directives` are
    the functions' own; `shared_size` and `local_size` count the declared bytes.
    """

    module: Module
    layout: Layout
    code: list[Step] = field(default_factory=list[Step])
    entries: dict[str, int] = field(default_factory=dict[str, int])
    scopes: dict[str, Scope] = field(default_factory=lambda: dict[str, "Scope"]())
    returns: dict[tuple[str, int], Leave] = field(
        default_factory=dict[tuple[str, int], "Leave"]
    )
    translated: dict[str, bool] = field(default_factory=dict[str, bool])
    shared_size: int = 0
    local_size: int = 0
    stack_base: int = 0
    stack_row: int | None = None
    dynamic_shared: tuple[str, ...] = ()
    addresses: dict[str, tuple[str, int]] = field(
        default_factory=dict[str, tuple[str, int]]
    )

    def stack_pointer(self) -> Cell:
        """The register that holds the bytes a thread has taken from its stack."""
        if STACK not in self.scopes:
            raise ModelError("no stack was laid out")
        scope = self.scopes[STACK]
        register = Register(STACK)
        return Cell(scope.read(register, "u64"), scope.write(register, "u64"))


@dataclass(frozen=True)
class Cell:
    """How to read and write a register."""

    read: Read
    write: Write


Leave = Callable[["Threads", tuple[int, ...], "Mask"], None]
"""What to do when threads return: the calls that they are still inside of are given."""
CODE_BASE = 0x0300_0000_0000
"""Addresses of functions begin here."""
STACK, STACK_BYTES = "%stack", 1 << 12
"""The register for `alloca`, and how much of it a thread has."""


@dataclass
class Scope:
    """Where an instruction stands: its function's registers, labels and variables."""

    program: Program
    function: Function
    registers: dict[str, Slot]
    variables: dict[str, tuple[str, int]]
    first: int

    @property
    def declared(self) -> list[Variable]:
        """All variables of the function, those that its callers fill included."""
        function = self.function
        if function.is_entry:
            return [*function.variables]
        return [*function.variables, *function.parameters, *function.results]

    def slot(self, name: str) -> Slot:
        """The place of a register."""
        try:
            return self.registers[name]
        except KeyError:
            raise ModelError(f"register {name} is not declared") from None

    def label(self, label: str) -> int:
        """The step that a label stands before."""
        try:
            return self.first + self.function.labels[label]
        except KeyError:
            raise ModelError(f"label {label} is not in {self.function.name}") from None

    def place(self, name: str) -> tuple[str, int]:
        """State space and offset of a variable."""
        found = self.variables.get(name) or self.program.addresses.get(name)
        if found is None:
            raise ModelError(f"variable {name} is not declared")
        return found

    def view(self, operand: Operand, type_: str) -> int | None:
        """The number of an operand among the views of rows; None for `!p`.

        `threads.rows[number]` is its value: an array, or for a constant a scalar.
        """
        dtype = NUMPY_TYPES[type_]
        layout = self.program.layout
        if isinstance(operand, Not):
            return None
        if not isinstance(operand, Register):
            constant = self._constant(operand, type_, dtype)
            return layout.number(RowView("constant", 0, dtype, constant))
        if operand.name in SPECIAL and operand.name not in self.registers:
            return layout.number(RowView("special", operand.name, dtype))
        slot = self.slot(operand.name)
        if slot.bank == "pred":
            dtype = NUMPY_TYPES["pred"]
        return layout.number(RowView(slot.bank, slot.row, dtype))

    def target(self, operand: Operand, type_: str) -> int | None:
        """The number of a destination's row; None if it is wider, or the sink."""
        if not isinstance(operand, Register):
            return None
        bank = self.slot(operand.name).bank
        size = NUMPY_TYPES[type_].itemsize
        if bank == "pred":
            return self.view(operand, "pred") if type_ == "pred" else None
        return self.view(operand, type_) if int(bank[1:]) == 8 * size else None

    def read(self, operand: Operand, type_: str) -> Read:
        """How to read an operand as a value of `type_`."""
        if isinstance(operand, Not):
            inner = self.read(operand.operand, "pred")
            return lambda threads: ~inner(threads)
        number = self.view(operand, type_)
        assert number is not None
        return lambda threads: threads.rows[number]

    def _constant(self, operand: Operand, type_: str, dtype: np.dtype) -> Value:
        if isinstance(operand, Float):
            source = np.array(operand.bits, f"u{operand.width // 8}")
            number = source.view(f"f{operand.width // 8}")
            kept = type_ in ("f32", "f64", "f16", "bf16", "tf32")
            return number.astype(dtype) if kept else source.astype(dtype)
        if isinstance(operand, Integer):
            if type_ == "pred":
                return np.array(bool(operand.value))
            if dtype.kind == "f":
                bits = np.array(operand.value, f"u{dtype.itemsize}")
                return bits.view(dtype)
            bits = operand.value & ((1 << (8 * dtype.itemsize)) - 1)
            return np.array(bits, f"u{dtype.itemsize}").view(dtype)
        if isinstance(operand, Symbol):
            _, offset = self.place(operand.name)
            return np.array(offset + operand.offset, np.uint64).astype(dtype)
        raise ModelError(f"expected a register or a constant, got {operand}")

    def write(self, operand: Operand, type_: str) -> Write:
        """How to write a value of `type_` into an operand, for the threads of a mask.

        A destination wider than the type is filled by sign extension for signed types
        and with zeros for others (ISA, "Operand Size Exceeding Instruction-Type Size").
        """
        if operand == SINK:
            return lambda threads, mask, value: None
        if not isinstance(operand, Register):
            raise ModelError(f"expected a destination register, got {operand}")
        bank = self.slot(operand.name).bank
        dtype = NUMPY_TYPES[type_]
        if bank == "pred" or int(bank[1:]) == dtype.itemsize * 8:
            return self._assignment(self.view(operand, type_))
        signed = "s" if type_[0] == "s" else "u"
        wide = self._assignment(self.view(operand, f"{signed}{bank[1:]}"))

        def extend(threads: Threads, mask: Mask, value: Value) -> None:
            bits = np.asarray(value, dtype)
            if dtype.kind not in "iu":
                bits = bits.view(f"u{dtype.itemsize}")
            wide(threads, mask, bits)

        return extend

    @staticmethod
    def _assignment(number: int | None) -> Write:
        assert number is not None

        def assign(threads: Threads, mask: Mask, value: Value) -> None:
            if mask is threads.everyone:
                threads.rows[number][...] = value
            else:
                np.copyto(threads.rows[number], value, where=mask, casting="unsafe")

        return assign

    def guard(self, one: Instruction) -> Read | None:
        """How to read an instruction's predicate."""
        if one.guard is None:
            return None
        name, negated = one.guard
        operand = Register(name)
        return self.read(Not(operand) if negated else operand, "pred")


def translate(module: Module, globals_: dict[str, int]) -> Program:
    """Lay out a module; `require` translates its functions when they are needed.

    `globals_` holds the addresses of its `.global` and `.const` variables.
    """
    program = Program(module, Layout())
    for name, address in globals_.items():
        program.addresses[name] = ("global", address)
    _place_shared(program, list(module.variables.values()), program.addresses)
    scopes: list[Scope] = []
    first = 0
    for function in module.functions.values():
        scopes.append(_scope(program, function, first))
        program.entries[function.name] = first
        program.addresses[function.name] = ("code", CODE_BASE + first)
        first += len(function.body) + 1
    for scope in scopes:
        program.scopes[scope.function.name] = scope
    program.code = [Step(0, "untranslated")] * first
    _place_stack(program)
    return program


def _place_stack(program: Program) -> None:
    """Give threads a stack, if any function takes from it."""
    functions = program.module.functions.values()
    if not any(one.opcode == "alloca" for f in functions for one in f.body):
        return
    function = Function(STACK, False, variables=[Variable(STACK, "reg", "b64")])
    program.scopes[STACK] = _scope(program, function, 0)
    program.stack_row = program.scopes[STACK].slot(STACK).row
    program.stack_base = -(-program.local_size // 16) * 16
    program.local_size = program.stack_base + STACK_BYTES


def require(program: Program, name: str) -> None:
    """Translate a function, and those it calls, unless that is done.

    Raises:
        UnsupportedError: it has an instruction that is not emulated.
        ModelError: it breaks the rules of PTX.
    """
    if program.translated.get(name):
        return
    if name in program.translated:
        return  # it calls itself, and is being translated
    scope = program.scopes[name]
    program.translated[name] = False
    steps = [_step(one, scope) for one in scope.function.body]
    steps.append(JUMPS["ret"](_FALL_OFF, scope))
    program.code[scope.first : scope.first + len(steps)] = steps
    program.translated[name] = True


_FALL_OFF = Instruction("ret", (), (), None, 0)


def _place_shared(
    program: Program, variables: list[Variable], places: dict[str, tuple[str, int]]
) -> None:
    dynamic: list[str] = []
    for variable in variables:
        if variable.space != "shared":
            continue
        if variable.count == 0:
            dynamic.append(variable.name)
            continue
        start = -(-program.shared_size // variable.alignment) * variable.alignment
        places[variable.name] = ("shared", start)
        program.shared_size = start + variable.size
    # Dynamic shared memory begins behind what is declared with a size.
    program.shared_size = (
        -(-program.shared_size // 1024) * 1024 if dynamic else (program.shared_size)
    )
    for name in dynamic:
        places[name] = ("shared", program.shared_size)
    program.dynamic_shared += tuple(dynamic)


def _scope(program: Program, function: Function, first: int) -> Scope:
    registers: dict[str, Slot] = {}
    places: dict[str, tuple[str, int]] = {}
    scope = Scope(program, function, registers, places, first)
    _place_shared(program, scope.declared, places)
    for variable in scope.declared:
        if variable.space == "reg":
            registers[variable.name] = program.layout.place(variable)
        elif variable.space in ("local", "param"):
            start = -(-program.local_size // 16) * 16
            places[variable.name] = ("local", start)
            program.local_size = start + variable.size
    if function.is_entry:
        offset = 0
        for parameter in function.parameters:
            offset = -(-offset // parameter.alignment) * parameter.alignment
            places[parameter.name] = ("param", offset)
            offset += parameter.size
    return scope


def _step(one: Instruction, scope: Scope) -> Step:
    guard = scope.guard(one)
    registers = cache(partial(_registers, one, scope))
    builder = BUILDERS.get(one.opcode)
    try:
        if one.opcode in JUMPS:
            step = JUMPS[one.opcode](one, scope)
            return Step(
                one.line, one.name, None, step.jump, guard, step.target, registers
            )
        if builder is None:
            raise unsupported(one)
        operation = builder(one, scope)
    except ModelError as error:
        raise ModelError(error.summary, where=f"PTX line {one.line}") from None
    return Step(one.line, one.name, operation, None, guard, None, registers)


NO_RESULT = ("st", "red", "stmatrix", "cp", "bar", "barrier", "bra", "wgmma", "call")
"""Opcodes whose first operand is not written."""


def _registers(one: Instruction, scope: Scope) -> Registers:
    """The rows of 32-bit registers that an instruction uses."""
    groups = [frozenset(_rows(operand, scope)) for operand in one.operands]
    product = frozenset[int]()
    if one.opcode == "wgmma":
        product = product.union(
            *(_rows(o, scope) for o in one.operands if isinstance(o, Vector))
        )
    written = groups[0] if groups and one.opcode not in NO_RESULT else product
    return Registers(frozenset[int]().union(*groups), written, product)


def _rows(operand: Operand, scope: Scope) -> list[int]:
    if isinstance(operand, Register):
        slot = scope.registers.get(operand.name)
        return [slot.row] if slot is not None and slot.bank == "b32" else []
    if isinstance(operand, Vector | Group):
        return [row for part in operand.elements for row in _rows(part, scope)]
    if isinstance(operand, Pair):
        return _rows(operand.first, scope) + _rows(operand.second, scope)
    if isinstance(operand, Address):
        return _rows(operand.base, scope)
    return []


def narrowest_access(module: Module) -> int:
    """Bytes of the narrowest load, store or atomic of a module, 4 at most."""
    narrowest = 4
    for function in module.functions.values():
        for one in function.body:
            if one.opcode in ("ld", "ldu", "st", "atom", "red"):
                index = 0 if one.opcode in ("ld", "ldu") else -1
                parts = one.operands[index]
                count = len(parts.elements) if isinstance(parts, Vector) else 1
                size = WIDTHS[element_type(one)] // 8 * count
                narrowest = min(narrowest, size)
    return narrowest


def product_rows(program: Program, entry: str) -> frozenset[int]:
    """The rows of registers that the products of a kernel use."""
    scope = program.scopes[entry]
    return frozenset[int]().union(
        *(
            _registers(one, scope).product
            for one in scope.function.body
            if one.opcode == "wgmma" and "mma_async" in one.modifiers
        )
    )
