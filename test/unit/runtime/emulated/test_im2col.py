"""Tensor copies in im2col mode, against windows cut out of a padded image."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.errors import DeviceError, OptionError
from stepwell.runtime.devices.emulated import (
    EmulatedDevice,
    encode_im2col_map,
    encode_tensor_map,
)

LOAD = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .align 64 .b8 map[128], .param .u64 out, .param .u32 w,
                  .param .u32 h, .param .u32 n, .param .u16 ow, .param .u16 oh)
{
  .reg .pred %p<3>;
  .reg .b16 %h<3>;
  .reg .b32 %r<9>;
  .reg .b64 %rd<5>;
  .shared .align 128 .b32 s[PIXELS * 4];
  .shared .align 8 .b64 bar;
  ld.param.u64 %rd1, [out];
  ld.param.u32 %r1, [w];
  ld.param.u32 %r2, [h];
  ld.param.u32 %r3, [n];
  ld.param.u16 %h1, [ow];
  ld.param.u16 %h2, [oh];
  mov.b64 %rd2, map;
  cvta.param.u64 %rd2, %rd2;
  mov.u32 %r4, %tid.x;
  setp.ne.u32 %p1, %r4, 0;
  @%p1 bra ready;
  mbarrier.init.shared.b64 [bar], 1;
  mbarrier.arrive.expect_tx.shared.b64 _, [bar], BYTES;
  COPY
ready:
  bar.sync 0;
again:
  mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
  @!%p2 bra again;
  mov.u32 %r6, s;
  shl.b32 %r5, %r4, 2;
next:
  setp.ge.u32 %p1, %r5, BYTES;
  @%p1 ret;
  add.u32 %r7, %r6, %r5;
  ld.shared.u32 %r8, [%r7];
  cvt.u64.u32 %rd3, %r5;
  add.u64 %rd4, %rd1, %rd3;
  st.global.u32 [%rd4], %r8;
  add.u32 %r5, %r5, 128;
  bra next;
}
"""
COLUMN = """cp.async.bulk.tensor.4d.shared::cluster.global.im2col
    .mbarrier::complete_tx::bytes
    [s], [%rd2, {4, %r1, %r2, %r3}], [bar], {%h1, %h2};""".replace("\n    .", ".")
TILE = """cp.async.bulk.tensor.4d.shared::cluster.global.tile
    .mbarrier::complete_tx::bytes [s], [%rd2, {0, %r1, %r2, %r3}], [bar];""".replace(
    "\n    .", "."
)
IMAGE = np.arange(1, 2 * 5 * 7 * 12 + 1, dtype="i4").reshape(2, 5, 7, 12)


def load(tensor_of, copy: str, pixels: int, *numbers: int):
    device = EmulatedDevice(check=True)
    pointer = device.upload(IMAGE)
    out = device.upload(np.zeros((pixels, 4), "i4"))
    text = LOAD.replace("COPY", copy).replace("PIXELS * 4", str(4 * pixels))
    module = device.load(text.replace("BYTES", str(16 * pixels)))
    module.launch("k", grid=1, block=32, args=[tensor_of(pointer), out, *numbers])
    return device.download(out, (pixels, 4), "i4")


def columns(lower, upper, pixels, steps=(1, 1)):
    def tensor(pointer: int) -> bytes:
        return encode_im2col_map(
            "int32",
            pointer,
            [12, 7, 5, 2],
            [48, 48 * 7, 48 * 35],
            lower,
            upper,
            4,
            pixels,
            element_strides=(1, *steps, 1),
        )

    return tensor


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("pad", [0, 1, 2])
def test_columns_are_windows_of_the_padded_image(stride, dilation, pad):
    """Row m of the copy for tap (r, s) is what output pixel m multiplies with it."""
    sw, sh = stride
    reach = 2 * dilation
    p, q = (5 + 2 * pad - reach - 1) // sh + 1, (7 + 2 * pad - reach - 1) // sw + 1
    if p < 1 or q < 1:
        pytest.skip("the filter is larger than the image")
    padded = np.pad(IMAGE, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    pixels = 2 * p * q
    upper = [(q - 1) * sw - pad - 6, (p - 1) * sh - pad - 4]
    tensor = columns([-pad, -pad], upper, min(pixels + 3, 64), stride)
    for r, s in ((0, 0), (1, 2), (2, 1)):
        y, x = r * dilation, s * dilation
        window = padded[:, y : y + (p - 1) * sh + 1 : sh, x : x + (q - 1) * sw + 1 : sw]
        right = np.zeros((min(pixels + 3, 64), 4), "i4")  # three lie behind the batch
        right[:pixels] = window[..., 4:8].reshape(pixels, 4)[: len(right)]
        got = load(tensor, COLUMN, len(right), -pad, -pad, 0, x, y)
        np.testing.assert_array_equal(got, right)


def test_start_in_the_middle_of_a_row():
    whole = load(columns([-1, -1], [-1, -1], 60), COLUMN, 60, -1, -1, 0, 1, 2)
    part = load(columns([-1, -1], [-1, -1], 20), COLUMN, 20, 2, 1, 0, 1, 2)
    start = 2 * 7 + 3
    np.testing.assert_array_equal(part, whole[start : start + 20])


@pytest.mark.parametrize("at", [(-2, 0), (6, 0), (0, 4)])
def test_start_outside_the_box_is_an_error(at):
    tensor = columns([-1, -1], [-1, -1], 4)
    with pytest.raises(DeviceError, match="outside its bounding box"):
        load(tensor, COLUMN, 4, *at, 0, 0, 0)


def test_mode_of_the_map_must_be_that_of_the_copy():
    with pytest.raises(DeviceError, match="expected a tensor map of tile mode"):
        load(columns([0, 0], [0, 0], 4), TILE, 4, 0, 0, 0, 0, 0)


def test_strided_box():
    def tensor(pointer: int) -> bytes:
        strides = [48, 48 * 7, 48 * 35]
        return encode_tensor_map(
            *("int32", pointer, [12, 7, 5, 2], strides, [4, 5, 4, 1]),
            element_strides=[1, 2, 3, 1],
        )

    got = load(tensor, TILE, 6, 1, -1, 1, 0, 0)
    right = np.zeros((2, 3, 4), "i4")
    right[1] = IMAGE[1, 2, 1:6:2, :4]
    np.testing.assert_array_equal(got.reshape(2, 3, 4), right)


def test_corners_have_limits():
    with pytest.raises(OptionError, match="expected corners from -128 to 127"):
        columns([-129, 0], [0, 0], 4)(512)
    with pytest.raises(OptionError, match="a float type to fill with NaN"):
        encode_tensor_map("int32", 0, [4], [], [4], oob_fill="nan")
