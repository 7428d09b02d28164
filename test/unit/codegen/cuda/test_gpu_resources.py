"""Kernels that models spend their time in, assembled: no spills, no sins."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepwell.codegen.cuda.cubin import nvidia_tool
from stepwell.dialects.target import Target

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from stepwell.tools.bench.gpu_code import Report, Results, Row, examine, page


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
        node("Add", ["product", "shift"], ["shifted"], "shift"),
        node("Gelu", ["shifted"], ["wide"], "gelu"),
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
            value("tokens", 2048, 768),
            value("q", 1, 12, 128, 64),
            value("k", 1, 12, 64, 128),
            value("v", 1, 12, 128, 64),
        ],
        [
            value("features", 1, 64, 56, 56),
            value("wide", 2048, 3072),
            value("normal", 2048, 768),
            value("mixed", 1, 12, 128, 64),
        ],
        [
            weight("filter", 64, 64, 3, 3),
            weight("bias", 64),
            weight("w", 768, 3072),
            weight("shift", 3072),
            weight("gamma", 768),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(
    ("target", "precision"), [("sm_80", "fp32"), ("sm_90a", "fp16")]
)
def test_no_kernel_spills_or_has_a_sin(target: str, precision: str) -> None:
    """Sins are looked for where there is a disassembler (`test_sass.py` says so)."""
    report = examine("hot", hot_model(), None, Target.parse(target), precision)
    assert not report.failures and report.is_good
    assert len(report.rows) >= 4
    assert sum(row.share for row in report.rows) == pytest.approx(1)
    for row in report.rows:
        assert not row.faults, row.name
        assert 32 * row.warps * row.registers <= 65536, row.name
    if nvidia_tool("nvdisasm"):
        assert sum(row.on_tensor_cores for row in report.rows) >= 2


@pytest.mark.parametrize("fault", [{"spills": 8}, {"sins": {"subroutine": 1}}])
def test_a_fault_counts_where_the_time_goes(fault: dict[str, Any]) -> None:
    row = Row("conv", 0.5, 4, 128, 0, 0, True, {})
    report = Report("model", "sm_80", "fp32", [row])
    assert report.is_good
    assert not replace(report, rows=[replace(row, **fault)]).is_good
    assert replace(report, rows=[replace(row, share=0.0, **fault)]).is_good
    assert not replace(report, failures=["conv: no translation"]).is_good


def test_a_second_call_goes_on_from_the_results(tmp_path: Path) -> None:
    path = tmp_path / "code.json"
    row = Row("conv", 0.5, 4, 128, 0, 0, True, {"subroutine": 1})
    Results(path).add(Report("model", "sm_80", "fp32", [row]))
    (found,) = Results(path).reports
    assert Results(path).find("model", "sm_80", "fp32") == found
    assert found.rows == [row] and Results(path).find("model", "sm_80", "fp16") is None
    text = page([found])
    assert "| model | conv | 50% | 128, 0 |" in text
    assert "| model | conv | sm_80 fp32 | 50% | 1 subroutine |" in text
