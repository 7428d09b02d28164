"""Calls, stack memory and printf, compiled by nvcc, against Python."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated import EmulatedDevice

N = 128
RANDOM = np.random.default_rng(5)
A = RANDOM.integers(0, 900_000, N).astype("i4")
B = RANDOM.integers(0, 1 << 20, N).astype("i4")


def run(ptx: str, entry: str, **options):
    device = EmulatedDevice(check=True, **options)
    a, b, out = device.upload(A), device.upload(B), device.upload(np.zeros(N, "i4"))
    device.load(ptx).launch(entry, grid=1, block=N, args=[a, b, out])
    return device.download(out, (N,), "i4")


def ackermann(m: int, n: int) -> int:
    if m == 0:
        return n + 1
    return ackermann(m - 1, 1 if n == 0 else ackermann(m, n - 1))


def on_stack(a: int, b: int) -> int:
    n = (a & 15) + 1
    values = [0] * n
    for k in range(n):
        values[(k * 17 + 3) % n] = b + k
    return sum(value * (k + 1) for k, value in enumerate(values))


def test_functions_by_pointer(corpus):
    x = B & 1023
    right = np.choose(A % 3, [2 * x, x * x, -x])
    np.testing.assert_array_equal(run(corpus("calls"), "pointers"), right)


def test_virtual_functions(corpus):
    x = B & 255
    right = np.where(B & 1, (A & 15) * x, (A & 31) * x // 2) + 1
    np.testing.assert_array_equal(run(corpus("calls"), "virtuals"), right)


def test_recursion_of_one_and_of_two_functions(corpus):
    right = [
        ackermann(int(a) & 1, int(b) & 3) + 100 * (a & 1 == 0)
        for a, b in zip(A, B, strict=True)
    ]
    np.testing.assert_array_equal(run(corpus("calls"), "recursion"), right)


def test_memory_from_the_stack(corpus):
    got = run(corpus("calls"), "stack")
    right = [on_stack(int(a), int(b)) for a, b in zip(A, B, strict=True)]
    np.testing.assert_array_equal(got, np.array(right, "i8").astype("i4"))


def test_one_access_in_several_state_spaces(corpus):
    i = np.arange(N)
    right = np.choose(i % 3, [A, B, B]) * 2 + (i % 3 == 0)
    np.testing.assert_array_equal(run(corpus("calls"), "spaces"), right)


def test_printf(corpus):
    lines: list[str] = []
    got = run(corpus("calls"), "print", sink=lines.append)
    expected = [
        f"{i}: {A[i] * 0.5:5.2f} [{'one' if i == 1 else 'no':<4}] {B[i]:x} "
        f"{chr(ord('a') + i)} {int(B[i]) << 33} 7%\n"
        for i in range(3)
    ]
    assert lines == expected
    np.testing.assert_array_equal(got, [7, 7, 7] + [0] * (N - 3))


def test_memory_from_the_heap(corpus):
    right = [
        sum(int(b) ^ k for k in range((int(a) & 7) + 1))
        for a, b in zip(A, B, strict=True)
    ]
    np.testing.assert_array_equal(run(corpus("calls"), "heap"), right)


def test_a_failed_assertion_says_which(corpus, monkeypatch):
    np.testing.assert_array_equal(run(corpus("calls"), "asserted"), np.ones(N))
    large = A.copy()
    large[77] = 1000000
    monkeypatch.setitem(globals(), "A", large)
    with pytest.raises(DeviceError, match=r"assertion failed: a\[i\] < 1000000"):
        run(corpus("calls"), "asserted")


NOWHERE = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k()
{
  .reg .b64 %f;
  mov.b64 %f, 12345;
  proto: .callprototype _ ();
  call %f, proto;
  ret;
}
"""


def test_a_call_to_nowhere_is_an_error():
    with pytest.raises(DeviceError, match="call of 0x3039, where no function is"):
        EmulatedDevice().load(NOWHERE).launch("k", grid=1, block=32)
