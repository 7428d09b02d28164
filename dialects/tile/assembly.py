"""Assembly directives shared by the tile ops.

Tile programs are structured: a value is always defined above its use. So operands
print without their types (`tile.dot %a, %b, %acc`), and each op states its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    i1,
)
from xdsl.dialects.utils import (
    parse_dynamic_index_without_type,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation
from xdsl.irdl.declarative_assembly_format import (
    CustomDirective,
    OperandVariable,
    OptionalOperandVariable,
    ParsingState,
    PrintingState,
    TypeDirective,
    VariadicOperandVariable,
    irdl_custom_directive,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException


def type_of_operand(parser: Parser, operand: UnresolvedOperand) -> Attribute:
    """The type of an already defined value; a parse error where there is none."""
    values = parser.ssa_values.get(operand.operand_name)
    if values is None or operand.index >= len(values):
        parser.raise_error(
            f"value %{operand.operand_name} is used before it is defined", operand.span
        )
    return values[operand.index].type


@irdl_custom_directive
class Value(CustomDirective):
    """One operand, whose type is the type of the value it names."""

    operand: OperandVariable
    kind: TypeDirective

    def parse(self, parser: Parser, state: ParsingState) -> None:
        operand = parser.parse_unresolved_operand()
        self.operand.set(state, operand)
        self.operand.set_types(state, (type_of_operand(parser, operand),))

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        self.operand.print(printer, state, op)


@irdl_custom_directive
class OptionalValue(CustomDirective):
    """At most one operand, whose type is the type of the value it names."""

    operand: OptionalOperandVariable
    kind: TypeDirective

    def parse(self, parser: Parser, state: ParsingState) -> None:
        operand = parser.parse_optional_unresolved_operand()
        types = () if operand is None else (type_of_operand(parser, operand),)
        self.operand.set(state, operand)
        self.operand.set_types(state, types)

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        self.operand.print(printer, state, op)

    def set_empty(self, state: ParsingState) -> None:
        self.operand.set(state, None)
        self.operand.set_types(state, ())

    def is_present(self, op: IRDLOperation) -> bool:
        return self.operand.is_present(op)

    def is_anchorable(self) -> bool:
        return True

    def is_optional_like(self) -> bool:
        return True


@irdl_custom_directive
class Values(CustomDirective):
    """A comma-separated list of operands, each of its value's type."""

    operands: VariadicOperandVariable
    kinds: TypeDirective

    def parse(self, parser: Parser, state: ParsingState) -> None:
        self.operands.parse(parser, state)
        operands = state.operands[self.operands.index] or ()
        types = [type_of_operand(parser, operand) for operand in operands]
        self.operands.set_types(state, types)

    def print(self, printer: Printer, state: PrintingState, op: IRDLOperation) -> None:
        self.operands.print(printer, state, op)

    def set_empty(self, state: ParsingState) -> None:
        self.operands.set(state, ())
        self.operands.set_types(state, ())

    def is_present(self, op: IRDLOperation) -> bool:
        return self.operands.is_present(op)

    def is_anchorable(self) -> bool:
        return True

    def is_variadic_like(self) -> bool:
        return True


def one(name: str) -> str:
    """The directive of operand `name`, for an assembly format that lists `Value`."""
    return f"custom<Value>(${name}, type(${name}))"


def many(name: str) -> str:
    """The directive of the operands `name`, with `Values`."""
    return f"custom<Values>(${name}, type(${name}))"


def at_most_one(name: str) -> str:
    """The directive of the optional operand `name`, with `OptionalValue`."""
    return f"custom<OptionalValue>(${name}, type(${name}))"


def expect(condition: bool, message: str | Callable[[], str]) -> None:
    """Raise a `VerifyException` with `message` unless `condition` holds.

    A message that prints types is given as a function: printing a layout takes longer
    than the rest of the verification.
    """
    if not condition:
        raise VerifyException(message if isinstance(message, str) else message())


def parse_value(parser: Parser) -> SSAValue:
    """Read an operand of an already defined value."""
    operand = parser.parse_unresolved_operand()
    return parser.resolve_operand(operand, type_of_operand(parser, operand))


def parse_indices(parser: Parser) -> list[SSAValue | int]:
    """Read `[%i, 0, %j]`: index values and numbers."""

    def index() -> SSAValue | int:
        item = parse_dynamic_index_without_type(parser)
        if isinstance(item, int):
            return item
        return parser.resolve_operand(item, IndexType())

    return parser.parse_comma_separated_list(parser.Delimiter.SQUARE, index)


def print_indices(printer: Printer, indices: Sequence[SSAValue | int]) -> None:
    """Write what `parse_indices` reads."""

    def print_index(index: SSAValue | int) -> None:
        if isinstance(index, int):
            printer.print_int(index)
        else:
            printer.print_ssa_value(index)

    with printer.in_square_brackets():
        printer.print_list(indices, print_index)


def scalar_attr(
    value: float | int | FloatAttr | IntegerAttr, element: Attribute
) -> FloatAttr | IntegerAttr:
    """A number as an attribute of an element type.

    Raises:
        VerifyException: the type is no number type, or the number does not fit it.
    """
    if isinstance(value, FloatAttr | IntegerAttr):
        return value
    if isinstance(element, AnyFloat):
        return FloatAttr(float(value), element)
    if isinstance(element, IntegerType | IndexType) and value == int(value):
        return IntegerAttr(int(value), element)
    raise VerifyException(f"{value} is not a value of type {element}")


def parse_scalar(parser: Parser) -> float | int:
    """Read a number, `inf`, `-inf` or `nan`."""
    negative = parser.parse_optional_punctuation("-") is not None
    word = parser.parse_optional_keyword_in(["inf", "nan", "true", "false"])
    if word in ("true", "false"):
        return int(word == "true")
    number = float(word) if word else parser.parse_number(allow_boolean=False)
    return -number if negative else number


def print_scalar(printer: Printer, attr: FloatAttr | IntegerAttr) -> None:
    """Write what `parse_scalar` reads; the type is known from elsewhere."""
    text = str(attr.value.data)
    if attr.type == i1:
        text = "true" if attr.value.data else "false"
    if isinstance(attr, FloatAttr) and "e" in text and isfinite(attr.value.data):
        printer.print_float(attr.value.data, attr.type)
    else:
        printer.print_string(text)
