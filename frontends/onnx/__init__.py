"""The ONNX frontend: a model file to one function of `nn` ops."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.weights import WeightStore
from stepwell.errors import OptionError, UnsupportedError
from stepwell.frontends.importer import checked, guarded, imported
from stepwell.frontends.onnx.importer import Importer
from stepwell.frontends.onnx.load import (
    LoadedModel,
    Source,
    fix_inputs,
    inline_functions,
    load_model,
)
from stepwell.frontends.onnx.ops import TABLE
from stepwell.frontends.profiles import ShapeSpec, as_profiles
from stepwell.frontends.report import Issue, Report

__all__ = [
    "Issue",
    "Report",
    "Source",
    "check_model",
    "fix_inputs",
    "import_model",
    "shape_inputs",
]


def import_model(
    source: Source,
    context: StepwellContext,
    shapes: Mapping[str, ShapeSpec] | None = None,
    values: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> ModuleOp:
    """Import an ONNX model.

    Args:
        source: a path, the bytes of a file, or a `ModelProto`.
        context: large constants go to its weight store.
        shapes: sizes or ranges by input name or by the name of a symbol.
        values: inputs to fix: they become constants and are no arguments any more.

    Returns:
        A module whose `@main` computes the model.

    Raises:
        ModelError: the source is not a sound ONNX model.
        UnsupportedError: lists everything in the model that is not supported.
        OptionError: `shapes` or `values` do not fit the model.
    """
    return imported(prepare(source, context, shapes, values))


def check_model(
    source: Source, shapes: Mapping[str, ShapeSpec] | None = None
) -> Report:
    """Everything of a model that is not supported, found in one pass.

    Raises:
        ModelError: the source is not a sound ONNX model.
    """
    return checked(
        prepare(source, StepwellContext(weights=WeightStore()), shapes, None)
    )


def shape_inputs(source: Source) -> set[str]:
    """The small inputs that decide a shape, an axis or a count of the model.

    A model with such an input can be compiled for fixed values of it (`values`).
    """
    importer = prepare(source, StepwellContext(weights=WeightStore()), None, None)
    with suppress(UnsupportedError):
        guarded(importer.run, importer.name)
    return importer.shape_inputs


def prepare(
    source: Source,
    context: StepwellContext,
    shapes: Mapping[str, ShapeSpec] | None,
    values: Mapping[str, np.ndarray[Any, Any]] | None,
) -> Importer:
    """An importer for a loaded, checked and inlined model."""
    model = load_model(source)
    profiles = as_profiles(shapes)
    check_names(model.proto, {*profiles}, {*(values or {})})
    proto = fix_inputs(model.proto, values) if values else model.proto
    proto = guarded(lambda: inline_functions(proto), model.name)
    model = LoadedModel(proto, model.directory, model.name)
    return Importer(model, TABLE, context, profiles)


def check_names(proto: onnx.ModelProto, shapes: set[str], values: set[str]) -> None:
    """Refuse options for inputs or symbols that the model does not have."""
    inputs = {entry.name for entry in proto.graph.input}
    symbols = {
        dim.dim_param
        for entry in proto.graph.input
        for dim in entry.type.tensor_type.shape.dim
    }
    for unknown in sorted((shapes - inputs - symbols) | (values - inputs)):
        raise OptionError(
            f"the model has no input {unknown!r}",
            notes=[f"its inputs: {', '.join(sorted(inputs))}"],
        )
