"""Matrices across a warp: ldmatrix, stmatrix, movmatrix, mma.sync.

ISA section "Matrix Multiply-Accumulate Instructions". Fragments are described once:
a 32-bit register holds 2 halves, 4 bytes or one single; lane = 4 * group + member. In
NumPy each is a transpose of `[registers, warps, 8 groups, 4 members, parts]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated.machine import WARP, Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
    Operand,
    Register,
)
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    instruction,
    unsupported,
)

from .addressing import checked, locate, vector_elements

Array = NDArray
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


def whole_warps(one: Instruction, threads: Threads, mask: Mask) -> Array | None:
    """The warps of the mask; None for all. Raises DeviceError unless each is whole."""
    if mask is threads.everyone:
        return None
    rows = mask.reshape(-1, WARP)
    present = rows.any(axis=1)
    if not rows[present].all():
        raise DeviceError(
            f"{one.name} needs all threads of a warp",
            where=threads.describe(int(np.flatnonzero(mask)[0])),
        )
    return np.flatnonzero(present)


@dataclass(frozen=True)
class Fragment:
    """32-bit registers that hold the parts of a matrix: their rows."""

    rows: Array

    @staticmethod
    def of(one: Instruction, operand: Operand, scope: Scope) -> Fragment:
        """The registers of `{...}` or of one operand."""
        rows: list[int] = []
        for element in vector_elements(operand):
            if not isinstance(element, Register):
                raise unsupported(one, f"constant in a matrix of {one.name}")
            slot = scope.slot(element.name)
            if slot.bank != "b32":
                raise unsupported(one, f"{slot.bank} register in {one.name}")
            rows.append(slot.row)
        return Fragment(np.array(rows))

    def gather(self, threads: Threads, warps: Array | None) -> Array:
        """The registers as `[registers, warps, 32]`."""
        bank = threads.wave.banks["b32"]
        values = bank[self.rows, threads.start : threads.stop]
        values = values.reshape(self.rows.size, -1, WARP)
        return values if warps is None else values[:, warps]

    def scatter(self, threads: Threads, warps: Array | None, values: Array) -> None:
        """Write `[registers, warps, 32]`."""
        bank = threads.wave.banks["b32"][:, threads.start : threads.stop]
        if warps is None:
            bank[self.rows] = values.reshape(self.rows.size, -1)
        else:
            by_warp = bank.reshape(len(bank), -1, WARP)
            by_warp[self.rows[:, None], warps] = values


# ldmatrix, stmatrix, movmatrix.


def _matrices(one: Instruction) -> int:
    if "m8n8" not in one.modifiers or "b16" not in one.modifiers:
        raise unsupported(one)
    return int(next(m for m in one.modifiers if m in ("x1", "x2", "x4"))[1:])


def _naming(threads: Threads, mask: Mask, count: int) -> Mask:
    """The threads whose addresses count: 8 of each matrix."""
    if count == 4:
        return mask
    return mask & (np.arange(mask.size) % WARP < 8 * count)


@instruction("ldmatrix")
def ldmatrix(one: Instruction, scope: Scope) -> Operation:
    """One, two or four 8x8 matrices of 16-bit elements; lane 8m + r: row r of m."""
    count = _matrices(one)
    where = locate(one, one.operands[1], scope, "shared")
    to = Fragment.of(one, one.operands[0], scope)
    transposed = "trans" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        naming = _naming(threads, mask, count)
        memory, used = checked(threads, naming, where(threads, naming), 16, "read")
        rows = memory.view(16)[used // 16].view(np.uint16)
        halves = rows.reshape(-1, count, 8, 8)  # [warps, matrices, rows, columns]
        if transposed:
            halves = halves.swapaxes(2, 3)
        words = np.ascontiguousarray(halves.swapaxes(0, 1)).view(np.uint32)
        to.scatter(threads, warps, words.reshape(count, -1, WARP))

    return run


@instruction("stmatrix")
def stmatrix(one: Instruction, scope: Scope) -> Operation:
    """The inverse of `ldmatrix`."""
    count = _matrices(one)
    where = locate(one, one.operands[0], scope, "shared")
    of = Fragment.of(one, one.operands[1], scope)
    transposed = "trans" in one.modifiers

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        naming = _naming(threads, mask, count)
        memory, used = checked(threads, naming, where(threads, naming), 16, "write")
        words = of.gather(threads, warps)
        halves = words.view(np.uint16).reshape(count, -1, 8, 8).swapaxes(0, 1)
        if transposed:
            halves = halves.swapaxes(2, 3)
        rows = np.ascontiguousarray(halves).view(np.uint64)
        memory.view(16)[used // 16] = rows.reshape(-1, 2)
        memory.mark(used, 16)
        threads.wave.effects += 1

    return run


@instruction("movmatrix")
def movmatrix(one: Instruction, scope: Scope) -> Operation:
    """Transpose an 8x8 matrix held by a warp."""
    of = Fragment.of(one, one.operands[1], scope)
    to = Fragment.of(one, one.operands[0], scope)

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        words = of.gather(threads, warps)
        rows = words.view(np.uint16).reshape(-1, 8, 8).swapaxes(1, 2)
        packed = np.ascontiguousarray(rows).view(np.uint32)
        to.scatter(threads, warps, packed.reshape(1, -1, WARP))

    return run


# mma.sync.


def _parts(words: Array, dtype: np.dtype, *registers: int) -> Array:
    """`[*registers, warps, 8 groups, 4 members, parts]` of registers."""
    parts = 4 // dtype.itemsize
    return words.view(dtype).reshape(*registers, words.shape[1], 8, 4, parts)


def a_fragment(words: Array, dtype: np.dtype) -> Array:
    """`[registers, warps, lanes]` of the left operand as `[warps, 16, k]`."""
    values = _parts(words, dtype, len(words) // 2, 2)
    ordered = values.transpose(2, 1, 3, 0, 4, 5)
    return ordered.reshape(words.shape[1], 16, -1)


def b_fragment(words: Array, dtype: np.dtype) -> Array:
    """`[registers, warps, lanes]` of the right operand as `[warps, k, 8]`."""
    ordered = _parts(words, dtype, len(words)).transpose(1, 0, 3, 4, 2)
    return ordered.reshape(words.shape[1], -1, 8)


def to_accumulator(words: Array, dtype: np.dtype) -> Array:
    """`[registers, warps, lanes]` of a result as `[warps, 16, columns]`."""
    pairs = 4 // dtype.itemsize  # two elements that are neighbours in a row
    values = _parts(words, dtype, len(words) * pairs // 4, 2, 2 // pairs)
    # [octets of columns, halves of rows, registers of a pair, warps, ...]
    ordered = values.transpose(3, 1, 4, 0, 5, 2, 6)
    return ordered.reshape(words.shape[1], 16, -1)


def from_accumulator(matrix: Array) -> Array:
    """The inverse of `to_accumulator`."""
    count, _, columns = matrix.shape
    pairs = 4 // matrix.dtype.itemsize
    values = matrix.reshape(count, 2, 8, columns // 8, 4, 2 // pairs, pairs)
    ordered = np.ascontiguousarray(values.transpose(3, 1, 5, 0, 2, 4, 6))
    return ordered.view(np.uint32).reshape(-1, count, WARP)


def product(a: Array, b: Array, c: Array, result: np.dtype, saturate: bool) -> Array:
    """`a b + c`: exact for integers; for floats summed in double, rounded once."""
    exact = a.astype(np.float64) @ b.astype(np.float64) + c
    if result.kind != "i":
        return exact.astype(result)
    if saturate:
        return np.clip(exact, -(2.0**31), 2.0**31 - 1).astype(result)
    return exact.astype(np.int64).astype(result)


def to_tf32(values: Array) -> Array:
    """Drop the bits of a single that tf32 does not have."""
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
