"""The vector polynomials against NumPy in a wider precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cpu_programs import DTYPES, parse_func, run_tile_func, unary_program

WIDE = np.longdouble
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-45,
    1e-38,
    1.0,
    -1.0,
    0.5,
    88.7,
    88.73,
    -87.4,
    -103.9,
    -104.5,
    128.0,
    127.99,
    -149.5,
    -126.5,
    1e30,
]
REFERENCE = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "cbrt": np.cbrt,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "erf": np.vectorize(lambda v: WIDE(math.erf(v)), otypes=[WIDE]),
}
DOMAIN = {"asin": (-1, 1), "acos": (-1, 1), "atanh": (-1, 1), "acosh": (1, 50)}
COUNT = 2048


def inputs(name: str, kind: type) -> np.ndarray:
    """Special values, then numbers of many sizes in the function's domain."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-20, 3, COUNT)
    x = rng.standard_normal(COUNT) * sizes
    if name in DOMAIN:
        x = rng.uniform(*DOMAIN[name], COUNT)
    elif name.startswith("log") and name != "log1p":
        x = np.abs(x)
    x[: len(SPECIAL)] = SPECIAL
    return x.astype(kind)


def run(name: str, dtype: str, x: np.ndarray) -> np.ndarray:
    text = unary_program(f"%s = math.{name} %u : {dtype}", dtype, dtype, x.size, 64)
    y = np.zeros_like(x)
    run_tile_func(parse_func(text), [x, y])
    return y


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", REFERENCE)
def test_within_four_ulp_and_ieee_at_the_edges(name: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        x = inputs(name, DTYPES[dtype])
        got = run(name, dtype, x)
        exact = REFERENCE[name](x.astype(WIDE))
        want = exact.astype(x.dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
    np.testing.assert_array_equal(
        np.signbit(got[want == 0]), np.signbit(want[want == 0])
    )
    finite = np.isfinite(want)
    ulp = np.spacing(np.abs(want[finite]))
    error = np.abs(got[finite] - exact[finite]) / ulp
    assert error.max() <= 4, (x[finite][error.argmax()], error.max())


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_pow_has_the_special_values_of_c(dtype: str) -> None:
    edges = np.array(
        [
            0.0,
            -0.0,
            1.0,
            -1.0,
            2.0,
            -2.0,
            0.5,
            3.0,
            -3.0,
            2.5,
            np.inf,
            -np.inf,
            np.nan,
            1e3,
            -1e-3,
        ]
    )
    x, y = (v.ravel().astype(DTYPES[dtype]) for v in np.meshgrid(edges, edges))
    text = f"""
tile.func @f(%x: !tile.view<225x{dtype}>, %y: !tile.view<225x{dtype}>,
    %z: !tile.view<225x{dtype}>) grid (%i = 1) {{
  %a = tile.load %x[0] over [0] : !tile.tile<225x{dtype}>
  %b = tile.load %y[0] over [0] : !tile.tile<225x{dtype}>
  %r = tile.map (%u = %a, %v = %b) -> !tile.tile<225x{dtype}> {{
    %s = math.powf %u, %v : {dtype}
    tile.yield %s : {dtype}
  }}
  tile.store %r, %z[0] over [0]
  tile.return
}}"""
    got = np.zeros_like(x)
    run_tile_func(parse_func(text), [x, y, got])
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-6 if dtype == "f32" else 1e-12)
