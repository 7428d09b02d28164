"""Integer arithmetic, logic, shifts, bit fields, carries, video instructions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .form import Form, elementwise
from .values import Source, amounts

INTS = ("u16", "s16", "u32", "s32", "u64", "s64")
WIDER = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _arithmetic()
    yield from _packed()
    yield from _carries()
    yield from _logic()
    yield from _shifts()
    yield from _fields()
    yield from _bytes()


def _arithmetic() -> Iterator[Form]:
    family = "integer arithmetic"
    for type_ in INTS:
        for op in ("add", "sub", "mul.lo", "mul.hi", "div", "rem", "min", "max"):
            if op in ("div", "rem"):
                yield _division(op, type_)
                continue
            yield elementwise(family, f"{op}.{type_}", type_, [type_] * 2)
        for op in ("mad.lo", "mad.hi", "sad"):
            yield elementwise(family, f"{op}.{type_}", type_, [type_] * 3)
        if type_[0] == "s":
            for op in ("abs", "neg"):
                yield elementwise(family, f"{op}.{type_}", type_, [type_])
    for type_, wide in WIDER.items():
        yield elementwise(family, f"mul.wide.{type_}", wide, [type_] * 2)
        yield elementwise(family, f"mad.wide.{type_}", wide, [type_, type_, wide])
    for op in ("add.sat", "sub.sat"):
        yield elementwise(family, f"{op}.s32", "s32", ["s32"] * 2)
    yield elementwise(family, "mad.hi.sat.s32", "s32", ["s32"] * 3)
    for op in ("min.relu", "max.relu"):
        yield elementwise(family, f"{op}.s32", "s32", ["s32"] * 2)
    for type_ in ("u32", "s32"):
        for half in ("lo", "hi"):
            yield elementwise(family, f"mul24.{half}.{type_}", type_, [type_] * 2)
            yield elementwise(family, f"mad24.{half}.{type_}", type_, [type_] * 3)
    yield elementwise(family, "mad24.hi.sat.s32", "s32", ["s32"] * 3)
    for a in ("u32", "s32"):
        for b in ("u32", "s32"):
            result = "s32" if "s" in a + b else "u32"
            sources = ["b32", "b32", result]
            yield elementwise(family, f"dp4a.{a}.{b}", result, sources)
            for half in ("lo", "hi"):
                yield elementwise(family, f"dp2a.{half}.{a}.{b}", result, sources)


def _division(op: str, type_: str) -> Form:
    """The result of a division by zero is unspecified: zeros are kept away."""
    body = f"setp.eq.{type_} %p, %b, 0; selp.{'b' + type_[1:]} %b, 3, %b, %p;"
    return elementwise(
        "integer arithmetic",
        f"{op}.{type_}",
        type_,
        [type_] * 2,
        f".reg .pred %p; {body} {op}.{type_} %d, %a, %b;",
    )


def _packed() -> Iterator[Form]:
    for type_ in ("u16x2", "s16x2"):
        for op in ("add", "min", "max"):
            yield elementwise("packed integers", f"{op}.{type_}", type_, [type_] * 2)
    for op in ("min.relu", "max.relu"):
        yield elementwise("packed integers", f"{op}.s16x2", "s16x2", ["s16x2"] * 2)


def _carries() -> Iterator[Form]:
    family = "carries"
    for w in ("32", "64"):
        u, zero = f"u{w}", "0"
        for first, second in (("add.cc", "addc"), ("sub.cc", "subc")):
            for kind in ("u", "s"):
                t = kind + w
                body = f"{first}.{t} %d, %a, %b; {second}.{t} %d, %c, {zero};"
                yield elementwise(family, f"{first} {second}.{t}", u, [u] * 3, body)
            body = (
                f"{first}.{u} %d, %a, %b; {second}.cc.{u} %d, %c, %a; "
                f"{second}.{u} %d, %b, %c;"
            )
            yield elementwise(family, f"{first} {second}.cc.{u}", u, [u] * 3, body)
        for half in ("lo", "hi"):
            for t in (u, f"s{w}"):
                body = (
                    f"mad.{half}.cc.{t} %d, %a, %b, %c; addc.{t} %b, %c, 0; "
                    f"xor.b{w} %d, %d, %b;"
                )
                yield elementwise(family, f"mad.{half}.cc.{t}", u, [u] * 3, body)
                body = (
                    f"add.cc.{t} %d, %a, %b; madc.{half}.cc.{t} %d, %a, %c, %b; "
                    f"addc.{t} %b, %c, 0; xor.b{w} %d, %d, %b;"
                )
                yield elementwise(family, f"madc.{half}.cc.{t}", u, [u] * 3, body)


def _logic() -> Iterator[Form]:
    family = "logic"
    for type_ in ("pred", "b16", "b32", "b64"):
        for op in ("and", "or", "xor"):
            yield elementwise(family, f"{op}.{type_}", type_, [type_] * 2)
        yield elementwise(family, f"not.{type_}", type_, [type_])
        if type_ != "pred":
            yield elementwise(family, f"cnot.{type_}", type_, [type_])
    for table in (0, 0x80, 0xE8, 0x96, 0xCA, 0x1B, 0xFE, 0xFF, 0x6D):
        body = f"lop3.b32 %d, %a, %b, %c, {table};"
        yield elementwise(family, f"lop3.b32 {table:#x}", "b32", ["b32"] * 3, body)
    every = "".join(
        f"lop3.b32 %x, %a, %b, %c, {t}; mad.lo.u32 %d, %d, 31, %x;" for t in range(256)
    )
    yield elementwise(
        family,
        "lop3.b32, every table",
        "b32",
        ["b32"] * 3,
        f".reg .b32 %x; mov.u32 %d, 0; {every}",
        lanes=256,
    )
    for join in ("or", "and"):
        body = f".reg .pred %p, %q; setp.gt.s32 %q, %a, %b; lop3.{join}.b32 %d|%p, %a, "
        body += "%b, %c, 0x3c, %q; @%p xor.b32 %d, %d, 1;"
        yield elementwise(family, f"lop3.{join}.b32 d|p", "b32", ["b32"] * 3, body)
        body = f".reg .pred %q; setp.gt.s32 %q, %a, %b; lop3.{join}.b32 _|%d, %a, "
        body += "%b, %c, 0x80, %q;"
        yield elementwise(family, f"lop3.{join}.b32 _|p", "pred", ["b32"] * 3, body)


def _shifts() -> Iterator[Form]:
    family = "shifts"
    by = (None, amounts)
    for w in ("16", "32", "64"):
        yield elementwise(family, f"shl.b{w}", f"b{w}", [f"b{w}", "u32"], draw=by)
        for kind in "bus":
            t = kind + w
            yield elementwise(family, f"shr.{t}", t, [t, "u32"], draw=by)
    for way in ("l", "r"):
        for mode in ("wrap", "clamp"):
            draw = (None, None, amounts)
            name = f"shf.{way}.{mode}.b32"
            yield elementwise(family, name, "b32", ["b32", "b32", "u32"], draw=draw)


def _fields() -> Iterator[Form]:
    family = "bit fields"
    for t in ("u32", "s32", "u64", "s64"):
        draw = (None, amounts, amounts)
        yield elementwise(family, f"bfe.{t}", t, [t, "u32", "u32"], draw=draw)
        for shift in ("", ".shiftamt"):
            yield elementwise(family, f"bfind{shift}.{t}", "u32", [t])
    for t in ("b32", "b64"):
        draw = (None, None, amounts, amounts)
        yield elementwise(family, f"bfi.{t}", t, [t, t, "u32", "u32"], draw=draw)
        yield elementwise(family, f"brev.{t}", t, [t])
        for op in ("popc", "clz"):
            yield elementwise(family, f"{op}.{t}", "u32", [t])
    for mode in ("clamp", "wrap"):
        for t in ("u32", "s32"):
            draw = (None, amounts)
            yield elementwise(family, f"szext.{mode}.{t}", t, [t, "u32"], draw=draw)
        draw = (amounts, amounts)
        yield elementwise(family, f"bmsk.{mode}.b32", "b32", ["u32"] * 2, draw=draw)
    yield elementwise(
        family,
        "fns.b32",
        "b32",
        ["b32", "u32", "s32"],
        draw=(None, _base, _nth),
    )


def _base(source: Source, count: int) -> np.ndarray:
    return source.below(32, count)


def _nth(source: Source, count: int) -> np.ndarray:
    return (source.below(33, count) - 16).astype("u4")


def _bytes() -> Iterator[Form]:
    family = "byte permutation"
    yield elementwise(family, "prmt.b32", "b32", ["b32"] * 3)
    for mode in ("f4e", "b4e", "rc8", "ecl", "ecr", "rc16"):
        yield elementwise(family, f"prmt.b32.{mode}", "b32", ["b32"] * 3)


SELECT = ("b0", "b1", "b2", "b3", "h0", "h1", "")


def video() -> Iterator[Form]:
    """`vadd` and its kin: on bytes and halves of a register, and in pairs and fours."""
    family = "video"
    three, two = ["b32"] * 3, ["b32"] * 2
    yield from _video_scalar(family, three, two)
    yield from _video_packed(family, three)


def _video_scalar(family: str, three: list[str], two: list[str]) -> Iterator[Form]:
    for op in ("vadd", "vsub", "vabsdiff", "vmin", "vmax"):
        for index, types in enumerate(("u32.u32.u32", "s32.u32.s32", "s32.s32.s32")):
            for sat in ("", ".sat"):
                a, b = SELECT[index], SELECT[-1 - index]
                a, b = (f".{s}" if s else "" for s in (a, b))
                name = f"{op}.{types}{sat}"
                body = f"{name} %d, %a{a}, %b{b};"
                yield elementwise(family, f"{name} a{a} b{b}", "b32", two, body)
                for second in ("add", "min", "max"):
                    body = f"{name}.{second} %d, %a{a}, %b{b}, %c;"
                    full = f"{name}.{second} a{a} b{b}"
                    yield elementwise(family, full, "b32", three, body)
        for part in ("b2", "h1"):
            body = f"{op}.s32.s32.s32.sat %d.{part}, %a.h0, %b.b1, %c;"
            yield elementwise(family, f"{op} into {part}", "b32", three, body)
    for op in ("vshl", "vshr"):
        for mode in ("clamp", "wrap"):
            for t in ("u32", "s32"):
                name = f"{op}.{t}.{t}.u32.{mode}"
                draw = (None, amounts)
                yield elementwise(family, name, "b32", two, draw=draw)
                body = f"{name}.add %d, %a.h1, %b.b0, %c;"
                yield elementwise(family, f"{name}.add", "b32", three, body)
    for compare in ("eq", "ne", "lt", "le", "gt", "ge"):
        for types in ("u32.u32", "s32.s32"):
            name = f"vset.{types}.{compare}"
            body = f"{name} %d, %a.h0, %b.b2;"
            yield elementwise(family, name, "b32", two, body)
    for scale in ("", ".shr7", ".shr15"):
        for sat in ("", ".sat"):
            name = f"vmad.s32.s32.s32{sat}{scale}"
            body = f"{name} %d, %a.h0, %b.h1, %c;"
            yield elementwise(family, name, "b32", three, body)
            name = f"vmad.u32.u32.u32{sat}{scale}"
            body = f"{name} %d, %a.b0, %b.h1, %c;"
            yield elementwise(family, name, "b32", three, body)


def _video_packed(family: str, three: list[str]) -> Iterator[Form]:
    for count in ("2", "4"):
        for op in ("vadd", "vsub", "vavrg", "vabsdiff", "vmin", "vmax"):
            for types in ("u32.u32.u32", "s32.s32.s32"):
                for tail in ("", ".sat", ".add"):
                    if op == "vavrg" and tail == ".sat":
                        continue
                    name = f"{op}{count}.{types}{tail}"
                    body = f"{name} %d, %a, %b, %c;"
                    yield elementwise(family, name, "b32", three, body)
        for compare in ("eq", "lt", "ge"):
            for types in ("u32.u32", "s32.s32"):
                for tail in ("", ".add"):
                    name = f"vset{count}.{types}.{compare}{tail}"
                    body = f"{name} %d, %a, %b, %c;"
                    yield elementwise(family, name, "b32", three, body)
