"""Engines at work: inputs, ownership, threads, late sizes, control flow."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from stepwell.errors import EngineFileError, InputError, OptionError
from stepwell.runtime import Engine, engine_file
from stepwell.runtime.devices.emulated_gpu import EmulatedGpu
from stepwell.runtime.manifest import (
    Assert,
    Block,
    Copy,
    HostCall,
    If,
    Launch,
    Loop,
    ReadScalar,
    Segment,
    SymbolRange,
    TensorInfo,
    Value,
)
from stepwell.runtime.profiler import profile

F32 = "float32"
INT64 = {"dtype": "int64"}


def twice(x):
    return 2 * (2 * x + 3) + 3


def arange(n):
    return np.arange(n, dtype=np.float32)


@pytest.fixture(scope="module")
def engine(contents):
    return Engine(contents)


@pytest.fixture(scope="module", params=["build", "build_gpu"])
def any_build(request):
    """Makes the engine for a CPU, then for a GPU."""
    return request.getfixturevalue(request.param)


def start(contents):
    """The engine on the CPU, or on the emulated GPU."""
    is_cpu = contents.manifest.target.kind == "cpu"
    return Engine(contents, device="cpu" if is_cpu else EmulatedGpu(check=True))


@pytest.fixture(scope="module")
def any_engine(any_build):
    return start(any_build())


def scale(source, target, n="n"):
    """The launch `target = 2 source + 3`, with the weight at value 1."""
    return Segment((Launch(0, (source, 1, target), (n,)),))


def test_by_position_by_keyword_and_by_name(engine):
    x = arange(10)
    np.testing.assert_array_equal(engine(x), twice(x))
    np.testing.assert_array_equal(engine(x=x), twice(x))
    np.testing.assert_array_equal(engine.run({"x": x})["y"], twice(x))


def test_many_shapes_one_engine(any_engine):
    for n in (1, 63, 64, 65, 1000, 1, 4096, 63):
        np.testing.assert_array_equal(any_engine(arange(n)), twice(arange(n)))


def test_results_are_the_callers(any_engine):
    first = any_engine(arange(100))
    kept = first.copy()
    any_engine(arange(100) + 1)
    np.testing.assert_array_equal(first, kept)
    first[:] = 0
    np.testing.assert_array_equal(any_engine(arange(100)), kept)


def test_inputs_are_not_changed(any_engine):
    x = arange(100)
    x.flags.writeable = False
    any_engine(x)
    np.testing.assert_array_equal(x, arange(100))


def test_strided_and_listed_inputs(engine):
    np.testing.assert_array_equal(engine(arange(20)[::2]), twice(arange(20)[::2]))
    np.testing.assert_array_equal(engine([1, 2, 3]), twice(arange(4)[1:]))


class OnDevice:
    def __init__(self, array, device):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return (self.device, 0)


def test_dlpack(engine):
    np.testing.assert_array_equal(engine(OnDevice(arange(5), 1)), twice(arange(5)))
    with pytest.raises(InputError, match="memory of the cpu, got DLPack device type 2"):
        engine(OnDevice(arange(5), 2))


@pytest.mark.parametrize(
    ("inputs", "named", "message"),
    [
        ((), {}, "expected input 'x', which is missing"),
        ((arange(2), arange(2)), {}, "expected 1 inputs, got 2"),
        ((), {"z": arange(2)}, "expected inputs x, got 'z'"),
        ((arange(2),), {"x": arange(2)}, "'x' once, got it twice"),
        (
            (arange(2).astype(np.float64),),
            {},
            "dtype float32 of input 'x', got float64",
        ),
        ((arange(2).astype(">f4"),), {}, "dtype float32 of input 'x', got >f4"),
        ((arange(4).reshape(2, 2),), {}, "rank 1 of input 'x', got 2"),
        ((arange(0),), {}, "expected n in 1..100000, got 0"),
        ((np.zeros(100_001, np.float32),), {}, "expected n in 1..100000"),
        (("text",), {}, "got <U4"),
        ((object(),), {}, "got object"),
        (([[1], [2, 3]],), {}, "expected an array as input 'x', got list"),
    ],
)
def test_bad_inputs(engine, inputs, named, message):
    with pytest.raises(InputError, match=message):
        engine(*inputs, **named)
    np.testing.assert_array_equal(engine(arange(3)), twice(arange(3)))


def test_divisors_and_related_dims(build):
    values = (
        Value(F32, ("n",), "input", 0),
        Value(F32, (1,), "weight", 0),
        Value(F32, ("2 * n",), "input", 1),
        Value(F32, ("n",), "output", 0),
    )
    contents = build(
        values=values,
        inputs=(TensorInfo("x", 0), TensorInfo("z", 2)),
        symbols={"n": SymbolRange(4, 64, None, 4)},
        program=Block((scale(0, 3),)),
        slots=(),
    )
    engine = Engine(contents)
    np.testing.assert_array_equal(engine(arange(8), arange(16)), 2 * arange(8) + 3)
    with pytest.raises(InputError, match="expected n to be a multiple of 4, got 6"):
        engine(arange(6), arange(12))
    with pytest.raises(InputError, match="expected 2 \\* n = 16 at dim 0 of input 'z'"):
        engine(arange(8), arange(17))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_of_a_run(contents, threads):
    engine = Engine(contents, threads)
    for n in (1, 100, 5000):
        np.testing.assert_array_equal(engine(arange(n)), twice(arange(n)))
    with pytest.raises(OptionError):
        Engine(contents, 0)


def test_calls_from_many_threads(contents):
    engine = Engine(contents, 2)
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            x = rng.standard_normal(int(rng.integers(1, 3000))).astype(np.float32)
            if not np.array_equal(engine(x), twice(x)):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_threads_end_with_their_engine(contents):
    before = set(threading.enumerate())
    engine = Engine(contents, 3)
    engine(arange(500))
    mine = set(threading.enumerate()) - before
    assert len(mine) == 2
    del engine
    gc.collect()
    for thread in mine:
        thread.join(timeout=5)
        assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(contents):
    engine = Engine(contents, 2)
    engine(arange(500))
    child = os.fork()
    if child == 0:
        ok = np.array_equal(engine(arange(500)), twice(arange(500)))
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_contexts_are_independent(engine):
    first, second = engine.context(), engine.context()
    (a,) = first.run([arange(10)])
    (b,) = second.run([arange(20)])
    np.testing.assert_array_equal(a, twice(arange(10)))
    np.testing.assert_array_equal(b, twice(arange(20)))
    assert 0 < first.arena_bytes < second.arena_bytes


def test_one_value_as_several_outputs_is_copied(build):
    contents = build(outputs=(TensorInfo("y", 3), TensorInfo("y2", 3)))
    first, second = Engine(contents)(arange(5))
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, second)


def test_inputs_and_weights_as_outputs_are_copied(build):
    contents = build(
        outputs=(TensorInfo("x", 0), TensorInfo("w", 1)), program=Block(())
    )
    x = arange(5)
    same, weight = Engine(contents)(x)
    assert not np.shares_memory(same, x)
    weight[:] = 7
    np.testing.assert_array_equal(Engine(contents)(x)[1], [3.0])


def test_views_and_copies(any_build):
    values = (
        Value(F32, ("n", 2), "input", 0),
        Value(F32, (1,), "weight", 0),
        Value(F32, ("2 * n",), "alias", 0),
        Value(F32, ("n",), "alias", 0, "n"),
        Value(F32, ("n",), "slot", 0),
        Value(F32, ("n",), "output", 0),
    )
    program = Block((Copy(3, 4), scale(4, 5)))
    outputs = (TensorInfo("y", 5), TensorInfo("flat", 2), TensorInfo("half", 3))
    engine = start(any_build(values=values, program=program, outputs=outputs))
    x = arange(12).reshape(6, 2)
    y, flat, half = engine(x)
    np.testing.assert_array_equal(y, 2 * x.reshape(-1)[6:] + 3)
    np.testing.assert_array_equal(flat, x.reshape(-1))
    np.testing.assert_array_equal(half, x.reshape(-1)[6:])


def late_values():
    """Indices of nonzero elements: their number is known after the host call."""
    return (
        Value(F32, ("n",), "input", 0),
        Value(F32, (1,), "weight", 0),
        Value("int64", (1, "count"), "host"),
        Value(F32, ("count",), "slot", 0),
        Value(F32, ("count",), "output", 0),
    )


def test_sizes_that_a_run_finds_out(any_build):
    program = Block(
        (
            HostCall("nonzero", (0,), (2,), INT64),
            scale(0, 3, "count"),
            scale(3, 4, "count"),
        )
    )
    contents = any_build(
        values=late_values(),
        slots=("4 * count",),
        program=program,
        outputs=(TensorInfo("y", 4), TensorInfo("where", 2)),
        symbols={"n": SymbolRange(1), "count": SymbolRange(0, 50)},
    )
    engine = start(contents)
    rng = np.random.default_rng(0)
    for size in (10, 40, 3, 60, 10):
        x = (rng.random(size) < 0.5).astype(np.float32)
        y, where = engine(x)
        np.testing.assert_array_equal(where, [np.flatnonzero(x)])
        np.testing.assert_array_equal(y, twice(x[: len(where[0])]))
    with pytest.raises(InputError, match=r"expected count in 0\.\.50, got 60"):
        engine(np.ones(60, np.float32))


def control(build, steps, values, outputs, **more):
    inputs = [v for v in values if v.place == "input"]
    names = ("x", "c", "m")
    contents = build(
        values=tuple(values),
        inputs=tuple(TensorInfo(names[v.index], values.index(v)) for v in inputs),
        outputs=tuple(TensorInfo(f"y{i}", v) for i, v in enumerate(outputs)),
        program=Block(tuple(steps)),
        **more,
    )
    return start(contents)


BASE = (
    Value(F32, ("n",), "input", 0),
    Value(F32, (1,), "weight", 0),
    Value("bool", (), "input", 1),
    Value(F32, ("n",), "slot", 0),
)


def test_branches(any_build):
    result = Value(F32, ("n",), "host")
    branch = If(2, Block((scale(0, 3),), (3,)), Block((), (0,)), (4,))
    engine = control(any_build, [branch], [*BASE, result], [4])
    x = arange(7)
    np.testing.assert_array_equal(engine(x, np.array(True)), 2 * x + 3)
    other = engine(x, np.array(False))
    np.testing.assert_array_equal(other, x)
    assert not np.shares_memory(other, x)


def test_branches_of_different_shape(any_build):
    where = Value("int64", (1, "k"), "host")
    flat = Value("int64", ("k",), "alias", 4)
    weight = Value(F32, (1,), "weight", 0)
    one = Value("int64", (1, "j"), "host")
    result = Value("int64", (1, "rows"), "host")
    branch = If(
        2,
        Block((HostCall("nonzero", (0,), (4,), INT64),), (4,)),
        Block((HostCall("nonzero", (6,), (7,), INT64),), (7,)),
        (8,),
    )
    values = [*BASE, where, flat, weight, one, result]
    engine = control(any_build, [branch], values, [8])
    x = arange(7)
    np.testing.assert_array_equal(engine(x, True), [np.arange(1, 7)])
    np.testing.assert_array_equal(engine(x, False), [[0]])


def test_loops_carry_and_stack(any_build):
    values = [
        *BASE,
        Value("int64", (), "input", 2),
        Value("int64", (), "host"),
        Value(F32, ("n",), "host"),
        Value(F32, ("n",), "host"),
        Value(F32, ("rounds", "n"), "host"),
    ]
    body = Block((scale(6, 3),), (2, 3, 6))
    loop = Loop((5, 6), (0,), body, (7, 8), trips=4, condition=2)
    engine = control(any_build, [loop], values, [7, 8])
    x = arange(6)
    last, all_ = engine(x, True, 3)
    expected = [x, 2 * x + 3, twice(x)]
    np.testing.assert_array_equal(all_, expected)
    np.testing.assert_array_equal(last, 2 * twice(x) + 3)
    last, all_ = engine(x, True, 0)
    np.testing.assert_array_equal(last, x)
    assert all_.shape == (0, 6)
    assert engine(x, False, 5)[1].shape == (0, 6)


def test_scalars_bind_symbols_and_asserts_check_them(any_build):
    values = [*BASE, Value("int64", (2,), "input", 2), Value(F32, ("a",), "output", 0)]
    steps = [
        ReadScalar(4, ("a", "b")),
        Assert("a + b", "le", "n", "the pieces are larger than the whole"),
        scale(0, 5, "a"),
    ]
    engine = control(any_build, steps, values, [5])
    x = arange(10)
    y = engine(x, True, np.array([4, 6]))
    np.testing.assert_array_equal(y, 2 * x[:4] + 3)
    with pytest.raises(InputError, match="the pieces are larger") as caught:
        engine(x, True, np.array([4, 7]))
    assert "a + b le n, got 11 and 10" in str(caught.value)


def test_a_wrong_memory_plan_is_found(any_build):
    engine = start(any_build(slots=("3 * n",)))
    with pytest.raises(EngineFileError, match="value 2 within the 30 B of its slot"):
        engine(arange(10))


def test_engines_without_kernels(any_build):
    values = (Value("bfloat16", ("n",), "input", 0),)
    contents = any_build(
        values=values,
        outputs=(TensorInfo("y", 0),),
        program=Block(()),
        slots=(),
        weights=(),
        kernels=(),
        code=None,
    )
    contents = replace(contents, code={}, weights=np.zeros(0, np.uint8))
    x = arange(4).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(start(contents)(x), x)


def test_profile_counts_every_launch(any_engine):
    times = profile(any_engine, {"x": arange(100)}, runs=3)
    assert [one.calls for one in times] == [1, 1]
    assert all(one.seconds > 0 for one in times)


def test_inspect(engine):
    summary = engine.inspect({"n": 100})
    assert [one.name for one in summary.launches] == ["scale", "scale"]
    assert (summary.arena_bytes, summary.weight_bytes) == (400, 4)
    assert "2 launches of 1 functions" in str(summary)
    assert engine.inspect().sizes == {"n": 64}


INTERRUPTED = """
import sys
sys.path.insert(0, {tests!r})
import conftest
import numpy as np
from stepwell.runtime import Engine
engine = Engine(conftest.make_engine(), 2)
x = np.zeros(5000, np.float32)
engine(x)
print("ready", flush=True)
try:
    while True:
        engine(x)
except KeyboardInterrupt:
    engine(x)
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.1, 0.2])
def test_an_interrupt_leaves_the_threads_in_order(delay):
    script = INTERRUPTED.format(tests=os.path.dirname(__file__))
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=60)[0] == "stopped\n"


def test_specs(engine):
    (spec,) = engine.inputs
    assert str(spec) == "x: float32[n]"
    assert spec.ranges["n"].max == 100_000
    assert engine.kernel_count == 2


def test_a_warm_call_costs_little(contents):
    """The target is 50 us; the bound is loose for busy machines."""
    engine = Engine(contents, 1)
    x = arange(1)
    times = []
    for _ in range(300):
        start = time.perf_counter()
        engine(x)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 200e-6


SERVE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("xdsl", "onnx", "rich", "onnxruntime", "torch"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import numpy as np
import stepwell
engine = stepwell.load(sys.argv[1])
y = engine(np.arange(130, dtype=np.float32))
print(float(y.sum()))
mine = [m for m in sys.modules if m.startswith("stepwell.")]
assert not any(m.startswith(("stepwell.dialects", "stepwell.codegen")) for m in mine)
try:
    stepwell.build("model.onnx")
except stepwell.errors.MissingExtraError as error:
    print(error)
"""


def test_serving_needs_no_compiler(contents, tmp_path):
    path = tmp_path / "a.stepwell"
    engine_file.write(contents, path)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(float(twice(arange(130)).sum()))
    assert "pip install 'stepwell[compile]'" in done.stdout
