"""Pairs of narrow floats: `cvt` to and from packed halves, fp8, fp6, fp4 and e8m0.

ISA section "cvt". The first source becomes the upper half of the result. Conversions to
8 bits or fewer saturate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import Instruction
from stepwell.runtime.devices.emulated.translate import Scope, unsupported

from . import floats
from .elementwise import relu, rounding

Array = NDArray
HALVES = {"f16x2": np.dtype(np.float16), "bf16x2": np.dtype(ml_dtypes.bfloat16)}


@dataclass(frozen=True)
class Format:
    """A number type of 8 bits or fewer: its width, and whether NaN is one of it."""

    dtype: np.dtype
    bits: int
    has_nan: bool = True

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(ml_dtypes.finfo(self.dtype).max)


FORMATS = {
    "e4m3x2": Format(np.dtype(ml_dtypes.float8_e4m3fn), 8),
    "e5m2x2": Format(np.dtype(ml_dtypes.float8_e5m2), 8),
    "e2m3x2": Format(np.dtype(ml_dtypes.float6_e2m3fn), 8, False),
    "e3m2x2": Format(np.dtype(ml_dtypes.float6_e3m2fn), 8, False),
    "e2m1x2": Format(np.dtype(ml_dtypes.float4_e2m1fn), 4, False),
    "ue8m0x2": Format(np.dtype(ml_dtypes.float8_e8m0fnu), 8),
}
"""Narrow types by the name of their pair; of four bits, a pair is one byte."""
PACKED = (*HALVES, *FORMATS)


def packed_conversion(
    one: Instruction, scope: Scope, to: str, source: str
) -> Operation:
    """`cvt` where one side is a pair."""
    if to in HALVES and source in FORMATS:
        return _widening(one, scope, to, FORMATS[source])
    narrow = _narrowing(one, to)
    bank = f"b{HALVES[to].itemsize * 16 if to in HALVES else 2 * FORMATS[to].bits}"
    write = scope.write(one.operands[0], bank)
    if source == "f32":
        upper, lower = (scope.read(o, "f32") for o in one.operands[1:3])

        def singles(threads: Threads, mask: Mask) -> None:
            low, high = (narrow(r(threads).astype("f8")) for r in (lower, upper))
            write(threads, mask, _joined(low, high, bank))

        return singles
    if source not in HALVES or to in HALVES:
        raise unsupported(one)
    pair = scope.read(one.operands[1], "b32")

    def halves(threads: Threads, mask: Mask) -> None:
        both = _parts(pair(threads), HALVES[source]).astype("f8")
        codes = narrow(both)
        write(threads, mask, _joined(codes[..., 0], codes[..., 1], bank))

    return halves


def _parts(words: Array, kind: np.dtype) -> Array:
    """Registers as `[..., parts]`."""
    return np.ascontiguousarray(words)[..., None].view(kind)


def _joined(low: Array, high: Array, bank: str) -> Array:
    """Two codes side by side in a register."""
    bits = int(bank[1:])
    word = low.astype(np.uint32) | high.astype(np.uint32) << np.uint32(bits // 2)
    return word.astype(f"u{bits // 8}")


def _narrowing(one: Instruction, to: str) -> Callable[[Array], Array]:
    """Doubles that hold singles or halves, to the codes of a type."""
    modifiers, mode = one.modifiers, rounding(one)
    form = FORMATS.get(to)
    if form is None:

        def half(value: Array) -> Array:
            value = relu(value) if "relu" in modifiers else value
            result = floats.narrow(value, mode, HALVES[to])
            if "satfinite" in modifiers:
                result = floats.finite(result)
            return np.ascontiguousarray(result).view(np.uint16)

        return half
    if to == "ue8m0x2":
        return lambda value: _exponent(value, mode, form)

    def eight(value: Array) -> Array:
        value = relu(value) if "relu" in modifiers else value
        if not form.has_nan:
            value = np.where(np.isnan(value), form.largest, value)
        clipped = np.clip(value, -form.largest, form.largest)
        codes = np.ascontiguousarray(clipped.astype(form.dtype)).view(np.uint8)
        return np.where(np.isnan(value), np.uint8(0x7F), codes)

    return eight


def _exponent(value: Array, mode: str, form: Format) -> Array:
    """The power of two next to a number's size, as its biased exponent.

    Towards zero, or upwards; saturates at both ends.
    """
    size = np.abs(value)
    fraction, exponent = np.frexp(size)
    up = (fraction > 0.5) & (mode == "rp")
    code = np.clip(exponent - 1 + up + 127, 0, 254)
    code = np.where(np.isinf(size), 254, np.where(size == 0, 0, code))
    return np.where(np.isnan(size), 255, code).astype(np.uint8)


def _widening(one: Instruction, scope: Scope, to: str, form: Format) -> Operation:
    read = scope.read(one.operands[1], f"b{2 * form.bits}")
    write = scope.write(one.operands[0], "b32")

    def run(threads: Threads, mask: Mask) -> None:
        codes = read(threads)[..., None] >> np.array([0, form.bits], np.uint16)
        octets = (codes & np.uint16((1 << form.bits) - 1)).astype(np.uint8)
        halves = octets.view(form.dtype).astype(np.float32).astype(HALVES[to])
        if "relu" in one.modifiers:
            halves = relu(halves)
        words = np.ascontiguousarray(halves, HALVES[to]).view(np.uint32)
        write(threads, mask, words[..., 0])

    return run
