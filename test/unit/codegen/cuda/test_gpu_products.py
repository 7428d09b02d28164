"""Products of register fragments, on the emulator against NumPy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gpu_programs import Program

from stepwell.dialects.layouts import LayoutAttr, mma_a, mma_b, mma_c, on_warps

DTYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32}
BITS = {"f16": 16, "bf16": 16, "f32": 32, "i8": 8}


def product(element: str, total: str, tile: tuple[int, int, int], flags: str) -> str:
    """A product of two by two warps, with ragged edges in all dims."""
    rows, columns, depth = tile
    step = 256 // BITS[element]
    a = on_warps(mma_a(16, step, BITS[element]), (rows, depth), [(0, 2), (None, 2)])
    b = on_warps(mma_b(step, 8, BITS[element]), (depth, columns), [(None, 2), (1, 2)])
    c = on_warps(mma_c(16, 8), (rows, columns), [(0, 2), (1, 2)])
    zero = "0.0" if total == "f32" else "0"
    sums = f"!tile.tile<{rows}x{columns}x{total}, {LayoutAttr(c)}>"
    return f"""
    tile.func @product(%x: !tile.view<[m, k] {element}>,
        %w: !tile.view<[k, n] {element}>,
        %y: !tile.view<[m, n] {total}>) symbols [m, n, k]
        grid (%i = ceildiv(m, {rows}), %j = ceildiv(n, {columns}))
        attributes {{tile.launch = #tile.launch<warps = 4>}} {{
      %c0 = arith.constant 0 : index
      %cm = arith.constant {rows} : index
      %cn = arith.constant {columns} : index
      %ck = arith.constant {depth} : index
      %row = arith.muli %i, %cm : index
      %column = arith.muli %j, %cn : index
      %end = tile.dim "k"
      %zero = tile.full {zero} : {sums}
      %s = scf.for %at = %c0 to %end step %ck iter_args(%acc = %zero) -> ({sums}) {{
        %a = tile.load %x[%row, %at] over [0, 1]
            : !tile.tile<{rows}x{depth}x{element}, {LayoutAttr(a)}>
        %b = tile.load %w[%at, %column] over [0, 1]
            : !tile.tile<{depth}x{columns}x{element}, {LayoutAttr(b)}>
        %d = tile.mma %a, %b, %acc {flags} : {sums}
        scf.yield %d : {sums}
      }}
      tile.store %s, %y[%row, %column] over [0, 1]
      tile.return
    }}"""


@pytest.mark.parametrize(
    ("element", "total", "flags", "error"),
    [
        ("f16", "f32", "", 1e-6),
        ("bf16", "f32", "", 1e-6),
        ("f32", "f32", "", 2e-3),
        ("f32", "f32", "split", 1e-6),
        ("i8", "i32", "", 0),
        ("i8", "i32", "lhs_unsigned", 0),
    ],
)
def test_products_equal_numpy(
    element: str, total: str, flags: str, error: float
) -> None:
    program = Program(product(element, total, (32, 32, 32), flags))
    rng = np.random.default_rng(0)
    if element == "i8":
        x, w = (rng.integers(-128, 128, s).astype("i1") for s in ((40, 52), (52, 36)))
        wide = (x.view("u1") if flags else x).astype("f8")
    else:
        x, w = (
            rng.standard_normal(s).astype(DTYPES[element]) for s in ((40, 52), (52, 36))
        )
        wide = x.astype("f8")
    want = wide @ w.astype("f8")
    (y,) = program.run([x, w], [np.zeros((40, 36), f"{total[0]}4")], m=40, n=36, k=52)
    assert np.abs(y - want).max() <= error * np.abs(want).max()


PIPELINED = Path(__file__).parents[3] / "filecheck/codegen/cuda/pipelined-product.mlir"


def test_pipelined_product_equals_numpy() -> None:
    program = Program(PIPELINED.read_text())
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 90)).astype("f2")
    w = rng.standard_normal((90, 64)).astype("f2")
    (y,) = program.run([x, w], [np.zeros((50, 64), "f4")], m=50, k=90)
    np.testing.assert_allclose(y, x.astype("f8") @ w.astype("f8"), atol=1e-4)


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="needs ptxas")
@pytest.mark.parametrize("target", ["sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"])
def test_products_assemble_for_every_target(target: str, tmp_path: Path) -> None:
    text = product("f16", "f32", (32, 32, 32), "")
    (tmp_path / "k.ptx").write_text(Program(text, target).ptx)
    command = ["ptxas", f"-arch={target}", str(tmp_path / "k.ptx")]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "k.cubin")], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
