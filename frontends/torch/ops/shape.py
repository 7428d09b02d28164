"""Reshapes, transposes, slices, concatenation, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64, is_bool
from stepwell.dialects.shapes import (
    Dim,
    bounds,
    dim_max,
    dim_min,
    dims_of,
    element_of,
    product,
)
from stepwell.frontends.described import described
from stepwell.frontends.emit import (
    broadcast,
    cast,
    cut,
    rank_of,
    reshape,
    transpose,
    value,
)
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Output, Rules

from .rows import pair, reshaped

OPEN_END = 1 << 62
"""PyTorch's "up to the end" in a slice is the largest 64-bit integer."""


def permute(call: Call, x: SSAValue, dims: Sequence[int]) -> SSAValue:
    """Dims in another order."""
    return transpose(x, [axis % rank_of(x) for axis in dims])


def swap(call: Call, x: SSAValue, first: int, second: int) -> SSAValue:
    """Two dims exchanged."""
    rank = rank_of(x)
    if rank == 0:
        return x
    perm = list(range(rank))
    perm[first], perm[second] = perm[second], perm[first]
    return transpose(x, perm)


def matrix_transpose(call: Call, x: SSAValue) -> SSAValue:
    """All dims reversed (of a matrix)."""
    return transpose(x, list(range(rank_of(x)))[::-1])


def expand(call: Call, x: SSAValue, *_: Any) -> SSAValue:
    """`x` repeated along dims of 1 and new leading dims."""
    return broadcast(x, call.dims())


def cat(call: Call, tensors: Sequence[SSAValue], dim: int = 0) -> Output:
    """Tensors one after another; empty vectors are left out."""
    element = call.element()
    parts = [cast(x, element) for x in tensors if dims_of(x) != (0,)]
    if not parts:
        return cast(tensors[0], element)
    return (
        parts[0]
        if len(parts) == 1
        else nn.ConcatOp(parts, axis=dim % rank_of(parts[0]))
    )


def stack(call: Call, tensors: Sequence[SSAValue], dim: int = 0) -> Operation:
    """Tensors along a new dim."""
    axis, element = dim % (rank_of(tensors[0]) + 1), call.element()
    parts = [
        reshape(cast(x, element), [*dims_of(x)[:axis], 1, *dims_of(x)[axis:]])
        for x in tensors
    ]
    return nn.ConcatOp(parts, axis=axis)


def position(call: Call, index: Dim, size: Dim) -> Dim:
    """A slice's bound: counted from the end if negative, and inside of the dim."""
    ranges = call.builder.ranges
    low, high = bounds(index, ranges)
    if high < 0:
        index = size + index
    elif low < 0:
        raise call.unsupported(f"a position {index} that may be before 0")
    below = bounds(size - index, ranges)
    if below[0] < 0:
        index = size if below[1] <= 0 else dim_min(index, size)
    if bounds(index, ranges)[0] < 0:
        index = dim_max(index, 0)
    return index


def bound(call: Call, x: SSAValue, dim: int, start: Any, end: Any) -> tuple[Dim, Dim]:
    """The start and limit of a slice along a dim."""
    size = dims_of(x)[dim]
    first = 0 if start is None else position(call, start, size)
    if end is None or (isinstance(end, int) and end >= OPEN_END):
        return first, size
    last = position(call, end, size)
    if bounds(last - first, call.builder.ranges)[0] < 0:
        last = dim_max(last, first)
    return first, last


def slice_(
    call: Call,
    x: SSAValue,
    dim: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
) -> SSAValue:
    """Every `step`-th element from `start` to `end` along a dim."""
    axis = dim % rank_of(x)
    first, last = bound(call, x, axis, start, end)
    wanted = call.dims()[axis]
    if step == 1 and last - first != wanted:
        last = first + wanted
    return cut(x, axis, first, last, step)


def select(call: Call, x: SSAValue, dim: int, index: Dim) -> SSAValue:
    """One position of a dim, which vanishes."""
    axis = dim % rank_of(x)
    size = dims_of(x)[axis]
    if bounds(index, call.builder.ranges)[1] < 0:
        index = size + index
    return reshape(cut(x, axis, index, index + 1), call.dims())


def narrow(call: Call, x: SSAValue, dim: int, start: Dim, length: Dim) -> SSAValue:
    """`length` elements from `start` on along a dim."""
    axis = dim % rank_of(x)
    if bounds(start, call.builder.ranges)[1] < 0:
        start = dims_of(x)[axis] + start
    return cut(x, axis, start, start + length)


def split_with_sizes(
    call: Call, x: SSAValue, sizes: Sequence[Dim], dim: int = 0
) -> list[SSAValue]:
    """Pieces of given sizes along a dim."""
    axis, at, pieces = dim % rank_of(x), 0, list[SSAValue]()
    for size in sizes:
        pieces.append(cut(x, axis, at, at + size))
        at = at + size
    return pieces


def split(call: Call, x: SSAValue, _: Any, dim: int = 0) -> list[SSAValue]:
    """Pieces along a dim, of the sizes that PyTorch computed."""
    axis = dim % rank_of(x)
    count = len(call.node.meta["val"])
    return split_with_sizes(call, x, [call.dims(i)[axis] for i in range(count)], axis)


def unbind(call: Call, x: SSAValue, dim: int = 0) -> list[SSAValue]:
    """Every position of a dim."""
    axis = dim % rank_of(x)
    count = len(call.node.meta["val"])
    return [reshape(cut(x, axis, i, i + 1), call.dims(i)) for i in range(count)]


def repeat(call: Call, x: SSAValue, repeats: Sequence[Dim]) -> SSAValue:
    """`x` laid side by side along each dim."""
    dims = [1] * (len(repeats) - rank_of(x)) + list(dims_of(x))
    if all(times == 1 for times in repeats):
        return reshape(x, call.dims())
    split_dims: list[Dim] = []
    wide: list[Dim] = []
    for times, size in zip(repeats, dims, strict=True):
        split_dims += [1, size]
        wide += [times, size]
    return reshape(broadcast(reshape(x, split_dims), wide), call.dims())


def repeat_interleave(
    call: Call, x: SSAValue, times: Dim, dim: int | None = None, *_: Any
) -> SSAValue:
    """Each position of a dim several times over."""
    if dim is None:
        x, dim = reshape(x, [product(dims_of(x))]), 0
    axis, dims = dim % rank_of(x), dims_of(x)
    row = reshape(x, [*dims[: axis + 1], 1, *dims[axis + 1 :]])
    wide = broadcast(row, [*dims[: axis + 1], times, *dims[axis + 1 :]])
    return reshape(wide, call.dims())


def diff(
    call: Call,
    x: SSAValue,
    times: int = 1,
    dim: int = -1,
    before: SSAValue | None = None,
    after: SSAValue | None = None,
) -> SSAValue:
    """The differences of neighbours along a dim."""
    axis, element = dim % rank_of(x), call.element()
    parts = [cast(each, element) for each in (before, x, after) if each is not None]
    if len(parts) > 1:
        x = value(nn.ConcatOp(parts, axis=axis))
    for _ in range(times):
        size = dims_of(x)[axis]
        later, earlier = cut(x, axis, 1, size), cut(x, axis, 0, size - 1)
        op = nn.XorOp if is_bool(element) else nn.SubOp
        x = value(op(later, earlier))
    return x


def pixel_shuffle(call: Call, x: SSAValue, factor: int) -> SSAValue:
    """Channels moved into blocks of pixels."""
    *outer, channels, height, width = dims_of(x)
    depth = channels // (factor * factor)
    parts = reshape(x, [*outer, depth, factor, factor, height, width])
    first = len(outer)
    order = [first, first + 3, first + 1, first + 4, first + 2]
    return reshape(transpose(parts, [*range(first), *order]), call.dims())


def pixel_unshuffle(call: Call, x: SSAValue, factor: int) -> SSAValue:
    """Blocks of pixels moved into channels."""
    *outer, channels, height, width = dims_of(x)
    rows, columns = height // factor, width // factor
    parts = reshape(x, [*outer, channels, rows, factor, columns, factor])
    first = len(outer)
    order = [first, first + 2, first + 4, first + 1, first + 3]
    return reshape(transpose(parts, [*range(first), *order]), call.dims())


def unfold(call: Call, x: SSAValue, dim: int, size: int, step: int) -> SSAValue:
    """Windows along a dim; what is in a window becomes the last dim."""
    axis = dim % rank_of(x) if rank_of(x) else 0
    dims = call.dims()
    count = dims[axis]
    starts = value(nn.IotaOp([count, 1], i64))
    if step != 1:
        starts = value(nn.MulOp(starts, call.scalar(step, i64)))
    places = value(nn.AddOp(starts, nn.IotaOp([1, size], i64, axis=1)))
    windows = value(nn.GatherOp(x, places, axis=axis))
    rank = rank_of(windows)
    perm = [i for i in range(rank) if i != axis + 1] + [axis + 1]
    return transpose(windows, perm)


def movedim(call: Call, x: SSAValue, source: Any, destination: Any) -> SSAValue:
    """Dims moved to other places."""
    rank = rank_of(x)
    moved = [each % rank for each in pair(source, 1)]
    to = [each % rank for each in pair(destination, 1)]
    rest = iter(axis for axis in range(rank) if axis not in moved)
    places = dict(zip(to, moved, strict=True))
    perm = [places[i] if i in places else next(rest) for i in range(rank)]
    return transpose(x, perm)


def flip(call: Call, x: SSAValue, dims: Sequence[int]) -> SSAValue:
    """Dims reversed."""
    sizes = dims_of(x)
    turned = {axis % len(sizes) for axis in dims}
    if not turned:
        return x
    starts: list[Dim] = [size - 1 if i in turned else 0 for i, size in enumerate(sizes)]
    limits: list[Dim] = [-1 if i in turned else size for i, size in enumerate(sizes)]
    steps = [-1 if i in turned else 1 for i in range(len(sizes))]
    return value(nn.SliceOp(x, starts, limits, steps))


def roll(
    call: Call, x: SSAValue, shifts: Sequence[int], dims: Sequence[int] = ()
) -> SSAValue:
    """Dims rotated."""
    if not dims:
        flat = reshape(x, [call.importer.symbols.dim(call.fake().numel())])
        return reshape(_roll(flat, 0, shifts[0]), dims_of(x))
    for shift, dim in zip(shifts, dims, strict=True):
        x = _roll(x, dim % rank_of(x), shift)
    return x


def _roll(x: SSAValue, axis: int, shift: Dim) -> SSAValue:
    size = dims_of(x)[axis]
    if size == 0 or shift == 0:
        return x
    at = (size - shift) % size
    parts = [cut(x, axis, at, size), cut(x, axis, 0, at)]
    return value(nn.ConcatOp(parts, axis=axis))


def pads_of(x: SSAValue, pad: Sequence[Dim]) -> tuple[list[Dim], list[Dim]]:
    """PyTorch's pads (last dim first, low and high by turns) dim by dim."""
    rank = rank_of(x)
    low: list[Dim] = [0] * rank
    high: list[Dim] = [0] * rank
    for index in range(len(pad) // 2):
        low[rank - 1 - index] = pad[2 * index]
        high[rank - 1 - index] = pad[2 * index + 1]
    return low, high


def constant_pad(
    call: Call, x: SSAValue, pad: Sequence[Dim], number: float = 0
) -> SSAValue:
    """More elements of one value at the ends; fewer where a pad is negative."""
    low, high = pads_of(x, pad)
    if not any(each != 0 for each in (*low, *high)):
        return x
    fill = call.scalar(number, element_of(x))
    return value(nn.PadOp(x, fill, low=low, high=high, mode="constant"))


def pad_like(mode: str) -> Any:
    """Padding with what is there: mirrored, repeated, or from the other end."""

    def build(call: Call, x: SSAValue, pad: Sequence[Dim]) -> Operation:
        low, high = pads_of(x, pad)
        return nn.PadOp(x, low=low, high=high, mode=mode)

    return described(build, f"One `nn.pad` of mode `{mode}`.")


def pad(
    call: Call,
    x: SSAValue,
    pads: Sequence[Dim],
    mode: str = "constant",
    number: float | None = None,
) -> Output:
    """More elements at the ends."""
    if mode == "constant":
        return constant_pad(call, x, pads, number or 0)
    return pad_like(PAD_MODES[mode])(call, x, pads)


PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def slice_scatter(
    call: Call,
    x: SSAValue,
    source: SSAValue,
    dim: int = 0,
    start: Any = None,
    end: Any = None,
    step: int = 1,
) -> SSAValue:
    """`x` with a slice of a dim replaced."""
    axis = dim % rank_of(x)
    size = dims_of(x)[axis]
    first, last = bound(call, x, axis, start, end)
    if step != 1:
        return strided_scatter(call, x, source, axis, first, step)
    limit = first + dims_of(source)[axis]
    source = cast(source, element_of(x))
    parts = [
        cut(x, axis, 0, first) if first != 0 else None,
        source,
        cut(x, axis, limit, size) if last != size else None,
    ]
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else value(nn.ConcatOp(present, axis=axis))


def strided_scatter(
    call: Call, x: SSAValue, source: SSAValue, axis: int, first: Dim, step: int
) -> SSAValue:
    """`x` with every `step`-th position of an axis replaced, from `first` on."""
    count = dims_of(source)[axis]
    places = value(nn.MulOp(nn.IotaOp([count], i64), call.scalar(step, i64)))
    places = value(nn.AddOp(places, call.scalar(first, i64)))
    row = [count if i == axis else 1 for i in range(rank_of(x))]
    index = broadcast(reshape(places, row), dims_of(source))
    updates = cast(source, element_of(x))
    return value(nn.ScatterElementsOp(x, index, updates, axis=axis))


def select_scatter(
    call: Call, x: SSAValue, source: SSAValue, dim: int, index: int
) -> SSAValue:
    """`x` with one position of a dim replaced."""
    axis, dims = dim % rank_of(x), list(dims_of(x))
    at: Dim = dims[axis] + index if index < 0 else index
    dims[axis] = 1
    return slice_scatter(call, x, reshape(source, dims), axis, at, at + 1)


RULES: Rules = {
    **{
        f"aten.{name}": reshaped
        for name in (
            "_unsafe_view.default",
            "flatten.using_ints",
            "reshape.default",
            "squeeze.default",
            "squeeze.dim",
            "squeeze.dims",
            "unflatten.int",
            "unsqueeze.default",
            "view.default",
            "view_copy.default",
            "_reshape_copy.default",
        )
    },
    "aten.permute.default": permute,
    "aten.transpose.int": swap,
    "aten.swapaxes.default": swap,
    "aten.t.default": matrix_transpose,
    "aten.numpy_T.default": matrix_transpose,
    "aten.expand.default": expand,
    "aten.expand_as.default": expand,
    "aten.broadcast_to.default": expand,
    "aten.cat.default": cat,
    "aten.concat.default": cat,
    "aten.stack.default": stack,
    "aten.slice.Tensor": slice_,
    "aten.select.int": select,
    "aten.narrow.default": narrow,
    "aten.split_with_sizes.default": split_with_sizes,
    "aten.split.sizes": split_with_sizes,
    "aten.split.Tensor": split,
    "aten.chunk.default": split,
    "aten.unbind.int": unbind,
    "aten.repeat.default": repeat,
    "aten.repeat_interleave.self_int": repeat_interleave,
    "aten.diff.default": diff,
    "aten.pixel_shuffle.default": pixel_shuffle,
    "aten.pixel_unshuffle.default": pixel_unshuffle,
    "aten.unfold.default": unfold,
    "aten.movedim.int": movedim,
    "aten.movedim.intlist": movedim,
    "aten.flip.default": flip,
    "aten.roll.default": roll,
    "aten.constant_pad_nd.default": constant_pad,
    "aten.pad.default": pad,
    **{f"aten.reflection_pad{n}d.default": pad_like("reflect") for n in (1, 2, 3)},
    **{f"aten.replication_pad{n}d.default": pad_like("edge") for n in (1, 2, 3)},
    "aten.slice_scatter.default": slice_scatter,
    "aten.select_scatter.default": select_scatter,
}
