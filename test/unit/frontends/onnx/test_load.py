"""Loading: nothing in a file is trusted, and every refusal names what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.semantics import interpret
from stepwell.errors import ModelError, StepwellError, UnsupportedError
from stepwell.frontends.onnx import check_model, import_model

FLOAT = TensorProto.FLOAT


def small_model(opset: int = 17) -> onnx.ModelProto:
    """Convolution, flattening by shape arithmetic, a product, a branch."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "m": rng.standard_normal((64, 5)).astype(np.float32),
        "minus": np.array([-1], np.int64),
        "zero": np.array(0, np.int64),
        "yes": np.array(True),
    }
    same = helper.make_graph(
        [helper.make_node("Identity", ["product"], ["kept"])],
        "same",
        [],
        [helper.make_tensor_value_info("kept", FLOAT, ["n", 5])],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n0"]),
        helper.make_node("Unsqueeze", ["n0", "first"], ["n1"]),
        helper.make_node("Concat", ["n1", "minus"], ["to"], axis=0),
        helper.make_node("Reshape", ["r", "to"], ["flat"]),
        helper.make_node("MatMul", ["flat", "m"], ["product"], "product"),
        helper.make_node("If", ["yes"], ["y"], then_branch=same, else_branch=same),
    ]
    weights["first"] = np.array([0], np.int64)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 5])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


SMALL = small_model().SerializeToString()


def imported(source: object) -> None:
    import_model(source, StepwellContext())  # type: ignore[arg-type]


def test_path_bytes_and_proto_are_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(SMALL)
    modules = [
        str(import_model(source, StepwellContext()))
        for source in (path, str(path), SMALL, onnx.ModelProto.FromString(SMALL))
    ]
    assert len(set(modules)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"not a model", "got data that is not one"),
        (b"PK\x03\x04" + bytes(100), "got data that is not one"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "without a graph"),
        (SMALL[: len(SMALL) // 2], "got data that is not one"),
    ],
)
def test_what_is_no_model_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        imported(content)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        imported(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match="cannot read model"):
        imported(tmp_path)


def test_versions_out_of_range_are_refused() -> None:
    model = onnx.ModelProto.FromString(SMALL)
    model.opset_import[0].version = 99
    with pytest.raises(UnsupportedError, match="expected opset 1 to 28, got 99"):
        imported(model)
    model.opset_import[0].version = 17
    model.ir_version = 99
    with pytest.raises(UnsupportedError, match="IR version"):
        imported(model)


def test_a_model_that_breaks_the_rules_is_refused_with_the_reason() -> None:
    model = onnx.ModelProto.FromString(SMALL)
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError, match="breaks the rules of ONNX") as caught:
        imported(model)
    assert "nowhere" in str(caught.value)


def with_external_data(folder: Path, location: str) -> Path:
    """The small model, its weight `m` in another file."""
    model = onnx.ModelProto.FromString(SMALL)
    tensor = next(each for each in model.graph.initializer if each.name == "m")
    (folder / "m.bin").write_bytes(bytes(16) + tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, location, offset=16)
    tensor.ClearField("raw_data")
    path = folder / "small.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_is_read_at_its_offset(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 4)).astype(np.float32)
    results = []
    for source in (SMALL, with_external_data(tmp_path, "m.bin")):
        context = StepwellContext()
        module = import_model(source, context)
        results += interpret(module, [x], context.weights)
    assert np.array_equal(*results)


@pytest.mark.parametrize("location", ["../m.bin", "/etc/passwd", "a/../../m.bin", ""])
def test_external_data_outside_of_the_folder_is_refused(
    tmp_path: Path, location: str
) -> None:
    (tmp_path / "inner").mkdir()
    path = with_external_data(tmp_path / "inner", location)
    (tmp_path / "m.bin").write_bytes(bytes(9999))
    with pytest.raises(ModelError, match="must lie in the model's folder"):
        imported(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = with_external_data(inner, "m.bin")
    (inner / "m.bin").rename(tmp_path / "m.bin")
    (inner / "m.bin").symlink_to(tmp_path / "m.bin")
    with pytest.raises(ModelError, match="must lie in the model's folder"):
        imported(path)


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path, "m.bin")
    (tmp_path / "m.bin").write_bytes(bytes(20))
    with pytest.raises(ModelError, match="expected 1280 bytes at 16"):
        imported(path)


def test_external_data_needs_a_folder(tmp_path: Path) -> None:
    content = with_external_data(tmp_path, "m.bin").read_bytes()
    with pytest.raises(ModelError, match="pass the path of the model"):
        imported(content)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cuts=st.lists(
        st.tuples(
            st.integers(0, len(SMALL) - 1), st.integers(0, 255), st.integers(0, 3)
        ),
        min_size=1,
        max_size=6,
    ),
    length=st.integers(len(SMALL) // 2, len(SMALL)),
)
def test_a_damaged_model_imports_or_ends_in_our_error(
    cuts: list[tuple[int, int, int]], length: int
) -> None:
    data = bytearray(SMALL)
    for place, byte, kind in cuts:
        place = min(place, len(data) - 1)
        if kind == 0:
            data[place] = byte
        elif kind == 1:
            data[place] ^= 1 << (byte % 8)
        elif kind == 2:
            del data[place : place + 1 + byte % 7]
        else:
            data[place:place] = bytes([byte])
    try:
        imported(bytes(data[:length]))
        check_model(bytes(data[:length]))
    except StepwellError as error:
        assert "Traceback" not in str(error)
        assert error.summary


NUMBERS = st.sampled_from([0, 1, -1, 2, 3, 7, -5, 2**31, 2**40, -(2**63)])


def mutate(model: onnx.ModelProto, data: st.DataObject) -> None:
    """Change one thing that a decoder accepts: a number, a name, a type, a node."""
    node = data.draw(st.sampled_from(model.graph.node))
    kind = data.draw(st.integers(0, 6))
    if kind == 0 and node.attribute:
        attribute = data.draw(st.sampled_from(node.attribute))
        attribute.i = data.draw(NUMBERS)
        attribute.ints[:] = data.draw(st.lists(NUMBERS, max_size=4))
    elif kind == 1:
        node.op_type = data.draw(
            st.sampled_from(["Add", "Gemm", "Slice", "LSTM", "Loop", "Cast", "Nope"])
        )
    elif kind == 2 and node.input:
        place = data.draw(st.integers(0, len(node.input) - 1))
        others = [name for each in model.graph.node for name in each.input]
        node.input[place] = data.draw(st.sampled_from([*others, "", "x"]))
    elif kind == 3:
        tensor = data.draw(st.sampled_from(model.graph.initializer))
        tensor.dims[:] = data.draw(st.lists(NUMBERS, max_size=4))
    elif kind == 4:
        tensor = data.draw(st.sampled_from(model.graph.initializer))
        tensor.data_type = data.draw(st.integers(0, 30))
    elif kind == 5:
        shape = model.graph.input[0].type.tensor_type.shape
        data.draw(st.sampled_from(shape.dim)).dim_value = data.draw(NUMBERS)
    else:
        model.graph.node.remove(node)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_an_inconsistent_model_imports_or_ends_in_our_error(
    data: st.DataObject,
) -> None:
    model = onnx.ModelProto.FromString(SMALL)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(model, data)
    try:
        imported(model)
    except StepwellError as error:
        assert error.summary
