"""Dim expressions of an engine file: `batch * (seq + 1) floordiv 2`.

The compiler writes them; this is the runtime's own reader, so that a machine that only
serves needs no compiler. Engine files may be damaged or hostile: text length, nesting
and every intermediate value are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import NoReturn, TypeAlias

from stepwell.errors import EngineFileError, InputError

MAX_TEXT = 16384
MAX_DEPTH = 100
MAX_VALUE = 2**62

Node: TypeAlias = Callable[[Mapping[str, int]], int]
Operator: TypeAlias = Callable[[int, int], int]

_TOKEN = re.compile(
    r'\s*(?:(\d+)|"((?:[^"\\]|\\.)*)"|([A-Za-z_$.][A-Za-z0-9_$.]*)|([-+*(),]))'
)


@dataclass(frozen=True)
class Expression:
    """A dim expression: its text, its symbols, and how to compute it."""

    text: str
    symbols: frozenset[str]
    compute: Node

    def __call__(self, bindings: Mapping[str, int]) -> int:
        """The value for these symbols.

        Raises:
            InputError: a divisor is not positive, or a value is absurdly large.
        """
        return self.compute(bindings)

    @property
    def is_constant(self) -> bool:
        """Whether no symbol occurs."""
        return not self.symbols


def parse(text: str | int) -> Expression:
    """Read an expression; a plain integer is one too.

    Raises:
        EngineFileError: the text is not an expression, or is too large.
    """
    if isinstance(text, int):
        value = text
        return Expression(str(text), frozenset(), lambda _: value)
    if len(text) > MAX_TEXT:
        raise EngineFileError(f"expected a dim expression, got {len(text)} characters")
    return _Reader(text).read()


def bare_symbol(text: str | int) -> str | None:
    """The symbol's name, if the expression is one symbol and nothing else."""
    if isinstance(text, int):
        return None
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        return None
    if match[2] is not None:
        return _unescape(match[2])
    return match[3]


class _Reader:
    """Recursive descent over the tokens: `sum := product (('+' | '-') product)*`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokenize(text))
        self.symbols: set[str] = set()
        self.at = 0
        self.depth = 0

    def read(self) -> Expression:
        node = self.sum()
        if self.at != len(self.tokens):
            self.fail(f"cannot read {self.tokens[self.at][1]!r}")
        return Expression(self.text, frozenset(self.symbols), node)

    def fail(self, note: str) -> NoReturn:
        raise EngineFileError(
            f"expected a dim expression, got {self.text[:200]!r}", notes=[note]
        )

    def take(self, *texts: str) -> str | None:
        """Consume the next token if it is one of these words or signs."""
        if self.at < len(self.tokens) and self.tokens[self.at] in [
            ("word", text) for text in texts
        ]:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def sum(self) -> Node:
        return self.chain(self.product, "+", "-")

    def product(self) -> Node:
        return self.chain(self.factor, "*", "floordiv", "ceildiv", "mod")

    def chain(self, operand: Callable[[], Node], *operators: str) -> Node:
        """Left-associative operators of one precedence, as one flat node."""
        first = operand()
        rest: list[tuple[Operator, Node]] = []
        while operator := self.take(*operators):
            rest.append((_BINARY[operator], operand()))
        return _chain(first, rest) if rest else first

    def factor(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"expected at most {MAX_DEPTH} levels of nesting")
        node = self.nested()
        self.depth -= 1
        return node

    def nested(self) -> Node:
        if self.take("-"):
            return _chain(lambda _: 0, [(_BINARY["-"], self.factor())])
        if self.take("("):
            node = self.sum()
            self.close()
            return node
        if function := self.take("min", "max", "floordiv", "ceildiv", "mod"):
            return self.call(function)
        if self.at == len(self.tokens):
            self.fail("expected a number or a symbol, got the end")
        kind, token = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            value = int(token)
            return lambda _: value
        if kind == "word" and not re.match(r"[A-Za-z_$.]", token):
            self.fail(f"expected a number or a symbol, got {token!r}")
        self.symbols.add(token)
        return _symbol(token)

    def call(self, function: str) -> Node:
        if not self.take("("):
            self.fail(f"expected '(' after {function}")
        operands = [self.sum()]
        while self.take(","):
            operands.append(self.sum())
        self.close()
        if function in ("min", "max"):
            return _extremum(min if function == "min" else max, operands)
        if len(operands) != 2:
            self.fail(f"expected 2 operands of {function}, got {len(operands)}")
        return _chain(operands[0], [(_BINARY[function], operands[1])])

    def close(self) -> None:
        if not self.take(")"):
            self.fail("expected ')'")


def _tokenize(text: str) -> Iterable[tuple[str, str]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise EngineFileError(
                f"expected a dim expression, got {text[:200]!r}",
                notes=[f"cannot read {text[at : at + 20]!r}"],
            )
        at = match.end()
        number, quoted, word, sign = match.groups()
        if number is not None:
            if len(number) > 20:
                raise EngineFileError(f"expected a dim, got {number[:40]}")
            yield "number", number
        elif quoted is not None:
            yield "quoted", _unescape(quoted)
        else:
            yield "word", word or sign


def _unescape(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def _symbol(name: str) -> Node:
    def compute(bindings: Mapping[str, int]) -> int:
        try:
            return bindings[name]
        except KeyError:
            raise InputError(f"expected a value of the symbol {name!r}") from None

    return compute


def _chain(first: Node, rest: list[tuple[Operator, Node]]) -> Node:
    def compute(bindings: Mapping[str, int]) -> int:
        value = first(bindings)
        for apply, operand in rest:
            value = _bounded(apply(value, operand(bindings)))
        return value

    return compute


def _extremum(pick: Callable[[Iterable[int]], int], operands: list[Node]) -> Node:
    return lambda bindings: pick(operand(bindings) for operand in operands)


def _bounded(value: int) -> int:
    if -MAX_VALUE < value < MAX_VALUE:
        return value
    raise InputError("expected sizes below 2**62, got a larger one")


def _divide(left: int, right: int) -> int:
    return left // _positive(right)


def _positive(value: int) -> int:
    if value <= 0:
        raise InputError(f"expected a positive divisor in a size, got {value}")
    return value


_BINARY: Mapping[str, Operator] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "floordiv": _divide,
    "ceildiv": lambda left, right: -_divide(-left, right),
    "mod": lambda left, right: left % _positive(right),
}


def product(values: Iterable[int]) -> int:
    """The product of sizes, bounded like every other value."""
    return reduce(lambda left, right: _bounded(left * right), values, 1)
