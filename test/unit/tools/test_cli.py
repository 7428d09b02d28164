"""The command line: every command on a small model, and what becomes of errors."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepwell.comparison import error_of
from stepwell.runtime import load
from stepwell.tools.cli import main
from stepwell.tools.cli.console import with_unit


def save_mlp(path, op="Relu"):
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((16, 32)),
        "b1": rng.standard_normal(32),
        "w2": rng.standard_normal((32, 10)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="fc1"),
            helper.make_node(op, ["h"], ["r"], name="act1"),
            helper.make_node("MatMul", ["r", "w2"], ["y"], name="fc2"),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(w.astype("f4"), n) for n, w in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mlp.onnx"
    save_mlp(path)
    return path


@pytest.fixture(scope="module")
def engine(model):
    path = model.with_suffix(".stepwell")
    shape = "x=1..32x16:8x16"
    arguments = ["build", str(model), "-o", str(path), "--shape", shape, "--keep-ir"]
    assert main([*arguments, "--quiet"]) == 0
    return path


@pytest.fixture(scope="module")
def gpu_engine(model):
    path = model.with_suffix(".gpu.stepwell")
    arguments = ["build", str(model), "-o", str(path), "--target", "sm_80"]
    assert main([*arguments, "--shape", "x=1..32x16:8x16", "--quiet"]) == 0
    return path


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_build_says_what_it_made(model, tmp_path, capsys):
    code, out, _ = run(capsys, "build", model, "-o", tmp_path / "m", "--threads", 1)
    assert code == 0
    assert "kernels  2" in out
    assert load(tmp_path / "m").threads == 1


def test_quiet_builds_say_nothing(model, tmp_path, capsys):
    assert run(capsys, "build", model, "-o", tmp_path / "m", "-q") == (0, "", "")


def test_two_builds_are_the_same_bytes(model, tmp_path):
    for name in ("a", "b"):
        assert main(["build", str(model), "-o", str(tmp_path / name), "-q"]) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_run_with_files(engine, tmp_path, capsys):
    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    file = f"x={tmp_path / 'x.npy'}"
    code, out, _ = run(capsys, "run", engine, "--input", file, "-o", tmp_path)
    assert code == 0
    assert "3x10" in out
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), load(engine)(x))


def test_run_on_random_inputs(engine, capsys):
    code, out, _ = run(capsys, "run", engine)
    assert (code, "8x10" in out) == (0, True)
    code, out, _ = run(capsys, "run", engine, "--size", "batch=5")
    assert (code, "5x10" in out) == (0, True)


def test_bench(engine, capsys):
    code, out, _ = run(
        capsys, "bench", engine, "--runs", 5, "--profile", "--threads", 1
    )
    assert code == 0
    for word in ("p50", "p99", "throughput", "matmul_add_relu__fc1", "FLOP/s"):
        assert word in out


def test_traces_of_both_devices(engine, gpu_engine, tmp_path, capsys):
    trace = tmp_path / "trace.json"
    for path, device in ((engine, "cpu"), (gpu_engine, "emulated")):
        arguments = ("--runs", 1, "--device", device, "--trace", trace)
        code, out, _ = run(capsys, "bench", path, *arguments)
        assert code == 0
        assert ("device" in out) == (device == "emulated")
        events = json.loads(trace.read_text())["traceEvents"]
        kernels = [event for event in events if event["ph"] == "X"]
        assert kernels[0]["name"] == "matmul_add_relu__fc1"
        assert kernels[0]["args"]["nodes"] == ["fc1", "act1"]
    code, _, err = run(capsys, "bench", engine, "--trace", tmp_path / "no" / "t.json")
    assert (code, "cannot write the trace" in err) == (1, True)


def test_engines_for_gpus(model, gpu_engine, engine, capsys):
    code, out, _ = run(capsys, "inspect", gpu_engine)
    assert (code, "sm_80" in out, " of " in out) == (0, True, True)
    code, out, _ = run(capsys, "run", gpu_engine, "--device", "emulated")
    assert (code, "8x10" in out) == (0, True)
    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    ours, theirs = load(gpu_engine, device="emulated")(x), load(engine)(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    code, _, err = run(capsys, "run", gpu_engine, "--device", "cpu")
    assert (code, "expected a device for an engine of sm_80" in err) == (1, True)
    arguments = ("--target", "sm_80", "--device", "emulated", "--runs", 1, "-q")
    code, out, _ = run(capsys, "compare", model, *arguments, "--size", "batch=5")
    assert (code, "within the tolerance" in out) == (0, True)


def test_inspect(engine, capsys):
    code, out, _ = run(capsys, "inspect", engine)
    assert code == 0
    assert "matmul, add, relu" in out
    assert "fc1, act1" in out
    assert "batch x 16" in out
    assert "arena: 1.0 kB in 1 slots" in out
    # 2 * 8 * 16 * 32 + 2 elementwise ops on 8 x 32, and 2 * 8 * 32 * 10
    assert "13.8 kFLOP" in out


def test_inspect_json_and_ir(engine, capsys):
    code, out, _ = run(capsys, "inspect", engine, "--json")
    assert code == 0
    assert json.loads(out)["inputs"] == [{"name": "x", "value": 0}]
    code, out, _ = run(capsys, "inspect", engine, "--ir", "fusion")
    assert code == 0
    assert 'fusion.kernel "matmul_add_relu__fc1"' in out
    code, _, err = run(capsys, "inspect", engine, "--ir", "nothing")
    assert code == 1
    assert "expected one level of IR, got 'nothing'" in err


def test_explain(engine, capsys):
    code, out, _ = run(capsys, "explain", engine, "act1")
    assert code == 0
    assert "matmul, add, relu" in out
    assert "not fused with its neighbours because:" in out
    code, _, err = run(capsys, "explain", engine, "conv9")
    assert code == 1
    assert "expected a kernel of the engine, got 'conv9'" in err


def test_check(model, tmp_path, capsys):
    code, out, _ = run(capsys, "check", model)
    assert code == 0
    assert "Gemm" in out
    graph = helper.make_graph(
        [
            helper.make_node("Frobnicate", ["x"], ["h"], name="first", domain="acme"),
            helper.make_node("Mangle", ["h"], ["y"], name="second", domain="acme"),
        ],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "odd.onnx")
    code, _, err = run(capsys, "check", tmp_path / "odd.onnx")
    assert code == 1
    assert "Frobnicate" in err
    assert "first" in err


def test_compare(model, capsys):
    pytest.importorskip("onnxruntime")
    code, out, _ = run(capsys, "compare", model, "--runs", 2, "-q")
    assert code == 0
    assert "within the tolerance of 1e-04" in out
    assert "of onnxruntime's time" in out
    arguments = ("--runs", 1, "-q", "--precision", "fp16", "--tolerance", "1e-9")
    code, out, _ = run(capsys, "compare", model, *arguments)
    assert code == 1
    assert "BEYOND" in out


def test_distances_judge_nan_shape_and_dtype():
    a = np.array([1, 2, -np.inf, np.inf], np.float32)
    assert error_of("y", a, a).relative == 0
    nan = np.array([1, np.nan], np.float32)
    assert error_of("y", nan, nan).relative == np.inf
    b = a.copy()
    b[0] = 1.5
    assert error_of("y", b, a).relative == 0.25
    for worse in (
        np.nan_to_num(a),
        np.array([np.nan, 2, -np.inf, np.inf], np.float32),
        np.array([1, 2, np.inf, -np.inf], np.float32),
        a[:3],
        a.astype(np.float64),
    ):
        assert error_of("y", worse, a).relative == np.inf
    zeros = np.zeros(3, np.float32)
    assert error_of("y", zeros, zeros).relative == 0
    assert error_of("y", zeros + 1e-9, zeros).relative == np.inf


TWICE = ("--shape", "x=1x16", "--shape", "x=2x16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "{engine}", "--input", "z=x.npy"], "expected an input of x, got 'z'"),
        (["run", "{engine}", "--input", "x"], "expected --input NAME=FILE.npy"),
        (["run", "{engine}", "--input", "x=none.npy"], "expected a .npy file"),
        (["run", "{engine}", "--size", "batch=many"], "expected --size SYMBOL=N"),
        (["run", "{engine}", "--size", "batch=99"], "expected batch in 1..32, got 99"),
        (["run", "{engine}", "--threads", "0"], "expected at least 1 thread, got 0"),
        (["run", "{model}"], "expected a Stepwell engine"),
        (["run", "missing"], "cannot read the engine"),
        (["build", "missing.onnx"], "missing.onnx"),
        (["build", "{model}", "-o", "no/such/m"], "expected an existing folder"),
        (["build", "{model}", "--target", "tpu"], "expected a target, got 'tpu'"),
        (["build", "{model}", "--shape", "x=1..axb"], "expected a shape such as"),
        (["build", "{model}", "--shape", "q=1x16"], "has no input 'q'"),
        (["build", "{engine}", "-o", "m"], "ONNX"),
        (["build", "{model}", "-o", "."], "expected a file to write, got the folder"),
        (["build", "{model}", *TWICE], "once, got 'x' twice"),
        (["inspect", "missing"], "cannot read the engine"),
        (["run", "{engine}", "-o", "{model}"], "cannot make a folder for the outputs"),
        (["run", "{engine}", "--size", f"batch={10**14}"], "not enough memory"),
        (["bench", "{engine}", "--runs", "1", "--trace", "."], "cannot write the"),
    ],
)
def test_errors_are_messages(model, engine, arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(model.parent)
    texts = [a.format(model=model, engine=engine) for a in arguments]
    code, _, err = run(capsys, *texts, *(["-q"] if texts[0] == "build" else []))
    assert code == 1
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


def test_wrong_usage_exits_with_2(capsys):
    for arguments in (
        [],
        ["frobnicate"],
        ["build"],
        ["run", "e", "--no-such-flag"],
        ["run", "e", "--seed", "-1"],
        ["bench", "e", "--runs", "0"],
        ["bench", "e", "--seconds", "-1"],
        ["compare", "m", "--tolerance", "nan"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_interrupted_builds_leave_an_engine_whole(model, engine, tmp_path):
    output = tmp_path / "m.stepwell"
    output.write_bytes(engine.read_bytes())
    script = (
        "import sys; from stepwell.tools.cli import main; print('go', flush=True); "
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "build", str(model), "-o", str(output)]
    for delay in (0.1, 0.6, 1.2):
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "go\n"
        time.sleep(delay)
        child.send_signal(signal.SIGINT)
        _out, err = child.communicate(timeout=60)
        if child.returncode:
            # Python dies of the signal itself where it comes while it shuts down.
            assert child.returncode in (130, -signal.SIGINT)
            if child.returncode == 130:
                assert err.strip().endswith("interrupted")
                assert "Traceback" not in err
        if output.read_bytes() != engine.read_bytes():
            load(output)  # the build was over before: the new file, whole
        assert list(tmp_path.iterdir()) == [output]


def test_units():
    assert with_unit(12, "B") == "12 B"
    assert with_unit(1536, "B") == "1.5 kB"
    assert with_unit(2.5e9, "FLOP") == "2.5 GFLOP"
    assert with_unit(0.5, "B") == "0.5 B"
    assert with_unit(3e13, "FLOP/s") == "30.0 TFLOP/s"
