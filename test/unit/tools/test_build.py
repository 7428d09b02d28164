"""`stepwell.build`: what it takes, what it refuses, what it tells on its way."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from xdsl.parser import Parser

import stepwell
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.printing import module_text
from stepwell.dialects.registry import register_dialects
from stepwell.errors import InputError, ModelError, OptionError
from stepwell.runtime.manifest import SymbolRange


@pytest.fixture(scope="module")
def model():
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="fc"),
            helper.make_node("Reshape", ["h", "shape"], ["r"], name="fold"),
            helper.make_node("Tanh", ["r"], ["y"], name="tanh"),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 2])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.array([-1, 2, 2]), "shape"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def expected(model, x):
    weight = numpy_helper.to_array(model.graph.initializer[0])
    return np.tanh(x @ weight).reshape(-1, 2, 2)


def test_from_a_proto_bytes_and_a_path(model, tmp_path):
    path = tmp_path / "tiny.onnx"
    onnx.save(model, path)
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    for source in (model, model.SerializeToString(), path, str(path)):
        y = stepwell.build(source)(x)
        np.testing.assert_allclose(y, expected(model, x), rtol=1e-5, atol=1e-6)


def test_one_engine_serves_its_range(model):
    engine = stepwell.build(model, shapes={"x": [(2, 4, 16), 8]})
    (spec,) = engine.inputs
    assert spec.ranges[spec.shape[0]] == SymbolRange(2, 16, 4, 1)
    for n in (2, 5, 16):
        x = np.ones((n, 8), np.float32)
        np.testing.assert_allclose(engine(x), expected(model, x), rtol=1e-5, atol=1e-6)
    for n in (1, 17):
        with pytest.raises(InputError, match=r"in 2\.\.16"):
            engine(np.ones((n, 8), np.float32))


@pytest.mark.parametrize("target", ["cpu-baseline", "cpu-avx2"])
def test_fixed_targets(model, target):
    engine = stepwell.build(model, target=target)
    x = np.ones((3, 8), np.float32)
    np.testing.assert_allclose(engine(x), expected(model, x), rtol=1e-5, atol=1e-6)
    assert engine.manifest.target.name == target


def test_progress_counts_up_to_its_total(model):
    seen = []
    stepwell.build(model, progress=lambda *step: seen.append(step))
    assert seen[0][0] == "import"
    assert [done for _, done, _ in seen] == list(range(len(seen)))
    assert {total for _, _, total in seen} == {len(seen)}


@pytest.mark.parametrize("target", ["cpu", "sm_90a"])
def test_kept_ir_reads_back(model, target):
    context = StepwellContext()
    register_dialects(context)
    context.load_registered_dialect("builtin")
    for name, text in stepwell.build(model, target, keep_ir=True).snapshots.items():
        module = Parser(context, text).parse_module()
        module.verify()
        assert module_text(module) == text, name


def test_kept_ir_shows_every_level(model):
    snapshots = stepwell.build(model, keep_ir=True).snapshots
    names = [name.partition("-")[2] for name in snapshots]
    assert names[0] == "import.mlir"
    assert names[-1] == "engine.mlir"
    assert "nn.matmul" in snapshots["ir/0-import.mlir"]
    assert "engine.launch" in next(reversed(snapshots.values()))
    assert stepwell.build(model).snapshots == {}


def test_engines_name_their_sources(model):
    summary = stepwell.build(model).inspect()
    assert summary.launches[0].nodes[0] == "fc"
    assert "matmul" in summary.launches[0].ops
    assert summary.launches[0].schedule.startswith("#fusion.schedule<")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precision": "fp8"},
            "expected a precision of fp32, tf32, fp16, bf16, got 'fp8'",
        ),
        ({"threads": 0}, "expected at least 1 thread, got 0"),
        ({"target": "tpu"}, "expected a target, got 'tpu'"),
        ({"shapes": {"q": "1x8"}}, "has no input 'q'"),
    ],
)
def test_options_that_are_refused(model, options, message):
    with pytest.raises(OptionError, match=message):
        stepwell.build(model, **options)


@pytest.mark.parametrize("source", [b"", b"not a model", b"\x08\x07" * 50])
def test_bytes_that_are_no_model(source):
    with pytest.raises(ModelError):
        stepwell.build(source)


BYTES = """
import hashlib, sys, stepwell
engine = stepwell.build(sys.argv[1], threads=2)
print(hashlib.sha256(engine.to_bytes()).hexdigest())
"""


def test_builds_do_not_depend_on_the_process(model, tmp_path):
    path = tmp_path / "tiny.onnx"
    onnx.save(model, path)
    digests = {
        subprocess.run(
            [sys.executable, "-c", BYTES, str(path)],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
