"""The TensorFlow frontend: a SavedModel, Keras model or function to `nn` ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.weights import WeightStore
from stepwell.errors import OptionError
from stepwell.frontends.importer import checked, imported
from stepwell.frontends.profiles import ShapeSpec, as_profiles
from stepwell.frontends.report import Issue, Report
from stepwell.frontends.tensorflow.graph import LoadedGraph
from stepwell.frontends.tensorflow.importer import Importer
from stepwell.frontends.tensorflow.load import Source, load
from stepwell.frontends.tensorflow.ops import TABLE
from stepwell.frontends.tensorflow.saved_model import SERVING

__all__ = ["Issue", "Report", "Source", "check_model", "import_model", "load"]


def import_model(
    source: Source,
    context: StepwellContext,
    shapes: Mapping[str, ShapeSpec] | None = None,
    signature: str = SERVING,
    args: Sequence[Any] | None = None,
    outputs: Sequence[str] | None = None,
) -> ModuleOp:
    """Import a TensorFlow model.

    Args:
        source: a SavedModel directory, a `.keras`, `.h5` or frozen `.pb` file, a Keras
            model, a `tf.function`, a concrete function, or a `GraphDef`.
        context: large constants go to its weight store.
        shapes: sizes or ranges by input name or by the name of a symbol.
        signature: which signature of a SavedModel.
        args: example inputs to trace a function or model with, where it has no
            signature of its own.
        outputs: the tensors that a frozen graph computes; by default those that
            nothing reads.

    Returns:
        A module whose `@main` computes the model.

    Raises:
        ModelError: the source is not a sound model.
        UnsupportedError: lists everything in the model that is not supported.
        OptionError: an argument does not fit the model.
    """
    model = load(source, signature=signature, args=args, outputs=outputs)
    return imported(prepare(model, context, shapes))


def check_model(
    source: Source,
    shapes: Mapping[str, ShapeSpec] | None = None,
    signature: str = SERVING,
    args: Sequence[Any] | None = None,
) -> Report:
    """Everything of a model that is not supported, found in one pass.

    Raises:
        ModelError: the source is not a sound model.
    """
    model = load(source, signature=signature, args=args)
    return checked(prepare(model, StepwellContext(weights=WeightStore()), shapes))


def prepare(
    model: LoadedGraph, context: StepwellContext, shapes: Mapping[str, ShapeSpec] | None
) -> Importer:
    """An importer for a loaded model."""
    profiles = as_profiles(shapes)
    inputs = {each.name for each in model.inputs}
    symbols = {dim for each in model.inputs for dim in each.shape or ()}
    if unknown := {*profiles} - inputs - symbols:
        raise OptionError(
            f"the model has no input {', '.join(sorted(map(repr, unknown)))}",
            notes=[f"its inputs: {', '.join(each.name for each in model.inputs)}"],
        )
    return Importer(model, TABLE, context, profiles)
