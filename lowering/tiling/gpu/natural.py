"""The layout that each tile of a kernel has by itself, before anyone asks for another.

* A load has the layout that makes it coalesced; a scan, a sort, a product and a
  reduction dictate theirs.
* A map has the layout of the input that would be the most expensive to move.
* What a loop carries has the layout in which a round yields it.
* `tile.full` and `tile.iota` have none: they cost nothing in any.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from xdsl.dialects import scf
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import LANE, REGISTER, LayoutAttr, TileLayout
from stepwell.dialects.tile import TileType, tile_of
from stepwell.dialects.tile.contiguity import Walk, walk_of
from stepwell.dialects.tile.memory import TransferOp
from stepwell.dialects.tile.tensor_core import is_multiplied
from stepwell.errors import CompileError

from .block import ACCESS_BITS, LANES, ROWS_OPTION
from .blocked import blocked_tile
from .fragments import Fragments, fragments_of

SECTOR_BITS = 256
"""What memory moves at least: 32 bytes."""


class Weight(IntEnum):
    """What it would cost to have a tile in another layout, in classes."""

    FREE = 0
    LOADED = 1
    COMPUTED = 2
    PRODUCT = 3


@dataclass(frozen=True)
class Natural:
    """A layout, and how much its tile insists on it."""

    layout: TileLayout
    weight: Weight


class NaturalLayouts:
    """The natural layouts of the tiles of one function, each computed once."""

    def __init__(self, func: tile.FuncOp, warps: int) -> None:
        self.func = func
        self.warps = warps
        self._known: dict[SSAValue, Natural | None] = {}
        self._walks: dict[Operation, Walk] = {}
        self._frames: dict[tuple[int, ...], TileLayout] = {}
        self._transfers: dict[tuple[int, ...], list[TransferOp]] = {}
        for op in func.walk():
            if isinstance(op, tile.LoadOp | tile.StoreOp):
                extents = _tile_of_transfer(op).extents
                self._transfers.setdefault(extents, []).append(op)

    def of(self, value: SSAValue) -> Natural | None:
        """The natural layout of a tile; None where any will do."""
        if value not in self._known:
            self._known[value] = None  # a value that depends on itself asks again
            self._known[value] = self._compute(value)
        return self._known[value]

    def note(self, value: SSAValue, natural: Natural | None) -> None:
        """Say what a value has that is new in the function."""
        self._known[value] = natural

    def layout(self, value: SSAValue) -> TileLayout:
        """The natural layout of a tile, or that of tiles of its shape."""
        found = self.of(value)
        return self.frame(tile_of(value).extents) if found is None else found.layout

    def walk(self, op: TransferOp) -> Walk:
        """How a load or store walks memory."""
        if op not in self._walks:
            self._walks[op] = walk_of(op)
        return self._walks[op]

    def frame(self, extents: tuple[int, ...]) -> TileLayout:
        """The layout of tiles of a shape: the one that most of their bytes like."""
        if extents not in self._frames:
            self._frames[extents] = self._best_frame(extents)
        return self._frames[extents]

    def coalesced(self, op: TransferOp) -> TileLayout:
        """The layout for a load or store: the shape's, if that is coalesced as well."""
        kind = _tile_of_transfer(op)
        frame = self.frame(kind.extents)
        return frame if self.is_coalesced(op, frame) else self._own(op)

    def is_coalesced(self, op: TransferOp, layout: TileLayout) -> bool:
        """Whether a warp moves whole sectors, or as much as it can of them."""
        bits = bit_width(_tile_of_transfer(op).element_type)
        dim = self.walk(op).dim
        if dim is None:
            return True
        reach = _reach(layout, dim)
        return reach * bits >= SECTOR_BITS or reach >= _reach(self._own(op), dim)

    def fragments(self, op: tile.DotOp) -> Fragments:
        """The layouts of a product's operands and sums.

        Raises:
            CompileError: no instruction multiplies such tiles.
        """
        rows, columns = tile_of(op.result).extents[-2:]
        down = self.func.option(ROWS_OPTION, 0)
        if not down:
            down = max(1, min(self.warps, rows // 16))
        try:
            return fragments_of(op, down, self.warps // down)
        except ValueError as error:
            raise CompileError(
                f"no tensor core multiplies tiles for {rows}x{columns} sums: {error}",
                where=str(op.location),
            ) from None

    # How each is found.

    def _own(self, op: TransferOp) -> TileLayout:
        kind, walk = _tile_of_transfer(op), self.walk(op)
        extents = kind.extents
        run = self._run(extents, walk, bit_width(kind.element_type))
        return blocked_tile(extents, _order(walk), run, self.warps)

    def _run(self, extents: tuple[int, ...], walk: Walk, bits: int) -> int:
        """Elements of a thread's access: no more than keeps all threads busy."""
        total = 1
        for extent in extents:
            total *= extent & -extent
        share = max(1, total // (self.warps * LANES))
        return min(walk.run, max(1, ACCESS_BITS // max(8, bits)), share)

    def _best_frame(self, extents: tuple[int, ...]) -> TileLayout:
        votes: dict[TileLayout, int] = {}
        for op in self._transfers.get(extents, ()):
            bits = bit_width(_tile_of_transfer(op).element_type)
            own = self._own(op)
            # A write to a part of a sector costs more than a read of one.
            weight = bits * (3 if isinstance(op, tile.StoreOp) else 2)
            votes[own] = votes.get(own, 0) + weight
        if votes:
            return max(votes, key=lambda layout: votes[layout])
        order = tuple(reversed(range(len(extents))))
        walk = Walk((None,) * len(extents), None, 4)
        return blocked_tile(extents, order, self._run(extents, walk, 32), self.warps)

    def _compute(self, value: SSAValue) -> Natural | None:
        if isinstance(value, BlockArgument):
            return self._of_argument(value)
        op = value.owner
        assert isinstance(op, Operation)
        if isinstance(op, tile.FullOp | tile.IotaOp):
            return None
        if isinstance(op, tile.LoadOp):
            return Natural(self.coalesced(op), Weight.LOADED)
        if isinstance(op, tile.MapOp):
            return self._of_map(op)
        if isinstance(layout := tile_of(value).layout, LayoutAttr):
            return Natural(layout.data, Weight.COMPUTED)
        if isinstance(op, tile.DotOp):
            if not is_multiplied(
                tile_of(op.lhs).element_type, tile_of(op.acc).element_type
            ):
                return Natural(self.frame(tile_of(value).extents), Weight.COMPUTED)
            return Natural(self.fragments(op).sums, Weight.PRODUCT)
        if isinstance(op, tile.ReduceOp | tile.ArgReduceOp):
            source = self.layout(op.input)
            return Natural(source.slice(op.dim.value.data), Weight.COMPUTED)
        if isinstance(op, tile.ScanOp):
            return Natural(self.layout(op.input), Weight.COMPUTED)
        if isinstance(op, tile.SortOp):
            return Natural(self.layout(op.inputs[0]), Weight.COMPUTED)
        if isinstance(op, tile.TransposeOp):
            source = self.layout(op.input)
            return Natural(source.permute(op.perm.get_values()), Weight.COMPUTED)
        if isinstance(op, tile.BroadcastOp | tile.ExtractOp):
            return Natural(self.frame(tile_of(value).extents), Weight.FREE)
        if isinstance(op, scf.ForOp):
            return self.of(op.body.block.args[op.results.index(value) + 1])
        if isinstance(op, scf.IfOp):
            return self._of_branches(op, op.results.index(value))
        raise CompileError(
            f"assign-layouts knows no layout for the result of {op.name}",
            where=str(op.location),
        )

    def _of_argument(self, value: BlockArgument) -> Natural | None:
        loop = value.owner.parent_op()
        if not isinstance(loop, scf.ForOp):
            return None
        position = value.index - 1
        yielded = self.of(_yielded(loop.body.block)[position])
        return yielded or self.of(loop.iter_args[position])

    def _of_branches(self, op: scf.IfOp, position: int) -> Natural | None:
        found = [self.of(_yielded(r.block)[position]) for r in op.regions if r.blocks]
        known = [one for one in found if one is not None]
        return max(known, key=lambda one: one.weight, default=None)

    def _of_map(self, op: tile.MapOp) -> Natural | None:
        extents = tile_of(op.outputs[0]).extents
        naturals = [
            self.of(value) for value in op.inputs if tile_of(value).extents == extents
        ]
        known = [one for one in naturals if one is not None]
        frame = self.frame(extents)
        best = max((one.weight for one in known), default=Weight.FREE)
        layouts = [one.layout for one in known if one.weight is best]
        if not layouts:
            return Natural(frame, Weight.FREE)
        return Natural(frame if frame in layouts else layouts[0], best)


def _tile_of_transfer(op: TransferOp) -> TileType:
    return tile_of(op.tile if isinstance(op, tile.StoreOp) else op.results[0])


def _yielded(block: Block) -> list[SSAValue]:
    last = block.last_op
    assert last is not None
    return list(last.operands)


def _order(walk: Walk) -> tuple[int, ...]:
    """The dims, those of small strides first; irregular ones last."""

    def key(dim: int) -> tuple[int, int, int]:
        stride = walk.strides[dim]
        if dim == walk.dim:
            return (0, 0, 0)
        if stride is None or stride == 0:
            return (2, 0, -dim)
        return (1, abs(stride), -dim)

    return tuple(sorted(range(len(walk.strides)), key=key))


def _reach(layout: TileLayout, dim: int) -> int:
    """Neighbours along `dim` that one access of a warp touches."""
    held = [
        basis[dim]
        for name in (REGISTER, LANE)
        for basis in layout.base.bases.get(name, ())
        if basis[dim]
    ]
    reach = 1
    while reach in held:
        reach *= 2
    return reach
