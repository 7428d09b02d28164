"""The upper halves of the hand-written tile programs, against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.parser import Parser

from stepwell.dialects import tile
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.semantics.tile import interpret_tile
from stepwell.errors import CompileError, InputError

PROGRAMS = Path(__file__).parents[2] / "filecheck" / "tile" / "programs"


def function(text: str, name: str | None = None) -> tile.FuncOp:
    """The tile function `name` of a module's text, or its first one."""
    context = Context()
    register_dialects(context)
    module = Parser(context, text).parse_module()
    module.verify()
    found = [op for op in module.walk() if isinstance(op, tile.FuncOp)]
    return next(f for f in found if name in (None, f.sym_name.data))


def program(name: str, func: str) -> tile.FuncOp:
    return function((PROGRAMS / f"{name}.mlir").read_text(), func)


def relative_error(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    got, want = got.astype(np.float64), want.astype(np.float64)
    assert not np.isnan(got).any()
    return float(np.abs(got - want).max() / np.abs(want).max())


def nan(*shape: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.full(shape, np.nan, dtype)


@pytest.mark.parametrize("m", [1, 32, 45])
def test_gemm(m: int) -> None:
    rng = np.random.default_rng(m)
    x = rng.standard_normal((m, 128)).astype(np.float16)
    w = rng.standard_normal((96, 128)).astype(np.float16)
    bias = rng.standard_normal(96).astype(np.float16)
    y = nan(m, 96, dtype=np.float16)
    interpret_tile(program("gemm", "gemm_upper"), [x, w, bias, y], {"m": m})
    want = x.astype(np.float64) @ w.astype(np.float64).T + bias
    assert relative_error(y, np.maximum(want, 0)) < 5e-4


def test_convolution() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 14, 14, 16), np.float32)
    w = rng.standard_normal((3, 3, 16, 32), np.float32)
    bias = rng.standard_normal(32, np.float32)
    y = nan(2, 14, 14, 32)
    interpret_tile(program("conv", "conv_upper"), [x, w, bias, y])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    want = bias + sum(
        padded[:, r : r + 14, s : s + 14] @ w[r, s] for r in range(3) for s in range(3)
    )
    assert relative_error(y, np.maximum(want, 0)) < 1e-6


@pytest.mark.parametrize("seq", [32, 75])
def test_attention(seq: int) -> None:
    rng = np.random.default_rng(seq)
    q, k, v = rng.standard_normal((3, 2, seq, 16), np.float32)
    y = nan(2, seq, 16)
    func = program("attention", "attention_upper")
    interpret_tile(func, [q, k, v, y], {"heads": 2, "seq": seq})
    scores = (q @ k.transpose(0, 2, 1)).astype(np.float64) / 4
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    want = weights / weights.sum(-1, keepdims=True) @ v
    assert relative_error(y, want) < 1e-6


def test_layer_norm() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 100), np.float32) + 3
    gamma, beta = rng.standard_normal((2, 100), np.float32)
    y = nan(7, 100)
    func = program("layer_norm", "layer_norm_upper")
    interpret_tile(func, [x, gamma, beta, y], {"rows": 7})
    wide = x.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    unit = centred / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    assert relative_error(y, unit * gamma + beta) < 1e-6


def test_topk() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, (6, 100)).astype(np.float32)
    values, places = nan(6, 5), np.full((6, 5), -1, np.int64)
    func = program("sort", "topk_upper")
    interpret_tile(func, [x, values, places], {"rows": 6, "n": 100})
    order = np.argsort(-x, axis=1, kind="stable")[:, :5]
    assert np.array_equal(places, order)
    assert np.array_equal(values, np.take_along_axis(x, order, 1))


COPY = """
tile.func @copy(%x: !tile.view<8xf32>, %y: !tile.view<8xf32>) grid (%i = 2) {{
  %c4 = arith.constant 4 : index
  %at = arith.muli %i, %c4 : index
  {body}
  tile.return
}}
"""


def run_copy(body: str, check: bool = True) -> np.ndarray[Any, Any]:
    x, y = np.arange(8, dtype=np.float32), nan(8)
    interpret_tile(function(COPY.format(body=body)), [x, y], check=check)
    return y


def test_each_cell_copies_its_part() -> None:
    y = run_copy(
        "%t = tile.load %x[%at] over [0] : !tile.tile<4xf32>\n"
        "tile.store %t, %y[%at] over [0]"
    )
    assert np.array_equal(y, np.arange(8))


def test_loads_fill_and_stores_drop_beyond_the_sizes() -> None:
    y = run_copy(
        "%t = tile.load %x[%at] over [0] fill 9.0 : !tile.tile<6xf32>\n"
        "%k = tile.sort %t dim 0 descending : !tile.tile<6xf32>\n"
        "tile.store %k, %y[%at] over [0]",
        check=False,
    )
    assert list(y) == [5, 4, 3, 2, 9, 9, 7, 6]


def test_cells_that_meet_are_an_error() -> None:
    body = (
        "%t = tile.load %x[%at] over [0] : !tile.tile<4xf32>\n"
        "tile.store %t, %y[0] over [0]"
    )
    with pytest.raises(CompileError, match="two cells write different values"):
        run_copy(body)
    assert list(run_copy(body, check=False)[:4]) == [4, 5, 6, 7]


def test_cells_may_meet_with_equal_values_or_by_accumulation() -> None:
    equal = "%t = tile.full 1.0 : !tile.tile<4xf32>\ntile.store %t, %y[0] over [0]"
    assert list(run_copy(equal)[:4]) == [1, 1, 1, 1]
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    summed = COPY.format(
        body="%t = tile.load %x[%at] over [0] : !tile.tile<4xf32>\n"
        "tile.store %t, %y[0] over [0] accumulate add"
    )
    interpret_tile(function(summed), [x, y])
    assert list(y) == [4, 6, 8, 10, 0, 0, 0, 0]


def test_reading_what_another_cell_writes_is_an_error() -> None:
    with pytest.raises(CompileError, match="reads an element that another cell writes"):
        run_copy(
            "%z = tile.full 1.0 : !tile.tile<4xf32>\n"
            "tile.store %z, %y[%at] over [0]\n"
            "%t = tile.load %y[0] over [0] : !tile.tile<8xf32>"
        )


def test_a_map_that_leaves_its_tensor_is_an_error() -> None:
    with pytest.raises(CompileError, match="read at index 8 of dim 0, whose size is 8"):
        run_copy(
            "%v = tile.access %x map<(i) -> [i + 1]> : !tile.view<8xf32>\n"
            "%t = tile.load %v[%at] over [0] : !tile.tile<4xf32>"
        )


def test_a_store_of_two_values_to_one_element_is_an_error() -> None:
    with pytest.raises(CompileError, match="one element two different values"):
        run_copy(
            "%v = tile.access %y map<(i) -> [i floordiv 2]> : !tile.view<8xf32>\n"
            "%t = tile.load %x[%at] over [0] : !tile.tile<4xf32>\n"
            "tile.store %t, %v[%at] over [0]"
        )


def test_gather_reads_through_an_index_view() -> None:
    func = function(
        """
        tile.func @gather(%x: !tile.view<10x4xf32>, %ids: !tile.view<6xi64>,
            %y: !tile.view<6x4xf32>) grid (%i = 2) {
          %c3 = arith.constant 3 : index
          %at = arith.muli %i, %c3 : index
          %rows = tile.access %x indices(%ids)
            map<(r, c) -> [at$0 mod 10, c] with [at$0 = 0[r]]> : !tile.view<6x4xf32>
          %t = tile.load %rows[%at, 0] over [0, 1] : !tile.tile<3x4xf32>
          tile.store %t, %y[%at, 0] over [0, 1]
          tile.return
        }
        """
    )
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    ids = np.array([3, 0, -1, 9, 3, 5])
    y = nan(6, 4)
    interpret_tile(func, [x, ids, y])
    assert np.array_equal(y, x[ids])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
def test_scan(reverse: bool, exclusive: bool) -> None:
    words = ("exclusive " if exclusive else "") + ("reverse" if reverse else "")
    y = run_copy(
        "%t = tile.load %x[%at] over [0] : !tile.tile<4xf32>\n"
        f"%s = tile.scan add %t dim 0 {words} : !tile.tile<4xf32>\n"
        "tile.store %s, %y[%at] over [0]"
    )
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    x = x[:, ::-1] if reverse else x
    want = np.cumsum(x, 1) - (x if exclusive else 0)
    assert np.array_equal(y.reshape(2, 4), want[:, ::-1] if reverse else want)


def test_order_of_nan_and_ties() -> None:
    func = function(
        """
        tile.func @order(%x: !tile.view<6xf32>, %up: !tile.view<6xi64>,
            %down: !tile.view<6xi64>, %top: !tile.view<2xi64>) grid () {
          %t = tile.load %x[0] over [0] : !tile.tile<6xf32>
          %i = tile.iota dim 0 : !tile.tile<6xi64>
          %a, %b = tile.sort %t, %i dim 0 : !tile.tile<6xf32>, !tile.tile<6xi64>
          %c, %d = tile.sort %t, %i dim 0 descending
            : !tile.tile<6xf32>, !tile.tile<6xi64>
          %v, %first = tile.arg_reduce min %t dim 0
            : !tile.tile<1xf32>, !tile.tile<1xi64>
          %w, %last = tile.arg_reduce max %c dim 0 last
            : !tile.tile<1xf32>, !tile.tile<1xi64>
          tile.store %b, %up[0] over [0]
          tile.store %d, %down[0] over [0]
          tile.store %first, %top[0] over [0]
          tile.store %last, %top[1] over [0]
          tile.return
        }
        """
    )
    x = np.array([2, np.nan, 1, 2, 1, 0], np.float32)
    up, down, top = np.zeros(6, np.int64), np.zeros(6, np.int64), np.zeros(2, np.int64)
    interpret_tile(func, [x, up, down, top])
    assert list(up) == [5, 2, 4, 0, 3, 1]
    assert list(down) == [1, 0, 3, 2, 4, 5]
    assert list(top) == [1, 0], "NaN wins"


def test_unsigned_bytes_multiply_signed_ones() -> None:
    func = function(
        """
        tile.func @dot(%x: !tile.view<2x4xui8>, %w: !tile.view<4x3xi8>,
            %y: !tile.view<2x3xi32>) grid () {
          %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<2x4xi8>
          %b = tile.load %w[0, 0] over [0, 1] : !tile.tile<4x3xi8>
          %z = tile.full 1 : !tile.tile<2x3xi32>
          %d = tile.dot %a, %b, %z lhs_unsigned : !tile.tile<2x3xi32>
          tile.store %d, %y[0, 0] over [0, 1]
          tile.return
        }
        """
    )
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 4)).astype(np.uint8)
    w = rng.integers(-128, 128, (4, 3)).astype(np.int8)
    y = np.zeros((2, 3), np.int32)
    interpret_tile(func, [x, w, y])
    assert np.array_equal(y, x.astype(np.int32) @ w.astype(np.int32) + 1)


def test_an_array_of_another_shape_is_refused() -> None:
    func = function(COPY.format(body=""))
    with pytest.raises(InputError, match=r"expected \[8\] of float32, got \[9\]"):
        interpret_tile(func, [nan(9), nan(8)])
