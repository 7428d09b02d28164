"""Graphs and functions of a TensorFlow model in one form: nodes that name their inputs.

A `GraphDef` writes an input as `node:2`, a `FunctionDef` as `node:output:1` or as the
name of an argument. A `Body` resolves both to a `Ref`, a node's name with the number of
an output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from tensorflow.python.framework import op_def_registry

from stepwell.errors import ModelError
from stepwell.frontends.tensorflow.protos import (
    FunctionDef,
    GraphDef,
    NodeDef,
    OpDef,
)

Ref: TypeAlias = tuple[str, int]
"""A node's name, or an argument's, and the number of its output."""


@dataclass
class Body:
    """The nodes of a graph or of a function.

    Args:
        name: the function's name; empty for the graph of the model itself.
        nodes: by name.
        arguments: the names of a function's arguments, in order.
        results: what a function returns, in order.
    """

    name: str
    nodes: dict[str, NodeDef]
    arguments: Sequence[str] = ()
    results: Sequence[Ref] = ()

    @classmethod
    def of_graph(cls, graph: GraphDef) -> Body:
        """The nodes of a graph."""
        return cls("", {node.name: node for node in graph.node})

    @classmethod
    def of_function(cls, function: FunctionDef) -> Body:
        """The body of a function."""
        signature = function.signature
        body = cls(
            signature.name,
            {node.name: node for node in function.node_def},
            [argument.name for argument in signature.input_arg],
        )
        body.results = [
            body.ref(function.ret[result.name]) for result in signature.output_arg
        ]
        return body

    def update(self, nodes: Mapping[str, NodeDef]) -> None:
        """Add nodes, or put them in the place of those of the same name."""
        self.nodes.update(nodes)

    def inputs(self, node: NodeDef) -> list[Ref]:
        """The data inputs of a node; those of control alone are left out."""
        return [self.ref(text) for text in node.input if not text.startswith("^")]

    def ref(self, text: str) -> Ref:
        """The output that an input's text names.

        Raises:
            ModelError: the text names no output.
        """
        name, *rest = text.split(":")
        if not rest or name in self.arguments:
            return name, 0
        if not rest[-1].isdecimal():
            raise ModelError(f"expected the name of an output, got {text!r}")
        if len(rest) == 1:
            return name, int(rest[0])
        if name not in self.nodes:
            raise ModelError(f"input {text!r} names a node that is not there")
        return name, self._first_output(self.nodes[name], rest[0]) + int(rest[1])

    def _first_output(self, node: NodeDef, argument: str) -> int:
        """The number of the first output that belongs to an output argument."""
        total = 0
        for entry in op_def(node.op).output_arg:
            if entry.name == argument:
                return total
            total += argument_size(node, entry)
        raise ModelError(f"expected an output {argument!r} of {node.op}")


def op_def(op: str) -> OpDef:
    """TensorFlow's definition of an op.

    Raises:
        ModelError: this TensorFlow does not know the op.
    """
    found = op_def_registry.get(op)
    if found is None:
        raise ModelError(
            f"expected an op of TensorFlow, got {op!r}",
            fix="load the library that defines the op first (tf.load_op_library)",
        )
    return found


def argument_size(node: NodeDef, argument: Any) -> int:
    """How many tensors an argument of an op's definition stands for."""
    if argument.number_attr:
        return int(node.attr[argument.number_attr].i)
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type)
    return 1


def output_count(node: NodeDef) -> int:
    """How many outputs a node has."""
    return sum(argument_size(node, each) for each in op_def(node.op).output_arg)


@dataclass(frozen=True)
class GraphInput:
    """An input of a model: its public name, its tensor, its type number, its shape."""

    name: str
    ref: Ref
    dtype: int
    shape: Sequence[int | str | None] | None


@dataclass
class LoadedGraph:
    """A model as every source ends: a graph, its functions, and its variables.

    Args:
        name: the model's name.
        graph: its nodes and the functions they call.
        inputs: what becomes the arguments.
        outputs: the public name of each result, and its tensor.
        variables: the value of each variable or captured tensor, by the name of the
            `VarHandleOp` or `Placeholder` that stands for it.
        is_function: whether all of the graph runs in a call; the graph of a SavedModel
            also initialises and saves variables.
    """

    name: str
    graph: GraphDef
    inputs: Sequence[GraphInput]
    outputs: Mapping[str, Ref]
    variables: Mapping[str, np.ndarray[Any, Any]] = field(
        default_factory=dict[str, np.ndarray[Any, Any]]
    )
    is_function: bool = False

    @cached_property
    def body(self) -> Body:
        """The nodes of the graph."""
        return Body.of_graph(self.graph)

    @cached_property
    def _functions(self) -> dict[str, FunctionDef]:
        library = self.graph.library.function
        return {function.signature.name: function for function in library}

    @cached_property
    def _bodies(self) -> dict[str, Body]:
        return {}

    def add_body(self, body: Body) -> None:
        """Add a function by its body."""
        self._bodies[body.name] = body

    def function(self, name: str) -> Body:
        """The body of the function `name`.

        Raises:
            ModelError: there is none.
        """
        if name not in self._bodies:
            if name not in self._functions:
                raise ModelError(f"{self.name}: function {name!r} is not in the model")
            self._bodies[name] = Body.of_function(self._functions[name])
        return self._bodies[name]


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, with `_1`, `_2`, ... after those that occurred before."""
    taken: set[str] = set()
    result: list[str] = []
    for stem in names:
        name, count = stem, 0
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        result.append(name)
    return result
