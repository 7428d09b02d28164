"""Say which thread holds which element of every tile of a GPU kernel.

Input invariant: `tile.func`s of the upper half. Output: the same programs in the lower
half: every tile has a layout, `tile.convert_layout` stands where two layouts meet, and
the function has its launch. Functions that have a launch already are left alone, and so
is everything on a CPU.

```mlir
%a = tile.load %x[%i, 0] over [0, 1] : !tile.tile<4x128xf32>
%s = tile.reduce add %a dim 1 : !tile.tile<4x1xf32>
// becomes
%a = tile.load %x[%i, 0] over [0, 1] : !tile.tile<4x128xf32, #rows>
%s = tile.reduce add %a dim 1 : !tile.tile<4x1xf32, #slice_of_rows>
```

Layouts are found in `gpu/natural.py`; here they are written down, from the top to the
bottom of the function, and operands are brought into the layouts that ops need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import Float32Type, IndexType, ModuleOp, i1
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import tile
from stepwell.dialects.layouts import LayoutAttr, TileLayout
from stepwell.dialects.target import Target
from stepwell.dialects.tile import Launch, LaunchAttr, TileType, tile_of
from stepwell.dialects.tile.assembly import scalar_attr
from stepwell.dialects.tile.tensor_core import is_multiplied
from stepwell.errors import CompileError
from stepwell.lowering.graph.convert_precision import has_exact_products

from .gpu.block import BLOCKS_OPTION, WARPS, WARPS_OPTION
from .gpu.natural import NaturalLayouts
from .gpu.plain_dot import plain_dot


class Assignment:
    """Writes layouts into one function."""

    def __init__(self, func: tile.FuncOp, *, splits: bool = True) -> None:
        self.func = func
        self.splits = splits
        self.warps = func.option(WARPS_OPTION, WARPS)
        self.natural = NaturalLayouts(func, self.warps)
        self._moved: dict[tuple[SSAValue, TileLayout], SSAValue] = {}

    def run(self) -> None:
        """Give every tile a layout, and the function its launch."""
        self.block(self.func.body.block)
        _erase_unused(self.func)
        launch = Launch(self.warps, blocks_per_sm=self.func.option(BLOCKS_OPTION, 1))
        self.func.attributes[tile.LAUNCH_ATTRIBUTE] = LaunchAttr(launch)

    def block(self, block: Block) -> None:
        """Assign the ops of a block in order."""
        for op in list(block.ops):
            assign = _RULES.get(type(op))
            if assign is not None:
                assign(self, op)
            elif any(isinstance(value.type, TileType) for value in op.results):
                raise CompileError(
                    f"assign-layouts has no rule for {op.name}",
                    where=str(op.location),
                )

    def set(self, value: SSAValue, layout: TileLayout) -> None:
        """Give a value its layout."""
        found, kind = self.natural.of(value), _laid_out(value, layout)
        new = Rewriter.replace_value_with_new_type(value, kind)
        self.natural.note(new, found)

    def need(self, op: Operation, index: int, layout: TileLayout) -> None:
        """Let operand `index` of `op` be in `layout`."""
        op.operands[index] = self.tile_in(op.operands[index], layout)

    def tile_in(
        self, value: SSAValue, layout: TileLayout, *, reload: bool = True
    ) -> SSAValue:
        """`value` in a layout: itself, made again, loaded so, or converted.

        Without `reload`, loads stay as they are.
        """
        if tile_of(value).layout == LayoutAttr(layout):
            return value
        key = (value, layout)
        if key not in self._moved:
            self._moved[key] = self._move(value, layout, reload)
        return self._moved[key]

    def _move(self, value: SSAValue, layout: TileLayout, reload: bool) -> SSAValue:
        owner = value.owner
        if isinstance(owner, tile.FullOp | tile.IotaOp) or (
            isinstance(owner, tile.LoadOp)
            and reload
            and self.natural.is_coalesced(owner, layout)
            and value.has_one_use()
        ):
            copy = owner.clone()
            self.set(copy.results[0], layout)
            Rewriter.insert_op(copy, InsertPoint.after(owner))
            return copy.results[0]
        convert = tile.ConvertLayoutOp(value, layout)
        if isinstance(value, BlockArgument):
            point = InsertPoint.at_start(value.owner)
        else:
            assert isinstance(owner, Operation)
            point = InsertPoint.after(owner)
            convert.location = owner.location
        Rewriter.insert_op(convert, point)
        return convert.result


def _laid_out(value: SSAValue, layout: TileLayout) -> TileType:
    kind = tile_of(value)
    return TileType(kind.extents, kind.element_type, LayoutAttr(layout))


def _flexible(a: Assignment, op: Operation) -> None:
    """What costs nothing is made where and as it is needed."""
    a.set(op.results[0], a.natural.frame(tile_of(op.results[0]).extents))


def _load(a: Assignment, op: Operation) -> None:
    a.set(op.results[0], a.natural.layout(op.results[0]))


def _store(a: Assignment, op: Operation) -> None:
    assert isinstance(op, tile.StoreOp)
    layout = tile_of(op.tile).layout
    assert isinstance(layout, LayoutAttr)
    if not a.natural.is_coalesced(op, layout.data):
        a.need(op, 0, a.natural.coalesced(op))


def _map(a: Assignment, op: Operation) -> None:
    assert isinstance(op, tile.MapOp)
    layout = a.natural.layout(op.outputs[0])
    extents = tile_of(op.outputs[0]).extents
    for index, value in enumerate(op.inputs):
        part = layout
        for dim, (got, extent) in enumerate(
            zip(tile_of(value).extents, extents, strict=True)
        ):
            if got == 1 and extent != 1:
                part = part.slice(dim)
        a.need(op, index, part)
    for value in op.outputs:
        a.set(value, layout)


def _dot(a: Assignment, op: Operation) -> None:
    """`tile.dot` on any tiles -> `tile.mma` on fragments."""
    assert isinstance(op, tile.DotOp)
    if not is_multiplied(tile_of(op.lhs).element_type, tile_of(op.acc).element_type):
        sums = a.natural.layout(op.result)
        a.need(op, 2, sums)
        result = plain_dot(op, sums)
        a.natural.note(result, a.natural.of(op.result))
        Rewriter.replace_op(op, [], [result])
        return
    found = a.natural.fragments(op)
    split = a.splits and isinstance(tile_of(op.lhs).element_type, Float32Type)
    acc = a.tile_in(op.acc, found.sums)
    mma = tile.MmaOp(
        # Through shared memory: what a warp shares with others is fetched once.
        a.tile_in(op.lhs, found.left, reload=False),
        a.tile_in(op.rhs, found.right, reload=False),
        _zeros(op, acc) if split else acc,
        split=split,
        lhs_unsigned=op.lhs_unsigned is not None,
        rhs_unsigned=op.rhs_unsigned is not None,
    )
    mma.location = op.location
    a.natural.note(mma.result, a.natural.of(op.result))
    if not split:
        Rewriter.replace_op(op, mma)
        return
    Rewriter.insert_op(mma, InsertPoint.before(op))
    result = _rounded_sum(op, acc, mma.result)
    a.natural.note(result, a.natural.of(op.result))
    Rewriter.replace_op(op, [], [result])


def _zeros(op: Operation, acc: SSAValue) -> SSAValue:
    zeros = tile.FullOp(0.0, tile_of(acc))
    zeros.location = op.location
    Rewriter.insert_op(zeros, InsertPoint.before(op))
    return zeros.result


def _rounded_sum(op: Operation, acc: SSAValue, part: SSAValue) -> SSAValue:
    """`acc + part`, rounded to nearest.

    Tensor cores cut off what does not fit a sum. Over a long inner dim that adds up, so
    where f32 is asked for they only sum a block of it.
    """
    block = Block(arg_types=[tile_of(v).element_type for v in (acc, part)])
    old, new = block.args
    total = arith.AddfOp(old, new)
    block.add_ops([total, tile.YieldOp(total.result)])
    sums = tile.MapOp([acc, part], tile_of(acc), Region(block))
    sums.location = op.location
    Rewriter.insert_op(sums, InsertPoint.before(op))
    return sums.outputs[0]


def _reduce(a: Assignment, op: Operation) -> None:
    assert isinstance(op, tile.ReduceOp | tile.ArgReduceOp)
    layout = a.natural.layout(op.input)
    a.need(op, 0, layout)
    for value in op.results:
        a.set(value, layout.slice(op.dim.value.data))


def _same(a: Assignment, op: Operation) -> None:
    """Scans and sorts: operands and results are all in one layout."""
    layout = a.natural.layout(op.operands[0])
    for index in range(len(op.operands)):
        a.need(op, index, layout)
    for value in op.results:
        a.set(value, layout)


def _transpose(a: Assignment, op: Operation) -> None:
    assert isinstance(op, tile.TransposeOp)
    layout = a.natural.layout(op.input)
    a.need(op, 0, layout)
    a.set(op.result, layout.permute(op.perm.get_values()))


def _broadcast(a: Assignment, op: Operation) -> None:
    assert isinstance(op, tile.BroadcastOp)
    layout = a.natural.layout(op.result)
    part = layout
    for dim, extent in enumerate(tile_of(op.input).extents):
        if extent == 1 and tile_of(op.result).extents[dim] != 1:
            part = part.slice(dim)
    a.need(op, 0, part)
    a.set(op.result, layout)


def _for(a: Assignment, op: Operation) -> None:
    assert isinstance(op, scf.ForOp)
    arguments = op.body.block.args[1:]
    layouts = [
        a.natural.layout(v) if isinstance(v.type, TileType) else None for v in arguments
    ]
    for position, (argument, layout) in enumerate(zip(arguments, layouts, strict=True)):
        if layout is not None:
            a.need(op, 3 + position, layout)
            a.set(argument, layout)
    a.block(op.body.block)
    _yield(a, op.body.block, layouts)
    for value, layout in zip(op.results, layouts, strict=True):
        if layout is not None:
            a.set(value, layout)


def _if(a: Assignment, op: Operation) -> None:
    layouts = [
        a.natural.layout(v) if isinstance(v.type, TileType) else None
        for v in op.results
    ]
    for region in op.regions:
        for block in region.blocks:
            a.block(block)
            _yield(a, block, layouts)
    for value, layout in zip(op.results, layouts, strict=True):
        if layout is not None:
            a.set(value, layout)


def _yield(a: Assignment, block: Block, layouts: Sequence[TileLayout | None]) -> None:
    last = block.last_op
    assert last is not None
    for index, layout in enumerate(layouts):
        if layout is not None:
            a.need(last, index, layout)


def _extract(a: Assignment, op: Operation) -> None:
    """One index along a dim may be held by one thread alone: sum over the others.

    %b = tile.extract %a [0, 63] : 8x1   ->   tile.reduce add of %a where j is 63
    """
    assert isinstance(op, tile.ExtractOp)
    part = one_along(op)
    layout = a.natural.layout(op.input)
    source = a.tile_in(op.input, layout)
    picked = source
    for dim in part:
        picked = _pick(a, op, picked, dim, op.offsets.get_values()[dim])
    Rewriter.replace_op(op, [], [picked])


def one_along(op: tile.ExtractOp) -> list[int]:
    """The dims along which an extract takes one of several elements.

    Raises:
        CompileError: it takes more than one, but not all.
    """
    source, result = tile_of(op.input).extents, op.result.type
    wanted = result.extents if isinstance(result, TileType) else (1,) * len(source)
    if any(got not in (1, n) for got, n in zip(wanted, source, strict=True)):
        raise CompileError(
            f"assign-layouts cannot take {list(wanted)} out of {list(source)}",
            where=str(op.location),
        )
    return [d for d, n in enumerate(source) if n != wanted[d]]


def _pick(
    a: Assignment, op: Operation, source: SSAValue, dim: int, at: int
) -> SSAValue:
    kind = tile_of(source)
    assert isinstance(kind.layout, LayoutAttr)
    layout = kind.layout.data
    shape = [n if d == dim else 1 for d, n in enumerate(kind.extents)]
    along = layout
    for d in range(len(shape)):
        if d != dim:
            along = along.slice(d)
    positions = tile.IotaOp(dim, TileType(shape, IndexType(), LayoutAttr(along)))
    chosen = tile.MapOp([positions.result, source], kind, Region(_pick_body(kind, at)))
    fold = tile.CombineKind.OR if kind.element_type == i1 else tile.CombineKind.ADD
    summed = tile.ReduceOp(fold, chosen.outputs[0], dim)
    for new in (positions, chosen, summed):
        new.location = op.location
        Rewriter.insert_op(new, InsertPoint.before(op))
    return summed.result


def _pick_body(kind: TileType, at: int) -> Block:
    block = Block(arg_types=[IndexType(), kind.element_type])
    place, value = block.args
    wanted = arith.ConstantOp.from_int_and_width(at, IndexType())
    zero = arith.ConstantOp(scalar_attr(0, kind.element_type))
    here = arith.CmpiOp(place, wanted.result, "eq")
    chosen = arith.SelectOp(here.result, value, zero.result)
    block.add_ops([wanted, zero, here, chosen, tile.YieldOp(chosen.result)])
    return block


_RULES: dict[type[Operation], Callable[[Assignment, Operation], None]] = {
    tile.FullOp: _flexible,
    tile.IotaOp: _flexible,
    tile.LoadOp: _load,
    tile.StoreOp: _store,
    tile.MapOp: _map,
    tile.DotOp: _dot,
    tile.ReduceOp: _reduce,
    tile.ArgReduceOp: _reduce,
    tile.ScanOp: _same,
    tile.SortOp: _same,
    tile.TransposeOp: _transpose,
    tile.BroadcastOp: _broadcast,
    tile.ExtractOp: _extract,
    scf.ForOp: _for,
    scf.IfOp: _if,
}
"""How each op gets its layouts; a rule runs after those of all ops above."""


def _erase_unused(func: tile.FuncOp) -> None:
    """Erase what no one needs in the layout it was made in."""
    kinds = (tile.FullOp, tile.IotaOp, tile.LoadOp)
    for op in list(func.walk()):
        if isinstance(op, kinds) and not any(r.first_use for r in op.results):
            op.detach()
            op.erase()


def is_upper(func: tile.FuncOp) -> bool:
    """Whether a function is still without its launch."""
    return not isinstance(func.attributes.get(tile.LAUNCH_ATTRIBUTE), LaunchAttr)


@dataclass(frozen=True)
class AssignLayoutsPass(ModulePass):
    """Assign the layouts of all kernels of a module for a GPU."""

    name = "assign-layouts"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite the functions of the upper half."""
        if Target.of(op).is_cpu:
            return
        splits = has_exact_products(op)
        for func in op.ops:
            if isinstance(func, tile.FuncOp) and is_upper(func):
                Assignment(func, splits=splits).run()
