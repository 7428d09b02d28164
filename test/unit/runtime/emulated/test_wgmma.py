"""wgmma with its left operand in registers and a transposed right one."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice
from stepwell.runtime.devices.emulated.checker import Race

PTX = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 out)
{
  .reg .b32 %r<16>;
  .reg .f32 %f<8>;
  .reg .b64 %rd<16>;
  .shared .align 128 .b16 s[128];
  ld.param.u64 %rd1, [a];
  ld.param.u64 %rd2, [b];
  ld.param.u64 %rd3, [out];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd4, %r1, 16;
  add.u64 %rd5, %rd1, %rd4;
  ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd5];
  mul.wide.u32 %rd6, %r1, 2;
  add.u64 %rd7, %rd2, %rd6;
  ld.global.u16 %r6, [%rd7];
  mov.u32 %r7, s;
  shl.b32 %r8, %r1, 1;
  add.u32 %r8, %r8, %r7;
  st.shared.u16 [%r8], %r6;
  fence.proxy.async;
  bar.sync 0;
  cvt.u64.u32 %rd8, %r7;
  shr.u64 %rd8, %rd8, 4;
  or.b64 %rd8, %rd8, DESCRIPTOR;
  mov.f32 %f1, 0f3f800000;
  mov.f32 %f2, 0f3f800000;
  mov.f32 %f3, 0f3f800000;
  mov.f32 %f4, 0f3f800000;
  wgmma.fence.sync.aligned;
  wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1, %f2, %f3, %f4},
    {%r2, %r3, %r4, %r5}, %rd8, 1, 1, -1, TRANSPOSED;
  wgmma.commit_group.sync.aligned;
  WAIT
  add.u64 %rd9, %rd3, %rd4;
  st.global.v4.f32 [%rd9], {%f1, %f2, %f3, %f4};
  ret;
}
"""
WAIT = "wgmma.wait_group.sync.aligned 0;"


def fragments(matrix: np.ndarray) -> np.ndarray:
    """Four registers of pairs for each thread, of a 64 x 16 matrix."""
    out = np.zeros((128, 4, 2), "f2")
    for thread in range(128):
        row, column = thread // 32 * 16 + thread % 32 // 4, thread % 4 * 2
        for register, (down, right) in enumerate([(0, 0), (8, 0), (0, 8), (8, 8)]):
            at = column + right
            out[thread, register] = matrix[row + down, at : at + 2]
    return out


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("waits", [True, False])
def test_registers_times_shared(transposed, waits):
    random = np.random.default_rng(2)
    a = random.integers(-4, 5, (64, 16)).astype("f2")
    b = random.integers(-4, 5, (16, 8)).astype("f2")
    # Two core matrices of eight rows of 16 bytes, 128 bytes apart along K.
    image = b if transposed else b.T.reshape(8, 2, 8).swapaxes(0, 1)
    descriptor = (128 >> 4) << 16 | (256 >> 4) << 32
    text = PTX.replace("DESCRIPTOR", str(descriptor))
    text = text.replace("TRANSPOSED", str(transposed))
    text = text.replace("WAIT", WAIT if waits else "")
    device = EmulatedDevice(check=waits)
    inputs = [device.upload(fragments(a)), device.upload(np.ascontiguousarray(image))]
    out = device.upload(np.zeros((128, 4), "f4"))
    device.load(text).launch("k", grid=1, block=128, args=[*inputs, out])
    got = device.download(out, (4, 8, 4, 2, 2), "f4")
    # [warp, group, member, half, pair] to rows and columns
    matrix = got.transpose(0, 3, 1, 2, 4).reshape(64, 8)
    right = 1 - a.astype("f4") @ b.astype("f4") if waits else np.ones((64, 8))
    np.testing.assert_array_equal(matrix, right)


def launch(text: str) -> None:
    """The kernel on a valid left operand in registers and a K-major right one."""
    descriptor = (128 >> 4) << 16 | (256 >> 4) << 32
    text = text.replace("DESCRIPTOR", str(descriptor)).replace("TRANSPOSED", "0")
    device = EmulatedDevice(check=True)
    inputs = [
        device.upload(np.ones((128, 4, 2), "f2")),
        device.upload(np.ones((2, 8, 8), "f2")),
    ]
    out = device.upload(np.zeros((128, 4), "f4"))
    device.load(text.replace("WAIT", WAIT)).launch(
        "k", grid=1, block=128, args=[*inputs, out]
    )


FENCE = "  wgmma.fence.sync.aligned;\n"
BUGS = {
    "no wgmma.fence": (FENCE, "", "without wgmma.fence"),
    "a register that is written behind the fence": (
        FENCE,
        FENCE + "mov.f32 %f1, 0f3f800000;\n",
        "without wgmma.fence since its registers were written",
    ),
    "no wait before the sums are read": ("WAIT", "", "wgmma that is in flight"),
    "an operand that is written too early": (
        "WAIT",
        "st.shared.u16 [%r8], 0;\n WAIT",
        "still reads",
    ),
    "a left operand that is written too early": (
        "WAIT",
        "mov.u32 %r2, 0;\n WAIT",
        "wgmma that is in flight",
    ),
    "no fence of the asynchronous proxy": (
        "fence.proxy.async;",
        "",
        "without a fence since",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs(bug):
    old, new, message = BUGS[bug]
    assert PTX.count(old) == 1
    with pytest.raises(Race, match=message):
        launch(PTX.replace(old, new))


def test_planted_bugs_have_a_clean_twin():
    launch(PTX)
