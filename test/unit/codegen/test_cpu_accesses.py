"""Loads and stores through random access maps, against the interpreter."""

from __future__ import annotations

import numpy as np
from cpu_programs import check, random_array
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MAPS = {
    "plain": "[i, j]",
    "transposed": "[j, i]",
    "row": "[0, j]",
    "column": "[i, 0]",
    "strided": "[i, 2 * j]",
    "shifted": "[i - 1, j - 2] where [i - 1 < {n}, j - 2 < {n}] else 3.0",
    "reversed": "[i, {n} - 1 - j]",
    "split": "[(i * 5 + j) floordiv {n}, (i * 5 + j) mod {n}]",
    "folded": "[i floordiv 2, (i mod 2) * 3 + j]",
}


@st.composite
def accesses(draw: st.DrawFn) -> dict[str, object]:
    """A map, the sizes of the iteration space, and a tile that may hang over it."""
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    return {
        "map": draw(st.sampled_from(sorted(MAPS))),
        "rows": rows,
        "columns": columns,
        "tile": (draw(st.integers(1, 6)), draw(st.sampled_from([1, 3, 8, 16, 20, 64]))),
        "symbolic": draw(st.booleans()),
        "dtype": draw(st.sampled_from(["f32", "i8", "bf16", "i64", "i1"])),
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(accesses())
def test_reads_through_a_map_agree(case: dict[str, object]) -> None:
    rows, columns = case["rows"], case["columns"]
    height, width = case["tile"]  # pyright: ignore
    dtype = case["dtype"]
    assert isinstance(rows, int) and isinstance(columns, int)
    n = 96
    fill = "" if dtype in ("f32", "bf16") else "fill"
    text = MAPS[str(case["map"])].format(n=n)
    if fill and "else" in text:
        text = text.replace("3.0", "1")
    sizes = "[r, c] " if case["symbolic"] else f"{rows}x{columns}x"
    symbols = "symbols [r, c]" if case["symbolic"] else ""
    grid = (
        f"ceildiv(r, {height}), %q = ceildiv(c, {width})"
        if case["symbolic"]
        else f"{-(-rows // height)}, %q = {-(-columns // width)}"
    )
    program = f"""
tile.func @f(%x: !tile.view<{n}x{n}x{dtype}>, %y: !tile.view<{sizes}{dtype}>) {symbols}
    grid (%p = {grid}) {{
  %h = arith.constant {height} : index
  %w = arith.constant {width} : index
  %i = arith.muli %p, %h : index
  %j = arith.muli %q, %w : index
  %xv = tile.access %x map<(i, j) -> {text}> : !tile.view<{sizes}{dtype}>
  %t = tile.load %xv[%i, %j] over [0, 1] : !tile.tile<{height}x{width}x{dtype}>
  tile.store %t, %y[%i, %j] over [0, 1]
  tile.return
}}"""
    x = random_array(np.random.default_rng(0), (n, n), str(dtype))
    y = np.zeros((rows, columns), x.dtype)
    known = {"r": rows, "c": columns} if case["symbolic"] else {}
    check(program, [x, y], known, tolerance=0)
