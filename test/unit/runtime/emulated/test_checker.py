"""Each finding with a planted bug, and the same kernel without it."""

from __future__ import annotations

import numpy as np
import pytest
from planted import HEAD, run

from stepwell.errors import DeviceError, UnsupportedError
from stepwell.runtime.devices.emulated.checker import Race, Uninitialised
from stepwell.runtime.devices.emulated.machine import Deadlock
from stepwell.runtime.devices.emulated.memory import MemoryFault

MIRROR = """
  st.shared.u32 [%r4], %r1;
  {sync}
  sub.u32 %r5, 508, %r2;
  add.u32 %r5, %r5, %r3;
  ld.shared.u32 %r6, [%r5];
  st.global.u32 [%rd3], %r6;
"""


def test_race_of_a_read_with_a_write():
    got = run(MIRROR.format(sync="bar.sync 0;"))
    np.testing.assert_array_equal(got, np.arange(128)[::-1])
    with pytest.raises(Race, match="no barrier between"):
        run("st.shared.u32 [%r4], 0; bar.sync 0;" + MIRROR.format(sync=""))


REUSE = """
  st.shared.u32 [%r4], %r1;
  bar.sync 0;
  xor.b32 %r5, %r2, 256;
  add.u32 %r5, %r5, %r3;
  ld.shared.u32 %r6, [%r5];
  {sync}
  st.shared.u32 [%r4], 7;
  st.global.u32 [%rd3], %r6;
"""


def test_race_of_a_write_with_a_read():
    got = run(REUSE.format(sync="bar.sync 0;"))
    np.testing.assert_array_equal(got, np.arange(128) ^ 64)
    with pytest.raises(Race, match="with the read of thread"):
        run(REUSE.format(sync=""))


def test_uninitialised_shared_memory():
    run("st.shared.u32 [%r4], 1; ld.shared.u32 %r6, [%r4];")
    with pytest.raises(Uninitialised, match="nothing was written"):
        run("ld.shared.u32 %r6, [%r4];")


BYTES = """
  {stores}
  bar.warp.sync -1;
  ld.shared.u32 %r6, [%r4];
"""


def test_uninitialised_bytes_between_others():
    stores = [f"st.shared.u8 [%r4+{byte}], 7;" for byte in (0, 3, 1, 2)]
    run(BYTES.format(stores="".join(stores)))
    with pytest.raises(Uninitialised, match=r"shared\[0x2\]"):
        run(BYTES.format(stores="".join(stores[:3])))
    vector = "st.shared.u32 [s], 1; st.shared.u32 [s+4], 1; st.shared.u32 [s+12], 1;"
    load = "ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [s];"
    run(vector + "st.shared.u32 [s+8], 1; bar.sync 0;" + load)
    with pytest.raises(Uninitialised, match=r"shared\[0x8\]"):
        run(vector + "bar.sync 0;" + load)


def test_out_of_bounds():
    run("st.global.u32 [%rd3], %r1;")
    with pytest.raises(MemoryFault, match="out-of-bounds"):
        run("st.global.u32 [%rd3+4], %r1;")
    with pytest.raises(MemoryFault, match="out-of-bounds"):
        run("st.shared.u32 [%r4+2048], %r1;")


def test_misaligned():
    with pytest.raises(MemoryFault, match="misaligned"):
        run("st.global.u16 [%rd1+1], %r1;")
    run("st.global.u8 [%rd1+1], 7;")


ARRIVE = """
  setp.ne.u32 %p1, %r1, 0;
  @!%p1 mbarrier.init.shared.b64 [bar], {count};
  bar.sync 0;
  mbarrier.arrive.shared.b64 _, [bar];
again:
  mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
  @!%p2 bra again;
"""


def test_deadlock_names_who_waits_for_what():
    run(ARRIVE.format(count=128))
    with pytest.raises(Deadlock) as caught:
        run(ARRIVE.format(count=129))
    assert "waits for the mbarrier" in str(caught.value)
    assert "1 arrivals" in str(caught.value)


DIVERGENT = """
  setp.lt.u32 %p1, %r1, 64;
  {guard} bar.sync 1, 128;
"""


def test_divergent_barrier():
    run(DIVERGENT.format(guard=""))
    with pytest.raises(Deadlock, match="deadlock") as caught:
        run(DIVERGENT.format(guard="@%p1") + "bar.sync 0;")
    text = str(caught.value)
    assert "threads 0..63 (64): waits at barrier 1 for 128 threads" in text
    assert "of which 64 are there" in text
    assert "threads 64..127 (64): waits at barrier 0" in text


def test_deadlock_names_threads_that_have_ended():
    with pytest.raises(Deadlock) as caught:
        run("setp.ge.u32 %p1, %r1, 64; @%p1 ret; bar.sync 1, 128;")
    assert "threads 64..127 (64): have ended" in str(caught.value)


def test_an_mbarrier_that_was_not_initialised():
    with pytest.raises(DeviceError, match="initialised mbarrier"):
        run("mbarrier.arrive.shared.b64 _, [bar];")


def test_unsupported_instruction_names_its_line():
    with pytest.raises(UnsupportedError, match=r"no frobnicate\.u32") as caught:
        run("frobnicate.u32 %r5, %r6;")
    assert caught.value.where == f"PTX line {HEAD.count(chr(10)) + 1}"


def test_a_copy_that_is_not_waited_for_has_not_landed():
    copy = """
      st.global.u32 [%rd3], %r1;
      st.shared.u32 [%r4], 0;
      cp.async.ca.shared.global [%r4], [%rd3], 4;
      cp.async.commit_group;
      {wait}
      ld.shared.u32 %r6, [%r4];
      add.u32 %r6, %r6, 1;
      st.global.u32 [%rd3], %r6;
    """
    right = run(copy.format(wait="cp.async.wait_group 0;"))
    np.testing.assert_array_equal(right, np.arange(128) + 1)
    assert (run(copy.format(wait=""), check=False) == 1).all()
    with pytest.raises(Race, match="without a wait for its group"):
        run(copy.format(wait=""))


STORE = """
  st.shared.u32 [%r4], %r1;
  {fence}
  bar.sync 0;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra done;
  cp.async.bulk.global.shared::cta.bulk_group [%rd1], [s], 512;
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group 0;
done:
"""


def test_asynchronous_read_without_a_fence():
    got = run(STORE.format(fence="fence.proxy.async.shared::cta;"))
    np.testing.assert_array_equal(got, np.arange(128))
    with pytest.raises(Race, match="without a fence"):
        run(STORE.format(fence=""))


def test_too_many_arrivals():
    arrive = """
      setp.ne.u32 %p1, %r1, 0;
      @%p1 bra done;
      mbarrier.init.shared.b64 [bar], 2;
      mbarrier.arrive.shared.b64 _, [bar], {count};
    done:
    """
    run(arrive.format(count=2))
    with pytest.raises(DeviceError, match="at most 2 more arrivals"):
        run(arrive.format(count=3))


def test_a_bulk_load_takes_the_place_of_older_writes():
    got = run("""
      st.global.u32 [%rd3], %r1;
      fence.proxy.async.global;
      st.shared.u32 [%r4], 5;
      setp.ne.u32 %p1, %r1, 0;
      @!%p1 mbarrier.init.shared.b64 [bar], 1;
      bar.sync 0;
      @%p1 bra wait;
      mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512;
      cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes \
        [s], [%rd1], 512, [bar];
    wait:
      mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
      @!%p2 bra wait;
      ld.shared.u32 %r6, [%r4];
      add.u32 %r6, %r6, 3;
      st.global.u32 [%rd3], %r6;
    """)
    np.testing.assert_array_equal(got, np.arange(128) + 3)
