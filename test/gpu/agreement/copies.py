"""Asynchronous copies of threads, and in bulk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .form import Form, elementwise
from .pieces import AWAIT, DUMP, FILL, LOAD, READ, SETUP, assembled, numbers
from .values import Source


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _small_copies()
    yield from _bulk()


def _small_copies() -> Iterator[Form]:
    shared = (
        ".shared .align 16 .b8 s[4096]; .reg .b32 %w, %i, %n; mov.u32 %w, s; "
        "mov.u32 %i, %tid.x; shl.b32 %i, %i, 4; add.u32 %w, %w, %i; "
        "st.shared.b64 [%w], 0x1111111111111111; st.shared.b64 [%w+8], 3; "
        "ld.param.u64 %at, [in0]; mad.wide.u32 %at, %index, 8, %at; "
        "and.b64 %at, %at, -16; "
    )
    end = "ld.shared.b64 %d, [%w+{at}]; "
    for size in (4, 8, 16):
        for cache in ("ca", "cg") if size == 16 else ("ca",):
            name = f"cp.async.{cache}.shared.global {size}"
            copy = f"cp.async.{cache}.shared.global [%w], [%at], {size}"
            at = max(0, size - 8)
            finish = f"cp.async.commit_group; cp.async.wait_group 0; {end}"
            body = shared + f"{copy}; {finish.format(at=at)}"
            yield elementwise("asynchronous copies", name, "b64", ["b64"], body)
            body = shared + (
                f"rem.u32 %n, %index, {size + 1}; {copy}, %n; cp.async.wait_all; "
                f"{end.format(at=at)}"
            )
            full = f"{name}, source size"
            yield elementwise("asynchronous copies", full, "b64", ["b64"], body)
            body = shared + (
                f".reg .pred %q; and.b32 %n, %index, 2; setp.eq.u32 %q, %n, 0; {copy}, "
                f"%q; cp.async.wait_all; {end.format(at=at)}"
            )
            full = f"{name}, ignore source"
            yield elementwise("asynchronous copies", full, "b64", ["b64"], body)


def _bulk() -> Iterator[Form]:
    data = Source("bulk").bits(512, "u4")
    parameters = (".u64 in0", ".u64 out")
    for size, at in ((16, 0), (512, 64), (1008, 16)):
        copy = (
            "ld.param.u64 %at, [in0]; @%first cp.async.bulk.shared::cluster.global"
            f".mbarrier::complete_tx::bytes [s+{at}], [%at], {size}, [bar];"
        )
        load = LOAD.replace("{bytes}", str(size)).replace("{copy}", copy)
        ptx = assembled(parameters, (SETUP, FILL, load, AWAIT, DUMP), 2048)
        output = np.zeros(512, "u4")
        name = f"cp.async.bulk global to shared, {size} bytes"
        yield Form("bulk copies", name, ptx, (data,), output, threads=128)
    finish = " cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret;\n"
    for size, at in ((16, 0), (512, 64), (1008, 16)):
        store = (
            "ld.param.u64 %at, [out]; @%first cp.async.bulk.global.shared::cta"
            f".bulk_group [%at], [s+{at}], {size};"
        )
        ptx = assembled(parameters, (SETUP, READ, store, finish), 2048)
        output = np.arange(512, dtype="u4")
        name = f"cp.async.bulk shared to global, {size} bytes"
        yield Form("bulk copies", name, ptx, (data,), output, threads=128)
    for op, types in REDUCTIONS.items():
        yield from (_bulk_reduction(op, type_) for type_ in types)
    for op, types in REMOTE_REDUCTIONS.items():
        yield from (_remote_reduction(op, type_) for type_ in types)
    for blocks in (2, 1, 0):
        yield _remote_reduction("add", "u32", "itself", blocks)


REDUCTIONS = {
    "add": ("u32", "s32", "u64", "f16", "bf16", "f32", "f64"),
    "min": ("u32", "s32", "u64", "s64", "f16", "bf16"),
    "max": ("u32", "s32", "u64", "s64", "f16", "bf16"),
    "inc": ("u32",),
    "dec": ("u32",),
    "and": ("b32", "b64"),
    "or": ("b32", "b64"),
    "xor": ("b32", "b64"),
}


REMOTE_REDUCTIONS = {
    "add": ("u32", "s32", "u64"),
    "min": ("u32", "s32"),
    "max": ("u32", "s32"),
    "inc": ("u32",),
    "dec": ("u32",),
    "and": ("b32",),
    "or": ("b32",),
    "xor": ("b32",),
}


def _bulk_reduction(op: str, type_: str) -> Form:
    """From shared to global memory."""
    noftz = ".noftz" if op == "add" and type_ in ("f16", "bf16") else ""
    name = f"cp.reduce.async.bulk.global.{op}{noftz}.{type_}"
    source = Source(name)
    data, old = (numbers(source, type_, 256) for _ in range(2))
    kind = {"f16": "f16x2", "bf16": "bf16x2"}.get(
        type_, type_ if type_[0] == "f" else ""
    )
    text = (
        "ld.param.u64 %at, [out]; @%first cp.reduce.async.bulk.global.shared::cta"
        f".bulk_group.{op}{noftz}.{type_} [%at], [s], 1024; "
        "cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret;\n"
    )
    ptx = assembled((".u64 in0", ".u64 out"), (SETUP, READ, text), 1024)
    if type_ == "f64":
        data, old = data.view("u8"), old.view("u8")
    return Form("bulk copies", name, ptx, (data,), old, kind, threads=128)


MEET = "barrier.cluster.arrive; barrier.cluster.wait;\n"


def _remote_reduction(
    op: str, type_: str, to: str = "the other", blocks: int = 2
) -> Form:
    """From a block's shared memory to the other's of a cluster, or to its own.

    A kernel of no clusters (no `blocks`) is refused: those of one block must be asked
    for.
    """
    rank = "xor.b32 %x0, %x0, 1;" if to == "the other" else ""
    text = (
        "  @%first mbarrier.init.shared.b64 [bar], 1;\n"
        "  fence.mbarrier_init.release.cluster;\n"
        "  @%first mbarrier.arrive.expect_tx.shared.b64 %state, [bar], 512;\n"
        f"  {MEET}  mov.u32 %x0, %cluster_ctarank; {rank}\n"
        "  mov.u32 %x1, bar; mapa.shared::cluster.u32 %x1, %x1, %x0;\n"
        "  mapa.shared::cluster.u32 %x2, %base, %x0; add.u32 %x3, %base, 512;\n"
        "  @%first cp.reduce.async.bulk.shared::cluster.shared::cta"
        f".mbarrier::complete_tx::bytes.{op}.{type_} [%x2], [%x3], 512, [%x1];\n"
    )
    parts = (SETUP, READ, text, AWAIT, MEET, DUMP)
    ptx = assembled((".u64 in0", ".u64 out"), parts, 1024)
    if blocks:
        ptx = ptx.replace(")\n{", f")\n.reqnctapercluster {blocks}, 1, 1\n{{", 1)
    name = f"cp.reduce.async.bulk.shared::cluster.{op}.{type_}"
    data = numbers(Source(name), type_, 256)
    if to == "itself":
        name = f"{name} to itself, {blocks} blocks"
    return Form(
        *("bulk copies" if blocks else "refused copies", name, ptx, (data,)),
        np.zeros(256, "u4"),
        threads=128,
        blocks=blocks or 1,
        cluster=blocks or 1,
    )
