"""From a model of any framework to a module of `nn` ops: the one door to the frontends.

A framework is imported only when the source is a model of it, so that a machine without
PyTorch or TensorFlow builds ONNX models.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from stepwell.dialects.context import StepwellContext
    from stepwell.frontends.profiles import ShapeSpec
    from stepwell.frontends.report import Report


@dataclass(frozen=True)
class Example:
    """The inputs that a model which is traced is traced with.

    Args:
        args, kwargs: what the model is called with.
        dynamic_shapes: which of their dims may change, as `torch.export.export` takes
            it.
    """

    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    dynamic_shapes: Any = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given."""
        return self.args is None and self.kwargs is None and self.dynamic_shapes is None


Import = Callable[[Any, "StepwellContext", Any, Example], "ModuleOp"]
Check = Callable[[Any, "Mapping[str, ShapeSpec] | None"], "Report"]


@dataclass(frozen=True)
class Framework:
    """One kind of source.

    Args:
        name: as messages write it.
        accepts: whether a source is of this kind; must import nothing.
        run: imports it.
        needs: the package that must be installed.
        extra: the extra of `stepwell` that brings it.
        check: names everything in a source that is not supported.
    """

    name: str
    accepts: Callable[[Any], bool]
    run: Import
    needs: str
    extra: str
    check: Check | None = None


def import_source(
    model: Any,
    context: StepwellContext,
    shapes: Mapping[str, ShapeSpec] | None = None,
    example: Example | None = None,
) -> ModuleOp:
    """Import a model of any framework.

    Args:
        model: the path, bytes or proto of an ONNX model; a `torch.nn.Module`, an
            `ExportedProgram` or the path of one (`.pt2`); a SavedModel directory, a
            `.keras` or frozen `.pb` file, a Keras model or a `tf.function`.
        context: large constants go to its weight store.
        shapes: sizes or ranges by input name or by the name of a symbol.
        example: the inputs to trace a module or function with.

    Raises:
        MissingExtraError: the framework is not installed; names the extra.
        ModelError: the model is damaged or inconsistent.
        UnsupportedError: lists everything in the model that is not supported.
        OptionError: `shapes` or `example` do not fit the model.
    """
    framework = installed_framework_of(model)
    return framework.run(model, context, shapes, example or Example())


def check_source(model: Any, shapes: Mapping[str, ShapeSpec] | None = None) -> Report:
    """Everything of a model that is not supported, found in one pass.

    Raises:
        MissingExtraError: the framework is not installed; names the extra.
        ModelError: the model is damaged or inconsistent.
        OptionError: models of the framework are not checked without building them.
    """
    framework = installed_framework_of(model)
    if framework.check is None:
        raise OptionError(
            f"expected an ONNX or TensorFlow model, got one of {framework.name}",
            fix="build it: the error lists everything that is not supported",
        )
    return framework.check(model, shapes)


def installed_framework_of(model: Any) -> Framework:
    """The framework of a source, once the package that it needs is imported."""
    framework = framework_of(model)
    try:
        import_module(framework.needs)
    except ImportError:
        raise MissingExtraError(
            f"a {framework.name} model needs {framework.needs}, which is not installed",
            fix=f"pip install 'stepwell[{framework.extra}]'",
        ) from None
    return framework


def framework_of(model: Any) -> Framework:
    """Which framework a source belongs to; ONNX if it looks like no other."""
    return next(kind for kind in FRAMEWORKS if kind.accepts(model))


def name_of(model: Any) -> str:
    """What to call the engine of a model."""
    if isinstance(model, str | os.PathLike):
        return Path(model).stem
    graph = getattr(model, "graph", None)
    if isinstance(name := getattr(graph, "name", None), str) and name:
        return name
    if isinstance(name := getattr(model, "name", None), str) and name:
        return name
    module = getattr(model, "graph_module", model)
    kind = getattr(module, "_get_name", lambda: "")()
    return kind or "model"


def _has_suffix(model: Any, *suffixes: str) -> bool:
    return isinstance(model, str | os.PathLike) and Path(model).suffix in suffixes


def _is_torch(model: Any) -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return True
    export = sys.modules.get("torch.export")
    if export is not None and isinstance(model, export.ExportedProgram):
        return True
    return _has_suffix(model, ".pt2")


def _import_torch(
    model: Any, context: StepwellContext, shapes: Any, example: Example
) -> ModuleOp:
    from stepwell.frontends.torch import import_model

    return import_model(
        model,
        context,
        shapes,
        args=example.args,
        kwargs=example.kwargs,
        dynamic_shapes=example.dynamic_shapes,
    )


def _is_tensorflow(model: Any) -> bool:
    if _has_suffix(model, ".keras", ".h5", ".pb"):
        return True
    if isinstance(model, str | os.PathLike):
        return (Path(model) / "saved_model.pb").is_file()
    module = type(model).__module__
    if module.partition(".")[0] in ("tensorflow", "keras", "tf_keras"):
        return True
    if module.startswith("stepwell.frontends.tensorflow"):
        return True
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, keras.Model)


def _import_tensorflow(
    model: Any, context: StepwellContext, shapes: Any, example: Example
) -> ModuleOp:
    from stepwell.frontends.tensorflow import import_model

    if example.kwargs is not None or example.dynamic_shapes is not None:
        raise OptionError(
            "a TensorFlow model is traced with args= only: expected no kwargs or "
            "dynamic_shapes",
            fix="give args= tf.TensorSpec with None for the dims that change",
        )
    return import_model(model, context, shapes, args=example.args)


def _import_onnx(
    model: Any, context: StepwellContext, shapes: Any, example: Example
) -> ModuleOp:
    from stepwell.frontends.onnx import import_model

    if not example.is_empty:
        raise OptionError(
            "an ONNX model is not traced: expected no args, kwargs or dynamic_shapes",
            fix="give the sizes of inputs with shapes=",
        )
    return import_model(model, context, shapes)


def _check_onnx(model: Any, shapes: Mapping[str, ShapeSpec] | None) -> Report:
    from stepwell.frontends.onnx import check_model

    return check_model(model, shapes)


def _check_tensorflow(model: Any, shapes: Mapping[str, ShapeSpec] | None) -> Report:
    from stepwell.frontends.tensorflow import check_model

    return check_model(model, shapes)


FRAMEWORKS: tuple[Framework, ...] = (
    Framework("PyTorch", _is_torch, _import_torch, "torch", "torch"),
    Framework(
        "TensorFlow",
        _is_tensorflow,
        _import_tensorflow,
        "tensorflow",
        "tensorflow",
        _check_tensorflow,
    ),
    Framework("ONNX", lambda _: True, _import_onnx, "onnx", "compile", _check_onnx),
)
"""Every kind of source, in the order of asking; the last one takes what is left."""
