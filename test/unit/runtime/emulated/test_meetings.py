"""Lanes that meet: member masks, barriers of half a warp, loops that poll."""

from __future__ import annotations

import numpy as np
import pytest
from planted import run

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated import EmulatedDevice
from stepwell.runtime.devices.emulated.checker import Race
from stepwell.runtime.devices.emulated.machine import Deadlock

LANE = np.arange(128) % 32
BY_GROUPS = """
  and.b32 %r5, %r1, 3;
  match.any.sync.b32 %r6, %r5, -1;
  redux.sync.add.s32 %r7, %r1, %r6;
  vote.sync.ballot.b32 %r8, %p1, %r6;
  bar.warp.sync %r6;
  st.global.u32 [%rd3], %r7;
"""


def test_lanes_with_other_member_masks_are_apart():
    thread = np.arange(128)
    same = thread[:, None] % 4 == thread % 4
    same &= thread[:, None] // 32 == thread // 32
    np.testing.assert_array_equal(run(BY_GROUPS), same @ thread)


GROUPS_THAT_COME_APART = """
  and.b32 %r5, %r1, 1;
  setp.eq.u32 %p1, %r5, 0;
  selp.b32 %r6, 0x55555555, 0xAAAAAAAA, %p1;
  and.b32 %r7, %r1, 16;
  setp.ne.u32 %p2, %r7, 0;
  and.pred %p3, %p1, %p2;
  @%p3 bra late;
  redux.sync.add.s32 %r8, %r1, %r6;
  bra out;
late:
  {late}
out:
  st.global.u32 [%rd3], %r8;
"""


def test_lanes_go_on_whose_group_is_complete():
    """The odd lanes need not wait for the even ones, half of whom never come."""
    with pytest.raises(Deadlock, match=r"waits for lanes .16 18 20") as caught:
        run(GROUPS_THAT_COME_APART.format(late="bar.warp.sync %r6;"))
    assert "threads 0..110 (32): waits for lanes" in str(caught.value)


STRAY = """
  setp.lt.u32 %p1, %r1, 16;
  {guard} bar.warp.sync 0x0000ffff;
"""


def test_a_lane_that_its_own_member_mask_does_not_name():
    with pytest.raises(DeviceError, match="lane 16 is not in the member mask"):
        run(STRAY.format(guard=""))
    with pytest.raises(DeviceError, match="lane 16 is not in the member mask"):
        run("shfl.sync.idx.b32 %r5, %r1, 0, 31, 0x0000ffff;")
    run(STRAY.format(guard="@%p1") + "bar.sync 0;")


DIVERGENT = """
  and.b32 %r5, %r1, 31;
  setp.lt.u32 %p1, %r5, 16;
  @%p1 bra low;
  {barrier} 0;
  bra out;
low:
  {barrier} 0;
out:
  st.global.u32 [%rd3], 7;
"""


def test_a_barrier_inside_of_a_branch_that_a_warp_takes_in_part():
    with pytest.raises(Deadlock, match="of its warp") as caught:
        run(DIVERGENT.format(barrier="bar.sync"))
    assert "waits for lanes [0 1 2 3 4 5 6 7] of its warp" in str(caught.value)
    assert (run(DIVERGENT.format(barrier="barrier.sync")) == 7).all()


HALF = """
  and.b32 %r5, %r1, 31;
  setp.lt.u32 %p1, %r5, {lanes};
  @%p1 barrier.sync 1, 128;
  bar.sync 0;
"""


def test_half_warps_do_not_fill_a_barrier():
    """Two halves of different warps are not a warp."""
    with pytest.raises(Deadlock, match="of which 0 are there"):
        run(HALF.format(lanes=16))
    run(HALF.format(lanes=32))


def test_a_barrier_of_half_a_warp_is_an_error():
    with pytest.raises(DeviceError, match="whole warps, got 48"):
        run("bar.sync 1, 48;")


SPIN = """
  mov.u32 %r5, s;
  setp.ge.u32 %p1, %r1, 32;
  @!%p1 bra set;
again:
  ld.volatile.shared.u32 %r6, [%r5];
  setp.ne.u32 %p2, %r6, {wanted};
  @%p2 bra again;
  bra out;
set:
  setp.eq.u32 %p3, %r1, 0;
  @%p3 st.volatile.shared.u32 [%r5], 5;
out:
  st.global.u32 [%rd3], 7;
"""


def test_a_loop_that_polls_lets_others_go_on():
    assert (
        run("st.volatile.shared.u32 [s], 0; bar.sync 0;" + SPIN.format(wanted=5)) == 7
    ).all()


def test_a_flag_that_nobody_raises_is_a_deadlock():
    with pytest.raises(Deadlock, match=r"polls shared\[0x0\], PTX line"):
        run("st.volatile.shared.u32 [s], 0; bar.sync 0;" + SPIN.format(wanted=6))


LOCK = """
lock:
  atom.shared.cas.b32 %r5, [s], 0, 1;
  setp.ne.u32 %p1, %r5, 0;
  @%p1 bra lock;
  {unlock}
  st.global.u32 [%rd3], 7;
"""


def test_a_lock_that_is_not_given_back_is_a_deadlock():
    first = "setp.eq.u32 %p2, %r1, 0; @%p2 st.shared.u32 [s], 0; bar.sync 0;"
    got = run(first + LOCK.format(unlock="atom.shared.exch.b32 %r6, [s], 0;"))
    assert (got == 7).all()
    with pytest.raises(Deadlock, match=r"polls shared\[0x0\]"):
        run(first + LOCK.format(unlock=""))


TIMED = """
  mov.u32 %r5, %clock;
wait:
  mov.u32 %r6, %clock;
  sub.u32 %r7, %r6, %r5;
  setp.lt.u32 %p1, %r7, 500;
  @%p1 bra wait;
  st.global.u32 [%rd3], %r7;
"""


def test_time_passes():
    assert (run(TIMED) >= 500).all()


GRID = """
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out)
{
  .reg.b32 %r<4>; .reg.b64 %rd<4>;
  ld.param.u64 %rd1, [out];
  mov.u32 %r1, %envreg1;
  mov.u32 %r2, %envreg2;
  mov.b64 %rd2, {%r2, %r1};
  st.global.u64 [%rd1], %rd2;
  ret;
}
"""


@pytest.mark.parametrize(("blocks", "there"), [(4, True), (256, False)])
def test_a_grid_that_runs_at_once_has_a_barrier(blocks, there):
    device = EmulatedDevice()
    out = device.upload(np.zeros(1, "u8"))
    device.load(GRID).launch("k", grid=blocks, block=32, args=[out])
    assert (device.download(out, (1,), "u8")[0] != 0) == there


def test_brkpt_ends_the_kernel():
    with pytest.raises(DeviceError, match="executed brkpt"):
        run("brkpt;")
    run("setp.eq.u32 %p1, %r1, 1000; @%p1 brkpt;")


BRANCHES = """
  st.shared.u32 [%r4], %r1;
  and.b32 %r5, %r1, 1;
  setp.eq.u32 %p1, %r5, 0;
  @%p1 bra even;
  bar.warp.sync -1;
  bra out;
even:
  bar.warp.sync {members};
out:
  xor.b32 %r5, %r2, 4;
  add.u32 %r5, %r5, %r3;
  ld.shared.u32 %r6, [%r5];
  st.global.u32 [%rd3], %r6;
"""


def test_lanes_meet_at_barriers_of_different_branches():
    np.testing.assert_array_equal(
        run(BRANCHES.format(members="-1")), np.arange(128) ^ 1
    )
    with pytest.raises(Race, match="with the write of thread"):
        run(BRANCHES.format(members="0x55555555"))


ELECTED = """
  setp.eq.u32 %p1, %r1, 0;
  @%p1 mbarrier.init.shared.b64 [bar], 2;
  bar.sync 0;
  and.b32 %r5, %r1, 31;
  setp.eq.u32 %p2, %r5, 0;
  setp.lt.u32 %p3, %r1, 64;
  @!%p3 bra consume;
  st.shared.u32 [%r4], %r1;
  {before}
  @%p2 mbarrier.arrive.shared.b64 _, [bar];
  bra out;
consume:
  {who} bra read;
again:
  mbarrier.try_wait.parity.shared.b64 %p1, [bar], 0;
  @!%p1 bra again;
read:
  {behind}
  ld.shared.u32 %r6, [%r4+-256];
  st.global.u32 [%rd3], %r6;
out:
"""
MEET = "bar.warp.sync -1;"


def test_a_lane_that_arrives_for_its_warp():
    """It publishes only what it knows: the others' writes if they have met."""
    got = run(ELECTED.format(before=MEET, who="@!%p3 bra again; @%p3", behind=""))
    np.testing.assert_array_equal(got[64:], np.arange(64))
    with pytest.raises(Race, match=r"with the write of thread \(1, 0, 0\)"):
        run(ELECTED.format(before="", who="@!%p3 bra again; @%p3", behind=""))


def test_a_lane_that_waits_for_its_warp():
    got = run(ELECTED.format(before=MEET, who="@!%p2", behind=MEET))
    np.testing.assert_array_equal(got[64:], np.arange(64))
    with pytest.raises(Race, match=r"with the write of thread \(1, 0, 0\)"):
        run(ELECTED.format(before=MEET, who="@!%p2", behind=""))


SERVED = """
  mov.u32 %r5, 0;
  setp.ne.u32 %p1, %r1, 3;
  @%p1 bra out;
again:
  add.u32 %r5, %r5, 1;
  setp.lt.u32 %p2, %r5, 7000;
  @%p2 bra again;
out:
  st.shared.u32 [%r4], %r1;
  bar.sync 0;
  xor.b32 %r5, %r2, 128;
  add.u32 %r5, %r5, %r3;
  ld.shared.u32 %r6, [%r5];
  st.global.u32 [%rd3], %r6;
"""


def test_warps_wait_at_a_barrier_while_a_lane_of_another_is_busy():
    np.testing.assert_array_equal(run(SERVED), np.arange(128) ^ 32)
