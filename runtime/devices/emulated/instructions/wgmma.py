"""wgmma: asynchronous products of a warpgroup, from shared memory by descriptors.

ISA section "Asynchronous Warpgroup Level Matrix Multiply-Accumulate". A product
reads its operands and writes its accumulators when `wgmma.wait_group` asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError, UnsupportedError
from stepwell.runtime.devices.emulated.machine import WARP, Block, Mask, Operation
from stepwell.runtime.devices.emulated.syntax import Instruction, Vector
from stepwell.runtime.devices.emulated.tensor_map import swizzled
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    Write,
    instruction,
    unsupported,
)

from .barriers import uniform
from .matrix import (
    OPERAND_TYPES,
    a_fragment,
    accumulator_places,
    gather,
    product,
    to_tf32,
    words_of,
)

Array = NDArray
WARPGROUP = 128
SWIZZLES = (0, 128, 64, 32)
"""By bits 62 and 63 of a descriptor."""


@dataclass(frozen=True)
class Descriptor:
    """A matrix in shared memory; byte offsets (ISA, "Matrix Descriptor Format")."""

    start: int
    leading: int
    stride: int
    swizzle: int

    @staticmethod
    def decode(word: int) -> Descriptor:
        """The fields of the 64 bits; raises UnsupportedError for a base offset."""
        if word >> 49 & 7:
            raise UnsupportedError("the emulator has no matrix base offset")
        field = (1 << 14) - 1
        return Descriptor(
            (word & field) << 4,
            (word >> 16 & field) << 4,
            (word >> 32 & field) << 4,
            SWIZZLES[word >> 62],
        )

    def offsets(self, extent: int, depth: int, width: int, major_k: bool) -> Array:
        """Byte offsets of the elements `[extent, depth]`, depth along K.

        Canonical layouts: 8 rows of `swizzle` bytes (16 without) make an atom.
        """
        row, k = np.arange(extent)[:, None], np.arange(depth)[None, :]
        return swizzled(
            self.start + self._plain(row, k * width, k, width, major_k), self.swizzle
        )

    def _plain(
        self, row: Array, byte: Array, k: Array, width: int, major_k: bool
    ) -> Array:
        pitch = self.swizzle or 16
        if major_k and self.swizzle:
            return row // 8 * self.stride + row % 8 * pitch + byte
        if major_k:
            group = row // 8 * self.stride + byte // 16 * self.leading
            return group + row % 8 * 16 + byte % 16
        across = row * width
        if self.swizzle:
            group = across // pitch * self.leading + k // 8 * self.stride
        else:
            group = across // 16 * self.stride + k // 8 * self.leading
        return group + across % pitch + k % 8 * pitch


@instruction("wgmma")
def wgmma(one: Instruction, scope: Scope) -> Operation:
    """`wgmma.fence`, `.mma_async`, `.commit_group`, `.wait_group`."""
    action = one.modifiers[0]
    if action == "fence":

        def fence(block: Block, mask: Mask) -> None:
            _check_warpgroups(one, block, mask)

        return fence
    if action == "commit_group":
        return lambda block, mask: block.in_flight("wgmma").commit(mask)
    if action == "wait_group":
        most = scope.read(one.operands[0], "u32")
        return lambda block, mask: block.in_flight("wgmma").wait(
            mask, uniform(most, block, mask)
        )
    if action == "mma_async" and "sp" not in one.modifiers:
        return _mma_async(one, scope)
    raise unsupported(one)


def _check_warpgroups(one: Instruction, block: Block, mask: Mask) -> Array:
    """The warpgroups of the mask, each of which must take part as a whole."""
    whole = (mask | block.exited)[: mask.size // WARPGROUP * WARPGROUP]
    rows = mask[: whole.size].reshape(-1, WARPGROUP)
    present = rows.any(axis=1)
    if whole.size < mask.size and mask[whole.size :].any():
        present = np.zeros(0, np.bool_)
    if not present.any() or not whole.reshape(-1, WARPGROUP)[present].all():
        raise DeviceError(
            f"{one.name} needs all threads of a warpgroup",
            where=block.describe(int(np.flatnonzero(mask)[0])),
        )
    return np.flatnonzero(present)


@dataclass(frozen=True)
class Form:
    """The fixed part of one `mma_async` instruction."""

    columns: int
    depth: int
    result: np.dtype
    a_dtype: np.dtype
    b_dtype: np.dtype
    tf32: bool
    saturate: bool


def _form(one: Instruction) -> Form:
    shapes = [re.fullmatch(r"m64n(\d+)k(\d+)", m) for m in one.modifiers]
    shape = next((found for found in shapes if found is not None), None)
    known = [m for m in one.modifiers if m in OPERAND_TYPES or m == "s32"]
    if shape is None or len(known) != 3 or known[0] not in ("f32", "f16", "s32"):
        raise unsupported(one)
    return Form(
        int(shape[1]),
        int(shape[2]),
        np.dtype({"f32": "f4", "f16": "f2", "s32": "i4"}[known[0]]),
        OPERAND_TYPES[known[1]],
        OPERAND_TYPES[known[2]],
        known[1] == "tf32",
        "satfinite" in one.modifiers,
    )


def _flag(one: Instruction, scope: Scope, index: int, default: int) -> int:
    """An immediate operand: a scale of an input, or whether it is transposed."""
    if index >= len(one.operands):
        return default
    operand = one.operands[index]
    value = getattr(operand, "value", None)
    if not isinstance(value, int):
        raise unsupported(one)
    return value


def _mma_async(one: Instruction, scope: Scope) -> Operation:
    form = _form(one)
    d, a, b, *_ = one.operands
    registers = words_of(d, scope)
    writes = (
        [scope.write(o, "b32") for o in d.elements] if isinstance(d, Vector) else []
    )
    a_words = words_of(a, scope) if isinstance(a, Vector) else None
    a_word = None if a_words else scope.read(a, "b64")
    b_word = scope.read(b, "b64")
    keeps = (
        scope.read(one.operands[3], "pred")
        if len(one.operands) > 3
        else (lambda block: np.array(True))
    )
    signs = (_flag(one, scope, 4, 1), _flag(one, scope, 5, 1))
    a_k_major = a_words is not None or _flag(one, scope, 6, 0) == 0
    b_k_major = _flag(one, scope, 6 if a_words is not None else 7, 0) == 0
    accumulator = Accumulator(registers, writes, form)

    def run(block: Block, mask: Mask) -> None:
        groups = _check_warpgroups(one, block, mask)
        for group in groups:
            threads = np.zeros_like(mask)
            threads[group * WARPGROUP : (group + 1) * WARPGROUP] = True
            threads &= mask
            right = _shared(block, threads, b_word, form, b_k_major, True)
            keep = bool(uniform(keeps, block, threads))
            if a_word is not None:
                left = _shared(block, threads, a_word, form, a_k_major, False)
            else:
                left = _held(block, threads, a_words or [], form)

            def finish(
                due: Mask,
                left: Callable[[], Array] = left,
                right: Callable[[], Array] = right,
                keep: bool = keep,
            ) -> None:
                x, y = left(), right()
                if form.tf32:
                    x, y = to_tf32(x), to_tf32(y)
                signed = (
                    x.astype(np.float64) * signs[0],
                    y.astype(np.float64) * signs[1],
                )
                accumulator.add(block, due, signed[0], signed[1].T, keep)

            block.in_flight("wgmma").issue(threads, finish)

    return run


def _shared(
    block: Block, threads: Mask, word: Read, form: Form, major_k: bool, is_b: bool
) -> Callable[[], Array]:
    """How to read an operand `[rows, k]` from shared memory, later."""
    descriptor = Descriptor.decode(uniform(word, block, threads))
    dtype = form.b_dtype if is_b else form.a_dtype
    extent = form.columns if is_b else 64
    offsets = descriptor.offsets(extent, form.depth, dtype.itemsize, major_k)
    offsets = offsets + block.shared_base
    shared = block.cluster.shared
    lane = int(np.flatnonzero(threads)[0])
    where = block.describe(lane)
    if offsets.max() + dtype.itemsize > shared.size or offsets.min() < 0:
        raise DeviceError("a wgmma operand lies outside shared memory", where=where)
    checker = block.device.checker
    if checker is not None:
        flat = offsets.reshape(-1)
        lanes = np.full(flat.size, lane)
        checker.access(block, shared, flat, dtype.itemsize, lanes, "async")

    def read() -> Array:
        width = dtype.itemsize
        return shared.view(width)[offsets // width].view(dtype)

    return read


def _held(
    block: Block, threads: Mask, words: list[Read], form: Form
) -> Callable[[], Array]:
    """How to read the left operand from registers, later."""
    warps = np.flatnonzero(threads.reshape(-1, WARP).any(axis=1))

    def read() -> Array:
        held = gather(words, block, threads, warps)
        return a_fragment(held, form.a_dtype).reshape(64, form.depth)

    return read


@dataclass(frozen=True)
class Accumulator:
    """The registers of a 64 x columns result."""

    registers: list[Read]
    writes: list[Write]
    form: Form

    def add(self, block: Block, threads: Mask, a: Array, b: Array, keep: bool) -> None:
        """`d = a b + (d if keep else 0)` for the threads of one warpgroup."""
        result = self.form.result
        warps = np.flatnonzero(threads.reshape(-1, WARP).any(axis=1))
        rows, columns = accumulator_places(self.form.columns)
        c = np.zeros((4, 16, self.form.columns), result)
        if keep:
            held = gather(self.registers, block, threads, warps).view(result)
            c[:, rows, columns] = held
        d = product(a.reshape(4, 16, -1), b, c, result, self.form.saturate)
        kept = np.ascontiguousarray(d[:, rows, columns]).view(np.uint32)
        full = np.zeros((threads.size // WARP, WARP), np.uint32)
        for index, write in enumerate(self.writes):
            full[warps] = kept[:, :, index]
            write(block, threads, full.reshape(-1))
