"""mbarriers: what their states and waits say."""

from __future__ import annotations

from collections.abc import Iterator

from .form import Form, elementwise

INIT = (
    ".shared .align 8 .b64 bar; .reg .pred %q, %f; .reg .b64 %s, %o; .reg .b32 %n; "
    "setp.eq.u32 %f, %index, 0; mov.u32 %d, 0; "
    "@%f mbarrier.init.shared.b64 [bar], {count}; bar.sync 0; "
)
TEST = "mbarrier.test_wait.shared.b64 %q, [bar], %s; @%q add.u32 %d, %d, {value}; "
PARITY = (
    "mbarrier.test_wait.parity.shared.b64 %q, [bar], {parity}; "
    "@%q add.u32 %d, %d, {value}; "
)


BEFORE = PARITY.format(parity=0, value=1) + PARITY.format(parity=1, value=10)
AFTER = (
    "bar.sync 0; "
    + PARITY.format(parity=0, value=100)
    + PARITY.format(parity=1, value=1000)
)
ARRIVE = "mbarrier.arrive.shared.b64 %s, [bar]"
CASES = {
    "phases": (256, f"{BEFORE} bar.sync 0; {ARRIVE}; {AFTER}"),
    "too few": (257, f"{BEFORE} bar.sync 0; {ARRIVE}; {AFTER}"),
    "states": (
        256,
        f"{ARRIVE}; bar.sync 0; {TEST.format(value=1)} "
        f"mbarrier.arrive.shared.b64 %o, [bar]; bar.sync 0; {TEST.format(value=7)}",
    ),
    "counts": (
        512,
        f"mbarrier.arrive.shared.b64 %s, [bar], 2; {AFTER}",
    ),
    "pending_count": (
        257,
        "bar.sync 0; @%f mbarrier.arrive.shared.b64 %s, [bar], 5; "
        "@%f mbarrier.arrive.shared.b64 %s, [bar], 7; "
        "@%f mbarrier.pending_count.b64 %d, %s;",
    ),
    "arrive_drop": (
        256,
        f"mbarrier.arrive_drop.shared.b64 %s, [bar]; {AFTER} bar.sync 0; "
        "mbarrier.pending_count.b64 %n, %s; min.u32 %n, %n, 1; add.u32 %d, %d, %n;",
    ),
    "arrive_drop, then fewer": (
        256,
        "setp.ge.u32 %q, %index, 128; @%q mbarrier.arrive_drop.shared.b64 %s, "
        f"[bar]; @!%q {ARRIVE}; {AFTER} bar.sync 0; setp.lt.u32 %q, %index, 128; "
        f"@%q {ARRIVE}; {AFTER}",
    ),
    "noComplete": (
        512,
        "mbarrier.arrive.noComplete.shared.b64 %s, [bar], 1; bar.sync 0; "
        f"{ARRIVE}; {AFTER}",
    ),
    "expect_tx, complete_tx": (
        1,
        "@%f mbarrier.arrive.expect_tx.shared.b64 %s, [bar], 64; "
        f"{BEFORE} bar.sync 0; @%f mbarrier.complete_tx.relaxed.cta.shared::cta"
        f".b64 [bar], 64; {AFTER}",
    ),
    "expect_tx alone": (
        1,
        "@%f mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 64; "
        f"@%f {ARRIVE}; bar.sync 0; {BEFORE} bar.sync 0; "
        "@%f mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 32; "
        "@%f mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 32; "
        f"{AFTER}",
    ),
    "inval, init again": (
        3,
        "@%f mbarrier.inval.shared.b64 [bar]; bar.sync 0; "
        f"@%f mbarrier.init.shared.b64 [bar], 1; bar.sync 0; @%f {ARRIVE}; {AFTER}",
    ),
}
"""The arrivals that an mbarrier is made for, and what 256 threads do to it."""
COPY = (
    ".shared .align 16 .b8 s[1024]; .reg .b32 %w; mov.u32 %w, s; "
    "mad.lo.u32 %w, %index, 4, %w; ld.param.u64 %at, [in0]; "
    "mad.wide.u32 %at, %index, 4, %at; cp.async.ca.shared.global [%w], [%at], 4; "
)
WAIT = (
    "again: mbarrier.test_wait.parity.shared.b64 %q, [bar], 0; "
    "@!%q bra again; xor.b32 %w, %w, 4; ld.shared.b32 %d, [%w];"
)


def forms() -> Iterator[Form]:
    """All of them."""
    for name, (count, body) in CASES.items():
        yield _barrier(name, INIT.format(count=count) + body)
    for noinc, own in (("", f"{ARRIVE}; "), (".noinc", "")):
        name = f"cp.async.mbarrier.arrive{noinc}"
        body = f"{COPY} {name}.shared.b64 [bar]; {own}{WAIT}"
        yield _barrier(name, INIT.format(count=256) + body)


def _barrier(name: str, body: str) -> Form:
    return elementwise("mbarriers", name, "b32", ["b32"], body, lanes=256)
