"""Parts of words, directed rounding, narrow floats: by nvcc, against NumPy."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

from stepwell.runtime.devices.emulated import EmulatedDevice

N = 256
RANDOM = np.random.default_rng(17)
WORDS = tuple(RANDOM.integers(0, 1 << 32, N, "u4") for _ in range(2))
DOUBLES = tuple(RANDOM.standard_normal(N) for _ in range(2))
LONGS = tuple(RANDOM.integers(-(2**63), 2**63 - 1, N, "i8") for _ in range(2))
FLOATS = tuple(RANDOM.standard_normal(N).astype("f4") * 200 for _ in range(2))


def run(ptx: str, entry: str, inputs, dtype):
    device = EmulatedDevice(check=True)
    pointers = [device.upload(one) for one in inputs]
    out = device.upload(np.zeros(N, dtype))
    device.load(ptx).launch(entry, grid=2, block=128, args=[*pointers, out])
    return device.download(out, (N,), dtype)


def split(words, kind: str):
    return words.view(kind).reshape(N, -1).astype("i8")


def joined(parts, kind: str):
    return parts.astype(kind).view("u4").reshape(N)


def clip(parts, kind: str):
    info = np.iinfo(kind)
    return joined(np.clip(parts, info.min, info.max), kind)


def test_halves(corpus):
    (a, b), (x, y) = (split(w, "u2") for w in WORDS), (split(w, "i2") for w in WORDS)
    least = joined(np.minimum(a, b), "u2") * np.uint32(3)
    right = joined(a + b, "u2") ^ joined(np.maximum(x, y), "i2") + least
    np.testing.assert_array_equal(run(corpus("parts"), "halves", WORDS, "u4"), right)


def test_bytes(corpus):
    a, b = (split(w, "u1") for w in WORDS)
    sums = joined(a + b, "u1") * np.uint32(3)
    right = joined(abs(a - b), "u1") + sums ^ joined(255 * (a > b), "u1")
    np.testing.assert_array_equal(run(corpus("parts"), "bytes", WORDS, "u4"), right)


def test_saturated(corpus):
    (x, y), (a, b) = (split(w, "i2") for w in WORDS), (split(w, "u1") for w in WORDS)
    right = clip(x + y, "i2") ^ clip(a - b, "u1")
    got = run(corpus("parts"), "saturated", WORDS, "u4")
    np.testing.assert_array_equal(got, right)


def test_sums(corpus):
    a, b = (split(w, "u1") for w in WORDS)
    pairs = split(WORDS[0], "u2")
    total = abs(a - b).sum(1) + (a * b).sum(1) + 5 + (pairs * b[:, :2]).sum(1) + 7
    got = run(corpus("parts"), "sums", WORDS, "u4")
    np.testing.assert_array_equal(got, total.astype("u4"))


def test_signed_dots(corpus):
    a, b = (split(w, "i1") for w in WORDS)
    pairs = split(WORDS[0], "i2")
    total = (a * b).sum(1) - 5 + (pairs * b[:, 2:]).sum(1) + 9
    got = run(corpus("parts"), "signed_dots", WORDS, "i4")
    np.testing.assert_array_equal(got, total.astype("i4"))


def test_three(corpus):
    a, b = (w.view("i4") for w in WORDS)
    most = np.maximum(np.maximum(a, b), a ^ b)
    with np.errstate(over="ignore"):
        right = most - np.maximum(np.minimum(a, b), 0)
        right = right + np.maximum((a >> 2) + (b >> 2), 77)
    np.testing.assert_array_equal(run(corpus("parts"), "three", (a, b), "i4"), right)


def nth_set(mask: int, base: int, n: int) -> int:
    if n == 0:
        return base if mask >> base & 1 else -1
    places = range(base, 32) if n > 0 else range(base, -1, -1)
    found = [place for place in places if mask >> place & 1]
    return found[abs(n) - 1] if len(found) >= abs(n) else -1


def test_nth(corpus):
    right = [
        nth_set(a, b & 31, (b >> 5 & 7) - 3)
        for a, b in zip(*(w.tolist() for w in WORDS), strict=True)
    ]
    got = run(corpus("parts"), "nth", WORDS, "u4")
    np.testing.assert_array_equal(got, np.array(right).astype("u4"))


def rounded(exact: Fraction, up: bool) -> float:
    near = float(exact)
    if up and near < exact:
        return math.nextafter(near, math.inf)
    if not up and near > exact:
        return math.nextafter(near, -math.inf)
    return near


def test_rounded(corpus):
    right: list[float] = []
    for x, y in zip(*(d.tolist() for d in DOUBLES), strict=True):
        a, b = Fraction(x), Fraction(y)
        cut = rounded(a + b, up=a + b < 0)
        product = rounded(a * b, up=True)
        fused = rounded(a * b + a, up=False)
        right.append(cut + product - fused + rounded(a / b, up=True))
    got = run(corpus("parts"), "rounded", DOUBLES, "f8")
    np.testing.assert_array_equal(got, right)


def to_single(value: int, up: bool):
    near = np.float32(value)
    exact = Fraction(float(near))
    if up and exact < value:
        return np.nextafter(near, np.float32(np.inf))
    if not up and abs(exact) > abs(value):
        return np.nextafter(near, np.float32(0))
    return near


def test_from_long(corpus):
    right = [
        to_single(a, False) + to_single(b % 2**64, True)
        for a, b in zip(*(w.tolist() for w in LONGS), strict=True)
    ]
    got = run(corpus("parts"), "from_long", LONGS, "f4")
    np.testing.assert_array_equal(got, right)


def fp8(values, kind, limit: float):
    return np.clip(values, -limit, limit).astype(kind).view("u1").astype("u4")


def test_narrow(corpus):
    a, b = FLOATS
    lower, upper = (fp8(v, ml_dtypes.float8_e4m3fn, 448) for v in (a, b))
    p = lower | upper << np.uint32(8)
    lower, upper = (fp8(v.astype("f2"), ml_dtypes.float8_e5m2, 57344) for v in (a, b))
    q = lower | upper << np.uint32(8)
    got = run(corpus("parts"), "narrow", FLOATS, "u4")
    np.testing.assert_array_equal(got, p | q << np.uint32(16))


def test_flushed(corpus):
    a, b = (v.astype("f2") / np.float16(100) for v in FLOATS)
    x, y = (
        np.maximum((v.astype("f8") * v - v).astype("f2"), np.float16(0)) for v in (a, b)
    )
    got = run(corpus("parts"), "flushed", (a, b), "f2")
    np.testing.assert_array_equal(got, x + y)
