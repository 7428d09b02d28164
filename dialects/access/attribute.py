"""The attribute of an access map, and its text."""

from __future__ import annotations

from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from stepwell.dialects.dims import parse_dim_with

from .maps import AccessMap, Fill, Guard, Indirect


@irdl_attr_definition
class AccessAttr(Data[AccessMap]):
    """An access map as an attribute: `#fusion.access<(n, p) -> [n, p * 2 - 1]>`."""

    name = "fusion.access"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> AccessMap:
        with parser.in_angle_brackets():
            dims = parser.parse_comma_separated_list(
                parser.Delimiter.PAREN, parser.parse_identifier
            )
            parser.parse_punctuation("->")
            return parse_body(parser, tuple(dims))

    def print_parameter(self, printer: Printer) -> None:
        printer.print_string(f"<{self.data}>")


def parse_body(parser: AttrParser, dims: tuple[str, ...]) -> AccessMap:
    """Read what `AccessMap.body_text` prints."""
    square = parser.Delimiter.SQUARE
    results = parser.parse_comma_separated_list(square, lambda: parse_dim_with(parser))
    guards: list[Guard] = []
    fill: Fill | None = None
    indirects: list[Indirect] = []
    if parser.parse_optional_keyword("where"):
        guards = parser.parse_comma_separated_list(square, lambda: _parse_guard(parser))
        if parser.parse_optional_keyword("else"):
            fill = _parse_fill(parser)
    if parser.parse_optional_keyword("with"):
        indirects = parser.parse_comma_separated_list(
            square, lambda: _parse_indirect(parser)
        )
    return AccessMap(dims, tuple(results), tuple(guards), fill, tuple(indirects))


def _parse_fill(parser: AttrParser) -> Fill:
    sign = -1 if parser.parse_optional_punctuation("-") else 1
    for word in ("inf", "nan"):
        if parser.parse_optional_keyword(word):
            return sign * float(word)
    return sign * parser.parse_number(allow_boolean=False)


def _parse_guard(parser: AttrParser) -> Guard:
    expr = parse_dim_with(parser)
    parser.parse_punctuation("<")
    return Guard(expr, parse_dim_with(parser))


def _parse_indirect(parser: AttrParser) -> Indirect:
    parser.parse_identifier()
    parser.parse_punctuation("=")
    operand = parser.parse_integer(allow_boolean=False, allow_negative=False)
    index = parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: parse_dim_with(parser)
    )
    return Indirect(operand, tuple(index))
