"""Writes the Hopper program of a matrix product: a producer, a ring, consumers.

The blocks are persistent. One thread of the producer's warpgroup feeds the ring by TMA;
each consumer warpgroup sums 64 rows in registers, computes the kernel's epilogue on
them, and stores them through a staging buffer. `docs/05-tile.md` tells it op by op.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from xdsl.dialects import arith
from xdsl.ir import Attribute, Block, BlockArgument, Region, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import swizzled
from stepwell.dialects.shapes import Dim, dim_min
from stepwell.dialects.target import Target
from stepwell.lowering.tiling.gpu.block import MULTIPROCESSORS

from .emitter import Emitter, for_loop
from .epilogue import Epilogue
from .match import DEPTH, GROUP_ROWS, Gemm, Place, Refusal, check_tensor, place_of

BAND = 8
"""Rows of tiles that are walked together, so that the L2 cache holds them."""

MOST_STAGES = 8
"""Stages of a ring: more hide no more latency."""

BUFFERS = 2
"""Staging buffers of each consumer."""

RESERVED = 1024
"""Bytes of shared memory kept for barriers."""


@dataclass
class HopperProgram:
    """One kernel on its way from the upper half to the Hopper program."""

    gemm: Gemm
    target: Target

    # ---- types ----------------------------------------------------------------------

    @cached_property
    def lhs_tile(self) -> tile.SharedType:
        """A block's rows x K."""
        rows = self.gemm.rows
        return tile.SharedType(
            (rows, DEPTH), self.gemm.element, swizzled(rows, DEPTH, 16)
        )

    @cached_property
    def rhs_tile(self) -> tile.SharedType:
        """K x columns, or columns x K where K is contiguous."""
        columns, element = self.gemm.columns, self.gemm.element
        if not self.gemm.rhs.is_row_major:
            layout = swizzled(columns, DEPTH, 16)
            return tile.SharedType((columns, DEPTH), element, layout)
        width = next(n for n in (64, 32, 16) if columns % n == 0)
        layout = swizzled(DEPTH, columns, 16, 2 * width)
        return tile.SharedType((DEPTH, columns), element, layout)

    @cached_property
    def stages(self) -> int:
        """As many stages as shared memory holds."""
        free = self.target.shared_bytes - RESERVED - self.staging_bytes
        stages = min(MOST_STAGES, free // (self.lhs_tile.bytes + self.rhs_tile.bytes))
        if stages < 2:
            raise Refusal("fewer than two stages fit shared memory")
        return stages

    @property
    def staging_bytes(self) -> int:
        """Shared memory of the staging buffers of all consumers."""
        sizes = [chunk.bytes for chunk in self.chunks.values()]
        return self.gemm.groups * BUFFERS * sum(sizes)

    @cached_property
    def chunks(self) -> dict[tile.StoreOp, tile.SharedType]:
        """The buffer of each store that TMA can do: 64 rows of up to 128 bytes."""
        found: dict[tile.StoreOp, tile.SharedType] = {}
        for op in self.gemm.epilogue:
            if isinstance(op, tile.StoreOp) and (kind := self._chunk(op)) is not None:
                found[op] = kind
        return found

    def _chunk(self, op: tile.StoreOp) -> tile.SharedType | None:
        kind = tile.tile_of(op.tile)
        bits = bit_width(kind.element_type)
        whole = kind.extents == (self.gemm.rows, self.gemm.columns)
        if not whole or bits not in (16, 32) or op.accumulate is not None:
            return None
        try:
            place = place_of(op)
            check_tensor(place)
        except Refusal:
            return None
        alone = all(use.operation is op for use in place.argument.uses)
        if not place.is_row_major or not alone:
            return None
        most = 1024 // bits
        width = next(n for n in (64, 32, 16) if n <= most and kind.extents[1] % n == 0)
        layout = swizzled(GROUP_ROWS, width, bits, width * bits // 8)
        return tile.SharedType((GROUP_ROWS, width), kind.element_type, layout)

    @cached_property
    def ring_type(self) -> tile.RingType:
        """The stages of both factors."""
        return tile.RingType(self.stages, [self.lhs_tile, self.rhs_tile])

    def argument_type(self, argument: BlockArgument) -> Attribute:
        """The type of a new argument: a tensor map for what TMA moves."""
        kind = argument.type
        assert isinstance(kind, tile.ViewType)
        moved: list[tuple[Place, tile.SharedType]] = [
            (self.gemm.lhs, self.lhs_tile),
            (self.gemm.rhs, self.rhs_tile),
            *((place_of(op), chunk) for op, chunk in self.chunks.items()),
        ]
        for place, shared in moved:
            if place.argument is argument:
                over = sorted(place.over)
                return tile.TensorMapType(kind.dims, over, shared)
        return kind

    # ---- the program ----------------------------------------------------------------

    def build(self) -> tile.FuncOp:
        """The new kernel.

        Raises:
            Refusal: shared memory is too small.
        """
        old = self.gemm.func
        kinds = [self.argument_type(argument) for argument in old.args]
        blocks = dim_min(MULTIPROCESSORS, self.tiles)
        func = tile.FuncOp(old.sym_name.data, kinds, [blocks], old.symbol_names)
        e = Emitter(func.body.block, dict(zip(old.args, func.args, strict=True)))
        self.block_id = func.program_ids[0]
        self.zero, self.one = e.number(0), e.number(1)
        self.count, self.blocks = self._size(e, self.tiles), self._size(e, blocks)
        ring = e.value(tile.RingOp(4 * self.gemm.groups, self.ring_type))
        e.add(tile.DependencyLaunchOp())
        e.add(tile.DependencyWaitOp())
        roles = Block()
        e.add(tile.SpecialiseOp(Region(roles)))
        few, many = (32, 160) if self.gemm.groups == 3 else (24, 240)
        producer = tile.RoleOp("producer", 4, 1, few)
        consumer = tile.RoleOp("consumer", 4, self.gemm.groups, many)
        roles.add_ops([producer, consumer])
        self._produce(e.nested(producer.body.block), ring)
        self._consume(e.nested(consumer.body.block), ring)
        e.add(tile.ReturnOp())
        self._attributes(func)
        return func

    def _attributes(self, func: tile.FuncOp) -> None:
        old = self.gemm.func
        func.attributes.update(old.attributes)
        launch = tile.Launch(warps=4 + 4 * self.gemm.groups)
        func.attributes[tile.LAUNCH_ATTRIBUTE] = tile.LaunchAttr(launch)
        for op in func.walk():
            op.location = self.gemm.loop.location
        func.location = old.location

    @property
    def tiles(self) -> Dim:
        """The number of the result's tiles: all cells of the old grid."""
        total: Dim = 1
        for extent in self.gemm.func.grid.data:
            total = total * extent
        return total

    @staticmethod
    def _size(e: Emitter, dim: Dim) -> SSAValue:
        return e.number(dim) if isinstance(dim, int) else e.value(tile.DimOp(dim))

    def _bind_cell(self, e: Emitter, index: SSAValue) -> None:
        """The old grid's ids of a tile: of a raster where there is one, or divided."""
        ids, extents = self.gemm.func.program_ids, self.gemm.func.grid.data
        if (raster := self._raster()) is not None:
            pair, sizes = raster
            op = e.add(tile.RasterOp(index, sizes, BAND))
            e.values.update(dict.fromkeys(ids, self.zero))
            e.values.update(zip(pair, op.results, strict=True))
            return
        rest = index
        for number, extent in reversed(list(zip(ids[1:], extents[1:], strict=True))):
            size = self._size(e, extent)
            e.values[number] = e.value(arith.RemUIOp(rest, size))
            rest = e.value(arith.DivUIOp(rest, size))
        e.values[ids[0]] = rest

    def _raster(self) -> tuple[tuple[BlockArgument, BlockArgument], list[int]] | None:
        """The ids of rows and of columns with their extents, if the rest is 1."""
        pair = self._raster_ids()
        ids, extents = self.gemm.func.program_ids, self.gemm.func.grid.data
        sizes = dict(zip(ids, extents, strict=True))
        if pair is None or any(sizes[i] != 1 for i in ids if i not in pair):
            return None
        both = [size for i in pair if isinstance(size := sizes[i], int)]
        return (pair, both) if len(both) == 2 else None

    def _raster_ids(self) -> tuple[BlockArgument, BlockArgument] | None:
        """The id that the rows depend on, and that of the columns."""
        found: list[BlockArgument] = []
        for place, dim in ((self.gemm.lhs, 0), (self.gemm.rhs, 1)):
            index = place.indices[place.over[dim]]
            ids = () if isinstance(index, int) else _ids_of(index)
            if len(ids) != 1:
                return None
            found += ids
        return None if found[0] is found[1] else (found[0], found[1])

    def _steps(self, e: Emitter) -> tuple[SSAValue, SSAValue, SSAValue]:
        loop = self.gemm.loop
        lower, upper, step = (e.old(v) for v in (loop.lb, loop.ub, loop.step))
        return lower, upper, step

    def _all_tiles(self) -> tuple[SSAValue, SSAValue, SSAValue]:
        return self.block_id, self.count, self.blocks

    def _produce(self, e: Emitter, ring: SSAValue) -> None:
        """One thread loads the factors' tiles of all steps of all its tiles."""
        body = Block()
        e.add(tile.ElectOp(Region(body)))
        e = e.nested(body)
        first = e.value(tile.CursorOp(self.stages))
        with for_loop(e, self._all_tiles(), [first]) as outer:
            o = outer.body
            self._bind_cell(o, outer.args[0])
            with for_loop(o, self._steps(o), [outer.args[1]]) as inner:
                i, at = inner.body, inner.args[1]
                i.values[self.gemm.loop.body.block.args[0]] = inner.args[0]
                size = self.lhs_tile.bytes + self.rhs_tile.bytes
                slot, *tiles = i.add(tile.AcquireOp(ring, at, size)).results
                factors = (self.gemm.lhs, self.gemm.rhs)
                for place, shared in zip(factors, tiles, strict=True):
                    indices = [i.index(v) for v in place.indices]
                    tensor = i.old(place.argument)
                    i.add(tile.TmaLoadOp(tensor, indices, shared, slot))
                i.add(tile.CommitOp(slot))
                inner.yielded = (i.value(tile.AdvanceOp(at)),)
            outer.yielded = inner.results

    def _consume(self, e: Emitter, ring: SSAValue) -> None:
        """Each group sums its 64 rows, then computes and stores the epilogue."""
        role = e.block.args[0]
        stagings = {
            op: e.value(tile.StagingOp(tile.StagingType(BUFFERS, [chunk])))
            for op, chunk in self.chunks.items()
        }
        mine = e.value(arith.MuliOp(role, e.number(GROUP_ROWS)))
        starts = [e.value(tile.CursorOp(self.stages))]
        starts += [e.value(tile.CursorOp(BUFFERS)) for _ in stagings]
        with for_loop(e, self._all_tiles(), starts) as outer:
            o = outer.body
            self._bind_cell(o, outer.args[0])
            epilogue = Epilogue(
                self.gemm,
                self.chunks,
                o,
                mine,
                dict(zip(stagings, outer.args[2:], strict=True)),
                stagings,
            )
            epilogue.load()
            total, last = self._sum(o, ring, mine, outer.args[1])
            epilogue.compute(total)
            outer.yielded = (last, *epilogue.cursors.values())
        if stagings:
            done = Block([tile.TmaStoreWaitOp(0)])
            e.add(tile.ElectOp(Region(done)))

    def _sum(
        self, e: Emitter, ring: SSAValue, mine: SSAValue, cursor: SSAValue
    ) -> tuple[SSAValue, SSAValue]:
        """The sum of a group's rows as a tile, and the ring's next place."""
        kind = tile.AccumulatorType(
            (GROUP_ROWS, self.gemm.columns),
            tile.tile_of(self.gemm.loop.results[0]).element_type,
        )
        none = e.value(tile.AccumulatorOp(kind))
        with for_loop(e, self._steps(e), [none, cursor, cursor]) as loop:
            i, (step, acc, at, before) = loop.body, loop.args
            lhs, rhs = i.add(tile.WaitOp(ring, at)).results
            if self.gemm.groups > 1:
                part = tile.SharedType(
                    (GROUP_ROWS, DEPTH), self.gemm.element, self.lhs_tile.layout
                )
                lhs = i.value(tile.SharedSliceOp(lhs, [mine, 0], part))
            if not self.gemm.rhs.is_row_major:
                rhs = i.value(tile.SharedTransposeOp(rhs))
            again = i.value(arith.CmpiOp(step, self.zero, "ne"))
            more = i.value(tile.WgmmaOp(lhs, rhs, acc, kind, accumulate=again))
            i.add(tile.WgmmaWaitOp(1))
            i.add(tile.ReleaseOp(ring, before, again))
            loop.yielded = (more, i.value(tile.AdvanceOp(at)), at)
        total, following, previous = loop.results
        ready = e.value(tile.WgmmaWaitOp(0, [total]))
        e.add(tile.ReleaseOp(ring, previous))
        return ready, following


def _ids_of(index: SSAValue) -> set[BlockArgument]:
    """The program ids that an index is computed from."""
    owner = index.owner
    if isinstance(owner, Block):
        assert isinstance(index, BlockArgument)
        return {index} if isinstance(owner.parent_op(), tile.FuncOp) else set()
    found: set[BlockArgument] = set()
    for operand in owner.operands:
        found |= _ids_of(operand)
    return found
