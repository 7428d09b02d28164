"""What surrounds a graph: which placeholders are inputs, which weights; the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    InputSpec,
    OutputKind,
)
from torch.utils import _pytree as pytree

from stepwell.errors import UnsupportedError

from .guards import Guard, guards_of
from .importer import Weight


@dataclass(frozen=True)
class Input:
    """One placeholder: an input of the engine, a weight, or a constant.

    Args:
        node: the placeholder.
        name: the engine's name of the input.
        value: a `Weight` or a plain value; None for an input.
        is_input: whether it is an argument of the engine.
    """

    node: fx.Node
    name: str
    value: Any = None
    is_input: bool = True


@dataclass(frozen=True)
class Program:
    """A graph with the meaning of its inputs and outputs.

    Args:
        module: the graph.
        inputs: its placeholders, in order.
        outputs: the name of each output, in order; None for one to leave out.
        ranges: bounds of symbols (`ValueRanges`), by SymPy's name.
        guards: relations of symbols without which the graph is another one.
    """

    name: str
    module: fx.GraphModule
    inputs: Sequence[Input]
    outputs: Sequence[str | None]
    ranges: Mapping[str, Any] = field(default_factory=dict[str, Any])
    guards: Sequence[Guard] = ()


def program_of_export(exported: ExportedProgram, name: str) -> Program:
    """An exported program: parameters and buffers are weights.

    A buffer that the model changes is an input of that name, and its new value an
    output `NAME_next`; so is an input that the model changes in place.
    """
    signature = exported.graph_signature
    mutated = set(signature.buffers_to_mutate.values())
    nodes = [node for node in exported.graph.nodes if node.op == "placeholder"]
    inputs = [
        _input(exported, node, spec, mutated)
        for node, spec in zip(nodes, signature.input_specs, strict=True)
    ]
    names = iter(leaf_names(exported))
    outputs: list[str | None] = []
    for spec in signature.output_specs:
        match spec.kind:
            case OutputKind.USER_OUTPUT:
                label = next(names)
                is_constant = isinstance(spec.arg, ConstantArgument)
                outputs.append(None if is_constant else label)
            case OutputKind.BUFFER_MUTATION | OutputKind.USER_INPUT_MUTATION:
                outputs.append(f"{spec.target}_next")
            case OutputKind.TOKEN:
                outputs.append(None)
            case _:
                raise UnsupportedError(f"an output that is a {spec.kind.name.lower()}")
    constraints = exported.range_constraints
    ranges = {str(symbol): known for symbol, known in constraints.items()}
    guards = guards_of(exported)
    return Program(name, exported.graph_module, inputs, outputs, ranges, guards)


def _input(
    exported: ExportedProgram, node: fx.Node, spec: InputSpec, mutated: set[str]
) -> Input:
    target = spec.target or node.name
    match spec.kind:
        case InputKind.USER_INPUT if isinstance(spec.arg, ConstantArgument):
            return Input(node, node.name, spec.arg.value, is_input=False)
        case InputKind.USER_INPUT:
            return Input(node, node.name)
        case InputKind.BUFFER if target in mutated:
            return Input(node, target)
        case InputKind.PARAMETER | InputKind.BUFFER | InputKind.CONSTANT_TENSOR:
            held = exported.state_dict.get(target)
            if held is None:
                held: Any = exported.constants[target]
            return Input(node, target, Weight(held, target), is_input=False)
        case InputKind.TOKEN:
            return Input(node, node.name, is_input=False)
        case _:
            raise UnsupportedError(f"an input that is a {spec.kind.name.lower()}")


def program_of_graph(
    module: fx.GraphModule,
    constants: Mapping[str, torch.Tensor] | None,
    ranges: Mapping[Any, Any] | None,
    name: str,
) -> Program:
    """A graph of ATen calls, as `torch.compile` hands it over.

    `constants` are the placeholders that are weights, by name; `ranges` are by SymPy
    symbol or its name, by default those of the graph's own sizes.
    """
    constants = constants or {}
    ranges = _own_ranges(module) if ranges is None else ranges
    known = {getattr(symbol, "name", symbol): r for symbol, r in ranges.items()}
    inputs: list[Input] = []
    count = 0
    for node in module.graph.nodes:
        if node.op == "placeholder":
            held = constants.get(node.name)
            weight = None if held is None else Weight(held, node.name)
            inputs.append(Input(node, node.name, weight, is_input=weight is None))
        elif node.op == "output":
            count = len(pytree.tree_leaves(node.args[0]))
    return Program(name, module, inputs, output_names(count), known)


def _own_ranges(module: fx.GraphModule) -> Mapping[Any, Any]:
    """What is known of the symbols in the sizes of a graph's inputs."""
    for node in module.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        sizes = value.shape if isinstance(value, torch.Tensor) else (value,)
        for size in sizes:
            if isinstance(size, torch.SymInt) and size.node.shape_env is not None:
                return size.node.shape_env.var_to_range
    return {}


def output_names(count: int) -> list[str]:
    """`output`, or `output_0`, `output_1`, ... of a flat list of outputs."""
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def leaf_names(exported: ExportedProgram) -> list[str]:
    """The names of the leaves of a model's result.

    Keys and fields name them (`logits`, `past_key_values_0_1`); a part without either
    is `output`.
    """
    spec = exported.call_spec.out_spec
    assert spec is not None
    tree = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    paths, _ = pytree.tree_flatten_with_path(tree)
    names = ["_".join(map(_key_text, path)) for path, _ in paths]
    names = [name if name[:1].isalpha() else f"output_{name}" for name in names]
    return [name.rstrip("_") for name in names]


def _key_text(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key).strip(".[]'\"")
