"""Tile programs as text, run by the CPU code generator and by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np
from xdsl.context import Context
from xdsl.parser import Parser

from stepwell.codegen.cpu.jit import run_tile_func
from stepwell.dialects import tile
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.semantics.tile import interpret_tile
from stepwell.dialects.target import Target

DTYPES = {
    "f64": np.float64,
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "i1": np.bool_,
}
FLOATS = ("f64", "f32", "f16", "bf16")
INTEGERS = ("i64", "i32", "i16", "i8")
TOLERANCE = {"f64": 1e-13, "f32": 3e-6, "f16": 2e-3, "bf16": 2e-2}


def parse_func(text: str) -> tile.FuncOp:
    """The only `tile.func` of a text."""
    context = Context()
    register_dialects(context)
    module = Parser(context, text).parse_module()
    module.verify()
    (func,) = module.ops
    assert isinstance(func, tile.FuncOp)
    return func


def random_array(
    rng: np.random.Generator, shape: Sequence[int], dtype: str
) -> np.ndarray:
    """Values that sums and products of a few dozen do not take out of range."""
    kind = DTYPES[dtype]
    if dtype == "i1":
        return rng.integers(0, 2, shape).astype(kind)
    if dtype in INTEGERS:
        return rng.integers(-9, 10, shape).astype(kind)
    return rng.standard_normal(shape).astype(kind)


def check(
    text: str,
    arrays: Sequence[np.ndarray],
    symbols: Mapping[str, int] | None = None,
    *,
    tolerance: float | None = None,
    target: Target | None = None,
) -> list[np.ndarray]:
    """Compiled and interpreted runs must agree on every array; NaN where it is NaN."""
    func = parse_func(text)
    expected = [a.copy() for a in arrays]
    got = [np.ascontiguousarray(a.copy()) for a in arrays]
    interpret_tile(func, expected, symbols)
    run_tile_func(func, got, symbols, target)
    for want, have in zip(expected, got, strict=True):
        assert_same(have, want, tolerance)
    return got


def assert_same(
    have: np.ndarray, want: np.ndarray, tolerance: float | None = None
) -> None:
    """Equal integers; floats within the tolerance of their dtype."""
    name = next(n for n, d in DTYPES.items() if np.dtype(d) == want.dtype)
    if name not in TOLERANCE:
        np.testing.assert_array_equal(have, want)
        return
    close = TOLERANCE[name] if tolerance is None else tolerance
    have, want = have.astype(np.float64), want.astype(np.float64)
    np.testing.assert_array_equal(np.isnan(have), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(have[~finite], want[~finite])
    np.testing.assert_allclose(have[finite], want[finite], rtol=close, atol=close)


def unary_program(body: str, dtype: str, result: str, n: int, tile_n: int) -> str:
    """One elementwise op over a vector of `n`, `tile_n` at a time."""
    return f"""
tile.func @f(%x: !tile.view<{n}x{dtype}>, %y: !tile.view<{n}x{result}>)
    grid (%i = {-(-n // tile_n)}) {{
  %c = arith.constant {tile_n} : index
  %p = arith.muli %i, %c : index
  %a = tile.load %x[%p] over [0] : !tile.tile<{tile_n}x{dtype}>
  %r = tile.map (%u = %a) -> !tile.tile<{tile_n}x{result}> {{
    {body}
    tile.yield %s : {result}
  }}
  tile.store %r, %y[%p] over [0]
  tile.return
}}"""


def tile_program(
    inputs: Sequence[tuple[Sequence[int], str]],
    outputs: Sequence[tuple[Sequence[int], str]],
    body: str,
) -> str:
    """Loads each input whole as `%a0`, `%a1`..., runs the body, stores `%r0`..."""
    views = [*inputs, *outputs]
    names = [f"%v{i}" for i in range(len(views))]

    def kind(shape: Sequence[int], dtype: str) -> str:
        return "".join(f"{n}x" for n in shape) + dtype

    params = ", ".join(
        f"{n}: !tile.view<{kind(*v)}>" for n, v in zip(names, views, strict=True)
    )

    def place(shape: Sequence[int]) -> str:
        zeros = ", ".join("0" for _ in shape)
        return f"[{zeros}] over [{', '.join(map(str, range(len(shape))))}]"

    lines = [
        f"  %a{i} = tile.load {names[i]}{place(v[0])} : !tile.tile<{kind(*v)}>"
        for i, v in enumerate(inputs)
    ]
    lines.append(body)
    lines += [
        f"  tile.store %r{i}, {names[len(inputs) + i]}{place(v[0])}"
        for i, v in enumerate(outputs)
    ]
    text = "\n".join(lines)
    return f"tile.func @f({params}) grid (%i = 1) {{\n{text}\n  tile.return\n}}"
