"""Floating-point arithmetic: exact operations bit for bit, approximate ones in bounds.

The bounds are those of the ISA's sections on each instruction.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .form import Bound, Form, elementwise
from .values import Array, Source, moderate, random

ROUND = ("rn", "rz", "rm", "rp")
HALVES = ("f16", "bf16", "f16x2", "bf16x2")


def forms() -> Iterator[Form]:
    """All of them."""
    yield from _singles()
    yield from _doubles()
    yield from _halves()
    yield from _extremes()
    yield from _division()
    yield from _approximate()
    yield from _signs()


def _singles() -> Iterator[Form]:
    for op, count in (("add", 2), ("sub", 2), ("mul", 2), ("fma", 3)):
        for mode in ROUND:
            for tail in ("", ".ftz", ".sat", ".ftz.sat"):
                name = f"{op}.{mode}{tail}.f32"
                yield elementwise("single", name, "f32", ["f32"] * count)


def _doubles() -> Iterator[Form]:
    for op, count in (("add", 2), ("sub", 2), ("mul", 2), ("div", 2), ("fma", 3)):
        for mode in ROUND:
            yield elementwise("double", f"{op}.{mode}.f64", "f64", ["f64"] * count)
    for op in ("rcp", "sqrt"):
        for mode in ROUND:
            yield elementwise("double", f"{op}.{mode}.f64", "f64", ["f64"])
    for op in ("min", "max"):
        yield elementwise("double", f"{op}.f64", "f64", ["f64"] * 2)


def _halves() -> Iterator[Form]:
    for type_ in HALVES:
        is_half = type_.startswith("f16")
        tails = ("", ".ftz", ".sat", ".ftz.sat") if is_half else ("",)
        for op in ("add", "sub", "mul"):
            for tail in tails:
                name = f"{op}.rn{tail}.{type_}"
                yield elementwise("half", name, type_, [type_] * 2)
        for tail in (*tails, ".relu") + ((".ftz.relu",) if is_half else ()):
            name = f"fma.rn{tail}.{type_}"
            yield elementwise("half", name, type_, [type_] * 3)
        for tail in ("", ".relu"):
            name = f"fma.rn.oob{tail}.{type_}"
            draw = [None, _with_oob(type_)]
            yield elementwise("half", name, type_, [type_] * 3, draw=draw)
        for op in ("neg", "abs"):
            for tail in ("", ".ftz") if is_half else ("",):
                yield elementwise("half", f"{op}{tail}.{type_}", type_, [type_])


def _with_oob(type_: str):
    """Values of which some are the NaN that stands for out of bounds."""

    ones = 0x7C00 if type_.startswith("f16") else 0x7F80

    def draw(source: Source, count: int) -> Array:
        bits = random(type_, source, count)
        # All NaNs of 16 bits, in turn; of a pair, in the lower half.
        payload = np.arange(count) * 37 % (0x10000 - ones - 1 & 0x7FFF) + 1
        nan = ones | payload & (0x3FF if ones == 0x7C00 else 0x7F) | 1 << 15
        nan = np.where(source.below(2, count) == 1, nan, nan & 0x7FFF)
        chosen = source.below(2, count) == 0
        keep = 0xFFFF0000 if type_.endswith("x2") else 0
        return np.where(chosen, (bits & keep) | nan, bits)

    return draw


def _extremes() -> Iterator[Form]:
    family = "minimum and maximum"
    for op in ("min", "max"):
        for nan in ("", ".NaN"):
            for sign in ("", ".xorsign.abs"):
                for type_ in ("f32", *HALVES):
                    for ftz in ("", ".ftz"):
                        if ftz and type_.startswith("bf16"):
                            continue
                        name = f"{op}{ftz}{nan}{sign}.{type_}"
                        yield elementwise(family, name, type_, [type_] * 2)


def _division() -> Iterator[Form]:
    family = "division and roots"
    for mode in ROUND:
        for ftz in ("", ".ftz"):
            yield elementwise(family, f"div.{mode}{ftz}.f32", "f32", ["f32"] * 2)
            for op in ("rcp", "sqrt"):
                yield elementwise(family, f"{op}.{mode}{ftz}.f32", "f32", ["f32"])


def _approximate() -> Iterator[Form]:
    family = "approximate"
    unit = 2.0**-23
    bounds = {
        "rcp.approx": Bound("f4", unit, 2.0**-149, "1 ulp"),
        "sqrt.approx": Bound("f4", 2.0**-22, 2.0**-149, "relative 2^-23"),
        "rsqrt.approx": Bound("f4", 2.0**-22.4, 0, "relative 2^-22.9"),
        "lg2.approx": Bound("f4", 2.0**-22, 2.0**-22, "2^-22"),
        "ex2.approx": Bound("f4", 2.0**-22 + unit, 2.0**-149, "relative 2^-22"),
        "tanh.approx": Bound("f4", 2.0**-10.987, 2.0**-127, "relative 2^-11"),
    }
    for op, bound in bounds.items():
        for ftz in ("", ".ftz") if op != "tanh.approx" else ("",):
            yield elementwise(family, f"{op}{ftz}.f32", "f32", ["f32"], bound=bound)
    pi = 3.14159
    for op in ("sin", "cos"):
        for ftz in ("", ".ftz"):
            name = f"{op}.approx{ftz}.f32"
            near = Bound("f4", 0, 2.0**-20.5 + 2.0**-24, "2^-20.5 in [-pi, pi]")
            yield elementwise(
                family, name, "f32", ["f32"], draw=[moderate(-pi, pi)], bound=near
            )
            far = Bound("f4", 0, 2.0**-14.7, "2^-14.7 in [-100 pi, 100 pi]")
            draw = [moderate(-100 * pi, 100 * pi)]
            full = f"{name} of large arguments"
            body = f"{name} %d, %a;"
            yield elementwise(family, full, "f32", ["f32"], body, draw=draw, bound=far)
    for op, ulps in (("div.approx", 2), ("div.full", 2)):
        for ftz in ("", ".ftz"):
            size = [moderate(2.0**-20, 2.0**20), moderate(-3000, 3000)]
            bound = Bound("f4", (ulps + 0.5) * unit, 2.0**-149, "2 ulp")
            name = f"{op}{ftz}.f32"
            yield elementwise(family, name, "f32", ["f32"] * 2, draw=size, bound=bound)
    yield from _approximate_halves(family)
    for op in ("rcp", "rsqrt"):
        bound = Bound("f8", 2.0**-19, 0, "the upper 32 bits")
        name = f"{op}.approx.ftz.f64"
        yield elementwise(family, name, "f64", ["f64"], bound=bound)


def _approximate_halves(family: str) -> Iterator[Form]:
    half = Bound("f2", 2.0**-9.9 + 2.0**-11, 2.0**-24, "relative 2^-9.9")
    brain = Bound("bf16", 2.0**-7 + 2.0**-9, 0, "relative 2^-7")
    for type_, bound in (("f16", half), ("f16x2", half)):
        yield elementwise(family, f"ex2.approx.{type_}", type_, [type_], bound=bound)
        near = Bound("f2", 0, 2.0**-10.987 + 2.0**-12, "2^-10.987")
        yield elementwise(family, f"tanh.approx.{type_}", type_, [type_], bound=near)
    for type_ in ("bf16", "bf16x2"):
        name = f"ex2.approx.ftz.{type_}"
        yield elementwise(family, name, type_, [type_], bound=brain)
        near = Bound("bf16", 2.0**-8, 2.0**-8, "2^-8")
        yield elementwise(family, f"tanh.approx.{type_}", type_, [type_], bound=near)


def _signs() -> Iterator[Form]:
    family = "signs and classes"
    for op in ("neg", "abs"):
        yield elementwise(family, f"{op}.f32", "f32", ["f32"])
        yield elementwise(family, f"{op}.ftz.f32", "f32", ["f32"])
        yield elementwise(family, f"{op}.f64", "f64", ["f64"])
    for type_ in ("f32", "f64"):
        yield elementwise(family, f"copysign.{type_}", type_, [type_] * 2)
        for kind in (
            *("finite", "infinite", "number", "notanumber"),
            *("normal", "subnormal"),
        ):
            yield elementwise(family, f"testp.{kind}.{type_}", "pred", [type_])
