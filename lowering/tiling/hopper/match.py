"""Finds the matrix product of a kernel that TMA and `wgmma` can compute."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, IntegerAttr
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.access import AccessMap
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.quasi_affine import as_symbol
from stepwell.dialects.shapes import DimExpr

DEPTH = 64
"""Elements of K in one step: 128 bytes, the widest swizzle."""

GROUP_ROWS = 64
"""Rows of the accumulators of one warpgroup."""

EPILOGUE = (
    arith.ConstantOp,
    arith.AddiOp,
    arith.SubiOp,
    arith.MuliOp,
    arith.DivUIOp,
    arith.RemUIOp,
    tile.DimOp,
    tile.AccessOp,
    tile.LoadOp,
    tile.FullOp,
    tile.MapOp,
    tile.StoreOp,
    tile.ReturnOp,
)
"""What may stand beside the products."""


class Refusal(Exception):
    """Why a kernel is not a product for Hopper."""


def expect(condition: bool, reason: str) -> None:
    """Refuse with `reason` unless the condition holds."""
    if not condition:
        raise Refusal(reason)


@dataclass(frozen=True)
class Place:
    """Where a tile lies in a whole tensor.

    Attributes:
        argument: the kernel's argument that is the tensor.
        indices: the index of the tile's first element, per dim of the tensor.
        over: the tensor's dims that the rows and the columns of the tile span.
    """

    argument: BlockArgument
    indices: tuple[SSAValue | int, ...]
    over: tuple[int, int]

    @property
    def is_row_major(self) -> bool:
        """Whether the tile's columns are contiguous."""
        return self.over[1] == len(self.indices) - 1

    @property
    def is_column_major(self) -> bool:
        """Whether the tile's rows are contiguous."""
        return self.over[0] == len(self.indices) - 1


@dataclass(frozen=True)
class Gemm:
    """The product of a kernel.

    Attributes:
        loop: the loop over K with the sum as its one carried value.
        lhs, rhs: the factors' tiles, rows x K and K x columns.
        rows, columns: extents of the sum.
        element: the factors' type.
    """

    func: tile.FuncOp
    loop: scf.ForOp
    lhs: Place
    rhs: Place
    rows: int
    columns: int
    element: Attribute

    @property
    def epilogue(self) -> list[Operation]:
        """The ops of the kernel beside the loop."""
        return [op for op in self.func.body.block.ops if op is not self.loop]

    @property
    def groups(self) -> int:
        """Consumer warpgroups."""
        return self.rows // GROUP_ROWS


def find_gemm(func: tile.FuncOp) -> Gemm:
    """The product of a kernel.

    Raises:
        Refusal: it has none, or not one for TMA and `wgmma`.
    """
    loops = [op for op in func.body.block.ops if isinstance(op, scf.ForOp)]
    expect(len(loops) == 1, "it is not one loop over one dim")
    loop = loops[0]
    dots = [op for op in loop.body.block.ops if isinstance(op, tile.DotOp)]
    expect(len(dots) == 1, "the loop does not hold one product")
    dot = dots[0]
    _check_loop(loop, dot)
    lhs, rhs = _load_of(dot.lhs), _load_of(dot.rhs)
    left, right, total = (tile.tile_of(v) for v in (dot.lhs, dot.rhs, dot.acc))
    expect(len(total.extents) == 2, "the product has a batch in its tiles")
    rows, columns = total.extents
    element = left.element_type
    expect(
        isinstance(element, Float16Type | BFloat16Type)
        and isinstance(total.element_type, Float32Type),
        f"wgmma does not sum products of {element} in {total.element_type} here",
    )
    expect(
        left.extents[1] == right.extents[0] == DEPTH,
        f"K is not cut in steps of {DEPTH}",
    )
    expect(
        rows % GROUP_ROWS == 0 and rows // GROUP_ROWS in (1, 2, 3), "rows do not fit"
    )
    expect(columns % 16 == 0 and columns <= 256, "columns do not fit an accumulator")
    expect(rows < 192 or columns <= 192, "the accumulators take too many registers")
    for op in func.body.block.ops:
        expect(op is loop or isinstance(op, EPILOGUE), f"{op.name} beside the product")
    found = Gemm(func, loop, place_of(lhs), place_of(rhs), rows, columns, element)
    expect(found.lhs.is_row_major, "K is not contiguous in the left factor")
    expect(
        found.rhs.is_row_major or found.rhs.is_column_major,
        "neither dim is contiguous in the right factor",
    )
    expect(found.lhs.argument is not found.rhs.argument, "both factors are one tensor")
    for place in (found.lhs, found.rhs):
        check_tensor(place)
        expect(_is_only_loaded_once(place.argument), "a factor is read elsewhere too")
    return found


def _check_loop(loop: scf.ForOp, dot: tile.DotOp) -> None:
    expect(len(loop.iter_args) == 1, "the loop carries more than the sum")
    start, first = loop.lb.owner, loop.iter_args[0].owner
    expect(
        isinstance(start, arith.ConstantOp)
        and isinstance(start.value, IntegerAttr)
        and start.value.value.data == 0,
        "the loop does not start at 0",
    )
    expect(
        isinstance(first, tile.FullOp) and first.value.value.data == 0,
        "the sum does not start at 0",
    )
    last = loop.body.block.last_op
    assert last is not None
    expect(
        dot.acc is loop.body.block.args[1] and last.operands[0] is dot.result,
        "the loop does more than sum",
    )
    for op in loop.body.block.ops:
        expect(isinstance(op, EPILOGUE) or op in (dot, last), f"{op.name} in the loop")


def _load_of(value: SSAValue) -> tile.LoadOp:
    owner = value.owner
    if not isinstance(owner, tile.LoadOp):
        raise Refusal("a factor is computed, not loaded")
    fill = owner.fill
    expect(fill is None or fill.value.data == 0, "a factor is padded with a number")
    return owner


def place_of(op: tile.LoadOp | tile.StoreOp) -> Place:
    """Where the tile of a transfer lies in a kernel's argument.

    Raises:
        Refusal: it is not a plain tile of the tensor.
    """
    access: AccessMap | None = None
    view: SSAValue = op.view
    if isinstance(view.owner, tile.AccessOp):
        access, view = view.owner.access, view.owner.source
    if not isinstance(view, BlockArgument):
        raise Refusal("an access of an access")
    expect(len(op.spanned) == 2, "a tile that is not of two dims")
    if access is None:
        return Place(view, op.indices, (op.spanned[0], op.spanned[1]))
    expect(access.is_projection and not access.indirects, "an access with arithmetic")
    indices: list[SSAValue | int] = []
    positions: dict[int, int] = {}
    for position, expr in enumerate(access.results):
        name = as_symbol(expr)
        if name is None:
            assert isinstance(expr, int)
            indices.append(expr)
            continue
        dim = access.dims.index(name)
        positions[dim] = position
        indices.append(op.indices[dim])
    rows, columns = (positions.get(dim) for dim in op.spanned)
    if rows is None or columns is None:
        raise Refusal("a tile that repeats elements")
    return Place(view, tuple(indices), (rows, columns))


def check_tensor(place: Place) -> None:
    """What TMA needs of a tensor: rank, rows of whole 16 bytes, a span that ends last.

    Raises:
        Refusal: the tensor has not.
    """
    kind = place.argument.type
    assert isinstance(kind, tile.ViewType)
    expect(1 < len(kind.dims) <= 5, "TMA moves tensors of rank 2 to 5")
    bits = kind.dims[-1] * bit_width(kind.element_type)
    aligned = bits % 128
    expect(not isinstance(aligned, DimExpr) and aligned == 0, "rows are not 16 bytes")


def _is_only_loaded_once(argument: BlockArgument) -> bool:
    users = [use.operation for use in argument.uses]
    if len(users) == 1 and isinstance(users[0], tile.AccessOp):
        users = [use.operation for use in users[0].result.uses]
    return len(users) == 1
