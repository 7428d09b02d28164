"""Damage of every kind ends in `EngineFileError`, and never in a wrong answer."""

import contextlib
import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from stepwell.errors import DeviceError, EngineFileError, StepwellError
from stepwell.runtime import Engine, engine_file, load, load_bytes
from stepwell.runtime.manifest import (
    Copy,
    HostCall,
    Kernel,
    Launch,
    Segment,
    TargetInfo,
    TensorInfo,
    Value,
    Weight,
)

X = np.arange(130, dtype=np.float32)
Y = 2 * (2 * X + 3) + 3


def rezip(data, change=None, rename=None, drop=(), compress=False, comment=None):
    """The same archive with entries changed, and a manifest checksum that fits."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        entries = {i.filename: source.read(i) for i in source.infolist()}
    entries = {k: v for k, v in entries.items() if k not in drop}
    entries.update(change or {})
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", method) as target:
        digest = hashlib.sha256(entries.get("manifest.json", b"")).hexdigest()
        target.comment = digest.encode() if comment is None else comment
        for name, content in entries.items():
            target.writestr((rename or {}).get(name, name), content)
    return out.getvalue()


def edit_manifest(data, edit):
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        manifest = json.loads(source.read("manifest.json"))
    edit(manifest)
    return rezip(data, {"manifest.json": json.dumps(manifest).encode()})


@pytest.fixture(scope="module")
def data(contents):
    return engine_file.to_bytes(contents)


def test_round_trip_in_memory_and_on_disk(contents, data, tmp_path):
    path = tmp_path / "a.stepwell"
    engine_file.write(contents, path)
    assert path.read_bytes() == data
    for engine in (load(path), load_bytes(data), Engine(contents)):
        np.testing.assert_array_equal(engine(X), Y)
        assert engine.to_bytes() == data
        assert engine.snapshots == contents.snapshots


def test_two_writes_are_the_same_bytes(build, data):
    time.sleep(2.1)  # zip timestamps have two seconds' resolution
    assert engine_file.to_bytes(build()) == data


def test_weights_are_mapped_and_aligned(contents, tmp_path):
    path = tmp_path / "a.stepwell"
    engine_file.write(contents, path)
    weights = engine_file.read(path).weights
    assert weights.ctypes.data % 64 == 0
    assert not weights.flags.writeable
    assert not weights.flags.owndata


def test_every_truncation_is_refused(data):
    for length in range(0, len(data), 97):
        with pytest.raises(EngineFileError):
            engine_file.from_bytes(data[:length])


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_mutated_bytes_are_refused_or_give_the_same_result(data, draw_from):
    changed = bytearray(data)
    for _ in range(draw_from.draw(st.integers(1, 4))):
        at = draw_from.draw(st.integers(0, len(data) - 1))
        changed[at] ^= draw_from.draw(st.integers(1, 255))
    try:
        engine = load_bytes(bytes(changed))
    except EngineFileError:
        return
    np.testing.assert_array_equal(engine(X), Y)


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data):
    with pytest.raises(EngineFileError):
        engine_file.from_bytes(data)


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_a_manifest_with_a_valid_checksum_is_still_checked(data, draw_from):
    """Any one JSON value replaced: refused on loading, or an engine that runs."""
    junk = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.sampled_from([0, 1, 2, -1, "n", "m", "n * n", "", "input", "slot", 1e9]),
        st.lists(st.integers(-2, 5), max_size=3),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    )

    def edit(manifest):
        node = manifest
        path = ["symbols", "values", "slots", "weights", "kernels", "inputs", "outputs"]
        node, key = manifest, draw_from.draw(st.sampled_from(path))
        while isinstance(node[key], list | dict) and node[key]:
            if draw_from.draw(st.integers(0, 4)) == 0:
                break
            node = node[key]
            keys = range(len(node)) if isinstance(node, list) else sorted(node)
            key = draw_from.draw(st.sampled_from(list(keys)))
        node[key] = draw_from.draw(junk)

    with contextlib.suppress(EngineFileError):
        engine_file.from_bytes(edit_manifest(data, edit))


def test_a_flipped_weight_is_refused(data, contents):
    at = data.index(contents.weights.tobytes())
    changed = bytearray(data)
    changed[at] ^= 1
    with pytest.raises(EngineFileError):
        engine_file.from_bytes(bytes(changed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rename": {"ir/nn.mlir": "../evil"}}, "plain entry"),
        ({"rename": {"ir/nn.mlir": "/etc/passwd"}}, "plain entry"),
        ({"rename": {"ir/nn.mlir": "kernels/../../x"}}, "plain entry"),
        ({"rename": {"ir/nn.mlir": "ir/other.mlir"}}, "expected the entries"),
        ({"change": {"kernels/extra": b"x"}}, "expected the entries"),
        ({"drop": ["weights.bin"]}, "weights.bin"),
        ({"drop": ["manifest.json"]}, "manifest.json"),
        ({"compress": True}, "stored as it is"),
        ({"comment": b""}, "manifest's checksum"),
        ({"change": {"weights.bin": b"\0" * 4}}, "checksum of 'weights.bin'"),
        ({"change": {"weights.bin": b"\0" * 400}}, "expected 4 B"),
        ({"change": {"manifest.json": b"[" * 100_000}}, "deep nesting|damaged"),
        ({"change": {"manifest.json": b"{}"}}, "Stepwell engine's manifest"),
    ],
)
def test_hostile_archives(data, change, message):
    with pytest.raises(EngineFileError, match=message):
        engine_file.from_bytes(rezip(data, **change))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_entries(data):
    out = io.BytesIO(rezip(data))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("weights.bin", b"\0\0\0\0")
    with pytest.raises(EngineFileError, match=r"one entry 'weights\.bin', got two"):
        engine_file.from_bytes(out.getvalue())


def set_schema(manifest):
    manifest["schema"] = 99


def set_format(manifest):
    manifest["format"] = "something"


def add_key(manifest):
    manifest["surprise"] = 1


def drop_key(manifest):
    del manifest["slots"]


def wrong_type(manifest):
    manifest["inputs"][0]["value"] = "0"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_schema, "schema 1, got 99"),
        (set_format, "Stepwell engine's manifest"),
        (add_key, "surprise"),
        (drop_key, "the key 'slots'"),
        (wrong_type, "type int at Manifest.inputs"),
    ],
)
def test_manifests_of_another_form(data, edit, message):
    with pytest.raises(EngineFileError, match=message):
        engine_file.from_bytes(edit_manifest(data, edit))


def launch(views=(0, 1, 2), integers=("n",), kernel=0):
    return Segment((Launch(kernel, views, integers),))


def program(*steps):
    from stepwell.runtime.manifest import Block

    return {"program": Block(steps)}


def values(*changed):
    first = (
        Value("float32", ("n",), "input", 0),
        Value("float32", (1,), "weight", 0),
        Value("float32", ("n",), "slot", 0),
        Value("float32", ("n",), "output", 0),
    )
    return {"values": (*first[: 4 - len(changed)], *changed)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (program(launch(kernel=3)), "kernel below 1"),
        (program(launch(views=(0, 1, 9))), "value below 4"),
        (program(launch(views=(0, 1))), "arguments of scale"),
        (program(launch(integers=())), "arguments of scale"),
        (program(launch(integers=("n +",))), "dim expression"),
        (program(Copy(3, 0)), "copy into the arena"),
        (values(Value("float32", ("n",), "slot", 5)), "slot below 1"),
        (values(Value("float32", ("n",), "alias", 3)), "alias below 3"),
        (values(Value("float32", ("n",), "nowhere")), "place of input"),
        (values(Value("floaty", ("n",), "output")), "element type"),
        (values(Value("object", ("n",), "slot", 0)), "strings on the host"),
        ({"weights": (Weight(64, 4),)}, "weight within 4 B"),
        ({"weights": (Weight(-64, 4),)}, "weight within"),
        ({"weights": (Weight(0, 8),)}, "4 B of weight"),
        ({"slots": ("4 * ",)}, "dim expression"),
        ({"threads": -1}, "threads"),
        ({"kernels": (Kernel("scale", 3, 1, (), ()),)}, "1 symbols of scale"),
        ({"code": None}, "code for the kernels"),
        (
            {"outputs": (TensorInfo("x", 0), TensorInfo("y", 3))},
            "output 0 at value 3 in the manifest, got 0",
        ),
    ],
)
def test_inconsistent_manifests_are_refused_on_loading(build, change, message):
    with pytest.raises(EngineFileError, match=message):
        engine_file.from_bytes(engine_file.to_bytes(build(**change)))


def test_one_value_may_be_several_outputs(build):
    outputs = (TensorInfo("y", 3), TensorInfo("x", 0), TensorInfo("again", 3))
    data = engine_file.to_bytes(build(outputs=outputs))
    assert engine_file.from_bytes(data).manifest.outputs == outputs


def test_symbols_that_nothing_binds(build):
    bad = program(launch(integers=("q",)))
    with pytest.raises(EngineFileError, match="bound before use, got \\['q'\\]"):
        Engine(build(**bad))


def test_unknown_host_functions(build):
    bad = program(HostCall("format_disk", (0,), (2,)), launch())
    with pytest.raises(EngineFileError, match="format_disk"):
        Engine(build(**bad))


def test_missing_functions(build):
    with pytest.raises(EngineFileError, match="function 'nope'"):
        Engine(build(kernels=(Kernel("nope", 3, 1, ("m",), ("m",)),)))


def test_engines_for_other_devices(build, build_gpu):
    with pytest.raises(DeviceError, match="for an engine of sm_90a, got 'cpu'"):
        Engine(build_gpu(), device="cpu")
    with pytest.raises(DeviceError, match="for an engine of cpu, got 'emulated'"):
        Engine(build(), device="emulated")


def test_objects_for_other_processors_fall_back_to_llvm_ir(
    build, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    contents = build(target=TargetInfo("cpu", "cpu", "", "", ("no-such-feature",)))
    contents = replace(contents, code={**contents.code, "kernels/cpu.o": b"not used"})
    np.testing.assert_array_equal(Engine(contents)(X), Y)
    (cached,) = tmp_path.rglob("*.o")
    np.testing.assert_array_equal(Engine(contents)(X), Y)  # from the cache
    cached.write_bytes(b"damaged")
    np.testing.assert_array_equal(Engine(contents)(X), Y)  # compiled again


def test_objects_for_other_processors_without_llvm_ir(build):
    contents = build(target=TargetInfo("cpu", "cpu", "", "", ("no-such-feature",)))
    code = replace(contents.manifest.code, fallback="")
    contents = replace(contents, manifest=replace(contents.manifest, code=code))
    with pytest.raises(DeviceError, match="no-such-feature"):
        Engine(contents)


def test_missing_files_and_folders(contents, tmp_path):
    with pytest.raises(EngineFileError, match="No such file"):
        load(tmp_path / "none")
    with pytest.raises(EngineFileError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(EngineFileError, match="cannot write the engine"):
        engine_file.write(contents, tmp_path / "no" / "folder")


SAVE = """
import sys, time
sys.path.insert(0, {tests!r})
import conftest
import numpy as np
from dataclasses import replace
from stepwell.runtime import engine_file
contents = conftest.make_engine()
big = engine_file.aligned(np.zeros(64 << 20, np.uint8))
big = replace(contents, weights=big)
print("ready", flush=True)
engine_file.write(big, {path!r})
print("done", flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_saving(contents, tmp_path, delay, how):
    path = tmp_path / "a.stepwell"
    engine_file.write(contents, path)
    script = SAVE.format(tests=os.path.dirname(__file__), path=str(path))
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline().strip() == b"ready"
    time.sleep(delay)
    child.send_signal(how)
    out, _ = child.communicate(timeout=60)
    if b"done" in out:
        assert len(engine_file.read(path).weights) == 64 << 20
    else:
        np.testing.assert_array_equal(load(path)(X), Y)
    if how == signal.SIGINT:
        assert list(tmp_path.iterdir()) == [path]


def test_disk_full(contents, tmp_path):
    """A limit on file size fails writes as a full disk does."""
    path = tmp_path / "a.stepwell"
    engine_file.write(contents, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(EngineFileError, match="cannot write the engine"):
            engine_file.write(contents, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_errors_say_where(tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(b"not a zip")
    with pytest.raises(StepwellError) as caught:
        load(path)
    assert caught.value.where == str(path)
