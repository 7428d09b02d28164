"""The state of one `tile.func` on its way to the `llvm` dialect.

`Kernel` knows what stands for every value, evaluates recipes into registers, scratch or
a consumer, and runs the table of rules over a block. The rules are in the files beside
this one, one family each.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from xdsl.dialects.builtin import IndexType, i64
from xdsl.ir import Block, Operation, SSAValue

from stepwell.codegen.indices import IndexSpace
from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.math import MathLibrary
from stepwell.codegen.scalars.bodies import Scalars
from stepwell.codegen.scalars.elements import element_bytes
from stepwell.codegen.views import View
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim, dim_min
from stepwell.dialects.target import Target
from stepwell.errors import CompileError, StepwellError

from .demand import Demand
from .values import Position, Recipe, Registers, Scratch, Tile, type_extents

Sink = Callable[[Position, Sequence[SSAValue]], None]

UNROLLED_OPS = 96
"""A strip of pieces is unrolled up to about this many instructions."""
REGISTER_OPS = 1200
"""Registers that feed a strip of more instructions than this go to scratch first."""
SMALL_PIECES = 8
"""A shared tile of at most this many pieces stays in registers."""


class Kernel:
    """One function under conversion."""

    def __init__(self, builder: Builder, target: Target, library: MathLibrary) -> None:
        self.b = builder
        self.target = target
        self.native = target.lanes(32)
        self.space = IndexSpace(builder)
        self.scalars = Scalars(builder, library)
        self.library = library
        self.tiles: dict[SSAValue, Tile] = {}
        self.values: dict[SSAValue, SSAValue] = {}
        self.roots: dict[SSAValue, SSAValue] = {}
        self.done: set[Operation] = set()
        self.demand: Demand | None = None
        self.cells: Dim = 0
        self.written: set[SSAValue] = set()
        self._views: dict[SSAValue, View] = {}

    @property
    def register_budget(self) -> int:
        """Vector registers that accumulators may take."""
        return self.target.vector_registers - 4

    # ---- values ----

    def view(self, value: SSAValue) -> View:
        """The view behind a value."""
        known = self._views.get(value)
        if known is None:
            known = self._views[value] = View(self.space, value, self.roots)
        return known

    def scalar(self, value: SSAValue) -> SSAValue:
        """The LLVM value of a scalar of the tile program."""
        if isinstance(value.type, IndexType):
            return self.space.value(self.space.of(value))
        return self.values[value]

    def piece(self, value: SSAValue, pos: Position) -> SSAValue:
        """One piece of a tile, computed once per scope."""
        held = self.tiles[value]
        if isinstance(held, Registers):
            return held.piece(pos)
        key = f"piece {id(value)} {','.join(map(str, pos))}"
        known = self.space.remembered(key)
        if known is None:
            known = held.piece(pos)
            self.space.remember(key, known)
        assert isinstance(known, SSAValue)
        return known

    def recipe(
        self,
        value: SSAValue,
        compute: Callable[[Position], SSAValue],
        sources: Sequence[SSAValue] = (),
        cost: int = 1,
        *,
        pointwise: bool = True,
    ) -> None:
        """Let `value` be computed piece by piece from `sources`."""
        extents, element = type_extents(value)
        made = Recipe(extents, element, self.native, compute, cost=cost)
        made.lookup = self.tiles
        made.keys = tuple(sources)
        made.pointwise = pointwise
        self.tiles[value] = made

    # ---- evaluation ----

    def evaluate(self, values: Sequence[SSAValue], sink: Sink) -> None:
        """Give every piece of tiles of one shape to `sink`, as a strip loop or flat."""
        tiles = [self.tiles[v] for v in values]
        shape = tiles[0]
        total = shape.pieces * (2 + sum(t.cost for t in tiles))
        if any(t.is_static_only for t in tiles):
            if total <= REGISTER_OPS:
                self._flat(shape, values, sink)
                return
            for value in values:
                self.spill(value)
        if total <= UNROLLED_OPS:
            self._flat(shape, values, sink)
        else:
            limits = self.limits(values)
            self.strip(shape, lambda pos: sink(pos, self._pieces(values, pos)), limits)

    def _pieces(self, values: Sequence[SSAValue], pos: Position) -> list[SSAValue]:
        return [self.piece(v, pos) for v in values]

    def _flat(self, shape: Tile, values: Sequence[SSAValue], sink: Sink) -> None:
        for pos in shape.positions():
            sink(pos, self._pieces(values, pos))

    def limits(self, values: Sequence[SSAValue]) -> list[Dim]:
        """Per leading dim of tiles of one shape: how far anyone looks at them."""
        extents = self.tiles[values[0]].extents
        found: list[Dim] = []
        for dim, extent in enumerate(extents[:-1]):
            each = {self._limit(value, dim, extent) for value in values}
            found.append(each.pop() if len(each) == 1 else extent)
        return found

    def _limit(self, value: SSAValue, dim: int, extent: int) -> Dim:
        bound = None if self.demand is None else self.demand.of(value, dim)
        if bound is None or extent == 1:
            return extent
        if isinstance(bound.index, SSAValue) and not self.space.knows(bound.index):
            return extent
        left = self.space.simplify(bound.size - self.space.of(bound.index))
        return self.space.simplify(dim_min(extent, left))

    def strip(
        self,
        shape: Tile,
        body: Callable[[Position], None],
        limits: Sequence[Dim] | None = None,
    ) -> None:
        """A loop nest over the pieces of a shape; loops of one trip vanish."""
        self._nest(shape, (), body, limits or shape.extents[:-1])

    def _nest(
        self,
        shape: Tile,
        pos: Position,
        body: Callable[[Position], None],
        limits: Sequence[Dim],
    ) -> None:
        dim = len(pos)
        if dim == shape.rank:
            body(pos)
            return
        last = dim == shape.rank - 1
        trip = shape.chunks if last else limits[dim]
        step = shape.lanes if last else 1
        if trip == 1:
            self._nest(shape, (*pos, 0), body, limits)
            return
        most = shape.chunks if last else shape.extents[dim]
        with self.counted(trip, most=most) as at:
            self._nest(shape, (*pos, at * step), body, limits)

    @contextmanager
    def counted(
        self, trip: Dim, unroll: int | None = None, most: int | None = None
    ) -> Generator[Dim]:
        """A loop without carried values; gives its counter as a dim.

        `most` bounds a trip count that is not a number.
        """
        extent = trip if isinstance(trip, int) else most
        count = self.space.emit(trip)
        with self.b.loop(count, unroll=unroll) as loop, self.space.loop(loop.entry):
            yield self.space.leaf("t", loop.index, extent)

    def spill(self, value: SSAValue) -> None:
        """Move all registers that `value` depends on to scratch."""
        held = self.tiles[value]
        if isinstance(held, Registers):
            scratch = self.scratch(held.extents, held.element)
            for pos, item in held.values.items():
                scratch.put(pos, item)
            self.tiles[value] = scratch
        elif isinstance(held, Recipe):
            if held.fill is not None:
                self.tiles[value] = self.to_scratch(value)
            for key in held.keys:
                self.spill(key)

    def scratch(self, extents: Sequence[int], element: object) -> Scratch:
        """A fresh stack buffer."""
        return Scratch(self.space, extents, element, self.native)  # pyright: ignore

    def settle(self, value: SSAValue) -> Tile:
        """Compute a recipe now, into registers if it is small, else into scratch."""
        held = self.tiles[value]
        if not isinstance(held, Recipe):
            return held
        small = held.pieces <= SMALL_PIECES or (
            held.is_static_only and held.pieces <= self.register_budget
        )
        if small and held.pieces * held.cost <= REGISTER_OPS:
            pieces = [self.piece(value, pos) for pos in held.positions()]
            made: Tile = Registers(held, pieces)
        else:
            made = self.to_scratch(value)
        self.tiles[value] = made
        return made

    def to_scratch(self, value: SSAValue, into: Scratch | None = None) -> Scratch:
        """The tile in memory; a buffer it already has, or one filled here."""
        held = self.tiles[value]
        if isinstance(held, Scratch) and into is None:
            return held
        buffer = into or self.scratch(held.extents, held.element)
        if isinstance(held, Recipe) and held.fill is not None:
            held.fill(buffer)
            return buffer
        self.evaluate([value], lambda pos, pieces: buffer.put(pos, pieces[0]))
        return buffer

    def settle_reads(self, before: Operation) -> None:
        """Before memory changes, compute what was read from it and is needed later."""
        for value, held in list(self.tiles.items()):
            if isinstance(held, Recipe) and held.reads_memory():
                later = (use.operation for use in value.uses)
                if any(op is not before and op not in self.done for op in later):
                    self.settle(value)

    # ---- rules ----

    def run_block(self, block: Block, rules: Mapping[type[Operation], Rule]) -> None:
        """Apply the rules to all ops of a block but its terminator.

        Raises:
            CompileError: an op has no rule, or its rule refused it.
        """
        for op in block.ops:
            if op is block.last_op and op.name in ("tile.return", "scf.yield"):
                self.done.add(op)
                return
            self.b.location = op.location
            rule = rules.get(type(op))
            if rule is None:
                raise CompileError(
                    f"expected an op of the tile program with a rule for the CPU, "
                    f"got {op.name}",
                    where=str(op.location),
                )
            try:
                rule(self, op)
            except StepwellError as error:
                if error.where is None:
                    error.where = f"{op.name} {op.location}"
                raise
            self.done.add(op)


Rule = Callable[[Kernel, "Operation"], None]


def is_used_once_here(value: SSAValue) -> bool:
    """Whether one op of the same block is all that uses a value."""
    uses = list(value.uses)
    return len(uses) == 1 and uses[0].operation.parent is value.owner.parent


__all__ = [
    "Kernel",
    "Rule",
    "element_bytes",
    "i64",
    "is_used_once_here",
    "tile",
]
