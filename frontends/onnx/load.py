"""From a path, bytes or a proto to a checked `onnx.ModelProto`.

Nothing of the file is trusted: a damaged, truncated or foreign file, an external data
path that leaves the model's folder, and an opset out of range all end in a
`ModelError` or `UnsupportedError` that names the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.inliner
import onnx.numpy_helper
from google.protobuf.message import DecodeError

from stepwell.errors import ModelError, UnsupportedError

Source = str | Path | bytes | onnx.ModelProto

OPSETS = range(1, 29)
"""Versions of the default operator set whose changes the op table knows."""

PROTOBUF_LIMIT = 2**31 - 1
"""A protobuf message cannot be larger; weights past it must be external data."""


@dataclass(frozen=True)
class LoadedModel:
    """A checked model, the folder its external data lies in, and a name for errors."""

    proto: onnx.ModelProto
    directory: Path | None
    name: str


def load_model(source: Source) -> LoadedModel:
    """Read and check a model.

    Raises:
        ModelError: the source is not a sound ONNX model.
        UnsupportedError: its format or operator set version is newer than known ones.
    """
    if isinstance(source, onnx.ModelProto):
        model = LoadedModel(source, None, source.graph.name or "model")
    elif isinstance(source, bytes):
        model = LoadedModel(parse(source, "model bytes"), None, "model bytes")
    else:
        path = Path(source)
        proto = parse(read_file(path), str(path))
        model = LoadedModel(proto, path.resolve().parent, str(path))
    check_structure(model)
    return model


def read_file(path: Path) -> bytes:
    """The content of `path`; ModelError where that cannot be a model."""
    try:
        size = path.stat().st_size
        if size > PROTOBUF_LIMIT:
            raise ModelError(
                f"{path}: expected at most 2 GiB, got {size / 2**30:.1f} GiB",
                fix="save large weights as external data",
            )
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(f"cannot read model {path}: {reason}") from None


def parse(data: bytes, name: str) -> onnx.ModelProto:
    """Decode the protobuf message `data`."""
    if not data:
        raise ModelError(f"{name}: expected an ONNX model, got an empty file")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError):
        raise ModelError(
            f"{name}: expected an ONNX model, got data that is not one",
            notes=["the protobuf message does not decode"],
            fix="check that the file is complete and really in ONNX format",
        ) from None
    return proto


def check_structure(model: LoadedModel) -> None:
    """Versions, external data and the rules of `onnx.checker`."""
    proto = model.proto
    if not proto.HasField("graph") or not proto.ir_version:
        raise ModelError(
            f"{model.name}: expected an ONNX model, got a message without a graph"
        )
    check_versions(model)
    for tensor in external_tensors(proto):
        external_file(tensor, model)
    try:
        check_with_onnx(proto)
    except onnx.checker.ValidationError as error:
        lines = str(error).strip().splitlines()
        raise ModelError(
            f"{model.name}: the model breaks the rules of ONNX", notes=lines[:4]
        ) from None
    except (ValueError, RuntimeError, DecodeError, UnicodeError) as error:
        raise ModelError(
            f"{model.name}: the model cannot be checked",
            notes=[str(error).strip().splitlines()[0] if str(error) else repr(error)],
        ) from None


def check_versions(model: LoadedModel) -> None:
    """Refuse what is newer than the formats and operator sets known here."""
    if model.proto.ir_version > onnx.IR_VERSION:
        raise UnsupportedError(
            f"{model.name}: expected ONNX IR version {onnx.IR_VERSION} or older, got "
            f"{model.proto.ir_version}",
            fix="install a newer onnx package, or export the model for an older one",
        )
    opsets = [opset.version for opset in model.proto.opset_import if not opset.domain]
    for version in opsets:
        if version not in OPSETS:
            raise UnsupportedError(
                f"{model.name}: expected opset {OPSETS[0]} to {OPSETS[-1]}, got "
                f"{version}",
                fix="convert the model with onnx.version_converter",
            )


def check_with_onnx(proto: onnx.ModelProto) -> None:
    """Run `onnx.checker`; large weights are declared to it but not copied."""
    weights = proto.graph.initializer
    is_small = sum(math.prod(tensor.dims) for tensor in weights) < 2**16
    if is_small and not any(external_tensors(proto)):
        onnx.checker.check_model(proto)
        return
    light = onnx.ModelProto(ir_version=max(proto.ir_version, 4))
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    light.graph.name = proto.graph.name
    light.graph.node.extend(proto.graph.node)
    light.graph.input.extend(proto.graph.input)
    light.graph.output.extend(proto.graph.output)
    light.graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    declared = {value.name for value in light.graph.input}
    for tensor in weights:
        if tensor.name not in declared:
            entry = light.graph.input.add(name=tensor.name)
            entry.type.tensor_type.elem_type = tensor.data_type
            entry.type.tensor_type.shape.SetInParent()
            for dim in tensor.dims:
                entry.type.tensor_type.shape.dim.add(dim_value=dim)
    onnx.checker.check_model(light)


def fix_inputs(
    proto: onnx.ModelProto, values: Mapping[str, np.ndarray[Any, Any]]
) -> onnx.ModelProto:
    """The model with the inputs that `values` names turned into constants."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    inputs = [entry for entry in fixed.graph.input if entry.name not in values]
    del fixed.graph.input[:]
    fixed.graph.input.extend(inputs)
    for name, array in values.items():
        tensor = onnx.numpy_helper.from_array(np.asarray(array), name)
        fixed.graph.initializer.append(tensor)
    return fixed


def inline_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the calls of its own functions replaced by their bodies."""
    if not proto.functions:
        return proto
    return onnx.inliner.inline_local_functions(proto)


def external_tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The initializers whose data lies in another file."""
    return (
        tensor
        for tensor in proto.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    )


def external_file(tensor: onnx.TensorProto, model: LoadedModel) -> tuple[Path, int]:
    """The file that holds `tensor`'s data, and the offset in it.

    Raises:
        ModelError: there is no such file, it is too short, or it lies outside the
            folder of the model.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    where = f"{model.name}: external data of {tensor.name!r}"
    if model.directory is None:
        raise ModelError(
            f"{where} needs the folder of the model",
            fix="pass the path of the model instead of its content",
        )
    path = (model.directory / location).resolve()
    if not location or not path.is_relative_to(model.directory):
        raise ModelError(f"{where} must lie in the model's folder, got {location!r}")
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", -1))
        size = path.stat().st_size
    except (OSError, ValueError):
        raise ModelError(f"{where}: cannot read {location!r}") from None
    if offset < 0 or offset + max(length, 0) > size:
        raise ModelError(
            f"{where}: expected {length} bytes at {offset} of {location!r}, got a file "
            f"of {size} bytes"
        )
    return path, offset
