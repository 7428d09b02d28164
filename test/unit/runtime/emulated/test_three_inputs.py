"""min and max of three floats, which chips after Hopper have."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

KERNEL = """.version 8.7
.target sm_100a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{
  .reg .b32 %i;
  .reg .f32 %a, %b, %c, %d;
  .reg .b64 %p;
  mov.u32 %i, %tid.x;
  ld.param.u64 %p, [in];
  mad.wide.u32 %p, %i, 12, %p;
  ld.global.f32 %a, [%p];
  ld.global.f32 %b, [%p+4];
  ld.global.f32 %c, [%p+8];
  OPCODE %d, %a, %b, %c;
  ld.param.u64 %p, [out];
  mad.wide.u32 %p, %i, 4, %p;
  st.global.f32 [%p], %d;
  ret;
}
"""
RANDOM = np.random.default_rng(31)
GIVEN = RANDOM.standard_normal((256, 3)).astype("f4")
GIVEN[::7, 1] = np.nan
GIVEN[::9, 2] = -0.0


@pytest.mark.parametrize(
    ("opcode", "function"),
    [
        ("max.f32", np.fmax.reduce),
        ("min.f32", np.fmin.reduce),
        ("max.NaN.f32", np.maximum.reduce),
        ("min.NaN.f32", np.minimum.reduce),
    ],
)
def test_three_inputs(opcode, function):
    device = EmulatedDevice(check=True)
    given, out = device.upload(GIVEN), device.upload(np.zeros(256, "f4"))
    module = device.load(KERNEL.replace("OPCODE", opcode))
    module.launch("k", grid=1, block=256, args=[given, out])
    got = device.download(out, (256,), "f4")
    np.testing.assert_array_equal(got, function(GIVEN, axis=1))


def test_products_of_signs():
    opcode = "max.xorsign.abs.f32"
    device = EmulatedDevice()
    given, out = device.upload(GIVEN), device.upload(np.zeros(256, "f4"))
    module = device.load(KERNEL.replace("OPCODE", opcode))
    module.launch("k", grid=1, block=256, args=[given, out])
    got = device.download(out, (256,), "f4")
    size = np.fmax.reduce(np.abs(GIVEN), axis=1)
    sign = np.logical_xor.reduce(np.signbit(GIVEN), axis=1)
    np.testing.assert_array_equal(got, np.where(sign, -size, size))
