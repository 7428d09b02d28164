"""Products of elements that no tensor core multiplies: all pairs, then a sum.

```mlir
%d = tile.dot %a, %b, %acc : MxK, KxN
// becomes
%p = tile.map (%x = reshape %a to Mx K x1, %y = reshape %b to 1xKxN) { mul }
%s = tile.reduce add %p dim 1
%d = tile.map (%t = reshape %s to MxN, %u = %acc) { add }
```
"""

from __future__ import annotations

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import tile
from stepwell.dialects.layouts import LayoutAttr, TileLayout
from stepwell.dialects.tile import TileType, tile_of

from .blocked import blocked_tile


def plain_dot(op: tile.DotOp, sums: TileLayout) -> SSAValue:
    """Insert the ops before `op`; the value that stands for its result.

    The operands have layouts already, the accumulator that of `sums`.
    """
    rows, columns = tile_of(op.result).extents
    depth = tile_of(op.lhs).extents[1]
    total = tile_of(op.acc).element_type
    layout = blocked_tile((rows, depth, columns), (2, 0, 1), 1, sums.warps)
    builder = Builder(InsertPoint.before(op))

    def add(new: Operation) -> SSAValue:
        new.location = op.location
        return builder.insert(new).results[0]

    left = LayoutAttr(layout.slice(2))
    right = LayoutAttr(layout.slice(0))
    lhs = add(tile.ReshapeOp(op.lhs, (rows, depth, 1), left))
    rhs = add(tile.ReshapeOp(op.rhs, (1, depth, columns), right))
    pairs = TileType((rows, depth, columns), total, LayoutAttr(layout))
    body = _multiply(op, total)
    product = add(tile.MapOp([lhs, rhs], pairs, Region(body)))
    summed = add(tile.ReduceOp(tile.CombineKind.ADD, product, 1))
    flat = add(tile.ReshapeOp(summed, (rows, columns), LayoutAttr(sums)))
    return add(tile.MapOp([flat, op.acc], tile_of(op.acc), Region(_add(total))))


def _multiply(op: tile.DotOp, total: Attribute) -> Block:
    block = Block(arg_types=[tile_of(v).element_type for v in (op.lhs, op.rhs)])
    flags = (op.lhs_unsigned, op.rhs_unsigned)
    left, right = (
        _widened(block, value, total, unsigned=flag is not None)
        for value, flag in zip(block.args, flags, strict=True)
    )
    kind = arith.MulfOp if isinstance(total, AnyFloat) else arith.MuliOp
    product = kind(left, right)
    block.add_ops([product, tile.YieldOp(product.result)])
    return block


def _widened(
    block: Block, value: SSAValue, total: Attribute, *, unsigned: bool
) -> SSAValue:
    if value.type == total:
        return value
    if isinstance(total, AnyFloat):
        made: Operation = arith.ExtFOp(value, total)
    else:
        kind = arith.ExtUIOp if unsigned else arith.ExtSIOp
        made = kind(value, total)  # pyright: ignore[reportArgumentType]
    block.add_op(made)
    return made.results[0]


def _add(total: Attribute) -> Block:
    block = Block(arg_types=[total, total])
    kind = arith.AddfOp if isinstance(total, AnyFloat) else arith.AddiOp
    first, second = block.args
    result = kind(first, second)
    block.add_ops([result, tile.YieldOp(result.result)])
    return block
