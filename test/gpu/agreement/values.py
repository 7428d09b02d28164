"""Values to try instructions on: edges of each type, and random ones.

Everything is drawn from raw generator words, whose stream NumPy guarantees, so that
results recorded on one machine can be compared on another.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray
FLOATS = ("f16", "bf16", "f32", "f64", "f16x2", "bf16x2")
DTYPES = {
    "pred": "u1",
    "f16": "u2",
    "bf16": "u2",
    "f32": "u4",
    "f64": "u8",
    "f16x2": "u4",
    "bf16x2": "u4",
    "e4m3x2": "u2",
    "e5m2x2": "u2",
    "u16x2": "u4",
    "s16x2": "u4",
    "tf32": "u4",
}
NUMBERS = {
    "f16": np.dtype("f2"),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype("f4"),
    "f64": np.dtype("f8"),
}
LAYOUT = {"f16": (10, 15), "bf16": (7, 127), "f32": (23, 127), "f64": (52, 1023)}
"""Bits of the fraction, and the exponent's bias."""


def dtype(type_: str) -> np.dtype:
    """The unsigned type that a value's bits are kept in."""
    found = DTYPES.get(type_)
    return np.dtype(found or f"u{int(type_.lstrip('bsu')) // 8}")


def width(type_: str) -> int:
    """Bytes of a value."""
    return dtype(type_).itemsize


class Source:
    """A stream of random words, by a name."""

    def __init__(self, name: str) -> None:
        self._raw = np.random.PCG64(zlib.crc32(name.encode()))

    def bits(self, count: int, kind: str | np.dtype = "u8") -> Array:
        """`count` random values of an unsigned type."""
        words = self._raw.random_raw(count)
        shift = np.uint64(64 - 8 * np.dtype(kind).itemsize)
        return (words >> shift).astype(kind)

    def below(self, limit: int, count: int) -> Array:
        """`count` integers from 0 to `limit` - 1."""
        return (self.bits(count) >> np.uint64(11)).astype("i8") % limit

    def between(self, low: float, high: float, count: int) -> Array:
        """`count` doubles, evenly from `low` to `high`."""
        unit = (self.bits(count) >> np.uint64(11)).astype("f8") * 2.0**-53
        return low + (high - low) * unit


def float_edges(number: np.dtype) -> Array:
    """Zeros, ones, subnormals, the extremes, infinities, NaNs, and what lies near."""
    info = ml_dtypes.finfo(number)
    tiny, least, most = (
        float(x) for x in (info.tiny, info.smallest_subnormal, info.max)
    )
    one_up = 1 + float(info.eps)
    plain = [0, 1, 0.5, 1.5, 2.5, 3, one_up, least, tiny, tiny - least, most]
    plain += [7, 127.5, 1 / 3, 16777216.0 if number.itemsize > 2 else 2048, np.inf]
    with np.errstate(over="ignore"):
        numbers = np.array(plain, "f8").astype(number)
    bits = numbers.view(f"u{number.itemsize}")
    top = bits.dtype.type(1 << (8 * number.itemsize - 1))
    nan = np.array([np.nan]).astype(number).view(bits.dtype)
    return np.concatenate([bits, bits | top, nan & ~top, nan | top | 1])


def integer_edges(bits: int) -> Array:
    """Around zero, the extremes of both signs, and some patterns."""
    top = 1 << (bits - 1)
    plain = [0, 1, 2, 3, 7, 31, 32, 255, -1, -2, -3, -128, top, top - 1, top + 1]
    plain += [0x5555555555555555, 0x0123456789ABCDEF, top >> 1]
    return np.array([v & (1 << bits) - 1 for v in plain], f"u{bits // 8}")


def edges(type_: str) -> Array:
    """The edge values of a type, as bits."""
    if type_ == "pred":
        return np.array([0, 1], "u1")
    if type_ in NUMBERS:
        return float_edges(NUMBERS[type_])
    if type_ == "tf32":
        return float_edges(NUMBERS["f32"])
    return integer_edges(8 * width(type_))


def random(type_: str, source: Source, count: int) -> Array:
    """Random values: half of them any bits, half (of floats) of ordinary size."""
    bits = source.bits(count, dtype(type_))
    if type_ == "pred":
        return bits & 1
    if type_ in ("f16x2", "bf16x2"):
        half = type_[:-2]
        parts = pairs(half, source, count)
        return np.ascontiguousarray(parts).view("u4")[:, 0]
    if type_ in NUMBERS or type_ == "tf32":
        fraction, bias = LAYOUT.get(type_, LAYOUT["f32"])
        exponent = (source.below(16, count) + bias - 8).astype(bits.dtype)
        keep = bits.dtype.type((1 << 8 * bits.dtype.itemsize - 1) + (1 << fraction) - 1)
        ordinary = bits & keep | exponent << bits.dtype.type(fraction)
        return np.where(np.arange(count) % 2 == 0, bits, ordinary)
    small = source.below(200, count).astype(bits.dtype)
    return np.where(np.arange(count) % 4 == 0, small, bits)


def pairs(half: str, source: Source, count: int) -> Array:
    """`[count, 2]` halves, of which some are edges."""
    flat = random(half, source, 2 * count)
    special = edges(half)[source.below(len(edges(half)), 2 * count)]
    chosen = np.where(source.below(3, 2 * count) == 0, special, flat)
    return chosen.astype("u2").reshape(count, 2)


Draw = Callable[[Source, int], Array]


def combined(
    source: Source, types: Sequence[str], draw: Sequence[Draw | None], count: int
) -> tuple[Array, ...]:
    """Values for each operand: edges against edges first, then random ones."""
    drawn: list[Array] = []
    half = count // 2
    for index, type_ in enumerate(types):
        given = draw[index] if index < len(draw) else None
        if given is not None:
            drawn.append(given(source, count).astype(dtype(type_)))
            continue
        if type_ in ("f16x2", "bf16x2"):
            drawn.append(random(type_, source, count))
            continue
        special = edges(type_)
        order = np.arange(half) % len(special)
        if index > 0:
            order = source.below(len(special), half)
        rest = random(type_, source, count - half)
        drawn.append(np.concatenate([special[order], rest]).astype(dtype(type_)))
    return tuple(drawn)


def amounts(source: Source, count: int) -> Array:
    """Shift amounts, positions and lengths of bit fields: around 0, 32 and 64."""
    near = np.array([0, 1, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 2**32 - 1])
    small = source.below(70, count)
    special = near[source.below(len(near), count)]
    return np.where(np.arange(count) % 2 == 0, special, small).astype("u4")


def moderate(low: float, high: float, type_: str = "f32") -> Draw:
    """Floats evenly from `low` to `high`."""
    number = NUMBERS[type_]

    def draw(source: Source, count: int) -> Array:
        return source.between(low, high, count).astype(number).view(dtype(type_))

    return draw
