"""TensorFlow's protocol buffers, whose Python modules are made at run time, untyped."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeAlias

AttrValue: TypeAlias = Any
FunctionDef: TypeAlias = Any
GraphDef: TypeAlias = Any
MetaGraphDef: TypeAlias = Any
NodeDef: TypeAlias = Any
OpDef: TypeAlias = Any

graph_class: Any = import_module("tensorflow.core.framework.graph_pb2").GraphDef
node_class: Any = import_module("tensorflow.core.framework.node_def_pb2").NodeDef
saved_model_class: Any = import_module(
    "tensorflow.core.protobuf.saved_model_pb2"
).SavedModel
