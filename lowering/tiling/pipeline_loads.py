"""Fetch what products read some rounds ahead, by asynchronous copies.

A loop that loads two tiles, brings them into fragments and multiplies them waits for
memory in every round. Here its loads become `cp.async` into a ring of stages in shared
memory, and a round multiplies what was asked for `stages - 1` rounds before:

```mlir
scf.for %k ... {
  %a = tile.load %x[%i, %k]
  %f = tile.convert_layout %a
  %d = tile.mma %f, ...
}
// becomes
scf.for %s = 0 to stages - 1 { tile.async_load ... to stage %s; tile.async_commit }
scf.for %k ... {
  tile.async_wait stages - 2; tile.barrier block
  scf.if k + stages - 1 < end { tile.async_load ... to stage (k - 1) mod stages }
  tile.async_commit
  %f = tile.shared_load of stage k mod stages
  %d = tile.mma %f, ...
}
```

Input invariant: the lower half as `assign-layouts` leaves it. A function takes part if
its schedule has the option `stages`; what `cp.async` cannot fetch (narrow runs, other
fills than 0) stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IndexType, IntegerAttr, ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import tile
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import LayoutAttr
from stepwell.dialects.target import Target
from stepwell.dialects.tile import SharedType, tile_of
from stepwell.dialects.tile.contiguity import memory_map, walk_of
from stepwell.dialects.tile.shared import layout_of

from .gpu.block import STAGES_OPTION
from .gpu.staging import CHUNK, row_width, staging_layout

LEAST_BITS = 32
"""What `cp.async` copies at least."""


@dataclass(frozen=True)
class Feed:
    """A load whose tile is only read as a fragment.

    Attributes:
        load, convert: the two ops.
        dim: the dim of the tile that is contiguous in memory.
    """

    load: tile.LoadOp
    convert: tile.ConvertLayoutOp
    dim: int

    def memory(self, stages: int) -> SharedType:
        """The ring of stages, one tile behind the other."""
        kind = tile_of(self.load.result)
        rows, columns = kind.extents
        bits, held = bit_width(kind.element_type), layout_of(self.convert.result)
        layout = staging_layout((rows, columns), self.dim, bits, held, stages)
        return SharedType(layout.extents, kind.element_type, layout)

    def stage(self, ring: SharedType) -> SharedType:
        """The part of the ring that holds one tile."""
        kind = tile_of(self.load.result)
        return SharedType(kind.extents, kind.element_type, ring.layout)


def feed_of(value: SSAValue, loop: scf.ForOp) -> Feed | None:
    """The feed that ends in an operand of a product; None if it cannot be fetched."""
    convert = value.owner
    if not isinstance(convert, tile.ConvertLayoutOp):
        return None
    load = convert.input.owner
    body = loop.body.block
    if not isinstance(load, tile.LoadOp) or load.parent is not body:
        return None
    if convert.parent is not body or not load.result.has_one_use():
        return None
    kind, walk = tile_of(load.result), walk_of(load)
    bits = bit_width(kind.element_type)
    if walk.dim is None or len(kind.extents) != 2 or not _is_zero_filled(load):
        return None
    if walk.run * bits < LEAST_BITS or row_width(kind.extents[walk.dim]) * bits < CHUNK:
        return None
    if kind.extents[1 - walk.dim] % 8 or not _is_known_ahead(load, loop):
        return None
    return Feed(load, convert, walk.dim)


def _is_zero_filled(load: tile.LoadOp) -> bool:
    access, _ = memory_map(load)
    fill = access.fill if load.fill is None else load.fill.value.data
    return not access.indirects and (fill is None or fill == 0)


def _is_known_ahead(load: tile.LoadOp, loop: scf.ForOp) -> bool:
    """Whether where it loads depends on nothing that rounds compute."""
    known = {loop.body.block.args[0]}
    return all(
        value in known
        or (isinstance(value, BlockArgument) and value.owner is not loop.body.block)
        for value in _roots(load, loop)
    )


def _roots(load: tile.LoadOp, loop: scf.ForOp) -> list[SSAValue]:
    """What the ops of the loop that compute the indices start from."""
    pending: list[SSAValue] = list(load.offsets)
    found: list[SSAValue] = []
    while pending:
        value = pending.pop()
        owner = value.owner
        if isinstance(owner, Block):
            found.append(value)
        elif owner.parent is loop.body.block:
            if owner.dialect_name() != "arith":
                return [*loop.body.block.args]
            pending += owner.operands
    return found


class Pipeline:
    """Rewrites one loop."""

    def __init__(
        self, func: tile.FuncOp, loop: scf.ForOp, feeds: Sequence[Feed], stages: int
    ) -> None:
        self.loop = loop
        self.feeds = feeds
        self.stages = stages
        self.types = [feed.memory(stages) for feed in feeds]
        self._top = Builder(InsertPoint.at_start(func.body.block))
        self._numbers: dict[int, SSAValue] = {}
        self.rings = [self._add(self._top, tile.SharedAllocOp(t)) for t in self.types]

    def run(self) -> None:
        """Fetch ahead of the loop and in each round, and read what has come."""
        self._before()
        body = self.loop.body.block
        counter = body.args[0]
        first = body.first_op
        assert first is not None
        builder = Builder(InsertPoint.before(first))
        self._put(builder, tile.AsyncWaitOp(self.stages - 2))
        self._put(builder, tile.BarrierOp("block"))
        ahead = self._sum(builder, counter, self.stages - 1)
        self._fetch_inside(builder, ahead)
        stage = self._modulo(builder, counter)
        for feed, ring in zip(self.feeds, self.rings, strict=True):
            part = self._part(builder, feed, ring, stage)
            kind = tile_of(feed.convert.result)
            loaded = self._add(builder, tile.SharedLoadOp(part, kind))
            loaded.name_hint = feed.load.result.name_hint
            Rewriter.replace_op(feed.convert, [], [loaded])
            Rewriter.erase_op(feed.load)

    def _before(self) -> None:
        """The first `stages - 1` rounds' tiles."""
        builder = Builder(InsertPoint.before(self.loop))
        if isinstance(self.loop.parent_op(), scf.ForOp):
            # The stages may still be read by the last rounds of an earlier run.
            self._put(builder, tile.BarrierOp("block"))
        start, end, one = (self._number(n) for n in (0, self.stages - 1, 1))
        block = Block(arg_types=[IndexType()])
        inner = Builder(InsertPoint.at_end(block))
        rounds = _known(self.loop.ub)
        if rounds is not None and rounds >= self.stages - 1:
            self._fetch(inner, block.args[0])
            self._put(inner, tile.AsyncCommitOp())
        else:
            self._fetch_inside(inner, block.args[0])
        inner.insert(scf.YieldOp())
        self._put(builder, scf.ForOp(start, end, one, [], Region(block)))

    def _fetch_inside(self, builder: Builder, at: SSAValue) -> None:
        """Fetch the tiles of round `at` if there is one; a group in any case."""
        inside = self._add(builder, arith.CmpiOp(at, self.loop.ub, "slt"))
        block = Block()
        inner = Builder(InsertPoint.at_end(block))
        self._fetch(inner, at)
        inner.insert(scf.YieldOp())
        self._put(builder, scf.IfOp(inside, [], Region(block)))
        self._put(builder, tile.AsyncCommitOp())

    def _fetch(self, builder: Builder, at: SSAValue) -> None:
        stage = self._modulo(builder, at)
        moved: dict[SSAValue, SSAValue] = {self.loop.body.block.args[0]: at}
        for feed, ring in zip(self.feeds, self.rings, strict=True):
            indices = [
                self._at_round(builder, index, moved)
                if isinstance(index, SSAValue)
                else index
                for index in feed.load.indices
            ]
            layout = tile_of(feed.load.result).layout
            assert isinstance(layout, LayoutAttr)
            part = self._part(builder, feed, ring, stage)
            copy = tile.AsyncLoadOp(
                feed.load.view, indices, feed.load.spanned, part, layout
            )
            self._put(builder, copy)

    def _at_round(
        self, builder: Builder, value: SSAValue, moved: dict[SSAValue, SSAValue]
    ) -> SSAValue:
        """The value that an index has in another round."""
        owner = value.owner
        if value in moved:
            return moved[value]
        if isinstance(owner, Block) or owner.parent is not self.loop.body.block:
            return value
        operands = {o: self._at_round(builder, o, moved) for o in owner.operands}
        copy = owner.clone(operands)
        builder.insert(copy)
        for old, new in zip(owner.results, copy.results, strict=True):
            moved[old] = new
        return moved[value]

    def _part(
        self, builder: Builder, feed: Feed, ring: SSAValue, stage: SSAValue
    ) -> SSAValue:
        kind = tile_of(feed.load.result)
        below = self._number(kind.extents[1 - feed.dim])
        start = self._add(builder, arith.MuliOp(stage, below))
        indices: list[SSAValue | int] = [start, 0] if feed.dim == 1 else [0, start]
        assert isinstance(ring.type, SharedType)
        slice_ = tile.SharedSliceOp(ring, indices, feed.stage(ring.type))
        return self._add(builder, slice_)

    def _sum(self, builder: Builder, value: SSAValue, number: int) -> SSAValue:
        return self._add(builder, arith.AddiOp(value, self._number(number)))

    def _modulo(self, builder: Builder, value: SSAValue) -> SSAValue:
        by = self._number(self.stages)
        return self._add(builder, arith.RemUIOp(value, by))

    def _number(self, value: int) -> SSAValue:
        if value not in self._numbers:
            constant = arith.ConstantOp.from_int_and_width(value, IndexType())
            self._numbers[value] = self._add(self._top, constant)
        return self._numbers[value]

    def _add(self, builder: Builder, op: Operation) -> SSAValue:
        self._put(builder, op)
        return op.results[0]

    def _put(self, builder: Builder, op: Operation) -> None:
        op.location = self.loop.location
        builder.insert(op)


def _known(value: SSAValue) -> int | None:
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return None


def pipeline_function(func: tile.FuncOp) -> None:
    """Rewrite every loop around products of a function."""
    stages = func.option(STAGES_OPTION, 0)
    if stages < 2:
        return
    for loop in [op for op in func.walk() if isinstance(op, scf.ForOp)]:
        if (_known(loop.lb), _known(loop.step)) != (0, 1):
            continue
        operands = [
            value
            for op in loop.body.block.ops
            if isinstance(op, tile.MmaOp)
            for value in (op.lhs, op.rhs)
        ]
        feeds = {value: feed_of(value, loop) for value in operands}
        found = [feed for feed in feeds.values() if feed is not None]
        if found:
            Pipeline(func, loop, found, stages).run()


@dataclass(frozen=True)
class PipelineLoadsPass(ModulePass):
    """Pipeline the loads of a module's products for a GPU with `cp.async`."""

    name = "pipeline-loads"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite the functions that ask for stages."""
        if Target.of(op).is_cpu:
            return
        for func in op.ops:
            if isinstance(func, tile.FuncOp):
                pipeline_function(func)
