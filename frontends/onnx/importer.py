"""From a checked model to `func.func @main`: scopes, names, inputs, nodes."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import element_type
from stepwell.errors import ModelError, UnsupportedError
from stepwell.frontends.contents import (
    as_value,
    constant_tensor,
    materialise,
)
from stepwell.frontends.folding import folded_outputs, remember
from stepwell.frontends.importer import POISON, NodeImporter, Poison
from stepwell.frontends.onnx.fold import FOLDS, folded_element
from stepwell.frontends.onnx.functions import find_function, function_body
from stepwell.frontends.onnx.load import LoadedModel
from stepwell.frontends.onnx.node import Node, dtype_of
from stepwell.frontends.onnx.registry import DECLINED, OpTable, Rule
from stepwell.frontends.onnx.tensors import read_sparse, read_tensor
from stepwell.frontends.profiles import Profile
from stepwell.frontends.report import Issue
from stepwell.frontends.values import Tensor, Value


@dataclass
class Scope:
    """Names of one graph; an inner graph sees those of the outer ones.

    `missing` are the inputs of a function that its call leaves out.
    """

    outer: Scope | None = None
    missing: set[str] = field(default_factory=set[str])
    values: dict[str, Value | Poison] = field(default_factory=dict[str, Value | Poison])

    def find(self, name: str) -> Value | Poison | None:
        """What `name` stands for, here or outside."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        return None

    def is_missing(self, name: str) -> bool:
        """Whether `name` is an input of a function that the call leaves out."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.missing:
                return True
            scope = scope.outer
        return False


class Importer(NodeImporter):
    """Imports one model. Issues are collected; all other errors end the import."""

    def __init__(
        self,
        model: LoadedModel,
        table: OpTable,
        context: StepwellContext,
        profiles: Mapping[str, Profile],
    ) -> None:
        super().__init__(model.name, context, profiles)
        self.model = model
        self.table = table
        self.opsets = {
            "" if opset.domain == "ai.onnx" else opset.domain: opset.version
            for opset in model.proto.opset_import
        }
        self.scope = Scope()

    # Whole model

    def run(self) -> ModuleOp:
        """The module.

        Raises:
            UnsupportedError: lists all that is not supported.
        """
        graph = self.model.proto.graph
        with self.builder.inside(self.builder.entry):
            self.add_initializers(graph)
            for entry in graph.input:
                if entry.name not in self.scope.values:
                    self.scope.values[entry.name] = self.add_input(entry)
            self.import_nodes(graph)
            outputs = self.outputs(graph)
            if self.issues:
                raise self.report().error()
            results: dict[str, SSAValue] = {}
            for entry, value in zip(graph.output, outputs, strict=True):
                results |= self.results(entry.name, value)
        return self.builder.finish(list(results), list(results.values()))

    def outputs(self, graph: onnx.GraphProto) -> list[Value]:
        """The values of a graph's outputs; those not imported are left out."""
        found: list[Value] = []
        for entry in graph.output:
            value = self.scope.find(entry.name)
            if value is None:
                raise ModelError(f"output {entry.name!r} is computed by no node")
            if not isinstance(value, Poison):
                found.append(value)
        return found

    def results(self, name: str, value: Value) -> dict[str, SSAValue]:
        """An output of the model; the elements of a sequence are `name/0`, ..."""
        if isinstance(value, Tensor):
            return {name: materialise(value, self.builder)}
        return {
            f"{name}/{index}": materialise(item, self.builder)
            for index, item in enumerate(value.items)
        }

    # Names

    def add_initializers(self, graph: onnx.GraphProto) -> None:
        """Constants of the graph; those of IR version 3 are listed as inputs too."""
        for tensor in graph.initializer:
            array = read_tensor(tensor, self.model)
            self.scope.values[tensor.name] = constant_tensor(array)
        for sparse in graph.sparse_initializer:
            array = read_sparse(sparse, self.model)
            self.scope.values[sparse.values.name] = constant_tensor(array)

    def add_input(self, entry: onnx.ValueInfoProto) -> Value:
        """A graph input: an argument of the function."""
        if not entry.type.HasField("tensor_type"):
            kind = entry.type.WhichOneof("value")
            raise UnsupportedError(f"input {entry.name!r} is of {kind}, not a tensor")
        element = element_type(dtype_of(entry.type.tensor_type.elem_type))
        return self.argument(entry.name, declared_dims(entry), element)

    def read_constant(
        self, node: Node, name: str | None = None, default: Any = None
    ) -> np.ndarray[Any, Any]:
        """The array of a tensor attribute; of a Constant's attributes if no name."""
        if name is not None:
            found = node.attribute(name, default)
            return found if found is default else read_tensor(found, self.model)
        if len(node.proto.attribute) != 1:
            raise node.invalid(
                f"expected one attribute, got {len(node.proto.attribute)}"
            )
        given = node.proto.attribute[0].name
        held = node.attribute(given)
        match given:
            case "value":
                return read_tensor(held, self.model)
            case "sparse_value":
                return read_sparse(held, self.model)
            case "value_float" | "value_floats":
                return np.array(held, np.float32)
            case "value_int" | "value_ints":
                return np.array(held, np.int64)
            case "value_string" | "value_strings":
                return np.array(node.texts(given), object)
            case _:
                raise node.unsupported(f"attribute {given}")

    @contextmanager
    def inner_scope(self) -> Generator[None]:
        """Names defined inside are forgotten after."""
        outer = self.scope
        self.scope = Scope(outer)
        try:
            yield
        finally:
            self.scope = outer

    def import_inline(
        self, graph: onnx.GraphProto, inputs: Mapping[str, Value]
    ) -> list[Value]:
        """The outputs of a nested graph, imported where the builder stands.

        Raises:
            UnsupportedError: something in it is not supported; its issues are noted.
        """
        with self.inner_scope():
            self.add_initializers(graph)
            self.scope.values.update(inputs)
            self.import_nodes(graph)
            found = self.outputs(graph)
        if len(found) != len(graph.output):
            raise UnsupportedError("a nested graph has unsupported parts")
        return found

    def is_true(self, condition: SSAValue) -> bool:
        """Whether a value is the constant true."""
        array = nn.constant_value(condition, self.builder.context.weights)
        return array is not None and bool(array.all())

    # Nodes

    def import_nodes(
        self, graph: onnx.GraphProto | onnx.FunctionProto, prefix: str = ""
    ) -> None:
        """All nodes of a graph or function, in order."""
        for index, proto in enumerate(graph.node):
            name = proto.name or f"{proto.op_type}_{index}"
            name = f"{prefix}/{name}" if prefix else name
            for output, value in zip(
                proto.output, self.import_node(proto, name), strict=False
            ):
                if output and value is not None:
                    self.scope.values[output] = value

    def import_node(
        self, proto: onnx.NodeProto, name: str
    ) -> Sequence[Value | Poison | None]:
        """The outputs of one node; poison if something of it is not supported."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        op = f"{domain}::{proto.op_type}" if domain else proto.op_type
        self.ops[op] += 1
        poison = [POISON] * len(proto.output)
        inputs = [self.find(proto, name, each) for each in proto.input]
        rule = self.table.find(domain, proto.op_type)
        if any(isinstance(value, Poison) for value in inputs):
            if rule is None and not self.has_body(domain, proto.op_type):
                self.issues.append(Issue(name, op, "the op is not supported"))
            return poison
        version = self.version_of(domain, proto.op_type)
        known = tuple(v for v in inputs if not isinstance(v, Poison))
        node = Node(proto, name, version, known, self)
        found = self.attempt(node, op, lambda: self.outputs_of(node, rule, domain))
        return poison if found is None else found

    def outputs_of(
        self, node: Node, rule: Rule | None, domain: str
    ) -> Sequence[Value | Poison | None]:
        """The outputs of a node: by its rule, or by the function that defines it."""
        if rule is not None and node.version >= rule.since:
            built = self.build(node, rule)
            if built is not None:
                return built
        opset = self.opsets.get(domain, 1)
        body = function_body(node.proto, domain, opset, node.inputs)
        if body is not None:
            return self.import_function(node, body)
        if rule is None:
            raise node.unsupported("the op is not supported")
        raise node.unsupported(
            f"expected opset {rule.since} or newer, got version {node.version}"
        )

    def import_function(
        self, node: Node, body: onnx.FunctionProto
    ) -> Sequence[Value | Poison | None]:
        """The outputs of a function called by `node`."""
        outer, opsets, issues = self.scope, self.opsets, len(self.issues)
        given = dict(zip(body.input, node.inputs, strict=False))
        self.scope = Scope(values={k: v for k, v in given.items() if v is not None})
        self.scope.missing = {*body.input} - {*self.scope.values}
        self.opsets = opsets | {o.domain: o.version for o in body.opset_import}
        try:
            self.import_nodes(body, node.name)
            outputs = [self.scope.find(name) for name in body.output]
        finally:
            self.scope, self.opsets = outer, opsets
        if len(self.issues) > issues:
            whole = Issue(node.name, node.op_type, "its function body is not supported")
            self.issues[issues:] = [whole]
        return outputs[: len(node.proto.output)]

    def has_body(self, domain: str, op_type: str) -> bool:
        """Whether ONNX defines the op by a function."""
        return find_function(op_type, self.opsets.get(domain, 1), domain) is not None

    def find(
        self, proto: onnx.NodeProto, name: str, value: str
    ) -> Value | Poison | None:
        """The value that an input name stands for; None for an omitted one."""
        if not value:
            return None
        found = self.scope.find(value)
        if found is None and self.scope.is_missing(value):
            return None
        if found is None:
            raise ModelError(
                f"input {value!r} is not defined before its use",
                where=f"node {name!r} ({proto.op_type})",
            )
        return found

    def version_of(self, domain: str, op_type: str) -> int:
        """The version of the op that the model's opset selects."""
        opset = self.opsets.get(domain, 1)
        try:
            return onnx.defs.get_schema(op_type, opset, domain).since_version
        except onnx.defs.SchemaError:
            return opset

    def build(self, node: Node, rule: Rule) -> list[Value | None] | None:
        """The outputs of a node: folded contents, or what its rule makes.

        None if the rule leaves the node to the function that defines the op.
        """
        fold = None if rule.domain else FOLDS.get(node.op_type)
        if (
            fold is not None
            and (folded := folded_outputs(node, fold, folded_element)) is not None
        ):
            return folded
        built = rule.build(node)
        if built is DECLINED:
            return None
        if isinstance(built, Operation):
            built = built.results
        outputs = list(built) if isinstance(built, Sequence) else [built]
        unread = {a.name for a in node.proto.attribute} - node.read - {*rule.ignores}
        if unread:
            raise node.unsupported(f"attribute {', '.join(sorted(unread))}")
        values = [as_value(output) for output in outputs]
        for value in values:
            if isinstance(value, Tensor) and not value.sources:
                value.sources = node.inputs
        if fold is not None:
            remember(node, fold, values)
        return values


def declared_dims(entry: onnx.ValueInfoProto) -> list[int | str | None] | None:
    """The dims of an input as the model gives them: a size, a name, or None."""
    kind = entry.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return [
        dim.dim_value
        if dim.HasField("dim_value") and dim.dim_value >= 0
        else dim.dim_param or None
        for dim in kind.shape.dim
    ]
