"""mma.sp: products whose left operand holds half of its elements, and says which.

ISA section "Matrix multiply-accumulate operation using mma.sp instruction". The
metadata of a row is four bits for each chunk of four elements (two of 32 bits; four
pairs of 4 bits): the places of the two that are kept.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import WARP, Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import Instruction, Integer
from stepwell.runtime.devices.emulated.translate import Scope, unsupported

from .matrix import whole_warps
from .shapes import BITS, Registers, decoded, encoded, left, result, right

Array = NDArray


def places(words: Array, selector: int, chunks: int, type_: str) -> Array:
    """The kept places of each chunk, `[warps, 16 rows, chunks, 2]`.

    `words` is `[warps, 32]`, the metadata of each lane. Of elements of 16 bits or more,
    a lane holds four chunks of two rows, 8 apart: of four chunks a row, that is lane
    `selector` of each four; of eight, a pair of lanes. Of narrower elements, it holds
    eight chunks of one row: lane 0 of a pair the upper row, lane 1 the lower one.
    """
    lanes = words.reshape(-1, 8, 4)
    if BITS[type_] < 16:
        return _of_rows(lanes, selector, chunks)
    if chunks == 4:
        halves = lanes[:, :, selector : selector + 1]
    else:
        halves = lanes[:, :, 2 * selector : 2 * selector + 2]
    # [warps, groups, lanes, rows] of 16 bits each: four chunks of a row.
    rows = np.stack([halves & np.uint32(0xFFFF), halves >> np.uint32(16)], axis=-1)
    codes = rows[..., None] >> np.arange(0, 16, 4, dtype=np.uint32) & np.uint32(15)
    # [warps, rows, groups, lanes, chunks] to [warps, 16, chunks].
    ordered = codes.transpose(0, 3, 1, 2, 4).reshape(len(words), 16, chunks)
    return np.stack([ordered & 3, ordered >> 2], axis=-1).astype(np.int64)


def _of_rows(lanes: Array, selector: int, chunks: int) -> Array:
    count = chunks // 4
    held = lanes[:, :, count * selector : count * selector + count]
    codes = held[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & np.uint32(15)
    # [warps, groups, parts of a row, rows, chunks] to [warps, 16, chunks].
    parts = codes.reshape(len(lanes), 8, count // 2, 2, 8)
    ordered = parts.transpose(0, 3, 1, 2, 4).reshape(len(lanes), 16, chunks)
    return np.stack([ordered & 3, ordered >> 2], axis=-1).astype(np.int64)


def expanded(kept: Array, at: Array, type_: str) -> Array:
    """The left operand in full: `[warps, 16, k / 2]` kept elements to `[.., k]`."""
    warps, rows, half = kept.shape
    full = np.zeros((warps, rows, 2 * half), kept.dtype)
    if type_ == "tf32":  # one of two, written as two of four halves
        column = 2 * np.arange(half) + (at[..., 0] >> 1)
    elif type_ in ("s4", "u4"):  # pairs of elements
        pairs = at.reshape(warps, rows, -1) + 4 * (np.arange(half // 2) // 2)
        column = (2 * pairs[..., None] + np.arange(2)).reshape(warps, rows, half)
    else:
        column = at.reshape(warps, rows, half) + 4 * (np.arange(half) // 2)
    np.put_along_axis(full, column, kept, axis=2)
    return full


def chunks_of(type_: str, depth: int) -> int:
    """Chunks of a row: of 4 elements, of 2 of 32 bits, of 8 of 4 bits."""
    return depth // {32: 2, 4: 8}.get(BITS[type_], 4)


def sparse_mma(one: Instruction, scope: Scope) -> Operation:
    """`mma.sp.sync.aligned.m16n8k*.row.col`."""
    types = [m for m in one.modifiers if m in BITS]
    found = [re.fullmatch(r"m16n8k(\d+)", m) for m in one.modifiers]
    depth = next((int(match[1]) for match in found if match is not None), 0)
    if len(types) != 4 or not depth or len(one.operands) != 6:
        raise unsupported(one)
    d_type, a_type, _, c_type = types
    selector = one.operands[5]
    if d_type != c_type or not isinstance(selector, Integer):
        raise unsupported(one)
    to, *of = (Registers.of(one, o, scope, "b32") for o in one.operands[:5])
    parts = [32 // BITS[type_] for type_ in types]
    where = (
        left(len(of[0].rows), parts[1], 16),
        right(len(of[1].rows), parts[2]),
        result(len(of[2].rows), parts[3]),
    )
    if where[0].shape != (16, depth // 2) or where[1].shape != (depth, 8):
        raise unsupported(one)
    chunks = chunks_of(a_type, depth)

    def run(threads: Threads, mask: Mask) -> None:
        warps = whole_warps(one, threads, mask)
        a, b, c = (
            place.dense(decoded(part.read(threads, warps), type_))[:, 0]
            for place, part, type_ in zip(where, of[:3], types[1:], strict=True)
        )
        words = of[3].read(threads, warps)[0].reshape(-1, WARP)
        a = expanded(a, places(words, selector.value, chunks, a_type), a_type)
        total = (a @ b + c)[:, None]
        to.write(threads, warps, encoded(one, where[2].taken(total), d_type))

    return run
