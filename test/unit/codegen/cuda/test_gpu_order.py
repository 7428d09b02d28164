"""Scans, sorts, positions of extremes and atomics, on the emulator against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_programs import Program

DTYPES = {"f32": "f4", "f16": "f2", "f64": "f8", "i64": "i8", "i32": "i4", "i8": "i1"}
DTYPES["i1"] = "?"
ONE_WARP = "blocked([2, 4], [4, 8], [1, 1], repeat = [1, 2])"
FOUR_WARPS = "blocked([1, 2], [4, 8], [1, 4], repeat = [2, 1])"


def random_values(shape: tuple[int, ...], element: str, seed: int = 0) -> np.ndarray:
    """Small whole numbers, with ties."""
    values = np.random.default_rng(seed).integers(-4, 5, shape)
    return values.astype(DTYPES[element])


@pytest.mark.parametrize("flags", ["", "exclusive", "reverse", "exclusive reverse"])
@pytest.mark.parametrize(
    ("layout", "warps", "dim"), [(ONE_WARP, 1, 1), (FOUR_WARPS, 4, 1), (ONE_WARP, 1, 0)]
)
def test_scans(layout: str, warps: int, dim: int, flags: str) -> None:
    kind = "!tile.tile<8x64xf32, #l>"
    program = Program(f"""
    #l = #tile.layout<{layout}>
    tile.func @k(%x: !tile.view<8x64xf32>, %y: !tile.view<8x64xf32>) grid (%i = 1)
        attributes {{tile.launch = #tile.launch<warps = {warps}>}} {{
      %a = tile.load %x[0, 0] over [0, 1] : {kind}
      %s = tile.scan add %a dim {dim} {flags} : {kind}
      tile.store %s, %y[0, 0] over [0, 1]
      tile.return
    }}""")
    x = random_values((8, 64), "f32")
    (y,) = program.run([x], [np.full(x.shape, np.nan, "f4")])
    turned = np.flip(x, dim) if "reverse" in flags else x
    want = np.cumsum(turned, dim) - (turned if "exclusive" in flags else 0)
    want = np.flip(want, dim) if "reverse" in flags else want
    np.testing.assert_array_equal(y, want)


SORT = """
#l = #tile.layout<blocked([1, 2], [2, 16], [1, 2], repeat = [1, 2])>
tile.func @k(%x: !tile.view<2x128x{e}>, %u: !tile.view<2x128xi16>,
    %y: !tile.view<2x128x{e}>, %z: !tile.view<2x128xi64>, %v: !tile.view<2x128xi16>)
    grid (%i = 1) attributes {{tile.launch = #tile.launch<warps = 2>}} {{
  %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<2x128x{e}, #l>
  %b = tile.load %u[0, 0] over [0, 1] : !tile.tile<2x128xi16, #l>
  %n = tile.iota dim 1 : !tile.tile<2x128xi64, #l>
  %s, %p, %q = tile.sort %a, %n, %b dim 1 {d} : !tile.tile<2x128x{e}, #l>,
      !tile.tile<2x128xi64, #l>, !tile.tile<2x128xi16, #l>
  tile.store %s, %y[0, 0] over [0, 1]
  tile.store %p, %z[0, 0] over [0, 1]
  tile.store %q, %v[0, 0] over [0, 1]
  tile.return
}}"""


@pytest.mark.parametrize("descending", ["", "descending"])
@pytest.mark.parametrize("element", ["f32", "f16", "f64", "i64", "i1"])
def test_sorts_are_stable_and_carry_payloads(element: str, descending: str) -> None:
    x = random_values((2, 128), element)
    if x.dtype.kind == "f":
        x[0, 5:8] = np.nan, -0.0, np.inf
        x[1, 100:102] = np.nan, -np.inf
    u = random_values(x.shape, "i8", 1).astype("i2")
    program = Program(SORT.format(e=element, d=descending))
    outputs = [np.zeros_like(x), np.zeros(x.shape, "i8"), np.zeros_like(u)]
    y, z, v = program.run([x, u], outputs)
    rank = np.where(np.isnan(x), np.inf, x.astype("f8")) + 0.0
    order = (-rank, ~np.isnan(x)) if descending else (rank, np.isnan(x))
    want = np.lexsort(order, axis=1)
    np.testing.assert_array_equal(z, want)
    np.testing.assert_array_equal(y, np.take_along_axis(x, want, 1))
    np.testing.assert_array_equal(v, np.take_along_axis(u, want, 1))


@pytest.mark.parametrize("last", ["", "last"])
@pytest.mark.parametrize(
    ("kind", "element"), [("max", "f32"), ("min", "f16"), ("min", "i32"), ("max", "i1")]
)
def test_positions_of_extremes(kind: str, element: str, last: str) -> None:
    sliced = "slice(blocked([1, 2], [2, 16], [1, 2], repeat = [2, 1]), 1)"
    program = Program(f"""
    #l = #tile.layout<blocked([1, 2], [2, 16], [1, 2], repeat = [2, 1])>
    #r = #tile.layout<{sliced}>
    tile.func @k(%x: !tile.view<4x64x{element}>, %y: !tile.view<4x1x{element}>,
        %z: !tile.view<4x1xi64>) grid (%i = 1)
        attributes {{tile.launch = #tile.launch<warps = 2>}} {{
      %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<4x64x{element}, #l>
      %v, %j = tile.arg_reduce {kind} %a dim 1 {last} : !tile.tile<4x1x{element}, #r>,
          !tile.tile<4x1xi64, #r>
      tile.store %v, %y[0, 0] over [0, 1]
      tile.store %j, %z[0, 0] over [0, 1]
      tile.return
    }}""")
    x = random_values((4, 64), element)
    if x.dtype.kind == "f":
        x[1, [5, 40]] = np.nan
    y, z = program.run([x], [np.zeros((4, 1), x.dtype), np.zeros((4, 1), "i8")])
    first = np.argmax if kind == "max" else np.argmin
    want = 63 - first(x[:, ::-1], 1) if last else first(x, 1)
    np.testing.assert_array_equal(z[:, 0], want)
    np.testing.assert_array_equal(y[:, 0], x[np.arange(4), want])


FOLDS = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}


@pytest.mark.parametrize(
    ("kind", "element"),
    [
        *(("add", "f32"), ("add", "f16"), ("add", "i1"), ("mul", "f32")),
        *(("mul", "i64"), ("max", "f32"), ("max", "i64"), ("min", "i8")),
    ],
)
def test_accumulating_scatter(kind: str, element: str) -> None:
    program = Program(f"""
    #l = #tile.layout<blocked([2], [32], [2])>
    tile.func @k(%x: !tile.view<[n] {element}>, %ix: !tile.view<[n] i64>,
        %y: !tile.view<10x{element}>) symbols [n] grid (%i = ceildiv(n, 128))
        attributes {{tile.launch = #tile.launch<warps = 2>}} {{
      %c = arith.constant 128 : index
      %o = arith.muli %i, %c : index
      %a = tile.load %x[%o] over [0] : !tile.tile<128x{element}, #l>
      %yv = tile.access %y indices(%ix) map<(i) -> [at$0]
          where [at$0 < 10, i < n] with [at$0 = 0[i]]> : !tile.view<[n] {element}>
      tile.store %a, %yv[%o] over [0] accumulate {kind}
      tile.return
    }}""")
    x = random_values((200,), element)
    if kind == "mul":
        x = np.where(x > 0, 2, -1).astype(x.dtype)
        x[20:] = 1
    places = np.random.default_rng(1).integers(-2, 13, 200)
    start = random_values((10,), element, 2)
    (y,) = program.run([x, places], [start], n=200)
    want = start.copy()
    inside = (places >= 0) & (places < 10)
    FOLDS[kind].at(want, places[inside], x[inside])
    np.testing.assert_array_equal(y, want)
