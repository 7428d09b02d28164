"""From a `torch.nn.Module` to the ATen graph that the importer reads.

An op that the table has a rule for stays whole: `linear`, `layer_norm`, `lstm`,
`scaled_dot_product_attention`. All others are decomposed as PyTorch itself does, and
changes in place become new values.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram, ShapesCollection, default_decompositions
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_map_only

from stepwell.errors import ModelError, OptionError

from .inplace import functional_name, is_sound
from .ops import TABLE
from .overloads import find_overload, is_mutable, rule_name, schema_of
from .whole import whole_recurrent_layers


def export_module(
    module: torch.nn.Module,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    dynamic_shapes: Any,
) -> ExportedProgram:
    """Trace a module as it is at inference (`module.eval()`, restored afterwards).

    Raises:
        OptionError: there is nothing to call the module with.
        ModelError: PyTorch cannot export it; its own words are in the notes.
    """
    if args is None and kwargs is None:
        raise OptionError(
            "a torch.nn.Module is traced: expected inputs to call it with, got none",
            fix="stepwell.build(module, args=(x,))",
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            "expected a torch.nn.Module, got a ScriptModule",
            fix="build from the module that the script was made of",
        )
    given = (args,) if isinstance(args, torch.Tensor) else tuple(args or ())
    named = dict(kwargs or {})
    training = [child for child in module.modules() if child.training]
    try:
        module.eval()
        with warnings.catch_warnings(), torch.no_grad(), whole_recurrent_layers():
            warnings.simplefilter("ignore")
            if isinstance(dynamic_shapes, ShapesCollection):
                dynamic_shapes = dynamic_shapes.dynamic_shapes(module, given, named)
            given, named = _as_distinct_tensors(module, (given, named))
            return _trace(module, given, named, dynamic_shapes)
    except Exception as error:
        raise ModelError(
            f"torch.export cannot trace {type(module).__name__}",
            notes=_first_lines(error),
            fix=_advice(error),
        ) from error
    finally:
        for child in training:
            child.training = True


def _as_distinct_tensors(module: torch.nn.Module, inputs: Any) -> Any:
    """The inputs with a copy of each tensor that another input, or a weight, is too.

    PyTorch tells inputs apart by their identity: `model(x, x)` would be traced to a
    program that reads one of its two inputs twice.
    """
    seen = {id(each) for each in (*module.parameters(), *module.buffers())}

    def distinct(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) in seen:
            return tensor.detach().clone()
        seen.add(id(tensor))
        return tensor

    return tree_map_only(torch.Tensor, distinct, inputs)


def _trace(
    module: torch.nn.Module, args: Any, kwargs: Any, dynamic_shapes: Any
) -> ExportedProgram:
    """Trace; what PyTorch cannot prove of all sizes is checked when a size comes."""

    def trace(**options: Any) -> ExportedProgram:
        return torch.export.export(
            module, args, kwargs, dynamic_shapes=dynamic_shapes, strict=False, **options
        )

    try:
        return trace()
    except Exception as error:
        if "Constraints violated" not in str(error):
            raise
    return trace(prefer_deferred_runtime_asserts_over_guards=True)


def decompose(exported: ExportedProgram) -> ExportedProgram:
    """The same program in ops of the table, without changes in place, if it can be."""
    if not needs_decomposition(exported):
        return exported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return exported.run_decompositions(decomposition_table())


def needs_decomposition(exported: ExportedProgram) -> bool:
    """Whether a call of the graph has no rule, changes memory that others share, or
    casts its operands by itself (autocast)."""
    for module in exported.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            if rule_name(node.target) == "wrap_with_autocast" and node.args[2]:
                return True  # its casts are not in the graph yet
            if schema_of(node.target) is None:
                continue
            if is_mutable(node.target) and not is_sound(node):
                return True
            if functional_name(node.target) not in TABLE and isinstance(
                node.meta.get("val"), torch.Tensor | tuple | list
            ):
                return True
    return False


def decomposition_table() -> dict[Any, Any]:
    """PyTorch's decompositions, but for ops that the table has a rule for."""
    table = default_decompositions()
    for name in TABLE:
        if (overload := find_overload(name)) is not None:
            table.pop(overload, None)
    return table


def fake_inputs(exported: ExportedProgram) -> list[Any]:
    """What stands for each of the user's flat inputs: a fake tensor, a size."""
    nodes = exported.graph.find_nodes(op="placeholder")
    specs = exported.graph_signature.input_specs
    return [
        node.meta.get("val")
        for node, spec in zip(nodes, specs, strict=True)
        if spec.kind is InputKind.USER_INPUT
    ]


def _advice(error: Exception) -> str | None:
    """What to do about the commonest failure; PyTorch's own advice is in the notes."""
    if "to be a constant (1)" in str(error) or "constant (0)" in str(error):
        return "trace with an example whose dynamic dims are 2 or more"
    return None


def _first_lines(error: Exception) -> list[str]:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return [f"{type(error).__name__}: {line}" for line in lines[:1]] + lines[1:6]
