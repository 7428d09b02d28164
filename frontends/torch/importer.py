"""From a graph of ATen calls to `nn` ops: names, values, locations, issues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.utils import _pytree as pytree
from xdsl.ir import Operation, SSAValue

from stepwell.dialects.shapes import DimExpr
from stepwell.errors import ModelError, StepwellError, UnsupportedError
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.report import Issue

from .call import Call
from .inplace import changed, functional_name, is_in_place
from .locations import Locations, source_line
from .ops import TABLE
from .overloads import rule_name, schema_of
from .real_numbers import real_number
from .symbols import Symbols
from .tensors import to_numpy


@dataclass(frozen=True)
class CallIssue(Issue):
    """What one call of a graph asks for in vain; `fx_node` is the call."""

    fx_node: fx.Node | None = None


@dataclass(frozen=True)
class Weight:
    """A tensor that the model holds; a constant of the IR once it is used."""

    tensor: torch.Tensor
    name: str


class Poison:
    """Stands for the results of a call that could not be imported."""


POISON = Poison()
_NUMBERS = (int, float, bool, torch.SymInt, torch.SymFloat, torch.SymBool)
_ABSENT = object()


class GraphImporter:
    """Imports graphs into one builder; issues are collected.

    Args:
        builder: takes the ops.
        symbols: the sizes of the program.
        strict: whether an error in a call ends the import; if not, it is an issue.
    """

    def __init__(
        self, builder: GraphBuilder, symbols: Symbols, *, strict: bool = True
    ) -> None:
        self.builder = builder
        self.symbols = symbols
        self.strict = strict
        self.issues: list[CallIssue] = []
        self.ops: Counter[str] = Counter()
        self._constants: dict[object, SSAValue] = {}

    def constant(self, tensor: torch.Tensor, name: str) -> SSAValue:
        """A tensor of the model, made once however many names it has."""
        key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.is_meta or not tensor.numel():
            key = (id(tensor),)
        if key not in self._constants:
            with self.builder.at(name):
                self._constants[key] = self.builder.constant(to_numpy(tensor))
        return self._constants[key]

    def import_graph(
        self, module: fx.GraphModule, inputs: Sequence[Any], prefix: str = ""
    ) -> list[Any]:
        """The outputs of a graph, imported where the builder stands.

        `inputs` are the values of its placeholders, in order.
        """
        locations = Locations(module.graph, prefix)
        values: dict[fx.Node, Any] = {}
        given = iter(inputs)
        for node in module.graph.nodes:
            match node.op:
                case "placeholder":
                    values[node] = next(given)
                case "get_attr":
                    values[node] = self.attribute(module, str(node.target))
                case "output":
                    return self.resolve(node.args[0], values)
                case "call_function":
                    if node.users or _has_effect(node):
                        name = locations.name(node)
                        values[node] = self.import_call(node, name, values)
                        for source in changed(node):
                            values[source] = values[node]
                case "call_module" if not node.users:
                    pass  # the guards on input shapes; the engine checks them itself
                case _:
                    self.note(
                        node, locations.name(node), UnsupportedError(f"{node.op} nodes")
                    )
                    values[node] = POISON
        raise ModelError("expected a graph with an output node, got none")

    def attribute(self, module: fx.GraphModule, target: str) -> Any:
        """A tensor (as a `Weight`) or graph that a graph module holds."""
        found: Any = module
        for part in target.split("."):
            found = getattr(found, part)
        if not isinstance(found, torch.Tensor):
            return found
        return Weight(found, target)

    def read(self, value: Any) -> Any:
        """A value as an argument of a call."""
        if isinstance(value, Weight):
            return self.constant(value.tensor, value.name)
        return value

    def resolve(self, argument: Any, values: Mapping[fx.Node, Any]) -> Any:
        """An argument with nodes replaced by what they stand for."""
        if isinstance(argument, fx.Node):
            value = values[argument]
            return self.read(value)
        if isinstance(argument, list | tuple):
            return [self.resolve(each, values) for each in argument]
        if isinstance(argument, dict):
            return {key: self.resolve(each, values) for key, each in argument.items()}
        return argument

    def import_call(
        self, node: fx.Node, name: str, values: Mapping[fx.Node, Any]
    ) -> Any:
        """The value of a call: an SSA value, a number, or a list of them."""
        target = functional_name(node.target)
        if target == "getitem":
            return self.item(node, values)
        rule = TABLE.get(target)
        arguments: list[Any] = []
        try:
            known = node.meta.get("val", _ABSENT)
            if rule is None and isinstance(known, _NUMBERS):
                is_poisoned = _is_poisoned(self.resolve(node.args, values))
                return POISON if is_poisoned else self.number(known, name)
            self.ops[target] += 1
            if rule is None:
                raise UnsupportedError("the op is not supported")
            if any(map(_is_complex, (node, *node.all_input_nodes))):
                raise UnsupportedError("complex numbers")
            arguments = self.arguments(node, values)
            if _is_poisoned(arguments):
                return POISON
            call = Call(node, name, self)
            with self.builder.at(name):
                return _as_value(rule(call, *arguments), known)
        except UnsupportedError as error:
            self.note(node, name, error)
        except TypeError as error:
            if not (sizes := _sizes_among(arguments, node)):
                self.fail(node, name, error)
            what = f"{' and '.join(sizes)} known only at run time"
            self.note(node, name, UnsupportedError(what))
        except Exception as error:
            self.fail(node, name, error)
        return POISON

    def number(self, known: Any, name: str) -> Any:
        """A number that PyTorch computed of sizes."""
        if not isinstance(known, torch.SymFloat) or known.node.expr.is_number:
            return self.symbols.number(known)
        with self.builder.at(name):
            return real_number(self.symbols, known.node.expr)

    def fail(self, node: fx.Node, name: str, error: Exception) -> None:
        """A call that cannot be imported for what it says, not for what we lack.

        Raises:
            StepwellError: the same error with its call; a `ModelError` if it is not
                one of ours.
        """
        if isinstance(error, StepwellError):
            failure, cause = _with_call(error, node, name), None
        else:
            first = f"{type(error).__name__}: {error}".splitlines()[0]
            what = f"cannot import {functional_name(node.target)}"
            failure = ModelError(what, notes=[first], where=_where(node, name))
            cause = error
        if self.strict:
            raise failure from cause
        what = "; ".join((failure.summary, *failure.notes[:1]))
        self.note(node, name, UnsupportedError(what, fix=failure.fix))

    def item(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        """One result of a call with several."""
        source, index = self.resolve(node.args, values)
        if isinstance(source, Poison):
            return POISON
        if not isinstance(source, list | tuple) or index >= len(source):
            error = UnsupportedError(f"result {index} of the op")
            assert isinstance(node.args[0], fx.Node)
            self.note(node.args[0], node.name, error)
            return POISON
        return source[index]

    def arguments(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> list[Any]:
        """The arguments in the order of the op's schema, defaults filled in."""
        given = [self.argument(each, values) for each in node.args]
        schema = schema_of(node.target)
        if schema is None:
            return given
        for entry in schema.arguments[len(given) :]:
            value = node.kwargs.get(entry.name, entry.default_value)
            given.append(self.argument(value, values))
        return given

    def argument(self, argument: Any, values: Mapping[fx.Node, Any]) -> Any:
        """An argument with nodes replaced, and symbolic numbers as dims."""
        if isinstance(argument, fx.Node):
            return self.resolve(argument, values)
        if isinstance(argument, list | tuple):
            return [self.argument(each, values) for each in argument]
        return self.symbols.number(argument)

    def note(self, node: fx.Node, name: str, error: UnsupportedError) -> None:
        """Remember what a call asks for in vain."""
        issue = CallIssue(
            name,
            rule_name(node.target),
            " at ".join(filter(None, (error.summary, source_line(node)))),
            error.fix,
            node,
        )
        self.issues.append(issue)


def _has_effect(node: fx.Node) -> bool:
    """Whether a call must stay although nobody uses its result."""
    return rule_name(node.target) in EFFECTS or is_in_place(node)


EFFECTS = ("aten._assert_scalar.default",)


def _is_complex(node: fx.Node) -> bool:
    """Whether a node stands for complex numbers."""
    known = node.meta.get("val")
    return isinstance(known, torch.Tensor) and known.is_complex()


def _is_poisoned(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_is_poisoned, value))
    return isinstance(value, Poison)


def _sizes_among(arguments: Sequence[Any], node: fx.Node) -> list[str]:
    """The arguments of a call that are sizes known only at run time."""
    schema = schema_of(node.target)
    entries = () if schema is None else schema.arguments
    return [
        entry.name
        for entry, argument in zip(entries, arguments, strict=False)
        if any(isinstance(each, DimExpr) for each in pytree.tree_leaves(argument))
    ]


def _as_value(output: Any, known: Any) -> Any:
    """What a builder returned as the value of its node."""
    if isinstance(output, Operation):
        results = list(output.results)
        return results if isinstance(known, tuple | list) else results[0]
    if isinstance(output, Sequence) and not isinstance(output, str):
        return [_as_value(each, None) for each in output]
    return output


def _with_call(error: StepwellError, node: fx.Node, name: str) -> StepwellError:
    """The same error, saying which call of the model it is about."""
    if error.where is not None:
        return error
    return type(error)(
        error.summary, notes=error.notes, where=_where(node, name), fix=error.fix
    )


def _where(node: fx.Node, name: str) -> str:
    return ", ".join(filter(None, (f"{name!r} ({node.target})", source_line(node))))
