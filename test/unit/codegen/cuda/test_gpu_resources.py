"""Kernels that models spend their time in, assembled: none may spill."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepwell.dialects.target import Target

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from stepwell.tools.bench.gpu_code import examine


def hot_model() -> onnx.ModelProto:
    """A convolution, a product with GELU, layer normalisation, and attention."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype("f4"), name)

    node = helper.make_node
    nodes = [
        node("Conv", ["image", "filter", "bias"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["conv"], ["features"], "relu"),
        node("MatMul", ["tokens", "w"], ["product"], "product"),
        node("Gelu", ["product"], ["wide"], "gelu"),
        node("LayerNormalization", ["tokens", "gamma"], ["normal"], "norm", axis=-1),
        node("MatMul", ["q", "k"], ["scores"], "scores"),
        node("Softmax", ["scores"], ["weights"], "softmax"),
        node("MatMul", ["weights", "v"], ["mixed"], "mix"),
    ]

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "hot",
        [
            value("image", 1, 64, 56, 56),
            value("tokens", 128, 768),
            value("q", 1, 12, 128, 64),
            value("k", 1, 12, 64, 128),
            value("v", 1, 12, 128, 64),
        ],
        [
            value("features", 1, 64, 56, 56),
            value("wide", 128, 3072),
            value("normal", 128, 768),
            value("mixed", 1, 12, 128, 64),
        ],
        [
            weight("filter", 64, 64, 3, 3),
            weight("bias", 64),
            weight("w", 768, 3072),
            weight("gamma", 768),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(
    ("target", "precision"), [("sm_80", "fp32"), ("sm_90a", "fp16")]
)
def test_no_hot_kernel_spills(target: str, precision: str) -> None:
    report = examine("hot", hot_model(), None, Target.parse(target), precision)
    assert not report.failures
    assert len(report.rows) >= 4
    for row in report.rows:
        assert row.taken.spills == row.taken.stack == 0, row.name
        assert 32 * row.warps * row.taken.registers <= 65536, row.name
