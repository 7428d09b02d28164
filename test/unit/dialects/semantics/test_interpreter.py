"""The interpreter itself: symbols, errors, control flow, folding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.dialects.func import Func
from xdsl.parser import Parser

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.quant import Quant
from stepwell.dialects.semantics import (
    argument_names,
    fold_op,
    has_semantics,
    interpret,
    semantics_table,
)
from stepwell.dialects.weights import WeightStore
from stepwell.errors import CompileError, InputError, ShapeError


def parse(text: str) -> ModuleOp:
    context = StepwellContext()
    for dialect in (Builtin, Func, nn.Nn, Quant):
        context.load_dialect(dialect)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


ADD = """
func.func @main(%x: tensor<?x2xf32, #nn.dims<n, 2>> {nn.name = "left"},
                %y: tensor<?x2xf32, #nn.dims<n, 2>> {nn.name = "right"})
    -> tensor<?x2xf32, #nn.dims<n, 2>> {
  %z = nn.add %x, %y : (tensor<?x2xf32, #nn.dims<n, 2>>,
      tensor<?x2xf32, #nn.dims<n, 2>>) -> tensor<?x2xf32, #nn.dims<n, 2>> loc("sum")
  func.return %z : tensor<?x2xf32, #nn.dims<n, 2>>
}
"""


def test_inputs_by_name_or_in_order() -> None:
    module = parse(ADD)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    (z,) = interpret(module, {"right": x, "left": x})
    np.testing.assert_array_equal(z, 2 * x)
    (z,) = interpret(module, [x, x])
    np.testing.assert_array_equal(z, 2 * x)
    assert argument_names(module.body.block.first_op) == ["left", "right"]


def ones(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"left": ones(3, 2)}, "expected inputs right, got none"),
        ([ones(3, 2)], "expected 2 inputs, got 1"),
    ],
)
def test_missing_inputs(inputs: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        interpret(parse(ADD), inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (ones(3, 2), ones(4, 2), "expected n = 3 at dim 0 of input right, got 4"),
        (ones(3, 3), ones(3, 2), "expected 2 = 2 at dim 1 of input left, got 3"),
        (ones(6), ones(3, 2), "expected rank 2 of input left, got 1"),
        (ones(3, 2, dtype=np.int32), ones(3, 2), "expected f32 in input left, got int"),
    ],
)
def test_inputs_that_do_not_fit(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        interpret(parse(ADD), [x, y])


def test_an_unknown_entry() -> None:
    with pytest.raises(CompileError, match="expected a function @other"):
        interpret(parse(ADD), [], entry="other")


def test_errors_name_the_source_node() -> None:
    text = """
    func.func @main(%x: tensor<2xf32>, %i: tensor<1xi64>) -> tensor<1xf32> {
      %y = nn.gather %x, %i {axis = 0 : i64}
          : (tensor<2xf32>, tensor<1xi64>) -> tensor<1xf32> loc("lookup")
      func.return %y : tensor<1xf32>
    }"""
    module = parse(text)
    assert interpret(module, [ones(2), np.array([-1])])[0] == 1
    with pytest.raises(
        ShapeError, match=r"indices of nn.gather in \[-2, 2\)"
    ) as caught:
        interpret(module, [ones(2), np.array([2])])
    assert caught.value.where == "lookup"
    assert not getattr(caught.value, "__notes__", [])


def test_a_result_is_checked_against_its_type() -> None:
    text = """
    func.func @main(%x: tensor<?xf32, #nn.dims<n>>) -> tensor<?xf32, #nn.dims<m>> {
      %c = nn.constant {value = dense<5> : tensor<1xi64>} : tensor<1xi64>
      nn.bind_symbols %c {symbols = ["m"]} : tensor<1xi64>
      %y = nn.reshape %x : (tensor<?xf32, #nn.dims<n>>) -> tensor<?xf32, #nn.dims<m>>
      func.return %y : tensor<?xf32, #nn.dims<m>>
    }"""
    assert interpret(parse(text), [ones(5)])[0].shape == (5,)
    with pytest.raises(CompileError, match=r"cannot interpret nn.reshape"):
        interpret(parse(text), [ones(4)])


def test_assertions_on_dims() -> None:
    text = """
    func.func @main(%x: tensor<?x?xf32, #nn.dims<n, m>>) {
      nn.assert_dims {left = #nn.dims<n + 1>, right = #nn.dims<2 * m>,
                      predicate = "lt", message = "too tall"}
      func.return
    }"""
    assert interpret(parse(text), [ones(2, 2)]) == []
    with pytest.raises(ShapeError, match="too tall"):
        interpret(parse(text), [ones(3, 2)])


def test_data_dependent_sizes_bind_symbols() -> None:
    text = """
    func.func @main(%x: tensor<2x3xf32>) -> tensor<?xi64, #nn.dims<2 * found>> {
      %i = nn.nonzero %x : (tensor<2x3xf32>) -> tensor<2x?xi64, #nn.dims<2, found>>
      %y = nn.reshape %i : (tensor<2x?xi64, #nn.dims<2, found>>)
          -> tensor<?xi64, #nn.dims<2 * found>>
      func.return %y : tensor<?xi64, #nn.dims<2 * found>>
    }"""
    x = np.array([[0, 1, 0], [2, 0, 3]], np.float32)
    (y,) = interpret(parse(text), [x])
    np.testing.assert_array_equal(y, np.concatenate(np.nonzero(x)))


def test_a_branch_runs_only_if_taken() -> None:
    text = """
    func.func @main(%c: tensor<i1>, %x: tensor<2xf32>) -> tensor<2xf32> {
      %y = "nn.if"(%c) ({
        %a = nn.neg %x : (tensor<2xf32>) -> tensor<2xf32>
        nn.yield %a : tensor<2xf32>
      }, {
        nn.assert_dims {left = #nn.dims<1>, right = #nn.dims<2>, message = "taken"}
        nn.yield %x : tensor<2xf32>
      }) : (tensor<i1>, ) -> tensor<2xf32>
      func.return %y : tensor<2xf32>
    }""".replace("(tensor<i1>, )", "(tensor<i1>)")
    np.testing.assert_array_equal(
        interpret(parse(text), [np.array(True), ones(2)])[0], -1
    )
    with pytest.raises(ShapeError, match="taken"):
        interpret(parse(text), [np.array(False), ones(2)])


LOOP = """
func.func @main(%n: tensor<i64>, %c: tensor<i1>, %x: tensor<i64>)
    -> (tensor<i64>, tensor<?xi64, #nn.dims<turns>>) {
  %limit = nn.constant {value = dense<100> : tensor<i64>} : tensor<i64>
  %y, %all = "nn.loop"(%n, %c, %x) <{operandSegmentSizes = array<i32: 1, 1, 1>}> ({
  ^bb0(%i: tensor<i64>, %a: tensor<i64>):
    %b = nn.add %a, %a : (tensor<i64>, tensor<i64>) -> tensor<i64>
    %more = nn.compare %b, %limit {predicate = "lt"}
        : (tensor<i64>, tensor<i64>) -> tensor<i1>
    nn.yield %more, %b, %i : tensor<i1>, tensor<i64>, tensor<i64>
  }) : (tensor<i64>, tensor<i1>, tensor<i64>)
      -> (tensor<i64>, tensor<?xi64, #nn.dims<turns>>)
  func.return %y, %all : tensor<i64>, tensor<?xi64, #nn.dims<turns>>
}
"""


@pytest.mark.parametrize(
    ("turns", "goes_on", "last", "seen"),
    [(3, True, 24, [0, 1, 2]), (99, True, 192, list(range(6))), (3, False, 3, [])],
)
def test_loops_end_by_count_or_condition(
    turns: int, goes_on: bool, last: int, seen: list[int]
) -> None:
    inputs = [np.array(turns), np.array(goes_on), np.array(3)]
    y, every = interpret(parse(LOOP), inputs)
    assert y == last
    np.testing.assert_array_equal(every, np.array(seen, np.int64))


def test_carried_shapes_may_grow() -> None:
    text = """
    func.func @main(%n: tensor<i64>, %x: tensor<1xf32>)
        -> tensor<?xf32, #nn.dims<total>> {
      %go = nn.constant {value = dense<true> : tensor<i1>} : tensor<i1>
      %y = "nn.loop"(%n, %x) <{operandSegmentSizes = array<i32: 1, 0, 1>}> ({
      ^bb0(%i: tensor<i64>, %a: tensor<?xf32, #nn.dims<now>>):
        %b = nn.concat %a, %x {axis = 0 : i64} : (tensor<?xf32, #nn.dims<now>>,
            tensor<1xf32>) -> tensor<?xf32, #nn.dims<now + 1>>
        nn.yield %go, %b : tensor<i1>, tensor<?xf32, #nn.dims<now + 1>>
      }) : (tensor<i64>, tensor<1xf32>) -> tensor<?xf32, #nn.dims<total>>
      func.return %y : tensor<?xf32, #nn.dims<total>>
    }"""
    assert interpret(parse(text), [np.array(4), ones(1)])[0].shape == (5,)


SCAN = """
func.func @main(%s: tensor<2xf32>, %x: tensor<2x?xf32, #nn.dims<2, n>>)
    -> (tensor<2xf32>, tensor<2x?xf32, #nn.dims<2, n>>) {
  %t, %y = "nn.scan"(%s, %x) <{operandSegmentSizes = array<i32: 1, 1>,
      input_axes = array<i64: 1>, output_axes = array<i64: 1>,
      reverse_inputs = array<i64: REVERSE>, reverse_outputs = array<i64: REVERSE>}> ({
  ^bb0(%a: tensor<2xf32>, %b: tensor<2xf32>):
    %c = nn.add %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    nn.yield %c, %c : tensor<2xf32>, tensor<2xf32>
  }) : (tensor<2xf32>, tensor<2x?xf32, #nn.dims<2, n>>)
      -> (tensor<2xf32>, tensor<2x?xf32, #nn.dims<2, n>>)
  func.return %t, %y : tensor<2xf32>, tensor<2x?xf32, #nn.dims<2, n>>
}
"""


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_scan_is_a_running_sum(steps: int, reverse: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, steps)).astype(np.float32)
    module = parse(SCAN.replace("REVERSE", str(reverse)))
    last, sums = interpret(module, [np.zeros(2, np.float32), x])
    run: Callable = np.cumsum
    expected = run(x[:, ::-1], 1)[:, ::-1] if reverse else run(x, 1)
    np.testing.assert_allclose(sums, expected, rtol=1e-6)
    np.testing.assert_allclose(last, x.sum(1), rtol=1e-5, atol=1e-6)


def test_folding_one_op() -> None:
    store = WeightStore()
    x = nn.make_constant(np.array([3, 1, 2], np.int32), store)
    op = nn.SortOp(x, axis=0)
    assert has_semantics(op)
    values, indices = fold_op(op, [np.array([3, 1, 2], np.int32)], store)
    np.testing.assert_array_equal(values, [1, 2, 3])
    np.testing.assert_array_equal(indices, [1, 2, 0])
    with pytest.raises(ShapeError, match="expected a value for batch"):
        from stepwell.dialects.shapes import symbol

        fold_op(nn.DimValueOp(symbol("batch")), [], store)


def test_every_op_has_a_meaning() -> None:
    ops = {*nn.Nn.operations, *Quant.operations} - {nn.YieldOp}
    assert ops - semantics_table().keys() == set()
