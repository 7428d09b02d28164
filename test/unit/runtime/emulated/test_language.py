"""Ordinary CUDA C++, also without optimisation (nvcc -G), against Python and NumPy."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated import EmulatedDevice

N, BLOCK = 256, 128
RANDOM = np.random.default_rng(3)
A, B = (RANDOM.integers(-(2**31), 2**31, N).astype("i4") for _ in range(2))
WIDE_A, WIDE_B = (RANDOM.integers(-(2**63), 2**63, N, "i8") for _ in range(2))
WIDE_B[::3] >>= 40
REAL_A, REAL_B = (RANDOM.standard_normal(N) for _ in range(2))
MASK = (1 << 64) - 1


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def each(function: Callable[..., int], bits: int, *arrays):
    """A function of Python's integers on every element, wrapped."""
    values = zip(*(array.tolist() for array in arrays), strict=True)
    return np.array([signed(function(*one), bits) for one in values], f"i{bits // 8}")


def quotient(a: int, b: int) -> int:
    size = abs(a) // abs(b)
    return size if (a < 0) == (b < 0) else -size


def longs(a: int, b: int) -> int:
    small, wide_a, wide_b = (b & 0xFFFF) | 1, a & MASK, b & MASK
    total = quotient(a, b | 1) + a - quotient(a, small) * small
    total += wide_a // (wide_b | 1) + (a * b >> 64) + (wide_a * wide_b >> 64)
    total += (a << (b & 63)) + (a >> (b & 63)) + wide_a.bit_count()
    total += 64 - wide_b.bit_length() + signed(int(f"{wide_a:064b}"[::-1], 2), 64)
    return total + (wide_b & -wide_b).bit_length()


def wides(a: int, b: int) -> int:
    a, b = a & MASK, b & MASK
    x = a * b
    y, z = x // ((b >> 3) | 1), x % ((a >> 5) | 1)
    shifted = signed(a, 64) * signed(b, 64) >> (b & 127)
    return (y >> 64) ^ y ^ z ^ shifted ^ (x > y) ^ (x >> (a & 127))


def parts(word: int, bits: int, is_signed: bool) -> list[int]:
    values = [word >> start & ((1 << bits) - 1) for start in range(0, 32, bits)]
    return [signed(v, bits) for v in values] if is_signed else values


def packed(values, bits: int) -> int:
    return sum((v & ((1 << bits) - 1)) << bits * i for i, v in enumerate(values))


def dots(a: int, b: int) -> int:
    wide_a, wide_b = a & 0xFFFFFFFF, b & 0xFFFFFFFF
    both = wide_b << 32 | wide_a

    def both_parts(bits: int, is_signed: bool) -> list[tuple[int, int]]:
        each_part = (parts(word, bits, is_signed) for word in (wide_a, wide_b))
        return list(zip(*each_part, strict=True))

    signed_pairs, pairs = both_parts(8, True), both_parts(8, False)
    halves, octets = parts(wide_a, 16, True), parts(wide_b, 8, True)
    half_pairs = both_parts(16, True)
    s = sum(x * y for x, y in signed_pairs) + 7
    s += halves[0] * (octets[0] + octets[2]) + halves[1] * (octets[1] + octets[3]) + 3
    terms = [
        s & 0xFFFFFFFF,
        sum(x * y for x, y in pairs) + 3,
        packed([both >> 8 * k for k in (0, 4, 1, 5)], 8),
        both << (b & 31) >> 32,
        both >> min(wide_a & 63, 32),
        packed([x + y for x, y in pairs], 8),
        packed([abs(x - y) for x, y in pairs], 8),
        packed([max(pair) for pair in half_pairs], 16),
        sum(abs(x - y) for x, y in pairs),
        abs(a - b) + 5,
        a * b >> 32,
        signed(a, 24) * signed(b, 24),
        (a + b + 1) >> 1,
        packed([-(x > y) for x, y in half_pairs], 16),
        max(0, (a >> 2) + (b >> 2), 3),
        packed([min(half_pairs[0] + (99,)), min(half_pairs[1] + (0,))], 16),
    ]
    total = 0
    for term in terms:
        total ^= term
    return total


def machine(a: int, b: int) -> int:
    value, step = b, 0
    while step < 12:
        code = (a >> step) & 15
        value = signed(
            [
                *(value + 7, value ^ 0x55, value * 3, -value, value >> 1, value << 2),
                *(value | 1, value & 0xFFFF, value - step, ~value, value + a, value),
                *(value ^ step, value + 1, value + 1, value + 1),
            ][code],
            32,
        )
        step += 1 + (code == 11)
    return value


def sorts(a: int, b: int) -> int:
    total = 0
    for value in sorted((a >> k) ^ (b >> 2 * k) & 1023 for k in range(9)):
        total = total * 31 + value
    return total


def bitfields(a: int, b: int) -> int:
    a &= 0xFFFFFFFF
    x, y = (a + b) & 31, (a >> 5) - 3 & 2047
    return x | y << 5 | (a >> 16 ^ x * 7) << 16


def timed(a: int, b: int) -> int:
    for _ in range(10):
        a = a * 3 + b
    return a


def warps():
    found: list[int] = []
    for a, b in zip(A.reshape(-1, 32), B.reshape(-1, 32), strict=True):
        alike = bool((b >> 31 == b[0] >> 31).all())
        for lane in range(32):
            same = a & 3 == a[lane] & 3
            moved = int(a[lane - 3 if lane >= 3 else lane])
            total = int((b[same] & 15).sum()) + 100 * int(same[:lane].sum())
            found.append(total + 10001 * alike + (moved ^ int(b[lane ^ 5])))
    return np.array(found, "i8").astype("i4")


def constants():
    weights, taps = np.arange(1, 17), (1, -2, 3, -4, 5)
    counts = 3 + (A & 1)
    sums = sum((k < counts) * weights[A + k & 15] * taps[k] for k in range(4))
    return (0.5 * sums).astype("f4")


def early():
    a, b = A.reshape(-1, BLOCK), B.reshape(-1, BLOCK)
    found = np.zeros(a.shape, "i8")
    found[:, :96] = a[:, 95::-1] + (b[:, :96] & 1).sum(axis=1, keepdims=True)
    return found.reshape(-1).astype("i4")


def dynamics():
    a, b = A.reshape(-1, BLOCK).astype("i8"), (B & 1023).reshape(-1, BLOCK)
    return (a[:, ::-1] + b[:, np.arange(BLOCK) ^ 1]).reshape(-1).astype("i4")


def ring():
    first = np.repeat(A[::BLOCK] | 1, BLOCK).astype("i8")
    return (first + 2 * (np.arange(N) % BLOCK // 32)).astype("i4")


INTEGERS: dict[str, Callable] = {
    "constants": constants,
    "dynamics": dynamics,
    "sorts": lambda: each(sorts, 32, A, B),
    "machine": lambda: each(machine, 32, A, B),
    "warps": warps,
    "timed": lambda: each(timed, 32, A, B),
    "longs": lambda: each(longs, 64, WIDE_A, WIDE_B),
    "wides": lambda: each(wides, 64, WIDE_A, WIDE_B),
    "dots": lambda: each(dots, 32, A, B),
    "bitfields": lambda: each(bitfields, 32, A, B),
    "early_sync": early,
    "ring": ring,
    "trapped": lambda: A,
}


def launched(ptx: str, entry: str, inputs, dtype, **options):
    device = EmulatedDevice(check=True, limit=5_000_000)
    out = device.upload(np.zeros(N, dtype))
    pointers = [device.upload(x) for x in inputs]
    shape = {"grid": 2, "block": BLOCK} | options
    device.load(ptx).launch(entry, args=[*pointers, out], **shape)
    return device.download(out, (N,), dtype)


@pytest.mark.parametrize("entry", INTEGERS)
def test_exact(corpus, entry):
    right = INTEGERS[entry]()
    inputs = (WIDE_A, WIDE_B) if right.dtype == np.int64 else (A, B)
    shared = 8 * BLOCK if entry == "dynamics" else 0
    got = launched(corpus("language"), entry, inputs, right.dtype, shared=shared)
    np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize("entry", ["sorts", "machine", "warps"])
def test_without_optimisation(corpus, entry):
    got = launched(corpus("debugged"), entry, (A, B), "i4")
    np.testing.assert_array_equal(got, INTEGERS[entry]())


def test_a_trap_that_is_met(corpus, monkeypatch):
    monkeypatch.setitem(globals(), "A", A.copy())
    A[200] = -12345
    with pytest.raises(DeviceError, match="executed trap") as caught:
        launched(corpus("language"), "trapped", (A, B), "i4")
    assert "block (1, 0, 0), thread (72, 0, 0)" in str(caught.value)


def test_doubles_whose_argument_is_reduced(corpus):
    got = launched(corpus("language"), "reduced", (REAL_A, REAL_B), "f8")
    right = np.sin(REAL_A * 1e9) + np.tan(REAL_B * 1e5)
    np.testing.assert_allclose(got, right, rtol=1e-12)


def test_pairs_of_halves(corpus):
    a, b = REAL_A.astype("f2"), REAL_B.astype("f2")
    got = launched(corpus("language"), "half2s", (a, b), "f2", grid=1)
    x = (a.astype("f8") * b + 0.5).astype("f2")
    powers = np.exp((a * np.float16(0.25)).astype("f8")).astype("f2")
    x = np.maximum(x + powers, -b).reshape(-1, 2)
    less = (a < b)[::2, None]
    right = np.where(less, x, x[:, ::-1]).reshape(-1)
    np.testing.assert_allclose(got.astype("f8"), right.astype("f8"), rtol=2e-3)


def test_numbers_of_eight_bits(corpus):
    a, b = REAL_A.astype("f4"), REAL_B.astype("f4")
    got = launched(corpus("language"), "eights", (a, b), "u4")
    x, y = a.astype(ml_dtypes.float8_e4m3fn), (b * 100).astype(ml_dtypes.float8_e5m2)
    z = x.astype("f4") + y.astype("f4")
    four = np.stack([a, b, z, -z], axis=1).clip(-448, 448)
    words = four.astype(ml_dtypes.float8_e4m3fn).view("u4")[:, 0]
    right = x.view("u1") | (y.view("u1").astype("u4") << 8 ^ words)
    np.testing.assert_array_equal(got, right)


def test_structs_in_memory_and_as_parameters(corpus):
    kind = np.dtype(
        {
            "names": ["p", "m", "tag"],
            "formats": [("f4", 3), "f8", "i1"],
            "offsets": [0, 16, 24],
            "itemsize": 32,
        }
    )
    given = np.zeros(N, kind)
    given["p"] = RANDOM.integers(-9, 9, (N, 3))
    given["m"], given["tag"] = REAL_A, A & 127
    device = EmulatedDevice(check=True)
    pointers = [device.upload(x.view("u1")) for x in (given, np.zeros(N, kind))]
    matrix = np.arange(16, dtype="f4").tobytes()
    device.load(corpus("language")).launch(
        "particles", grid=2, block=BLOCK, args=[pointers[0], 200, pointers[1], matrix]
    )
    got = device.download(pointers[1], (32 * N,), "u1").view(kind)
    right = given.copy()
    right["p"][:, 0] = given["p"] @ [0, 1, 2]
    right["m"] *= 2
    right["tag"] ^= 32
    for name in kind.names or ():
        np.testing.assert_array_equal(got[name][:200], right[name][:200])
        assert not got[name][200:].any()


def test_a_grid_of_two_dimensions(corpus):
    device = EmulatedDevice(check=True)
    out = device.upload(np.zeros((32, 32), "i4"))
    device.load(corpus("debugged")).launch(
        "mandelbrot", grid=(2, 4), block=(16, 8), args=[out, 32, 0.08]
    )
    step = np.float64(np.float32(0.08))
    x, y = np.meshgrid(np.arange(32), np.arange(32))
    c, z, count = x * step - 2 + 1j * (y * step - 1.25), 0j, np.zeros((32, 32), "i4")
    inside = np.ones((32, 32), bool)
    for _ in range(40):
        inside &= np.abs(z) < 2
        z, count = np.where(inside, z * z + c, z), count + inside
    assert (device.download(out, (32, 32), "i4") != count).mean() < 0.01


def test_a_tile_with_a_rim(corpus):
    x = RANDOM.integers(0, 99, (32, 32)).astype("f4")
    device = EmulatedDevice(check=True)
    given, out = device.upload(x), device.upload(np.zeros_like(x))
    device.load(corpus("debugged")).launch(
        "stencil", grid=(2, 2), block=(16, 16), args=[given, out, 32]
    )
    p = np.pad(x, 1)
    right = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * x
    np.testing.assert_array_equal(device.download(out, (32, 32), "f4"), right)
