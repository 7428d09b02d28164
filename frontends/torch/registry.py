"""The op table: which function builds which ATen overload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from xdsl.ir import Operation, SSAValue

from stepwell.dialects.shapes import Dim

Value: TypeAlias = SSAValue | Dim | float | str | Sequence[Any] | None
"""What a node of the graph stands for: a tensor, a number, or several of them."""

Output: TypeAlias = Operation | SSAValue | Dim | float | None
"""One output of a call: an op with one result, an SSA value, or a number."""

Build: TypeAlias = Callable[..., Output | Sequence[Output]]
"""Makes the outputs of a call from the arguments of the op's schema, in order."""

Rules: TypeAlias = Mapping[str, Build]
"""Builders by the name of the overload: `aten.relu.default`."""


def merge(*families: Rules) -> dict[str, Build]:
    """One table of several families; no op may be in two."""
    table: dict[str, Build] = {}
    for family in families:
        twice = table.keys() & family.keys()
        assert not twice, f"ops with two rules: {sorted(twice)}"
        table.update(family)
    return table
