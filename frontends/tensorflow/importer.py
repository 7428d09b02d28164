"""From a loaded graph to `@main`: what the results need, functions inlined.

Only nodes that a result depends on are imported, each once, inputs first. Every op gets
the name of its node as location. What is not supported is collected, so that a user
sees all of it at once: outputs of a bad node are poisoned, and what depends on them
too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from tensorflow.python.framework import dtypes
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import element_type
from stepwell.errors import ModelError, ShapeError, UnsupportedError
from stepwell.frontends.contents import as_value, constant_tensor, materialise
from stepwell.frontends.folding import folded_outputs, remember
from stepwell.frontends.importer import (
    POISON,
    NodeImporter,
    Poison,
    UnsupportedParts,
)
from stepwell.frontends.profiles import Profile
from stepwell.frontends.report import Issue
from stepwell.frontends.tensorflow.fold import FOLDS, folded_element
from stepwell.frontends.tensorflow.graph import (
    Body,
    GraphInput,
    LoadedGraph,
    Ref,
)
from stepwell.frontends.tensorflow.node import Item, Node, Resource, dtype_of
from stepwell.frontends.tensorflow.protos import NodeDef
from stepwell.frontends.tensorflow.registry import OpTable, Output, Rule
from stepwell.frontends.values import Tensor, Value

Scope: TypeAlias = dict[str, "Sequence[Item | None] | Poison"]
"""The outputs of the nodes of one body, and its arguments, by name."""

ASSIGNS = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")
CALL_DEPTH = 200


class Importer(NodeImporter):
    """Imports one model. Issues are collected; all other errors end the import."""

    def __init__(
        self,
        model: LoadedGraph,
        table: OpTable,
        context: StepwellContext,
        profiles: Mapping[str, Profile],
    ) -> None:
        super().__init__(model.name, context, profiles)
        self.model = model
        self.table = table
        self.depth = 0

    # Whole model

    def run(self) -> ModuleOp:
        """The module.

        Raises:
            UnsupportedError: lists all that is not supported.
        """
        with self.builder.inside(self.builder.entry):
            scope: Scope = {
                each.ref[0]: [self.add_input(each)] for each in self.model.inputs
            }
            for name, array in self.model.variables.items():
                scope[name] = [self.variable(name, array)]
            if self.model.is_function:
                self.note_assignments(self.model.body)
            refs = list(self.model.outputs.values())
            values = self.import_refs(self.model.body, refs, scope, "")
            if self.issues:
                raise self.report().error()
            results = [
                self.result(name, value)
                for name, value in zip(self.model.outputs, values, strict=True)
            ]
        return self.builder.finish(list(self.model.outputs), results)

    def add_input(self, entry: GraphInput) -> Tensor:
        """An input of the model: an argument of the function."""
        try:
            element = element_type(dtype_of(entry.dtype))
        except (ModelError, ShapeError):
            kind = dtypes.as_dtype(entry.dtype).name
            raise UnsupportedError(
                f"expected numbers as input {entry.name!r}, got {kind}",
                fix="export the part of the model behind it"
                if kind == "string"
                else None,
            ) from None
        return self.argument(entry.name, entry.shape, element)

    def variable(self, name: str, array: np.ndarray) -> Item:
        """A variable, or a captured tensor, with its value."""
        node = self.model.body.nodes.get(name)
        value = constant_tensor(array)
        is_handle = node is None or node.op == "VarHandleOp"
        if node is not None and node.op == "Placeholder":
            is_handle = node.attr["dtype"].type == 20  # DT_RESOURCE
        return Resource(name, value) if is_handle else value

    def result(self, name: str, value: Item | Poison | None) -> SSAValue:
        """A result of the model as an SSA value."""
        if not isinstance(value, Tensor):
            raise UnsupportedError(f"output {name!r} is not a tensor")
        return materialise(value, self.builder)

    # What nodes ask for

    def function(self, name: str) -> Body:
        """The body of a function."""
        return self.model.function(name)

    def call(self, body: Body, arguments: Sequence[Item], prefix: str) -> list[Item]:
        """The results of a function, imported where the builder stands.

        Raises:
            UnsupportedParts: something in it is not supported.
        """
        if self.depth > CALL_DEPTH:
            raise UnsupportedError("functions that call each other without end")
        scope: Scope = {
            name: [value, value]  # a switch that is an argument has two outputs
            for name, value in zip(body.arguments, arguments, strict=True)
        }
        self.note_assignments(body)
        self.depth += 1
        try:
            found = self.import_refs(body, body.results, scope, prefix)
        finally:
            self.depth -= 1
        values = [v for v in found if v is not None and not isinstance(v, Poison)]
        if len(values) != len(found):
            raise UnsupportedParts("a function has unsupported parts")
        return values

    def note_assignments(self, body: Body) -> None:
        """Report what a function does to variables: they are frozen."""
        for node in body.nodes.values():
            if node.op in ASSIGNS:
                what = "a variable that changes at inference"
                fix = "make the state an input and an output of the model"
                self.issues.append(Issue(node.name, node.op, what, fix))

    # Nodes

    def import_refs(
        self, body: Body, refs: Sequence[Ref], scope: Scope, prefix: str
    ) -> list[Item | Poison | None]:
        """What `refs` stand for, after importing all nodes they depend on."""
        pending = [name for name, _ in reversed(refs)]
        while pending:
            name = pending[-1]
            if name in scope:
                pending.pop()
                continue
            if name not in body.nodes:
                raise ModelError(f"input {name!r} is computed by no node")
            proto = body.nodes[name]
            inputs = body.inputs(proto)
            missing = [each for each, _ in inputs if each not in scope]
            if missing:
                self.check_cycle(name, missing, pending)
                pending += reversed(missing)
                continue
            pending.pop()
            values = [output_of(scope, ref) for ref in inputs]
            label = f"{prefix}/{name}" if prefix else name
            scope[name] = self.import_node(proto, label, values)
        return [output_of(scope, ref) for ref in refs]

    def check_cycle(
        self, name: str, missing: Sequence[str], pending: Sequence[str]
    ) -> None:
        """A node that waits for itself is an error of the model."""
        if name in missing or len(pending) > 1_000_000:
            raise ModelError(f"node {name!r} depends on itself")

    def import_node(
        self, proto: NodeDef, name: str, inputs: Sequence[Item | Poison | None]
    ) -> Sequence[Item | None] | Poison:
        """The outputs of one node; poison if something of it is not supported."""
        self.ops[proto.op] += 1
        rule = self.table.find(proto.op)
        known = [v for v in inputs if v is not None and not isinstance(v, Poison)]
        if len(known) != len(inputs):
            if rule is None:
                self.issues.append(Issue(name, proto.op, "the op is not supported"))
            return POISON
        node = Node(proto, name, tuple(known), self)
        found = self.attempt(node, proto.op, lambda: self.build(node, rule))
        return POISON if found is None else found

    def build(self, node: Node, rule: Rule | None) -> Sequence[Item | None]:
        """The outputs of a node: folded contents, or what its rule makes."""
        if rule is None:
            raise node.unsupported("the op is not supported")
        folding = FOLDS.get(node.op_type)
        if folding is not None:
            folded = folded_outputs(node, folding.now, folded_element)
            if folded is not None:
                return [each for each in folded if isinstance(each, Tensor)]
        built = rule.build(node)
        if isinstance(built, Operation):
            built = list(built.results)
        outputs = list(built) if isinstance(built, Sequence) else [built]
        if unread := node.unread(rule.ignores):
            raise node.unsupported(f"attribute {', '.join(unread)}")
        values = [as_item(output) for output in outputs]
        sources: tuple[Value | None, ...] = tuple(
            each for each in node.inputs if isinstance(each, Tensor)
        )
        for value in values:
            if isinstance(value, Tensor) and not value.sources:
                value.sources = sources
        if folding is not None:
            remember(node, folding.later, values)
        return values


def output_of(scope: Scope, ref: Ref) -> Item | Poison | None:
    """One output of a node that was imported."""
    name, index = ref
    outputs = scope[name]
    if isinstance(outputs, Poison):
        return outputs
    if index >= len(outputs):
        raise ModelError(f"expected output {index} of node {name!r}, got none")
    return outputs[index]


def as_item(output: Output) -> Item | None:
    """What a builder function returned, as the importer keeps it."""
    if isinstance(output, Operation | SSAValue):
        value = as_value(output)
        return value if isinstance(value, Tensor) else None
    return output
