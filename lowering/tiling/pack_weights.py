"""Store constant right factors of contractions the way their tiles read them.

A tile of 64 columns reads 64 neighbours of each row of the weights. Packed, these rows
lie one behind the other: `[columns / 64, inner dims.., 64]`, zero in the last panel
where there is no column. The packing is `nn` ops on the constant, outside the kernel,
for `fold-constants` to compute.

Input invariant: contraction kernels have schedules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects.access import AccessAttr, AccessMap
from stepwell.dialects.fusion import GenericOp, KernelOp
from stepwell.dialects.nn.constant import ConstantOp
from stepwell.dialects.nn.shape import PadOp, ReshapeOp, TransposeOp
from stepwell.dialects.quasi_affine import coefficient
from stepwell.dialects.schedules import Anchor, ScheduleAttr
from stepwell.dialects.shapes import Dim, DimsAttr, dims_of, symbol
from stepwell.lowering.rewriting import stamp

from .contraction import without_extension
from .product import Product, product_of


@dataclass(frozen=True)
class Packing:
    """How one constant is packed.

    Attributes:
        position: which input of the contraction it is.
        order: the dims of the packed tensor but the last, outermost first; the tensor's
            dim that each walks along.
        column: the dim that is cut into panels.
        width: columns of a panel.
    """

    position: int
    order: tuple[str, ...]
    column: str
    width: int


def packing_of(kernel: KernelOp, product: Product) -> Packing | None:
    """How to pack the right factor; None if it is no constant, or fits as it is."""
    value = without_extension(product.rhs.value)
    if not isinstance(value, BlockArgument) or not isinstance(
        kernel.schedule, ScheduleAttr
    ):
        return None
    source = product.op.inputs[value.index]
    if not isinstance(source, BlockArgument) or len(list(source.uses)) != 1:
        return None
    if not is_constant(kernel.input_of(source)):
        return None
    names = _dims_of_axes(product.op, value.index)
    if names is None:
        return None
    column = next((d for d, _ in kernel.schedule.data.tile if d in product.n), None)
    if column is None or column not in names:
        return None
    width = kernel.schedule.data.extent(column)
    inner = [d for d in product.k if d in names]
    outer = [d for d in names if d not in inner and d != column]
    size = product.op.extents[column]
    if [*outer, *inner, column] == names and size == width:
        return None
    return Packing(value.index, (*outer, column, *inner), column, width)


def is_constant(value: SSAValue) -> bool:
    """Whether a kernel's operand is a constant, or one that was moved about."""
    owner = value.owner
    while isinstance(owner, ReshapeOp | TransposeOp):
        owner = owner.operand.owner
    return isinstance(owner, ConstantOp)


def _dims_of_axes(op: GenericOp, position: int) -> list[str] | None:
    """The dims that an input's axes walk along, row-major; None unless it is so simple.

    An axis may walk along several dims, as `c * 64 + d`. Those of a single index do not
    count.
    """
    access = op.in_maps[position].simplify(op.extents)
    if access.guards or access.indirects:
        return None
    units: dict[str, Dim] = {d: 0 for d, size in op.extents.items() if size == 1}
    results = access.substitute(units, access.dims).results
    names: list[str] = []
    for expr, size in zip(results, dims_of(op.inputs[position]), strict=True):
        digits = _digits(expr, size, op.extents)
        if digits is None:
            return None
        names += digits
    return names if len(set(names)) == len(names) else None


def _digits(expr: Dim, size: Dim, extents: Mapping[str, Dim]) -> list[str] | None:
    """The dims of `a * 12 + b * 4 + c` if they walk through all of `size`."""
    factors: list[tuple[int, str]] = []
    rest = expr
    for name in extents:
        split = coefficient(rest, name)
        if split is None or not isinstance(factor := split[0], int):
            return None
        rest = split[1]
        if factor:
            factors.append((factor, name))
    span: Dim = 1
    for factor, name in sorted(factors):
        if factor != span:
            return None
        span = span * extents[name]
    whole = rest == 0 and span == size
    return [name for _, name in sorted(factors, reverse=True)] if whole else None


def pack(
    weights: SSAValue, dims: Mapping[str, int], packing: Packing
) -> list[Operation]:
    """The ops that bring `weights`, with axes `dims`, into packed form."""
    names = list(dims)
    flat = [d for d in packing.order if d != packing.column]
    column, width = packing.column, packing.width
    missing = -dims[column] % width
    panels = (dims[column] + missing) // width
    at, last = packing.order.index(column), len(flat)
    zeros = [0] * len(flat)
    ops = _Chain(weights)
    ops.reshape(list(dims.values()))
    ops.transpose([names.index(d) for d in (*flat, column)])
    ops.pad([*zeros, 0], [*zeros, missing])
    ops.reshape([*(dims[d] for d in flat), panels, width])
    ops.transpose([*range(at), last, *range(at, last), last + 1])
    return ops.made


class _Chain:
    """Ops on one value after the other, without those that change nothing."""

    def __init__(self, value: SSAValue) -> None:
        self.value = value
        self.made: list[Operation] = []

    def reshape(self, dims: Sequence[Dim]) -> None:
        if list(dims_of(self.value)) != list(dims):
            self._add(ReshapeOp(self.value, dims))

    def transpose(self, perm: Sequence[int]) -> None:
        if list(perm) != sorted(perm):
            self._add(TransposeOp(self.value, perm))

    def pad(self, low: Sequence[Dim], high: Sequence[Dim]) -> None:
        if any((*low, *high)):
            pads = DimsAttr(low), DimsAttr(high)
            self._add(PadOp(self.value, None, low=pads[0], high=pads[1]))

    def _add(self, op: Operation) -> None:
        self.made.append(op)
        self.value = op.results[0]


def packed_access(access: AccessMap, packing: Packing) -> AccessMap:
    """How the contraction reads the packed tensor."""
    column = symbol(packing.column)
    panel = {packing.column: column // packing.width}
    results = [panel.get(d, symbol(d)) for d in packing.order]
    return AccessMap(access.dims, (*results, column % packing.width))


def pack_kernel(kernel: KernelOp) -> None:
    """Pack the constant right factor of a contraction kernel, if it has one."""
    anchor = next((op for op in kernel.block.ops if isinstance(op, GenericOp)), None)
    product = None if anchor is None else product_of(anchor)
    packing = None if product is None else packing_of(kernel, product)
    if anchor is None or packing is None:
        return
    names = _dims_of_axes(anchor, packing.position)
    source = anchor.inputs[packing.position]
    assert names is not None and isinstance(source, BlockArgument)
    extents = anchor.extents
    dims = {d: n for d in names if isinstance(n := extents[d], int)}
    ops = pack(kernel.input_of(source), dims, packing)
    for op in ops:
        stamp(op, kernel.location)
    Rewriter.insert_op(ops, InsertPoint.before(kernel))
    packed = ops[-1].results[0]
    kernel.operands[source.index] = packed
    Rewriter.replace_value_with_new_type(source, packed.type)
    maps = list(anchor.input_maps)
    access = packed_access(anchor.in_maps[packing.position], packing)
    maps[packing.position] = AccessAttr(access)
    anchor.properties["input_maps"] = ArrayAttr(maps)


@dataclass(frozen=True)
class PackWeightsPass(ModulePass):
    """Pack the weights of all contraction kernels."""

    name = "pack-weights"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite the kernels and insert the packing before them."""
        for kernel in [one for one in op.walk() if isinstance(one, KernelOp)]:
            schedule = kernel.schedule
            is_contraction = isinstance(schedule, ScheduleAttr) and (
                schedule.data.anchor is Anchor.CONTRACTION
            )
            if is_contraction:
                pack_kernel(kernel)
