"""Loads, stores, moves, address spaces, atomics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .form import HEADER, Form, elementwise
from .values import Array, Source, width

SHARED = (
    ".shared .align 16 .b8 s[4096]; .reg .b32 %w, %i; mov.u32 %w, s; "
    "mov.u32 %i, %tid.x; shl.b32 %i, %i, 4; add.u32 %w, %w, %i; "
)
"""Sixteen bytes of shared memory for each thread, at %w."""


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _hints()
    yield from _moves()
    yield from _loads()
    yield from _spaces()
    yield from _atomics()
    yield from _combining()


HINTS = {
    "griddepcontrol": "griddepcontrol.wait; griddepcontrol.launch_dependents;",
    "nanosleep": "nanosleep.u32 20;",
    "prefetch": "prefetch.global.L2 [%at]; prefetchu.L1 [%at];",
    "fences": "fence.sc.gpu; fence.acq_rel.cluster; fence.proxy.alias; membar.sys; "
    "fence.proxy.async; fence.acq_rel.sys;",
    "pmevent": "pmevent 1;",
    "createpolicy": ".reg .b64 %p; createpolicy.fractional.L2::evict_last"
    ".L2::evict_unchanged.b64 %p, 0.5; "
    "ld.global.L2::cache_hint.b32 %a, [%at], %p;",
    "applypriority, discard": "applypriority.global.L2::evict_normal [%base], 128;",
    "activity of a warp": "bar.warp.sync 0xffffffff;",
}
"""Instructions that leave no trace but time; loads still work after them."""


def _hints() -> Iterator[Form]:
    place = "ld.param.u64 %at, [in0]; mad.wide.u32 %at, %index, 4, %at; "
    for name, hint in HINTS.items():
        body = f"{place} {hint} ld.global.b32 %d, [%at]; xor.b32 %d, %d, %a;"
        body += " add.u32 %d, %d, %a;"
        yield elementwise("hints and fences", name, "b32", ["b32"], body)


def _moves() -> Iterator[Form]:
    family = "moves"
    for type_ in ("b16", "b32", "b64", "f32", "f64", "u32", "s64"):
        yield elementwise(family, f"mov.{type_}", type_, [type_])
    body = ".reg .b16 %x, %y; mov.b32 {%x, %y}, %a; mov.b32 %d, {%y, %x};"
    yield elementwise(family, "mov.b32 of halves", "b32", ["b32"], body)
    body = ".reg .b32 %x, %y; mov.b64 {%x, %y}, %a; mov.b64 %d, {%y, %x};"
    yield elementwise(family, "mov.b64 of words", "b64", ["b64"], body)
    body = ".reg .b16 %x<4>; mov.b64 {%x0, %x1, %x2, %x3}, %a; "
    body += "mov.b64 %d, {%x3, %x1, %x2, %x0};"
    yield elementwise(family, "mov.b64 of halves", "b64", ["b64"], body)
    body = ".reg .b8 %x<4>; mov.b32 {%x0, %x1, %x2, %x3}, %a; "
    body += "mov.b32 %d, {%x3, %x1, %x2, %x0};"
    yield elementwise(family, "mov.b32 of bytes", "b32", ["b32"], body)
    body = ".reg .b128 %x; .reg .b64 %y; mov.b128 %x, {%a, %b}; mov.b128 {%y, %d}, %x; "
    body += "xor.b64 %d, %d, %y; add.u64 %d, %d, %y;"
    yield elementwise(family, "mov.b128", "b64", ["b64", "b64"], body)


def _loads() -> Iterator[Form]:
    family = "loads and stores"
    for type_ in ("u8", "s8", "u16", "s16", "u32", "s32"):
        for to in ("16", "32", "64"):
            if int(to) < int(type_[1:]):
                continue
            body = f"{SHARED} st.shared.b64 [%w], %a; ld.shared.{type_} %d, [%w+2];"
            if type_[1:] == "32":
                body = body.replace("[%w+2]", "[%w+4]")
            if to in ("16", "32") and type_[1:] != "8" and to == type_[1:]:
                name = f"ld.shared.{type_}"
            else:
                name = f"ld.shared.{type_} into b{to}"
            yield elementwise(family, name, f"b{to}", ["b64"], body)
    for count, unit in ((2, "b32"), (4, "b32"), (2, "b64"), (4, "b16"), (2, "u8")):
        names = [f"%x{i}" for i in range(count)]
        bank = "b16" if unit == "u8" else unit
        kind = unit.replace("b", "u")
        body = (
            f"{SHARED} .reg .{bank} %x<{count}>; st.shared.v2.b64 [%w], {{%a, %b}}; "
            f"ld.shared.v{count}.{unit} {{{', '.join(names)}}}, [%w]; mov.b64 %d, 0; "
            ".reg .b64 %y; "
        )
        for name in names:
            move = (
                f"cvt.u64.{kind} %y, {name};"
                if unit != "b64"
                else f"mov.b64 %y, {name};"
            )
            body += f"{move} mad.lo.u64 %d, %d, 1000003, %y; "
        yield elementwise(
            family, f"ld.shared.v{count}.{unit}", "b64", ["b64"] * 2, body
        )
    for cache in ("ca", "cg", "cs", "lu", "cv", "nc", "relaxed.gpu", "acquire.sys"):
        body = "ld.param.u64 %at, [in0]; mad.wide.u32 %at, %index, 4, %at; "
        op = "ld.global.nc" if cache == "nc" else f"ld.{cache}.global"
        if "." not in cache and cache != "nc":
            op = f"ld.global.{cache}"
        name = f"{op}.b32"
        yield elementwise(family, name, "b32", ["b32"], f"{body} {name} %d, [%at];")
    body = (
        f"{SHARED} .reg .b128 %x; .reg .b64 %y; mov.b128 %x, {{%a, %b}}; "
        "st.shared.b128 [%w], %x; ld.shared.b64 %y, [%w+8]; ld.shared.b128 %x, [%w]; "
        "mov.b128 {%a, %b}, %x; sub.u64 %d, %a, %b; xor.b64 %d, %d, %y;"
    )
    yield elementwise(family, "ld, st.shared.b128", "b64", ["b64", "b64"], body)
    yield from _constants(family)
    body = ".local .align 16 .b8 l[32]; .reg .b64 %p; mov.u64 %p, l; "
    body += (
        "st.local.v2.b32 [l+8], {%a, %b}; cvta.local.u64 %p, %p; ld.b32 %d, [%p+12];"
    )
    yield elementwise(family, "local, then generic", "b32", ["b32", "b32"], body)


TABLES = """
.const .align 4 .b32 table[8] = {1, 2, 3, 5, 8, 13, 21, 34};
.global .align 4 .b32 counters[4] = {100, 0x7fffffff, -3, 9};
.global .align 8 .u64 names[2] = {counters, generic(counters)+8};
.global .align 1 .b8 letters[8] = {104, 97, 108, 108, 111, 0, 1, 0xff};
.global .f32 half = 0f3F000000;
"""


def _constants(family: str) -> Iterator[Form]:
    index = ".reg .b32 %i; .reg .b64 %p; and.b32 %i, %a, 7; "
    bodies = {
        "ld.const": "mov.u64 %p, table; mad.wide.u32 %p, %i, 4, %p; "
        "ld.const.u32 %d, [%p];",
        "ld.global of a variable": "mov.u64 %p, letters; cvt.u64.u32 %at, %i; "
        "add.u64 %p, %p, %at; ld.global.s8 %d, [%p];",
        "pointers in variables": "and.b32 %i, %i, 1; mov.u64 %p, names; "
        "mad.wide.u32 %p, %i, 8, %p; ld.global.u64 %p, [%p]; ld.global.u32 %d, [%p+4];",
        "a float variable": "ld.global.f32 %d, [half]; add.u32 %d, %d, %i;",
    }
    for name, body in bodies.items():
        form = elementwise(family, name, "b32", ["b32"], index + body)
        yield replace(form, ptx=form.ptx.replace(HEADER, HEADER + TABLES))


MIXED = (
    f"{SHARED} .local .b32 l[2]; .reg .b64 %p, %q, %r; .reg .pred %t, %u; "
    "st.shared.b32 [%w], %a; st.local.b32 [l], %b; mov.u64 %p, l; "
    "cvta.local.u64 %p, %p; cvt.u64.u32 %q, %w; cvta.shared.u64 %q, %q; "
    "ld.param.u64 %r, [in2]; mad.wide.u32 %r, %index, 4, %r; rem.u32 %i, %index, 3; "
    "setp.eq.u32 %t, %i, 1; setp.eq.u32 %u, %i, 2; selp.b64 %p, %q, %p, %t; "
    "selp.b64 %p, %r, %p, %u; "
)
"""A generic address to local, shared or global memory, by the thread."""


def _spaces() -> Iterator[Form]:
    family = "state spaces"
    three = ["b32"] * 3
    body = f"{MIXED} ld.b32 %d, [%p];"
    yield elementwise(family, "ld of several spaces", "b32", three, body)
    body = f"{MIXED} st.b32 [%p], %index; ld.b32 %d, [%p];"
    yield elementwise(family, "st of several spaces", "b32", three, body)
    body = f"{MIXED} .reg .pred %x; mov.u32 %d, 0; "
    for index, space in enumerate(("global", "shared", "local", "const")):
        body += f"isspacep.{space} %x, %p; @%x add.u32 %d, %d, {10**index}; "
    yield elementwise(family, "isspacep", "b32", three, body)


def _atomics() -> Iterator[Form]:
    """Each thread on memory of its own: the old value and the new."""
    whole = ("add", "min", "max")
    bits = ("and", "or", "xor", "exch")
    table = [
        *((op, t) for t in ("u32", "s32", "u64", "s64") for op in whole),
        *((op, t) for t in ("b32", "b64") for op in bits),
        *(("inc", "u32"), ("dec", "u32")),
        *(("cas", t) for t in ("b16", "b32", "b64")),
        *(("add", t) for t in ("f32", "f64")),
        *(("add.noftz", t) for t in ("f16", "bf16", "f16x2", "bf16x2")),
    ]
    for op, t in table:
        if (op, t) == ("add", "s64"):
            continue
        for space in ("global", "shared"):
            yield _own(op, t, space)
        if op not in ("exch", "cas"):
            yield _own(op, t, "global", red=True)
    for count in (2, 4):
        yield _vector(count, "f32")
    for op in ("exch", "cas"):
        yield _wide(op)


def _own(op: str, type_: str, space: str, red: bool = False) -> Form:
    """`atom` on the thread's own element: old value times a constant, plus the new."""
    name, *tail = op.split(".")
    suffix = "." + ".".join([*tail, type_])
    base, bits = "at", f"b{8 * width(type_)}"
    if space == "shared":
        prepare = f"{SHARED} st.shared.{bits} [%w], %a; "
        base = "w"
    else:
        prepare = "ld.param.u64 %at, [out]; mad.wide.u32 %at, %index, "
        prepare += f"{width(type_)}, %at; st.global.{bits} [%at], %a; "
    operand = "%b, %c" if name == "cas" else "%b"
    sources = [type_] * (3 if name == "cas" else 2)
    if red:
        full = f"red.{space}.{name}{suffix}"
        body = f"{prepare} {full} [%{base}], {operand}; membar.gl; "
        return elementwise(
            "atomics",
            full,
            type_,
            sources,
            body
            + f"ld.{space}.relaxed.gpu.{bits} %d, [%{base}];".replace(
                f"ld.{space}.relaxed.gpu", f"ld.relaxed.gpu.{space}"
            ),
        )
    full = f"atom.{space}.{name}{suffix}"
    mix = {
        2: "shl.b16 %x, %x, 3; xor.b16 %d, %d, %x;",
        4: "mul.lo.u32 %x, %x, 2654435761; xor.b32 %d, %d, %x;",
        8: "mul.lo.u64 %x, %x, 6364136223846793005; xor.b64 %d, %d, %x;",
    }[width(type_)]
    if type_[0] in "fb" and name == "add" and type_ not in ("b32", "b64"):
        mix = ""  # so that bits of NaN are told from wrong numbers
    body = (
        f".reg .{bits} %x; {prepare} {full} %x, [%{base}], {operand}; membar.cta; "
        f"ld.{space}.{bits} %d, [%{base}]; {mix}"
    )
    return elementwise("atomics", full, type_, sources, body)


def _wide(op: str) -> Form:
    """`atom.b128`, on shared memory of the thread."""
    second = ", %y" if op == "cas" else ""
    body = (
        f"{SHARED} .reg .b128 %x, %y, %z; .reg .b64 %u, %v; "
        "st.shared.b64 [%w], %a; st.shared.b64 [%w+8], %b; mov.b128 %x, {%a, %c}; "
        "mov.b128 %y, {%c, %e}; "
        f"atom.shared.{op}.b128 %z, [%w], %x{second}; mov.b128 {{%u, %v}}, %z; "
        "mad.lo.u64 %d, %u, 3, %v; ld.shared.b64 %u, [%w]; ld.shared.b64 %v, [%w+8]; "
        "mad.lo.u64 %d, %d, 5, %u; mad.lo.u64 %d, %d, 7, %v;"
    )
    draw = (None, _place, _place, None)
    name = f"atom.shared.{op}.b128"
    return elementwise("atomics", name, "b64", ["b64"] * 4, body, draw=draw)


def _vector(count: int, type_: str) -> Form:
    names = ["%a", "%b", "%c", "%e"][:count]
    x = [f"%x{i}" for i in range(count)]
    body = (
        f".reg .b64 %z; .reg .b32 %x<{count}>; ld.param.u64 %z, [in4]; "
        "mad.wide.u32 %z, %index, 16, %z; "
        f"atom.global.v{count}.{type_}.add {{{', '.join(x)}}}, [%z], "
        f"{{{', '.join(names)}}}; ld.global.b32 %d, [%z+4];"
    )
    sources = ["f32"] * 4
    form = elementwise("atomics", f"atom.global.v{count}.f32.add", "f32", sources, body)
    room = Source("vector atomics").bits(4 * form.output.size, "u4") & 0x7F7FFFFF
    ptx = form.ptx.replace(".param .u64 out", ".param .u64 in4, .param .u64 out")
    return replace(form, ptx=ptx, inputs=(*form.inputs, room))


def _place(source: Source, count: int) -> Array:
    return source.below(5, count)


def _combining() -> Iterator[Form]:
    """Many threads on few elements: the outcome that any order gives."""
    for op, type_ in (
        *(("add", "u32"), ("add", "u64"), ("min", "s32"), ("max", "u32")),
        *(("and", "b32"), ("or", "b64"), ("xor", "b32"), ("max", "s64")),
        *(("inc", "u32"), ("add", "f32"), ("add.noftz", "f16x2")),
    ):
        for kind in ("red", "atom"):
            yield _shared_sum(op, type_, kind)


def _shared_sum(op: str, type_: str, kind: str) -> Form:
    size = width(type_)
    bits = f"b{8 * size}"
    name, *tail = op.split(".")
    full = f"{kind}.shared.{name}" + "".join(f".{t}" for t in (*tail, type_))
    target = "%x, " if kind == "atom" else ""
    body = (
        f".shared .align 8 .b8 s[64]; .reg .b32 %w; .reg .{bits} %x; "
        f"mad.lo.u32 %w, %b, {size}, 0; mov.u32 %half32, s; add.u32 %w, %w, %half32; "
        f"st.shared.{bits} [%w], 0; bar.sync 0; {full} {target}[%w], %a; bar.sync 0; "
        f"ld.shared.{bits} %d, [%w];"
    )
    body = ".reg .b32 %half32; " + body
    draw = (_small_float(type_) if type_[0] == "f" else None, _place)
    if op == "inc":  # the order of threads must not count: one limit for all
        draw = (lambda source, count: np.full(count, 99), _place)
    return elementwise(
        "atomics",
        f"{full} of many threads",
        type_ if type_[0] != "f" else bits,
        [bits if type_[0] == "f" else type_, "b32"],
        body,
        draw=draw,
    )


def _small_float(type_: str):
    def draw(source: Source, count: int) -> Array:
        values = source.below(17, 2 * count) - 8
        if type_ == "f16x2":
            halves = np.clip(values // 8, -1, 1).astype("f2")
            return halves.reshape(count, 2).view("u4")[:, 0]
        return values[:count].astype("f4").view("u4")

    return draw
