"""Conversions to and from narrow floats, against a search of all their numbers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

N = 1024
TYPES = {
    "e4m3x2": (ml_dtypes.float8_e4m3fn, 256, 8),
    "e5m2x2": (ml_dtypes.float8_e5m2, 256, 8),
    "e2m3x2": (ml_dtypes.float6_e2m3fn, 64, 8),
    "e3m2x2": (ml_dtypes.float6_e3m2fn, 64, 8),
    "e2m1x2": (ml_dtypes.float4_e2m1fn, 16, 4),
}
KERNEL = """
.version 8.7
.target sm_100a
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 out, .param .u64 back)
{
  .reg .b8 %q;
  .reg .b16 %h;
  .reg .b32 %i, %w;
  .reg .f32 %x, %y;
  .reg .b64 %p;
  mov.u32 %i, %tid.x;
  ld.param.u64 %p, [a];
  mad.wide.u32 %p, %i, 4, %p;
  ld.global.f32 %x, [%p];
  ld.param.u64 %p, [b];
  mad.wide.u32 %p, %i, 4, %p;
  ld.global.f32 %y, [%p];
  cvt.rn.satfinite.TYPE.f32 %TO, %x, %y;
  cvt.rn.f16x2.TYPE %w, %TO;
  MOVE
  ld.param.u64 %p, [out];
  mad.wide.u32 %p, %i, 2, %p;
  st.global.b16 [%p], %h;
  ld.param.u64 %p, [back];
  mad.wide.u32 %p, %i, 4, %p;
  st.global.b32 [%p], %w;
  ret;
}
"""


def nearest(values, codes, numbers):
    """The code of the number next to each value; ties to the even code."""
    gap = np.abs(values[:, None] - numbers)
    best = gap.min(axis=1, keepdims=True)
    even = np.where(gap == best, codes & 1, 2)
    return codes[even.argmin(axis=1)]


@pytest.mark.parametrize("name", TYPES)
def test_to_the_nearest_and_back(name):
    kind, count, bits = TYPES[name]
    codes = np.arange(count, dtype="u1")
    numbers = codes.view(kind).astype("f8")
    codes, numbers = codes[np.isfinite(numbers)], numbers[np.isfinite(numbers)]
    random = np.random.default_rng(2)
    largest = numbers.max()
    halfway = (np.sort(numbers)[1:] + np.sort(numbers)[:-1]) / 2
    drawn = random.uniform(-1.2 * largest, 1.2 * largest, 2 * N)
    values = np.concatenate([numbers, halfway, drawn])[: 2 * N].astype("f4")
    a, b = values.reshape(2, N)
    register = "q" if bits == 4 else "h"
    text = KERNEL.replace("TYPE", name).replace("%TO", f"%{register}")
    text = text.replace("MOVE", "cvt.u16.u8 %h, %q;" if bits == 4 else "")
    device = EmulatedDevice()
    pointers = [device.upload(one) for one in (a, b)]
    out = device.upload(np.zeros(N, "u2"))
    back = device.upload(np.zeros((N, 2), "f2"))
    device.load(text).launch("k", grid=1, block=N, args=[*pointers, out, back])
    got = device.download(out, (N,), "u2")
    upper, lower = (got >> bits & (1 << bits) - 1), got & (1 << bits) - 1
    for value, code, half in ((a, upper, 1), (b, lower, 0)):
        right = nearest(value.astype("f8"), codes, numbers)
        found = code.astype("u1").view(kind).astype("f8")
        np.testing.assert_array_equal(found, right.view(kind).astype("f8"))
        np.testing.assert_array_equal(
            device.download(back, (N, 2), "f2")[:, half], found
        )


EXPONENTS = KERNEL.replace(
    "cvt.rn.satfinite.TYPE.f32 %TO", "cvt.MODE.satfinite.ue8m0x2.f32 %h"
)
EXPONENTS = EXPONENTS.replace(
    "cvt.rn.f16x2.TYPE %w, %TO", "cvt.rn.bf16x2.ue8m0x2 %w, %h"
)


@pytest.mark.parametrize("mode", ["rz", "rp"])
def test_exponents_alone(mode):
    random = np.random.default_rng(3)
    values = np.exp2(random.uniform(-120, 120, 2 * N)).astype("f4")
    values[::5] = np.exp2(np.floor(np.log2(values[::5])))
    a, b = values.reshape(2, N)
    device = EmulatedDevice()
    pointers = [device.upload(one) for one in (a, b)]
    out = device.upload(np.zeros(N, "u2"))
    back = device.upload(np.zeros((N, 2), ml_dtypes.bfloat16))
    text = EXPONENTS.replace("MODE", mode).replace("MOVE", "")
    device.load(text).launch("k", grid=1, block=N, args=[*pointers, out, back])
    whole = np.floor if mode == "rz" else np.ceil
    right = np.exp2(whole(np.log2(np.stack([b, a], 1).astype("f8"))))
    got = device.download(back, (N, 2), ml_dtypes.bfloat16)
    np.testing.assert_array_equal(got.astype("f8"), right)
