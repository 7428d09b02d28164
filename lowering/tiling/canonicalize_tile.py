"""Identities of tile ops that leave fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects.layouts import LayoutAttr
from stepwell.dialects.tile import (
    AccessOp,
    BroadcastOp,
    ConvertLayoutOp,
    DimOp,
    ExtractOp,
    FullOp,
    ReshapeOp,
    SharedTransposeOp,
    TransposeOp,
    tile_of,
    view_of,
)
from stepwell.lowering.rewriting import Rewriter, apply_patterns, pattern

_OpT = TypeVar("_OpT", bound=Operation)


def _made_by(value: SSAValue, kind: type[_OpT]) -> _OpT | None:
    return value.owner if isinstance(value.owner, kind) else None


@pattern(DimOp)
def dim_of_number(op: DimOp, rewriter: Rewriter) -> None:
    """`tile.dim "64"` -> `arith.constant 64`"""
    if isinstance(op.dim, int):
        rewriter.replace_with(arith.ConstantOp(IntegerAttr(op.dim, IndexType())))


@pattern(AccessOp)
def compose_accesses(op: AccessOp, rewriter: Rewriter) -> str | None:
    """
    %b = tile.access %a map<f>
    %c = tile.access %b map<g>  ->  %c = tile.access %a map<f(g)>
    """
    inner = _made_by(op.source, AccessOp)
    if inner is None:
        return None
    shifted = inner.access.shift_operands(lambda operand: operand + len(op.indices))
    composed = shifted.compose(op.access)
    if composed is None:
        return "the two maps fill with different values"
    rewriter.absorb(inner)
    indices = [*op.indices, *inner.indices]
    sizes = view_of(op.result).dims
    rewriter.replace_with(AccessOp(inner.source, composed, sizes, indices))
    return None


@pattern(AccessOp)
def access_of_the_same_view(op: AccessOp, rewriter: Rewriter) -> None:
    """`tile.access %a map<(i, j) -> [i, j]>` of the same sizes -> `%a`"""
    if op.access.is_identity and op.source.type == op.result.type:
        rewriter.replace_with(op.source)


@pattern(TransposeOp)
def compose_transposes(op: TransposeOp, rewriter: Rewriter) -> None:
    """
    %b = tile.transpose %a [1, 2, 0]
    %c = tile.transpose %b [1, 2, 0]  ->  %c = tile.transpose %a [2, 0, 1]
    """
    perm = list(op.perm.get_values())
    if perm == sorted(perm):
        rewriter.replace_with(op.input)
    elif (inner := _made_by(op.input, TransposeOp)) is not None:
        rewriter.absorb(inner)
        before = inner.perm.get_values()
        rewriter.replace_with(TransposeOp(inner.input, [before[p] for p in perm]))


@pattern(SharedTransposeOp)
def cancel_shared_transposes(op: SharedTransposeOp, rewriter: Rewriter) -> None:
    """`tile.shared_transpose` of a `tile.shared_transpose` -> the source"""
    if (inner := _made_by(op.source, SharedTransposeOp)) is not None:
        rewriter.replace_with(inner.source)


@pattern(ReshapeOp)
def compose_reshapes(op: ReshapeOp, rewriter: Rewriter) -> None:
    """
    %b = tile.reshape %a : 4x16
    %c = tile.reshape %b : 8x8  ->  %c = tile.reshape %a : 8x8
    """
    if op.input.type == op.result.type:
        rewriter.replace_with(op.input)
    elif (inner := _made_by(op.input, ReshapeOp)) is not None:
        rewriter.absorb(inner)
        rewriter.replace_with(ReshapeOp(inner.input, tile_of(op.result).extents))


@pattern(BroadcastOp)
def compose_broadcasts(op: BroadcastOp, rewriter: Rewriter) -> None:
    """
    %b = tile.broadcast %a : 4x1 to 4x8
    %c = tile.broadcast %b : 4x8 to 4x8  ->  %b
    """
    result = tile_of(op.result)
    if op.input.type == result:
        rewriter.replace_with(op.input)
    elif (full := _made_by(op.input, FullOp)) is not None:
        rewriter.replace_with(FullOp(full.value, result))
    elif (inner := _made_by(op.input, BroadcastOp)) is not None:
        rewriter.absorb(inner)
        rewriter.replace_with(BroadcastOp(inner.input, result))


@pattern(ExtractOp)
def extract_all(op: ExtractOp, rewriter: Rewriter) -> None:
    """`tile.extract %a [0, 0]` of the whole of `%a` -> `%a`"""
    if op.input.type == op.result.type:
        rewriter.replace_with(op.input)


@pattern(ConvertLayoutOp)
def compose_conversions(op: ConvertLayoutOp, rewriter: Rewriter) -> None:
    """
    %b = tile.convert_layout %a : #x to #y
    %c = tile.convert_layout %b : #y to #z  ->  %c = tile.convert_layout %a : #x to #z
    """
    if op.input.type == op.result.type:
        rewriter.replace_with(op.input)
    elif (inner := _made_by(op.input, ConvertLayoutOp)) is not None:
        rewriter.absorb(inner)
        layout = tile_of(op.result).layout
        assert isinstance(layout, LayoutAttr)
        rewriter.replace_with(ConvertLayoutOp(inner.input, layout))


PATTERNS = (
    dim_of_number,
    compose_accesses,
    access_of_the_same_view,
    compose_transposes,
    cancel_shared_transposes,
    compose_reshapes,
    compose_broadcasts,
    extract_all,
    compose_conversions,
)


@dataclass(frozen=True)
class CanonicalizeTilePass(ModulePass):
    """Compose views, transposes, reshapes and conversions of tiles; drop idle ones.

    Input and output: `tile`, either half.
    """

    name = "canonicalize-tile"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Apply all patterns to a fixed point."""
        apply_patterns(op, PATTERNS, ctx)
