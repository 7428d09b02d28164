"""A schedule decides how fast a kernel is, never what it computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell.dialects.schedules import Anchor, Schedule

RNG = np.random.default_rng(5)
CORES = pytest.mark.parametrize("check", ["cpu-avx512", "cpu-avx2"], indirect=True)
"""Tensor cores multiply only tiles of whole fragments."""

SLOW = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
EXTENT = st.integers(1, 12)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@st.composite
def products(draw: st.DrawFn) -> Schedule:
    """Any grid, any order of loops, any tile of `[m, n, k]`."""
    tile = {dim: draw(EXTENT) for dim in "mnk"}
    cells = draw(st.lists(st.sampled_from("mn"), unique=True))
    grid = {dim: tile[dim] * draw(st.integers(1, 3)) for dim in cells}
    order = draw(st.permutations("mnk"))
    return Schedule(
        Anchor.CONTRACTION,
        tuple(grid.items()),
        tuple((dim, tile[dim]) for dim in order),
        tuple(tile.items()),
    )


@CORES
@SLOW
@given(products(), EXTENT, EXTENT, EXTENT)
def test_products(check, schedule: Schedule, m: int, n: int, k: int) -> None:
    if 1 in (n, k) or m == 1:
        return  # another form of kernel, or dims of other names
    x, w, y = f"tensor<{m}x{k}xf32>", f"tensor<{k}x{n}xf32>", f"tensor<{m}x{n}xf32>"
    weights = (RNG.integers(-8, 8, (k, n)) / 8).tolist()
    body = f"""func.func @main(%x: {x}, %b: tensor<{n}xf32>) -> {y} {{
      %w = nn.constant {{value = dense<{weights}> : {w}}} : {w}
      %0 = nn.matmul %x, %w : ({x}, {w}) -> {y}
      %1 = nn.add %0, %b : ({y}, tensor<{n}xf32>) -> {y}
      func.return %1 : {y}
    }}"""
    check(body, f32(m, k), f32(n), schedule=schedule, tolerance=1e-4)


@st.composite
def maps(draw: st.DrawFn) -> Schedule:
    """Any grid and any tile of a transpose over `[d0, d1]`."""
    axes = draw(st.permutations(["d0", "d1"]))
    tile = {dim: draw(EXTENT) for dim in axes[: draw(st.integers(1, 2))]}
    cells = draw(st.lists(st.sampled_from(["d0", "d1"]), unique=True))
    grid = {dim: tile.get(dim, 1) * draw(st.integers(1, 3)) for dim in cells}
    return Schedule(Anchor.MAP, tuple(grid.items()), (), tuple(tile.items()))


@SLOW
@given(maps(), st.integers(2, 12), st.integers(2, 12))
def test_maps(check, schedule: Schedule, m: int, n: int) -> None:
    x, y = f"tensor<{m}x{n}xf32>", f"tensor<{n}x{m}xf32>"
    body = f"""func.func @main(%x: {x}) -> {y} {{
      %0 = nn.transpose %x {{perm = array<i64: 1, 0>}} : ({x}) -> {y}
      %1 = nn.neg %0 : ({y}) -> {y}
      func.return %1 : {y}
    }}"""
    check(body, f32(m, n), schedule=schedule)
