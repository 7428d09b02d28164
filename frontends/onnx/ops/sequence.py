"""Sequences and optionals: resolved at import, so that no op remains of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f32
from stepwell.dialects.shapes import Dim
from stepwell.frontends.contents import constant_tensor
from stepwell.frontends.emit import cut, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.ops.control import tensor_of
from stepwell.frontends.onnx.registry import Output, Rule
from stepwell.frontends.values import Sequence_, Tensor, Value


def construct(node: Node) -> Value:
    """A sequence of the inputs."""
    return Sequence_(tuple(node.tensor(i) for i in range(len(node.inputs))))


def empty(node: Node) -> Value:
    """A sequence of nothing."""
    element = node.element("dtype") if node.has_attribute("dtype") else f32
    return Sequence_((), element)


def position(node: Node, index: int, count: int) -> int:
    """A position given by input `index`, counted from the front."""
    at = int(node.constant(index).item())
    if not -count <= at < max(count, 1):
        raise node.invalid(f"expected a position in a sequence of {count}, got {at}")
    return at + count if at < 0 else at


def insert(node: Node) -> Value:
    """A sequence with one more element."""
    items = list(node.sequence(0).items)
    at = len(items)
    if node.has(2):
        given = int(node.constant(2).item())
        at = given + len(items) if given < 0 else given
    items.insert(at, node.tensor(1))
    return Sequence_(tuple(items))


def erase(node: Node) -> Value:
    """A sequence with one element less."""
    items = list(node.sequence(0).items)
    items.pop(position(node, 1, len(items)) if node.has(1) else -1)
    return Sequence_(tuple(items))


def at(node: Node) -> Value:
    """One element."""
    items = node.sequence(0).items
    return items[position(node, 1, len(items))]


def length(node: Node) -> Value:
    """The number of elements."""
    return constant_tensor(np.array(len(node.sequence(0).items), np.int64))


def split(node: Node) -> Value:
    """Parts of a tensor along an axis; of size 1, without the axis, by default."""
    axis = node.int("axis", 0) % node.rank()
    keepdims = bool(node.int("keepdims", 1))
    total = node.dims()[axis]
    sizes: Sequence[Dim] = []
    if node.has(1):
        sizes = node.sizes(1)
        keepdims = True
    if not isinstance(total, int):
        raise node.unsupported(f"a split of {total} into a sequence")
    if not node.has(1):
        sizes = [1] * total
    elif node.rank(1) == 0:
        each = int(node.constant(1).item())
        sizes = [min(each, total - start) for start in range(0, total, each)]
    items: list[Tensor] = []
    start: Dim = 0
    for size in sizes:
        part = cut(node.x(), axis, start, start + size)
        start = start + size
        if not keepdims:
            kept = [dim for i, dim in enumerate(node.dims()) if i != axis]
            part = value(nn.ReshapeOp(part, kept))
        items.append(tensor_of(part))
    return Sequence_(tuple(items))


def concat(node: Node) -> Output:
    """The elements along an axis, which is a new one if `new_axis`."""
    axis = node.int("axis")
    items = [node.importer.ssa(item) for item in node.sequence(0).items]
    if node.int("new_axis", 0):
        rank = len(node.sequence(0).items[0].dims) + 1
        rows: list[Output] = []
        for item, tensor in zip(items, node.sequence(0).items, strict=True):
            dims = list(tensor.dims)
            dims.insert(axis % rank, 1)
            rows.append(value(nn.ReshapeOp(item, dims)))
        return nn.ConcatOp(rows, axis=axis % rank)  # type: ignore[arg-type]
    return nn.ConcatOp(items, axis=axis)


def optional(node: Node) -> Value | None:
    """The value itself."""
    node.attribute("type", None)
    return node.inputs[0] if node.inputs else None


def has_element(node: Node) -> Value:
    """Whether there is a value: known at import."""
    return constant_tensor(np.array(node.has(0)))


def get_element(node: Node) -> Value:
    """The value, which must be there."""
    found = node.inputs[0]
    if found is None:
        raise node.invalid("expected an optional that holds a value")
    return found


RULES = (
    Rule("SequenceConstruct", construct),
    Rule("SequenceEmpty", empty),
    Rule("SequenceInsert", insert),
    Rule("SequenceErase", erase),
    Rule("SequenceAt", at),
    Rule("SequenceLength", length),
    Rule("SplitToSequence", split),
    Rule("ConcatFromSequence", concat),
    Rule("Optional", optional),
    Rule("OptionalHasElement", has_element),
    Rule("OptionalGetElement", get_element),
)
