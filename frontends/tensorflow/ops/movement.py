"""Ops that cut, join, pad and rearrange tensors."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, bounds, dims_of
from stepwell.frontends.bounds import slice_bounds
from stepwell.frontends.emit import cut, reshape, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Output, Rule
from stepwell.frontends.tensorflow.slicing import Part, SliceSpec, kept_dims
from stepwell.frontends.values import dim_array


def concat(node: Node) -> Output:
    """One after the other along an axis; parts of size 0 are left out."""
    count = len(node.inputs) - 1
    axis = node.axis(0 if node.op_type == "Concat" else count, _last_rank(node))
    first = 1 if node.op_type == "Concat" else 0
    indices = range(first, first + count)
    parts = [index for index in indices if node.dims(index)[axis] != 0]
    if len(parts) < 2:
        return node.tensor(parts[0] if parts else first)
    return nn.ConcatOp([node.x(index) for index in parts], axis=axis)


def _last_rank(node: Node) -> int:
    return node.rank(1 if node.op_type == "Concat" else 0)


def pack(node: Node) -> Output:
    """Stacked along a new dim."""
    axis = node.attribute("axis") % (node.rank() + 1)
    rows = [
        reshape(x, [*dims_of(x)[:axis], 1, *dims_of(x)[axis:]]) for x in node.all_x()
    ]
    return rows[0] if len(rows) == 1 else nn.ConcatOp(rows, axis=axis)


def unpack(node: Node) -> Sequence[Output]:
    """Taken apart along a dim."""
    x, dims = node.x(), node.dims()
    axis = node.attribute("axis") % len(dims)
    rest = [dim for i, dim in enumerate(dims) if i != axis]
    return [reshape(cut(x, axis, i, i + 1), rest) for i in range(node.output_count)]


def split(node: Node) -> Sequence[Output]:
    """Equal parts side by side."""
    x, count = node.x(1), node.output_count
    axis = node.axis(0, node.rank(1))
    size = dims_of(x)[axis]
    if isinstance(size, int) and size % count:
        raise node.invalid(f"expected a size divisible by {count}, got {size}")
    each = size // count
    if each * count != size:
        raise node.unsupported(f"a split of {size} into {count} parts")
    return [cut(x, axis, i * each, (i + 1) * each) for i in range(count)]


def split_sizes(node: Node) -> Sequence[Output]:
    """Parts of given sizes; -1 is the rest."""
    x, axis = node.x(0), node.axis(2, node.rank())
    sizes = list(node.sizes(1))
    known = sum((size for size in sizes if size != -1), 0)
    sizes = [dims_of(x)[axis] - known if size == -1 else size for size in sizes]
    outputs: list[Output] = []
    start: Dim = 0
    for size in sizes:
        outputs.append(cut(x, axis, start, start + size))
        start = start + size
    return outputs


def slice_(node: Node) -> Output:
    """`size` elements from `begin` in each dim; -1 is all that is left."""
    dims, begins, sizes = node.dims(), node.sizes(1), node.sizes(2)
    limits = [
        dim if size == -1 else begin + size
        for dim, begin, size in zip(dims, begins, sizes, strict=True)
    ]
    for limit, dim in zip(limits, dims, strict=True):
        require_at_most(node, limit, dim, "the end of a slice")
    if not any(begins) and tuple(limits) == dims:
        return node.tensor(0)
    return nn.SliceOp(node.x(), starts=begins, limits=limits)


def require_at_most(node: Node, left: Dim, right: Dim, what: str) -> None:
    """`left <= right`: proved, or asserted at run time."""
    low, high = bounds(right - left, node.builder.ranges)
    if high < 0:
        raise node.invalid(f"expected {what} up to {right}, got {left}")
    if low < 0:
        message = f"{node.name}: {what} must be inside"
        nn.AssertDimsOp(left=[left], right=[right], predicate="le", message=message)


def strided_slice(node: Node) -> Output:
    """Python's indexing: ranges with steps, single indices, new dims, `...`."""
    dims = node.dims()
    spec = SliceSpec.of(
        node, dim_array(node.sizes(1)), dim_array(node.sizes(2)), node.constant(3)
    )
    parts = spec.per_dim(len(dims))
    placed = [part for part in parts if part is not None]
    if len(placed) != len(dims):
        raise node.invalid(f"expected at most {len(dims)} indices, got {len(placed)}")
    bounds = [_bounds(node, part, dim) for part, dim in zip(placed, dims, strict=True)]
    starts = [low for low, _ in bounds]
    limits = [high for _, high in bounds]
    steps = [part.step for part in placed]
    x = node.x()
    if any(starts) or tuple(limits) != dims or any(step != 1 for step in steps):
        x = value(nn.SliceOp(x, starts=starts, limits=limits, steps=steps))
    kept = kept_dims(parts, dims_of(x))
    return node.tensor(0) if x is node.x() and tuple(kept) == dims else reshape(x, kept)


def _bounds(node: Node, part: Part, size: Dim) -> tuple[Dim, Dim]:
    """First index and limit of one dim of a slice."""
    ranges = node.builder.ranges
    if part.is_index:
        begin = part.begin
        assert begin is not None
        if isinstance(begin, int) and begin < 0:
            begin = begin + size
        if isinstance(begin, int) and isinstance(size, int) and begin < 0:
            raise node.invalid(f"expected an index of at least {-size}")
        require_at_most(node, begin + 1, size, "the end of an index")
        return begin, begin + 1
    if part.step > 0:
        low: Dim = 0 if part.begin is None else part.begin
        high = size if part.end is None else part.end
        return slice_bounds(low, high, part.step, size, ranges)
    low = size - 1 if part.begin is None else part.begin
    if part.end is None:
        first, _ = slice_bounds(low, 0, part.step, size, ranges)
        return first, -1
    return slice_bounds(low, part.end, part.step, size, ranges)


def pad(node: Node) -> Output:
    """With zeros, or a number, around."""
    low, high = pads_of(node)
    if not any((*low, *high)):
        return node.tensor(0)
    fill = reshape(node.x(2), []) if node.has(2) else None
    return nn.PadOp(node.x(), fill, low=low, high=high)


def mirror_pad(node: Node) -> Output:
    """With the mirror image around, without or with the border itself."""
    low, high = pads_of(node)
    is_reflected = node.attribute("mode") == "REFLECT"
    if not any((*low, *high)):
        return node.tensor(0)
    if is_reflected:
        return nn.PadOp(node.x(), low=low, high=high, mode="reflect")
    return symmetric(node, low, high)


def symmetric(node: Node, low: Sequence[Dim], high: Sequence[Dim]) -> Output:
    """Mirrored with the border: slices backwards, joined dim by dim."""
    x = node.x()
    for axis, (before, after) in enumerate(zip(low, high, strict=True)):
        size = dims_of(x)[axis]
        parts = [x]
        if before != 0:
            parts.insert(0, value(backwards(x, axis, before - 1, -1)))
        if after != 0:
            parts.append(value(backwards(x, axis, size - 1, size - 1 - after)))
        if len(parts) > 1:
            x = value(nn.ConcatOp(parts, axis=axis))
    return x


def backwards(x: SSAValue, axis: int, start: Dim, limit: Dim) -> Operation:
    """The elements from `start` down to, not including, `limit` along one axis."""
    dims = dims_of(x)
    return nn.SliceOp(
        x,
        starts=[start if i == axis else 0 for i in range(len(dims))],
        limits=[limit if i == axis else dim for i, dim in enumerate(dims)],
        steps=[-1 if i == axis else 1 for i in range(len(dims))],
    )


def pads_of(node: Node) -> tuple[list[Dim], list[Dim]]:
    """The low and the high pads of the second input, one row per dim."""
    contents = node.known(1)
    if contents is None:
        raise node.unknown(1)
    rows = contents.reshape(-1, 2).tolist()
    return [low for low, _ in rows], [high for _, high in rows]


def reverse(node: Node) -> Output:
    """Backwards along dims."""
    x = node.x()
    for axis in node.axes(1, node.rank()):
        x = value(backwards(x, axis, dims_of(x)[axis] - 1, -1))
    return x


def reverse_sequence(node: Node) -> Operation:
    """The first elements of each sample backwards."""
    return nn.ReverseSequenceOp(
        node.x(0),
        node.x(1),
        batch_axis=node.attribute("batch_dim"),
        time_axis=node.attribute("seq_dim"),
    )


def roll(node: Node) -> Output:
    """Shifted along dims; what falls out comes in at the other end."""
    x, rank = node.x(), node.rank()
    shifts = [int(each) for each in node.constant(1).reshape(-1)]
    axes = [int(each) % rank for each in node.constant(2).reshape(-1)]
    for shift, axis in zip(shifts, axes, strict=True):
        size = dims_of(x)[axis]
        split_at = (-shift) % size if isinstance(size, int) else size - shift
        if split_at == 0 or split_at == size:
            continue
        if not isinstance(size, int):
            raise node.unsupported("a roll along a dim of unknown size")
        parts = [cut(x, axis, split_at, size), cut(x, axis, 0, split_at)]
        x = value(nn.ConcatOp(parts, axis=axis))
    return x


RULES = (
    Rule("ConcatV2", concat),
    Rule("Concat", concat),
    Rule("Pack", pack),
    Rule("Unpack", unpack),
    Rule("Split", split),
    Rule("SplitV", split_sizes),
    Rule("Slice", slice_),
    Rule("StridedSlice", strided_slice),
    Rule("Pad", pad),
    Rule("PadV2", pad),
    Rule("MirrorPad", mirror_pad),
    Rule("ReverseV2", reverse),
    Rule("ReverseSequence", reverse_sequence),
    Rule("Roll", roll),
)
