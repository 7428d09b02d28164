"""Exchanges within a warp, barriers with reductions, special registers, control."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .form import HEADER, Form, elementwise
from .values import Array, Source

FULL = "0xffffffff"
DIVERGE = (
    ".reg .pred %w; .reg .b32 %lane; mov.u32 %lane, %laneid; and.b32 %lane, %lane, 3; "
    "setp.ne.u32 %w, %lane, 1; mov.u32 %d, 77; "
)
"""Three lanes of four take part, under the mask 0xdddddddd."""


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _shuffles()
    yield from _votes()
    yield from _matches()
    yield from _reductions()
    yield from _barriers()
    yield from _registers()
    yield from _control()


def _small(source: Source, count: int) -> Array:
    """Values of which several lanes have the same."""
    return source.below(5, count)


def _alike(source: Source, count: int) -> Array:
    """Values that are the same for a whole warp, for every other warp."""
    lanes = np.arange(count)
    return np.where(lanes // 32 % 2 == 0, 7, source.below(3, count))


def _shuffles() -> Iterator[Form]:
    for mode in ("up", "down", "bfly", "idx"):
        clamps = (0, 0x1800, 0x1007) if mode == "up" else (0x1F, 0x181F, 0x100B, 0x1C1F)
        for clamp in clamps:
            body = (
                f".reg .pred %q; shfl.sync.{mode}.b32 %d|%q, %a, %b, {clamp}, {FULL}; "
                "@%q xor.b32 %d, %d, 0x10000;"
            )
            draw = (None, _uniform_amount if mode != "idx" else None)
            name = f"shfl.sync.{mode}.b32 {clamp:#x}"
            yield elementwise("warp", name, "b32", ["b32", "b32"], body, draw=draw)
        body = f"shfl.sync.{mode}.b32 %d, %a, 3, %b, {FULL};"
        draw = (None, lambda source, count: source.below(1 << 13, count))
        name = f"shfl.sync.{mode}.b32, any clamp"
        yield elementwise("warp", name, "b32", ["b32", "b32"], body, draw=draw)
    body = f"{DIVERGE} @%w shfl.sync.bfly.b32 %d, %a, 4, 0x1f, 0xdddddddd;"
    yield elementwise("warp", "shfl.sync, three of four", "b32", ["b32"], body)


def _uniform_amount(source: Source, count: int) -> Array:
    return source.bits(count // 32 + 1, "u4").repeat(32)[:count] % 40


def _votes() -> Iterator[Form]:
    cond = "setp.lt.s32 %q, %a, 1;"
    for mode, kind in (
        *(("all", "pred"), ("any", "pred"), ("uni", "pred")),
        ("ballot", "b32"),
    ):
        target = "%d" if kind == "b32" else "%r"
        end = "" if kind == "b32" else "selp.u32 %d, 1, 0, %r;"
        for draw in (_alike, _small):
            body = (
                f".reg .pred %q, %r; {cond} "
                f"vote.sync.{mode}.{kind} {target}, %q, {FULL}; {end}"
            )
            name = f"vote.sync.{mode} {draw.__name__[1:]}"
            yield elementwise("warp", name, "b32", ["s32"], body, draw=[draw])
        body = (
            f".reg .pred %q, %r; {cond} {DIVERGE} setp.eq.u32 %r, 0, 1; "
            f"@%w vote.sync.{mode}.{kind} {target}, !%q, 0xdddddddd; {end}"
        )
        name = f"vote.sync.{mode}, three of four"
        yield elementwise("warp", name, "b32", ["s32"], body, draw=[_small])
    body = f"{DIVERGE} @%w activemask.b32 %d;"
    yield elementwise("warp", "activemask", "b32", ["s32"], body)
    body = (
        f".reg .pred %q; elect.sync %d|%q, {FULL}; selp.u32 %d, 1000, %d, %q; "
        "add.u32 %d, %d, %a;"
    )
    yield elementwise("warp", "elect.sync", "b32", ["b32"], body)


def _matches() -> Iterator[Form]:
    for width in ("32", "64"):
        for draw in (_alike, _small):
            t = f"b{width}"
            name = f"match.any.sync.{t} {draw.__name__[1:]}"
            body = f"match.any.sync.{t} %d, %a, {FULL};"
            yield elementwise("warp", name, "b32", [t], body, draw=[draw])
            body = (
                f".reg .pred %q; match.all.sync.{t} %d|%q, %a, {FULL}; "
                "@%q xor.b32 %d, %d, 5;"
            )
            name = f"match.all.sync.{t} {draw.__name__[1:]}"
            yield elementwise("warp", name, "b32", [t], body, draw=[draw])


def _reductions() -> Iterator[Form]:
    for op, types in (
        *(("add", ("u32", "s32")), ("min", ("u32", "s32")), ("max", ("u32", "s32"))),
        *(("and", ("b32",)), ("or", ("b32",)), ("xor", ("b32",))),
    ):
        for t in types:
            name = f"redux.sync.{op}.{t}"
            body = f"{name} %d, %a, {FULL};"
            yield elementwise("warp", name, "b32", [t], body)
            body = f"{DIVERGE} @%w {name} %d, %a, 0xdddddddd;"
            full = f"{name}, three of four"
            yield elementwise("warp", full, "b32", [t], body)


def _barriers() -> Iterator[Form]:
    family = "barriers"
    cond = ".reg .pred %q, %r; setp.lt.s32 %q, %a, 1;"
    for draw in (_alike, _small):
        tag = draw.__name__[1:]
        for op, kind in (("popc", "u32"), ("and", "pred"), ("or", "pred")):
            target = "%d" if op == "popc" else "%r"
            end = "" if op == "popc" else "selp.u32 %d, 1, 0, %r;"
            for sign in ("", "!"):
                for bar in ("bar.red", "barrier.cta.red.aligned"):
                    name = f"{bar}.{op}.{kind}"
                    body = f"{cond} {name} {target}, 1, {sign}%q; {end}"
                    full = f"{name} {sign}{tag}"
                    yield elementwise(family, full, "b32", ["s32"], body, draw=[draw])
    body = (
        ".shared .b32 s[256]; .reg .b32 %t, %u; .reg .pred %q; mov.u32 %t, %tid.x; "
        "mov.u32 %u, s; mad.lo.u32 %u, %t, 4, %u; setp.ge.u32 %q, %t, 128; "
        "mov.u32 %d, 0; @%q bra other; st.shared.b32 [%u], %a; bar.arrive 2, 256; "
        "bra done; other: bar.sync 2, 256; ld.shared.b32 %d, [%u+-512]; done:"
    )
    yield elementwise(family, "bar.arrive, bar.sync of halves", "b32", ["b32"], body)


REGISTERS = (
    *("tid.x", "ntid.x", "ctaid.x", "nctaid.x", "laneid", "lanemask_eq"),
    *("lanemask_lt", "lanemask_le", "lanemask_gt", "lanemask_ge", "tid.y", "ntid.z"),
    *("cluster_ctarank", "cluster_nctarank", "clusterid.x", "nclusterid.x"),
    *("cluster_ctaid.x", "cluster_nctaid.x", "dynamic_smem_size", "total_smem_size"),
    "aggr_smem_size",
)


def _registers() -> Iterator[Form]:
    for name in REGISTERS:
        body = f"mov.u32 %d, %{name};"
        yield elementwise("special registers", name, "b32", [], body)
    body = ".reg .pred %q; mov.pred %q, %is_explicit_cluster; selp.u32 %d, 1, 0, %q;"
    yield elementwise("special registers", "is_explicit_cluster", "b32", [], body)


CALLS = """
.func (.param .b32 out) twice(.param .b32 x)
{
  .reg .b32 %v;
  ld.param.b32 %v, [x];
  add.u32 %v, %v, %v;
  st.param.b32 [out], %v;
  ret;
}
.func (.param .b32 out) square(.param .b32 x)
{
  .reg .b32 %v;
  ld.param.b32 %v, [x];
  mul.lo.u32 %v, %v, %v;
  st.param.b32 [out], %v;
  ret;
}
.func (.param .b32 out) factorial(.param .b32 x)
{
  .reg .b32 %v, %w;
  .reg .pred %p;
  ld.param.b32 %v, [x];
  setp.lt.u32 %p, %v, 2;
  @%p bra one;
  sub.u32 %w, %v, 1;
  {
    .param .b32 p;
    .param .b32 q;
    st.param.b32 [p], %w;
    call.uni (q), factorial, (p);
    ld.param.b32 %w, [q];
  }
  mul.lo.u32 %w, %w, %v;
  st.param.b32 [out], %w;
  ret;
one:
  st.param.b32 [out], 1;
  ret;
}
"""
INDIRECT = """.reg .b64 %f, %g; .reg .pred %q; .param .b32 p; .param .b32 q;
  mov.u64 %f, twice; mov.u64 %g, square; setp.gt.s32 %q, %a, %b;
  selp.b64 %f, %f, %g, %q; st.param.b32 [p], %a;
  proto: .callprototype (.param .b32 _) _ (.param .b32 _);
  call (q), %f, (p), proto; ld.param.b32 %d, [q];"""
DIRECT = """.param .b32 p; .param .b32 q; st.param.b32 [p], %a;
  call (q), twice, (p); ld.param.b32 %d, [q];"""
RECURSIVE = """.param .b32 p; .param .b32 q; .reg .b32 %n; and.b32 %n, %a, 7;
  st.param.b32 [p], %n; call (q), factorial, (p); ld.param.b32 %d, [q];"""
ALLOCA = """.reg .u64 %p, %s; .reg .u32 %n, %i; .reg .pred %q; stacksave.u64 %s;
  and.b32 %n, %a, 15; add.u32 %n, %n, 1; shl.b32 %i, %n, 2;
  cvt.u64.u32 %p, %i; alloca.u64 %p, %p, 16; mov.u32 %i, 0; mov.u32 %d, 0;
  fill: cvt.u64.u32 %at, %i; shl.b64 %at, %at, 2; add.u64 %at, %at, %p;
  st.local.u32 [%at], %i; ld.local.u32 %b, [%at]; add.u32 %d, %d, %b;
  add.u32 %i, %i, 1; setp.lt.u32 %q, %i, %n; @%q bra fill;
  stackrestore.u64 %s;"""


def _control() -> Iterator[Form]:
    for name, body, sources in (
        ("call", DIRECT, ["b32"]),
        ("call through a pointer", INDIRECT, ["s32", "s32"]),
        ("recursion", RECURSIVE, ["b32"]),
        ("stacksave, alloca, stackrestore", ALLOCA, ["b32", "b32"]),
    ):
        form = elementwise("control", name, "b32", sources, body)
        text = form.ptx.replace(HEADER, HEADER + CALLS)
        yield Form(
            *(form.family, form.name, text, form.inputs, form.output),
            blocks=form.blocks,
        )
    body = """.reg .b32 %i; rem.u32 %i, %a, 3; targets: .branchtargets one, two, three;
      brx.idx %i, targets; one: add.u32 %d, %a, 1; bra end; two: mul.lo.u32 %d, %a, 5;
      bra end; three: not.b32 %d, %a; end:"""
    yield elementwise("control", "brx.idx", "b32", ["b32"], body)
    body = """.reg .b32 %i; .reg .pred %q; and.b32 %i, %a, 31; mov.u32 %d, 0;
      again: add.u32 %d, %d, %i; setp.eq.u32 %q, %i, 0; @%q bra end;
      sub.u32 %i, %i, 1; bra again; end:"""
    yield elementwise("control", "a loop that lanes leave apart", "b32", ["b32"], body)
    body = "mov.u32 %d, 5; .reg .pred %q; setp.lt.s32 %q, %a, 0; @%q exit; add.u32 %d, "
    yield elementwise("control", "exit", "b32", ["s32"], body + "%d, 1;")
