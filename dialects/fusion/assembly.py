"""Text of structured ops: iteration space, inputs with maps, results with maps."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, SSAValue
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer

from stepwell.dialects.access import AccessMap, parse_body
from stepwell.dialects.shapes import Dim, parse_dim_with

DEFAULT_ITERATOR = "parallel"


def print_dims(printer: Printer, space: Sequence[tuple[str, Dim, str]]) -> None:
    """Write ` [m: 64, reduction k: 128]`."""
    texts = (
        f"{name}: {size}" if kind == DEFAULT_ITERATOR else f"{kind} {name}: {size}"
        for name, size, kind in space
    )
    printer.print_string(f" [{', '.join(texts)}]")


def parse_dims(parser: Parser) -> list[tuple[str, Dim, str]]:
    """Read what `print_dims` writes."""
    return parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: _parse_dim(parser)
    )


def print_ins(
    printer: Printer, values: Sequence[SSAValue], maps: Sequence[AccessMap]
) -> None:
    """Write ` ins(%a[m, k] : tensor<...>, ...)`."""
    printer.print_string(" ins(")
    for position, (value, access) in enumerate(zip(values, maps, strict=True)):
        printer.print_string(", " if position else "")
        printer.print_ssa_value(value)
        printer.print_string(f"{access.body_text()} : ")
        printer.print_attribute(value.type)
    printer.print_string(")")


def parse_ins(
    parser: Parser, dims: tuple[str, ...]
) -> tuple[list[SSAValue], list[AccessMap]]:
    """Read what `print_ins` writes."""
    parser.parse_keyword("ins")
    position = parser.pos
    entries = parser.parse_comma_separated_list(
        parser.Delimiter.PAREN, lambda: _parse_in(parser, dims)
    )
    values = parser.resolve_operands(
        [operand for operand, _, _ in entries],
        [kind for _, _, kind in entries],
        position,
    )
    return list(values), [access for _, access, _ in entries]


def print_outs(
    printer: Printer,
    outs: Sequence[tuple[str, AccessMap, SSAValue]],
    dests: Sequence[SSAValue],
) -> None:
    """Write ` outs(add [m, n] into %c : tensor<...>, ...)`."""
    printer.print_string(" outs(")
    for position, (combine, access, result) in enumerate(outs):
        printer.print_string(", " if position else "")
        printer.print_string(f"{combine} {access.body_text()}")
        if dests:
            printer.print_string(" into ")
            printer.print_ssa_value(dests[position])
        printer.print_string(" : ")
        printer.print_attribute(result.type)
    printer.print_string(")")


def parse_outs(
    parser: Parser, dims: tuple[str, ...]
) -> tuple[list[str], list[AccessMap], list[SSAValue], list[Attribute]]:
    """Read what `print_outs` writes: combine kinds, maps, destinations, types."""
    parser.parse_keyword("outs")
    position = parser.pos
    entries = parser.parse_comma_separated_list(
        parser.Delimiter.PAREN, lambda: _parse_out(parser, dims)
    )
    types = [kind for _, _, _, kind in entries]
    given = [(dest, kind) for _, _, dest, kind in entries if dest is not None]
    if given and len(given) != len(entries):
        parser.raise_error("expected a destination for every result or for none")
    dests = parser.resolve_operands(
        [dest for dest, _ in given], [kind for _, kind in given], position
    )
    return [e[0] for e in entries], [e[1] for e in entries], list(dests), types


def _parse_dim(parser: Parser) -> tuple[str, Dim, str]:
    first = parser.parse_identifier()
    second = parser.parse_optional_identifier()
    name, kind = (first, DEFAULT_ITERATOR) if second is None else (second, first)
    parser.parse_punctuation(":")
    return name, parse_dim_with(parser), kind


def _parse_in(
    parser: Parser, dims: tuple[str, ...]
) -> tuple[UnresolvedOperand, AccessMap, Attribute]:
    operand = parser.parse_unresolved_operand()
    access = parse_body(parser, dims)
    parser.parse_punctuation(":")
    return operand, access, parser.parse_type()


def _parse_out(
    parser: Parser, dims: tuple[str, ...]
) -> tuple[str, AccessMap, UnresolvedOperand | None, Attribute]:
    combine = parser.parse_identifier()
    access = parse_body(parser, dims)
    dest = None
    if parser.parse_optional_keyword("into"):
        dest = parser.parse_unresolved_operand()
    parser.parse_punctuation(":")
    return combine, access, dest, parser.parse_type()
