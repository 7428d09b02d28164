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


def forms() -> Iterator[Form]:
    """All of them."""
    before = PARITY.format(parity=0, value=1) + PARITY.format(parity=1, value=10)
    after = "bar.sync 0; " + PARITY.format(parity=0, value=100)
    after += PARITY.format(parity=1, value=1000)
    arrive = "mbarrier.arrive.shared.b64 %s, [bar]"
    cases = {
        "phases": (256, f"{before} bar.sync 0; {arrive}; {after}"),
        "too few": (257, f"{before} bar.sync 0; {arrive}; {after}"),
        "states": (
            256,
            f"{arrive}; bar.sync 0; {TEST.format(value=1)} "
            f"mbarrier.arrive.shared.b64 %o, [bar]; bar.sync 0; {TEST.format(value=7)}",
        ),
        "counts": (
            512,
            f"mbarrier.arrive.shared.b64 %s, [bar], 2; {after}",
        ),
        "pending_count": (
            257,
            "bar.sync 0; @%f mbarrier.arrive.shared.b64 %s, [bar], 5; "
            "@%f mbarrier.arrive.shared.b64 %s, [bar], 7; "
            "@%f mbarrier.pending_count.b64 %d, %s;",
        ),
        "arrive_drop": (
            256,
            f"mbarrier.arrive_drop.shared.b64 %s, [bar]; {after} bar.sync 0; "
            "mbarrier.pending_count.b64 %n, %s; min.u32 %n, %n, 1; add.u32 %d, %d, %n;",
        ),
        "arrive_drop, then fewer": (
            256,
            "setp.ge.u32 %q, %index, 128; @%q mbarrier.arrive_drop.shared.b64 %s, "
            f"[bar]; @!%q {arrive}; {after} bar.sync 0; setp.lt.u32 %q, %index, 128; "
            f"@%q {arrive}; {after}",
        ),
        "noComplete": (
            512,
            "mbarrier.arrive.noComplete.shared.b64 %s, [bar], 1; bar.sync 0; "
            f"{arrive}; {after}",
        ),
        "expect_tx, complete_tx": (
            1,
            "@%f mbarrier.arrive.expect_tx.shared.b64 %s, [bar], 64; "
            f"{before} bar.sync 0; @%f mbarrier.complete_tx.relaxed.cta.shared::cta"
            f".b64 [bar], 64; {after}",
        ),
        "expect_tx alone": (
            1,
            "@%f mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], 64; "
            f"@%f {arrive}; bar.sync 0; {before} bar.sync 0; "
            "@%f mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 32; "
            "@%f mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 32; "
            f"{after}",
        ),
        "inval, init again": (
            3,
            "@%f mbarrier.inval.shared.b64 [bar]; bar.sync 0; "
            f"@%f mbarrier.init.shared.b64 [bar], 1; bar.sync 0; @%f {arrive}; {after}",
        ),
    }
    for name, (count, body) in cases.items():
        yield _barrier(name, INIT.format(count=count) + body)
    copied = (
        ".shared .align 16 .b8 s[1024]; .reg .b32 %w; mov.u32 %w, s; "
        "mad.lo.u32 %w, %index, 4, %w; ld.param.u64 %at, [in0]; "
        "mad.wide.u32 %at, %index, 4, %at; "
    )
    copied += "cp.async.ca.shared.global [%w], [%at], 4; "
    for noinc, count in (("", 256), (".noinc", 256)):
        name = f"cp.async.mbarrier.arrive{noinc}"
        own = "" if noinc else f"{arrive}; "
        wait = "again: mbarrier.test_wait.parity.shared.b64 %q, [bar], 0; "
        wait += "@!%q bra again; xor.b32 %w, %w, 4; ld.shared.b32 %d, [%w];"
        body = f"{copied} {name}.shared.b64 [bar]; {own}{wait}"
        yield _barrier(name, INIT.format(count=count) + body)


def _barrier(name: str, body: str) -> Form:
    return elementwise("mbarriers", name, "b32", ["b32"], body, lanes=256)
