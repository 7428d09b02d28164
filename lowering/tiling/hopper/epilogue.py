"""What a consumer group of a Hopper program computes of its rows, and stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import Rewriter

from stepwell.dialects import tile
from stepwell.dialects.layouts import LayoutAttr, wgmma_accumulator

from .emitter import Emitter
from .match import GROUP_ROWS, Gemm, place_of


@dataclass
class Epilogue:
    """The kernel's ops beside the products, on 64 rows, some columns at a time.

    So few of a tile's values are between their ops at once, and registers suffice; a
    store by TMA is under way while the next columns are computed.

    Attributes:
        chunks: what is stored through shared memory at once, for each such store.
        mine: the first row of the group.
        cursors, stagings: the staging buffers of each such store.
    """

    gemm: Gemm
    chunks: Mapping[tile.StoreOp, tile.SharedType]
    e: Emitter
    mine: SSAValue
    cursors: dict[tile.StoreOp, SSAValue]
    stagings: Mapping[tile.StoreOp, SSAValue]
    loaded: dict[tile.LoadOp, SSAValue] = field(
        default_factory=dict[tile.LoadOp, SSAValue]
    )

    @property
    def width(self) -> int:
        """Columns that are computed together: as many as a staged store takes."""
        staged = [chunk.extents[1] for chunk in self.chunks.values()]
        whole = (n for n in (64, 32, 16) if self.gemm.columns % n == 0)
        return max(staged, default=next(whole))

    def load(self) -> None:
        """Loads stand before the products, so that their latency is hidden."""
        for op in self.gemm.epilogue:
            if isinstance(op, tile.LoadOp):
                kind = tile.tile_of(op.result)
                view, indices = self.e.old(op.view), self._indices(op, kind, 0)
                part = self._part(kind, self.gemm.columns)
                made = tile.LoadOp(view, indices, op.spanned, part, op.fill)
                self.loaded[op] = self.e.value(made)

    def compute(self, total: SSAValue) -> None:
        """Everything else, on the finished sum."""
        for start in range(0, self.gemm.columns, self.width):
            self.e.values[self.gemm.loop.results[0]] = self._columns(total, start)
            for op, value in self.loaded.items():
                self.e.values[op.result] = self._columns(value, start)
            self._compute_columns(start)

    def _compute_columns(self, start: int) -> None:
        for op in self.gemm.epilogue:
            if isinstance(op, tile.StoreOp):
                if start == 0 or tile.tile_of(op.tile).extents[1] > 1:
                    self._store(op, start)
            elif isinstance(op, tile.MapOp | tile.FullOp) and self._is_used(op):
                self.e.copy(op)
                self._distribute(op)

    def _columns(self, value: SSAValue, start: int) -> SSAValue:
        """Some columns of a tile; all of one that has one or that few."""
        kind = tile.tile_of(value)
        part = self._part(kind, self.width)
        if part.extents == kind.extents:
            return value
        return self.e.value(tile.ExtractOp(value, [0, start], part))

    def _is_used(self, op: Operation) -> bool:
        """Whether an op gives more than the start of the sum."""
        loop = self.gemm.loop
        return any(use.operation is not loop for r in op.results for use in r.uses)

    def _distribute(self, old: Operation) -> None:
        """Give the copies of an op's results their part and their layout."""
        for result in old.results:
            kind = self._part(tile.tile_of(result), self.width)
            new = Rewriter.replace_value_with_new_type(self.e.values[result], kind)
            self.e.values[result] = new

    def _part(self, kind: tile.TileType, width: int) -> tile.TileType:
        """The type of a group's rows and of `width` columns."""
        rows, columns = kind.extents
        if columns == 1:
            width = self.width
        layout = wgmma_accumulator(width)
        if rows == 1:
            layout = layout.slice(0)
        if columns == 1:
            layout = layout.slice(1)
        extents = (GROUP_ROWS if rows > 1 else 1, width if columns > 1 else 1)
        return tile.TileType(extents, kind.element_type, LayoutAttr(layout))

    def _indices(
        self, op: tile.LoadOp | tile.StoreOp, kind: tile.TileType, start: int
    ) -> list[SSAValue | int]:
        """The indices of a group's part of a transfer, from column `start` on."""
        indices = [self.e.index(v) for v in op.indices]
        rows, columns = kind.extents
        if rows > 1:
            dim = op.spanned[0]
            indices[dim] = self.e.plus(indices[dim], self.mine)
        if columns > 1:
            dim = op.spanned[1]
            indices[dim] = self.e.plus(indices[dim], start)
        return indices

    def _store(self, op: tile.StoreOp, start: int) -> None:
        value = self.e.old(op.tile)
        if op in self.stagings:
            self._store_staged(op, value, start)
            return
        indices = self._indices(op, tile.tile_of(op.tile), start)
        kind = None if op.accumulate is None else op.accumulate.data
        self.e.add(tile.StoreOp(value, self.e.old(op.view), indices, op.spanned, kind))

    def _store_staged(self, op: tile.StoreOp, value: SSAValue, start: int) -> None:
        """Registers, a staging buffer, TMA; chunk by chunk."""
        e, chunk, place = self.e, self.chunks[op], place_of(op)
        width = chunk.extents[1]
        layout = LayoutAttr(wgmma_accumulator(width))
        kind = tile.TileType(chunk.extents, chunk.element_type, layout)
        indices = [e.index(v) for v in place.indices]
        indices[place.over[0]] = e.plus(indices[place.over[0]], self.mine)
        tensor, at = e.old(place.argument), indices[place.over[1]]
        for offset in range(0, self.width, width):
            part = value
            if width < self.width:
                part = e.value(tile.ExtractOp(value, [0, offset], kind))
            buffer = e.value(tile.StageOp(self.stagings[op], self.cursors[op]))
            e.add(tile.SharedStoreOp(part, buffer))
            e.add(tile.FenceAsyncOp())
            e.add(tile.BarrierOp("group"))
            indices[place.over[1]] = e.plus(at, start + offset)
            store = tile.TmaStoreOp(buffer, tensor, list(indices))
            e.add(tile.ElectOp(Region(Block([store]))))
            self.cursors[op] = e.value(tile.AdvanceOp(self.cursors[op]))
