"""Asynchronous copies that nobody waits for, each beside a clean twin."""

from __future__ import annotations

import numpy as np
import pytest
from planted import run

from stepwell.runtime.devices.emulated.checker import Leak, Race

START = """
  st.global.u32 [%rd3], %r1;
  fence.proxy.async.global;
  setp.ne.u32 %p1, %r1, 0;
  @!%p1 mbarrier.init.shared.b64 [bar], 1;
  bar.sync 0;
"""
LOAD = """
  mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes \
    [s], [%rd1], 512, [bar];
"""
FIRST = "@%p1 bra {label};"
WAIT = """
{label}:
  mbarrier.try_wait.parity.shared.b64 %p2, [bar], {parity};
  @!%p2 bra {label};
"""
READ = """
  xor.b32 %r5, %r2, 256;
  add.u32 %r5, %r5, %r3;
  ld.shared.u32 %r6, [%r5];
"""
KEEP = "st.global.u32 [%rd3], %r6;"


def wait(label: str, parity: int = 0) -> str:
    return WAIT.format(label=label, parity=parity)


def load(label: str) -> str:
    """Thread 0 loads; everybody comes to the label."""
    return FIRST.format(label=label) + LOAD


def test_bulk_load_that_is_read_without_a_wait():
    got = run(START + load("w") + wait("w") + READ + KEEP)
    np.testing.assert_array_equal(got, np.arange(128) ^ 64)
    with pytest.raises(Race, match="without a wait for its mbarrier"):
        run(START + load("w") + "w:" + READ + KEEP)


def test_wait_of_one_thread_does_not_serve_another():
    alone = "setp.ge.u32 %p3, %r1, 32; @%p3 bra after;"
    with pytest.raises(Race, match="without a wait for its mbarrier"):
        run(START + load("w") + "w:" + alone + wait("v") + "after:" + READ + KEEP)


def test_bulk_load_over_bytes_that_others_read():
    again = load("x") + wait("x", 1)
    clean = START + load("w") + wait("w") + READ + "bar.sync 0;" + again + KEEP
    np.testing.assert_array_equal(run(clean), np.arange(128) ^ 64)
    with pytest.raises(Race, match="bulk load into shared"):
        run(clean.replace("bar.sync 0;" + again, again))


STORE = """
  st.shared.u32 [%r4], %r1;
  {fence}
  bar.sync 0;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra done;
  {late}
  cp.async.bulk.global.shared::cta.bulk_group [%rd1], [s], 512;
  cp.async.bulk.commit_group;
  {wait}
  st.shared.u32 [s], 5;
  {end}
done:
"""
FENCE = "fence.proxy.async.shared::cta;"


def store(**parts: str) -> str:
    absent = dict.fromkeys(("fence", "late", "wait", "end"), "")
    return STORE.format(**{**absent, **parts})


def test_bulk_store_whose_source_is_written_too_early():
    run(store(fence=FENCE, wait="cp.async.bulk.wait_group.read 0;"))
    with pytest.raises(Race, match="still reads"):
        run(store(fence=FENCE, end="cp.async.bulk.wait_group.read 0;"))


def test_a_fence_may_follow_the_barrier():
    read = "cp.async.bulk.wait_group.read 0;"
    run(store(late=FENCE, wait=read))
    with pytest.raises(Race, match="without a fence"):
        run(store(wait=read))


def test_block_that_ends_under_a_bulk_store():
    body = store(fence=FENCE, wait="{}").replace("st.shared.u32 [s], 5;", "")
    run(body.replace("{}", "cp.async.bulk.wait_group.read 0;"))
    with pytest.raises(Leak, match="under way"):
        run(body.replace("{}", ""))


def test_leaked_mbarrier():
    run(START + load("w") + wait("w"))
    with pytest.raises(Leak, match="nobody waited for the transactions") as caught:
        run(START + load("w") + "w:")
    assert "leaked mbarrier at shared[0x200]" in str(caught.value)


def test_copies_of_a_group_that_is_still_open():
    body = """
      st.global.u32 [%rd3], %r1;
      cp.async.ca.shared.global [%r4], [%rd3], 4;
      cp.async.commit_group;
      cp.async.wait_group {most};
      ld.shared.u32 %r6, [%r4];
    """
    run(body.format(most=0))
    with pytest.raises(Race, match="without a wait for its group"):
        run(body.format(most=1))


def test_a_phase_of_an_mbarrier_that_nobody_waits_for():
    """The second load's wait is for the first one's phase, which is over."""
    twice = load("v") + wait("v") + load("w")
    run(START + twice + wait("w", parity=1))
    with pytest.raises(Leak, match="nobody waited for the transactions"):
        run(START + twice + wait("w", parity=0))


def test_a_bulk_copy_within_shared_memory_needs_a_fence():
    """Of what it reads; and its source may not be written before it has landed."""
    body = """
      st.shared.u32 [%r4], %r1;
      {fence}
      setp.ne.u32 %p1, %r1, 0;
      @!%p1 mbarrier.init.shared.b64 [bar], 1;
      bar.sync 0;
      @%p1 bra done;
      mbarrier.arrive.expect_tx.shared.b64 _, [bar], 256;
      cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes \
        [s+256], [s], 256, [bar];
      {early}
    w:
      mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
      @!%p2 bra w;
      st.shared.u32 [s], 7;
    done:
    """
    run(body.format(fence=FENCE, early=""))
    with pytest.raises(Race, match=r"asynchronous read of shared.*without a fence"):
        run(body.format(fence="fence.proxy.async.global;", early=""))
    with pytest.raises(Race, match=r"write of shared.*still reads"):
        run(body.format(fence=FENCE, early="st.shared.u32 [s], 7;"))
