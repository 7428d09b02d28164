"""Counts of instructions, bank conflicts and sectors, against counts by hand."""

from __future__ import annotations

import pytest
from planted import HEAD, run

from stepwell.runtime.devices.emulated import Statistics

LINE = HEAD.count("\n") + 1


def count(body: str) -> Statistics:
    statistics = Statistics()
    run(body, statistics=statistics)
    return statistics


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("mov.u32 %r5, %r4;", 4),  # neighbours
        ("mov.u32 %r5, %r3;", 4),  # one word for all
        ("and.b32 %r5, %r1, 3; shl.b32 %r5, %r5, 7; add.u32 %r5, %r5, %r3;", 16),
        ("shl.b32 %r5, %r1, 3; and.b32 %r5, %r5, 248; add.u32 %r5, %r5, %r3;", 8),
    ],
)
def test_wavefronts(address, taken):
    """Four warps read: every 32nd word of four, every second word."""
    fill = "st.shared.u32 [%r4], %r1; bar.sync 0;\n"
    statistics = count(fill + address + "\n ld.shared.u32 %r6, [%r5];")
    line = statistics.lines[LINE + 2]
    assert (line.name, line.requests) == ("ld.shared.u32", 4)
    assert (line.taken, line.least) == (taken, 4)
    assert statistics.bank_conflicts == taken - 4


def test_wide_accesses_go_by_parts_of_a_warp():
    body = """shl.b32 %r5, %r1, 4; and.b32 %r5, %r5, 496; add.u32 %r5, %r5, %r3;
    bar.sync 0;
    setp.lt.u32 %p1, %r1, 32;
    @%p1 st.shared.v4.u32 [%r5], {%r5, %r5, %r5, %r5};"""
    line = count(body).lines[LINE + 3]
    assert (line.requests, line.taken, line.least) == (1, 4, 4)


@pytest.mark.parametrize(("pitch", "taken"), [(64, 4), (128, 8), (16, 1), (80, 1)])
def test_rows_of_a_matrix(pitch, taken):
    """Eight rows of 16 bytes are one wavefront unless they share banks."""
    body = f""".shared .align 16 .b8 rows[1024];
    shl.b32 %r7, %r1, 3; mov.u32 %r8, rows; add.u32 %r7, %r7, %r8; mov.u64 %rd5, 0;
    st.shared.u64 [%r7], %rd5; bar.sync 0;
    and.b32 %r6, %r1, 7; mad.lo.u32 %r5, %r6, {pitch}, %r8; setp.lt.u32 %p1, %r1, 32;
    @%p1 ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r9}}, [%r5];"""
    line = count(body).lines[LINE + 4]
    assert line.name.startswith("ldmatrix")
    assert (line.requests, line.taken, line.least) == (1, taken, 1)


def test_bytes_of_one_word_are_no_conflict():
    body = """st.shared.u32 [%r4], %r1; bar.sync 0;
    add.u32 %r5, %r3, %r1;
    ld.shared.u8 %r6, [%r5];"""
    line = count(body).lines[LINE + 2]
    assert (line.requests, line.taken, line.least) == (4, 4, 4)


@pytest.mark.parametrize(("shift", "sectors"), [(0, 16), (4, 64)])
def test_sectors(shift, sectors):
    """Neighbours share sectors of 32 bytes; every 16th byte of one block does not."""
    body = f"""mul.wide.u32 %rd4, %r1, {4 if shift == 0 else 16};
    and.b64 %rd4, %rd4, 511; add.u64 %rd4, %rd4, %rd1;
    ld.global.u32 %r6, [%rd4];"""
    line = count(body).lines[LINE + 2]
    assert (line.requests, line.taken) == (4, sectors)
    assert line.least == 16


def test_instruction_mix():
    statistics = count("setp.lt.u32 %p1, %r1, 16;\n @%p1 st.global.u32 [%rd3], %r1;")
    assert statistics.mix["st.global.u32"] == 4
    line = statistics.lines[LINE + 1]
    assert (line.executed, line.active) == (4, 16)
    assert sum(statistics.mix.values()) == 10 * 4
    text = statistics.report()
    assert "40 warp instructions" in text
    assert "global sectors, st.global.u32, PTX line" in text
