"""The PTX parser: tokens to `Module`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from stepwell.errors import ModelError

from .syntax import (
    SINK,
    WIDTHS,
    Address,
    Function,
    Group,
    Instruction,
    Integer,
    Module,
    Not,
    Operand,
    Pair,
    Register,
    Selected,
    Symbol,
    Token,
    Variable,
    Vector,
    float_bits,
    integer_value,
    tokenize,
)

SPACES = (".reg", ".param", ".shared", ".global", ".const", ".local")
LINKAGE = (".visible", ".extern", ".weak", ".common")
LIST_DIRECTIVES = (
    ".maxntid",
    ".reqntid",
    ".minnctapersm",
    ".maxnreg",
    ".maxnctapersm",
    ".reqnctapercluster",
    ".maxclusterrank",
)
PARTS = re.compile(r"([\w$%]+)\.([bh][0-7]{1,4})")
"""A register and the bytes or halves of it that a video instruction takes."""
FLAG_DIRECTIVES = (".explicitcluster", ".noreturn", ".blocksareclusters")


def parse(text: str) -> Module:
    """Parse a PTX module.

    Raises:
        ModelError: the text is not PTX; names the line and what was expected.
    """
    return _Parser(tokenize(text.rstrip("\0"))).module()


class _Parser:
    """Recursive descent over the tokens; one method per construct of the grammar."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = [*tokens, Token("end", "", tokens[-1].line if tokens else 1)]
        self._at = 0
        self._module = Module()
        self._scope = 0

    # Tokens.

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += 1
        return token

    def _accept(self, *texts: str) -> str | None:
        return self._take().text if self._next.text in texts else None

    def _expect(self, *texts: str) -> str:
        if self._next.text not in texts:
            raise self._error(f"expected {' or '.join(texts)}")
        return self._take().text

    def _error(self, summary: str) -> ModelError:
        got = self._next.text or "the end of the file"
        return ModelError(f"{summary}, got {got}", where=f"line {self._next.line}")

    def _integer(self) -> int:
        negative = self._accept("-") is not None
        if self._next.kind != "int":
            raise self._error("expected an integer")
        value = integer_value(self._take().text)
        return -value if negative else value

    def _name(self) -> str:
        if self._next.kind != "word":
            raise self._error("expected a name")
        return self._take().text

    # Module level.

    def module(self) -> Module:
        """The whole translation unit."""
        while self._next.kind != "end":
            self._declaration()
        return self._module

    def _declaration(self) -> None:
        if self._accept(".version"):
            self._module.version = self._take().text
        elif self._accept(".target"):
            self._module.target = self._name()
            while self._accept(","):
                self._name()
        elif self._accept(".address_size"):
            self._integer()
        elif self._next.text in (".file", ".section", ".loc", ".pragma"):
            self._skip_debug()
        elif self._next.text == ".alias":
            raise self._error("expected a declaration Stepwell knows")
        else:
            self._linked_declaration()

    def _skip_debug(self) -> None:
        kind = self._take().text
        if kind == ".section":
            while self._take().text != "}":
                pass
            return
        line = self._tokens[self._at - 1].line
        while self._next.kind != "end" and (
            self._next.line == line or self._next.text in (";", ",")
        ):
            if self._take().text == ";":
                return

    def _linked_declaration(self) -> None:
        external = False
        while (linkage := self._accept(*LINKAGE)) is not None:
            external |= linkage == ".extern"
        if self._next.text in (".entry", ".func"):
            self._function()
            return
        for variable in self._variables(external):
            self._module.variables[variable.name] = variable

    def _variables(self, external: bool = False) -> list[Variable]:
        space = self._expect(*SPACES)[1:]
        alignment = self._attributes()
        type_ = self._type()
        if type_ in ("v2", "v4"):
            factor, type_ = int(type_[1:]), self._type()
        else:
            factor = 1
        found = [self._variable(space, type_, alignment, external, factor)]
        while self._accept(","):
            found.append(self._variable(space, type_, alignment, external, factor))
        self._expect(";")
        return found

    def _attributes(self) -> int:
        alignment = 1
        while True:
            if self._accept(".align"):
                alignment = self._integer()
            elif self._accept(".attribute"):
                while self._take().text != ")":
                    pass
            else:
                return alignment

    def _type(self) -> str:
        name = self._name()[1:]
        if name not in WIDTHS and name not in ("v2", "v4", "texref", "samplerref"):
            self._at -= 1
            raise self._error("expected a type")
        return name

    def _variable(
        self, space: str, type_: str, alignment: int, external: bool, factor: int
    ) -> Variable:
        name = self._name()
        count: int | None = None if factor == 1 else factor
        while self._accept("["):
            extent = 0 if self._next.text == "]" else self._integer()
            self._expect("]")
            count = extent * (1 if count is None else count)
        initial: tuple[Operand, ...] = ()
        if self._accept("="):
            initial = self._initial_values()
        width = max(1, WIDTHS[type_] // 8)
        return Variable(
            name, space, type_, count, max(alignment, width), initial, external
        )

    def _initial_values(self) -> tuple[Operand, ...]:
        if not self._accept("{"):
            return (self._operand(),)
        values: list[Operand] = []
        while not self._accept("}"):
            if self._next.text == "{":
                values += self._initial_values()
            else:
                values.append(self._operand())
            self._accept(",")
        return tuple(values)

    # Functions.

    def _function(self) -> None:
        is_entry = self._take().text == ".entry"
        results = [] if is_entry else self._parameter_list()
        function = Function(self._name(), is_entry, results=results)
        function.parameters = self._parameter_list()
        while self._next.text.startswith("."):
            self._function_directive(function)
        if self._accept(";"):
            return
        self._block(function)
        _resolve_registers(function)
        self._module.functions[function.name] = function

    def _parameter_list(self) -> list[Variable]:
        parameters: list[Variable] = []
        if not self._accept("("):
            return parameters
        while not self._accept(")"):
            space = self._expect(".param", ".reg")[1:]
            alignment = self._attributes()
            type_ = self._type()
            if self._accept(".ptr"):
                self._accept(*SPACES)
                self._attributes()
            parameters.append(self._variable(space, type_, alignment, False, 1))
            self._accept(",")
        return parameters

    def _function_directive(self, function: Function) -> None:
        name = self._take().text
        if name in LIST_DIRECTIVES:
            values = [self._integer()]
            while self._accept(","):
                values.append(self._integer())
            function.directives[name[1:]] = tuple(values)
        elif name in FLAG_DIRECTIVES:
            function.directives[name[1:]] = ()
        elif name == ".pragma":
            while self._take().text != ";":
                pass
        else:
            self._at -= 1
            raise self._error("expected a performance directive or a body")

    def _block(self, function: Function, nested: bool = False) -> None:
        self._expect("{")
        variables, first = len(function.variables), len(function.body)
        outer_labels = {*function.labels, *function.tables}
        while not self._accept("}"):
            self._statement(function)
        if nested:
            made = [*function.labels, *function.tables]
            labels = [name for name in made if name not in outer_labels]
            self._make_unique(function, variables, first, labels)

    def _make_unique(
        self, function: Function, variables: int, first: int, labels: list[str]
    ) -> None:
        """Rename what a nested block declared: other blocks may use the same names."""
        self._scope += 1
        names = [variable.name for variable in function.variables[variables:]] + labels
        renamed = {name: f"{name}@{self._scope}" for name in names}
        function.variables[variables:] = [
            replace(variable, name=renamed[variable.name])
            for variable in function.variables[variables:]
        ]
        for name in labels:
            if name in function.labels:
                function.labels[renamed[name]] = function.labels.pop(name)
            else:
                targets = function.tables.pop(name)
                function.tables[renamed[name]] = tuple(
                    renamed.get(target, target) for target in targets
                )
        function.body[first:] = [
            renamed_instruction(one, renamed) for one in function.body[first:]
        ]

    def _statement(self, function: Function) -> None:
        token = self._next
        if token.text == "{":
            self._block(function, nested=True)
        elif token.text in SPACES:
            function.variables += self._local_variables()
        elif token.text in (".loc", ".file"):
            self._skip_debug()
        elif token.text == ".pragma":
            while self._take().text != ";":
                pass
        elif token.kind == "word" and self._tokens[self._at + 1].text == ":":
            self._label(function)
        elif token.kind == "word" or token.text == "@":
            function.body.append(self._instruction())
        else:
            raise self._error("expected a statement")

    def _local_variables(self) -> list[Variable]:
        if self._next.text != ".reg":
            return self._variables()
        self._take()
        type_ = self._type()
        found: list[Variable] = []
        while True:
            name = self._name()
            if self._accept("<"):
                names = [f"{name}{index}" for index in range(self._integer())]
                self._expect(">")
            else:
                names = [name]
            found += [Variable(one, "reg", type_) for one in names]
            if not self._accept(","):
                self._expect(";")
                return found

    def _label(self, function: Function) -> None:
        name = self._name()
        self._expect(":")
        if self._accept(".branchtargets"):
            targets = [self._name()]
            while self._accept(","):
                targets.append(self._name())
            self._expect(";")
            function.tables[name] = tuple(targets)
        elif self._accept(".callprototype"):
            while self._take().text != ";":
                pass
        else:
            function.labels[name] = len(function.body)

    # Instructions.

    def _instruction(self) -> Instruction:
        line = self._next.line
        guard: tuple[str, bool] | None = None
        if self._accept("@"):
            negated = self._accept("!") is not None
            guard = (self._name(), negated)
        opcode, *modifiers = self._name().split(".")
        operands: list[Operand] = []
        while not self._accept(";"):
            operands.append(self._operand())
            if not self._accept(","):
                self._expect(";")
                break
        return Instruction(opcode, tuple(modifiers), tuple(operands), guard, line)

    def _operand(self) -> Operand:
        if self._accept("{"):
            return Vector(self._operands("}"))
        if self._accept("("):
            return Group(self._operands(")"))
        if self._accept("["):
            return self._address()
        if self._accept("!"):
            return Not(Register(self._name()))
        first = self._simple()
        return Pair(first, self._simple()) if self._accept("|") else first

    def _operands(self, closing: str) -> tuple[Operand, ...]:
        found: list[Operand] = []
        while not self._accept(closing):
            found.append(self._operand())
            self._accept(",")
        return tuple(found)

    def _simple(self) -> Operand:
        if self._next.kind == "float":
            return float_bits(self._take().text)
        if self._next.kind == "int" or self._next.text in ("-", "~"):
            inverted = self._accept("~") is not None
            value = self._integer()
            return Integer(~value if inverted else value)
        if self._next.text == "_":
            self._take()
            return SINK
        name = self._name()
        parts = PARTS.fullmatch(name)
        if parts is not None:
            return Selected(Register(parts[1]), parts[2])
        if name.startswith("%"):
            return Register(name)
        if self._next.text in ("+", "-") and self._tokens[self._at + 1].kind == "int":
            return Symbol(name, self._offset())
        if self._accept("("):  # generic(symbol), in initial values
            inner, offset = self._name(), self._offset()
            self._expect(")")
            return Symbol(inner, offset + self._offset())
        return Symbol(name)

    def _offset(self) -> int:
        sign = self._accept("+", "-")
        if sign is None:
            return 0
        value = self._integer()
        return -value if sign == "-" else value

    def _address(self) -> Address:
        base = self._simple()
        if isinstance(base, Symbol):
            base, offset = Symbol(base.name), base.offset
        else:
            offset = 0
        if not isinstance(base, Register | Symbol | Integer):
            raise self._error("expected a register, a variable or an integer")
        offset += self._offset()
        coordinates: list[Operand] = []
        while self._accept(","):
            coordinates.append(self._operand())
        self._expect("]")
        return Address(base, offset, tuple(coordinates))


def _resolve_registers(function: Function) -> None:
    """Registers may have names without `%`, which look like variables until now."""
    declared = [*function.variables, *function.parameters, *function.results]
    plain = {
        one.name: f"%{one.name}"
        for one in declared
        if one.space == "reg" and not one.name.startswith("%")
    }
    if not plain:
        return
    function.variables = [
        replace(one, name=plain.get(one.name, one.name)) for one in function.variables
    ]
    function.parameters = [
        replace(one, name=plain.get(one.name, one.name)) for one in function.parameters
    ]
    function.results = [
        replace(one, name=plain.get(one.name, one.name)) for one in function.results
    ]
    function.body = [renamed_instruction(one, plain) for one in function.body]


def renamed_instruction(one: Instruction, names: Mapping[str, str]) -> Instruction:
    """The instruction with registers, variables and labels renamed."""
    guard = one.guard
    if guard is not None:
        guard = (names.get(guard[0], guard[0]), guard[1])
    operands = tuple(renamed_operand(operand, names) for operand in one.operands)
    return replace(one, operands=operands, guard=guard)


def renamed_operand(operand: Operand, names: Mapping[str, str]) -> Operand:
    """An operand with the names in it renamed."""

    def inner(part: Operand) -> Operand:
        return renamed_operand(part, names)

    match operand:
        case Symbol(name) if names.get(name, "").startswith("%"):
            return Register(names[name])
        case Register(name) | Symbol(name):
            return replace(operand, name=names.get(name, name))
        case Address(base, _, coordinates):
            base = inner(base)
            assert isinstance(base, Register | Symbol | Integer)
            return replace(
                operand, base=base, coordinates=tuple(map(inner, coordinates))
            )
        case Vector(elements) | Group(elements):
            return replace(operand, elements=tuple(map(inner, elements)))
        case Pair(first, second):
            return Pair(inner(first), inner(second))
        case Selected(register, part):
            renamed = inner(register)
            assert isinstance(renamed, Register)
            return Selected(renamed, part)
        case Not(register):
            renamed = inner(register)
            assert isinstance(renamed, Register)
            return Not(renamed)
        case _:
            return operand
