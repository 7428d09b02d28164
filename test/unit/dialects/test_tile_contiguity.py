"""Runs of loads against the addresses that the access map gives, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.parser import Parser

from stepwell.dialects import tile
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.shapes import evaluate
from stepwell.dialects.tile.contiguity import memory_map, walk_of


def load_of(text: str) -> tile.LoadOp:
    context = Context()
    register_dialects(context)
    module = Parser(context, text).parse_module()
    return next(op for op in module.walk() if isinstance(op, tile.LoadOp))


def program(
    view: str, access: str, shape: str, index: str, factor: int, tile_type: str
) -> str:
    return f"""tile.func @f(%x: !tile.view<{view}>) grid (%i = 4, %j = 4) {{
      %c = arith.constant {factor} : index
      %a = arith.muli %i, %c : index
      %v = tile.access %x map<{access}> : !tile.view<{shape}>
      %t = tile.load %v[{index}] : !tile.tile<{tile_type}>
      tile.return
    }}"""


WINDOW = (
    "m floordiv 14 + k floordiv 24 - 1",
    "m mod 14 + k floordiv 8 mod 3 - 1",
)

CASES = {
    # view, map, shape of the map's view, multiple of the index, run
    "rows": ("64x96xf32", "(i, j) -> [i, j]", "64x96xf32", 16, 16),
    "an index that is a multiple of 4": (
        "64x96xf32",
        "(i, j) -> [i, j]",
        "64x96xf32",
        4,
        4,
    ),
    "a transposed view": ("64x96xf32", "(i, j) -> [j, i]", "96x64xf32", 1, 16),
    "an odd row": ("64x97xf32", "(i, j) -> [i, j]", "64x97xf32", 16, 1),
    "a shifted row": ("64x96xf32", "(i, j) -> [i, j + 2]", "64x94xf32", 16, 2),
    "quotients": (
        "8x8x64xf32",
        "(m, c) -> [m floordiv 8, m mod 8, c]",
        "64x64xf32",
        16,
        16,
    ),
    "a window": (
        "14x14x8xf32",
        f"(m, k) -> [{WINDOW[0]}, {WINDOW[1]}, k mod 8]"
        f" where [{WINDOW[0]} < 14, {WINDOW[1]} < 14] else 0",
        "196x72xf32",
        16,
        8,
    ),
    "a guard at an odd place": (
        "64x96xf32",
        "(i, j) -> [i, j] where [j < 93] else 0",
        "64x96xf32",
        16,
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_runs(name: str) -> None:
    view, access, shape, factor, expected = CASES[name]
    text = program(view, access, shape, "0, %a] over [0, 1", factor, "16x32xf32")
    assert walk_of(load_of(text)).run == expected


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.sampled_from([8, 12, 16, 21, 32]),
    step=st.sampled_from([1, 2, 4, 8]),
    factor=st.sampled_from([1, 2, 4, 6, 8]),
    fold=st.sampled_from([2, 3, 4, 8]),
)
def test_a_run_is_consecutive_aligned_and_whole(
    rows: int, columns: int, step: int, factor: int, fold: int
) -> None:
    """Whatever the walk claims holds for the addresses and masks themselves."""
    access = (
        f"(i, j) -> [i, j floordiv {fold} * {fold} + j mod {fold}]"
        f" where [j + {step} < {columns}] else 0"
    )
    text = program(
        f"{rows}x{columns}xf32",
        access,
        f"{rows}x{columns}xf32",
        "0, %a] over [0, 1",
        factor,
        "4x16xf32",
    )
    op = load_of(text)
    walk = walk_of(op)
    access_map, shape = memory_map(op)
    strides = (columns, 1)
    for cell in range(4):
        start = cell * factor
        for group in range(start, start + 16, walk.run):
            j = np.arange(group, group + walk.run)
            index, inside = access_map.evaluate({"i": 0, "j": j})
            inside = np.broadcast_to(inside, j.shape) & (j < columns)
            place = sum(
                np.broadcast_to(e, j.shape) * s
                for e, s in zip(index, strides, strict=True)
            )
            assert inside.all() or not inside.any()
            if inside.any() and walk.run > 1:
                assert place[0] % walk.run == 0
                assert np.array_equal(place, place[0] + np.arange(walk.run))
    assert evaluate(shape[1], {}) == columns
