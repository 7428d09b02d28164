"""Tensor copies by maps in kernel parameters, compiled by nvcc, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated import (
    EmulatedDevice,
    encode_im2col_map,
    encode_tensor_map,
)

MATRIX = np.random.default_rng(37).standard_normal((10, 12)).astype("f4")
IMAGES = np.arange(1, 2 * 5 * 6 * 4 + 1, dtype="f4").reshape(2, 5, 6, 4)


def padded_box(x: int, y: int):
    wide = np.pad(MATRIX, ((8, 8), (8, 8)))
    return wide[y + 8 : y + 12, x + 8 : x + 16]


@pytest.mark.parametrize(("x", "y"), [(0, 0), (4, 5), (-4, -3), (8, 8)])
def test_tile(corpus, x, y):
    device = EmulatedDevice(check=True)
    tensor = encode_tensor_map("float32", device.upload(MATRIX), [12, 10], [48], [8, 4])
    out = device.upload(np.zeros(32, "f4"))
    module = device.load(corpus("tensors"))
    module.launch("tile", grid=1, block=32, args=[tensor, x, y, out])
    got = device.download(out, (4, 8), "f4")
    np.testing.assert_array_equal(got, padded_box(x, y))


@pytest.mark.parametrize("tap", [(0, 0), (2, 1)])
def test_column(corpus, tap):
    s, r = tap
    device = EmulatedDevice(check=True)
    tensor = encode_im2col_map(
        *("float32", device.upload(IMAGES), [4, 6, 5, 2], [16, 96, 480]),
        *([-1, -1], [-1, -1], 4, 8),
    )
    out = device.upload(np.zeros(32, "f4"))
    module = device.load(corpus("tensors"))
    module.launch("column", grid=1, block=32, args=[tensor, 3, 3, 0, s, r, out])
    padded = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = padded[:, r : r + 5, s : s + 6].reshape(-1, 4)
    start = (3 + 1) * 6 + 3 + 1  # (h, w) = (3, 3) is row 4, column 4 of the outputs
    got = device.download(out, (8, 4), "f4")
    np.testing.assert_array_equal(got, windows[start : start + 8])


def test_store_leaves_out_what_is_outside(corpus):
    device = EmulatedDevice(check=True)
    matrix = device.upload(MATRIX)
    tensor = encode_tensor_map("float32", matrix, [12, 10], [48], [8, 4])
    given = np.arange(1, 33, dtype="f4")
    module = device.load(corpus("tensors"))
    args = [tensor, 8, 8, device.upload(given)]
    module.launch("stored", grid=1, block=32, args=args)
    right = MATRIX.copy()
    right[8:, 8:] = 2 * given.reshape(4, 8)[:2, :4]
    np.testing.assert_array_equal(device.download(matrix, (10, 12), "f4"), right)


def test_store_writes_the_last_chunk_of_a_row_whole(corpus):
    device = EmulatedDevice(check=True)
    matrix = device.upload(MATRIX)
    tensor = encode_tensor_map("float32", matrix, [9, 10], [48], [8, 4])
    given = np.arange(1, 33, dtype="f4")
    args = [tensor, 8, 0, device.upload(given)]
    device.load(corpus("tensors")).launch("stored", grid=1, block=32, args=args)
    right = MATRIX.copy()
    right[:4, 8:] = 2 * given.reshape(4, 8)[:, :4]  # not column 8 alone
    np.testing.assert_array_equal(device.download(matrix, (10, 12), "f4"), right)


@pytest.mark.parametrize(
    ("kernel", "x", "y", "message"),
    [
        ("tile", 3, 5, "start at a multiple of 16 bytes along its rows"),
        ("stored", 3, 5, "start at a multiple of 16 bytes along its rows"),
        ("stored", -4, 5, "coordinates of at least zero"),
        ("stored", 4, -1, "coordinates of at least zero"),
    ],
)
def test_places_that_the_hardware_refuses(corpus, kernel, x, y, message):
    device = EmulatedDevice(check=True)
    matrix = device.upload(MATRIX)
    tensor = encode_tensor_map("float32", matrix, [12, 10], [48], [8, 4])
    args = [tensor, x, y, device.upload(np.ones(32, "f4"))]
    with pytest.raises(DeviceError, match=message):
        device.load(corpus("tensors")).launch(kernel, grid=1, block=32, args=args)
