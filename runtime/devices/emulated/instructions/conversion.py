"""`cvt`: conversions between all types, with rounding, saturation and packing.

ISA section "Data Movement and Conversion Instructions: cvt".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import Instruction
from stepwell.runtime.devices.emulated.translate import Scope, instruction, unsupported

from . import floats
from .elementwise import ROUNDING, relu, rounding
from .narrow import PACKED, packed_conversion

Array = NDArray
FLOATS = ("f16", "bf16", "f32", "f64")
ROUND: dict[str, Callable[[Array], Array]] = {
    "rni": np.rint,
    "rzi": np.trunc,
    "rmi": np.floor,
    "rpi": np.ceil,
}
TF32_MAX, TF32_NAN = np.array([0x7F7FE000, 0x7FFFE000], np.uint32).view(np.float32)
PACKED_WIDTHS = ("16", "8", "4", "2")
KNOWN = {*ROUNDING, "ftz", "sat", "satfinite", "relu"}


def types_of(one: Instruction) -> tuple[str, str]:
    """Destination and source type."""
    known = [m for m in one.modifiers if m in NUMPY_TYPES or m in PACKED]
    if len(known) != 2:
        raise unsupported(one)
    return known[0], known[1]


def float_to_int(value: Array, to: np.dtype, mode: str) -> Array:
    """Round, then clamp to the range."""
    info = np.iinfo(to)
    rounded = ROUND[mode](value.astype(np.float64))
    nan = np.isnan(rounded)
    low = rounded <= float(info.min)
    high = rounded >= float(info.max)
    inside = np.where(nan | low | high, 0.0, rounded).astype(to)
    clamped = np.where(
        high, to.type(info.max), np.where(low, to.type(info.min), inside)
    )
    # On hardware NaN becomes zero; from or to 64 bits, only the top bit set.
    if to.itemsize < 8 and value.dtype.itemsize < 8:
        unknown = to.type(0)
    else:
        top = 1 << (8 * to.itemsize - 1)
        unknown = np.array(top, f"u{to.itemsize}").view(to)[()]
    return np.where(nan, unknown, clamped)


def int_to_int(value: Array, to: np.dtype, saturating: bool) -> Array:
    """Truncate or extend; with `.sat` clamp to the destination's range."""
    if not saturating:
        return value.astype(to)
    info = np.iinfo(to)
    wide = value.astype(object) if value.dtype.itemsize == 8 else value.astype(np.int64)
    return np.clip(wide, info.min, info.max).astype(to)


def float_to_float(value: Array, to: np.dtype, one: Instruction) -> Array:
    """Round once to a narrower type, or to an integral value of the same one."""
    mode = rounding(one)
    if mode in ROUND:
        return ROUND[mode](value.astype(np.float64)).astype(to)
    if to.itemsize > value.dtype.itemsize or to == value.dtype:
        return value.astype(to)
    return floats.narrow(value.astype(np.float64), mode, to)


def converter(one: Instruction, to: str, source: str) -> Callable[[Array], Array]:
    """The function of one scalar conversion."""
    target, modifiers = NUMPY_TYPES[to], one.modifiers
    flushes = "ftz" in modifiers
    if source in FLOATS and to not in FLOATS:
        mode = rounding(one)

        def whole(value: Array) -> Array:
            flushed = floats.flush(value) if flushes and source == "f32" else value
            return float_to_int(flushed, target, mode)

        return whole
    if source not in FLOATS and to not in FLOATS:
        return lambda value: int_to_int(value, target, "sat" in modifiers)

    def between(value: Array) -> Array:
        if source not in FLOATS:
            exact = floats.integers(value)
            result = floats.narrow_sum(*exact, rounding(one), target)
        else:
            inward = flushes and source == to == "f32"
            result = float_to_float(
                floats.flush(value) if inward else value, target, one
            )
        if flushes and to == "f32":
            result = floats.flush(result)
        if "sat" in modifiers:
            result = floats.saturate(result)
        if "relu" in modifiers:
            result = relu(result)
        return floats.finite(result) if "satfinite" in modifiers else result

    return between


@instruction("cvt")
def cvt(one: Instruction, scope: Scope) -> Operation:
    """One conversion, or two numbers packed into one register."""
    if "pack" in one.modifiers:
        return _pack_integers(one, scope)
    to, source = types_of(one)
    if set(one.modifiers) - {to, source} - KNOWN:
        raise unsupported(one)
    if to in PACKED:
        return packed_conversion(one, scope, to, source)
    if source in PACKED:
        raise unsupported(one)
    if to == "tf32":
        return _to_tf32(one, scope)
    read = scope.read(one.operands[1], source)
    write = scope.write(one.operands[0], to)
    convert = converter(one, to, source)

    def run(threads: Threads, mask: Mask) -> None:
        write(threads, mask, convert(read(threads)))

    return run


def tf32_bits(singles: Array, mode: str) -> Array:
    """Bits of singles, rounded to those that tf32 has; infinities stay, NaNs are cut or
    (but for "rna") all alike."""
    bits = singles.astype(np.uint64)
    odd = {
        "rna": np.uint64(0x1000),
        "rz": np.uint64(0),
        "rn": 0xFFF + (bits >> np.uint64(13) & 1),
    }[mode]
    rounded = (bits + odd) & np.uint64(0xFFFFE000)
    special = (bits & np.uint64(0x7F800000)) == 0x7F800000
    kept = np.where(special, bits & np.uint64(0xFFFFE000), rounded).astype(np.uint32)
    if mode != "rna":
        kept[np.isnan(singles.view(np.float32))] = TF32_NAN.view(np.uint32)
    return kept


def _to_tf32(one: Instruction, scope: Scope) -> Operation:
    read = scope.read(one.operands[1], "b32")
    write = scope.write(one.operands[0], "b32")
    mode = rounding(one)

    def run(threads: Threads, mask: Mask) -> None:
        result = tf32_bits(read(threads), mode).view(np.float32)
        if "relu" in one.modifiers:
            result = relu(result)
        if "satfinite" in one.modifiers:
            result = np.where(np.isinf(result), np.copysign(TF32_MAX, result), result)
        write(threads, mask, result.view(np.uint32))

    return run


def _pack_integers(one: Instruction, scope: Scope) -> Operation:
    """`cvt.pack`: two integers clamped, side by side, and a third moved up."""
    name = next((m for m in one.modifiers if m[1:] in PACKED_WIDTHS), None)
    if name is None or "sat" not in one.modifiers:
        raise unsupported(one)
    bits = int(name[1:])
    low = -(1 << bits - 1) if name[0] == "s" else 0
    high = low + (1 << bits) - 1
    target, *sources = one.operands
    reads = [scope.read(operand, "s32") for operand in sources[:2]]
    third = scope.read(sources[2], "u32") if len(sources) > 2 else None
    write = scope.write(target, "b32")

    def run(threads: Threads, mask: Mask) -> None:
        upper, lower = (
            np.clip(read(threads), low, high).astype(np.int64) & ((1 << bits) - 1)
            for read in reads
        )
        value = upper << bits | lower
        if third is not None:
            value = value | third(threads).astype(np.int64) << 2 * bits
        write(threads, mask, value.astype(np.uint32))

    return run
