"""`cvt` between all types, and comparison and selection."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .form import Form, elementwise
from .values import Array, Source

INTS = ("u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64")
FLOATS = ("f16", "bf16", "f32", "f64")
WHOLE = ("rni", "rzi", "rmi", "rpi")
ROUND = ("rn", "rz", "rm", "rp")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _integers()
    yield from _float_to_int()
    yield from _int_to_float()
    yield from _floats()
    yield from _packs()
    yield from _narrow_floats()
    yield from _comparisons()
    yield from _selections()


def _stored(type_: str) -> tuple[str, str]:
    """The type that an 8-bit result has in a register, and how to narrow it back."""
    if type_ in ("u8", "s8"):
        return type_[0] + "16", f"cvt.{type_[0]}16.{type_} %d, %d;"
    return type_, ""


def _clamps(to: str, source: str) -> bool:
    """Whether a value of `source` may be out of range, so that `.sat` is legal."""
    narrower = int(to[1:]) < int(source[1:])
    if to[0] == source[0]:
        return narrower
    return source[0] == "s" or int(to[1:]) <= int(source[1:])


def _integers() -> Iterator[Form]:
    for to in INTS:
        for source in INTS:
            for sat in ("", ".sat") if _clamps(to, source) else ("",):
                name = f"cvt{sat}.{to}.{source}"
                result, after = _stored(to)
                body = f"{name} %d, %a; {after}"
                yield elementwise("integer conversions", name, result, [source], body)
    for to in ("u8", "s8", "u16", "s16", "u4", "s4", "u2", "s2"):
        for source in ("s32",):
            name = f"cvt.pack.sat.{to}.{source}"
            if to in ("u16", "s16"):
                yield elementwise("packing", name, "b32", ["s32", "s32"])
            else:
                name += ".b32"
                yield elementwise("packing", name, "b32", ["s32", "s32", "b32"])


def whole_numbers(kind: str):
    """Floats near the limits of integers, halves, and others."""

    def draw(source: Source, count: int) -> Array:
        powers = np.array([2.0**k for k in (0, 7, 8, 15, 16, 31, 32, 63, 64)])
        near = np.concatenate([powers, powers - 0.5, powers + 0.5, powers - 1])
        near = np.concatenate([near, -near, [0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
        chosen = near[source.below(near.size, count)]
        spread = source.between(-300, 300, count)
        values = np.where(np.arange(count) % 2 == 0, chosen, spread)
        with np.errstate(over="ignore"):
            number = {"f16": "f2", "f32": "f4", "f64": "f8"}[kind]
            return values.astype(number).view(f"u{np.dtype(number).itemsize}")

    return draw


def _float_to_int() -> Iterator[Form]:
    family = "float to integer"
    for source in FLOATS:
        for to in INTS if source != "bf16" else INTS[2:]:
            for mode in WHOLE:
                for ftz in ("", ".ftz") if source == "f32" else ("",):
                    name = f"cvt.{mode}{ftz}.{to}.{source}"
                    result, after = _stored(to)
                    body = f"{name} %d, %a; {after}"
                    yield elementwise(family, name, result, [source], body)
                    if ftz or source == "bf16":
                        continue
                    draw = [whole_numbers(source)]
                    full = f"{name} near limits"
                    yield elementwise(family, full, result, [source], body, draw=draw)


def _int_to_float() -> Iterator[Form]:
    family = "integer to float"
    for to in FLOATS:
        for source in INTS if to != "bf16" else INTS[2:]:
            for mode in ROUND:
                name = f"cvt.{mode}.{to}.{source}"
                yield elementwise(family, name, to, [source])
    for to in ("f16", "f32", "f64"):
        yield elementwise(family, f"cvt.rn.sat.{to}.s32", to, ["s32"])


def _floats() -> Iterator[Form]:
    family = "float to float"
    for to in FLOATS:
        for mode in WHOLE:
            for tail in ("", ".sat") if to != "bf16" else ("",):
                name = f"cvt.{mode}{tail}.{to}.{to}"
                yield elementwise(family, name, to, [to])
    for tail in (".rni.ftz", ".rzi.ftz.sat", ".ftz", ".sat", ".ftz.sat"):
        yield elementwise(family, f"cvt{tail}.f32.f32", "f32", ["f32"])
    for to, source in (("f32", "f64"), ("f16", "f64"), ("f16", "f32"), ("bf16", "f64")):
        for mode in ROUND:
            for tail in ("", ".sat") if to != "bf16" else ("",):
                name = f"cvt.{mode}{tail}.{to}.{source}"
                yield elementwise(family, name, to, [source])
    for mode in ("rn", "rz", "rm", "rp"):
        yield elementwise(family, f"cvt.{mode}.bf16.f32", "bf16", ["f32"])
        yield elementwise(family, f"cvt.{mode}.ftz.f32.f64", "f32", ["f64"])
        yield elementwise(family, f"cvt.{mode}.ftz.f16.f32", "f16", ["f32"])
    for to in ("f16", "bf16"):
        for mode in ("rn", "rz"):
            for tail in (".relu", ".satfinite", ".relu.satfinite"):
                name = f"cvt.{mode}{tail}.{to}.f32"
                yield elementwise(family, name, to, ["f32"])
    wider = [("f32", "f16"), ("f64", "f16"), ("f64", "f32"), ("f32", "bf16")]
    for to, source in [*wider, ("f64", "bf16")]:
        yield elementwise(family, f"cvt.{to}.{source}", to, [source])
    for tail in (".ftz", ".sat", ".ftz.sat"):
        yield elementwise(family, f"cvt{tail}.f32.f16", "f32", ["f16"])
    for to, source in (("f16", "bf16"), ("bf16", "f16")):
        yield elementwise(family, f"cvt.rn.{to}.{source}", to, [source])
    for tail in (*(".rna", ".rna.satfinite", ".rn", ".rn.relu", ".rz", ".rz.relu"),):
        yield elementwise(family, f"cvt{tail}.tf32.f32", "f32", ["f32"])


def _packs() -> Iterator[Form]:
    for to in ("f16x2", "bf16x2"):
        for mode in ("rn", "rz"):
            for tail in ("", ".relu", ".satfinite", ".relu.satfinite"):
                name = f"cvt.{mode}{tail}.{to}.f32"
                yield elementwise("packing", name, to, ["f32", "f32"])


FP8 = {"e4m3x2": (3, 7, 448.0), "e5m2x2": (2, 15, 57344.0)}


def near_fp8(type_: str, as_pair: bool):
    """Singles (or pairs of halves) at, and halfway between, the numbers of a type."""
    fraction, bias, largest = FP8[type_]

    def draw(source: Source, count: int) -> Array:
        total = 2 * count if as_pair else count
        exponent = source.below(2 * bias + 6, total) - bias - 3
        steps = source.below(2 << fraction + 2, total)
        value = np.ldexp(1 + steps / (2 << fraction + 1), exponent)
        nudge = np.array([0, 0, 2.0**-9, -(2.0**-9)])[source.below(4, total)]
        value = np.minimum(value * (1 + nudge), 4 * largest)
        value = np.where(source.below(2, total) == 1, value, -value)
        value[::17] = np.resize([0, np.inf, -np.inf, np.nan, -0.0], value[::17].size)
        with np.errstate(over="ignore"):
            if as_pair:
                return value.astype("f2").reshape(count, 2).view("u4")[:, 0]
            return value.astype("f4").view("u4")

    return draw


def _narrow_floats() -> Iterator[Form]:
    family = "fp8"
    for type_ in FP8:
        for relu in ("", ".relu"):
            name = f"cvt.rn.satfinite{relu}.{type_}.f32"
            draw = [near_fp8(type_, False)] * 2
            yield elementwise(family, name, type_, ["f32", "f32"], draw=draw)
            full, body = f"{name} any", f"{name} %d, %a, %b;"
            yield elementwise(family, full, type_, ["f32", "f32"], body)
            name = f"cvt.rn.satfinite{relu}.{type_}.f16x2"
            draw = [near_fp8(type_, True)]
            yield elementwise(family, name, type_, ["f16x2"], draw=draw)
            name = f"cvt.rn{relu}.f16x2.{type_}"
            yield elementwise(family, name, "f16x2", [type_], draw=[_all_halves])


def _all_halves(source: Source, count: int) -> Array:
    low = np.arange(count) % 256
    return (low | low[::-1] << 8).astype("u2")


def _comparisons() -> Iterator[Form]:
    family = "comparison"
    unsigned, ordered = ("lo", "ls", "hi", "hs"), COMPARE
    nan = ("equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")
    for width in ("16", "32", "64"):
        for compare in ("eq", "ne"):
            yield _setp(family, compare, f"b{width}")
        for compare in ordered:
            yield _setp(family, compare, f"s{width}")
        for compare in (*ordered, *unsigned):
            yield _setp(family, compare, f"u{width}")
    for type_ in ("f16", "bf16", "f32", "f64"):
        for compare in (*ordered, *nan):
            yield _setp(family, compare, type_)
    for compare in (*ordered, *nan):
        yield _setp(family, f"{compare}.ftz", "f32")
        yield _setp(family, f"{compare}.ftz", "f16")
        for type_ in ("f16x2", "bf16x2"):
            yield _setp_pair(family, compare, type_)
    for join in ("and", "or", "xor"):
        for type_, compare in (("s32", "lt"), ("f32", "geu"), ("u64", "hi")):
            name = f"setp.{compare}.{join}.{type_}"
            for other in ("%c", "!%c"):
                body = f".reg .pred %q, %r; {name} %q|%r, %a, %b, {other}; "
                body += "selp.u32 %d, 1, 0, %q; @%r or.b32 %d, %d, 2;"
                full = f"{name} p|q, {other}"
                sources = [type_, type_, "pred"]
                yield elementwise(family, full, "u32", sources, body)


def _setp(family: str, compare: str, type_: str) -> Form:
    name = f"setp.{compare}.{type_}"
    return elementwise(family, name, "pred", [type_, type_])


def _setp_pair(family: str, compare: str, type_: str) -> Form:
    name = f"setp.{compare}.{type_}"
    body = f".reg .pred %q, %r; {name} %q|%r, %a, %b; "
    body += "selp.u32 %d, 1, 0, %q; @%r or.b32 %d, %d, 2;"
    return elementwise(family, name, "u32", [type_, type_], body)


def _selections() -> Iterator[Form]:
    family = "selection"
    for to in ("u32", "s32", "f32"):
        for source in ("u16", "s32", "u64", "f32", "f64"):
            for compare in ("eq", "lt", "ge"):
                name = f"set.{compare}.{to}.{source}"
                yield elementwise(family, name, to, [source, source])
    for to in ("f16", "u16", "s16", "u32", "s32"):
        for compare in ("lt", "equ"):
            name = f"set.{compare}.{to}.f16"
            yield elementwise(family, name, to, ["f16", "f16"])
    for to in ("bf16", "u16", "s16"):
        name = f"set.gt.{to}.bf16"
        yield elementwise(family, name, to, ["bf16", "bf16"])
    for type_ in ("f16x2", "bf16x2"):
        for compare in ("lt", "neu"):
            name = f"set.{compare}.{type_}.{type_}"
            yield elementwise(family, name, type_, [type_, type_])
            name = f"set.{compare}.u32.{type_}"
            yield elementwise(family, name, "u32", [type_, type_])
    name = "set.lt.and.u32.f32"
    body = f"{name} %d, %a, %b, %c;"
    yield elementwise(family, name, "u32", ["f32", "f32", "pred"], body)
    for type_ in ("b16", "b32", "b64", "f32", "f64", "s32"):
        yield elementwise(family, f"selp.{type_}", type_, [type_, type_, "pred"])
        if type_ != "b16":
            sources = [type_, type_, "s32"]
            yield elementwise(family, f"slct.{type_}.s32", type_, sources)
        for ftz in ("", ".ftz"):
            sources = [type_, type_, "f32"]
            yield elementwise(family, f"slct{ftz}.{type_}.f32", type_, sources)
