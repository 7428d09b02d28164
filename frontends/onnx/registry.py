"""The op table: which function builds which ONNX op, and from which opset on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from xdsl.ir import Operation, SSAValue

from stepwell.frontends.onnx.node import Node
from stepwell.frontends.values import Value

Output: TypeAlias = Operation | SSAValue | Value | None
"""One output of a node: an op with one result, an SSA value, or an importer's value."""

Build: TypeAlias = Callable[[Node], Output | Sequence[Output]]


DECLINED: tuple[Output, ...] = ()
"""What a rule returns to leave a node to the function body that ONNX defines."""


@dataclass(frozen=True)
class Rule:
    """How one op is imported.

    Args:
        op_type: the op's type.
        build: makes the outputs from the node.
        domain: its operator set; empty for ONNX's own.
        since: the first version of the op (not of the model) that `build` reads.
        ignores: attributes that change nothing at inference.
    """

    op_type: str
    build: Build
    domain: str = ""
    since: int = 1
    ignores: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Domain and op type."""
        return self.domain, self.op_type


class OpTable:
    """Rules by domain and op type."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = {rule.key: rule for rule in rules}

    def __iter__(self) -> Iterator[Rule]:
        return iter(sorted(self._rules.values(), key=lambda rule: rule.key))

    def __contains__(self, key: object) -> bool:
        return key in self._rules

    def find(self, domain: str, op_type: str) -> Rule | None:
        """The rule of an op, or None."""
        return self._rules.get((domain, op_type))
