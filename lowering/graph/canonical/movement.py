"""Data movement that does nothing, or composes: reshape, transpose, broadcast."""

from __future__ import annotations

from itertools import pairwise

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.nn.binary import BinaryOp
from stepwell.dialects.nn.unary import UnaryOp
from stepwell.dialects.shapes import (
    Dim,
    dims_of,
    element_of,
    is_zero_or_more,
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
    if any(len(dims_of(value)) > len(dims) for value in op.operands if is_single(value)):
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


def is_whole_slice(op: nn.SliceOp) -> bool:
    """Whether the slice is all of its operand."""
    return op.operand.type == op.result.type and all(
        step == 1 for step in op.value("steps")
    )


@pattern(nn.SliceOp)
def drop_whole_slice(op: nn.SliceOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.slice %x {starts = [0], limits = [n], steps = [1]}   ->   %x     (n: its size)
    ```
    """
    if is_whole_slice(op):
        rewriter.replace_with(op.operand)
    return None


@pattern(nn.SliceOp)
def merge_slices(op: nn.SliceOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.slice(nn.slice %x {a..b by s}) {c..d by t}   ->   nn.slice %x {a+cs..a+ds by st}
    ```
    """
    inner = producer(op.operand, nn.SliceOp)
    if inner is None:
        return None
    steps = [*inner.value("steps"), *op.value("steps")]
    if any(step < 1 for step in steps):
        return "a step is negative"
    parts = zip(
        inner.value("starts"),
        inner.value("steps"),
        op.value("starts"),
        dims_of(op.result),
        op.value("steps"),
        strict=True,
    )
    merged = [
        (start + begin * step, start + begin * step + (size - 1) * step * stride + 1)
        for start, step, begin, size, stride in parts
    ]
    if any(size == 0 for size in dims_of(op.result)):
        return "the slice is empty"
    factors = zip(inner.value("steps"), op.value("steps"), strict=True)
    strides = [left * right for left, right in factors]
    rewriter.absorb(inner)
    starts, limits = zip(*merged, strict=True)
    rewriter.replace_with(nn.SliceOp(inner.operand, starts, limits, strides))
    return None


@pattern(nn.SliceOp)
def slice_of_concat(op: nn.SliceOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.slice(nn.concat %a, %b)   ->   nn.slice %b          (the slice lies within %b)
    ```
    """
    concat = producer(op.operand, nn.ConcatOp)
    if concat is None:
        return None
    axis = concat.value("axis") % len(dims_of(op.result))
    start, limit = op.value("starts")[axis], op.value("limits")[axis]
    offset: Dim = 0
    for value in concat.inputs:
        end = offset + dims_of(value)[axis]
        if contains(offset, end, start, limit) and op.value("steps")[axis] > 0:
            starts, limits = list(op.value("starts")), list(op.value("limits"))
            starts[axis], limits[axis] = start - offset, limit - offset
            rewriter.absorb(concat)
            steps = op.value("steps")
            rewriter.replace_with(nn.SliceOp(value, starts, limits, steps))
            return None
        offset = end
    return "the slice spans several operands"


def contains(low: Dim, high: Dim, start: Dim, limit: Dim) -> bool:
    """Whether `low <= start <= limit <= high` is proved."""
    return is_zero_or_more(start - low) and is_zero_or_more(high - limit)


@pattern(nn.ConcatOp)
def drop_single_concat(op: nn.ConcatOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.concat %x             ->   %x
    nn.concat %x, %empty     ->   %x
    ```
    """
    axis = op.value("axis")
    kept = [value for value in op.inputs if dims_of(value)[axis] != 0]
    if len(kept) == 1 and kept[0].type == op.result.type:
        rewriter.replace_with(kept[0])
    elif 1 < len(kept) < len(op.inputs):
        rewriter.replace_with(nn.ConcatOp(kept, axis=axis))
    return None


@pattern(nn.ConcatOp)
def flatten_concats(op: nn.ConcatOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.concat %a, (nn.concat %b, %c)   ->   nn.concat %a, %b, %c
    ```
    """
    rank = len(dims_of(op.result))
    flat: list[SSAValue] = []
    for value in op.inputs:
        inner = producer(value, nn.ConcatOp)
        same = (
            inner is not None and (inner.value("axis") - op.value("axis")) % rank == 0
        )
        if inner is not None and same and has_one_user(value):
            rewriter.absorb(inner)
            flat += inner.inputs
        else:
            flat.append(value)
    if len(flat) > len(op.inputs):
        rewriter.replace_with(nn.ConcatOp(flat, axis=op.value("axis")))
    return None


@pattern(nn.ConcatOp)
def join_slices(op: nn.ConcatOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.concat (nn.slice %x {0..2}), (nn.slice %x {2..4})   ->   nn.slice %x {0..4}
    ```
    """
    axis = op.value("axis") % len(dims_of(op.result))
    slices = [producer(value, nn.SliceOp) for value in op.inputs]
    first, last = slices[0], slices[-1]
    if len(slices) < 2 or first is None or last is None:
        return None
    for left, right in pairwise(slices):
        if left is None or right is None or not continues(left, right, axis):
            return None
    rewriter.absorb(*(one for one in slices if one is not None))
    limits = list(first.value("limits"))
    limits[axis] = last.value("limits")[axis]
    rewriter.replace_with(nn.SliceOp(first.operand, first.value("starts"), limits))
    return None


def continues(left: nn.SliceOp, right: nn.SliceOp, axis: int) -> bool:
    """Whether `right` starts along `axis` where `left` ends, and is equal elsewhere."""
    if left.operand is not right.operand:
        return False
    if any(step != 1 for one in (left, right) for step in one.value("steps")):
        return False
    if left.value("limits")[axis] != right.value("starts")[axis]:
        return False
    return all(
        left.value(name)[i] == right.value(name)[i]
        for name in ("starts", "limits")
        for i in range(len(dims_of(left.result)))
        if i != axis
    )


@pattern(nn.PadOp)
def drop_zero_pad(op: nn.PadOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.pad %x {low = [0, 0], high = [0, 0]}   ->   %x
    ```
    """
    if all(pad == 0 for pad in (*op.value("low"), *op.value("high"))):
        rewriter.replace_with(op.operand)
    return None


@pattern(nn.PadOp)
def merge_pads(op: nn.PadOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.pad(nn.pad %x {1}) {2}   ->   nn.pad %x {3}         (constant, of one value)
    ```
    """
    inner = producer(op.operand, nn.PadOp)
    if inner is None or not has_one_user(op.operand):
        return None
    pads = [*op.value("low"), *op.value("high")]
    pads += [*inner.value("low"), *inner.value("high")]
    if {op.value("mode"), inner.value("mode")} != {"constant"}:
        return "only constant pads merge"
    fill = fill_of(op, rewriter)
    if fill is None or fill != fill_of(inner, rewriter):
        return "the pads have different values"
    if not all(is_zero_or_more(pad) for pad in pads):
        return "a pad may be negative"
    low = [a + b for a, b in zip(op.value("low"), inner.value("low"), strict=True)]
    high = [a + b for a, b in zip(op.value("high"), inner.value("high"), strict=True)]
    rewriter.absorb(inner)
    rewriter.replace_with(nn.PadOp(inner.operand, op.fill, low=low, high=high))
    return None


def fill_of(op: nn.PadOp, rewriter: Rewriter) -> float | None:
    """The number a constant pad fills with, if it is known."""
    return 0 if op.fill is None else rewriter.scalar(op.fill)


@pattern(nn.GatherOp)
def gather_to_slice(op: nn.GatherOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.gather %x, 2 {axis = 0}   ->   nn.reshape(nn.slice %x {2..3})
    ```
    """
    index = rewriter.array(op.indices)
    dims = dims_of(op.operand)
    axis = op.value("axis") % len(dims)
    size = dims[axis]
    if index is None or index.size != 1:
        return None
    at = int(index.reshape(()))
    start: Dim = size + at if at < 0 else at
    if not contains(0, size, start, start + 1):
        return "the index is not proved to be inside"
    starts: list[Dim] = [0] * len(dims)
    limits = list(dims)
    starts[axis], limits[axis] = start, start + 1
    row = rewriter.emit(nn.SliceOp(op.operand, starts, limits))
    rewriter.replace_with(nn.ReshapeOp(row, dims_of(op.result)))
    return None


PATTERNS = (
    drop_same_shape,
    merge_reshapes,
    merge_broadcasts,
    broadcast_to_reshape,
    drop_broadcast_operand,
    broadcast_after,
    drop_broadcast_mask,
    drop_identity_transpose,
    merge_transposes,
    transpose_to_reshape,
    transpose_before_unit_reshape,
    drop_whole_slice,
    merge_slices,
    slice_of_concat,
    drop_single_concat,
    flatten_concats,
    join_slices,
    drop_zero_pad,
    merge_pads,
    gather_to_slice,
)
