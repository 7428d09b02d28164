"""Cooperative groups, CUB and libcu++, compiled by nvcc, against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

N, BLOCK = 256, 128
RANDOM = np.random.default_rng(3)
A, B = (RANDOM.integers(-(2**31), 2**31, N).astype("i4") for _ in range(2))


def blocks(values):
    return values.reshape(-1, BLOCK)


def running(values, width: int):
    """Sums from the start of each group of `width` to each value."""
    return np.cumsum(values.reshape(-1, width), axis=1).reshape(-1)


def reduced():
    sums = (A & 1023).reshape(-1, 8).sum(axis=1)
    return np.repeat(sums ^ B.reshape(-1, 8).max(axis=1), 8)


def scanned():
    return running(A & 255, 32) - (running(B & 15, 32) - (B & 15))


def labelled():
    warps = zip((A & 3).reshape(-1, 32), (B & 7).reshape(-1, 32), strict=True)
    alike = [(label == label[:, None], values) for label, values in warps]
    return np.concatenate([100 * s.sum(axis=1) + s @ values for s, values in alike])


def ordered():
    order = np.argsort(blocks(A), axis=1, kind="stable")
    keys, values = (np.take_along_axis(blocks(v), order, axis=1) for v in (A, B))
    return (keys ^ values).reshape(-1)


def handed_over():
    return (blocks(A)[:, ::-1] ^ blocks(B))[:, np.arange(BLOCK) ^ 64].reshape(-1)


def piped():
    total = np.zeros(N, "i8")
    for values in (A, B, A, B):
        total = total * 3 + values
    return total


def from_other_block():
    return blocks(A)[::-1].reshape(-1).astype("i8") + A + 1 + B


ON_PAIRS: dict[str, Callable] = {
    "cg_reduce": reduced,
    "cg_scan": scanned,
    "cg_labeled": labelled,
    "cub_scan": lambda: running(A & 1023, BLOCK) + B.astype("i8"),
    "cub_sort": ordered,
    "cuda_barrier": handed_over,
    "cuda_memcpy_async": lambda: blocks(A)[:, ::-1].reshape(-1).astype("i8") + B,
    "cuda_pipeline": piped,
    "grid_barrier": lambda: A[::-1].astype("i8") + B,
    "clusters": from_other_block,
}


def launched(ptx: str, entry: str, second, size: int):
    """The second array and the output after a launch of two blocks."""
    device = EmulatedDevice(check=True, limit=5_000_000)
    pointers = [device.upload(x) for x in (A, second, np.zeros(size, "i4"))]
    device.load(ptx).launch(entry, grid=2, block=BLOCK, args=pointers)
    return (
        device.download(pointers[1], second.shape, second.dtype),
        device.download(pointers[2], (size,), "i4"),
    )


@pytest.mark.parametrize("entry", ON_PAIRS)
def test_on_pairs(corpus, entry):
    _, got = launched(corpus("library"), entry, B, N)
    right = np.asarray(ON_PAIRS[entry](), "i8").astype("i4")
    np.testing.assert_array_equal(got, right)


def test_threads_that_come_together_share_an_atomic(corpus):
    count, got = launched(corpus("library"), "cg_coalesced", np.zeros(1, "i4"), N)
    odd = A[A & 1 == 1]
    assert count == odd.size
    np.testing.assert_array_equal(np.sort(got[: odd.size]), np.sort(odd))


def test_a_block_waits_for_a_message_of_another(corpus):
    _, got = launched(corpus("library"), "message", np.zeros(1, "i4"), 2)
    first = 2 * int(A[0])
    np.testing.assert_array_equal(got, np.array([first, first + 1]).astype("i4"))


def test_the_last_block_sums_what_all_have_left(corpus):
    _, got = launched(corpus("library"), "last_block", np.zeros(1, "u4"), 129)
    sums = blocks(A & 255).sum(axis=1)
    np.testing.assert_array_equal(got[[0, 1, 128]], [*sums, sums.sum()])
