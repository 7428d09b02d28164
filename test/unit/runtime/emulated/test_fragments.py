"""wmma, and mma of doubles and of 4 bits, compiled by nvcc, against NumPy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

RANDOM = np.random.default_rng(23)


def launch(ptx: str, entry: str, a, b, shape, dtype):
    device = EmulatedDevice(check=True)
    pointers = [device.upload(a), device.upload(b)]
    out = device.upload(np.zeros(shape, dtype))
    device.load(ptx).launch(entry, grid=1, block=32, args=[*pointers, out])
    return device.download(out, shape, dtype)


@pytest.mark.parametrize(
    ("entry", "shape", "dtype", "result"),
    [
        ("wmma_half", (16, 16, 16), np.float16, "f4"),
        ("wmma_brain", (32, 8, 16), ml_dtypes.bfloat16, "f4"),
        ("wmma_bytes", (8, 32, 16), np.int8, "i4"),
        ("wmma_double", (8, 8, 4), np.float64, "f8"),
    ],
)
def test_wmma(corpus, entry, shape, dtype, result):
    m, n, k = shape
    a = RANDOM.integers(-9, 9, (m, k)).astype(dtype)
    b = RANDOM.integers(-9, 9, (n, k)).astype(dtype)
    got = launch(corpus("fragments"), entry, a, b, (m, n), result)
    right = (a.astype("f8") @ b.astype("f8").T + 1) * 2
    np.testing.assert_array_equal(got, right)


def test_mma_of_doubles(corpus):
    a, b = RANDOM.standard_normal((8, 4)), RANDOM.standard_normal((8, 4))
    got = launch(corpus("fragments"), "mma_double", a, b, (8, 8), "f8")
    np.testing.assert_allclose(got, a @ b.T, rtol=1e-14, atol=1e-15)


def test_mma_of_nibbles(corpus):
    a, b = RANDOM.integers(-8, 8, (8, 32)), RANDOM.integers(0, 16, (8, 32))
    words = [
        ((m & 15).reshape(8, 4, 8) << 4 * np.arange(8)).sum(axis=2).astype("u4")
        for m in (a, b)
    ]
    got = launch(corpus("fragments"), "mma_nibbles", *words, (8, 8), "i4")
    np.testing.assert_array_equal(got, a @ b.T)
