"""Matrices across a warp: ldmatrix, stmatrix, movmatrix, mma.sync.

ISA section "Matrix Multiply-Accumulate Instructions". Fragments are described once:
a 32-bit register holds 2 halves, 4 bytes or one single; lane = 4 * group + member.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import WARP, Block, Mask, Operation
from stepwell.runtime.devices.emulated.syntax import Instruction, Operand
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    Write,
    instruction,
    unsupported,
)

from .memory import checked, locate, vector_elements

Array = NDArray
LANES = np.arange(WARP)
GROUP, MEMBER = LANES // 4, LANES % 4
OPERAND_TYPES: dict[str, np.dtype] = {
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "tf32": np.dtype(np.float32),
    "f32": np.dtype(np.float32),
    "s8": np.dtype(np.int8),
    "u8": np.dtype(np.uint8),
    "e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "e5m2": np.dtype(ml_dtypes.float8_e5m2),
}


def whole_warps(one: Instruction, block: Block, mask: Mask) -> Array:
    """The warps of the mask. Raises DeviceError unless each takes part as a whole."""
    rows = (mask | block.exited).reshape(-1, WARP)
    present = mask.reshape(-1, WARP).any(axis=1)
    if not rows[present].all():
        raise DeviceError(
            f"{one.name} needs all threads of a warp",
            where=block.describe(int(np.flatnonzero(mask)[0])),
        )
    return np.flatnonzero(present)


def gather(reads: list[Read], block: Block, mask: Mask, warps: Array) -> Array:
    """Registers as `[warps, lanes, registers]` of unsigned words."""
    rows = [
        np.broadcast_to(read(block), mask.shape).reshape(-1, WARP)[warps]
        for read in reads
    ]
    return np.ascontiguousarray(np.stack(rows, axis=2))


def scatter(
    writes: list[Write], block: Block, mask: Mask, warps: Array, values: Array
) -> None:
    """Write `[warps, lanes, registers]` to registers."""
    full = np.zeros((mask.size // WARP, WARP), values.dtype)
    for index, write in enumerate(writes):
        full[warps] = values[:, :, index]
        write(block, mask, full.reshape(-1))


def words_of(operand: Operand, scope: Scope, type_: str = "b32") -> list[Read]:
    """How to read the registers of a fragment."""
    return [scope.read(element, type_) for element in vector_elements(operand)]


# ldmatrix, stmatrix, movmatrix.


def _matrices(one: Instruction) -> int:
    if "m8n8" not in one.modifiers or "b16" not in one.modifiers:
        raise unsupported(one)
    return int(next(m for m in one.modifiers if m in ("x1", "x2", "x4"))[1:])


def _row_offsets(offsets: NDArray[np.int64], warps: Array, mask: Mask) -> Array:
    full = np.zeros(mask.size, np.int64)
    full[mask] = offsets
    return full.reshape(-1, 4, 8)[warps]


@instruction("ldmatrix")
def ldmatrix(one: Instruction, scope: Scope) -> Operation:
    """One, two or four 8x8 matrices of 16-bit elements; lane 8m + r: row r of m."""
    count = _matrices(one)
    where = locate(one, one.operands[1], scope, "shared")
    writes = [scope.write(o, "b32") for o in vector_elements(one.operands[0])]
    transposed = "trans" in one.modifiers

    def run(block: Block, mask: Mask) -> None:
        warps = whole_warps(one, block, mask)
        naming = mask & (np.arange(mask.size) % WARP < 8 * count)
        memory, used = checked(block, naming, where(block, naming), 16, "read")
        starts = _row_offsets(used, warps, naming)[:, :count]
        halves = memory.view(2)[starts[..., None] // 2 + np.arange(8)]
        if transposed:
            halves = halves.swapaxes(2, 3)
        packed = np.ascontiguousarray(halves).view(np.uint32)
        values = packed.reshape(len(warps), count, WARP).swapaxes(1, 2)
        scatter(writes, block, mask, warps, values)

    return run


@instruction("stmatrix")
def stmatrix(one: Instruction, scope: Scope) -> Operation:
    """The inverse of `ldmatrix`."""
    count = _matrices(one)
    where = locate(one, one.operands[0], scope, "shared")
    reads = words_of(one.operands[1], scope)
    transposed = "trans" in one.modifiers

    def run(block: Block, mask: Mask) -> None:
        warps = whole_warps(one, block, mask)
        naming = mask & (np.arange(mask.size) % WARP < 8 * count)
        memory, used = checked(block, naming, where(block, naming), 16, "write")
        starts = _row_offsets(used, warps, naming)[:, :count]
        words = gather(reads, block, mask, warps).swapaxes(1, 2)
        halves = np.ascontiguousarray(words).view(np.uint16)
        rows = halves.reshape(len(warps), count, 8, 8)
        if transposed:
            rows = rows.swapaxes(2, 3)
        memory.view(2)[starts[..., None] // 2 + np.arange(8)] = rows
        if memory.written is not None:
            memory.written[starts[..., None] + np.arange(16)] = True
        block.cluster.effects += 1

    return run


@instruction("movmatrix")
def movmatrix(one: Instruction, scope: Scope) -> Operation:
    """Transpose an 8x8 matrix held by a warp."""
    read, write = (
        scope.read(one.operands[1], "b32"),
        scope.write(one.operands[0], "b32"),
    )

    def run(block: Block, mask: Mask) -> None:
        warps = whole_warps(one, block, mask)
        words = gather([read], block, mask, warps)
        rows = words.view(np.uint16).reshape(len(warps), 8, 8).swapaxes(1, 2)
        packed = np.ascontiguousarray(rows).view(np.uint32).reshape(-1, WARP, 1)
        scatter([write], block, mask, warps, packed)

    return run


# mma.sync.


def a_fragment(words: Array, dtype: np.dtype) -> Array:
    """`[warps, lanes, registers]` of the left operand as `[warps, 16, k]`."""
    per_word = 4 // dtype.itemsize
    count = words.shape[2]
    values = words.view(dtype).reshape(*words.shape, per_word)
    register = np.arange(count)
    rows = GROUP[:, None, None] + 8 * (register & 1)[:, None]
    first = (register >> 1) * 4 * per_word
    columns = MEMBER[:, None, None] * per_word + first[:, None] + np.arange(per_word)
    matrix = np.zeros((len(words), 16, 2 * count * per_word), dtype)
    matrix[:, np.broadcast_to(rows, columns.shape), columns] = values
    return matrix


def b_fragment(words: Array, dtype: np.dtype) -> Array:
    """`[warps, lanes, registers]` of the right operand as `[warps, k, 8]`."""
    per_word = 4 // dtype.itemsize
    count = words.shape[2]
    values = words.view(dtype).reshape(*words.shape, per_word)
    register = np.arange(count)[:, None]
    rows = MEMBER[:, None, None] * per_word + register * 4 * per_word
    rows = rows + np.arange(per_word)
    matrix = np.zeros((len(words), 4 * count * per_word, 8), dtype)
    matrix[:, rows, np.broadcast_to(GROUP[:, None, None], rows.shape)] = values
    return matrix


def accumulator_places(columns: int) -> tuple[Array, Array]:
    """Row and column of each accumulator element, `[lanes, elements]`."""
    element = np.arange(columns // 2)
    rows = GROUP[:, None] + 8 * (element >> 1 & 1)
    at = 8 * (element >> 2) + 2 * MEMBER[:, None] + (element & 1)
    return rows, at


def product(a: Array, b: Array, c: Array, result: np.dtype, saturate: bool) -> Array:
    """`a b + c`: exact for integers; for floats summed in double, rounded once."""
    with np.errstate(all="ignore"):
        exact = a.astype(np.float64) @ b.astype(np.float64) + c.astype(np.float64)
    if result.kind != "i":
        return exact.astype(result)
    if saturate:
        return np.clip(exact, -(2.0**31), 2.0**31 - 1).astype(result)
    return exact.astype(np.int64).astype(result)


def to_tf32(values: Array) -> Array:
    """Drop the bits of a single that tf32 does not have."""
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


@instruction("mma")
def mma(one: Instruction, scope: Scope) -> Operation:
    """`mma.sync.aligned.m16n8k*.row.col`, dense."""
    modifiers = one.modifiers
    known = [m for m in modifiers if m in OPERAND_TYPES or m == "s32"]
    shape = next((m for m in modifiers if m.startswith("m16n8k")), None)
    dense = "col" in modifiers and len(one.operands) == 4
    if len(known) != 4 or shape is None or not dense:
        raise unsupported(one)
    d_type, a_type, b_type, c_type = known
    if d_type != c_type or d_type not in ("f32", "f16", "s32"):
        raise unsupported(one)
    result = np.dtype({"f32": "f4", "f16": "f2", "s32": "i4"}[d_type])
    a_words, b_words, c_words = (words_of(o, scope) for o in one.operands[1:4])
    writes = [scope.write(o, "b32") for o in vector_elements(one.operands[0])]
    rows, columns = accumulator_places(8)
    per_register = 4 // OPERAND_TYPES[a_type].itemsize
    if int(shape[6:]) != 2 * len(a_words) * per_register:
        raise unsupported(one)

    def run(block: Block, mask: Mask) -> None:
        warps = whole_warps(one, block, mask)
        a = a_fragment(gather(a_words, block, mask, warps), OPERAND_TYPES[a_type])
        b = b_fragment(gather(b_words, block, mask, warps), OPERAND_TYPES[b_type])
        if a_type == "tf32":
            a, b = to_tf32(a), to_tf32(b)
        c = np.zeros((len(warps), 16, 8), result)
        held = gather(c_words, block, mask, warps).view(result)
        c[:, rows, columns] = held
        d = product(a, b, c, result, "satfinite" in modifiers)
        kept = np.ascontiguousarray(d[:, rows, columns]).view(np.uint32)
        scatter(writes, block, mask, warps, kept)

    return run
