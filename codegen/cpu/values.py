"""What stands for a tile on the CPU: registers, scratch memory, or a recipe.

A tile is cut along its last dim into *pieces* of `lanes` elements, native vectors of 32
bits a lane; a last dim of extent 1 has scalar pieces. A piece is asked for by its
position: a row in the leading dims, and a start in the last. Three kinds answer:

* `Registers` hold every piece as an SSA value; positions must be numbers;
* `Scratch` is a buffer on the stack;
* `Recipe` computes the piece when asked. Loads, constants and elementwise chains stay
  recipes until something consumes them, which is what makes a chain of `tile.map`s one
  strip loop without a buffer in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod

from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.indices import IndexSpace
from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import vector
from stepwell.codegen.scalars.elements import (
    carrier_type,
    from_bytes,
    scratch_type,
    to_bytes,
)
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim
from stepwell.errors import CompileError

from .memory import Transfer

Position = tuple[Dim, ...]
PieceOf = Callable[[Position], SSAValue]


def lanes_for(extent: int, native: int) -> int:
    """Lanes of the pieces of a last dim of `extent` elements."""
    lanes = 1
    while lanes < min(extent, native):
        lanes *= 2
    return lanes


class Tile:
    """A tile of the program: its shape, and its pieces."""

    is_static_only = False
    cost = 0

    def __init__(self, extents: Sequence[int], element: Attribute, native: int) -> None:
        self.extents = tuple(extents)
        self.element = element
        self.carrier = carrier_type(element)
        last = self.extents[-1] if self.extents else 1
        self.lanes = lanes_for(last, native)
        self.native = native

    @property
    def rank(self) -> int:
        """Number of dims."""
        return len(self.extents)

    @property
    def chunks(self) -> int:
        """Pieces along the last dim."""
        return -(-self.extents[-1] // self.lanes) if self.extents else 1

    @property
    def rows(self) -> int:
        """Product of the leading extents."""
        return prod(self.extents[:-1])

    @property
    def pieces(self) -> int:
        """Pieces of the whole tile."""
        return self.rows * self.chunks

    def piece(self, pos: Position) -> SSAValue:
        """The carrier vector of `lanes` elements from `pos` on."""
        raise NotImplementedError

    def positions(self) -> list[tuple[int, ...]]:
        """All positions, row-major."""
        if not self.extents:
            return [()]
        leading = [range(n) for n in self.extents[:-1]]
        last = range(0, self.extents[-1], self.lanes)
        return list(product(*leading, last))


class Registers(Tile):
    """Every piece is an SSA value."""

    is_static_only = True

    def __init__(
        self, like: Tile, pieces: Sequence[SSAValue], element: Attribute | None = None
    ) -> None:
        super().__init__(like.extents, element or like.element, like.native)
        self.values = dict(zip(self.positions(), pieces, strict=True))

    def piece(self, pos: Position) -> SSAValue:
        return self.values[pos]  # pyright: ignore[reportArgumentType]

    def all(self) -> list[SSAValue]:
        """The pieces, row-major."""
        return list(self.values.values())


class Scratch(Tile):
    """A stack buffer, row-major, each row padded to whole pieces."""

    cost = 1

    def __init__(
        self,
        space: IndexSpace,
        extents: Sequence[int],
        element: Attribute,
        native: int,
        buffer: SSAValue | None = None,
    ) -> None:
        super().__init__(extents, element, native)
        self.space = space
        self.storage = scratch_type(self.carrier)
        self.pitch = self.chunks * self.lanes
        if buffer is None:
            count = self.rows * self.pitch
            buffer = space.b.alloca(self.storage, count)
        self.buffer = buffer

    def offset(self, pos: Position) -> Dim:
        """Elements from the start of the buffer."""
        total: Dim = 0
        for extent, p in zip(self.extents[:-1], pos[:-1], strict=True):
            total = total * extent + p
        return total * self.pitch + (pos[-1] if pos else 0)

    def pointer(self, pos: Position) -> SSAValue:
        """The address of the element at `pos`."""
        return self.space.pointer(self.buffer, self.offset(pos), self.storage)

    @property
    def align(self) -> int:
        """Bytes of one element, which every piece is aligned to at least."""
        return max(1, self.storage.bitwidth // 8)  # pyright: ignore

    def piece(self, pos: Position) -> SSAValue:
        b = self.space.b
        type_ = vector(self.storage, self.lanes)
        value = b.load(self.pointer(pos), type_, self.align)
        return from_bytes(b, value, self.carrier)

    def put(self, pos: Position, value: SSAValue) -> None:
        """Write one piece."""
        b = self.space.b
        value = to_bytes(b, value, self.carrier)
        b.store(value, self.pointer(pos), self.align)


class Recipe(Tile):
    """A tile computed piece by piece where it is used.

    Args:
        compute: the piece at a position.
        cost: instructions of one piece, without those of the sources.
        transfer: the load itself, for consumers that read memory their own way.

    `keys` are the tile values it asks for pieces, looked up in `lookup` when they are
    needed: a source may move from registers to scratch in between. A `pointwise` recipe
    reads its sources at its own position, or repeats them.
    """

    def __init__(
        self,
        extents: Sequence[int],
        element: Attribute,
        native: int,
        compute: PieceOf,
        *,
        cost: int = 1,
        transfer: Transfer | None = None,
    ) -> None:
        super().__init__(extents, element, native)
        self.compute = compute
        self.keys: tuple[SSAValue, ...] = ()
        self.lookup: Mapping[SSAValue, Tile] = {}
        self.own_cost = cost
        self.pointwise = True
        self.needs_numbers = False
        # How to put the whole tile into a buffer, where pieces are not the best way.
        self.fill: Callable[[Scratch], None] | None = None
        self.transfer = transfer

    @property
    def sources(self) -> list[Tile]:
        """The tiles it asks for pieces, as they are held now."""
        return [self.lookup[key] for key in self.keys]

    @property
    def is_static_only(self) -> bool:  # pyright: ignore
        """Whether it, or some source, can only be asked for known positions."""
        return self.needs_numbers or any(s.is_static_only for s in self.sources)

    @property
    def cost(self) -> int:  # pyright: ignore
        """Instructions of one piece."""
        return self.own_cost + sum(s.cost for s in self.sources)

    def reads_memory(self) -> bool:
        """Whether a load is behind it."""
        return self.transfer is not None or any(
            isinstance(s, Recipe) and s.reads_memory() for s in self.sources
        )

    def uses(self, buffer: SSAValue) -> bool:
        """Whether it reads the scratch buffer `buffer`."""
        return any(
            (isinstance(s, Scratch) and s.buffer is buffer)
            or (isinstance(s, Recipe) and s.uses(buffer))
            for s in self.sources
        )

    def piece(self, pos: Position) -> SSAValue:
        return self.compute(pos)


def expect_tile(value: Tile | None, of: SSAValue) -> Tile:
    """The tile of a value.

    Raises:
        CompileError: the value was not lowered.
    """
    if value is None:
        raise CompileError(f"expected a tile, got {of.type}")
    return value


def type_extents(value: SSAValue) -> tuple[tuple[int, ...], Attribute]:
    """Extents and element type of a value of tile type."""
    kind = tile.tile_of(value)
    return kind.extents, kind.element_type


__all__ = [
    "Builder",
    "PieceOf",
    "Position",
    "Recipe",
    "Registers",
    "Scratch",
    "Tile",
    "expect_tile",
    "lanes_for",
    "type_extents",
]
