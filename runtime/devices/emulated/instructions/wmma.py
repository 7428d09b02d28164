"""wmma: matrices in fragments whose layout is the machine's own affair.

ISA section "wmma". Here the elements of a fragment are dealt to the lanes in the order
of their rows; operands that have more registers than elements hold them twice, as on
GPUs.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import WARP, Mask, Operation, Threads
from stepwell.runtime.devices.emulated.memory import check_access
from stepwell.runtime.devices.emulated.syntax import Instruction, Operand
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    instruction,
    unsupported,
)

from .addressing import checked, locate, state_space
from .matrix import whole_warps
from .shapes import BITS, Registers, decoded, encoded, multiplied

Array = NDArray


def _shape(one: Instruction, matrix: str) -> tuple[int, int]:
    """Rows and columns of a matrix of `m16n16k16`."""
    found = [re.fullmatch(r"m(\d+)n(\d+)k(\d+)", m) for m in one.modifiers]
    match = next((m for m in found if m is not None), None)
    if match is None:
        raise unsupported(one)
    m, n, k = (int(extent) for extent in match.groups())
    return {"a": (m, k), "b": (k, n), "c": (m, n), "d": (m, n)}[matrix]


def _bank(type_: str) -> str:
    return "b64" if type_ == "f64" else "b32"


def _dealt(flat: Array, registers: int) -> Array:
    """`[warps, words]` as `[registers, warps, lanes]`, repeated to fill them."""
    repeated = np.tile(flat, (1, registers * WARP // flat.shape[1]))
    return repeated.reshape(len(flat), registers, WARP).swapaxes(0, 1)


def _gathered(words: Array, count: int) -> Array:
    """The inverse of `_dealt`: the first `count` words of each warp."""
    return words.swapaxes(0, 1).reshape(words.shape[1], -1)[:, :count]


@instruction("wmma")
def wmma(one: Instruction, scope: Scope) -> Operation:
    """`wmma.load`, `wmma.store`, `wmma.mma`."""
    if one.modifiers[0] == "mma":
        return _product(one, scope)
    type_ = next((m for m in one.modifiers if m in BITS), None)
    if one.modifiers[0] not in ("load", "store") or type_ is None or BITS[type_] < 8:
        raise unsupported(one)
    return _move(one, scope, type_)


def _move(one: Instruction, scope: Scope, type_: str) -> Operation:
    """A fragment from or to memory, rows or columns `stride` elements apart."""
    loads = one.modifiers[0] == "load"
    fragment, address = one.operands[:2] if loads else one.operands[1::-1]
    rows, columns = _shape(one, one.modifiers[1])
    registers = Registers.of(one, fragment, scope, _bank(type_))
    where = locate(one, address, scope, state_space(one))
    width = BITS[type_] // 8
    by_row = "row" in one.modifiers
    stride_of = _stride(one, scope, columns if by_row else rows)
    word = 8 if type_ == "f64" else 4
    count = rows * columns * width // word

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        first = mask & (np.arange(mask.size) % WARP == 0)
        memory, starts = checked(threads, first, where(threads, first), width, "sync")
        stride = np.broadcast_to(stride_of(threads), mask.shape)[first]
        row, column = np.arange(rows)[:, None], np.arange(columns)[None, :]
        outer, inner = (row, column) if by_row else (column, row)
        index = outer * stride[:, None, None].astype(np.int64) + inner
        offsets = (starts[:, None, None] + index * width).reshape(-1)
        lanes = np.flatnonzero(first).repeat(rows * columns)
        check_access(memory, offsets, width, threads.describe, lambda: lanes)
        checker = threads.device.checker
        if checker is not None:
            kind = "read" if loads else "write"
            checker.access(threads, memory, offsets, width, lanes, kind)
        view = memory.view(width)
        if loads:
            values = np.ascontiguousarray(view[offsets // width])
            flat = values.reshape(starts.size, -1).view(f"u{word}")
            registers.write(threads, warps, _dealt(flat, registers.rows.size))
            return
        flat = _gathered(registers.read(threads, warps), count)
        view[offsets // width] = (
            np.ascontiguousarray(flat).view(f"u{width}").reshape(-1)
        )
        memory.mark(offsets, width)
        threads.wave.effects += 1

    return run


def _stride(one: Instruction, scope: Scope, default: int) -> Read:
    if len(one.operands) > 2:
        return scope.read(one.operands[2], "u32")
    constant = np.array(default, np.uint32)
    return lambda threads: constant


def _product(one: Instruction, scope: Scope) -> Operation:
    types = [m for m in one.modifiers if m in BITS]
    if len(types) == 2:  # of halves: only the types of d and c are written
        types = [types[0], "f16", "f16", types[1]]
    if len(types) != 4 or any(BITS[type_] < 8 for type_ in types):
        raise unsupported(one)
    operands: list[Operand] = list(one.operands)
    registers = [
        Registers.of(one, operand, scope, _bank(type_))
        for operand, type_ in zip(operands, types, strict=True)
    ]
    to, *of = registers
    shapes = [_shape(one, matrix) for matrix in "abc"]

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        matrices: list[Array] = []
        for part, type_, shape in zip(of, types[1:], shapes, strict=True):
            word = 64 if type_ == "f64" else 32
            count = shape[0] * shape[1] * BITS[type_] // word
            flat = np.ascontiguousarray(_gathered(part.read(threads, warps), count))
            matrices.append(decoded(flat, type_).reshape(len(flat), *shape))
        a, b, c = matrices
        total = multiplied(one, a, b) + c
        parts = (64 if types[0] == "f64" else 32) // BITS[types[0]]
        flat = encoded(one, total.reshape(len(total), -1, parts), types[0])
        to.write(threads, warps, _dealt(flat, to.rows.size))

    return run
