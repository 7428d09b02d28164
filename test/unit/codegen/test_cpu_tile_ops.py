"""Every op of the upper half of `tile` on the CPU, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from cpu_programs import (
    DTYPES,
    FLOATS,
    INTEGERS,
    check,
    parse_func,
    random_array,
    run_tile_func,
    tile_program,
    unary_program,
)

from stepwell.codegen.scalars.minifloats import FORMATS
from stepwell.dialects.dtypes import numpy_dtype

ALL = tuple(DTYPES)
RNG = np.random.default_rng


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("shape", [(7,), (5, 16), (3, 1), (2, 3, 33), (40, 50), (1, 1)])
def test_copy_keeps_every_bit(dtype: str, shape: tuple[int, ...]) -> None:
    x = random_array(RNG(0), shape, dtype)
    y = np.zeros_like(x)
    kind = "".join(f"{n}x" for n in shape) + dtype
    text = tile_program(
        [(shape, dtype)],
        [(shape, dtype)],
        f"  %r0 = tile.map (%u = %a0) -> !tile.tile<{kind}> "
        f"{{ tile.yield %u : {dtype} }}",
    )
    _, got = check(text, [x, y])
    np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["addf", "subf", "mulf", "divf", "maximumf", "minnumf"])
def test_float_arithmetic(dtype: str, op: str) -> None:
    x, z = (random_array(RNG(s), (5, 37), dtype) for s in (1, 2))
    x[0, :3] = np.nan
    z[0, 2:5] = np.nan
    x[1, 0], z[1, 0] = np.inf, -np.inf
    text = tile_program(
        [((5, 37), dtype)] * 2,
        [((5, 37), dtype)],
        f"""  %r0 = tile.map (%u = %a0, %w = %a1) -> !tile.tile<5x37x{dtype}> {{
    %s = arith.{op} %u, %w : {dtype}
    tile.yield %s : {dtype}
  }}""",
    )
    check(text, [x, z, np.zeros_like(x)])


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    "op",
    [
        "addi",
        "subi",
        "muli",
        "divsi",
        "remsi",
        "divui",
        "remui",
        "floordivsi",
        "ceildivsi",
        "minsi",
        "maxui",
        "andi",
        "xori",
        "shli",
        "shrsi",
        "shrui",
    ],
)
def test_integer_arithmetic(dtype: str, op: str) -> None:
    x, z = (random_array(RNG(s), (3, 37), dtype) for s in (1, 2))
    z[1, :4] = 0
    check(_integer_program(op, dtype), [x, z, np.zeros_like(x)])


def _integer_program(op: str, dtype: str) -> str:
    return tile_program(
        [((3, 37), dtype)] * 2,
        [((3, 37), dtype)],
        f"""  %r0 = tile.map (%u = %a0, %w = %a1) -> !tile.tile<3x37x{dtype}> {{
    %s = arith.{op} %u, %w : {dtype}
    tile.yield %s : {dtype}
  }}""",
    )


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["divsi", "remsi", "floordivsi", "ceildivsi"])
def test_the_least_integer_by_minus_one_wraps(dtype: str, op: str) -> None:
    low = np.iinfo(DTYPES[dtype]).min
    x = np.full((3, 37), low, DTYPES[dtype])
    y = np.zeros_like(x)
    run_tile_func(parse_func(_integer_program(op, dtype)), [x, np.full_like(x, -1), y])
    assert (y == (0 if op == "remsi" else low)).all()


CASTS = [
    ("extf", "f16", "f32"),
    ("extf", "bf16", "f32"),
    ("extf", "f32", "f64"),
    ("truncf", "f32", "f16"),
    ("truncf", "f32", "bf16"),
    ("truncf", "f64", "f16"),
    ("truncf", "f64", "bf16"),
    ("truncf", "f64", "f32"),
    ("sitofp", "i32", "f32"),
    ("sitofp", "i64", "f64"),
    ("sitofp", "i8", "bf16"),
    ("uitofp", "i8", "f32"),
    ("uitofp", "i1", "f32"),
    ("fptosi", "f32", "i32"),
    ("fptosi", "f32", "i8"),
    ("fptosi", "f16", "i64"),
    ("fptoui", "f32", "i8"),
    ("extsi", "i8", "i32"),
    ("extui", "i8", "i64"),
    ("extui", "i1", "i32"),
    ("trunci", "i64", "i8"),
    ("trunci", "i32", "i1"),
]


@pytest.mark.parametrize(("op", "source", "result"), CASTS)
def test_casts(op: str, source: str, result: str) -> None:
    x = random_array(RNG(3), (70,), source)
    if source in FLOATS:
        x = (x.astype(np.float64) * 20).astype(DTYPES[source])
    if op == "fptoui":
        x = np.abs(x)
    text = unary_program(
        f"%s = arith.{op} %u : {source} to {result}", source, result, 70, 32
    )
    check(text, [x, np.zeros(70, DTYPES[result])], tolerance=0)


def test_rounding_to_16_bits_is_to_nearest_even_and_keeps_nan() -> None:
    bits = np.arange(0, 2**32, 65521, dtype=np.uint64).astype(np.uint32)
    special = np.array([0x7F800001, 0xFF800001, 0x7F7FFFFF, 0x3F808000, 0x3F818000])
    x = np.concatenate([bits, special.astype(np.uint32)]).view(np.float32)
    text = unary_program(
        "%s = arith.truncf %u : f32 to bf16", "f32", "bf16", x.size, 256
    )
    with np.errstate(all="ignore"):
        check(text, [x, np.zeros(x.size, DTYPES["bf16"])], tolerance=0)


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i8"])
@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
@pytest.mark.parametrize(
    ("shape", "dim"),
    [((7, 33), 1), ((7, 33), 0), ((3, 5, 100), 2), ((3, 5, 20), 1), ((50, 40), 1)],
)
def test_reduce(dtype: str, kind: str, shape: tuple[int, ...], dim: int) -> None:
    x = random_array(RNG(4), shape, dtype)
    if kind == "mul":
        x = np.sign(x)
    out = tuple(1 if d == dim else n for d, n in enumerate(shape))
    kinds = "".join(f"{n}x" for n in out) + dtype
    text = tile_program(
        [(shape, dtype)],
        [(out, dtype)],
        f"  %r0 = tile.reduce {kind} %a0 dim {dim} : !tile.tile<{kinds}>",
    )
    check(text, [x, np.zeros(out, DTYPES[dtype])], tolerance=2e-5)


@pytest.mark.parametrize("kind", ["max", "min"])
def test_reduce_propagates_nan(kind: str) -> None:
    x = random_array(RNG(5), (4, 50), "f32")
    x[1, 0] = x[2, 49] = np.nan
    text = tile_program(
        [((4, 50), "f32")],
        [((4, 1), "f32")],
        f"  %r0 = tile.reduce {kind} %a0 dim 1 : !tile.tile<4x1xf32>",
    )
    _, got = check(text, [x, np.zeros((4, 1), np.float32)])
    assert np.isnan(got[[1, 2]]).all() and not np.isnan(got[[0, 3]]).any()


@pytest.mark.parametrize("kind", ["or", "and", "max", "add"])
def test_reduce_of_booleans(kind: str) -> None:
    x = RNG(6).random((5, 20)) < 0.1
    text = tile_program(
        [((5, 20), "i1")],
        [((5, 1), "i1")],
        f"  %r0 = tile.reduce {kind} %a0 dim 1 : !tile.tile<5x1xi1>",
    )
    check(text, [x, np.zeros((5, 1), np.bool_)])


@pytest.mark.parametrize("dtype", ["f32", "i64", "f16"])
@pytest.mark.parametrize("flags", ["", " last"])
@pytest.mark.parametrize("kind", ["max", "min"])
def test_arg_reduce(dtype: str, flags: str, kind: str) -> None:
    x = np.round(random_array(RNG(7), (6, 40), dtype).astype(np.float32) * 2)
    x = x.astype(DTYPES[dtype])
    if dtype == "f32":
        x[2, 5] = x[2, 9] = np.nan
    text = tile_program(
        [((6, 40), dtype)],
        [((6, 1), dtype), ((6, 1), "i64")],
        f"  %r0, %r1 = tile.arg_reduce {kind} %a0 dim 1{flags} "
        f": !tile.tile<6x1x{dtype}>, !tile.tile<6x1xi64>",
    )
    check(text, [x, np.zeros((6, 1), DTYPES[dtype]), np.zeros((6, 1), np.int64)])


@pytest.mark.parametrize("flags", ["", " exclusive", " reverse", " exclusive reverse"])
@pytest.mark.parametrize(
    ("kind", "dtype"), [("add", "f32"), ("mul", "f64"), ("max", "i32")]
)
@pytest.mark.parametrize("dim", [0, 1])
def test_scan(flags: str, kind: str, dtype: str, dim: int) -> None:
    x = random_array(RNG(8), (9, 21), dtype)
    text = tile_program(
        [((9, 21), dtype)],
        [((9, 21), dtype)],
        f"  %r0 = tile.scan {kind} %a0 dim {dim}{flags} : !tile.tile<9x21x{dtype}>",
    )
    check(text, [x, np.zeros_like(x)], tolerance=1e-5)


@pytest.mark.parametrize("flags", ["", " descending"])
@pytest.mark.parametrize("dtype", ["f32", "i32", "i8"])
@pytest.mark.parametrize(("shape", "dim"), [((3, 33), 1), ((8, 5), 0), ((1, 64), 1)])
def test_sort_is_stable_and_puts_nan_last(
    flags: str, dtype: str, shape: tuple[int, ...], dim: int
) -> None:
    x = np.round(random_array(RNG(9), shape, dtype).astype(np.float32) * 2)
    x = x.astype(DTYPES[dtype])
    if dtype == "f32":
        x[0, 1] = x[0, 3] = np.nan
    tags = np.arange(x.size, dtype=np.int64).reshape(shape)
    kind = "".join(f"{n}x" for n in shape)
    text = tile_program(
        [(shape, dtype), (shape, "i64")],
        [(shape, dtype), (shape, "i64")],
        f"  %r0, %r1 = tile.sort %a0, %a1 dim {dim}{flags} "
        f": !tile.tile<{kind}{dtype}>, !tile.tile<{kind}i64>",
    )
    check(text, [x, tags, np.zeros_like(x), np.zeros_like(tags)])


@pytest.mark.parametrize("through_map", [False, True])
@pytest.mark.parametrize(
    ("shape", "perm"),
    [((5, 33), (1, 0)), ((3, 4, 20), (2, 0, 1)), ((2, 17, 16), (0, 2, 1))],
)
def test_transpose(
    shape: tuple[int, ...], perm: tuple[int, ...], through_map: bool
) -> None:
    x = random_array(RNG(10), shape, "f32")
    out = tuple(shape[p] for p in perm)
    a, r = ("".join(f"{n}x" for n in s) + "f32" for s in (shape, out))
    body, name = "", "%a0"
    if through_map:
        body = f"""  %m = tile.map (%u = %a0) -> !tile.tile<{a}> {{
    %s = arith.negf %u : f32
    tile.yield %s : f32
  }}
"""
        name = "%m"
    body += f"  %r0 = tile.transpose {name} {list(perm)} : !tile.tile<{r}>"
    text = tile_program([(shape, "f32")], [(out, "f32")], body)
    check(text, [x, np.zeros(out, np.float32)])


@pytest.mark.parametrize(
    ("shape", "out"),
    [((6, 32), (2, 3, 32)), ((6, 32), (192,)), ((5, 7), (35,)), ((35,), (7, 5))],
)
def test_reshape(shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    x = random_array(RNG(11), shape, "f32")
    kind = "".join(f"{n}x" for n in out) + "f32"
    text = tile_program(
        [(shape, "f32")],
        [(out, "f32")],
        f"  %r0 = tile.reshape %a0 : !tile.tile<{kind}>",
    )
    check(text, [x, np.zeros(out, np.float32)])


@pytest.mark.parametrize(
    ("offsets", "out"),
    [((1, 0), (3, 40)), ((0, 16), (5, 16)), ((2, 39), (1, 1)), ((0, 3), (5, 9))],
)
def test_extract(offsets: tuple[int, ...], out: tuple[int, ...]) -> None:
    x = random_array(RNG(12), (5, 40), "f32")
    kind = "".join(f"{n}x" for n in out) + "f32"
    text = tile_program(
        [((5, 40), "f32")],
        [(out, "f32")],
        f"  %r0 = tile.extract %a0 {list(offsets)} : !tile.tile<{kind}>",
    )
    check(text, [x, np.zeros(out, np.float32)])


@pytest.mark.parametrize("dtype", ["index", "i64", "i32"])
@pytest.mark.parametrize("dim", [0, 1])
def test_iota(dtype: str, dim: int) -> None:
    cast = "" if dtype == "i64" else f"arith.index_cast %u : {dtype} to i64"
    cast = "arith.extsi %u : i32 to i64" if dtype == "i32" else cast
    body = f"  %n = tile.iota dim {dim} : !tile.tile<3x40x{dtype}>\n"
    body += "  %r0 = tile.map (%u = %n) -> !tile.tile<3x40xi64> {\n"
    body += f"    %s = {cast}\n" if cast else ""
    body += f"    tile.yield {'%s' if cast else '%u'} : i64\n  }}"
    text = tile_program([], [((3, 40), "i64")], body)
    check(text, [np.zeros((3, 40), np.int64)])


@pytest.mark.parametrize("shape", [(1, 40), (6, 1), (1, 1)])
def test_broadcast(shape: tuple[int, ...]) -> None:
    x = random_array(RNG(13), shape, "f32")
    text = tile_program(
        [(shape, "f32")],
        [((6, 40), "f32")],
        "  %r0 = tile.broadcast %a0 : !tile.tile<6x40xf32>",
    )
    check(text, [x, np.zeros((6, 40), np.float32)])


DOTS = [
    ("f32", "f32", 14, 32, 40),
    ("f32", "f32", 5, 1, 20),
    ("f32", "f32", 1, 64, 64),
    ("f32", "f32", 33, 100, 17),
    ("f64", "f64", 6, 24, 9),
    ("f16", "f32", 7, 32, 16),
    ("bf16", "f32", 7, 20, 16),
    ("i8", "i32", 9, 48, 33),
    ("i32", "i32", 4, 16, 8),
    ("i64", "i64", 4, 16, 8),
]


@pytest.mark.parametrize(("dtype", "acc", "m", "n", "k"), DOTS)
def test_dot(dtype: str, acc: str, m: int, n: int, k: int) -> None:
    rng = RNG(14)
    a, w = random_array(rng, (m, k), dtype), random_array(rng, (k, n), dtype)
    c = random_array(rng, (m, n), acc)
    text = tile_program(
        [((m, k), dtype), ((k, n), dtype), ((m, n), acc)],
        [((m, n), acc)],
        f"  %r0 = tile.dot %a0, %a1, %a2 : !tile.tile<{m}x{n}x{acc}>",
    )
    check(text, [a, w, c, np.zeros((m, n), DTYPES[acc])], tolerance=2e-5)


@pytest.mark.parametrize("flags", ["", " lhs_unsigned", " lhs_unsigned rhs_unsigned"])
def test_dot_of_bytes_reads_the_signs_it_is_told(flags: str) -> None:
    rng = RNG(15)
    a = rng.integers(-128, 128, (6, 24)).astype(np.int8)
    w = rng.integers(-128, 128, (24, 32)).astype(np.int8)
    text = tile_program(
        [((6, 24), "i8"), ((24, 32), "i8")],
        [((6, 32), "i32")],
        "  %z = tile.full 0 : !tile.tile<6x32xi32>\n"
        f"  %r0 = tile.dot %a0, %a1, %z{flags} : !tile.tile<6x32xi32>",
    )
    check(text, [a, w, np.zeros((6, 32), np.int32)])


def test_batched_dot_of_transposed_operand() -> None:
    rng = RNG(16)
    q, k = random_array(rng, (2, 9, 24), "f32"), random_array(rng, (2, 20, 24), "f32")
    text = tile_program(
        [((2, 9, 24), "f32"), ((2, 20, 24), "f32")],
        [((2, 9, 20), "f32")],
        "  %t = tile.transpose %a1 [0, 2, 1] : !tile.tile<2x24x20xf32>\n"
        "  %z = tile.full 0.0 : !tile.tile<2x9x20xf32>\n"
        "  %r0 = tile.dot %a0, %t, %z : !tile.tile<2x9x20xf32>",
    )
    check(text, [q, k, np.zeros((2, 9, 20), np.float32)], tolerance=1e-5)


@pytest.mark.parametrize("dtype", ["f32", "i64", "bf16"])
@pytest.mark.parametrize("kind", ["add", "max", "mul"])
def test_stores_that_meet_accumulate(dtype: str, kind: str) -> None:
    """Cells add rows into one; lanes of a scatter meet in one element."""
    rng = RNG(17)
    x = np.round(random_array(rng, (6, 40), dtype).astype(np.float32))
    x = x.astype(DTYPES[dtype])
    at = rng.integers(0, 7, (6, 40)).astype(np.int64)
    text = f"""
tile.func @f(%x: !tile.view<6x40x{dtype}>, %at: !tile.view<6x40xi64>,
    %row: !tile.view<40x{dtype}>, %y: !tile.view<7x{dtype}>) grid (%i = 6) {{
  %yv = tile.access %y indices(%at) map<(i, j) -> [at$0] with [at$0 = 0[i, j]]>
    : !tile.view<6x40x{dtype}>
  %rv = tile.access %row map<(i, j) -> [j]> : !tile.view<6x40x{dtype}>
  %a = tile.load %x[%i, 0] over [0, 1] : !tile.tile<1x40x{dtype}>
  tile.store %a, %rv[%i, 0] over [0, 1] accumulate {kind}
  tile.store %a, %yv[%i, 0] over [0, 1] accumulate {kind}
  tile.return
}}"""
    start = np.ones(40, DTYPES[dtype]), np.ones(7, DTYPES[dtype])
    check(text, [x, at, *start])


NARROW = [
    "f8E4M3FN",
    "f8E4M3FNUZ",
    "f8E5M2",
    "f8E5M2FNUZ",
    "f8E4M3B11FNUZ",
    "f8E4M3",
    "f4E2M1FN",
]


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_floats_round_and_decode_as_ml_dtypes_does(dtype: str) -> None:
    kind = numpy_dtype(next(t for t in FORMATS if str(t) == dtype))
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(all="ignore"):
        x = np.concatenate([halves, halves * np.float32(1.0009766)])
    text = unary_program(
        f"%s = arith.truncf %u : f32 to {dtype}", "f32", dtype, x.size, 256
    )
    got = np.zeros(x.size, kind)
    run_tile_func(parse_func(text), [x, got])
    with np.errstate(all="ignore"):
        want = x.astype(kind)
    differ = got.view(np.uint8) != want.view(np.uint8)
    differ &= ~(np.isnan(got.astype(np.float32)) & np.isnan(want.astype(np.float32)))
    assert not differ.any(), (x[differ][:4], got[differ][:4], want[differ][:4])
    codes = np.arange(16 if "f4" in dtype else 256, dtype=np.uint8).view(kind)
    text = unary_program(
        f"%s = arith.extf %u : {dtype} to f32", dtype, "f32", codes.size, 16
    )
    wide = np.zeros(codes.size, np.float32)
    run_tile_func(parse_func(text), [codes, wide])
    np.testing.assert_array_equal(wide, codes.astype(np.float32))


@pytest.mark.parametrize("dtype", ["i4", "i2"])
def test_narrow_integers_wrap(dtype: str) -> None:
    kind = numpy_dtype(
        parse_func(
            unary_program(f"%s = arith.addi %u, %u : {dtype}", dtype, dtype, 4, 4)
        )
        .body.block.arg_types[0]
        .element_type
    )
    codes = np.arange(16 if dtype == "i4" else 4).astype(np.int8)
    x = codes.astype(kind)
    text = unary_program(
        f"%s = arith.extsi %u : {dtype} to i32", dtype, "i32", x.size, 16
    )
    got = np.zeros(x.size, np.int32)
    run_tile_func(parse_func(text), [x, got])
    np.testing.assert_array_equal(got, x.astype(np.int32))


@pytest.mark.parametrize("dtype", ["i32", "i64"])
def test_integer_powers(dtype: str) -> None:
    x, n = np.meshgrid(np.arange(-5, 6), np.arange(-3, 9))
    x, n = (v.reshape(1, -1).astype(DTYPES[dtype]) for v in (x, n))
    kind = f"1x{x.size}x{dtype}"
    text = tile_program(
        [(x.shape, dtype)] * 2,
        [(x.shape, dtype)],
        f"""  %r0 = tile.map (%u = %a0, %w = %a1) -> !tile.tile<{kind}> {{
    %s = math.ipowi %u, %w : {dtype}
    tile.yield %s : {dtype}
  }}""",
    )
    y = np.zeros_like(x)
    run_tile_func(parse_func(text), [x, n, y])
    up = n >= 0
    np.testing.assert_array_equal(y[up], x[up] ** n[up])
    np.testing.assert_array_equal(y[~up & (abs(x) > 1)], 0)
    minus = ~up & (x == -1)
    np.testing.assert_array_equal(y[minus], np.where(n[minus] % 2, -1, 1))


@pytest.mark.parametrize("acc", ["f16", "bf16"])
def test_dot_into_a_narrow_accumulator_is_rounded(acc: str) -> None:
    rng = RNG(18)
    a, w = random_array(rng, (5, 24), acc), random_array(rng, (24, 32), acc)
    text = tile_program(
        [((5, 24), acc), ((24, 32), acc)],
        [((5, 32), acc)],
        f"  %z = tile.full 0.0 : !tile.tile<5x32x{acc}>\n"
        f"  %r0 = tile.dot %a0, %a1, %z : !tile.tile<5x32x{acc}>",
    )
    check(text, [a, w, np.zeros((5, 32), DTYPES[acc])])
