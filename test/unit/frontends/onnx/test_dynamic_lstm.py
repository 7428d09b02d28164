"""DynamicQuantizeLSTM: onnxruntime is the judge, step by step of 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import stepwell
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.semantics import interpret
from stepwell.frontends.onnx import import_model

STEPS, FEATURES, HIDDEN = 9, 12, 16
Array = np.ndarray[Any, Any]


def layer(direction: str, batch: int, channels: bool) -> onnx.ModelProto:
    """One layer; `channels`: weights have a scale for each column."""
    rng = np.random.default_rng(3)
    count = 2 if direction == "bidirectional" else 1
    columns = (count, 4 * HIDDEN) if channels else (count,)
    weights: dict[str, Array] = {
        "w": rng.integers(-127, 128, (count, FEATURES, 4 * HIDDEN)).astype(np.int8),
        "r": rng.integers(-127, 128, (count, HIDDEN, 4 * HIDDEN)).astype(np.int8),
        "b": rng.standard_normal((count, 8 * HIDDEN)).astype(np.float32),
        "ws": rng.uniform(0.002, 0.004, columns).astype(np.float32),
        "wz": np.zeros(columns, np.int8),
        "rs": rng.uniform(0.002, 0.004, columns).astype(np.float32),
        "rz": np.zeros(columns, np.int8),
    }
    inputs = ["x", "w", "r", "b", "", "h", "c", "", "ws", "wz", "rs", "rz"]
    node = helper.make_node(
        "DynamicQuantizeLSTM",
        inputs,
        ["y", "yh", "yc"],
        domain="com.microsoft",
        hidden_size=HIDDEN,
        direction=direction,
    )
    value, kind = helper.make_tensor_value_info, TensorProto.FLOAT
    states = [count, batch, HIDDEN]
    graph = helper.make_graph(
        [node],
        "lstm",
        [
            value("x", kind, [STEPS, batch, FEATURES]),
            value("h", kind, states),
            value("c", kind, states),
        ],
        [
            value("y", kind, [STEPS, count, batch, HIDDEN]),
            value("yh", kind, states),
            value("yc", kind, states),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_activations_go_through_eight_bits(direction: str, channels: bool) -> None:
    model = layer(direction, 1, channels)
    rng = np.random.default_rng(0)
    feeds = {
        one.name: rng.standard_normal(
            [dim.dim_value for dim in one.type.tensor_type.shape.dim], np.float32
        )
        for one in model.graph.input
    }
    session = onnxruntime.InferenceSession(model.SerializeToString())
    expected = [np.asarray(one) for one in session.run(None, feeds)]
    context = StepwellContext()
    module = import_model(model, context)
    ours = stepwell.build(model, threads=1).run(feeds)
    for got in (interpret(module, feeds, context.weights), list(ours.values())):
        for left, right in zip(got, expected, strict=True):
            assert np.abs(left - right).max() <= 1e-5 * np.abs(right).max()


def test_a_layer_of_floats_would_be_seen() -> None:
    model = layer("forward", 1, False)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((STEPS, 1, FEATURES), np.float32)
    zeros = np.zeros((1, 1, HIDDEN), np.float32)
    feeds = {"x": x, "h": zeros, "c": zeros}
    context = StepwellContext()
    module = import_model(model, context)
    quantized = interpret(module, feeds, context.weights)[0]
    for op in module.walk():
        if op.name == "nn.lstm":
            op.properties.pop("quantizes", None)
            op.attributes.pop("quantizes", None)
    plain = interpret(module, feeds, context.weights)[0]
    assert np.abs(plain - quantized).max() > 1e-3
