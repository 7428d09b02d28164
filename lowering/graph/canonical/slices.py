"""Slices, concats, pads and lookups that do nothing, or compose."""

from __future__ import annotations

from itertools import pairwise

from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, dims_of, is_zero_or_more
from stepwell.lowering.graph.matching import has_one_user, producer
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern


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
