"""The PyTorch frontend: an exported program or ATen graph to `nn` ops."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.weights import WeightStore
from stepwell.errors import ModelError, OptionError
from stepwell.frontends.importer import imported
from stepwell.frontends.profiles import ShapeSpec, as_profiles
from stepwell.frontends.report import Issue

from .assemble import Assembler
from .export import decompose, decomposition_table, export_module, fake_inputs
from .importer import CallIssue
from .program import program_of_export, program_of_graph

__all__ = [
    "CallIssue",
    "Issue",
    "decompose",
    "decomposition_table",
    "export_module",
    "fake_inputs",
    "import_graph",
    "import_model",
    "unsupported",
]

Source = torch.nn.Module | ExportedProgram | str | os.PathLike[str]


def import_model(
    source: Source,
    context: StepwellContext,
    shapes: Mapping[str, ShapeSpec] | None = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
) -> ModuleOp:
    """Import a PyTorch model.

    Args:
        source: a module, an exported program, or the path of one (`.pt2`).
        context: large constants go to its weight store.
        shapes: sizes or ranges of dynamic dims, by input name or by the name of a
            symbol; within what the program was exported for.
        args, kwargs, dynamic_shapes: what to export a module with; see
            `torch.export.export`.

    Raises:
        ModelError: PyTorch cannot export the module or read the file.
        UnsupportedError: lists everything in the model that is not supported.
        OptionError: an argument does not fit the model.
    """
    if isinstance(source, str | os.PathLike):
        exported = _load(source)
    elif isinstance(source, ExportedProgram):
        exported = source
    elif isinstance(source, fx.GraphModule) and args is None and kwargs is None:
        return import_graph(source, context, shapes)
    else:
        exported = export_module(source, args, kwargs, dynamic_shapes)
        return _import_exported(exported, context, shapes, type(source).__name__)
    if args is not None or kwargs is not None or dynamic_shapes is not None:
        raise OptionError("an exported program is not traced again: expected no args")
    return _import_exported(exported, context, shapes, "model")


def import_graph(
    graph: fx.GraphModule | ExportedProgram,
    context: StepwellContext,
    shapes: Mapping[str, ShapeSpec] | None = None,
    *,
    constants: Mapping[str, torch.Tensor] | None = None,
    ranges: Mapping[str, Any] | None = None,
) -> ModuleOp:
    """Import a graph of ATen calls, whose nodes carry fake tensors (`meta["val"]`).

    Args:
        graph: as an AOT backend of `torch.compile` gets it; nothing is changed in
            place. An exported program is decomposed first.
        context, shapes: see `import_model`.
        constants: the placeholders that are weights, by name.
        ranges: bounds of the symbols (`ShapeEnv.var_to_range`), by SymPy symbol or its
            name.

    Returns:
        A module whose `@main` takes the other placeholders, and returns the outputs
        (`output`, or `output_0`, ...) that are tensors or sizes.

    Raises:
        UnsupportedError: lists everything in the graph that is not supported.
    """
    if isinstance(graph, ExportedProgram):
        return _import_exported(graph, context, shapes, "model")
    program = program_of_graph(graph, constants, ranges, "graph")
    return imported(Assembler(program, context, as_profiles(shapes)))


def unsupported(graph: fx.GraphModule | ExportedProgram) -> list[CallIssue]:
    """Everything in a graph that is not supported; each names its call.

    No weight is read. An exported program must be decomposed (`decompose`).
    """
    if isinstance(graph, ExportedProgram):
        program = program_of_export(graph, "model")
    else:
        program = program_of_graph(graph, None, None, "graph")
    context = StepwellContext(weights=WeightStore())
    assembler = Assembler(program, context, {}, weights=False)
    return assembler.check()


def _import_exported(
    exported: ExportedProgram,
    context: StepwellContext,
    shapes: Mapping[str, ShapeSpec] | None,
    name: str,
) -> ModuleOp:
    program = program_of_export(decompose(exported), name)
    return imported(Assembler(program, context, as_profiles(shapes)))


def _load(path: str | os.PathLike[str]) -> ExportedProgram:
    try:
        return torch.export.load(path)
    except Exception as error:
        raise ModelError(
            "cannot read the exported program",
            notes=[f"{type(error).__name__}: {error}".splitlines()[0]],
            where=str(path),
        ) from None
