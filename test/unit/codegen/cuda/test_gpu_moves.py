"""Reductions and conversions of layouts, on the emulator against NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu_programs import Program

PROGRAMS = Path(__file__).parents[3] / "filecheck/tile/programs"
BLOCKED = "blocked([1, 4], [4, 8], [4, 1])"


def test_layer_norm_equals_numpy() -> None:
    program = Program((PROGRAMS / "layer_norm.mlir").read_text(), "sm_90a")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 768)).astype("f2")
    gamma, beta = rng.standard_normal((2, 768)).astype("f2")
    (y,) = program.run([x, gamma, beta], [np.full((7, 768), np.nan, "f2")], rows=6)
    wide = x.astype("f8")
    unit = (wide - wide.mean(1, keepdims=True)) / np.sqrt(
        wide.var(1, keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(y[:6], unit * gamma + beta, atol=3e-3)
    assert np.isnan(y[6]).all(), "rows beyond the edge are not written"


def reduction(kind: str, element: str, layout: str, dim: int, warps: int) -> str:
    sliced = f"slice({layout}, {dim})"
    out, where = ("1x32", "0, j") if dim == 0 else ("16x1", "i, 0")
    name = where[0] if dim else where[-1]
    return f"""
    #l = #tile.layout<{layout}>
    #r = #tile.layout<{sliced}>
    tile.func @k(%x: !tile.view<[rows, columns] {element}>,
        %y: !tile.view<{32 if dim == 0 else 16}x{element}>)
        symbols [rows, columns] grid (%i = 1)
        attributes {{tile.launch = #tile.launch<warps = {warps}>}} {{
      %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<16x32x{element}, #l>
      %s = tile.reduce {kind} %a dim {dim} : !tile.tile<{out}x{element}, #r>
      %yv = tile.access %y map<(i, j) -> [{name}]> : !tile.view<{out}x{element}>
      tile.store %s, %yv[0, 0] over [0, 1]
      tile.return
    }}"""


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize(
    ("kind", "element", "layout", "warps"),
    [
        ("add", "f32", BLOCKED, 4),
        ("max", "f32", "blocked([1, 1], [2, 16], [2, 2], repeat = [4, 1])", 4),
        ("add", "f16", "blocked([2, 2], [8, 4], [1, 4])", 4),
        ("min", "i8", "blocked([4, 1], [4, 8], [1, 4])", 4),
        ("add", "i64", "blocked([1, 2], [1, 16], [8, 1], repeat = [2, 1])", 8),
        ("mul", "f64", "blocked([1, 4], [4, 8], [1, 1], repeat = [4, 1])", 1),
    ],
)
def test_reductions(kind: str, element: str, layout: str, warps: int, dim: int) -> None:
    if layout.startswith("blocked([1, 2], [1, 16]"):
        layout = "blocked([1, 2], [2, 16], [8, 1])"
    program = Program(reduction(kind, element, layout, dim, warps))
    dtype = np.dtype(
        {"i8": "i1", "i64": "i8"}.get(element, f"f{int(element[1:]) // 8}")
    )
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((15, 31)) * (1 if kind == "mul" else 9)).astype(dtype)
    whole = np.zeros((16, 32), dtype)
    whole[:15, :31] = x
    fold = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}
    wide = whole.astype("f8" if dtype.kind == "f" else "i8")
    want = fold[kind].reduce(wide, axis=dim)
    (y,) = program.run([x], [np.zeros(want.shape, dtype)], rows=15, columns=31)
    np.testing.assert_allclose(y.astype("f8"), want.astype("f8"), rtol=2e-3, atol=1e-3)


def conversion(element: str, source: str, target: str, extents: str, warps: int) -> str:
    return f"""
    #a = #tile.layout<{source}>
    #b = #tile.layout<{target}>
    tile.func @k(%x: !tile.view<{extents}x{element}>,
        %y: !tile.view<{extents}x{element}>)
        grid (%i = 1) attributes {{tile.launch = #tile.launch<warps = {warps}>}} {{
      %a = tile.load %x[0, 0] over [0, 1] : !tile.tile<{extents}x{element}, #a>
      %s = tile.convert_layout %a : !tile.tile<{extents}x{element}, #b>
      tile.store %s, %y[0, 0] over [0, 1]
      tile.return
    }}"""


@pytest.mark.parametrize("element", ["f32", "f16", "i8", "i1", "i64"])
@pytest.mark.parametrize(
    ("source", "target", "extents", "warps", "by"),
    [
        (BLOCKED, "blocked([2, 2], [8, 4], [1, 4])", "16x32", 4, "bar.sync"),
        (
            "blocked([1, 2], [8, 4], [2, 1])",
            "blocked([1, 1], [8, 4], [2, 1], repeat = [1, 2])",
            "16x8",
            2,
            "shfl.sync",
        ),
        ("mma_c(16, 16)", "mma_a(16, 16, 16)", "16x16", 1, ""),
    ],
)
def test_conversions_keep_every_element(
    element: str, source: str, target: str, extents: str, warps: int, by: str
) -> None:
    program = Program(conversion(element, source, target, extents, warps))
    shape = tuple(int(n) for n in extents.split("x"))
    dtype = {"f32": "f4", "f16": "f2", "i8": "i1", "i1": "?", "i64": "i8"}[element]
    x = (np.random.default_rng(2).standard_normal(shape) * 50).astype(dtype)
    (y,) = program.run([x], [np.zeros(shape, dtype)])
    np.testing.assert_array_equal(y, x)
    assert by in program.ptx
    if not by:
        assert "shfl" not in program.ptx and "bar." not in program.ptx
