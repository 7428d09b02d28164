"""What an imported model looks like: symbols, sizes, names, branches, reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.provenance import location_names
from stepwell.dialects.semantics import argument_names, interpret
from stepwell.dialects.shapes import DimRange, dims_of, ranges_of
from stepwell.errors import (
    InputError,
    ModelError,
    OptionError,
    ShapeError,
    StepwellError,
    UnsupportedError,
)
from stepwell.frontends.onnx import check_model, import_model, shape_inputs

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Dims = Sequence[int | str | None]


def value(name: str, dims: Dims, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Any] | None = None,
    opset: int = 18,
    **more: Any,
) -> onnx.ModelProto:
    weights = [
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("other", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def imported(
    source: onnx.ModelProto, **options: Any
) -> tuple[ModuleOp, StepwellContext]:
    context = StepwellContext()
    return import_model(source, context, **options), context


def function_of(module: ModuleOp) -> FuncOp:
    (function,) = (op for op in module.ops if isinstance(op, FuncOp))
    return function


def op_counts(module: ModuleOp) -> Counter[str]:
    return Counter(op.name for op in module.walk() if op.name.startswith("nn."))


def result_dims(module: ModuleOp) -> list[str]:
    outputs = function_of(module).function_type.outputs
    return [", ".join(map(str, dims_of(kind))) for kind in outputs]


RELU = helper.make_node("Relu", ["x"], ["y"], "relu")


def test_dynamic_dims_are_symbols_named_by_the_model_or_after_the_input() -> None:
    dims = ["batch.size", None, "?", 4]
    nodes = [helper.make_node("Relu", ["in:0"], ["y"])]
    source = model(nodes, [value("in:0", dims)], [value("y", dims)])
    module, _ = imported(source)
    assert result_dims(module) == ["batch_size, in_0_1, in_0_2, 4"]
    assert argument_names(function_of(module)) == ["in:0"]
    assert ranges_of(module)["batch_size"] == DimRange(min=1)


def test_a_profile_fixes_and_ranges_dims() -> None:
    source = model([RELU], [value("x", ["n", "m", 4])], [value("y", ["n", "m", 4])])
    module, _ = imported(source, shapes={"x": "1..8x3x4:4x3x4"})
    assert result_dims(module) == ["n, 3, 4"]
    assert ranges_of(module) == {"n": DimRange(1, 8, 4)}
    module, _ = imported(source, shapes={"n": "2..3", "m": 5})
    assert result_dims(module) == ["n, 5, 4"]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"nope": "3"}, "no input 'nope'"),
        ({"x": "1x2"}, "expected 3 dims of input 'x', got 2"),
        ({"x": "1x2x5"}, "dim 2 of input 'x' is 4 in the model, got 5"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(
    shapes: dict[str, str], message: str
) -> None:
    source = model([RELU], [value("x", ["n", "m", 4])], [value("y", ["n", "m", 4])])
    with pytest.raises(OptionError, match=message):
        imported(source, shapes=shapes)


def test_shape_arithmetic_ends_as_dims_and_leaves_no_ops() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Gather", ["s", "one"], ["m"]),
        helper.make_node("Mul", ["n", "m"], ["nm"]),
        helper.make_node("Div", ["nm", "two"], ["half"]),
        helper.make_node("Cast", ["half"], ["half32"], to=TensorProto.INT32),
        helper.make_node("Cast", ["half32"], ["half64"], to=INT64),
        helper.make_node("Unsqueeze", ["half64", "axes"], ["row"]),
        helper.make_node("Concat", ["row", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    constants = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "two": np.int64(2),
        "axes": np.array([0]),
        "rest": np.array([-1, 4]),
    }
    source = model(
        nodes, [value("x", ["n", "m", 8])], [value("y", [None] * 3)], constants
    )
    module, _ = imported(source)
    assert op_counts(module) == {"nn.reshape": 1}
    rows = "(m * n) floordiv 2"
    assert result_dims(module) == [f"{rows}, (2 * m * n) floordiv ({rows}), 4"]


def test_a_comparison_of_sizes_is_decided_by_their_ranges() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Equal", ["s", "minus"], ["open"]),
        helper.make_node("Where", ["open", "ones", "s"], ["to"]),
        helper.make_node("Expand", ["v", "to"], ["y"]),
    ]
    constants = {
        "minus": np.array([-1]),
        "ones": np.array([1]),
        "v": np.ones(1, np.float32),
    }
    source = model(nodes, [value("x", ["n"])], [value("y", [None])], constants)
    module, _ = imported(source)
    assert result_dims(module) == ["n"]
    assert "nn.select" not in op_counts(module)


def test_an_integer_input_that_gives_a_shape_is_read_into_symbols() -> None:
    nodes = [helper.make_node("Expand", ["v", "to"], ["y"])]
    inputs = [value("v", [3, 1]), value("to", [2], INT64)]
    source = model(nodes, inputs, [value("y", [None, None])])
    module, context = imported(source)
    assert result_dims(module) == ["3, to_1"]
    assert shape_inputs(source) == {"to"}
    v = np.arange(3, dtype=np.float32).reshape(3, 1)
    (y,) = interpret(module, {"v": v, "to": np.array([1, 5])}, context.weights)
    assert np.array_equal(y, np.broadcast_to(v, (3, 5)))


def test_an_axis_that_is_an_input_must_be_fixed() -> None:
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"])]
    inputs = [value("x", [2, 3]), value("axes", [1], INT64)]
    source = model(nodes, inputs, [value("y", [None, None])])
    with pytest.raises(UnsupportedError, match="must be known when the model is built"):
        imported(source)
    assert shape_inputs(source) == {"axes"}
    module, context = imported(source, values={"axes": np.array([1])})
    assert argument_names(function_of(module)) == ["x"]
    x = np.ones((2, 3), np.float32)
    (y,) = interpret(module, [x], context.weights)
    assert np.array_equal(y, [[3], [3]])


def test_ops_carry_the_names_of_their_nodes() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "dense", alpha=2.0),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    source = model(
        nodes,
        [value("x", [1, 2])],
        [value("y", [1, 2])],
        {"w": np.eye(2, dtype=np.float32)},
    )
    module, _ = imported(source)
    names = {op.name: location_names(op) for op in function_of(module).walk()}
    assert names["nn.matmul"] == names["nn.mul"] == ("dense",)
    assert names["nn.relu"] == ("Relu_1",)
    assert names["nn.constant"] == ("dense",)


def test_a_large_weight_goes_to_the_store() -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    source = model(nodes, [value("x", [1, 64])], [value("y", [1, 64])], {"w": weight})
    module, context = imported(source)
    assert "#nn.weight" in str(module)
    x = np.ones((1, 64), np.float32)
    (y,) = interpret(module, [x], context.weights)
    np.testing.assert_allclose(y, x @ weight, rtol=1e-5)


def branch(op: str, name: str) -> onnx.GraphProto:
    """A graph that applies `op` to the outer value `x`."""
    node = helper.make_node(op, ["x"], [name])
    return helper.make_graph([node], name, [], [value(name, ["n"])])


IF = helper.make_node(
    "If", ["c"], ["y"], then_branch=branch("Abs", "a"), else_branch=branch("Neg", "b")
)


def test_a_branch_that_is_decided_leaves_no_if() -> None:
    source = model(
        [IF], [value("x", ["n"])], [value("y", ["n"])], {"c": np.array(False)}
    )
    module, _ = imported(source)
    assert op_counts(module) == {"nn.neg": 1}


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_at_run_time_reads_outer_values(condition: bool) -> None:
    inputs = [value("x", ["n"]), value("c", [], BOOL)]
    module, context = imported(model([IF], inputs, [value("y", ["n"])]))
    x = np.array([-1, 2], np.float32)
    (y,) = interpret(module, [x, np.array(condition)], context.weights)
    assert np.array_equal(y, abs(x) if condition else -x)


def test_a_loop_stacks_its_scan_outputs_and_carries_values() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["a", "one"], ["b"]),
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Mul", ["b", "x"], ["s"]),
        ],
        "body",
        [value("i", [], INT64), value("go", [], BOOL), value("a", [2])],
        [value("again", [], BOOL), value("b", [2]), value("s", [2])],
    )
    nodes = [helper.make_node("Loop", ["times", "", "x"], ["last", "all"], body=body)]
    source = model(
        nodes,
        [value("x", [2])],
        [value("last", [2]), value("all", [None, 2])],
        {"times": np.array(3), "one": np.ones(1, np.float32)},
    )
    module, context = imported(source)
    assert result_dims(module) == ["2", "3, 2"]
    x = np.array([1, -2], np.float32)
    last, everything = interpret(module, [x], context.weights)
    assert np.array_equal(last, x + 3)
    assert np.array_equal(everything, [(x + k) * x for k in (1, 2, 3)])


def test_model_local_functions_are_inlined() -> None:
    body = [
        helper.make_node("Mul", ["u", "u"], ["uu"]),
        helper.make_node("Add", ["uu", "u"], ["w"]),
    ]
    opsets = [helper.make_opsetid("", 18)]
    square = helper.make_function("other", "Square", ["u"], ["w"], body, opsets)
    nodes = [helper.make_node("Square", ["x"], ["y"], domain="other")]
    source = model(nodes, [value("x", [2])], [value("y", [2])], functions=[square])
    module, context = imported(source)
    (y,) = interpret(module, [np.array([2, 3], np.float32)], context.weights)
    assert np.array_equal(y, [6, 12])


def test_everything_unsupported_is_reported_at_once_with_its_node() -> None:
    nodes = [
        helper.make_node("Frob", ["x"], ["a"], "frob", domain="other"),
        helper.make_node("Frob", ["x"], ["b"], "frob2", domain="other"),
        helper.make_node("Relu", ["a"], ["c"], "relu"),
        helper.make_node("Nicate", ["c"], ["d"], "nicate", domain="other"),
        helper.make_node("ReduceSum", ["x", "axes"], ["e"], "sum"),
        helper.make_node("Sum", ["b", "d", "e"], ["y"], "all"),
    ]
    inputs = [value("x", [2]), value("axes", [1], INT64)]
    source = model(nodes, inputs, [value("y", [None])])
    report = check_model(source)
    assert not report.is_supported
    assert {issue.node for issue in report.issues} == {"frob", "frob2", "nicate", "sum"}
    assert report.ops["other::Frob"] == 2
    with pytest.raises(UnsupportedError, match="3 unsupported features") as caught:
        imported(source)
    assert "'frob', 'frob2'" in str(caught.value)


def test_an_attribute_that_no_rule_reads_is_reported() -> None:
    node = helper.make_node(
        "Gelu", ["x"], ["y"], "g", domain="com.microsoft", sharpness=3
    )
    source = model([node], [value("x", [2])], [value("y", [2])])
    source.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    (issue,) = check_model(source).issues
    assert issue.what == "attribute sharpness"


def test_a_supported_model_has_a_clean_report() -> None:
    report = check_model(model([RELU], [value("x", [2])], [value("y", [2])]))
    assert report.is_supported
    assert str(report) == "g: all 1 op types are supported"


def test_shapes_that_do_not_fit_are_an_error_at_the_node() -> None:
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"], "product")]
    source = model(nodes, [value("x", [2, 3])], [value("y", [None, None])])
    with pytest.raises(ShapeError) as caught:
        imported(source)
    assert caught.value.where == "node 'product' (MatMul)"


@pytest.mark.parametrize(
    ("node", "error", "message"),
    [
        (helper.make_node("Reshape", ["x", "to"], ["y"]), ModelError, "cannot reshape"),
        (helper.make_node("Squeeze", ["x", "to"], ["y"]), ModelError, "expected axes"),
    ],
)
def test_bad_shape_values_are_model_errors(
    node: onnx.NodeProto, error: type[StepwellError], message: str
) -> None:
    constants = {"to": np.array([-1, 4])}
    source = model([node], [value("x", [3, 3])], [value("y", [None, None])], constants)
    with pytest.raises(error, match=message):
        imported(source)


def test_too_few_inputs_are_refused_by_the_backend() -> None:
    from stepwell.onnx_backend import ReferenceBackend

    prepared = ReferenceBackend.prepare(
        model([RELU], [value("x", [2])], [value("y", [2])])
    )
    with pytest.raises(InputError, match=r"expected 1 inputs \(x\), got 2"):
        prepared.run([np.zeros(2, np.float32)] * 2)


def test_run_node_runs_one_node() -> None:
    from stepwell.onnx_backend import ReferenceBackend

    node = helper.make_node("Sub", ["a", "b"], ["c"])
    a, b = np.float32([5, 7]), np.float32([1, 2])
    outputs = ReferenceBackend.run_node(node, [a, b], outputs_info=[(np.float32, (2,))])
    assert np.array_equal(outputs[0], [4, 5])


def test_the_page_of_supported_ops_lists_every_rule() -> None:
    from stepwell.frontends.onnx.ops import TABLE
    from stepwell.frontends.onnx.reference import ops_page

    page = ops_page()
    assert all(f"| `{rule.op_type}`" in page for rule in TABLE)
    assert "|  |" not in page
