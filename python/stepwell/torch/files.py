"""Compiled modules as files: engines, the graph between them, and no pickle.

    module.json        the graph as a list of nodes, and how its values are the user's
    engines/0.stepwell an engine file for each engine
    tensors/0.npy      weights of ops that torch runs, and buffers that calls change

A file holds machine code: load only what you trust.
"""

from __future__ import annotations

import io
import json
import math
import operator
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from stepwell.errors import EngineFileError, OptionError, UnsupportedError
from stepwell.runtime import load_bytes

from .engines import EngineModule, to_array, to_tensor
from .module import CompiledModule
from .program import Signature
from .reports import EnginePart, GraphReport, TorchOp
from .sizes import require_sizes

FORMAT = "stepwell-torch"
SCHEMA = 1
_FUNCTIONS: Mapping[str, Any] = {
    f"{function.__module__}.{function.__name__}": function
    for function in (
        *(operator.getitem, operator.add, operator.sub, operator.mul),
        *(operator.floordiv, operator.truediv, operator.mod, operator.pow),
        *(operator.neg, operator.eq, operator.ne, operator.lt, operator.le),
        *(operator.gt, operator.ge, operator.and_, operator.or_, operator.not_),
        *(math.floor, math.ceil, math.trunc, round, require_sizes),
        *(torch.sym_int, torch.sym_float, torch.sym_max, torch.sym_min, torch.sym_not),
        torch.sym_ite,
    )
}
"""The functions besides torch's ops that graphs of sizes call."""
_CONSTANTS = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def save(
    module: Any, file_path: str | os.PathLike[str], output_format: str = "", **_: Any
) -> None:
    """Write a compiled module to a file, all or nothing.

    Args:
        module: what `stepwell.torch.compile` returned.
        output_format: accepted for compatibility; there is one format.

    Raises:
        OptionError: the module is not a `CompiledModule`, or another format is wanted.
        UnsupportedError: its results or its control flow have no text form.
    """
    if output_format in ("torchscript", "aot_inductor"):
        raise OptionError(
            f"expected no output_format, got {output_format!r}",
            notes=["a compiled module is saved as engines"],
        )
    if not isinstance(module, CompiledModule):
        raise OptionError(
            f"expected a module that stepwell.torch.compile returned, got "
            f"{type(module).__name__}"
        )
    data = _Writer(module).run()
    path = Path(file_path)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)
    except OSError as error:
        raise EngineFileError(f"cannot write {path}", notes=[str(error)]) from None


def load(file_path: str | os.PathLike[str]) -> CompiledModule:
    """Read what `save` wrote.

    Raises:
        EngineFileError: no such file, damage, another schema, or another machine.
    """
    try:
        with zipfile.ZipFile(file_path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("a checksum does not match")
            return _read(archive)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise EngineFileError(
            f"cannot load {file_path} as a compiled module",
            notes=[f"{type(error).__name__}: {error}"],
        ) from None


class _Writer:
    def __init__(self, module: CompiledModule) -> None:
        self.module = module
        self.buffer = io.BytesIO()
        self.archive = zipfile.ZipFile(self.buffer, "w")
        self.tensors = 0

    def run(self) -> bytes:
        module = self.module
        text = {
            "format": FORMAT,
            "schema": SCHEMA,
            "arguments": module.signature.arguments,
            "mutations": module.signature.mutations,
            "results": module.signature.results,
            "names": module.names,
            "in_spec": _dump_spec(module.in_spec),
            "out_spec": _dump_spec(module.out_spec),
            "state": {
                name: self.tensor(module.buffer(name)) for name in module.state_names
            },
            "nodes": [self.node(node) for node in module.graph.graph.nodes],
            "report": _report_text(module.graph_report),
        }
        self.archive.writestr("module.json", json.dumps(text))
        self.archive.close()
        return self.buffer.getvalue()

    def node(self, node: torch.fx.Node) -> dict[str, Any]:
        record: dict[str, Any] = {"op": node.op, "name": node.name}
        if node.op == "get_attr":
            held = operator.attrgetter(str(node.target))(self.module.graph)
            if not isinstance(held, torch.Tensor):
                raise UnsupportedError("expected no control flow that torch runs")
            return {**record, "tensor": self.tensor(held)}
        if node.op == "call_module":
            record["engine"] = self.engine(str(node.target))
        if node.op == "call_function":
            record["target"] = _function_name(node.target)
        record["args"] = _dump(node.args)
        record["kwargs"] = {key: _dump(value) for key, value in node.kwargs.items()}
        return record

    def engine(self, target: str) -> dict[str, Any]:
        held = self.module.graph.get_submodule(target)
        if not isinstance(held, EngineModule):
            raise OptionError("expected engines, got the modules of a dry run")
        name = f"engines/{target.removeprefix('engine_')}.stepwell"
        self.archive.writestr(name, held.engine.to_bytes())
        return {"file": name, "orders": held.orders}

    def tensor(self, tensor: torch.Tensor) -> dict[str, str]:
        name = f"tensors/{self.tensors}.npy"
        self.tensors += 1
        array = np.ascontiguousarray(to_array(tensor.cpu()))
        stream = io.BytesIO()
        np.save(stream, array.reshape(-1).view(np.uint8), allow_pickle=False)
        self.archive.writestr(name, stream.getvalue())
        shape = list(tensor.shape)
        return {
            "file": name,
            "dtype": _dump(tensor.dtype)["constant"],
            "shape": json.dumps(shape),
            "device": str(tensor.device),
        }


def _read(archive: zipfile.ZipFile) -> CompiledModule:
    text = json.loads(archive.read("module.json"))
    if text["format"] != FORMAT or text["schema"] != SCHEMA:
        raise EngineFileError(
            f"expected a compiled module of schema {SCHEMA}, got {text['format']} "
            f"of schema {text['schema']}"
        )
    graph, root = torch.fx.Graph(), torch.nn.Module()
    nodes: dict[str, torch.fx.Node] = {}
    for record in text["nodes"]:
        nodes[record["name"]] = _read_node(archive, graph, root, nodes, record)
    signature = Signature(
        tuple(text["arguments"]), tuple(text["mutations"]), text["results"]
    )
    specs = (
        pytree.treespec_loads(text["in_spec"]),
        pytree.treespec_loads(text["out_spec"]),
    )
    state = {name: _read_tensor(archive, each) for name, each in text["state"].items()}
    report = _read_report(text["report"])
    module = torch.fx.GraphModule(root, graph)
    return CompiledModule(module, signature, specs, tuple(text["names"]), state, report)


def _read_node(
    archive: zipfile.ZipFile,
    graph: torch.fx.Graph,
    root: torch.nn.Module,
    nodes: Mapping[str, torch.fx.Node],
    record: Mapping[str, Any],
) -> torch.fx.Node:
    op, name = record["op"], record["name"]
    if op == "get_attr":
        root.register_buffer(name, _read_tensor(archive, record["tensor"]))
        return graph.create_node(op, name, name=name)
    target: Any = name
    if op == "call_function":
        target = _function(record["target"])
    if op == "call_module":
        saved = record["engine"]
        engine = load_bytes(archive.read(saved["file"]))
        orders = [None if order is None else tuple(order) for order in saved["orders"]]
        target = f"engine_{len(list(root.children()))}"
        root.add_module(target, EngineModule(engine, orders))
    args = _load(record["args"], nodes)
    kwargs = {key: _load(value, nodes) for key, value in record["kwargs"].items()}
    return graph.create_node(op, target, tuple(args), kwargs, name=name)


def _read_tensor(archive: zipfile.ZipFile, record: Mapping[str, str]) -> torch.Tensor:
    stream = io.BytesIO(archive.read(record["file"]))
    data = to_tensor(np.load(stream, allow_pickle=False))
    dtype = _constant(record["dtype"])
    shape = json.loads(record["shape"])
    return data.view(dtype).reshape(shape).to(record["device"])


def _dump(value: Any) -> Any:
    """An argument of a node as JSON; what JSON lacks is an object with one key."""
    if isinstance(value, torch.fx.Node):
        return {"node": value.name}
    if isinstance(value, list | tuple):
        return [_dump(item) for item in value]
    if isinstance(value, _CONSTANTS):
        return {"constant": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UnsupportedError(
        f"expected arguments that a file can hold, got {type(value).__name__}"
    )


def _load(value: Any, nodes: Mapping[str, torch.fx.Node]) -> Any:
    if isinstance(value, list):
        return [_load(item, nodes) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    match kind:
        case "node":
            return nodes[text]
        case "float":
            return float(text)
        case _:
            return _constant(text)


def _constant(text: str) -> Any:
    """A dtype, layout or memory format by its name, or a device."""
    if not text.startswith("torch."):
        return torch.device(text)
    found = getattr(torch, text.removeprefix("torch."), None)
    if not isinstance(found, _CONSTANTS):
        raise ValueError(f"expected a constant of torch, got {text!r}")
    return found


def _function_name(target: Any) -> str:
    if isinstance(target, OpOverload):
        return str(target)
    name = f"{target.__module__}.{target.__name__}"
    if name not in _FUNCTIONS:
        raise UnsupportedError(
            f"expected ops of torch between engines, got {target.__name__}",
            notes=["its graph cannot be saved"],
        )
    return name


def _function(name: str) -> Any:
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    space, op, overload = name.split(".")
    found = getattr(getattr(getattr(torch.ops, space), op), overload)
    if not isinstance(found, OpOverload):
        raise ValueError(f"expected an op of torch, got {name!r}")
    return found


def _dump_spec(spec: pytree.TreeSpec) -> str:
    try:
        return pytree.treespec_dumps(spec)
    except NotImplementedError as error:
        raise UnsupportedError(
            "expected arguments and results of types that have a name in files",
            notes=[str(error).splitlines()[0]],
            fix="register the type with a serialized_type_name",
        ) from None


def _report_text(report: GraphReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "engines": [vars(part) for part in report.engines],
        "torch_ops": [vars(op) for op in report.torch_ops],
    }


def _read_report(text: Mapping[str, Any]) -> GraphReport:
    engines = [EnginePart(**part) for part in text["engines"]]
    return GraphReport(
        text["name"], engines, [TorchOp(**op) for op in text["torch_ops"]]
    )
