"""Blocks that run side by side give what they give one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice, device

HEAD = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out, .param .u32 count)
{
  .reg .pred %p<6>;
  .reg .b32 %r<24>;
  .reg .b64 %rd<8>;
  .shared .align 16 .b32 s[128];
  .local .align 4 .b32 mine[4];
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.u32 %r4, %r2, %r3, %r1;
  mul.wide.u32 %rd2, %r4, 4;
  add.u64 %rd3, %rd1, %rd2;
  shl.b32 %r5, %r1, 2;
  mov.u32 %r6, s;
  add.u32 %r7, %r6, %r5;
"""
ROUNDS = """
  mov.u32 %r8, 0;
  mov.u32 %r9, 0;
rounds:
  add.u32 %r10, %r1, %r8;
  st.shared.u32 [%r7], %r10;
  bar.sync 0;
  ld.shared.u32 %r11, [s+4];
  add.u32 %r9, %r9, %r11;
  and.b32 %r12, %r1, 3;
steps:
  setp.eq.u32 %p1, %r12, 0;
  @%p1 bra done;
  add.u32 %r9, %r9, %r8;
  sub.u32 %r12, %r12, 1;
  bra steps;
done:
  setp.lt.u32 %p2, %r1, %r8;
  bar.red.popc.u32 %r13, 0, %p2;
  add.u32 %r9, %r9, %r13;
  add.u32 %r8, %r8, 1;
  setp.le.u32 %p3, %r8, %r2;
  @%p3 bra rounds;
  mov.u64 %rd4, mine;
  st.local.u32 [%rd4+8], %r9;
  bar.sync 0;
  ld.local.u32 %r9, [%rd4+8];
  st.global.u32 [%rd3], %r9;
  ret;
}
"""


@pytest.fixture(params=[1, 4096])
def together(request, monkeypatch):
    """Threads that run side by side."""
    monkeypatch.setattr(device, "WAVE_THREADS", request.param)


def launch(body: str, blocks: int, threads: int, seed: int | None = None):
    gpu = EmulatedDevice(check=True, seed=seed)
    out = gpu.upload(np.zeros(blocks * threads, "i4"))
    gpu.load(HEAD + body).launch("k", grid=blocks, block=threads, args=[out, blocks])
    return gpu.download(out, (blocks, threads), "i4")


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("threads", [32, 100, 128])
def test_blocks_with_loops_of_their_own(threads):
    """Block b goes b + 1 rounds, with barriers inside, over its memories."""
    got = launch(ROUNDS, 5, threads)
    thread = np.arange(threads)
    for block in range(5):
        rounds = np.arange(block + 1)
        right = sum((1 + r) + (thread & 3) * r + np.minimum(r, threads) for r in rounds)
        np.testing.assert_array_equal(got[block], right)


NAMED = """
  shr.u32 %r8, %r1, 6;
  add.u32 %r8, %r8, 1;
  st.shared.u32 [%r7], %r1;
  bar.sync %r8, 64;
  xor.b32 %r9, %r5, 128;
  add.u32 %r9, %r9, %r6;
  ld.shared.u32 %r10, [%r9];
  st.global.u32 [%rd3], %r10;
  ret;
}
"""


@pytest.mark.usefixtures("together")
def test_warps_in_step_at_barriers_of_different_numbers():
    got = launch(NAMED, 3, 128)
    np.testing.assert_array_equal(got, np.stack([np.arange(128) ^ 32] * 3))


GRID_BARRIER = """
  setp.ne.u32 %p1, %r1, 0;
  st.global.u32 [%rd3], %r2;
  bar.sync 0;
  ld.param.u32 %r8, [count];
  @%p1 bra wait;
  mov.u64 %rd4, arrived;
  membar.gl;
  atom.global.add.u32 %r9, [%rd4], 1;
again:
  ld.acquire.gpu.global.u32 %r9, [%rd4];
  setp.lt.u32 %p2, %r9, %r8;
  @%p2 bra again;
wait:
  bar.sync 0;
  sub.u32 %r10, %r8, 1;
  sub.u32 %r10, %r10, %r2;
  mad.lo.u32 %r11, %r10, %r3, %r1;
  mul.wide.u32 %rd5, %r11, 4;
  add.u64 %rd6, %rd1, %rd5;
  ld.global.u32 %r12, [%rd6];
  bar.sync 0;
  {result}
  ret;
}
"""


def test_blocks_of_a_wave_may_wait_for_one_another():
    """A barrier of the grid, by an atomic counter and a loop that polls it."""
    text = HEAD.replace(".visible", ".global .u32 arrived;\n.visible")
    gpu = EmulatedDevice(check=True)
    out = gpu.upload(np.zeros(6 * 64, "i4"))
    seen = gpu.upload(np.zeros(6 * 64, "i4"))
    body = GRID_BARRIER.replace("{result}", "st.global.u32 [%rd7], %r12;")
    body = "ld.param.u64 %rd7, [seen]; add.u64 %rd7, %rd7, %rd2;" + body
    text = text.replace(".param .u32 count", ".param .u32 count, .param .u64 seen")
    gpu.load(text + body).launch("k", grid=6, block=64, args=[out, 6, seen])
    got = gpu.download(seen, (6, 64), "i4")
    np.testing.assert_array_equal(got, np.repeat(np.arange(6)[::-1], 64).reshape(6, 64))
