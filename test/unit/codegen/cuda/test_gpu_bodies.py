"""Scalar bodies on the emulator against the reference interpreter, one map per type."""

from __future__ import annotations

import re
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import pytest
from cpu_programs import DTYPES, parse_func
from gpu_programs import Program

from stepwell.dialects.semantics.tile import interpret_tile

COUNT = 128
INTEGER_OPS = (
    *("addi", "subi", "muli", "divsi", "remsi", "divui", "remui", "floordivsi"),
    *("ceildivsi", "minsi", "maxsi", "minui", "maxui", "andi", "ori", "xori"),
    *("shli", "shrsi", "shrui"),
)
FLOAT_OPS = ("addf", "subf", "mulf", "divf", "maximumf", "minimumf", "maxnumf")
MATH = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt"),
    *("sin", "cos", "tanh", "sinh", "erf", "atan", "absf", "ceil", "floor"),
    *("trunc", "round", "roundeven", "cbrt"),
)


def program(
    inputs: Sequence[str], results: Sequence[tuple[str, str]], launch: bool
) -> str:
    """A map from `%a`, `%b`, ... of some types to `(line, type)` results `%r`."""
    attributes = "attributes {tile.launch = #tile.launch<warps = 2>}" if launch else ""
    layout = ", #tile.layout<blocked([2], [32], [2])>" if launch else ""
    names = "abcd"[: len(inputs)]
    views = [
        f"%x{n}: !tile.view<{COUNT}x{t}>" for n, t in zip(names, inputs, strict=True)
    ]
    views += [f"%y{i}: !tile.view<{COUNT}x{t}>" for i, (_, t) in enumerate(results)]
    kinds = [f"!tile.tile<{COUNT}x{t}{layout}>" for _, t in results]
    lines = [
        f"  %t{n} = tile.load %x{n}[0] over [0] : !tile.tile<{COUNT}x{t}{layout}>"
        for n, t in zip(names, inputs, strict=True)
    ]
    heads = ", ".join(f"%o{i}" for i in range(len(results)))
    bound = ", ".join(f"%{n} = %t{n}" for n in names)
    lines.append(f"  {heads} = tile.map ({bound}) -> ({', '.join(kinds)}) {{")
    lines += [
        f"    {line.replace('%r', f'%r{i}')}" for i, (line, _) in enumerate(results)
    ]
    values = ", ".join(f"%r{i}" for i in range(len(results)))
    lines.append(f"    tile.yield {values} : {', '.join(t for _, t in results)}\n  }}")
    lines += [f"  tile.store %o{i}, %y{i}[0] over [0]" for i in range(len(results))]
    body = "\n".join(lines)
    head = f"tile.func @k({', '.join(views)}) grid (%i = 1) {attributes}"
    return f"{head} {{\n{body}\n  tile.return\n}}"


def compare(
    inputs: Sequence[str],
    arrays: Sequence[np.ndarray],
    results: Sequence[tuple[str, str]],
    tolerance: float = 0,
) -> None:
    """Run on both and compare every result."""
    empty = [np.zeros(COUNT, DTYPES[t]) for _, t in results]
    wanted = [a.copy() for a in empty]
    with np.errstate(all="ignore"):
        func = parse_func(program(inputs, results, launch=False))
        interpret_tile(func, [*arrays, *wanted])
    got = Program(program(inputs, results, launch=True)).run(arrays, empty)
    for (line, _), have, want in zip(results, got, wanted, strict=True):
        if want.dtype.kind in "biu":
            np.testing.assert_array_equal(have, want, err_msg=line)
            continue
        have, want = have.astype("f8"), want.astype("f8")
        np.testing.assert_allclose(
            have, want, rtol=tolerance, atol=tolerance * 0.1, err_msg=line
        )


def special_integers(element: str, seed: int) -> np.ndarray:
    """Numbers with the ends of the range, 0, -1 and widths in all pairs.

    The least integer is left out: its magnitude overflows in the interpreter.
    """
    dtype = np.dtype(DTYPES[element])
    info = np.iinfo(dtype)
    some = [0, 1, -1, info.min + 1, info.max, 3, -7, info.bits, info.bits - 1, 5]
    grid = np.array(some, "i8")
    pairs = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)[:, seed]
    rest = np.random.default_rng(seed).integers(-9, 10, COUNT - len(pairs))
    return np.concatenate([pairs, rest]).astype(dtype)


@pytest.mark.parametrize("element", ["i8", "i16", "i32", "i64"])
def test_integer_arithmetic(element: str) -> None:
    lines = [(f"%r = arith.{op} %a, %b : {element}", element) for op in INTEGER_OPS]
    arrays = [special_integers(element, seed) for seed in (0, 1)]
    compare([element] * 2, arrays, lines)


def special_floats(element: str, seed: int) -> np.ndarray:
    some = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.5, 2.5, 1e-3])
    pairs = np.stack(np.meshgrid(some, some), -1).reshape(-1, 2)[:, seed]
    rest = np.random.default_rng(seed).standard_normal(COUNT - len(pairs)) * 3
    return np.concatenate([pairs, rest]).astype(DTYPES[element])


@pytest.mark.parametrize(
    ("element", "tolerance"), [("f32", 1e-6), ("f64", 1e-15), ("f16", 1e-3)]
)
def test_float_arithmetic(element: str, tolerance: float) -> None:
    lines = [(f"%r = arith.{op} %a, %b : {element}", element) for op in FLOAT_OPS]
    for word in ("olt", "oge", "une", "ord", "ueq"):
        lines.append((f"%r = arith.cmpf {word}, %a, %b : {element}", "i1"))
    arrays = [special_floats(element, seed) for seed in (0, 1)]
    compare([element] * 2, arrays, lines, tolerance)


def test_functions() -> None:
    lines = [(f"%r = math.{op} %a : f32", "f32") for op in MATH]
    x = np.concatenate([special_floats("f32", 0)[:9], np.linspace(-12, 12, COUNT - 9)])
    compare(["f32"], [x.astype("f4")], lines, 3e-6)


CASTS = (
    *(("truncf", "f32", "f16"), ("truncf", "f32", "bf16"), ("truncf", "f32", "f16")),
    *(("fptosi", "f32", "i32"), ("fptosi", "f32", "i8"), ("fptosi", "f32", "i64")),
    *(("extf", "f32", "f64"), ("fptoui", "f32", "i8"), ("fptoui", "f32", "i32")),
)


def test_casts_of_floats() -> None:
    x = np.nan_to_num(special_floats("f32", 0), posinf=70000.5, neginf=-70000.5)
    positive = [c for c in CASTS if c[0] != "fptoui"]
    lines = [(f"%r = arith.{op} %a : {a} to {b}", b) for op, a, b in positive]
    compare(["f32"], [x], lines)
    unsigned = [c for c in CASTS if c[0] == "fptoui"]
    lines = [(f"%r = arith.{op} %a : {a} to {b}", b) for op, a, b in unsigned]
    compare(["f32"], [np.abs(x) % 200], lines)


def test_casts_to_integers_saturate_and_nan_is_zero() -> None:
    x = np.resize(np.array([3e10, -3e10, np.nan, np.inf, -1.0], "f4"), COUNT)
    lines = [
        ("%r = arith.fptosi %a : f32 to i32", "i32"),
        ("%r = arith.fptosi %a : f32 to i64", "i64"),
        ("%r = arith.fptoui %a : f32 to i32", "i32"),
    ]
    empty = [np.zeros(COUNT, DTYPES[t]) for _, t in lines]
    narrow, wide, unsigned = Program(program(["f32"], lines, launch=True)).run(
        [x], empty
    )
    low, high = np.iinfo("i4").min, np.iinfo("i4").max
    assert narrow[:5].tolist() == [high, low, 0, high, -1]
    assert wide[:5].tolist() == [int(x[0]), int(x[1]), 0, np.iinfo("i8").max, -1]
    assert unsigned.view("u4")[:5].tolist() == [2**32 - 1, 0, 0, 2**32 - 1, 0]


def test_casts_of_narrow_types() -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(COUNT).astype(np.float16),
        (rng.standard_normal(COUNT) * 1e20).astype(ml_dtypes.bfloat16),
        rng.integers(-128, 128, COUNT).astype("i1"),
        rng.integers(0, 2, COUNT).astype("?"),
    ]
    lines = [
        ("%r = arith.extf %a : f16 to f32", "f32"),
        ("%r = arith.extf %b : bf16 to f32", "f32"),
        ("%r = arith.sitofp %c : i8 to f32", "f32"),
        ("%r = arith.uitofp %c : i8 to bf16", "bf16"),
        ("%r = arith.extsi %c : i8 to i64", "i64"),
        ("%r = arith.extui %d : i1 to i8", "i8"),
        ("%r = arith.uitofp %d : i1 to f16", "f16"),
    ]
    compare(["f16", "bf16", "i8", "i1"], arrays, lines)


@pytest.mark.parametrize(
    ("rounding", "division"),
    [
        ("math.roundeven %q : f32", "div.rn.f32"),
        ("math.floor %q : f32", "div.rn.f32"),
        ("arith.addf %q, %q : f32", "div.full.f32"),
    ],
)
def test_quotients_that_are_rounded_are_exact(rounding: str, division: str) -> None:
    """Two units in the last place of `div.full` can be a whole step."""
    line = f"%q = arith.divf %a, %b : f32\n    %r = {rounding}"
    ptx = Program(program(["f32", "f32"], [(line, "f32")], launch=True)).ptx
    assert set(re.findall(r"div\.\S+", ptx)) == {division}
    ties = np.arange(COUNT, dtype=np.float32) * np.float32(1.25)
    steps = np.full(COUNT, 2.5, np.float32)  # every other quotient is a half
    compare(["f32", "f32"], [ties, steps], [(line, "f32")])
