"""Loads and stores of vector pieces that lie at known places.

The step of the address from lane to lane decides how a piece is read: 0 is a scalar and
a splat, 1 a vector, anything else a gather.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import i1, i32, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.indices import IndexSpace
from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.elements import (
    carrier_type,
    element_bytes,
    load_conversion,
    storage_type,
    store_conversion,
)
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim

from .lanes import Lanes

Combine = Callable[[SSAValue, SSAValue], SSAValue]


@dataclass(frozen=True)
class Place:
    """Where a piece lies.

    Attributes:
        address: the element's number, over the lane; without `offset`.
        base: the pointer to the first lane, without `offset`.
        step: how far the address moves per lane; None where that is irregular.
        offset: elements to add.
        scalar: a condition of the whole piece.
        lanes: a condition of each lane.
        vectors: the indirect terms that differ from lane to lane.
    """

    address: Dim
    base: SSAValue
    step: Dim | None
    offset: int
    scalar: SSAValue | None
    lanes: SSAValue | None
    vectors: Mapping[str, SSAValue]


class Pieces:
    """Reads and writes pieces of one element type.

    `fill` is what a load gives where a condition fails.
    """

    def __init__(self, space: IndexSpace, element_type: Attribute, fill: float) -> None:
        self.space = space
        self.b: Builder = space.b
        self.storage = storage_type(element_type)
        self.element = tile.storage_type(element_type)
        self.align = element_bytes(element_type)
        self.fill = fill

    # ---- loads ----

    def load(self, place: Place, lanes: int) -> SSAValue:
        """A piece, as its carrier."""
        b = self.b
        if lanes == 1 or place.step == 0:
            value = load_conversion(b, self._load_scalar(place), self.element)
            value = b.splat(value, lanes)
            if place.lanes is not None:
                value = b.select(place.lanes, value, self._fill(lanes))
            return value
        mask = self.mask(place, lanes)
        stored = self._load_lanes(place, lanes, mask)
        value = load_conversion(b, stored, self.element)
        if value is not stored and mask is not None:
            value = b.select(mask, value, self._fill(lanes))
        return value

    def _load_lanes(self, place: Place, lanes: int, mask: SSAValue | None) -> SSAValue:
        """Several lanes as they lie in memory."""
        b, type_ = self.b, vector(self.storage, lanes)
        passed = self.fill if carrier_type(self.element) == self.storage else 0
        if place.step == 1:
            pointer = self.base_pointer(place)
            return masked_load(b, pointer, type_, self.align, mask, passed)
        pointers = self._pointers(place, lanes)
        mask = self._all(lanes) if mask is None else mask
        name = f"llvm.masked.gather.{type_suffix(type_)}.v{lanes}p0"
        align = b.constant(self.align, i32)
        operands = (pointers, align, mask, b.constant(passed, type_))
        return b.intrinsic(name, operands, type_)

    def _fill(self, lanes: int) -> SSAValue:
        return self.b.constant(self.fill, vector(carrier_type(self.element), lanes))

    def _load_scalar(self, place: Place) -> SSAValue:
        b = self.b
        pointer = self.base_pointer(place)
        if place.scalar is None:
            return b.load(pointer, self.storage, self.align)
        safe = b.select(place.scalar, pointer, self._safe())
        value = b.load(safe, self.storage, self.align)
        return b.select(place.scalar, value, self._stored_fill())

    def _stored_fill(self) -> SSAValue:
        b = self.b
        if carrier_type(self.element) == self.storage:
            return b.constant(self.fill, self.storage)
        fill = b.constant(self.fill, carrier_type(self.element))
        return store_conversion(b, fill, self.element)

    def _safe(self) -> SSAValue:
        """Memory that may always be read: where a condition fails."""
        known = self.space.remembered("safe$")
        if known is None:
            known = self.b.alloca(i64, 8)
            self.space.remember("safe$", known)
        assert isinstance(known, SSAValue)
        return known

    # ---- stores ----

    def store(self, place: Place, lanes: int, value: SSAValue) -> None:
        """Write a piece; dropped where a condition fails."""
        b = self.b
        value = store_conversion(b, value, self.element)
        if lanes == 1:
            if place.scalar is None:
                b.store(value, self.base_pointer(place), self.align)
                return
            with b.when(place.scalar), self.space.scope():
                b.store(value, self.base_pointer(place), self.align)
            return
        mask = self.mask(place, lanes)
        if place.step == 1:
            masked_store(b, value, self.base_pointer(place), self.align, mask)
            return
        pointers = self._pointers(place, lanes)
        mask = self._all(lanes) if mask is None else mask
        name = f"llvm.masked.scatter.{type_suffix(value.type)}.v{lanes}p0"
        align = b.constant(self.align, i32)
        b.intrinsic_void(name, (value, pointers, align, mask))

    def update(
        self, place: Place, lanes: int, value: SSAValue, combine: Combine
    ) -> None:
        """`combine(old, value)` into memory; dropped where a condition fails.

        Lanes may meet in one element: unless they are contiguous, they take turns.
        """
        if lanes > 1 and place.step != 1:
            self._update_lanes(place, lanes, value, combine)
            return
        if place.scalar is None:
            self._update_piece(place, lanes, value, combine)
            return
        with self.b.when(place.scalar), self.space.scope():
            self._update_piece(place, lanes, value, combine)

    def _update_piece(
        self, place: Place, lanes: int, value: SSAValue, combine: Combine
    ) -> None:
        b, type_, mask = self.b, vector(self.storage, lanes), place.lanes
        pointer = self.base_pointer(place)
        old = masked_load(b, pointer, type_, self.align, mask)
        new = combine(load_conversion(b, old, self.element), value)
        stored = store_conversion(b, new, self.element)
        masked_store(b, stored, pointer, self.align, mask)

    def _update_lanes(
        self, place: Place, lanes: int, value: SSAValue, combine: Combine
    ) -> None:
        b = self.b
        pointers = self._pointers(place, lanes)
        mask = self.mask(place, lanes)
        with b.loop(lanes) as loop, self.space.scope():
            lane = b.cast("trunc", loop.index, i32)
            inside = b.constant(1, i1) if mask is None else b.extract(mask, lane)
            with b.when(inside):
                pointer = b.extract(pointers, lane)
                old = b.load(pointer, self.storage, self.align)
                old = load_conversion(b, old, self.element)
                new = combine(old, b.extract(value, lane))
                b.store(store_conversion(b, new, self.element), pointer, self.align)

    # ---- addresses and conditions ----

    def base_pointer(self, place: Place) -> SSAValue:
        """The address of the first lane."""
        return self.b.gep(place.base, place.offset, self.storage)

    def _pointers(self, place: Place, lanes: int) -> SSAValue:
        b = self.b
        if place.step is None:
            offsets = Lanes(self.space, lanes, place.vectors).values(place.address)
            return b.gep(self.base_pointer(place), offsets, self.storage)
        base = self.base_pointer(place)
        step = self.space.emit(place.step)
        if isinstance(step, int):
            offsets = b.constants([i * step for i in range(lanes)], i64)
        else:
            offsets = b.binary("mul", b.iota(lanes), b.splat(step, lanes))
        return b.gep(base, offsets, self.storage)

    def mask(self, place: Place, lanes: int) -> SSAValue | None:
        """The lanes that are inside, None where all are."""
        if place.scalar is None:
            return place.lanes
        splat = self.b.splat(place.scalar, lanes)
        return (
            splat if place.lanes is None else self.b.binary("and", place.lanes, splat)
        )

    def _all(self, lanes: int) -> SSAValue:
        return self.b.constant(1, vector(i1, lanes))


def masked_load(
    b: Builder,
    pointer: SSAValue,
    type_: Attribute,
    align: int,
    mask: SSAValue | None,
    passed: float = 0,
) -> SSAValue:
    """Contiguous lanes; `passed` where they are masked."""
    if mask is None:
        return b.load(pointer, type_, align)
    name = f"llvm.masked.load.{type_suffix(type_)}.p0"
    operands = (pointer, b.constant(align, i32), mask, b.constant(passed, type_))
    return b.intrinsic(name, operands, type_)


def masked_store(
    b: Builder, value: SSAValue, pointer: SSAValue, align: int, mask: SSAValue | None
) -> None:
    """Contiguous lanes, but for those that are masked."""
    if mask is None:
        b.store(value, pointer, align)
        return
    name = f"llvm.masked.store.{type_suffix(value.type)}.p0"
    b.intrinsic_void(name, (value, pointer, b.constant(align, i32), mask))
