"""PTX text to a syntax tree: modules, functions, instructions, operands.

Follows the PTX ISA's chapters "Syntax" and "State Spaces, Types, and Variables". The
parser reads instructions by their general form (guard, opcode with modifiers, operands)
and knows no opcode; meaning is the business of the instruction tables.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from stepwell.errors import ModelError

TOKEN = re.compile(
    r"""
    (?P<space>(?:\s+|//[^\n]*|/\*.*?\*/)+)
  | (?P<string>"[^"]*")
  | (?P<float>0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|\d+\.\d*(?:[eE][+-]?\d+)?)
  | (?P<int>0[xX][0-9a-fA-F]+U?|0[bB][01]+U?|\d+U?)
  | (?P<directive>\.(?:reg|param|shared|global|const|local)(?=\.))
  | (?P<word>[%$._a-zA-Z][\w$%]*(?:(?:\.|::)[\w$%]+)*)
  | (?P<mark>[{}()\[\],;:@!|<>=+\-*~])
    """,
    re.VERBOSE | re.DOTALL,
)

WIDTHS = {
    "pred": 1,
    **{f"{kind}{bits}": bits for kind in "bus" for bits in (8, 16, 32, 64)},
    "b128": 128,
    "f16": 16,
    "bf16": 16,
    "f16x2": 32,
    "bf16x2": 32,
    "u16x2": 32,
    "s16x2": 32,
    "f32": 32,
    "f64": 64,
    "tf32": 32,
}
"""Bits of each fundamental type."""


@dataclass(frozen=True)
class Register:
    """A virtual register, by name."""

    name: str


@dataclass(frozen=True)
class Integer:
    """An integer constant."""

    value: int


@dataclass(frozen=True)
class Float:
    """A floating-point constant by its bits: 32 (`0f...`) or 64 (`0d...`) of them."""

    bits: int
    width: int


@dataclass(frozen=True)
class Symbol:
    """A variable, parameter, function or label, with a byte offset."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Address:
    """`[base + offset]`; tensor copies add the coordinates of a tile."""

    base: Register | Symbol | Integer
    offset: int = 0
    coordinates: tuple[Operand, ...] = ()


@dataclass(frozen=True)
class Vector:
    """`{a, b, ...}`."""

    elements: tuple[Operand, ...]


@dataclass(frozen=True)
class Pair:
    """`p|q`: two destinations."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Not:
    """`!p`."""

    operand: Register


@dataclass(frozen=True)
class Selected:
    """`%r.b0`, `%r.h1`, `%r.h10`: parts of a register."""

    operand: Register
    part: str


@dataclass(frozen=True)
class Group:
    """`(a, b)`: the arguments or results of a call."""

    elements: tuple[Operand, ...]


Operand = (
    Register
    | Integer
    | Float
    | Symbol
    | Address
    | Vector
    | Pair
    | Not
    | Selected
    | Group
)
SINK = Symbol("_")
"""The operand that throws a result away."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    `opcode` and `modifiers` are the dotted parts of `ld.global.v2.f32`; `guard` is the
    predicate of `@p` and whether it is negated (`@!p`); `line` counts from one.
    """

    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: tuple[str, bool] | None
    line: int

    @property
    def name(self) -> str:
        """The opcode with its modifiers, as written."""
        return ".".join((self.opcode, *self.modifiers))


@dataclass(frozen=True)
class Variable:
    """A declared variable or parameter.

    `space` is reg, param, shared, global, const or local; `count` is the number of
    elements (0: as much as the launch gives); `initial` holds the elements' values.
    """

    name: str
    space: str
    type: str
    count: int | None = None
    alignment: int = 1
    initial: tuple[Operand, ...] = ()
    external: bool = False

    @property
    def size(self) -> int:
        """Bytes it takes; zero if the launch decides."""
        return max(1, WIDTHS[self.type] // 8) * (
            1 if self.count is None else self.count
        )


@dataclass
class Function:
    """An entry or a device function; `labels` map to indices of `body`."""

    name: str
    is_entry: bool
    parameters: list[Variable] = field(default_factory=list[Variable])
    results: list[Variable] = field(default_factory=list[Variable])
    variables: list[Variable] = field(default_factory=list[Variable])
    body: list[Instruction] = field(default_factory=list[Instruction])
    labels: dict[str, int] = field(default_factory=dict[str, int])
    tables: dict[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    directives: dict[str, tuple[int, ...]] = field(
        default_factory=dict[str, tuple[int, ...]]
    )


@dataclass
class Module:
    """A PTX translation unit."""

    version: str = ""
    target: str = ""
    functions: dict[str, Function] = field(default_factory=dict[str, Function])
    variables: dict[str, Variable] = field(default_factory=dict[str, Variable])


class Token(NamedTuple):
    """A token, its kind, and the line it stands on."""

    kind: str
    text: str
    line: int


def tokenize(text: str) -> list[Token]:
    """The tokens of PTX text. Raises ModelError at a character PTX does not have."""
    tokens: list[Token] = []
    position, line = 0, 1
    for match in TOKEN.finditer(text):
        if match.start() != position:
            break
        position, kind = match.end(), match.lastgroup or ""
        if kind == "space":
            line += match.group().count("\n")
        else:
            tokens.append(Token(kind, match.group(), line))
    if position < len(text):
        raise ModelError(
            f"not PTX: unexpected {text[position]!r}", where=f"line {line}"
        )
    return tokens


def float_bits(text: str) -> Float:
    """`0f3F800000`, `0d...` or decimal (which is double precision)."""
    if text[:2].lower() == "0f":
        return Float(int(text[2:], 16), 32)
    if text[:2].lower() == "0d":
        return Float(int(text[2:], 16), 64)
    return Float(struct.unpack("<Q", struct.pack("<d", float(text)))[0], 64)


def integer_value(text: str) -> int:
    """A hexadecimal, binary, octal or decimal literal, with or without `U`."""
    digits = text.rstrip("U")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    return int(digits, 8) if octal else int(digits, 0)
