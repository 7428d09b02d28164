"""`cvt`: conversions between all types, with rounding, saturation and packing.

ISA section "Data Movement and Conversion Instructions: cvt".
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import Instruction
from stepwell.runtime.devices.emulated.translate import Scope, instruction, unsupported

from . import floats
from .elementwise import relu, rounding

Array = NDArray
FLOATS = ("f16", "bf16", "f32", "f64")
ROUND: dict[str, Callable[[Array], Array]] = {
    "rni": np.rint,
    "rzi": np.trunc,
    "rmi": np.floor,
    "rpi": np.ceil,
}
PACKED = {
    "f16x2": np.dtype(np.float16),
    "bf16x2": np.dtype(ml_dtypes.bfloat16),
    "e4m3x2": np.dtype(ml_dtypes.float8_e4m3fn),
    "e5m2x2": np.dtype(ml_dtypes.float8_e5m2),
}
LARGEST = {"e4m3x2": 448.0, "e5m2x2": 57344.0}


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
    # On hardware NaN becomes zero, except for 64-bit results: only the top bit set.
    if to.itemsize < 8:
        unknown = to.type(0)
    else:
        unknown = np.array(1 << 63, np.uint64).view(to)[()]
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
    if mode == "rn" or to.itemsize >= value.dtype.itemsize:
        return value.astype(to)
    return floats.narrow(value.astype(np.float64), mode, to)


def converter(one: Instruction, to: str, source: str) -> Callable[[Array], Array]:
    """The function of one scalar conversion."""
    target = NUMPY_TYPES[to]
    if source in FLOATS and to not in FLOATS:
        mode = rounding(one)
        return lambda value: float_to_int(value, target, mode)
    if source not in FLOATS and to not in FLOATS:
        return lambda value: int_to_int(value, target, "sat" in one.modifiers)
    if source not in FLOATS:
        mode = rounding(one)
        if mode == "rn":
            return lambda value: value.astype(target)
        return lambda value: floats.narrow(value.astype(np.float64), mode, target)

    def between(value: Array) -> Array:
        if "ftz" in one.modifiers and source == "f32":
            value = floats.flush(value)
        result = float_to_float(value, target, one)
        if "ftz" in one.modifiers and to == "f32":
            result = floats.flush(result)
        if "sat" in one.modifiers:
            result = floats.saturate(result)
        return relu(result) if "relu" in one.modifiers else result

    return between


@instruction("cvt")
def cvt(one: Instruction, scope: Scope) -> Operation:
    """One conversion, or two singles packed into one register."""
    to, source = types_of(one)
    if to in PACKED:
        return _pack(one, scope, to, source)
    if source in PACKED and source not in ("f16x2", "bf16x2"):
        raise unsupported(one)
    if to == "tf32":
        return _to_tf32(one, scope)
    read = scope.read(one.operands[1], source)
    write = scope.write(one.operands[0], to)
    convert = converter(one, to, source)

    def run(threads: Threads, mask: Mask) -> None:
        write(threads, mask, convert(read(threads)))

    return run


def _to_tf32(one: Instruction, scope: Scope) -> Operation:
    read = scope.read(one.operands[1], "b32")
    write = scope.write(one.operands[0], "b32")
    away = rounding(one) == "rna"

    def run(threads: Threads, mask: Mask) -> None:
        bits = read(threads).astype(np.uint64)
        odd = np.uint64(0x1000) if away else 0xFFF + (bits >> np.uint64(13) & 1)
        rounded = (bits + odd) & np.uint64(0xFFFFE000)
        special = (bits & np.uint64(0x7F800000)) == 0x7F800000
        write(threads, mask, np.where(special, bits, rounded).astype(np.uint32))

    return run


def _from_fp8(one: Instruction, scope: Scope, to: str, source: str) -> Operation:
    if to != "f16x2" or source not in LARGEST or "relu" in one.modifiers:
        raise unsupported(one)
    read, write = (
        scope.read(one.operands[1], "b16"),
        scope.write(one.operands[0], "b32"),
    )

    def run(threads: Threads, mask: Mask) -> None:
        pair = np.ascontiguousarray(read(threads)).reshape(-1, 1).view(PACKED[source])
        write(threads, mask, pair.astype(np.float16).view(np.uint32)[:, 0])

    return run


def _pack(one: Instruction, scope: Scope, to: str, source: str) -> Operation:
    if source != "f32":
        return _from_fp8(one, scope, to, source)
    kind = PACKED[to]
    reads = [scope.read(operand, "f32") for operand in one.operands[1:3]]
    packed = f"b{kind.itemsize * 16}"
    write = scope.write(one.operands[0], packed)
    mode = rounding(one)

    def half(value: Array) -> Array:
        if "relu" in one.modifiers:
            value = relu(value)
        if to in LARGEST:  # .satfinite is mandatory for these
            value = np.clip(value, -LARGEST[to], LARGEST[to])
        if mode == "rz":
            return floats.narrow(value.astype(np.float64), mode, kind)
        return value.astype(kind)

    def run(threads: Threads, mask: Mask) -> None:
        pair = np.empty((mask.size, 2), kind)
        with np.errstate(all="ignore"):
            # The first source becomes the upper half.
            pair[:, 1], pair[:, 0] = (half(read(threads)) for read in reads)
        write(threads, mask, pair.view(NUMPY_TYPES[packed])[:, 0])

    return run
