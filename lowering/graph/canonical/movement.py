"""Data movement that does nothing, or composes: reshape, transpose, broadcast."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.nn.binary import BinaryOp
from stepwell.dialects.nn.unary import UnaryOp
from stepwell.dialects.shapes import (
    dims_of,
    element_of,
    tensor_type,
)
from stepwell.lowering.graph.matching import clone_with, has_one_user, producer
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern

BROADCASTING = (
    nn.AddOp,
    nn.SubOp,
    nn.MulOp,
    nn.DivOp,
    nn.PowOp,
    nn.MaximumOp,
    nn.MinimumOp,
    nn.AndOp,
    nn.OrOp,
    nn.XorOp,
    nn.CompareOp,
    nn.ModOp,
    nn.SelectOp,
)

ELEMENTWISE = (
    *(kind for kind in nn.Nn.operations if issubclass(kind, UnaryOp | BinaryOp)),
    nn.CastOp,
    nn.SelectOp,
)


@pattern(nn.ReshapeOp, nn.BroadcastToOp)
def drop_same_shape(op: nn.ReshapeOp | nn.BroadcastToOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.reshape %x : tensor<2x3xf32> -> tensor<2x3xf32>   ->   %x
    ```
    """
    if op.operand.type == op.result.type:
        rewriter.replace_with(op.operand)
    return None


@pattern(nn.ReshapeOp)
def merge_reshapes(op: nn.ReshapeOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.reshape(nn.reshape %x)   ->   nn.reshape %x
    ```
    """
    if (inner := producer(op.operand, nn.ReshapeOp)) is not None:
        rewriter.absorb(inner)
        rewriter.replace_with(nn.ReshapeOp(inner.operand, dims_of(op.result)))
    return None


@pattern(nn.ReshapeOp)
def split_rows_before(op: nn.ReshapeOp, rewriter: Rewriter) -> Outcome:
    """Rows that are split behind an op on rows may be split before it.

    ```mlir
    nn.reshape (nn.matmul %x, %w) : tensor<6x8xf32> -> tensor<2x3x8xf32>
        ->   nn.matmul (nn.reshape %x : ... -> tensor<2x3x4xf32>), %w
    ```
    The reshape meets the one that merged the rows; what comes before and behind, as an
    activation or a residual, then joins the product's kernel.
    """
    before, after = dims_of(op.operand), dims_of(op.result)
    rows, width = after[:-1], after[-1:]
    if len(before) != 2 or len(after) < 3 or before[-1:] != width:
        return None
    inner = producer(op.operand, nn.MatmulOp, *ELEMENTWISE)
    if inner is None or not has_one_user(op.operand):
        return None
    if isinstance(inner, nn.MatmulOp):
        split = [len(dims_of(v)) == 2 for v in inner.operands]
        if split != [True, True]:
            return None
        split[1] = False
    else:
        split = [dims_of(v) == before for v in inner.operands]
        if not any(split) or any(
            not one and len(dims_of(v)) > 1 and dims_of(v)[0] != 1
            for one, v in zip(split, inner.operands, strict=True)
        ):
            return None
    rewriter.absorb(inner)
    operands = [
        rewriter.emit(nn.ReshapeOp(v, (*rows, *dims_of(v)[-1:]))) if one else v
        for one, v in zip(split, inner.operands, strict=True)
    ]
    rewriter.replace_with(
        type(inner).create(
            operands=operands,
            properties=inner.properties,
            attributes=inner.attributes,
            result_types=[op.result.type],
        )
    )
    return None


@pattern(nn.BroadcastToOp)
def merge_broadcasts(op: nn.BroadcastToOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.broadcast_to(nn.broadcast_to %x)   ->   nn.broadcast_to %x
    ```
    """
    if (inner := producer(op.operand, nn.BroadcastToOp)) is not None:
        rewriter.absorb(inner)
        rewriter.replace_with(nn.BroadcastToOp(inner.operand, dims_of(op.result)))
    return None


@pattern(nn.BroadcastToOp)
def broadcast_to_reshape(op: nn.BroadcastToOp, rewriter: Rewriter) -> Outcome:
    """A broadcast that only adds dims of 1 is a reshape.

    ```mlir
    nn.broadcast_to %x : tensor<3xf32> -> tensor<1x3xf32>   ->   nn.reshape %x
    ```
    """
    before, after = dims_of(op.operand), dims_of(op.result)
    if (*[1] * (len(after) - len(before)), *before) == after:
        rewriter.replace_with(nn.ReshapeOp(op.operand, after))
    return None


@pattern(*BROADCASTING)
def drop_broadcast_operand(op: BinaryOp | nn.SelectOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.add %x, (nn.broadcast_to %y)   ->   nn.add %x, %y
    ```
    The other operands must span the result by themselves.
    """
    for index, operand in enumerate(op.operands):
        broadcast = producer(operand, nn.BroadcastToOp)
        if broadcast is None:
            continue
        operands = list(op.operands)
        operands[index] = broadcast.operand
        shape = nn.broadcast(*(dims_of(value) for value in operands))
        if shape != dims_of(op.result):
            continue
        rewriter.absorb(broadcast)
        rewriter.replace_with(clone_with(op, operands))
        return None
    return None


@pattern(*ELEMENTWISE)
def broadcast_after(op: Operation, rewriter: Rewriter) -> Outcome:
    """What is computed alike for all copies is computed once.

    ```mlir
    nn.select (nn.broadcast_to %c), 0, -1   ->   nn.broadcast_to (nn.select %c, 0, -1)
    ```
    """
    wide = [value for value in op.operands if not is_single(value)]
    result = op.results[0]
    if len(wide) != 1 or (repeat := producer(wide[0], nn.BroadcastToOp)) is None:
        return None
    if dims_of(wide[0]) != dims_of(result) or not has_one_user(wide[0]):
        return None
    rewriter.absorb(repeat)
    dims = dims_of(repeat.operand)
    if any(
        len(dims_of(value)) > len(dims) for value in op.operands if is_single(value)
    ):
        return None
    operands = [repeat.operand if v is wide[0] else v for v in op.operands]
    narrow = type(op).create(
        operands=operands,
        properties=op.properties,
        attributes=op.attributes,
        result_types=[tensor_type(dims, element_of(result))],
    )
    rewriter.replace_with(nn.BroadcastToOp(rewriter.emit(narrow), dims_of(result)))
    return None


def is_single(value: SSAValue) -> bool:
    """Whether `value` has one element."""
    return all(dim == 1 for dim in dims_of(value))


@pattern(nn.AttentionOp)
def drop_broadcast_mask(op: nn.AttentionOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.attention %q, %k, %v, (nn.broadcast_to %m)   ->   nn.attention %q, %k, %v, %m
    ```
    """
    if op.mask is None or (repeat := producer(op.mask, nn.BroadcastToOp)) is None:
        return None
    rewriter.absorb(repeat)
    operands = [repeat.operand if v is op.mask else v for v in op.operands]
    rewriter.replace_with(clone_with(op, operands))
    return None


@pattern(nn.TransposeOp)
def drop_identity_transpose(op: nn.TransposeOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.transpose %x {perm = [0, 1]}   ->   %x
    ```
    """
    perm = op.value("perm")
    if list(perm) == sorted(perm):
        rewriter.replace_with(op.operand)
    return None


@pattern(nn.TransposeOp)
def merge_transposes(op: nn.TransposeOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.transpose(nn.transpose %x {p}) {q}   ->   nn.transpose %x {p[q]}
    ```
    """
    if (inner := producer(op.operand, nn.TransposeOp)) is None:
        return None
    first = inner.value("perm")
    perm = [first[axis] for axis in op.value("perm")]
    rewriter.absorb(inner)
    if perm == sorted(perm):
        rewriter.replace_with(inner.operand)
    else:
        rewriter.replace_with(nn.TransposeOp(inner.operand, perm))
    return None


@pattern(nn.TransposeOp)
def transpose_to_reshape(op: nn.TransposeOp, rewriter: Rewriter) -> Outcome:
    """A transpose that only moves dims of 1 moves no element.

    ```mlir
    nn.transpose %x {[0, 3, 1, 2]} : tensor<2x1x1x8xf32>   ->   nn.reshape %x
    ```
    """
    dims, perm = dims_of(op.operand), op.value("perm")
    moved = [axis for axis in perm if dims[axis] != 1]
    if moved == sorted(moved) and list(perm) != sorted(perm):
        rewriter.replace_with(nn.ReshapeOp(op.operand, dims_of(op.result)))
    return None


@pattern(nn.TransposeOp)
def transpose_before_unit_reshape(op: nn.TransposeOp, rewriter: Rewriter) -> Outcome:
    """A reshape that only inserts or drops dims of 1 may follow the transpose instead.

    ```mlir
    %r = nn.reshape (nn.transpose %x {p}) : tensor<2x8xf32> -> tensor<2x8x1xf32>
    nn.transpose %r {q}                 ->   nn.reshape (nn.transpose %x {..})
    ```
    """
    reshape = producer(op.operand, nn.ReshapeOp)
    inner = producer(reshape.operand, nn.TransposeOp) if reshape is not None else None
    if reshape is None or inner is None:
        return None
    outer, middle = dims_of(reshape.result), dims_of(reshape.operand)
    wide = [axis for axis, dim in enumerate(outer) if dim != 1]
    narrow = [axis for axis, dim in enumerate(middle) if dim != 1]
    if [outer[axis] for axis in wide] != [middle[axis] for axis in narrow]:
        return None
    source_of = dict(zip(wide, narrow, strict=True))
    first = inner.value("perm")
    order = [first[source_of[axis]] for axis in op.value("perm") if axis in source_of]
    units = [axis for axis in range(len(first)) if axis not in order]
    rewriter.absorb(reshape, inner)
    moved = rewriter.emit(nn.TransposeOp(inner.operand, [*units, *order]))
    rewriter.replace_with(nn.ReshapeOp(moved, dims_of(op.result)))
    return None


PATTERNS = (
    drop_same_shape,
    merge_reshapes,
    split_rows_before,
    merge_broadcasts,
    broadcast_to_reshape,
    drop_broadcast_operand,
    broadcast_after,
    drop_broadcast_mask,
    drop_identity_transpose,
    merge_transposes,
    transpose_to_reshape,
    transpose_before_unit_reshape,
)
