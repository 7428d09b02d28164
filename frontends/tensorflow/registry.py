"""The op table: which function builds which TensorFlow op."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.ir import Operation, SSAValue

from stepwell.frontends.tensorflow.node import Item, Node

Output: TypeAlias = Operation | SSAValue | Item | None
"""One output of a node: an op with one result, an SSA value, or an importer's value."""

Build: TypeAlias = Callable[[Node], Output | Sequence[Output]]


@dataclass(frozen=True)
class Rule:
    """How one op is imported.

    Args:
        op_type: the op's type.
        build: makes the outputs from the node.
        ignores: attributes that change nothing at inference.
    """

    op_type: str
    build: Build
    ignores: tuple[str, ...] = ()


class OpTable:
    """Rules by op type."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = {rule.op_type: rule for rule in rules}

    def __iter__(self) -> Iterator[Rule]:
        return iter(sorted(self._rules.values(), key=lambda rule: rule.op_type))

    def __contains__(self, op_type: object) -> bool:
        return op_type in self._rules

    def find(self, op_type: str) -> Rule | None:
        """The rule of an op, or None."""
        return self._rules.get(op_type)
