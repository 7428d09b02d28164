"""Kernels around a matrix product: accumulate dots, then the epilogue, then store."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.ir import BlockArgument, SSAValue

from stepwell.dialects.fusion import GenericOp, KernelOp
from stepwell.dialects.schedules import Extents, Schedule
from stepwell.dialects.tile import DotOp, FuncOp
from stepwell.errors import CompileError

from .emission import Accumulator, KernelProgram
from .frame import Frame
from .nest import cell_frame, grid_of, ragged, ranges_of, walk, walk_flat
from .product import Product, product_of

FLAT_OPTION = "flat"
"""The option that asks for one loop over all reduction dims."""


def convert_contraction(kernel: KernelOp, schedule: Schedule, name: str) -> FuncOp:
    """The program of a contraction kernel.

    The schedule's tile names a row dim, a column dim and an inner dim. Loops over
    parallel dims stand outside, those over reduction dims carry the accumulator.
    """
    anchor, *epilogue = (op for op in kernel.block.ops if isinstance(op, GenericOp))
    product = product_of(anchor)
    if product is None:
        raise CompileError(
            f"expected a sum of products in kernel {kernel.kernel_name.data}",
            where=str(kernel.location),
        )
    sizes = anchor.extents
    parts = KernelProgram(kernel, grid_of(schedule, sizes), name)
    axes = _axes(product, schedule)
    start = cell_frame(parts.program, schedule).spanning((axes[0], axes[2]))
    outer = [d for d in sizes if d not in product.k]

    def cell(frame: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        total = _accumulate(parts, product, schedule, frame, axes)
        parts.tiles[anchor.outputs[0]] = total
        parts.write(anchor, 0, total, frame)
        for op in epilogue:
            for position, tile in enumerate(parts.compute(op, frame)):
                parts.tiles[op.outputs[position]] = tile
                parts.write(op, position, tile, frame)
        return []

    walk(parts.program, ranges_of(schedule, sizes, start, outer), start, [], cell)
    return parts.program.finish()


def _axes(product: Product, schedule: Schedule) -> Extents:
    """The row, inner and column axis of the tiles."""
    inner = [a for a in schedule.tile if a[0] in product.shared_k]
    columns = [a for a in schedule.tile if a[0] in product.n]
    rows = [a for a in schedule.tile if a not in inner and a not in columns]
    if not len(rows) == len(inner) == len(columns) == 1:
        raise CompileError(
            "expected a tile over one row, one inner and one column dim, got "
            f"{', '.join(name for name, _ in schedule.tile)}",
            where=str(product.op.location),
        )
    return (rows[0], inner[0], columns[0])


def _accumulate(
    parts: KernelProgram,
    product: Product,
    schedule: Schedule,
    frame: Frame,
    axes: Extents,
) -> SSAValue:
    """The sum over all reduction dims for the rows and columns of `frame`."""
    rows, inner, columns = axes
    element = product.op.yielded[0].type
    zero = parts.program.full(0, frame.extents, element)

    left, right = factors(product)

    def step(here: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        lhs = _factor(parts, product, left, here.spanning((rows, inner)), inner[0])
        rhs = _factor(parts, product, right, here.spanning((inner, columns)), inner[0])
        dot = DotOp(
            lhs,
            rhs,
            carried[0],
            lhs_unsigned=_is_unsigned(product.lhs.value, left),
            rhs_unsigned=_is_unsigned(product.rhs.value, right),
        )
        return [parts.program.value(dot)]

    sizes = product.op.extents
    ranges = ranges_of(schedule, sizes, frame, product.k)
    if len(ranges) > 1 and schedule.option(FLAT_OPTION):
        return walk_flat(parts.program, ranges, frame, [zero], step)[0]
    return walk(parts.program, ranges, frame, [zero], step)[0]


def _factor(
    parts: KernelProgram, product: Product, value: SSAValue, frame: Frame, inner: str
) -> SSAValue:
    """The tile of one factor, zero past the end of the inner dim.

    A factor that is read as it is gets zeros from the load.
    """
    beyond = ragged(product.op.extents, frame, [inner])
    if beyond and not isinstance(value, BlockArgument):
        zero = parts.program.full(0, frame.extents, value.type)
        add = Accumulator(product.op.combines[0], value.type, zero, beyond)
        return parts.compute(product.op, frame, [value], [add])[0]
    return parts.compute(product.op, frame, [value])[0]


def factors(product: Product) -> tuple[SSAValue, SSAValue]:
    """What a dot multiplies: it widens narrow inputs itself, if both are alike."""
    lhs, rhs = (without_extension(f.value) for f in (product.lhs, product.rhs))
    alike = lhs.type == rhs.type
    return (lhs, rhs) if alike else (product.lhs.value, product.rhs.value)


def without_extension(value: SSAValue) -> SSAValue:
    """What is widened, if that is an input; otherwise the value."""
    owner = value.owner
    if isinstance(owner, arith.ExtFOp | arith.ExtSIOp | arith.ExtUIOp) and isinstance(
        owner.input, BlockArgument
    ):
        return owner.input
    return value


def _is_unsigned(wide: SSAValue, narrow: SSAValue) -> bool:
    return wide is not narrow and isinstance(wide.owner, arith.ExtUIOp)
