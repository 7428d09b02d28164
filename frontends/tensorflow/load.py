"""Every kind of TensorFlow source, loaded into one form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.python.framework.composite_tensor import CompositeTensor

from stepwell.errors import ModelError, OptionError, UnsupportedError
from stepwell.frontends.tensorflow.frames import functionalise
from stepwell.frontends.tensorflow.graph import (
    Body,
    GraphInput,
    LoadedGraph,
    Ref,
    op_def,
    unique_names,
)
from stepwell.frontends.tensorflow.protos import GraphDef, graph_class
from stepwell.frontends.tensorflow.saved_model import (
    SERVING,
    load_saved_model,
    shape_of,
)

Source: TypeAlias = Any
"""A SavedModel directory, a `.keras`, `.h5` or `.pb` file, a Keras model, a
`tf.function`, a concrete function, or a `GraphDef`."""

LEFT_OVER = "unused_control_flow_input"
"""How TensorFlow names the placeholders that lowering a loop leaves behind."""

KERAS_FILES = (".keras", ".h5", ".hdf5")


def load(
    source: Source,
    signature: str = SERVING,
    tags: Sequence[str] = ("serve",),
    args: Sequence[Any] | None = None,
    outputs: Sequence[str] | None = None,
) -> LoadedGraph:
    """Load a model.

    Args:
        source: see `Source`.
        signature: which signature of a SavedModel.
        tags: which graph of a SavedModel.
        args: example inputs, or `TensorSpec`s, to trace a `tf.function` with that has
            no signature of its own.
        outputs: the tensors that a frozen graph computes; by default those that
            nothing reads.

    Raises:
        ModelError: the source is no sound model.
        OptionError: it lacks a signature, or shapes to trace it with.
    """
    if isinstance(source, LoadedGraph):
        return source
    return functionalise(load_any(source, signature, tags, args, outputs))


def load_any(
    source: Source,
    signature: str,
    tags: Sequence[str],
    args: Sequence[Any] | None,
    outputs: Sequence[str] | None,
) -> LoadedGraph:
    """What `load` loads, with its control flow as it stands."""
    if isinstance(source, str | os.PathLike):
        return load_path(Path(source), signature, tags, outputs)
    if isinstance(source, graph_class):
        return frozen_graph(source, "graph", outputs)
    if isinstance(source, tf.keras.Model):
        return keras_model(source, args)
    if hasattr(source, "get_concrete_function"):
        return concrete_function(concrete(source, args))
    if hasattr(source, "structured_input_signature"):
        return concrete_function(source)
    if callable(getattr(source, "signatures", {}).get(signature)):
        return concrete_function(source.signatures[signature])
    raise OptionError(
        "expected a SavedModel directory, a Keras model, a tf.function or a GraphDef, "
        f"got {type(source).__name__}"
    )


def load_path(
    path: Path, signature: str, tags: Sequence[str], outputs: Sequence[str] | None
) -> LoadedGraph:
    """A model from a file or a directory."""
    if path.is_dir():
        return load_saved_model(path, signature, tags)
    if not path.exists():
        raise ModelError(f"{path}: no such file or directory")
    if path.suffix in KERAS_FILES:
        try:
            model = tf.keras.models.load_model(path, compile=False)
        except Exception as error:
            raise ModelError(
                f"{path}: Keras cannot load the model",
                notes=[f"{type(error).__name__}: {error}".splitlines()[0]],
            ) from None
        return keras_model(model, None)
    graph = graph_class()
    try:
        graph.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{path}: expected a GraphDef", notes=[str(error)]) from None
    return frozen_graph(graph, path.stem, outputs)


def keras_model(model: Any, args: Sequence[Any] | None) -> LoadedGraph:
    """A Keras model, traced for inference; its first dim is the batch."""
    inputs = getattr(model, "inputs", None)
    if args is None and not inputs:
        raise OptionError(
            "expected a Keras model with known inputs",
            fix="call it once, or give args= to trace it with",
        )
    if args is None:
        specs: list[Any] = [spec_of(each) for each in inputs or ()]
        function = tf.function(lambda *xs: model(_as_given(model, xs), training=False))
    else:
        specs = [as_spec(each, f"x{i}") for i, each in enumerate(args)]
        function = tf.function(lambda *xs: model(*xs, training=False))
    loaded = concrete_function(traced(function, specs))
    names = unique_names(str(spec.name) for spec in specs)
    loaded.inputs = [
        GraphInput(name, each.ref, each.dtype, _with_batch(each.shape))
        for name, each in zip(names, loaded.inputs, strict=True)
    ]
    named = getattr(model, "output_names", None)
    if named and len(named) == len(loaded.outputs) and args is None:
        refs = loaded.outputs.values()
        loaded.outputs = dict(zip(unique_names(named), refs, strict=True))
    loaded.name = model.name
    return loaded


def _as_given(model: Any, xs: Sequence[Any]) -> Any:
    """The inputs in the structure that the model was made with."""
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        return xs[0] if len(xs) == 1 else list(xs)
    return tf.keras.tree.pack_sequence_as(structure, list(xs))


def _with_batch(shape: Sequence[int | str | None] | None) -> list[int | str | None]:
    """A Keras input's dims: an open first one is the batch, the same for all."""
    dims = list(shape or [])
    return ["batch", *dims[1:]] if dims and dims[0] is None else dims


def spec_of(tensor: Any) -> tf.TensorSpec:
    """What a symbolic input of Keras says of itself."""
    return tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name)


def as_spec(example: Any, name: str) -> Any:
    """A `TensorSpec` of an example, which may be one already."""
    if isinstance(example, tf.TensorSpec):
        return tf.TensorSpec(example.shape, example.dtype, example.name or name)
    if isinstance(example, tf.TypeSpec | CompositeTensor):
        raise UnsupportedError(
            f"expected a dense tensor as argument {name}, got {type(example).__name__}",
            fix="take ragged and sparse tensors apart outside of the model",
        )
    array = np.asarray(example)
    return tf.TensorSpec(array.shape, array.dtype, name=name)


def concrete(function: Any, args: Sequence[Any] | None) -> Any:
    """The concrete function of a `tf.function`."""
    if args is not None:
        return traced(function, [as_spec(each, f"x{i}") for i, each in enumerate(args)])
    if getattr(function, "input_signature", None) is not None:
        return traced(function, [])
    found = function._list_all_concrete_functions()
    if len(found) == 1:
        return found[0]
    raise OptionError(
        f"expected a tf.function with one signature, got {len(found)}",
        fix="give it an input_signature, or give args= to trace it with",
    )


def traced(function: Any, specs: Sequence[Any]) -> Any:
    """The concrete function for inputs of the given specs.

    Raises:
        ModelError: the function does not run on them.
    """
    try:
        return function.get_concrete_function(*specs)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            "TensorFlow cannot trace the function",
            notes=[f"{type(error).__name__}: {lines[-1] if lines else ''}"],
        ) from error


def concrete_function(function: Any) -> LoadedGraph:
    """A concrete function: its graph, and the values of what it captures."""
    graph = function.graph
    variables = {
        inner.op.name: captured_value(outer, graph.variables)
        for outer, inner in graph.captures
    }
    arguments = [each for each in function.inputs if each.op.name not in variables]
    names = unique_names(public_name(each) for each in arguments)
    inputs = [
        GraphInput(
            name,
            (each.op.name, 0),
            each.dtype.as_datatype_enum,
            shape_of(each.shape.as_proto()),
        )
        for name, each in zip(names, arguments, strict=True)
    ]
    outputs = {
        name: (each.op.name, each.value_index)
        for name, each in zip(output_names(function), function.outputs, strict=True)
    }
    name = getattr(function, "name", "function")
    text = name.decode() if isinstance(name, bytes) else str(name)
    definition = graph.as_graph_def()
    return LoadedGraph(text, definition, inputs, outputs, variables, is_function=True)


def captured_value(tensor: Any, variables: Sequence[Any]) -> np.ndarray[Any, Any]:
    """The value of a captured variable or tensor."""
    if tensor.dtype != tf.resource:
        return np.asarray(tensor.numpy())
    for variable in variables:
        if variable.handle is tensor:
            return np.asarray(variable.numpy())
    raise ModelError(
        "the function captures a resource that is no variable",
        fix="tables and other resources cannot be frozen; move them out of the model",
    )


def public_name(tensor: Any) -> str:
    """The name that the user gave an argument."""
    op = tensor.op
    try:
        return op.get_attr("_user_specified_name").decode()
    except ValueError:
        return op.name


def output_names(function: Any) -> list[str]:
    """The keys of a dict of results, else `output_0`, `output_1`, ..."""
    structure = function.structured_outputs
    count = len(function.outputs)
    if isinstance(structure, Mapping) and len(structure) == count:
        return [str(key) for key in sorted(structure)]
    return [f"output_{index}" for index in range(count)]


def frozen_graph(
    graph: GraphDef, name: str, outputs: Sequence[str] | None
) -> LoadedGraph:
    """A `GraphDef` whose variables are constants; its placeholders are the inputs."""
    body = Body.of_graph(graph)
    read = {ref[0] for node in body.nodes.values() for ref in body.inputs(node)}
    inputs = [
        placeholder(node)
        for node in graph.node
        if node.op == "Placeholder"
        and (node.name in read or not node.name.startswith(LEFT_OVER))
    ]
    if not outputs:
        refs = {ref[0]: ref for ref in unread_outputs(body)}
    else:
        refs = {each: body.ref(each) for each in outputs}
    missing = [each for each, ref in refs.items() if ref[0] not in body.nodes]
    if missing or not refs:
        raise OptionError(
            f"{name}: expected the names of tensors as outputs, got {missing}"
        )
    return LoadedGraph(name, graph, inputs, refs)


def placeholder(node: Any) -> GraphInput:
    """A placeholder as an input of the model."""
    has_shape = "shape" in node.attr
    dims = shape_of(node.attr["shape"].shape) if has_shape else None
    return GraphInput(node.name, (node.name, 0), node.attr["dtype"].type, dims)


def unread_outputs(body: Body) -> list[Ref]:
    """The first output of each node that nothing reads."""
    read = {ref[0] for node in body.nodes.values() for ref in body.inputs(node)}
    return [
        (node.name, 0)
        for node in body.nodes.values()
        if node.name not in read
        and node.op not in ("NoOp", "Const", "Placeholder", "Assert")
        and op_def(node.op).output_arg
    ]
