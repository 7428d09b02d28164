"""The sizes that a part of a graph reads, computed from the shapes of its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch.fx.proxy import GraphAppendingTracer
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from stepwell.errors import InputError

if TYPE_CHECKING:
    from stepwell.frontends.torch.guards import Guard

Node = torch.fx.Node


class Sizes:
    """Makes the nodes of numbers in `graph`.

    Args:
        graph: gets a node for each number, once, where it is first read.
        inputs: the graph's placeholders; the symbols of their shapes are known.
    """

    def __init__(self, graph: torch.fx.Graph, inputs: Iterable[Node]) -> None:
        self.graph = graph
        self._tracer = GraphAppendingTracer(graph)
        self._sources = symbol_sources(inputs)
        self._symbols: dict[Any, Any] = {}
        self._nodes: dict[Any, Any] = {}

    def can_make(self, value: Any) -> bool:
        """Whether a number's symbols are all known."""
        return symbols_in(value) <= self._sources.keys()

    def make(self, value: Any) -> Any:
        """A number as a node, or as it is if it depends on no symbol."""
        if not isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return value
        return self._make(value.node.expr)

    def require(self, guard: Guard) -> None:
        """A check of a condition on sizes that are known, each time the graph runs."""
        if not guard.condition.free_symbols <= self._sources.keys():
            return
        for test in (guard.condition,) if guard.is_plain else guard.pins:
            self.graph.call_function(require_sizes, (self._make(test), str(guard)))

    def _make(self, expression: Any) -> Any:
        if expression not in self._nodes:
            last = next(iter(reversed(self.graph.nodes)), None)
            self._nodes[expression] = self._interpret(expression)
            _evaluate(self.graph, last)
        return self._nodes[expression]

    def _interpret(self, expression: Any) -> Any:
        symbols = {each: self._symbol(each) for each in expression.free_symbols}
        found = sympy_interp(_Functions, symbols, expression)
        return found.node if isinstance(found, torch.fx.Proxy) else found

    def _symbol(self, symbol: Any) -> torch.fx.Proxy:
        if symbol not in self._symbols:
            node, axis = self._sources[symbol]
            if axis is not None:
                node = self.graph.call_function(
                    torch.ops.aten.sym_size.int, (node, axis)
                )
            self._symbols[symbol] = torch.fx.Proxy(node, self._tracer)
        return self._symbols[symbol]


def require_sizes(holds: bool, condition: str) -> None:
    """Refuse sizes that a graph was not traced for.

    Raises:
        InputError: the condition does not hold.
    """
    if not holds:
        raise InputError(f"expected other shapes: {condition}")


def _called(function: Callable[..., Any]) -> Any:
    """`function` of a number, as a node of the graph if that is one."""

    def call(value: Any, *_: Any) -> Any:
        if not isinstance(value, torch.fx.Proxy):
            return function(value)
        return value.tracer.create_proxy("call_function", function, (value,), {})

    return staticmethod(call)


class _Functions(PythonReferenceAnalysis):
    """PyTorch's reading of SymPy's functions, with roundings that graphs can hold."""

    floor_to_int = _called(math.floor)
    ceil_to_int = _called(math.ceil)
    trunc_to_int = _called(math.trunc)
    round_to_int = _called(round)


def symbol_sources(inputs: Iterable[Node]) -> dict[Any, tuple[Node, int | None]]:
    """Where each symbol is read: an input and its axis; None for a number."""
    sources: dict[Any, tuple[Node, int | None]] = {}
    for node in inputs:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt):
            _offer(sources, value, node, None)
        elif isinstance(value, torch.Tensor):
            for axis, size in enumerate(value.shape):
                _offer(sources, size, node, axis)
    return sources


def symbols_in(value: Any) -> set[Any]:
    """The symbols that a number depends on."""
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return set(value.node.expr.free_symbols)
    return set()


def symbols_of(node: Node) -> set[Any]:
    """The symbols in the sizes of a node's values."""
    value = node.meta.get("val")
    leaves = value if isinstance(value, list | tuple) else (value,)
    found: set[Any] = set()
    for leaf in leaves:
        sizes = leaf.shape if isinstance(leaf, torch.Tensor) else (leaf,)
        found |= set().union(*map(symbols_in, sizes))
    return found


def _offer(
    sources: dict[Any, tuple[Node, int | None]], size: Any, node: Node, axis: int | None
) -> None:
    if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
        known = sources.get(size.node.expr)
        if known is None or known[1] is None:  # a shape is there without being passed
            sources[size.node.expr] = node, axis


def _evaluate(graph: torch.fx.Graph, last: Node | None) -> None:
    """Give the nodes behind `last` the numbers that they stand for."""
    node = next(iter(graph.nodes)) if last is None else last.next
    while node.op != "root":
        args = torch.fx.map_arg(node.args, lambda each: each.meta["val"])
        assert callable(node.target)
        node.meta["val"] = node.target(*args, **node.kwargs)
        node = node.next
