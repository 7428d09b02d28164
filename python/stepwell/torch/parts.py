"""A part of a graph as a graph of its own, to be built as an engine."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .partition import Part, is_size
from .program import Program
from .sizes import Sizes, symbol_sources, symbols_in

Node = torch.fx.Node


@dataclass(frozen=True)
class ExtractedPart:
    """A part of a graph by itself.

    Attributes:
        module: the weights are attributes of it, the outputs a tuple of tensors.
        inputs: the nodes of the whole graph that it takes.
        outputs: the nodes whose values it gives.
        orders: for each output, the permutation of the dims of the part's result that
            gives the strides torch would give it; None if that is no change.
    """

    module: torch.fx.GraphModule
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    orders: tuple[tuple[int, ...] | None, ...]


def outputs_of(part: Part, graph: torch.fx.Graph, known: Collection[Any]) -> list[Node]:
    """The values of a part that are read outside of it.

    Args:
        known: the symbols that are known without its values.
    """
    inside = set(part.nodes)
    read: dict[Node, None] = {}
    for node in graph.nodes:
        if node not in inside and not is_size(node):
            read.update(dict.fromkeys(tensors_read(node, known)))
    return [node for node in part.nodes if node in read]


def tensors_read(node: Node, known: Collection[Any]) -> Iterable[Node]:
    """The tensors that a node reads, and those that give sizes it reads and that
    nothing else tells."""
    for source in node.all_input_nodes:
        if not is_size(source):
            yield source
        elif not symbols_in(source.meta["val"]) <= set(known):
            yield from tensors_read(source, known)


def extract(
    part: Part, program: Program, outputs: Sequence[Node], name: str
) -> ExtractedPart:
    """A part as a graph by itself that gives `outputs`; `name` is its class."""
    return _Extractor(part, program).run(outputs, name)


class _Extractor:
    def __init__(self, part: Part, program: Program) -> None:
        self.part, self.program = part, program
        self.graph = torch.fx.Graph()
        self.root = torch.nn.Module()
        self.values: dict[Node, Any] = {}
        self.sizes = Sizes(self.graph, ())

    def run(self, outputs: Sequence[Node], name: str) -> ExtractedPart:
        inputs = self.inputs()
        for node in inputs:
            self.values[node] = self.graph.placeholder(node.name)
            self.values[node].meta = dict(node.meta)
        self.sizes = Sizes(self.graph, [self.values[node] for node in inputs])
        for node in self.part.nodes:
            self.values[node] = self.graph.node_copy(node, self.value)
        orders = [stride_order(node.meta["val"]) for node in outputs]
        results = [
            self.permuted(self.values[node], order)
            for node, order in zip(outputs, orders, strict=True)
        ]
        self.graph.output(tuple(results))
        inverse = tuple(order and _inverse(order) for order in orders)
        module = torch.fx.GraphModule(self.root, self.graph, name)
        return ExtractedPart(module, inputs, tuple(outputs), inverse)

    def inputs(self) -> tuple[Node, ...]:
        """The tensors that come from outside, and the arguments of the whole graph
        that tell sizes which those do not."""
        inside = set(self.part.nodes)
        given = symbol_sources(self.program.arguments)
        tensors: dict[Node, None] = {}
        symbols: set[Any] = set()
        for node in self.part.nodes:
            for source in node.all_input_nodes:
                if is_size(source):
                    symbols |= symbols_in(source.meta["val"])
            for source in tensors_read(node, given.keys()):
                if source not in inside and not self.is_held(source):
                    tensors[source] = None
        missing = sorted(symbols - symbol_sources(tensors).keys(), key=str)
        tensors.update((given[each][0], None) for each in missing if each in given)
        return tuple(tensors)

    def is_held(self, node: Node) -> bool:
        """Whether a node is a weight, or a graph of control flow."""
        return node.op == "get_attr" or node.name in self.program.weights

    def value(self, node: Node) -> Any:
        """The part's own value of a node that one of its nodes reads."""
        if node not in self.values:
            self.values[node] = self.make(node)
        return self.values[node]

    def make(self, node: Node) -> Any:
        if self.is_held(node):
            return hold(self.graph, self.root, node, self.program)
        if self.sizes.can_make(node.meta["val"]):
            return self.sizes.make(node.meta["val"])
        return self.graph.node_copy(node, self.value)

    def permuted(self, node: Node, order: tuple[int, ...] | None) -> Node:
        if order is None:
            return node
        permute = torch.ops.aten.permute.default
        result = self.graph.call_function(permute, (node, list(order)))
        result.meta = {**node.meta, "val": node.meta["val"].permute(order)}
        return result


def hold(
    graph: torch.fx.Graph, root: torch.nn.Module, node: Node, program: Program
) -> Node:
    """The node that reads a weight, or a graph of control flow, which `root` holds."""
    held = program.weights.get(node.name)
    if held is None:
        held = operator.attrgetter(str(node.target))(program.module)
    if isinstance(held, torch.Tensor) and not isinstance(held, torch.nn.Parameter):
        root.register_buffer(node.name, held, persistent=False)
    else:
        setattr(root, node.name, held)
    result = graph.get_attr(node.name)
    result.meta = dict(node.meta)
    return result


def stride_order(value: torch.Tensor) -> tuple[int, ...] | None:
    """The dims of a tensor from its largest stride to its smallest.

    None if that is their own order, or if elements overlap or leave gaps.
    """
    sizes = [_hint(size) for size in value.shape]
    strides = [_hint(stride) for stride in value.stride()]
    real = [axis for axis, size in enumerate(sizes) if size != 1]
    order = sorted(real, key=lambda axis: -strides[axis])
    expected = 1
    for axis in reversed(order):
        if strides[axis] != expected:
            return None
        expected *= sizes[axis]
    if order == real or not expected:
        return None
    places = iter(order)
    return tuple(axis if size == 1 else next(places) for axis, size in enumerate(sizes))


def _hint(size: Any) -> int:
    """A size as traced; 0 if only a run can tell it."""
    return size if isinstance(size, int) else size.node.hint or 0


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))
