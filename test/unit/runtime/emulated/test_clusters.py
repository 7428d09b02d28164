"""Blocks of a cluster: ranks, remote shared memory, remote arrivals, multicast."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.runtime.devices.emulated import EmulatedDevice, encode_tensor_map
from stepwell.runtime.devices.emulated.checker import Race

NEIGHBOUR = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out)
.reqnctapercluster 2, 1, 1
{
  .reg .b32 %r<12>;
  .reg .b64 %rd<5>;
  .shared .align 4 .b32 s[32];
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %cluster_ctarank;
  mov.u32 %r3, s;
  shl.b32 %r4, %r1, 2;
  add.u32 %r5, %r3, %r4;
  mad.lo.u32 %r6, %r2, 100, %r1;
  st.shared.u32 [%r5], %r6;
  barrier.cluster.arrive.release;
  barrier.cluster.wait.acquire;
  xor.b32 %r7, %r2, 1;
  mapa.shared::cluster.u32 %r8, %r5, %r7;
  ld.shared::cluster.u32 %r9, [%r8];
  mov.u32 %r10, %ctaid.x;
  mad.lo.u32 %r11, %r10, 32, %r1;
  mul.wide.u32 %rd2, %r11, 4;
  add.u64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r9;
  barrier.cluster.arrive;
  barrier.cluster.wait;
  ret;
}
"""

MULTICAST = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .align 64 .b8 map[128], .param .u64 out)
.reqnctapercluster 2, 1, 1
{
  .reg .pred %p<3>;
  .reg .b16 %h<2>;
  .reg .b32 %r<12>;
  .reg .b64 %rd<8>;
  .shared .align 128 .b32 s[64];
  .shared .align 8 .b64 bar;
  ld.param.u64 %rd1, [out];
  mov.b64 %rd4, map;
  cvta.param.u64 %rd4, %rd4;
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %cluster_ctarank;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra ready;
  mbarrier.init.shared.b64 [bar], 1;
  mbarrier.arrive.expect_tx.shared.b64 _, [bar], 128;
ready:
  barrier.cluster.arrive;
  barrier.cluster.wait;
  or.b32 %r3, %r1, %r2;
  setp.ne.u32 %p1, %r3, 0;
  @%p1 bra again;
  mov.u16 %h1, 3;
  cp.async.bulk.tensor.2d.shared::cluster.global\
.mbarrier::complete_tx::bytes.multicast::cluster [s], [%rd4, {-4, 1}], [bar], %h1;
again:
  mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
  @!%p2 bra again;
  shl.b32 %r4, %r1, 2;
  mov.u32 %r5, s;
  add.u32 %r5, %r5, %r4;
  ld.shared.u32 %r6, [%r5];
  mad.lo.u32 %r7, %r2, 32, %r1;
  mul.wide.u32 %rd2, %r7, 4;
  add.u64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r6;
  ret;
}
"""


def test_remote_shared_memory():
    device = EmulatedDevice(check=True)
    out = device.upload(np.zeros(128, "i4"))
    device.load(NEIGHBOUR).launch("k", grid=4, block=32, args=[out])
    got = device.download(out, (4, 32), "i4")
    lane = np.arange(32)
    np.testing.assert_array_equal(got, [lane + 100, lane, lane + 100, lane])


def test_multicast_with_out_of_bounds_fill():
    source = np.arange(1, 25, dtype="i4").reshape(3, 8)
    device = EmulatedDevice(check=True)
    pointer, out = device.upload(source), device.upload(np.zeros(64, "i4"))
    tensor = encode_tensor_map("int32", pointer, [8, 3], [32], [8, 4])
    device.load(MULTICAST).launch("k", grid=2, block=32, args=[tensor, out])
    got = device.download(out, (2, 4, 8), "i4")
    padded = np.zeros((4, 8), "i4")
    padded[:2, 4:] = source[1:, :4]
    np.testing.assert_array_equal(got, [padded, padded])


def test_copies_complete_while_threads_count_their_polls():
    counted = """again:
  mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
  @%p2 bra done;
  add.u32 %r9, %r9, 1;
  setp.lt.u32 %p2, %r9, 50;
  @%p2 bra again;
done:"""
    start, end = MULTICAST.index("again:"), MULTICAST.index("  shl.b32 %r4")
    text = f"{MULTICAST[:start]}mov.u32 %r9, 0;{counted}{MULTICAST[end:]}"
    source = np.arange(1, 25, dtype="i4").reshape(3, 8)
    device = EmulatedDevice(check=True)
    pointer, out = device.upload(source), device.upload(np.zeros(64, "i4"))
    tensor = encode_tensor_map("int32", pointer, [8, 3], [32], [8, 4])
    device.load(text).launch("k", grid=2, block=32, args=[tensor, out])
    got = device.download(out, (2, 4, 8), "i4")
    np.testing.assert_array_equal(got[:, :2, 4:], [source[1:, :4]] * 2)


def run_on_itself(text: str) -> None:
    """`MULTICAST`, whose threads write to the array that it copies from."""
    device = EmulatedDevice(check=True)
    pointer = device.upload(np.arange(64, dtype="i4"))
    tensor = encode_tensor_map("int32", pointer, [8, 3], [32], [8, 4])
    device.load(text).launch("k", grid=2, block=32, args=[tensor, pointer])


def test_a_multicast_reads_until_it_has_landed_everywhere():
    """A block that has waited for its own part may not write over the source."""
    meet = "barrier.cluster.arrive; barrier.cluster.wait;\n  st.global"
    run_on_itself(MULTICAST.replace("st.global", meet))
    with pytest.raises(Race, match=r"write of global.*reads, without a wait for its"):
        run_on_itself(MULTICAST)


@pytest.mark.parametrize("space", ["", ".global"])
def test_a_tensor_copy_is_behind_a_fence_of_what_threads_wrote(space):
    meet = "barrier.cluster.arrive; barrier.cluster.wait;\n  st.global"
    write = "st.global.u32 [%rd1+32], 5; {fence}\nready:"
    text = MULTICAST.replace("st.global", meet).replace("ready:", write, 1)
    run_on_itself(text.replace("{fence}", f"fence.proxy.async{space};"))
    with pytest.raises(Race, match=r"asynchronous read of global.*without a fence"):
        run_on_itself(text.replace("{fence}", "fence.proxy.async.shared::cta;"))
