"""Loads and stores between memory and vector pieces, through access maps.

The element at position `pos` of a tile lies at `address(pos)`, a quasi-affine
expression. Guards that the algebra cannot prove become a scalar condition or a lane
mask, whichever they depend on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, i64
from xdsl.ir import SSAValue

from stepwell.codegen.indices import IndexSpace
from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import vector
from stepwell.codegen.views import View, position
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim, substitute, symbol, symbols_of
from stepwell.dialects.quasi_affine import INDIRECT, coefficient
from stepwell.errors import CompileError

from .lanes import LANE, Lanes
from .pieces import Combine, Pieces, Place

Guard = tuple[Dim, Dim]
"""`0 <= expression < size`."""
_LANE = symbol(LANE)


class Transfer:
    """One `tile.load` or `tile.store`, ready to be done piece by piece."""

    def __init__(
        self,
        space: IndexSpace,
        view: View,
        indices: Sequence[Dim],
        over: Sequence[int],
        extents: Sequence[int],
        fill: float = 0,
    ) -> None:
        self.space = space
        self.b: Builder = space.b
        self.view = view
        self.extents = tuple(extents)
        self.over = tuple(over)
        self.indices = tuple(indices)
        self.pieces = Pieces(space, view.type.element_type, fill)
        index = list(indices)
        for dim, target in enumerate(over):
            index[target] = index[target] + symbol(position(dim))
        self.positions = {position(d): e for d, e in enumerate(extents)}
        address, guards, self.indirects = view.element(index)
        self.address = space.simplify(address, self.positions)
        self.guards: list[Guard] = [
            (space.simplify(e, self.positions), size)
            for e, size in guards
            if not space.is_within(e, size, self.positions)
        ]
        self.guards = list(dict.fromkeys(self.guards))
        self.number = space.fresh()

    @staticmethod
    def of(space: IndexSpace, op: tile.LoadOp | tile.StoreOp, view: View) -> Transfer:
        """The transfer of an op of the tile program."""
        fill: float = 0
        if isinstance(op, tile.LoadOp):
            extents = tile.tile_of(op.result).extents
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
        fill = self.pieces.fill
        return Transfer(self.space, self.view, self.indices, over, extents, fill)

    def without_guards(self, kept: Sequence[Guard]) -> Transfer:
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

    # ---- pieces ----

    def load(self, pos: Sequence[Dim], lanes: int) -> SSAValue:
        """The piece from `pos` on, as its carrier."""
        return self.pieces.load(self.place(pos, lanes), lanes)

    def store(self, pos: Sequence[Dim], lanes: int, value: SSAValue) -> None:
        """Write the piece from `pos` on; dropped where a guard fails."""
        self.pieces.store(self.place(pos, lanes), lanes, value)

    def update(
        self, pos: Sequence[Dim], lanes: int, value: SSAValue, combine: Combine
    ) -> None:
        """`combine(old, value)` into the piece from `pos` on."""
        self.pieces.update(self.place(pos, lanes), lanes, value, combine)

    # ---- places ----

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
        values: dict[str, Dim] = {position(d): p for d, p in enumerate(pos)}
        last = len(pos) - 1
        more: dict[str, Dim] = {}
        guards = self.guards
        if lanes > 1:
            values[position(last)] = values[position(last)] + _LANE
            more[LANE] = lanes
            guards = [*guards, (symbol(position(last)), self.extents[last])]
        vectors = self._indirect_values(values, lanes, more)
        address = self.space.simplify(substitute(self.address, values), more)
        asked = [
            (self.space.simplify(substitute(expr, values), more), size)
            for expr, size in guards
        ]
        return self._guarded(address, asked, Lanes(self.space, lanes, vectors), more)

    def _guarded(
        self,
        address: Dim,
        guards: Sequence[Guard],
        lanes: Lanes,
        more: Mapping[str, Dim],
    ) -> Place:
        """The place at an address, with the guards that are not proved."""
        scalar: SSAValue | None = None
        mask: SSAValue | None = None
        for at, size in guards:
            if self.space.is_within(at, size, more):
                continue
            if lanes.differ(at):
                mask = self._and(mask, lanes.guard(at, size))
            else:
                scalar = self._and(scalar, self._scalar_guard(at, size))
        step: Dim | None = 0
        if lanes.count > 1:
            split = None
            if not symbols_of(address) & lanes.vectors.keys():
                split = coefficient(address, LANE)
            step = None if split is None else split[0]
        base = self.view.root
        if step is not None:
            first = substitute(address, {LANE: 0}) if lanes.count > 1 else address
            base = self.space.pointer(base, first, self.pieces.storage)
        return Place(address, base, step, 0, scalar, mask, lanes.vectors)

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
            reader = Transfer(self.space, view, at, (), ())
            value = reader._read_index(address, guards, lanes if per_lane else 1, more)
            if per_lane:
                vectors[name] = value
            else:
                values[name] = self.space.leaf("ix", value, None)
        return vectors

    def _read_index(
        self,
        address: Dim,
        guards: Sequence[Guard],
        lanes: int,
        more: Mapping[str, Dim],
    ) -> SSAValue:
        place = self._guarded(address, guards, Lanes(self.space, lanes, {}), more)
        stored = self.pieces.load(place, lanes)
        unsigned = "ui" in str(self.view.type.element_type)
        return self.b.cast("zext" if unsigned else "sext", stored, vector(i64, lanes))

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
