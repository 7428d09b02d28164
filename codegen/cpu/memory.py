"""Loads and stores between memory and vector pieces, through access maps.

The element at position `pos` of a tile lies at `address(pos)`, a quasi-affine
expression; the step of the address along the last dim decides how a piece is read: 0
is a scalar and a splat, 1 a vector, anything else a gather. Guards that the algebra
cannot prove become a scalar condition or a lane mask, whichever they depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, VectorType, i1, i32, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.indices import IndexSpace, floor_division
from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_text import type_suffix
from stepwell.codegen.llvm_types import PTR, vector
from stepwell.codegen.scalars.elements import (
    carrier_type,
    element_bytes,
    load_conversion,
    storage_type,
    store_conversion,
)
from stepwell.codegen.views import View, position
from stepwell.dialects import tile
from stepwell.dialects.dims import (
    Atom,
    Dim,
    DimExpr,
    substitute,
    symbol,
    symbols_of,
)
from stepwell.dialects.quasi_affine import INDIRECT, coefficient, is_indirect
from stepwell.errors import CompileError

LANE = "lane$"
_LANE = symbol(LANE)


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


class Transfer:
    """One `tile.load` or `tile.store`, ready to be done piece by piece."""

    def __init__(
        self,
        space: IndexSpace,
        view: View,
        indices: Sequence[Dim],
        over: Sequence[int],
        extents: Sequence[int],
        fill: float | None,
    ) -> None:
        self.space = space
        self.b: Builder = space.b
        self.view = view
        self.extents = tuple(extents)
        self.over = tuple(over)
        self.indices = tuple(indices)
        self.storage = storage_type(view.type.element_type)
        self.element = tile.storage_type(view.type.element_type)
        self.align = element_bytes(view.type.element_type)
        self.fill = fill
        index = list(indices)
        for dim, target in enumerate(over):
            index[target] = index[target] + symbol(position(dim))
        self.positions = {position(d): e for d, e in enumerate(extents)}
        address, guards, self.indirects = view.element(index)
        self.address = space.simplify(address, self.positions)
        self.guards = [
            (space.simplify(e, self.positions), size)
            for e, size in guards
            if not space.is_within(e, size, self.positions)
        ]
        self.guards = list(dict.fromkeys(self.guards))
        self.number = space.fresh()

    @staticmethod
    def of(space: IndexSpace, op: tile.LoadOp | tile.StoreOp, view: View) -> Transfer:
        """The transfer of an op of the tile program."""
        fill: float | None = None
        if isinstance(op, tile.LoadOp):
            extents = tile.tile_of(op.result).extents
            fill = 0
            if op.fill is not None:
                assert isinstance(op.fill, FloatAttr | IntegerAttr)
                fill = op.fill.value.data
            elif view.access is not None and view.access.fill is not None:
                fill = view.access.fill
        else:
            extents = tile.tile_of(op.tile).extents
        indices = [space.of(i) for i in op.indices]
        return Transfer(space, view, indices, op.spanned, extents, fill)

    def permuted(self, perm: Sequence[int]) -> Transfer:
        """The transfer of the transposed tile."""
        over = [self.over[p] for p in perm]
        extents = [self.extents[p] for p in perm]
        return Transfer(self.space, self.view, self.indices, over, extents, self.fill)

    def without_guards(self, kept: Sequence[tuple[Dim, Dim]]) -> Transfer:
        """The transfer with only the guards `kept`: the caller keeps the others."""
        made = copy(self)
        made.__dict__.pop("_steps", None)
        made.number = self.space.fresh()
        made.guards = list(kept)
        return made

    @property
    def depth(self) -> int:
        """How many of the open loops the whole transfer depends on."""
        exprs = [self.address, *(part for guard in self.guards for part in guard)]
        if self.indirects:
            return self.space.loops
        return self.space.depth(exprs)

    # ---- one piece ----

    def place(self, pos: Sequence[Dim], lanes: int) -> Place:
        """Address and conditions of the `lanes` elements from `pos` on.

        Known positions along dims that only move the address share one place.
        """
        offset = 0
        moved = list(pos)
        steps = self._steps
        for dim, at in enumerate(pos):
            step = steps[dim]
            if step is not None and isinstance(at, int):
                offset += step * at
                moved[dim] = 0
        key = f"place {self.number} {lanes} {','.join(map(str, moved))}"
        known = self.space.recall(key)
        if known is None:
            known = self._place(moved, lanes)
            self.space.keep(key, known)
        assert isinstance(known, Place)
        return replace(known, offset=offset) if offset else known

    @cached_property
    def _steps(self) -> list[int | None]:
        """Per dim: the constant step of the address, if nothing else depends on it."""
        exprs = [e for e, _ in self.guards]
        exprs += [e for _, index in self.indirects for e in index]
        used = set[str]().union(*(symbols_of(e) for e in exprs))
        steps: list[int | None] = []
        for dim in range(len(self.extents)):
            split = coefficient(self.address, position(dim))
            step = split[0] if split is not None else None
            free = isinstance(step, int) and position(dim) not in used
            steps.append(step if free and isinstance(step, int) else None)
        last = len(self.extents) - 1
        if last >= 0 and self.extents[last] & (self.extents[last] - 1):
            # A last piece may hang over the end of the tile: its lanes are masked.
            steps[last] = None
        return steps

    def _place(self, pos: Sequence[Dim], lanes: int) -> Place:
        space = self.space
        values: dict[str, Dim] = {position(d): p for d, p in enumerate(pos)}
        last = len(pos) - 1
        more: dict[str, Dim] = {}
        guards = self.guards
        if lanes > 1:
            values[position(last)] = values[position(last)] + _LANE
            more[LANE] = lanes
            guards = [*guards, (symbol(position(last)), self.extents[last])]
        vectors = self._indirect_values(values, lanes, more)
        address = space.simplify(substitute(self.address, values), more)
        scalar: SSAValue | None = None
        mask: SSAValue | None = None
        for expr, size in guards:
            at = space.simplify(substitute(expr, values), more)
            if space.is_within(at, size, more):
                continue
            at_lane = LANE in symbols_of(at) or bool(symbols_of(at) & vectors.keys())
            if at_lane:
                mask = self._and(mask, self._lane_guard(at, size, lanes, vectors))
            else:
                scalar = self._and(scalar, self._scalar_guard(at, size))
        return self._made(address, scalar, mask, vectors, lanes)

    def _made(
        self,
        address: Dim,
        scalar: SSAValue | None,
        mask: SSAValue | None,
        vectors: Mapping[str, SSAValue],
        lanes: int,
    ) -> Place:
        step: Dim | None = 0
        if lanes > 1:
            split = None
            if not symbols_of(address) & vectors.keys():
                split = coefficient(address, LANE)
            step = None if split is None else split[0]
        base = self.view.root
        if step is not None:
            base = self.pointer(
                substitute(address, {LANE: 0}) if lanes > 1 else address
            )
        return Place(address, base, step, 0, scalar, mask, vectors)

    def _indirect_values(
        self, values: dict[str, Dim], lanes: int, more: Mapping[str, Dim]
    ) -> dict[str, SSAValue]:
        """Reads the index views; scalars go into `values`, vectors are returned."""
        vectors: dict[str, SSAValue] = {}
        for number, (view, index) in enumerate(self.indirects):
            name = f"{INDIRECT}{number}"
            at = [substitute(e, values) for e in index]
            address, guards, nested = view.element(at)
            if nested:
                raise CompileError("expected a direct index view, got an indirect one")
            address = self.space.simplify(address, more)
            per_lane = LANE in symbols_of(address)
            reader = Transfer(self.space, view, at, (), (), 0)
            value = reader._read_index(address, guards, lanes if per_lane else 1, more)
            if per_lane:
                vectors[name] = value
            else:
                values[name] = self.space.leaf("ix", value, None)
        return vectors

    def _read_index(
        self,
        address: Dim,
        guards: Sequence[tuple[Dim, Dim]],
        lanes: int,
        more: Mapping[str, Dim],
    ) -> SSAValue:
        scalar: SSAValue | None = None
        mask: SSAValue | None = None
        for at, size in guards:
            if self.space.is_within(at, size, more):
                continue
            if lanes > 1 and LANE in symbols_of(at):
                mask = self._and(mask, self._lane_guard(at, size, lanes, {}))
            else:
                scalar = self._and(scalar, self._scalar_guard(at, size))
        stored = self._read(self._made(address, scalar, mask, {}, lanes), lanes)
        unsigned = "ui" in str(self.view.type.element_type)
        return self.b.cast("zext" if unsigned else "sext", stored, vector(i64, lanes))

    def load(self, pos: Sequence[Dim], lanes: int) -> SSAValue:
        """The piece from `pos` on, as its carrier."""
        return self._read(self.place(pos, lanes), lanes)

    def _read(self, place: Place, lanes: int) -> SSAValue:
        b = self.b
        step = place.step
        if lanes == 1 or step == 0:
            value = self._load_scalar(place)
            value = b.splat(load_conversion(b, value, self.element), lanes)
            if place.lanes is not None:
                value = b.select(place.lanes, value, self._fill(lanes))
            return value
        mask = self.mask(place, lanes)
        type_ = vector(self.storage, lanes)
        if step == 1:
            pointer = self.base_pointer(place)
            if mask is None:
                stored = b.load(pointer, type_, self.align)
            else:
                name = f"llvm.masked.load.{type_suffix(type_)}.p0"
                align = b.constant(self.align, i32)
                passed = self._passed(type_)
                stored = b.intrinsic(name, (pointer, align, mask, passed), type_)
        else:
            pointers = self._pointers(place, step, lanes)
            if mask is None:
                mask = b.constant(1, vector(i1, lanes))
            suffix = f"{type_suffix(type_)}.v{lanes}p0"
            align = b.constant(self.align, i32)
            stored = b.intrinsic(
                f"llvm.masked.gather.{suffix}",
                (pointers, align, mask, self._passed(type_)),
                type_,
            )
        value = load_conversion(b, stored, self.element)
        if value is not stored and mask is not None:
            value = b.select(mask, value, self._fill(lanes))
        return value

    def _passed(self, type_: Attribute) -> SSAValue:
        same = carrier_type(self.element) == self.storage
        return self.b.constant(self.fill or 0 if same else 0, type_)

    def _fill(self, lanes: int) -> SSAValue:
        return self.b.constant(
            self.fill or 0, vector(carrier_type(self.element), lanes)
        )

    def _load_scalar(self, place: Place) -> SSAValue:
        b = self.b
        pointer = self.base_pointer(place)
        if place.scalar is None:
            return b.load(pointer, self.storage, self.align)
        safe = b.select(place.scalar, pointer, self.safe())
        value = b.load(safe, self.storage, self.align)
        return b.select(place.scalar, value, self._stored_fill())

    def _stored_fill(self) -> SSAValue:
        b = self.b
        if carrier_type(self.element) == self.storage:
            return b.constant(self.fill or 0, self.storage)
        fill = b.constant(self.fill or 0, carrier_type(self.element))
        return store_conversion(b, fill, self.element)

    def safe(self) -> SSAValue:
        """Memory that may always be read: where a condition fails."""
        known = self.space.remembered("safe$")
        if known is None:
            known = self.b.alloca(i64, 8)
            self.space.remember("safe$", known)
        assert isinstance(known, SSAValue)
        return known

    def store(self, pos: Sequence[Dim], lanes: int, value: SSAValue) -> None:
        """Write one piece; dropped where a guard fails."""
        b = self.b
        place = self.place(pos, lanes)
        value = store_conversion(b, value, self.element)
        if lanes == 1:
            if place.scalar is None:
                b.store(value, self.base_pointer(place), self.align)
                return
            with b.when(place.scalar), self.space.scope():
                b.store(value, self.base_pointer(place), self.align)
            return
        step = place.step
        mask = self.mask(place, lanes)
        if step == 1:
            pointer = self.base_pointer(place)
            if mask is None:
                b.store(value, pointer, self.align)
                return
            name = f"llvm.masked.store.{type_suffix(value.type)}.p0"
            align = b.constant(self.align, i32)
            b.intrinsic_void(name, (value, pointer, align, mask))
            return
        pointers = self._pointers(place, step, lanes)
        if mask is None:
            mask = b.constant(1, vector(i1, lanes))
        name = f"llvm.masked.scatter.{type_suffix(value.type)}.v{lanes}p0"
        align = b.constant(self.align, i32)
        b.intrinsic_void(name, (value, pointers, align, mask))

    def update(
        self,
        pos: Sequence[Dim],
        lanes: int,
        value: SSAValue,
        combine: Callable[[SSAValue, SSAValue], SSAValue],
    ) -> None:
        """`combine(old, value)` into memory; dropped where a guard fails.

        Lanes may meet in one element: unless they are contiguous, they take turns.
        """
        b = self.b
        place = self.place(pos, lanes)
        if lanes > 1 and place.step != 1:
            self._update_lanes(place, lanes, value, combine)
            return
        if place.scalar is None:
            self._update_piece(place, lanes, value, combine)
            return
        with b.when(place.scalar), self.space.scope():
            self._update_piece(place, lanes, value, combine)

    def _update_piece(
        self,
        place: Place,
        lanes: int,
        value: SSAValue,
        combine: Callable[[SSAValue, SSAValue], SSAValue],
    ) -> None:
        b, type_ = self.b, vector(self.storage, lanes)
        pointer, align = self.base_pointer(place), b.constant(self.align, i32)
        if place.lanes is None:
            old = b.load(pointer, type_, self.align)
        else:
            name = f"llvm.masked.load.{type_suffix(type_)}.p0"
            zero = b.constant(0, type_)
            old = b.intrinsic(name, (pointer, align, place.lanes, zero), type_)
        new = combine(load_conversion(b, old, self.element), value)
        stored = store_conversion(b, new, self.element)
        if place.lanes is None:
            b.store(stored, pointer, self.align)
            return
        name = f"llvm.masked.store.{type_suffix(type_)}.p0"
        b.intrinsic_void(name, (stored, pointer, align, place.lanes))

    def _update_lanes(
        self,
        place: Place,
        lanes: int,
        value: SSAValue,
        combine: Callable[[SSAValue, SSAValue], SSAValue],
    ) -> None:
        b = self.b
        pointers = self._pointers(place, place.step, lanes)
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

    # ---- addresses ----

    def base_pointer(self, place: Place) -> SSAValue:
        """The address of the first lane."""
        return self.b.gep(place.base, place.offset, self.storage)

    def pointer(self, address: Dim) -> SSAValue:
        """The root pointer plus `address` elements."""
        return self.space.pointer(self.view.root, address, self.storage)

    def _pointers(self, place: Place, step: Dim | None, lanes: int) -> SSAValue:
        b = self.b
        if step is not None:
            base = self.base_pointer(place)
            count = self.space.emit(step)
            if isinstance(count, int):
                offsets = b.constants([i * count for i in range(lanes)], i64)
            else:
                offsets = b.binary("mul", b.iota(lanes), b.splat(count, lanes))
            return b.gep(base, offsets, self.storage)
        offsets = self._vector(place.address, lanes, place.vectors)
        base = b.gep(place.base, place.offset, self.storage)
        return b.gep(base, offsets, self.storage)

    def _vector(
        self, expr: Dim, lanes: int, vectors: Mapping[str, SSAValue]
    ) -> SSAValue:
        """The values of an expression that differ from lane to lane."""
        b, space = self.b, self.space
        total: SSAValue | None = None
        uniform: Dim = 0
        for monomial, factor in () if isinstance(expr, int) else expr.terms:
            term_expr = DimExpr(((monomial, factor),)) if monomial else factor
            names = symbols_of(term_expr)
            if LANE not in names and not names & vectors.keys():
                uniform = uniform + term_expr
                continue
            term = self._atom(monomial[0], lanes, vectors)
            for atom in monomial[1:]:
                term = b.binary("mul", term, self._atom(atom, lanes, vectors))
            if factor != 1:
                term = b.binary("mul", term, b.constant(factor, term.type))
            total = term if total is None else b.binary("add", total, term)
        if isinstance(expr, int):
            uniform = expr
        if total is None:
            return b.splat(space.value(uniform), lanes)
        if uniform == 0:
            return total
        return b.binary("add", total, b.splat(space.value(uniform), lanes))

    def _atom(
        self, atom: Atom, lanes: int, vectors: Mapping[str, SSAValue]
    ) -> SSAValue:
        b = self.b
        if atom.kind is None:
            if atom.symbol == LANE:
                return b.iota(lanes)
            if atom.symbol in vectors:
                return vectors[atom.symbol]
            return b.splat(b.value(self.space.leaves[atom.symbol]), lanes)
        parts = [self._vector(o, lanes, vectors) for o in atom.operands]
        if atom.kind in ("min", "max"):
            name = f"llvm.s{atom.kind}.v{lanes}i64"
            total = parts[0]
            for other in parts[1:]:
                total = b.intrinsic(name, (total, other), total.type)
            return total
        dividend, by = atom.operands
        more = {LANE: lanes}
        divisor_names = symbols_of(by)
        if divisor_names:
            one = b.constant(1, parts[1].type)
            parts[1] = b.intrinsic(
                f"llvm.smax.v{lanes}i64", (parts[1], one), parts[1].type
            )
        known = not any(is_indirect(n) for n in symbols_of(dividend))
        if known and self.space.is_within(dividend, 2**62, more):
            op = "udiv" if atom.kind == "floordiv" else "urem"
            return b.binary(op, parts[0], parts[1])
        return floor_division(b, atom.kind, parts[0], parts[1])

    # ---- conditions ----

    def _and(self, a: SSAValue | None, b: SSAValue) -> SSAValue:
        return b if a is None else self.b.binary("and", a, b)

    def _scalar_guard(self, at: Dim, size: Dim) -> SSAValue:
        key = f"guard {at} < {size}"
        known = self.space.remembered(key)
        if known is None:
            # Sizes are not negative, so one unsigned comparison tests both ends.
            known = self.b.icmp("ult", self.space.value(at), self.space.value(size))
            self.space.remember(key, known)
        assert isinstance(known, SSAValue)
        return known

    def _lane_guard(
        self, at: Dim, size: Dim, lanes: int, vectors: Mapping[str, SSAValue]
    ) -> SSAValue:
        b, space = self.b, self.space
        uses_vectors = bool(symbols_of(at) & vectors.keys())
        key = f"guard {at} < {size} x{lanes}"
        known = None if uses_vectors else space.remembered(key)
        if known is not None:
            assert isinstance(known, SSAValue)
            return known
        split = None if uses_vectors else coefficient(at, LANE)
        if split is not None and split[0] == 1 and space.is_non_negative(split[1]):
            left = space.emit(size - split[1])
            made = self._first_lanes(left, lanes)
        else:
            values = self._vector(at, lanes, vectors)
            made = b.icmp("ult", values, b.splat(space.value(size), lanes))
        if not uses_vectors:
            space.remember(key, made)
        return made

    def _first_lanes(self, count: int | SSAValue, lanes: int) -> SSAValue:
        """The mask of the first `count` lanes; none when it is negative."""
        b = self.b
        if isinstance(count, int):
            return b.constants([int(i < count) for i in range(lanes)], i1)
        high = b.constant(lanes, i64)
        clamped = b.intrinsic("llvm.smin.i64", (count, high), i64)
        narrow = b.cast("trunc", clamped, i32)
        return b.icmp("slt", b.iota(lanes, i32), b.splat(narrow, lanes))

    def mask(self, place: Place, lanes: int) -> SSAValue | None:
        """The lanes that are inside, None where all are."""
        if place.scalar is None:
            return place.lanes
        splat = self.b.splat(place.scalar, lanes)
        return splat if place.lanes is None else self._and(place.lanes, splat)


__all__ = ["LANE", "PTR", "Place", "Transfer", "VectorType", "View", "position"]
