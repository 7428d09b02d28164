"""Bulk copies beside threads in global memory, each bug beside a clean twin."""

from __future__ import annotations

import numpy as np
import pytest
from planted import HEAD, run

from stepwell.runtime.devices.emulated import EmulatedDevice, checker
from stepwell.runtime.devices.emulated.checker import Race

SETUP = """
  setp.ne.u32 %p1, %r1, 0;
  @!%p1 mbarrier.init.shared.b64 [bar], 1;
  bar.sync 0;
"""
LOAD = """
  mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes \
    [s], [%rd1], 512, [bar];
"""
WAIT = """
{label}:
  mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
  @!%p2 bra {label};
"""
FENCE = "fence.proxy.async;"
GLOBAL = "fence.proxy.async.global;"


def wait(label: str) -> str:
    return WAIT.format(label=label)


# What a thread wrote, and a load reads.

LATE = """
  bar.sync 0;
  setp.lt.u32 %p3, %r1, 32;
  @%p3 bra over;
  fence.proxy.async;
over:
"""
"""By other warps, once the copy may be on its way."""


def loaded(writer: str = GLOBAL, sync: str = "bar.sync 0;", reader: str = "") -> str:
    write = f"{SETUP} st.global.u32 [%rd3], %r1; {writer} {sync} @%p1 bra done;"
    return f"{write} {reader} {LOAD} done: {wait('w')}"


@pytest.mark.parametrize("fence", [FENCE, GLOBAL])
def test_a_fence_is_the_writers_or_the_readers(fence):
    run(loaded(writer=fence))
    run(loaded(writer="", reader=fence))


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"writer": "fence.acq_rel.gpu; membar.gl;"},
        {"writer": "fence.proxy.async.shared::cta;"},
        {"reader": "fence.proxy.async.shared::cluster;"},
        {"sync": LATE},
    ],
)
def test_a_load_of_what_no_fence_has_shown(parts):
    with pytest.raises(Race, match=r"read of global.*without a fence") as caught:
        run(loaded(**{"writer": "", **parts}))
    assert "wrote at PTX line" in str(caught.value)
    assert "fix: fence.proxy.async.global after the write" in str(caught.value)


def test_a_fence_is_no_barrier():
    with pytest.raises(Race, match=r"asynchronous read of global.*with the write of"):
        run(loaded(sync=""))


# What a load reads, and a thread writes.


@pytest.mark.parametrize(
    "store", ["st.global.u32 [%rd1], 7;", "red.global.add.u32 [%rd1], 7;"]
)
def test_a_write_under_a_load(store):
    body = SETUP + "@%p1 bra done;" + LOAD + "{early}" + wait("w") + "{late} done:"
    run(body.format(early="", late=store))
    with pytest.raises(Race, match="which the bulk copy that thread") as caught:
        run(body.format(early=store, late=wait("v")))
    assert "reads, without a wait for its mbarrier" in str(caught.value)


def test_one_threads_wait_for_a_load_does_not_serve_another():
    load = SETUP + "@%p1 bra others;" + LOAD + wait("w") + "others:"
    run(load + "bar.sync 0; st.global.u32 [%rd3], 7;")
    run(load + wait("v") + "st.global.u32 [%rd3], 7;")
    with pytest.raises(Race, match="reads, without a wait for its mbarrier"):
        run(load + "st.global.u32 [%rd3], 7;")


# What a copy writes, and threads read or write.

FORM = """
  st.shared.u32 [%r4], %r1;
  fence.proxy.async;
  {{before}}
  bar.sync 0;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra others;
  cp.{copy} [%rd1], [s], 512;
  cp.async.bulk.commit_group;
  {{wait}}
others:
  {{after}}
"""
STORE = FORM.format(copy="async.bulk.global.shared::cta.bulk_group")
REDUCE = FORM.format(copy="reduce.async.bulk.global.shared::cta.bulk_group.add.u32")
READ = "cp.async.bulk.wait_group.read 0;"
DONE = "cp.async.bulk.wait_group 0;"
OTHERS = """
  sub.u32 %r5, 508, %r2;
  cvt.u64.u32 %rd4, %r5;
  add.u64 %rd4, %rd4, %rd1;
"""
USES = [
    OTHERS + "ld.global.u32 %r6, [%rd4];",
    OTHERS + "st.global.u32 [%rd4], 5;",
    OTHERS + "red.global.add.u32 [%rd4], 5;",
]


def copied(form: str, wait: str = DONE, before: str = "", after: str = "") -> str:
    return form.format(wait=wait, before=before, after=after)


@pytest.mark.parametrize("form", [STORE, REDUCE])
@pytest.mark.parametrize("use", USES)
def test_uses_of_what_a_copy_writes(form, use):
    run(copied(form, after="bar.sync 0;" + use))
    with pytest.raises(Race, match=r"of global.*no barrier since the wait") as caught:
        run(copied(form, after=use))
    issued = "the bulk copy that thread (0, 0, 0) of block (0, 0, 0) issued at PTX line"
    assert issued in str(caught.value)
    with pytest.raises(Race, match="writes, without a wait for its group") as caught:
        run(copied(form, wait=READ, after="bar.sync 0;" + use))
    assert "fix: cp.async.bulk.wait_group (not .read)" in str(caught.value)


@pytest.mark.parametrize("form", [STORE, REDUCE])
def test_the_thread_that_waits_may_read(form):
    run(copied(form, wait=DONE + "ld.global.u32 %r6, [%rd1];"))
    with pytest.raises(Race, match="writes, without a wait for its group"):
        run(copied(form, wait=READ + "ld.global.u32 %r6, [%rd1];"))


@pytest.mark.parametrize("form", [STORE, REDUCE])
def test_a_copy_over_what_threads_read(form):
    read = "ld.global.u32 %r6, [%rd3];"
    run(copied(form, before=read))
    with pytest.raises(Race, match=r"global.*with the read of thread"):
        run(copied(form, before="bar.sync 0;" + read).replace("bar.sync 0;\n", "\n"))


@pytest.mark.parametrize("form", [STORE, REDUCE])
def test_a_copy_over_what_threads_wrote(form):
    """Their writes must be shown to it, not only be before it."""
    body = copied(form, before="st.global.u32 [%rd3], 7; {fence}")
    run(body.format(fence=GLOBAL))
    with pytest.raises(Race, match=r"(of|into) global.*without a fence since"):
        run(body.format(fence=""))


# Blocks.

BLOCKS = """
  mov.u32 %r7, %ctaid.x;
  mov.u32 %r8, {slot};
  mul.wide.u32 %rd4, %r8, 512;
  add.u64 %rd1, %rd1, %rd4;
"""


def slots(slot: str, form: str, **parts: str) -> str:
    return BLOCKS.format(slot=slot) + copied(form, **parts)


@pytest.mark.parametrize("blocks", [2, 64])
def test_blocks_that_store_to_the_same_bytes(blocks):
    """64 blocks are two waves."""
    right = np.zeros((blocks, 1), "i4") + np.arange(128)
    np.testing.assert_array_equal(run(slots("%r7", STORE), blocks=blocks), right)
    with pytest.raises(Race, match=r"bulk store into global.*the bulk copy that"):
        run(slots("0", STORE), blocks=blocks)
    with pytest.raises(Race, match=r"bulk store into global.*without a wait for its"):
        run(slots("0", STORE, wait=READ), blocks=blocks)


@pytest.mark.parametrize("wait", [READ, DONE])
@pytest.mark.parametrize("blocks", [2, 64])
def test_reductions_do_not_race_with_one_another(blocks, wait):
    got = run(slots("0", REDUCE, wait=wait), blocks=blocks)
    np.testing.assert_array_equal(got[0], blocks * np.arange(128))


COUNTED = """
  {fence}
  bar.sync 0;
  mov.u64 %rd6, ticket;
  @%p1 bra all;
  {count}
  st.shared.u32 [s], %r9;
all:
  bar.sync 0;
  ld.shared.u32 %r9, [s];
  mov.u32 %r10, %nctaid.x;
  sub.u32 %r10, %r10, 1;
  setp.ne.u32 %p2, %r9, %r10;
  @%p2 ret;
  {use}
"""
ATOMIC = "atom.global.add.u32 %r9, [%rd6], 1;"
ASSUMED = "mov.u32 %r9, %r7;"


def last(use: str, count: str = ATOMIC, fence: str = "") -> str:
    return COUNTED.format(use=use, count=count, fence=fence)


@pytest.mark.parametrize("blocks", [3, 40])
def test_the_last_block_may_read_what_all_have_reduced(blocks):
    """It is behind all of the reductions, not only the last one."""
    use = last(
        "ld.global.u32 %r6, [%rd3]; add.u32 %r6, %r6, 1; st.global.u32 [%rd3], %r6;"
    )
    got = run(slots("0", REDUCE, after=use), blocks=blocks)
    np.testing.assert_array_equal(got[0], blocks * np.arange(128) + 1)
    with pytest.raises(Race, match="without a wait for its group"):
        run(slots("0", REDUCE, wait=READ, after=use), blocks=blocks)
    with pytest.raises(Race, match="no barrier since the wait for its group"):
        assumed = use.replace(ATOMIC, ASSUMED)
        run(slots("0", REDUCE, after=assumed), blocks=blocks)


@pytest.mark.parametrize("blocks", [3, 40])
@pytest.mark.parametrize("fence", ["writer", "reader"])
def test_the_last_block_may_load_what_the_first_wrote(blocks, fence):
    """Two phases of one launch: a fence on either side of the atomics."""
    write = f"""
      {SETUP}
      mov.u32 %r7, %ctaid.x;
      setp.eq.u32 %p3, %r7, 0;
      @%p3 st.global.u32 [%rd3], %r1;
    """

    def body(writer: str, reader: str) -> str:
        load = f"bar.sync 0; @%p1 bra w; {reader} {LOAD} {wait('w')}"
        return write + last(load, fence=writer)

    run(body(*((GLOBAL, "") if fence == "writer" else ("", GLOBAL))), blocks=blocks)
    with pytest.raises(Race, match=r"asynchronous read of global.*without a fence"):
        run(body("", ""), blocks=blocks)


# Launches.


def test_launches_are_in_order():
    """Nothing that one launch leaves under way races with the next one."""
    device = EmulatedDevice(check=True)
    out = device.upload(np.zeros(128, "i4"))
    bodies = [
        copied(STORE, wait=READ),
        SETUP + "@%p1 bra w;" + LOAD + wait("w"),
        OTHERS + "ld.global.u32 %r6, [%rd4]; bar.sync 0; st.global.u32 [%rd3], %r6;",
        SETUP + "@%p1 bra w;" + LOAD + wait("w"),
        copied(REDUCE, wait=READ),
        copied(STORE, wait=READ),
    ]
    for body in bodies * 2:
        module = device.load(HEAD + body + "ret;\n}")
        module.launch("k", grid=1, block=128, args=[out])
    np.testing.assert_array_equal(device.download(out, (128,), "i4"), np.arange(128))


# cp.async, which is a thread's own copy.

ASYNC = """
  {before}
  cp.async.ca.shared.global [%r4], [%rd3], 4;
  {early}
  cp.async.wait_all;
  {late}
"""
OWN = "st.global.u32 [%rd3], 5;"
OTHER = OTHERS + "st.global.u32 [%rd4], 5;"


def small(before: str = "", early: str = "", late: str = "") -> str:
    return ASYNC.format(before=before, early=early, late=late)


def test_cp_async_of_what_others_wrote():
    """It needs a barrier, and no fence."""
    run(small(before=OTHER + "bar.sync 0;"))
    with pytest.raises(Race, match=r"read of global.*with the write of thread"):
        run(small(before=OTHER))


def test_a_write_under_a_cp_async():
    run(small(late=OWN))
    with pytest.raises(Race, match=r"write of global.*which the cp.async that thread"):
        run(small(early=OWN))


def test_a_write_of_others_behind_a_cp_async():
    run(small(late="bar.sync 0;" + OTHER))
    with pytest.raises(Race, match=r"the read of the cp.async.*no barrier since"):
        run(small(late=OTHER))


def test_cp_async_beyond_what_is_remembered(monkeypatch):
    """What it reads is checked still, not what is written later."""
    monkeypatch.setattr(checker, "MOST_READS", 0)
    run(small(late=OTHER))
    with pytest.raises(Race, match=r"read of global.*with the write of thread"):
        run(small(before=OTHER))
