"""Races of threads: across warps, within one, across blocks, each beside a clean twin.

A race in shared memory is one of threads of a block; in global memory, of the grid.
"""

from __future__ import annotations

import numpy as np
import pytest
from planted import run

from stepwell.runtime.devices.emulated.checker import Race, Uninitialised
from stepwell.runtime.devices.emulated.provenance import Provenance

NEIGHBOUR = """
  st.shared.u32 [%r4], %r1;
  {sync}
  xor.b32 %r5, %r2, 4;
  add.u32 %r5, %r5, %r3;
  ld.shared.u32 %r6, [%r5];
  st.global.u32 [%rd3], %r6;
"""


PAIRS = """
  and.b32 %r7, %r1, 30;
  mov.u32 %r8, {bits};
  shl.b32 %r7, %r8, %r7;
  bar.warp.sync %r7;
"""


@pytest.mark.parametrize(
    "sync", ["bar.warp.sync -1;", "bar.sync 0;", PAIRS.format(bits=3)]
)
def test_lanes_of_a_warp_that_meet(sync):
    got = run(NEIGHBOUR.format(sync=sync))
    np.testing.assert_array_equal(got, np.arange(128) ^ 1)


VOTE = "shfl.sync.idx.b32 %r7, %r1, 0, 31, -1;"
ALONE = "and.b32 %r7, %r1, 31; mov.u32 %r8, 1; shl.b32 %r7, %r8, %r7;"


@pytest.mark.parametrize("sync", ["", VOTE, ALONE + "bar.warp.sync %r7;"])
def test_race_of_lanes_of_a_warp(sync):
    """Neither an exchange of registers nor a meeting of others orders memory."""
    with pytest.raises(Race, match="with the write of thread"):
        run(NEIGHBOUR.format(sync=sync))


ACROSS = """
  st.shared.u32 [%r4], %r1;
  {sync}
  xor.b32 %r5, %r2, 128;
  add.u32 %r5, %r5, %r3;
  ld.shared.u32 %r6, [%r5];
  st.global.u32 [%rd3], %r6;
"""


def test_a_barrier_of_the_warp_does_not_order_warps():
    run(ACROSS.format(sync="bar.sync 0;"))
    with pytest.raises(Race, match="no barrier between"):
        run(ACROSS.format(sync="bar.warp.sync -1;"))


IN_GLOBAL = """
  st.global.u32 [%rd3], %r1;
  {sync}
  sub.u32 %r5, 508, %r2;
  cvt.u64.u32 %rd4, %r5;
  add.u64 %rd4, %rd4, %rd1;
  ld.global.u32 %r6, [%rd4];
  bar.sync 0;
  st.global.u32 [%rd3], %r6;
"""


def test_race_in_global_memory():
    got = run(IN_GLOBAL.format(sync="bar.sync 0;"))
    np.testing.assert_array_equal(got, np.arange(128)[::-1])
    with pytest.raises(Race, match="read of global"):
        run(IN_GLOBAL.format(sync=""))


SLOTS = """
  mov.u32 %r5, %ctaid.x;
  mov.u32 %r6, %nctaid.x;
  {which}
  shl.b32 %r8, %r7, 9;
  cvt.u64.u32 %rd4, %r8;
  add.u64 %rd4, %rd4, %rd3;
  st.global.u32 [%rd4], %r5;
"""
OWN = "mov.u32 %r7, %r5;"
FIRST = "mov.u32 %r7, 0;"


@pytest.mark.parametrize("blocks", [2, 40])
def test_race_of_blocks(blocks):
    got = run(SLOTS.format(which=OWN), blocks=blocks)
    np.testing.assert_array_equal(got, np.arange(blocks)[:, None] + np.zeros(128))
    with pytest.raises(Race, match="write of global") as caught:
        run(SLOTS.format(which=FIRST), blocks=blocks)
    assert "of block (" in str(caught.value)


LAST = """
  .reg .pred %q;
  mov.u32 %r5, %ctaid.x;
  mov.u32 %r6, %nctaid.x;
  mul.wide.u32 %rd4, %r5, 512;
  add.u64 %rd4, %rd4, %rd3;
  add.u32 %r7, %r5, %r1;
  st.global.u32 [%rd4], %r7;
  membar.gl;
  bar.sync 0;
  sub.u32 %r8, %r6, 1;
  setp.ne.u32 %q, %r1, 0;
  {count}
  st.shared.u32 [s], %r9;
all:
  bar.sync 0;
  ld.shared.u32 %r9, [s];
  setp.ne.u32 %p1, %r9, %r8;
  @%p1 ret;
  mov.u32 %r10, 0;
  mov.u32 %r11, 0;
again:
  mul.wide.u32 %rd5, %r10, 512;
  add.u64 %rd5, %rd5, %rd3;
  ld.global.u32 %r12, [%rd5];
  add.u32 %r11, %r11, %r12;
  add.u32 %r10, %r10, 1;
  setp.lt.u32 %p2, %r10, %r6;
  @%p2 bra again;
  st.global.u32 [%rd3], %r11;
"""
COUNTED = """
  mov.u64 %rd6, ticket;
  @%q bra all;
  atom.global.add.u32 %r9, [%rd6], 1;
"""
ASSUMED = "@%q bra all; mov.u32 %r9, %r5;"


@pytest.mark.parametrize("blocks", [3, 40])
def test_the_last_block_may_read_what_others_wrote(blocks):
    """By an atomic counter; to assume which block is the last is a race."""
    got = run(LAST.format(count=COUNTED), blocks=blocks)
    right = (np.arange(blocks)[:, None] + np.arange(128)).sum(axis=0)
    np.testing.assert_array_equal(got[0], right)
    with pytest.raises(Race, match="read of global"):
        run(LAST.format(count=ASSUMED), blocks=blocks)


def test_one_instruction_that_writes_several_values():
    run("st.shared.u32 [s], 7; bar.sync 0;")
    with pytest.raises(Race, match="write of shared"):
        run("st.shared.u32 [s], %r1; bar.sync 0;")


def test_every_reader_counts_not_only_the_last():
    body = """
      st.shared.u32 [%r4], %r1;
      bar.sync 0;
      ld.shared.u32 %r5, [s];
      {sync}
      setp.ne.u32 %p1, %r1, 0;
      @!%p1 st.shared.u32 [s], 9;
    """
    run(body.format(sync="bar.sync 0;"))
    some = "setp.ge.u32 %p2, %r1, 64; @%p2 ret; bar.sync 1, 64;"
    with pytest.raises(Race, match="with the read of thread"):
        run(body.format(sync=some))


FLAG = """
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra wait;
  st.shared.u32 [s+4], 41;
  membar.cta;
  st{how}.shared.u32 [s], 1;
  ret;
wait:
  setp.lt.u32 %p2, %r1, 32;
  @%p2 ret;
again:
  ld{how}.shared.u32 %r5, [s];
  setp.eq.u32 %p2, %r5, 1;
  @!%p2 bra again;
  ld.shared.u32 %r6, [s+4];
  st.global.u32 [%rd3], %r6;
"""


def test_flags_are_volatile():
    start = "st.shared.u32 [%r4], 0; bar.sync 0;"
    got = run(start + FLAG.format(how=".volatile"))
    assert (got[32:] == 41).all()
    with pytest.raises(Race):
        run(start + FLAG.format(how=""))


def test_an_mbarrier_is_initialised_before_others_use_it():
    body = """
      setp.ne.u32 %p1, %r1, 0;
      @!%p1 mbarrier.init.shared.b64 [bar], 128;
      {sync}
      mbarrier.arrive.shared.b64 _, [bar];
    """
    run(body.format(sync="bar.sync 0;"))
    with pytest.raises(Race, match="read of shared"):
        run(body.format(sync=""))


def test_mbarriers_order_what_came_before_an_arrival():
    body = """
      setp.ne.u32 %p1, %r1, 0;
      @!%p1 mbarrier.init.shared.b64 [bar], 128;
      bar.sync 0;
      st.shared.u32 [%r4], %r1;
      mbarrier.arrive.shared.b64 _, [bar];
      {wait}
      xor.b32 %r5, %r2, 256;
      add.u32 %r5, %r5, %r3;
      ld.shared.u32 %r6, [%r5];
      st.global.u32 [%rd3], %r6;
    """
    wait = """
    again:
      mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
      @!%p2 bra again;
    """
    got = run(body.format(wait=wait))
    np.testing.assert_array_equal(got, np.arange(128) ^ 64)
    with pytest.raises(Race, match="no barrier between"):
        run(body.format(wait=""))


def test_a_histogram_is_read_behind_a_barrier():
    body = """
      st.shared.u32 [%r4], 0;
      bar.sync 0;
      atom.shared.add.u32 %r5, [s], 1;
      {sync}
      ld.shared.u32 %r6, [s];
      st.global.u32 [%rd3], %r6;
    """
    assert (run(body.format(sync="bar.sync 0;")) == 128).all()
    with pytest.raises(Race, match="with the write of thread"):
        run(body.format(sync=""))


def test_a_finding_names_the_node_of_the_model():
    planted = "// node: conv1\n st.shared.u32 [s], %r1;\n// node: relu1\n bar.sync 0;"
    with pytest.raises(Race, match="node conv1"):
        run(planted)


def test_a_loop_of_compare_and_swap_may_begin_with_a_plain_read():
    """Also behind other threads' atomics, of this block and of others."""
    body = """
      mov.u64 %rd6, ticket;
      shr.u32 %r7, %r1, 5;
      and.b32 %r8, %r1, 31;
      setp.ne.u32 %p2, %r8, 0;
      @%p2 ret;
    late:
      add.u32 %r8, %r8, 1;
      setp.lt.u32 %p3, %r8, %r7;
      @%p3 bra late;
      ld.global.u32 %r5, [%rd6];
    again:
      add.u32 %r6, %r5, 1;
      mov.u32 %r9, %r5;
      atom.global.cas.b32 %r5, [%rd6], %r9, %r6;
      setp.ne.u32 %p1, %r5, %r9;
      @%p1 bra again;
      st.global.u32 [%rd3], 0;
    """
    run(body.replace("st.global.u32 [%rd3], 0;", ""), blocks=33)
    with pytest.raises(Race, match="read of global"):
        run(body.replace("bra again;\n", "bra again;\n ld.global.u32 %r5, [%rd6];\n"))


def test_blocks_that_run_later_find_fresh_shared_memory():
    """Of 64 blocks, the second 32 run in the place of the first."""
    body = """
      mov.u32 %r7, %ctaid.x;
      setp.lt.u32 %p1, %r7, {writers};
      @%p1 st.shared.u32 [%r4], %r1;
      bar.sync 0;
      ld.shared.u32 %r6, [s+4];
    """
    run(body.format(writers=64), blocks=64)
    with pytest.raises(Uninitialised, match="nothing was written") as caught:
        run(body.format(writers=32), blocks=64)
    assert "block (32, 0, 0)" in str(caught.value)


def test_nodes_of_lines():
    text = """.entry a()
    {
    add
    // node: conv1
    mul
    }
    // node: conv2
    // node: relu2

    .visible .entry b(
    )
    { sub
    }
    .func (.param .b32 r) c()
    { not
    }"""
    found = Provenance.of(text)
    places = {line.strip(): number for number, line in enumerate(text.split("\n"), 1)}
    for line, name in {
        "add": "in a",
        "mul": "node conv1",
        "{ sub": "node conv2, relu2",
        "{ not": "in c",
    }.items():
        assert found.place(places[line]) == f"PTX line {places[line]}, {name}"


CHAIN = """
  cvt.u64.u32 %rd2, %r1;
  {loads}
  {sync}
  setp.eq.u32 %p1, %r1, 0;
  @%p1 st.global.u32 [%rd1], 5;
"""


def test_every_reader_of_global_memory_counts():
    """Warp 0 is the first and the last to read what its thread 0 writes then."""
    ends = "setp.eq.u32 %p2, %r1, 0; @%p2 ld.global.u32 %r5, [%rd1];"
    amid = "setp.eq.u32 %p3, %r1, {0}; @%p3 ld.global.u32 %r6, [%rd1];"
    loads = ends + amid.format(64) + amid.format(96) + ends
    run(CHAIN.format(loads=loads, sync="bar.sync 0;"))
    with pytest.raises(Race, match=r"with the read of thread \((64|96), 0, 0\)"):
        run(CHAIN.format(loads=loads, sync=""))
    alone = ends + amid.format(0) + ends
    run(CHAIN.format(loads=alone, sync=""))
