"""Threads that work together, compiled by nvcc, against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

T = 128
A = np.random.default_rng(3).integers(0, 1000, T).astype("i4")
LANE = np.arange(T) % 32
WARP = np.arange(T) // 32 * 32
ZERO = np.zeros(T, "i4")
ODD = A & 1


def source(lane, inside):
    return A[WARP + np.where(inside, lane, LANE)]


def shuffles():
    half = LANE // 16 * 16
    return (
        source(LANE - 3, LANE >= 3)
        + 2 * source(LANE + 5, LANE + 5 < 32)
        + 3 * A[WARP + half + np.arange(T) * 7 % 16]
        + 5 * A[WARP + (LANE ^ 9)]
    )


def by_warp(function: Callable):
    return np.repeat([function(row) for row in A.reshape(4, 32)], 32)


def regroup():
    return np.where(ODD, 3 * A, [climb(v) for v in A.tolist()])[np.arange(T) ^ 1]


def climb(v: int) -> int:
    k = 0
    while k < (v & 7):
        v, k = v + k, k + 1
    return v


def scalars(**values: int):
    out = ZERO.copy()
    out[: len(values)] = list(values.values())
    return out


def incremented(start: int) -> int:
    for _ in range(T):
        start = 0 if start >= 50 else start + 1
    return start


START = scalars(most=5, least=500, ored=0, xored=77, anded=-1, counted=7)
CASES: dict[str, tuple[np.ndarray, Callable]] = {
    "reverse": (ZERO, lambda: A[::-1]),
    "scan": (ZERO, lambda: np.cumsum(A)),
    "histogram": (ZERO, lambda: np.bincount(A & 15, minlength=T)),
    "atomics": (
        START,
        lambda: scalars(
            most=max(5, A.max()),
            least=min(500, A.min()),
            ored=np.bitwise_or.reduce(A),
            xored=77 ^ np.bitwise_xor.reduce(A),
            anded=np.bitwise_and.reduce(A | 0xFF),
            counted=incremented(7),
        ),
    ),
    "swap_in": (ZERO, lambda: scalars(total=int(A.sum()))),
    "shuffles": (ZERO, shuffles),
    "votes": (
        ZERO,
        lambda: by_warp(lambda r: (r & 1).sum() + 100 * (r == 7).any() + 1000),
    ),
    "matches": (ZERO, lambda: by_lane_matches()),
    "reductions": (
        ZERO,
        lambda: by_warp(
            lambda r: r.sum() + r.max() - r.min() + np.bitwise_xor.reduce(r)
        ),
    ),
    "half_warps": (
        ZERO,
        lambda: np.where(LANE & 16, A[np.arange(T) ^ 1], -A[np.arange(T) ^ 2]),
    ),
    "regroup": (ZERO, regroup),
    "count": (
        ZERO,
        lambda: ZERO + ODD.sum() + 1000 * (A == 3).any() + 2000 * (A < 10).all(),
    ),
}


def by_lane_matches():
    rows = (A & 7).reshape(4, 32)
    return (rows[:, :, None] == rows[:, None, :]).sum(axis=2).reshape(-1)


@pytest.mark.parametrize("entry", CASES)
def test_cooperation(corpus, entry):
    start, expected = CASES[entry]
    device = EmulatedDevice(check=True)
    module = device.load(corpus("cooperation"))
    a, out = device.upload(A), device.upload(start)
    module.launch(entry, grid=1, block=T, args=[a, out], shared=4 * T)
    np.testing.assert_array_equal(device.download(out, (T,), "i4"), expected())


def test_add_floats(corpus):
    a = A.astype("f4")
    device = EmulatedDevice(check=True)
    out = device.upload(np.zeros(4, "f4"))
    module = device.load(corpus("cooperation"))
    module.launch("add_floats", grid=1, block=T, args=[device.upload(a), out])
    got = device.download(out, (4,), "f4")
    np.testing.assert_array_equal(got, a.reshape(-1, 4).sum(axis=0))


def test_transpose(corpus):
    a = A.astype("f4")
    device = EmulatedDevice(check=True)
    out = device.upload(np.zeros(T, "f4"))
    module = device.load(corpus("cooperation"))
    module.launch("transpose", grid=1, block=(16, 8), args=[device.upload(a), out])
    got = device.download(out, (16, 8), "f4")
    np.testing.assert_array_equal(got, a.reshape(8, 16).T)
