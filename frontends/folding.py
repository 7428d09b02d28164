"""When a node is computed at import, and how later asks for its contents are met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from xdsl.ir import Attribute

from stepwell.frontends.contents import demand, symbolic_tensor
from stepwell.frontends.values import (
    FOLD_LIMIT,
    SYMBOLIC_LIMIT,
    Contents,
    Tensor,
    Value,
    is_symbolic,
)


class FoldedNode(Protocol):
    """What folding asks of a frontend's node."""

    inputs: tuple[Any, ...]


Fold: TypeAlias = Callable[..., Contents | list[Contents] | None]
"""The contents of a node's outputs from the node and the contents of its inputs."""

ElementOf: TypeAlias = Callable[[Any, Contents], Attribute]
"""The element type of a folded output, from the node and the contents."""


def fold_node(
    node: FoldedNode, fold: Fold, symbols: bool | None
) -> list[Contents] | None:
    """The contents of a node's outputs from those of its inputs, or None.

    `symbols` is None to use only what is known already; else inputs are demanded.
    """
    inputs: list[Contents] = []
    for value in node.inputs:
        if not isinstance(value, Tensor):
            return None
        contents = value.contents if symbols is None else demand(value, symbols)
        if contents is None or contents.size > FOLD_LIMIT:
            return None
        if is_symbolic(contents) and contents.size > SYMBOLIC_LIMIT:
            return None
        inputs.append(contents)
    if not inputs:
        return None
    with np.errstate(all="ignore"):
        found = fold(node, *inputs)
    if found is None:
        return None
    return found if isinstance(found, list) else [found]


def folded_outputs(
    node: FoldedNode, fold: Fold, element: ElementOf
) -> list[Value | None] | None:
    """The outputs of a node whose inputs are known, as tensors without an op."""
    if node.inputs and any(value is None for value in node.inputs):
        return None
    found = fold_node(node, fold, None)
    if found is None:
        return None
    return [symbolic_tensor(each, element(node, each)) for each in found]


def remember(node: FoldedNode, fold: Fold, outputs: Sequence[Any]) -> None:
    """Let the contents of `outputs` be computed when a shape position asks."""

    def recipe(index: int, symbols: bool) -> Contents | None:
        found = fold_node(node, fold, symbols)
        return None if found is None else found[index]

    for index, output in enumerate(outputs):
        if isinstance(output, Tensor) and output.recipe is None:
            output.recipe = lambda symbols, index=index: recipe(index, symbols)
