"""Every 8-bit float, to half precision and back."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice

PTX = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 wide, .param .u64 back)
{
  .reg .b16 %h<4>;
  .reg .b32 %r<4>;
  .reg .f32 %f<4>;
  .reg .b64 %rd<10>;
  ld.param.u64 %rd1, [a];
  ld.param.u64 %rd2, [wide];
  ld.param.u64 %rd3, [back];
  mov.u32 %r1, %tid.x;
  mad.wide.u32 %rd4, %r1, 2, %rd1;
  mad.wide.u32 %rd5, %r1, 4, %rd2;
  mad.wide.u32 %rd6, %r1, 2, %rd3;
  ld.global.u16 %h1, [%rd4];
  cvt.rn.f16x2.KINDx2 %r2, %h1;
  st.global.u32 [%rd5], %r2;
  mov.b32 {%h2, %h3}, %r2;
  cvt.f32.f16 %f1, %h2;
  cvt.f32.f16 %f2, %h3;
  cvt.rn.satfinite.KINDx2.f32 %h1, %f2, %f1;
  st.global.u16 [%rd6], %h1;
  ret;
}
"""


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("e4m3", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2)],
)
def test_every_code(kind, dtype):
    codes = np.arange(256, dtype="u1")
    values = codes.view(dtype).astype("f2")
    device = EmulatedDevice(check=True)
    pointers = [device.upload(codes), device.upload(np.zeros(256, "f2"))]
    pointers.append(device.upload(np.zeros(256, "u1")))
    text = PTX.replace("KIND", kind)
    device.load(text).launch("k", grid=1, block=128, args=pointers)
    wide = device.download(pointers[1], (256,), "f2")
    np.testing.assert_array_equal(wide, values)
    back = device.download(pointers[2], (256,), "u1")
    finite = np.isfinite(values)
    np.testing.assert_array_equal(back[finite], codes[finite])
