"""Matrices and asynchronous copies, compiled by nvcc, against NumPy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

RANDOM = np.random.default_rng(11)


def launch(ptx: str, entry: str, inputs, shape, dtype, block: int = 32):
    device = EmulatedDevice(check=True)
    pointers = [device.upload(one) for one in inputs]
    out = device.upload(np.zeros(shape, dtype))
    device.load(ptx).launch(entry, grid=1, block=block, args=[*pointers, out])
    return device.download(out, shape, dtype)


@pytest.mark.parametrize(
    ("entry", "dtype", "depth"),
    [
        ("mma_half", np.float16, 16),
        ("mma_brain", ml_dtypes.bfloat16, 16),
        ("mma_tf32", np.float32, 8),
        ("mma_bytes", np.int8, 32),
    ],
)
def test_mma(corpus, entry, dtype, depth):
    a = RANDOM.integers(-9, 9, (16, depth)).astype(dtype)
    b = RANDOM.integers(-9, 9, (8, depth)).astype(dtype)
    result = "i4" if dtype == np.int8 else "f4"
    got = launch(corpus("tensor_cores"), entry, (a, b), (16, 8), result)
    right = a.astype("f8") @ b.astype("f8").T
    np.testing.assert_array_equal(got, right)


def test_ldmatrix(corpus):
    a = np.arange(256).astype("f2")
    got = launch(corpus("tensor_cores"), "matrices", (a,), (2, 4, 32), "u4")
    plain, transposed = got.view("f2").reshape(2, 4, 8, 8)
    rows = a.reshape(4, 8, 8)
    np.testing.assert_array_equal(plain, rows)
    np.testing.assert_array_equal(transposed, rows.swapaxes(1, 2))


def test_copy_groups(corpus):
    a = RANDOM.integers(0, 999, 256).astype("i4")
    got = launch(corpus("tensor_cores"), "copy_groups", (a,), (128,), "i4", 128)
    right = a[:128][::-1] + 2 * a[128:][np.arange(128) ^ 1]
    np.testing.assert_array_equal(got, right)


def test_mbarrier_hand_over(corpus):
    a = RANDOM.integers(0, 999, 32).astype("i4")
    got = launch(corpus("tensor_cores"), "hand_over", (a,), (128,), "i4", 128)
    thread = np.arange(128)
    np.testing.assert_array_equal(got, a[thread % 32] * (thread // 32))
