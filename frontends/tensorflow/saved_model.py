"""SavedModel directories, read without TensorFlow's loader.

`saved_model.pb` holds the graph, `variables/` a checkpoint. Which tensor of the
checkpoint belongs to which variable is said by the model itself, in the ops that
restore it: `AssignVariableOp(handle, RestoreV2(...))`, in the graph or in a function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.python.framework import tensor_util
from tensorflow.python.training import py_checkpoint_reader

from stepwell.errors import ModelError, OptionError
from stepwell.frontends.tensorflow.graph import (
    Body,
    GraphInput,
    LoadedGraph,
    Ref,
)
from stepwell.frontends.tensorflow.protos import (
    GraphDef,
    MetaGraphDef,
    NodeDef,
    saved_model_class,
)

Array = np.ndarray[Any, Any]

SERVING = "serving_default"
PASSED_ON = ("Identity", "Cast", "Reshape")
ASSIGNMENTS = ("AssignVariableOp", "Assign")
HANDLES = ("VarHandleOp", "VariableV2", "Variable")


def load_saved_model(
    directory: Path, signature: str = SERVING, tags: Sequence[str] = ("serve",)
) -> LoadedGraph:
    """One signature of a SavedModel.

    Args:
        directory: holds `saved_model.pb` and `variables/`.
        signature: the key of the signature.
        tags: the tags of the graph.

    Raises:
        ModelError: the directory holds no sound SavedModel.
        OptionError: there is no such signature, or no graph of such tags.
    """
    meta = read_meta_graph(directory, tags)
    definition = find_signature(meta, directory, signature)
    body = Body.of_graph(meta.graph_def)
    inputs = [
        GraphInput(key, body.ref(info.name), info.dtype, shape_of(info.tensor_shape))
        for key, info in sorted(definition.inputs.items())
    ]
    outputs = {
        key: body.ref(info.name) for key, info in sorted(definition.outputs.items())
    }
    variables = read_variables(directory, meta.graph_def)
    return LoadedGraph(directory.name, meta.graph_def, inputs, outputs, variables)


def read_meta_graph(directory: Path, tags: Sequence[str]) -> Any:
    """The graph of a SavedModel that has all of `tags`."""
    path = directory / "saved_model.pb"
    model = saved_model_class()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(
            f"{directory}: expected a SavedModel", notes=[str(error)]
        ) from None
    graphs: list[MetaGraphDef] = list(model.meta_graphs)
    for graph in graphs:
        if {*tags} <= {*graph.meta_info_def.tags}:
            return graph
    there = [", ".join(graph.meta_info_def.tags) for graph in graphs]
    raise OptionError(
        f"{directory}: expected a graph of the tags {', '.join(tags)}",
        notes=[f"the model has graphs of the tags: {'; '.join(there) or 'none'}"],
    )


def find_signature(meta: Any, directory: Path, signature: str) -> Any:
    """The definition of a signature."""
    if signature in meta.signature_def:
        return meta.signature_def[signature]
    there = sorted(key for key in meta.signature_def if not key.startswith("__"))
    raise OptionError(
        f"{directory}: expected a signature {signature!r}",
        notes=[f"the model has: {', '.join(there) or 'none'}"],
        fix=None if there else "save the model with signatures, or use model.export()",
    )


def shape_of(shape: Any) -> list[int | str | None] | None:
    """The dims of a `TensorShapeProto`; None if the rank is not known."""
    if shape.unknown_rank:
        return None
    return [dim.size if dim.size >= 0 else dim.name or None for dim in shape.dim]


def read_variables(directory: Path, graph: GraphDef) -> dict[str, Array]:
    """The value of each variable, by the name of its handle's node."""
    prefix = directory / "variables" / "variables"
    if not prefix.with_suffix(".index").exists():
        return {}
    try:
        reader: Any = py_checkpoint_reader.NewCheckpointReader(str(prefix))
        return {
            node: reader.get_tensor(key)
            for node, key in checkpoint_keys(graph).items()
            if reader.has_tensor(key)
        }
    except Exception as error:
        raise ModelError(
            f"{directory}: cannot read the variables",
            notes=[str(error).splitlines()[0]],
        ) from None


def checkpoint_keys(graph: GraphDef) -> dict[str, str]:
    """The key in the checkpoint of each variable, by the name of its handle's node."""
    body = Body.of_graph(graph)
    found = assigned_keys(body)
    functions = {f.signature.name: f for f in graph.library.function}
    restored = {
        name: keys
        for name, function in functions.items()
        if (keys := assigned_keys(Body.of_function(function)))
    }
    for node in graph.node:
        callee = node.attr["f"].func.name if "f" in node.attr else ""
        if callee not in restored:
            continue
        arguments = functions[callee].signature.input_arg
        for argument, (name, _) in zip(arguments, body.inputs(node), strict=True):
            if argument.name in restored[callee]:
                found[name] = restored[callee][argument.name]
    return same_variables(body, found)


def assigned_keys(body: Body) -> dict[str, str]:
    """The checkpoint's key of each handle that the body assigns a restored tensor."""
    found: dict[str, str] = {}
    for node in body.nodes.values():
        if node.op not in ASSIGNMENTS:
            continue
        handle, value = body.inputs(node)[:2]
        key = restored_key(body, value)
        if key is not None:
            found[handle[0]] = key
    return found


def restored_key(body: Body, ref: Ref) -> str | None:
    """The name of the tensor that a `RestoreV2` behind `ref` reads, if there is one."""
    node = body.nodes.get(ref[0])
    while node is not None and node.op in PASSED_ON:
        ref = body.inputs(node)[0]
        node = body.nodes.get(ref[0])
    if node is None or node.op != "RestoreV2":
        return None
    names = constant_of(body.nodes.get(body.inputs(node)[1][0]))
    return None if names is None else names.reshape(-1)[ref[1]].decode()


def constant_of(node: NodeDef | None) -> Array | None:
    """The array of a `Const` node."""
    if node is None or node.op != "Const":
        return None
    return tensor_util.MakeNdarray(node.attr["value"].tensor)


def same_variables(body: Body, keys: Mapping[str, str]) -> dict[str, str]:
    """The keys of all handles: those that share a name are one variable."""
    handles = [node for node in body.nodes.values() if node.op in HANDLES]
    by_name = {
        shared_name(node): keys[node.name] for node in handles if node.name in keys
    }
    return {
        node.name: by_name[shared_name(node)]
        for node in handles
        if shared_name(node) in by_name
    }


def shared_name(node: NodeDef) -> tuple[str, str]:
    """What makes two handles the same variable."""
    name = node.attr["shared_name"].s.decode() or node.name
    return node.attr["container"].s.decode(), name
