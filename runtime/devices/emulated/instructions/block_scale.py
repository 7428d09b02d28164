"""mma.sync of numbers of 4 to 8 bits (sm_120): plain, or scaled block by block.

ISA sections "Block Scaling for mma.sync" and "Matrix Fragments for mma". Numbers of 6
bits are the low bits of a byte, those of 4 bits its middle; `mxf4` and `mxf4nvf4` pack
two of 4 bits in a byte. Each row of the left operand, and each column of the right one,
has a scale for every part of its depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import Instruction, Operand, Vector
from stepwell.runtime.devices.emulated.translate import Scope, unsupported

from .barriers import uniform
from .matrix import whole_warps
from .shapes import Registers, encoded, left, result, right

Array = NDArray
CODES = np.arange(256, dtype=np.uint8)


def _numbers(codes: Array, dtype: type) -> Array:
    return codes.astype(np.uint8).view(dtype).astype(np.float64)


ELEMENTS = {
    "e4m3": _numbers(CODES, ml_dtypes.float8_e4m3fn),
    "e5m2": _numbers(CODES, ml_dtypes.float8_e5m2),
    "e3m2": _numbers(CODES & 63, ml_dtypes.float6_e3m2fn),
    "e2m3": _numbers(CODES & 63, ml_dtypes.float6_e2m3fn),
    "e2m1": _numbers(CODES >> 2 & 15, ml_dtypes.float4_e2m1fn),
}
"""The number that each byte holds."""
NIBBLES = _numbers(CODES & 15, ml_dtypes.float4_e2m1fn)
SCALES = {
    "ue8m0": _numbers(CODES, ml_dtypes.float8_e8m0fnu),
    "ue4m3": _numbers(CODES & 127, ml_dtypes.float8_e4m3fn),
}
SIZES = {
    ("kind::mxf8f6f4", "ue8m0"): (1,),
    ("kind::mxf4", "ue8m0"): (2,),
    ("kind::mxf4nvf4", "ue8m0"): (2, 4),
    ("kind::mxf4nvf4", "ue4m3"): (4,),
}
"""Scales per row or column, by the kind of product and the type of scales."""
KINDS = ("kind::f8f6f4", *dict.fromkeys(kind for kind, _ in SIZES))


def narrow_mma(one: Instruction, scope: Scope) -> Operation:
    """`mma.sync` with `.kind`."""
    kind = next(m for m in one.modifiers if m in KINDS)
    packed = kind.startswith("kind::mxf4")
    a_type, b_type = _element_types(one, packed)
    d_type = next(m for m in one.modifiers if m in ("f32", "f16"))
    registers = [
        Registers.of(one, operand, scope, "b32") for operand in one.operands[:4]
    ]
    if [part.rows.size for part in registers[1:3]] != [4, 2]:
        raise unsupported(one)
    parts = 8 if packed else 4
    places = left(4, parts, 16), right(2, parts)
    sums = result(registers[3].rows.size, 1 if d_type == "f32" else 2)
    tables = [NIBBLES if packed else ELEMENTS[t] for t in (a_type, b_type)]
    scales = _scales(one, scope, kind)
    to, of_a, of_b, of_c = registers

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        a, b = (
            place.dense(_decoded(part.read(threads, warps), table, parts))
            for place, part, table in zip(places, (of_a, of_b), tables, strict=True)
        )
        for factor, scale in zip((a, b.swapaxes(-1, -2)), scales, strict=False):
            by_part = scale.read(threads, mask, warps)
            each = factor.shape[-1] // by_part.shape[-1]
            factor *= np.repeat(by_part, each, axis=-1)[:, None]
        words = of_c.read(threads, warps)[..., None]
        before = words.view("f4" if d_type == "f32" else "f2").astype(np.float64)
        total = a @ b + sums.dense(before)
        to.write(threads, warps, encoded(one, sums.taken(total), d_type))

    return run


def _element_types(one: Instruction, packed: bool) -> tuple[str, str]:
    """The types of the operands; checked against the shape."""
    types = [m for m in one.modifiers if m in ELEMENTS]
    shape = "m16n8k64" if packed else "m16n8k32"
    known = len(types) == 2 and (not packed or types == ["e2m1", "e2m1"])
    if not known or shape not in one.modifiers or "row" not in one.modifiers:
        raise unsupported(one)
    return types[0], types[1]


def _decoded(words: Array, table: Array, parts: int) -> Array:
    """Registers `[..., lanes]` as numbers `[..., lanes, parts]`."""
    if parts == 4:
        return table[words[..., None].view(np.uint8)]
    shifts = np.arange(0, 32, 4, dtype=np.uint32)
    return table[words[..., None] >> shifts & np.uint32(15)]


@dataclass(frozen=True)
class Scale:
    """The scales of an operand: a register, and which of its bytes and lanes count."""

    words: Registers
    byte: Callable[[Threads, Mask], int]
    thread: Callable[[Threads, Mask], int]
    table: Array
    size: int
    is_left: bool

    def read(self, threads: Threads, mask: Mask, warps: Array | None) -> Array:
        """`[warps, rows or columns, size]`."""
        byte, thread = self.byte(threads, mask), self.thread(threads, mask)
        highest = 1 if self.is_left else 3
        if byte % self.size or not 0 <= byte < 4 or not 0 <= thread <= highest:
            raise DeviceError(
                f"expected a byte of scales that is a multiple of {self.size}, and a "
                f"thread from 0 to {highest}, got {byte} and {thread}",
                where=threads.describe(int(mask.argmax())),
            )
        if self.is_left:
            row = np.arange(16)
            lane = row % 8 * 4 + 2 * thread + row // 8
        else:
            lane = np.arange(8) * 4 + thread
        octets = self.words.read(threads, warps)[0][:, lane, None].view(np.uint8)
        return self.table[octets[..., byte : byte + self.size]]


def _scales(one: Instruction, scope: Scope, kind: str) -> tuple[Scale, ...]:
    """The scales of both operands; none if the product has none."""
    if kind == "kind::f8f6f4":
        if len(one.operands) != 4:
            raise unsupported(one)
        return ()
    type_ = next((m for m in one.modifiers if m in SCALES), "")
    sizes = SIZES.get((kind, type_), ())
    named = [int(m[-2]) for m in one.modifiers if m.startswith("scale_vec::")]
    size = named[0] if named else sizes[0] if len(sizes) == 1 else 0
    if size not in sizes or len(one.operands) != 8:
        raise unsupported(one)

    def of(first: int, is_left: bool) -> Scale:
        words, selector = one.operands[first : first + 2]
        if not isinstance(selector, Vector) or len(selector.elements) != 2:
            raise unsupported(one)
        byte, thread = (_selector(part, scope) for part in selector.elements)
        register = Registers.of(one, words, scope, "b32")
        return Scale(register, byte, thread, SCALES[type_], size, is_left)

    return of(4, True), of(6, False)


def _selector(operand: Operand, scope: Scope) -> Callable[[Threads, Mask], int]:
    read = scope.read(operand, "u16")
    return lambda threads, mask: uniform(read, threads, mask)
