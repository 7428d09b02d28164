"""Sequences and optionals at the border of a model: taken apart into tensors.

An engine takes and returns tensors. A model with a sequence among its inputs can be
compiled for sequences of one length: the elements `name/0`, `name/1`, ... become the
inputs, and a `SequenceConstruct` puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.helper

Array = np.ndarray[Any, Any]
InputValue = Array | Sequence[Array] | None
"""What an input may be given: an array, a sequence of arrays, or nothing."""


def has_sequences(model: onnx.ModelProto) -> bool:
    """Whether an input is a sequence or an optional."""
    return any(not entry.type.HasField("tensor_type") for entry in model.graph.input)


def take_apart(
    model: onnx.ModelProto, inputs: Mapping[str, InputValue]
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model for inputs like `inputs`, with tensors as inputs only, and those."""
    flat = onnx.ModelProto()
    flat.CopyFrom(model)
    del flat.graph.input[:]
    made: list[onnx.NodeProto] = []
    arrays: dict[str, Array] = {}
    for entry in model.graph.input:
        value = inputs.get(entry.name)
        if value is None:
            omit(flat.graph, entry.name)
        elif isinstance(value, np.ndarray):
            arrays[entry.name] = value
            flat.graph.input.append(described(entry.name, value))
        else:
            names = [f"{entry.name}/{index}" for index in range(len(value))]
            arrays |= dict(zip(names, value, strict=True))
            flat.graph.input.extend(map(described, names, value))
            made.append(construct(entry, names))
    nodes = [*made, *flat.graph.node]
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del flat.graph.node[:]
    flat.graph.node.extend(rest)
    return flat, arrays


def described(name: str, array: Array) -> onnx.ValueInfoProto:
    """The entry of an input like `array`."""
    number = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, number, array.shape)


def construct(entry: onnx.ValueInfoProto, names: Sequence[str]) -> onnx.NodeProto:
    """The node that makes the sequence `entry` of the values `names`."""
    if names:
        return onnx.helper.make_node("SequenceConstruct", names, [entry.name])
    kind = entry.type
    if kind.HasField("optional_type"):
        kind = kind.optional_type.elem_type
    number = kind.sequence_type.elem_type.tensor_type.elem_type
    return onnx.helper.make_node("SequenceEmpty", [], [entry.name], dtype=number)


def omit(graph: onnx.GraphProto, name: str) -> None:
    """Make `name` an omitted input wherever it is used."""
    for node in graph.node:
        node.input[:] = ["" if each == name else each for each in node.input]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                omit(attribute.g, name)
