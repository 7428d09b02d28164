"""Kernels compiled by nvcc, against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

N = 256
BF16 = np.dtype(ml_dtypes.bfloat16)
RANDOM = np.random.default_rng(7)


def integers(dtype: str, low: int | None = None, high: int | None = None):
    info = np.iinfo(dtype)
    low = info.min if low is None else low
    high = info.max if high is None else high
    return RANDOM.integers(low, high, N, dtype=dtype, endpoint=True)


def nonzero(values):
    return np.where(values == 0, values.dtype.type(3), values)


I32 = (integers("i4"), nonzero(integers("i4", -5000, 5000)))
U32 = (integers("u4"), nonzero(integers("u4", 0, 9000)))
SMALL = (integers("i4", 0, 1 << 20), integers("i4", 0, 1 << 20))
F32 = tuple(RANDOM.standard_normal(N).astype("f4") * 4 for _ in range(2))
F64 = tuple(RANDOM.standard_normal(N) for _ in range(2))
F16 = tuple(RANDOM.standard_normal(N).astype("f2") for _ in range(2))
BRAIN = tuple(RANDOM.standard_normal(N).astype(BF16) for _ in range(2))
WEIRD = (
    np.resize(np.array([1, np.nan, -np.inf, 0.5, 2], "f4"), N),
    np.resize(np.array([np.inf, 1, 0, np.nan, -3, 2, -np.inf], "f4"), N),
)


def c_divide(a, b):
    return np.trunc(a.astype("f8") / b).astype("i8")


def c_remainder(a, b):
    return (a.astype("i8") - c_divide(a, b) * b).astype("i8")


def logical_shift(a, by):
    return (a.view("u4") >> by.astype("u4")).view("i4")


def leading_zeros(a):
    return np.array([32 - int(v).bit_length() for v in a.view("u4")])


def find_first(a):
    return np.array([(int(v) & -int(v)).bit_length() for v in a.view("u4")])


def reversed_bits(a):
    return np.array([int(f"{int(v):032b}"[::-1], 2) for v in a.view("u4")], "u4")


def permuted(a, b):
    both = [(int(y) << 32) | int(x) for x, y in zip(a, b, strict=True)]
    picked = [[v >> 8 * k & 255 for k in (5, 1, 7, 2)] for v in both]
    return np.array(picked, "u1").view("u4")[:, 0]


def wide_sum(a, b):
    words = [int(x) * int(y) + int(x) for x, y in zip(a, b, strict=True)]
    return np.array([(w >> 64) ^ (w & (1 << 64) - 1) for w in words], "u8")


def wide(a, b):
    pairs = [(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    return np.array([x * y + int_quotient(x << 20, y | 1) for x, y in pairs], "i8")


def int_quotient(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def high(a, b):
    signed = (a.astype("i8") * b) >> 32
    unsigned = (a.view("u4").astype("u8") * b.view("u4")) >> np.uint64(32)
    return signed.astype("i4") ^ unsigned.astype("u4").view("i4")


INTEGERS: dict[str, tuple[tuple, str, Callable]] = {
    "wrap": (I32, "i4", lambda a, b: a * b + (a - b)),
    "divide": (I32, "i4", lambda a, b: c_divide(a, b) * 7 + c_remainder(a, b)),
    "unsigned_divide": (U32, "u4", lambda a, b: a // b ^ a % b),
    "high": (I32, "i4", high),
    "wide": (I32, "i8", wide),
    "shifts": (
        I32,
        "i4",
        lambda a, b: a << (b & 31) ^ a >> (b & 15) ^ logical_shift(a, b & 7),
    ),
    "bits": (
        I32,
        "i4",
        lambda a, b: (
            (
                np.bitwise_count(a.view("u4"))
                + 100 * leading_zeros(b)
                + 10000 * find_first(a)
            ).astype("u4")
            ^ reversed_bits(b)
        ),
    ),
    "bytes": (U32, "u4", permuted),
    "extremes": (
        I32,
        "i4",
        lambda a, b: np.maximum(a, b) - np.minimum(a >> 1, b >> 1) + np.abs(a >> 2),
    ),
    "logic": (I32, "i4", lambda a, b: (a & ~b) | (b ^ (a >> 3)) & ~(a | 0xFF)),
    "narrow": (
        (integers("i1"), integers("u2")),
        "i2",
        lambda a, b: a.astype("i4") * b + (a > 3),
    ),
    "compare": (
        I32,
        "i4",
        lambda a, b: (a < b) + 2 * (a.view("u4") < b.view("u4")) + 4 * (a == b),
    ),
    "wide128": ((integers("u8"), integers("u8")), "u8", wide_sum),
}


def toward_zero(exact, dtype):
    near = exact.astype(dtype)
    low = np.nextafter(near, dtype.type(0))
    return np.where(np.abs(near.astype("f8")) > np.abs(exact), low, near)


def upward(exact, dtype):
    near = exact.astype(dtype)
    up = np.nextafter(near, dtype.type(np.inf))
    return np.where(near.astype("f8") < exact, up, near)


def erf(values):
    return np.array([math.erf(v) for v in values])


def fused(a, b, c):
    """a b + c in the type of a: exact in double for singles and halves."""
    return (a.astype("f8") * b.astype("f8") + c.astype("f8")).astype(a.dtype)


def clamped(values, dtype):
    info = np.iinfo(dtype)
    return np.clip(values.astype("f8"), info.min, info.max).astype(dtype)


def narrowing(a, b):
    return a.astype("f2") + toward_zero(b.astype("f8"), np.dtype("f2"))


F, D, H = np.dtype("f4"), np.dtype("f8"), np.dtype("f2")
FLOATS: dict[str, tuple[tuple, object, Callable, float]] = {
    "polynomial": (F32, F, lambda a, b: fused(a, b, a) - b / a, 0),
    "directed": (
        F32,
        F,
        lambda a, b: toward_zero(a.astype("f8") + b, F) + upward(a.astype("f8") * b, F),
        0,
    ),
    "doubles": (
        F64,
        D,
        lambda a, b: (a * b + 1) / (abs(b) + 1) + np.sqrt(abs(a)),
        1e-15,
    ),
    "elementary": (
        F32,
        F,
        lambda a, b: (
            np.exp(a.astype("f8"))
            + np.log(abs(b.astype("f8")) + 1)
            + np.tanh(a.astype("f8"))
            + 1 / np.sqrt(abs(b.astype("f8")) + 1)
        ),
        1e-6,
    ),
    "fast": (
        F32,
        F,
        lambda a, b: np.exp(a.astype("f8")) + np.sin(b.astype("f8")) + a / b,
        1e-5,
    ),
    "error_function": (
        F32,
        F,
        lambda a, b: 0.5 * a * (1 + erf(b.astype("f8") * 0.70710678)),
        2e-6,
    ),
    "extremes": (
        F32,
        F,
        lambda a, b: (
            np.maximum(a, b)
            - np.minimum(a, F.type(0.5))
            + np.floor(b)
            + np.trunc(a)
            + np.rint(b)
            + np.ceil(a)
        ),
        0,
    ),
    "to_int": (
        F32,
        "i4",
        lambda a, b: np.trunc(a) + 3 * np.rint(b) + 5 * np.floor(a) + 7 * np.ceil(b),
        0,
    ),
    "to_unsigned": (
        F32,
        "u4",
        lambda a, b: (
            clamped(np.trunc(a * F.type(1e9)), "u4") ^ b.astype("i4").astype("u1")
        ),
        0,
    ),
    "from_int": (
        I32,
        F,
        lambda a, b: a.astype("f4") + toward_zero(b.astype("f8"), F),
        0,
    ),
    "halves": (
        F16,
        H,
        lambda a, b: fused(a, b, a) + a * b,
        0,
    ),
    "half_pairs": (F16, H, lambda a, b: np.maximum(a + b, a * b), 0),
    "brain": (
        BRAIN,
        BF16,
        lambda a, b: (a.astype("f4") * b.astype("f4")).astype(BF16),
        0,
    ),
    "narrowing": (F32, H, narrowing, 0),
    "special": (
        WEIRD,
        "i4",
        lambda a, b: np.isnan(a) + 2 * np.isinf(b) + 4 * (a < b) + 8 * ~(a >= b),
        0,
    ),
}


def loop(a, b):
    def one(x: int, y: int) -> int:
        total = 0
        for k in range(x & 31):
            if k == y & 15:
                continue
            total += k * y
            if total > 100000:
                break
        return total

    return [one(int(x), int(y)) for x, y in zip(a, b, strict=True)]


def choose(a, b):
    forms = [
        b * 3,
        c_divide(b, np.int32(3)),
        b ^ 77,
        1 << (b & 7),
        c_remainder(b, np.int32(9)),
        ~b,
        b - 1000,
        0 * b,
    ]
    return np.choose(a & 7, [np.asarray(f, "i4") for f in forms])


def collatz(n: int) -> int:
    count = 0
    while n != 1 and count < 200:
        n, count = (3 * n + 1 if n & 1 else n >> 1), count + 1
    return count


def steps(a, b):
    return [
        collatz((int(x) & 255) + 1) if x & 1 else collatz((int(y) & 127) + 2) + 1000
        for x, y in zip(a, b, strict=True)
    ]


def local(a, b):
    def one(x: int, y: int) -> int:
        array = [0] * 16
        for k in range(16):
            array[(k * 5 + x) & 15] = k * y
        return array[y & 15] + array[(x + 1) & 15]

    return [one(int(x), int(y)) for x, y in zip(a, b, strict=True)]


TABLE = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3])
COUNTER = np.array([10, 20, 30, 40])
CONTROL: dict[str, tuple[str, Callable]] = {
    "diverge": (
        "i4",
        lambda a, b: np.where(a > b, np.where(a & 1, a - b, a + b), -b),
    ),
    "loop": ("i4", loop),
    "choose": ("i4", choose),
    "steps": ("i4", steps),
    "structs": ("i4", lambda a, b: (2 * a) * 3 + 2 * b),
    "mixed": (
        "f4",
        lambda a, b: (a & 1023) * 2.0 + (b & 1023) / 4 - (a & 63),
    ),
    "local": ("i4", local),
    "lookup": ("i4", lambda a, b: TABLE[a & 15] * COUNTER[b & 3]),
    "early": ("i4", lambda a, b: np.where(a & 1, 0, b)),
}


def run_elementwise(ptx: str, entry: str, inputs, dtype, threads: int = N):
    device = EmulatedDevice(check=True)
    module = device.load(ptx)
    pointers = [device.upload(one) for one in inputs]
    out = device.upload(np.zeros(N, dtype))
    block = min(threads, 128)
    module.launch(entry, grid=threads // block, block=block, args=[*pointers, out])
    return device.download(out, (N,), dtype)


@pytest.mark.parametrize("entry", INTEGERS)
def test_integers(corpus, entry):
    inputs, dtype, expected = INTEGERS[entry]
    got = run_elementwise(corpus("integers"), entry, inputs, dtype)
    with np.errstate(over="ignore"):
        right = np.asarray(expected(*inputs)).astype(dtype)
    np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("entry", FLOATS)
def test_floats(corpus, entry):
    inputs, dtype, expected, bound = FLOATS[entry]
    threads = N // 2 if entry == "half_pairs" else N
    got = run_elementwise(corpus("floats"), entry, inputs, dtype, threads)
    right = np.asarray(expected(*inputs))
    if bound:
        np.testing.assert_allclose(got, right, rtol=bound, atol=bound)
    else:
        np.testing.assert_array_equal(got, right.astype(dtype))


@pytest.mark.parametrize("entry", CONTROL)
def test_control(corpus, entry):
    dtype, expected = CONTROL[entry]
    got = run_elementwise(corpus("control"), entry, SMALL, dtype)
    np.testing.assert_array_equal(got, np.asarray(expected(*SMALL)).astype(dtype))


def test_vectors(corpus):
    a, b = integers("i4", -999, 999).reshape(-1, 4), integers("i4", -9, 9)
    b = b[: 2 * len(a)].reshape(-1, 2)
    got = run_elementwise(corpus("control"), "vectors", (a, b), "i4", len(a))
    (x, y, z, w), (u, v) = a.T, b.T
    right = np.stack([w + u, z - v, y * u, x ^ v], axis=1)
    np.testing.assert_array_equal(got, right.reshape(-1))
