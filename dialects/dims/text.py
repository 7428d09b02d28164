"""Reading dims: `batch * (seq + 1) floordiv 2`, `ceildiv(seq, 64)`, `min(n, 512)`."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.parser import AttrParser, Parser
from xdsl.utils.exceptions import ParseError

from stepwell.errors import ShapeError

from .expression import FUNCTIONS, Dim, ceildiv, symbol


def parse_dim(text: str) -> Dim:
    """Read a dim such as `batch * (seq + 1) floordiv 2` or `ceildiv(seq, 64)`.

    Raises:
        ShapeError: the text is not a dim expression.
    """
    parser = Parser(Context(), text)
    try:
        dim = parse_dim_with(parser)
    except ParseError as error:
        raise ShapeError(
            f"expected a dim expression, got {text!r}", notes=[str(error)]
        ) from None
    if text[parser.pos :].strip():
        raise ShapeError(
            f"expected a dim expression, got {text!r}",
            notes=[f"cannot read {text[parser.pos :]!r}"],
        )
    return dim


def parse_dim_with(parser: AttrParser) -> Dim:
    """Read a dim where `parser` stands: `term (('+' | '-') term)*`."""
    total = _parse_product(parser)
    while True:
        if parser.parse_optional_punctuation("+"):
            total = total + _parse_product(parser)
        elif parser.parse_optional_punctuation("-"):
            total = total - _parse_product(parser)
        else:
            return total


def _parse_product(parser: AttrParser) -> Dim:
    value = _parse_factor(parser)
    while True:
        if parser.parse_optional_punctuation("*"):
            value = value * _parse_factor(parser)
        elif parser.parse_optional_keyword("floordiv"):
            value = value // _parse_factor(parser)
        elif parser.parse_optional_keyword("ceildiv"):
            value = ceildiv(value, _parse_factor(parser))
        elif parser.parse_optional_keyword("mod"):
            value = value % _parse_factor(parser)
        else:
            return value


def _parse_factor(parser: AttrParser) -> Dim:
    if parser.parse_optional_punctuation("-"):
        return -_parse_factor(parser)
    if parser.parse_optional_punctuation("("):
        dim = parse_dim_with(parser)
        parser.parse_punctuation(")")
        return dim
    if (number := parser.parse_optional_integer(False, False)) is not None:
        return number
    if (quoted := parser.parse_optional_str_literal()) is not None:
        return symbol(quoted)
    name = parser.expect(parser.parse_optional_identifier, "expected a dim expression")
    if name not in FUNCTIONS:
        return symbol(name)
    operands = parser.parse_comma_separated_list(
        parser.Delimiter.PAREN, lambda: parse_dim_with(parser)
    )
    if name not in {"min", "max"} and len(operands) != 2:
        parser.raise_error(f"expected 2 operands of {name}, got {len(operands)}")
    return FUNCTIONS[name](*operands)
