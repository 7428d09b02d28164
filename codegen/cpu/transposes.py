"""Transposes of blocks in registers, for loads and tiles that lie the other way round.

A tile whose last dim is strided in memory, but which has another dim that is
contiguous, is read along that dim and turned in blocks of `n x n`: n vector loads and
n log2(n) shuffles instead of n^2 scalar reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import element_of, lanes_of, vector
from stepwell.codegen.views import position
from stepwell.dialects.dims import Dim
from stepwell.dialects.quasi_affine import coefficient

from .kernel import Kernel
from .memory import Transfer
from .values import Position, Recipe, Scratch, Tile

SMALLEST = 4
"""Blocks of fewer rows or columns are not worth turning."""

LoadRow = Callable[[Dim, Dim], SSAValue]
PutRow = Callable[[Dim, Dim, SSAValue], None]


def transpose_square(b: Builder, rows: Sequence[SSAValue]) -> list[SSAValue]:
    """The columns of n vectors of n lanes, n a power of two.

    Source: J. O. Eklundh, "A Fast Computer Method for Matrix Transposing" (1972): in
    step w, off-diagonal blocks of w x w change places.
    """
    n = len(rows)
    rows = list(rows)
    width = 1
    while width < n:
        low = [j if not j & width else n + j - width for j in range(n)]
        high = [j + width if not j & width else n + j for j in range(n)]
        for i in range(n):
            if not i & width:
                first, second = rows[i], rows[i + width]
                rows[i] = b.shuffle(first, second, low)
                rows[i + width] = b.shuffle(first, second, high)
        width *= 2
    return rows


def resized(b: Builder, value: SSAValue, lanes: int) -> SSAValue:
    """The first lanes of a vector, or more lanes whose rest is poison."""
    have = lanes_of(value.type)
    if have == lanes:
        return value
    mask = [i if i < have else -1 for i in range(lanes)]
    return b.shuffle(value, b.poison(value.type), mask)


def turned_block(
    b: Builder, rows: Sequence[SSAValue], columns: int, lanes: int
) -> list[SSAValue]:
    """`columns` vectors of `lanes` lanes out of the rows of a block."""
    n = max(lanes, lanes_of(rows[0].type))
    square = [resized(b, row, n) for row in rows]
    poison = b.poison(vector(element_of(rows[0].type), n))
    square += [poison] * (n - len(square))
    return [resized(b, v, lanes) for v in transpose_square(b, square)[:columns]]


def turn(
    kernel: Kernel,
    rows: int,
    columns: int,
    lanes: tuple[int, int],
    load: LoadRow,
    put: PutRow,
) -> None:
    """Reads `rows` rows of `columns` elements, and puts the columns as rows.

    Args:
        rows, columns: extents of the source.
        lanes: of a source row's pieces, and of a result row's.
        load: `load(row, first column)`, a piece of a source row.
        put: `put(column, first row, piece)` writes a piece of a result row.
    """
    across, along = lanes

    def block(i: Dim, j: Dim, width: int, height: int) -> None:
        pieces = [load(j + r, i) for r in range(height)]
        turned = turned_block(kernel.b, pieces, width, along)
        for c, piece in enumerate(turned):
            put(i + c, j, piece)

    def stripe(i: Dim, width: int) -> None:
        whole, rest = divmod(rows, along)
        repeat(kernel, whole, lambda t: block(i, t * along, width, along))
        if rest:
            block(i, whole * along, width, rest)

    whole, rest = divmod(columns, across)
    repeat(kernel, whole, lambda t: stripe(t * across, across))
    if rest:
        stripe(whole * across, rest)


def repeat(
    kernel: Kernel, trip: Dim, body: Callable[[Dim], None], most: int | None = None
) -> None:
    """A loop that vanishes where it runs once; `most` bounds an unknown trip count."""
    if trip == 1:
        body(0)
    elif trip != 0:
        with kernel.counted(trip, unroll=1, most=most) as t:
            body(t)


class TurnedLoad(Recipe):
    """A load whose dim `across` is contiguous in memory while its last dim is not."""

    def __init__(self, kernel: Kernel, like: Tile, transfer: Transfer, across: int):
        super().__init__(
            like.extents,
            like.element,
            like.native,
            self._piece,
            cost=12,
            transfer=transfer,
        )
        self.kernel = kernel
        self.needs_numbers = True
        self.fill = self._fill_buffer
        self.across = across
        perm = list(range(self.rank))
        perm[across], perm[-1] = perm[-1], perm[across]
        self.source = transfer.permuted(perm)
        shape = Tile(self.source.extents, self.element, self.native)
        self.source_lanes = shape.lanes

    @staticmethod
    def dim_of(transfer: Transfer) -> int | None:
        """The dim to read along, if the last one is not the one."""
        last = len(transfer.extents) - 1
        if last < 1 or transfer.extents[last] < SMALLEST:
            return None
        steps = [coefficient(transfer.address, position(d)) for d in range(last + 1)]
        if steps[last] is None or steps[last][0] in (0, 1):  # pyright: ignore
            return None
        for dim in range(last):
            step = steps[dim]
            if step is not None and step[0] == 1:
                big = transfer.extents[dim] >= SMALLEST
                return dim if big and not transfer.indirects else None
        return None

    def _source_position(self, pos: Position, row: Dim, column: Dim) -> Position:
        place = list(pos)
        place[self.across], place[-1] = row, column
        return tuple(place)

    def _piece(self, pos: Position) -> SSAValue:
        """A piece of the block that `pos` lies in; the block is turned once a scope."""
        lanes = self.source_lanes
        column, start = pos[self.across], pos[-1]
        assert isinstance(column, int) and isinstance(start, int)
        first = column - column % lanes
        base = self._source_position(pos, 0, 0)
        key = f"turned {self.source.number} {base} {first} {start}"
        known = self.kernel.space.recall(key)
        if known is None:
            height = min(self.lanes, self.extents[-1] - start)
            rows = [
                self.source.load(self._source_position(pos, start + r, first), lanes)
                for r in range(height)
            ]
            known = turned_block(self.kernel.b, rows, lanes, self.lanes)
            self.kernel.space.keep(key, known)
        assert isinstance(known, list)
        return known[column - first]

    def _fill_buffer(self, buffer: Scratch) -> None:
        """Turn the whole tile into a buffer, block by block in loops."""
        others = [d for d in range(self.rank - 1) if d != self.across]
        self._fill(buffer, others, [0] * self.rank)

    def _fill(self, buffer: Scratch, dims: Sequence[int], pos: list[Dim]) -> None:
        if dims:

            def one(t: Dim) -> None:
                self._fill(buffer, dims[1:], [*pos[: dims[0]], t, *pos[dims[0] + 1 :]])

            repeat(self.kernel, self.extents[dims[0]], one)
            return
        at = tuple(pos)

        def put(column: Dim, row: Dim, piece: SSAValue) -> None:
            place = list(at)
            place[self.across], place[-1] = column, row
            buffer.put(tuple(place), piece)

        turn(
            self.kernel,
            self.extents[-1],
            self.extents[self.across],
            (self.source_lanes, self.lanes),
            lambda row, column: self.source.load(
                self._source_position(at, row, column), self.source_lanes
            ),
            put,
        )
