"""wgmma: asynchronous products of a warpgroup, from shared memory by descriptors.

ISA section "Asynchronous Warpgroup Level Matrix Multiply-Accumulate". A product
reads its operands and writes its accumulators when `wgmma.wait_group` asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError, UnsupportedError
from stepwell.runtime.devices.emulated.asynchronous import Issued
from stepwell.runtime.devices.emulated.machine import WARP, Mask, Operation, Threads
from stepwell.runtime.devices.emulated.memory import check_access
from stepwell.runtime.devices.emulated.syntax import Instruction, Integer, Vector
from stepwell.runtime.devices.emulated.tensor_map import swizzled
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    instruction,
    unsupported,
)

from .barriers import uniform
from .matrix import (
    OPERAND_TYPES,
    Fragment,
    a_fragment,
    from_accumulator,
    product,
    to_accumulator,
    to_tf32,
)
from .sparse import chunks_of, expanded, places

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


@lru_cache(maxsize=256)
def _chunks(
    layout: tuple[int, int, int], extent: int, depth: int, width: int, major_k: bool
) -> Array:
    """Byte offsets, before the swizzle, of the 16-byte chunks of a matrix.

    `layout` is leading, stride, swizzle. The result is `[extent, depth / n]`, or for a
    matrix that is contiguous along the other dimension `[extent / n, depth]`, where a
    chunk has n elements. Canonical layouts: 8 rows of `swizzle` bytes (16 without)
    make an atom.
    """
    leading, stride, swizzle = layout
    pitch = swizzle or 16
    chunk = 16 // width
    if major_k:
        row = np.arange(extent)[:, None]
        byte = 16 * np.arange(depth // chunk)[None, :]
        if swizzle:
            return row // 8 * stride + row % 8 * pitch + byte
        return row // 8 * stride + byte // 16 * leading + row % 8 * 16
    across, k = 16 * np.arange(extent // chunk)[:, None], np.arange(depth)[None, :]
    if swizzle:
        group = across // pitch * leading + k // 8 * stride
    else:
        group = across // 16 * stride + k // 8 * leading
    return group + across % pitch + k % 8 * pitch


@instruction("wgmma")
def wgmma(one: Instruction, scope: Scope) -> Operation:
    """`wgmma.fence`, `.mma_async`, `.commit_group`, `.wait_group`."""
    action = one.modifiers[0]
    if action == "fence":

        def fence(threads: Threads, mask: Mask) -> None:
            warpgroups(one, threads, mask)

        return fence
    if action == "commit_group":
        return lambda threads, mask: threads.in_flight("wgmma").commit(mask)
    if action == "wait_group":
        most = scope.read(one.operands[0], "u32")
        return lambda threads, mask: threads.in_flight("wgmma").wait(
            mask, uniform(most, threads, mask)
        )
    if action != "mma_async":
        raise unsupported(one)
    if "sp" not in one.modifiers:
        return _mma_async(one, scope, None)
    if len(one.operands) < 6 or not isinstance(one.operands[4], Integer):
        raise unsupported(one)
    words = Fragment.of(one, one.operands[3], scope)
    dense = replace(one, operands=(*one.operands[:3], *one.operands[5:]))
    return _mma_async(dense, scope, (words, one.operands[4].value))


def warpgroups(one: Instruction, threads: Threads, mask: Mask) -> Array:
    """The warps of the mask, `[warpgroups, 4]` of the range's warps.

    Raises DeviceError unless each warpgroup takes part as a whole.
    """
    if mask is threads.everyone and "warpgroups" in threads.kept:
        return threads.kept["warpgroups"]
    rows = mask.reshape(-1, WARP)
    warps = np.flatnonzero(rows.any(axis=1))
    wave = threads.wave
    number = threads.thread_of[warps * WARP] // WARP
    order = np.lexsort((number % 4, threads.block_of[warps * WARP], number // 4))
    whole = rows[warps].all() and warps.size % 4 == 0
    groups = warps[order].reshape(-1, 4) if whole else np.zeros((0, 4), np.int64)
    key = (threads.block_of[groups * WARP] * wave.warps) + (
        threads.thread_of[groups * WARP] // WARP
    )
    if not groups.size or (key != key[:, :1] // 4 * 4 + np.arange(4)).any():
        raise DeviceError(
            f"{one.name} needs all threads of a warpgroup",
            where=threads.describe(int(np.flatnonzero(mask)[0])),
        )
    if mask is threads.everyone:
        threads.kept["warpgroups"] = groups
    return groups


@dataclass(frozen=True)
class Form:
    """The fixed part of one `mma_async` instruction."""

    columns: int
    depth: int
    result: np.dtype
    a_dtype: np.dtype
    b_dtype: np.dtype
    type: str
    saturate: bool
    sparse: bool = False

    @property
    def held_depth(self) -> int:
        """Elements of a row of the left operand that are stored."""
        return self.depth // 2 if self.sparse else self.depth

    def numbers(self, operand: Array) -> Array:
        """Stored elements as numbers: singles cut to tf32, bytes to bits."""
        if self.type == "tf32":
            return to_tf32(operand)
        if self.type == "b1":
            return np.unpackbits(operand, axis=-1, bitorder="little")
        return operand


def _form(one: Instruction, sparse: bool) -> Form:
    shapes = [re.fullmatch(r"m64n(\d+)k(\d+)", m) for m in one.modifiers]
    shape = next((found for found in shapes if found is not None), None)
    known = [m for m in one.modifiers if m in OPERAND_TYPES or m in ("s32", "b1")]
    if shape is None or len(known) != 3 or known[0] not in ("f32", "f16", "s32"):
        raise unsupported(one)
    bits = known[1] == "b1"
    if bits:  # bytes of them, until they are multiplied
        known[1:] = ["u8", "u8"]
    return Form(
        int(shape[1]),
        int(shape[2]) // (8 if bits else 1),
        np.dtype({"f32": "f4", "f16": "f2", "s32": "i4"}[known[0]]),
        OPERAND_TYPES[known[1]],
        OPERAND_TYPES[known[2]],
        "b1" if bits else known[1],
        "satfinite" in one.modifiers,
        sparse,
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


Metadata = tuple[Fragment, int] | None
"""Of a sparse product: the register, and which lanes' counts."""


def _mma_async(one: Instruction, scope: Scope, metadata: Metadata) -> Operation:
    form = _form(one, metadata is not None)
    d, a, b, *_ = one.operands
    held = Fragment.of(one, a, scope) if isinstance(a, Vector) else None
    words = [None if held else scope.read(a, "b64"), scope.read(b, "b64")]
    keeps = (
        scope.read(one.operands[3], "pred")
        if len(one.operands) > 3
        else (lambda threads: np.array(True))
    )
    majors = (
        held is not None or _flag(one, scope, 6, 0) == 0,
        _flag(one, scope, 7 if held is None else 6, 0) == 0,
    )
    signs = (_flag(one, scope, 4, 1), _flag(one, scope, 5, 1))
    to = Fragment.of(one, d, scope)
    extents = (
        (64, form.held_depth, form.a_dtype),
        (form.columns, form.depth, form.b_dtype),
    )

    def run(threads: Threads, mask: Mask) -> None:
        groups = warpgroups(one, threads, mask)
        first = groups[:, 0] * WARP
        sides: list[Side] = []
        for read, major_k, (extent, depth, dtype) in zip(
            words, majors, extents, strict=True
        ):
            if read is None:
                assert held is not None
                sides.append(HeldSide(held, threads, groups, form))
            else:
                word = np.broadcast_to(read(threads), mask.shape)[first]
                shape = Shape(extent, depth, dtype, major_k)
                sides.append(SharedSide.issued(threads, first, word, shape))
        keep = np.broadcast_to(keeps(threads), mask.shape)[first]
        line = threads.wave.line
        pair = sides[0], sides[1]
        made = Product(threads, groups, to, form, signs, keep, pair, line, metadata)
        made.issue(mask)

    return run


class Side(Protocol):
    """An operand of a product of some warpgroups."""

    def read(self) -> Array:
        """The matrices, `[warpgroups, rows, k]`."""
        ...

    def done(self, groups: Array) -> None:
        """These warpgroups (by their order here) have read it."""
        ...


@dataclass(frozen=True)
class HeldSide:
    """The left operand in registers."""

    held: Fragment
    threads: Threads
    groups: Array
    form: Form

    def read(self) -> Array:
        """The matrices, `[warpgroups, 64, k]`."""
        words = self.held.gather(self.threads, self.groups.reshape(-1))
        matrices = a_fragment(words, self.form.a_dtype)
        return matrices.reshape(len(self.groups), 64, self.form.held_depth)

    def done(self, groups: Array) -> None:
        """Nobody waits for registers to be read."""


@dataclass(frozen=True)
class Shape:
    """Rows (or columns) and depth of an operand, its type, what is contiguous."""

    extent: int
    depth: int
    dtype: np.dtype
    major_k: bool


@dataclass(frozen=True)
class SharedSide:
    """An operand in shared memory: the 16-byte chunks of each warpgroup's."""

    threads: Threads
    shape: Shape
    chunks: Array
    under_way: list[Array]

    @staticmethod
    def issued(
        threads: Threads, first: Array, words: Array, shape: Shape
    ) -> SharedSide:
        """By the descriptors of warpgroups whose first threads are `first`."""
        starts: list[Array] = []
        for word in words:
            one = Descriptor.decode(int(word))
            layout = (one.leading, one.stride, one.swizzle)
            width = shape.dtype.itemsize
            plain = _chunks(layout, shape.extent, shape.depth, width, shape.major_k)
            starts.append(swizzled(one.start + plain, one.swizzle).reshape(-1))
        offsets = np.stack(starts) + threads.shared_base[first][:, None]
        flat, shared = offsets.reshape(-1), threads.wave.shared
        check_access(
            shared,
            flat,
            16,
            threads.describe,
            lambda: np.repeat(first, offsets.shape[1]),
        )
        checker = threads.device.checker
        under_way: list[Array] = []
        if checker is not None:
            under_way = [
                checker.reading(threads, shared, chunks, 16, int(lane))
                for lane, chunks in zip(first, offsets, strict=True)
            ]
        return SharedSide(threads, shape, flat >> 4, under_way)

    def read(self) -> Array:
        """The matrices, `[warpgroups, rows, k]`."""
        shape = self.shape
        values = self.threads.wave.shared.view(16)[self.chunks].view(shape.dtype)
        if shape.major_k:
            return values.reshape(-1, shape.extent, shape.depth)
        chunk = 16 // shape.dtype.itemsize
        values = values.reshape(-1, shape.extent // chunk, shape.depth, chunk)
        return values.swapaxes(2, 3).reshape(-1, shape.extent, shape.depth)

    def done(self, groups: Array) -> None:
        """Others may write what these warpgroups have read."""
        checker = self.threads.device.checker
        if checker is not None:
            for group in groups:
                at = self.under_way[int(group)]
                checker.has_read(self.threads.wave.shared, at)


@dataclass(eq=False)
class Product:
    """An issued product of some warpgroups; its sums are 64 x columns each.

    Products that follow one another in the same registers hand their sums on as
    matrices: `following` is the next one, `carried` what it was given.
    """

    threads: Threads
    groups: Array
    to: Fragment
    form: Form
    signs: tuple[int, int]
    keep: NDArray[np.bool_]
    sides: tuple[Side, Side]
    line: int
    metadata: Metadata = None
    following: Product | None = None
    carried: Array | None = None
    issued: Issued | None = None

    @property
    def accumulators(self) -> frozenset[int]:
        """Rows of the registers that get the sums."""
        return frozenset(self.to.rows.tolist())

    @property
    def left(self) -> frozenset[int]:
        """Rows of the registers that hold the left operand."""
        side = self.sides[0]
        if not isinstance(side, HeldSide):
            return frozenset()
        return frozenset(side.held.rows.tolist())

    def issue(self, mask: Mask) -> None:
        """Put it in flight behind the others."""
        flight = self.threads.in_flight("wgmma")
        before = flight.groups.latest(self.threads)
        self.issued = flight.issue(mask, self.finish)
        self.issued.tag = self
        if before is None or not isinstance(before.tag, Product):
            return
        other = before.tag
        same = other.to.rows is self.to.rows or (
            np.array_equal(other.to.rows, self.to.rows)
        )
        alike = other.threads is self.threads and other.form.result == self.form.result
        if same and alike and np.array_equal(other.groups, self.groups):
            other.following = self

    def finish(self, due: Mask) -> None:
        """Multiply, add and write, for the warpgroups of the mask."""
        threads, form = self.threads, self.form
        here = due[self.groups[:, 0] * WARP]
        whole = bool(here.all())
        groups = self.groups if whole else self.groups[here]
        warps = groups.reshape(-1)
        a, b = (form.numbers(side.read()) for side in self.sides)
        for side in self.sides:
            side.done(np.flatnonzero(here))
        if self.metadata is not None:
            a = self._expanded(a, self.metadata)
        if not whole:
            a, b = a[here], b[here]
        sums = self.carried
        if sums is None:
            sums = to_accumulator(self.to.gather(threads, warps), form.result)
            sums = sums.reshape(len(groups), 64, form.columns)
        keep = self.keep if whole else self.keep[here]
        if not keep.all():
            sums = np.where(keep[:, None, None], sums, form.result.type(0))
        left = a.astype(np.float64)
        if self.signs[0] * self.signs[1] < 0:
            np.negative(left, left)
        d = product(left, b.swapaxes(1, 2), sums, form.result, form.saturate)
        following = self.following
        if whole and following is not None and following.is_due(due):
            following.carried = d
            return
        by_warp = d.reshape(-1, 16, form.columns)
        self.to.scatter(threads, warps, from_accumulator(by_warp))

    def _expanded(self, a: Array, metadata: tuple[Fragment, int]) -> Array:
        """The left operand of a sparse product in full."""
        register, selector = metadata
        form = self.form
        words = register.gather(self.threads, self.groups.reshape(-1))[0]
        at = places(words, selector, chunks_of(form.type, form.depth), form.type)
        by_warp = a.reshape(-1, 16, form.held_depth)
        return expanded(by_warp, at, form.type).reshape(-1, 64, form.depth)

    def is_due(self, due: Mask) -> bool:
        """Whether the same wait finishes this one for the same threads."""
        waited = None if self.issued is None else self.issued.waited
        return waited is not None and np.array_equal(waited, due)
