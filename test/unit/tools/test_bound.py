"""Builds with a bound on the error: what is raised, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import stepwell
from stepwell.accuracy import Bound, Simulation, meet
from stepwell.comparison import worst_error
from stepwell.errors import AccuracyError, OptionError
from stepwell.tools.cli import main

RNG = np.random.default_rng(0)
WIDTH = 32


def network(large: float) -> onnx.ModelProto:
    """Three products; the second cancels numbers that are `large` beside its result."""
    first = RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 6
    last = RNG.standard_normal((WIDTH, 4)).astype(np.float32) / 6
    half = RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 6
    weights = {
        "first": first,
        "twice": np.hstack([first, first]),
        "both": np.vstack([large * half, -large * half + first]),
        "last": last,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "twice"], ["a"], name="spread"),
        helper.make_node("MatMul", ["a", "both"], ["b"], name="cancel"),
        helper.make_node("Relu", ["b"], ["c"], name="relu"),
        helper.make_node("MatMul", ["c", "last"], ["y"], name="last"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "cancelling",
        [value("x", onnx.TensorProto.FLOAT, ["n", WIDTH])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weights[n], n) for n in ("twice", "both", "last")],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def inputs(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((8, WIDTH)).astype(np.float32)}


def error_of_engine(model: Any, engine: stepwell.Engine) -> float:
    exact = stepwell.build(model)
    return max(
        worst_error(engine.run(inputs(seed)), exact.run(inputs(seed)))
        for seed in range(50, 60)
    )


def test_the_op_that_cancels_is_raised_and_no_other() -> None:
    model = network(20.0)
    plain = stepwell.build(model, precision="bf16")
    assert error_of_engine(model, plain) > 2e-2
    engine = stepwell.build(
        model, precision="bf16", tolerance=2e-2, samples=[inputs(0), inputs(1)]
    )
    assert error_of_engine(model, engine) < 2e-2
    found = engine.manifest.accuracy
    assert found is not None
    assert (found.samples, found.device) == (2, engine.manifest.target.name)
    assert found.after <= 2e-2 < found.before
    kept = {one.node: one.reason for one in engine.manifest.kept_in_f32}
    assert "cancel" in kept and "last" not in kept
    assert kept["cancel"].startswith("alone it makes an error of ")


def test_a_network_that_is_within_the_bound_is_converted_whole() -> None:
    engine = stepwell.build(network(0.0), precision="bf16", tolerance=0.1)
    found = engine.manifest.accuracy
    assert found is not None and found.raised == 0
    assert engine.manifest.kept_in_f32 == ()
    assert found.after == pytest.approx(found.before, rel=0.5)


def test_of_another_target_the_cpu_is_the_judge() -> None:
    engine = stepwell.build(
        network(20.0),
        target="sm_90a",
        precision="bf16",
        tolerance=2e-2,
        samples=[inputs(0)],
    )
    found = engine.manifest.accuracy
    assert engine.manifest.target.name == "sm_90a"
    assert found is not None and found.raised > 0
    assert found.device.startswith("cpu")


def test_on_the_emulated_device() -> None:
    model = network(20.0)
    engine = stepwell.build(
        model,
        target="sm_90a",
        device="emulated",
        precision="bf16",
        tolerance=2e-2,
        samples=[inputs(0)],
    )
    found = engine.manifest.accuracy
    assert found is not None and found.device == "emulated"
    assert error_of_engine(model, engine) < 2e-2


class Rounding:
    """Stands for an engine of units whose errors add up."""

    def __init__(self, errors: list[float]) -> None:
        self.errors = np.array(errors)
        self.runs = 0

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        self.runs += 1
        return {"y": 1 + np.array([0.0, -(self.errors @ feeds["stepwell.switches"])])}


def simulation(errors: list[float]) -> Simulation:
    engine: Any = Rounding(errors)
    return Simulation(engine, len(errors), [{}, {}])


def test_the_fewest_units_are_raised_worst_first() -> None:
    found = simulation([0.001, 0.5, 0.002, 0.1, 0.003])
    assert found.fewest(1.0) == ()
    assert found.fewest(0.15) == (1,)
    assert found.fewest(0.01) == (1, 3)
    assert found.fewest(0.0035) == (1, 3, 4)
    assert set(found.fewest(0.0)) == {0, 1, 2, 3, 4}


def test_engines_that_err_more_than_simulated_are_tried_with_more_raised() -> None:
    tried: list[int] = []

    def trial(raised: Any) -> float:
        tried.append(len(raised))
        return 0.011 if len(raised) < 4 else 0.009

    meet(Bound(0.01), simulation([0.001, 0.5, 0.002, 0.1, 0.003]), trial)
    assert tried == [3, 4]


def test_a_bound_that_f32_misses_is_an_error() -> None:
    counts: list[int] = []

    def trial(raised: Any) -> float:
        counts.append(len(raised))
        return 0.5

    with pytest.raises(AccuracyError, match=r"of at most 1\.0e-02, got 5\.0e-01 with"):
        meet(Bound(0.01), simulation([0.1, 0.2]), trial)
    assert counts[-1] == 2 and len(counts) <= 4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"precision": "fp32", "tolerance": 1e-2}, "fp16 or bf16 with a tolerance"),
        ({"precision": "bf16", "tolerance": 0.0}, r"above 0, got 0\.0"),
        ({"precision": "bf16", "tolerance": float("nan")}, "above 0, got nan"),
        ({"precision": "bf16", "samples": [{}]}, "a tolerance beside the samples"),
        ({"precision": "bf16", "tolerance": 1e-2, "samples": []}, "at least one set"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        stepwell.build(network(1.0), **options)


def test_the_command_line(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(network(20.0), tmp_path / "m.onnx")
    np.savez(tmp_path / "samples.npz", **inputs(0))
    output = str(tmp_path / "m.stepwell")
    arguments = ["build", str(tmp_path / "m.onnx"), "-o", output, "--precision", "bf16"]
    arguments += ["--tolerance", "2e-2", "--samples", str(tmp_path / "samples.npz")]
    assert main(arguments) == 0
    assert "of 2.0e-02 allowed" in capsys.readouterr().out
    assert main(["inspect", output]) == 0
    assert "alone it makes an error of" in capsys.readouterr().out
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    arguments[-1] = str(tmp_path / "bad.npz")
    assert main(arguments) == 1
    assert "expected a .npz file" in capsys.readouterr().err
