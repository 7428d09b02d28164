"""The meaning of structured ops, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.parser import Parser

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.semantics import fusion, interpret
from stepwell.errors import StepwellError


def run(arguments: str, results: str, body: str, *inputs):
    context = StepwellContext()
    register_dialects(context)
    text = f"func.func @main({arguments}) -> ({results}) {{\n{body}\n}}"
    module = Parser(context, text).parse_module()
    module.verify()
    return interpret(module, inputs)


SUM = """
  %y = fusion.generic [i: 5, reduction j: 7, reduction k: 3]
      ins(%x[k, i, j] : tensor<3x5x7xf32>) outs(add [i] : tensor<5xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  return %y : tensor<5xf32>
"""


@pytest.mark.parametrize("chunk", [1, 4, 20, 1000])
def test_a_sum_does_not_depend_on_the_size_of_chunks(monkeypatch, chunk):
    monkeypatch.setattr(fusion, "CHUNK", chunk)
    x = np.random.default_rng(0).standard_normal((3, 5, 7)).astype(np.float32)
    (y,) = run("%x: tensor<3x5x7xf32>", "tensor<5xf32>", SUM, x)
    np.testing.assert_allclose(y, x.astype(np.float64).sum((0, 2)), rtol=1e-6)


def test_a_scatter_adds_to_its_destination():
    body = """
  %y = fusion.generic [i: 4] ins(%u[i] : tensor<4xi32>, %at[i] : tensor<4xi64>)
      outs(add [at$0 mod 3] with [at$0 = 1[i]] into %d : tensor<3xi32>) {
  ^bb0(%v: i32, %p: i64):
    fusion.yield %v : i32
  }
  return %y : tensor<3xi32>
"""
    d, u = np.array([10, 20, 30], np.int32), np.array([1, 2, 3, 4], np.int32)
    at = np.array([0, 2, -1, 0])
    arguments = "%d: tensor<3xi32>, %u: tensor<4xi32>, %at: tensor<4xi64>"
    (y,) = run(arguments, "tensor<3xi32>", body, d, u, at)
    assert y.tolist() == [15, 20, 35]
    assert d.tolist() == [10, 20, 30]


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_scan_from_the_end_has_maps_that_run_backwards(exclusive):
    word = "exclusive " if exclusive else ""
    body = f"""
  %y = fusion.scan {word}[scan s: 4] ins(%x[3 - s] : tensor<4xi64>)
      outs(mul [3 - s] : tensor<4xi64>) {{
  ^bb0(%v: i64):
    fusion.yield %v : i64
  }}
  return %y : tensor<4xi64>
"""
    x = np.array([2, 3, 5, 7])
    (y,) = run("%x: tensor<4xi64>", "tensor<4xi64>", body, x)
    assert y.tolist() == ([105, 35, 7, 1] if exclusive else [210, 105, 35, 7])


@pytest.mark.parametrize("word", ["", "descending "])
def test_a_sort_is_stable_and_nan_is_the_largest(word):
    body = f"""
  %v, %i = fusion.sort {word}[sort s: 6] ins(%x[s] : tensor<6xf32>)
      outs(set [s] : tensor<4xf32>, set [s] : tensor<4xi64>) {{
  ^bb0(%a: f32):
    fusion.yield %a : f32
  }}
  return %v, %i : tensor<4xf32>, tensor<4xi64>
"""
    x = np.array([1, np.nan, 0, 1, 0, 2], np.float32)
    values, indices = run("%x: tensor<6xf32>", "tensor<4xf32>, tensor<4xi64>", body, x)
    expected = [1, 5, 0, 3] if word else [2, 4, 0, 3]
    assert indices.tolist() == expected
    np.testing.assert_array_equal(values, x[expected])


def test_an_insert_keeps_the_rest_of_the_destination():
    body = """
  %y = fusion.insert %p, %d {offsets = #nn.dims<1, 0>}
      : tensor<1x2xf32>, tensor<3x2xf32>
  return %y : tensor<3x2xf32>
"""
    d, p = np.zeros((3, 2), np.float32), np.ones((1, 2), np.float32)
    arguments = "%p: tensor<1x2xf32>, %d: tensor<3x2xf32>"
    (y,) = run(arguments, "tensor<3x2xf32>", body, p, d)
    assert y.tolist() == [[0, 0], [1, 1], [0, 0]]


def test_a_read_outside_of_the_operand_is_an_error():
    body = """
  %y = fusion.generic [i: 4] ins(%x[i + 1] : tensor<4xf32>)
      outs(set [i] : tensor<4xf32>) {
  ^bb0(%v: f32):
    fusion.yield %v : f32
  }
  return %y : tensor<4xf32>
"""
    with pytest.raises(StepwellError, match="reads outside of its operand"):
        run("%x: tensor<4xf32>", "tensor<4xf32>", body, np.zeros(4, np.float32))
