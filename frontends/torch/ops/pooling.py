"""Pooling over windows, fixed and adaptive."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64, numpy_dtype
from stepwell.dialects.shapes import Dim, ceildiv, dims_of, element_of, product
from stepwell.frontends.described import described
from stepwell.frontends.emit import cast, cut, rank_of, reshape, value
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Build, Rules

from .elementwise import scaled
from .indexing import lowest
from .rows import first_of, pair


def windows(
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    count: int,
) -> dict[str, Any]:
    """The parameters of a pooling op; the stride is by default the kernel."""
    size = pair(kernel, count)
    return {
        "kernel": size,
        "strides": pair(stride, count) if stride else size,
        "pads": pair(padding, count) * 2,
        "dilations": pair(dilation, count),
        "ceil_mode": ceil_mode,
    }


def batched(x: SSAValue, count: int) -> SSAValue:
    """`x` with a batch dim."""
    return x if rank_of(x) == count + 2 else reshape(x, [1, *dims_of(x)])


def max_pool(count: int) -> Build:
    """The largest element of each window."""

    def build(
        call: Call,
        x: SSAValue,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> SSAValue:
        parameters = windows(kernel, stride, padding, dilation, ceil_mode, count)
        y = nn.MaxPoolOp(batched(x, count), **parameters)
        return reshape(value(y), call.dims())

    return described(build, "One `nn.max_pool`.")


def max_pool_with_indices(count: int) -> Build:
    """The largest element of each window, and where in its channel it is."""

    pool = max_pool(count)

    def build(
        call: Call,
        x: SSAValue,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> list[Any]:
        y = pool(call, x, kernel, stride, padding, dilation, ceil_mode)
        if not any(user.args[1] == 1 for user in call.node.users):
            return [y]
        x = batched(x, count)
        parameters = windows(kernel, stride, padding, dilation, ceil_mode, count)
        flat = value(nn.MaxPoolIndicesOp(x, **parameters))
        plane = call.scalar(product(dims_of(x)[2:]), element_of(flat))
        return [y, reshape(value(nn.ModOp(flat, plane)), call.dims(1))]

    return described(build, "`nn.max_pool`, and `nn.max_pool_indices` if wanted.")


def avg_pool(count: int) -> Build:
    """The mean of each window."""

    def build(
        call: Call,
        x: SSAValue,
        kernel: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: int | None = None,
    ) -> SSAValue:
        parameters = windows(kernel, stride, padding, [1], ceil_mode, count)
        if divisor is not None and ceil_mode:
            raise call.unsupported("avg_pool with divisor_override and ceil_mode")
        include = count_include_pad or divisor is not None
        y = value(
            nn.AvgPoolOp(batched(x, count), count_include_pad=include, **parameters)
        )
        if divisor is not None:
            y = scaled(call, y, math.prod(parameters["kernel"]) / divisor)
        return reshape(y, call.dims())

    return described(build, "One `nn.avg_pool`.")


def adaptive(kind: str, count: int) -> Build:
    """Pooling to a given size."""

    def build(call: Call, x: SSAValue, *_: Any) -> SSAValue:
        return adaptive_pool(call, x, kind, count)

    return described(build, f"`nn.reduce` or `nn.{kind}_pool`.")


def adaptive_pool(call: Call, x: SSAValue, kind: str, count: int) -> SSAValue:
    """Pooling to the result's size: a reduction, equal windows, or windows in turn."""
    dims, wanted = dims_of(x), call.dims()
    rank = len(dims)
    axes = list(range(rank - count, rank))
    name = "mean" if kind == "avg" else "max"
    if all(wanted[axis] == 1 for axis in axes):
        return value(nn.ReduceOp(x, kind=name, axes=axes, keepdims=True))
    sizes = [(dims[axis], wanted[axis]) for axis in axes]
    known = [(a, b) for a, b in sizes if isinstance(a, int) and isinstance(b, int)]
    if len(known) < count:
        for axis, (size, to) in zip(axes, sizes, strict=True):
            x = _looked_up(call, x, axis, size, to, name)
        return x
    if all(size % to == 0 for size, to in known):
        kernel = [size // to for size, to in known]
        op = nn.AvgPoolOp if kind == "avg" else nn.MaxPoolOp
        y = op(batched(x, count), kernel=kernel, strides=kernel)
        return reshape(value(y), wanted)
    for axis, (size, to) in zip(axes, known, strict=True):
        x = _pooled_axis(x, axis, size, to, name)
    return x


def _pooled_axis(x: SSAValue, axis: int, size: int, to: int, kind: str) -> SSAValue:
    """Window i of an axis runs from `i * size // to` to `ceil((i + 1) * size / to)`."""
    parts: list[Operation] = []
    for i in range(to):
        piece = cut(x, axis, i * size // to, -(-(i + 1) * size // to))
        parts.append(nn.ReduceOp(piece, kind=kind, axes=[axis], keepdims=True))
    return value(nn.ConcatOp(parts, axis=axis))


def _looked_up(
    call: Call, x: SSAValue, axis: int, size: Dim, to: Dim, kind: str
) -> SSAValue:
    """The same windows of an axis whose size only a run tells: as wide as the widest,
    with what lies behind the end of each left out."""
    window = reshape(value(nn.IotaOp([to], i64)), [to, 1])

    def times(a: SSAValue, number: Dim) -> Operation:
        return nn.MulOp(a, call.scalar(number, i64))

    one, into = call.scalar(1, i64), call.scalar(to, i64)
    start = value(nn.DivOp(times(window, size), into))
    end = nn.AddOp(times(value(nn.AddOp(window, one)), size), call.scalar(to - 1, i64))
    end = value(nn.DivOp(end, into))
    width = ceildiv(size, to) + 1
    place = value(nn.AddOp(start, nn.IotaOp([1, width], i64, axis=1)))
    inside = nn.MinimumOp(place, nn.SubOp(end, one))
    windows = value(nn.GatherOp(x, inside, axis=axis))
    rest = [1] * (rank_of(x) - axis - 1)
    is_in = reshape(value(nn.CompareOp(place, end, predicate="lt")), [to, width, *rest])
    element = element_of(x)
    outside = call.scalar(0 if kind == "mean" else lowest(element), element)
    masked = nn.SelectOp(is_in, windows, outside)
    if kind == "max":
        return value(nn.ReduceOp(masked, kind="max", axes=[axis + 1]))
    total = nn.ReduceOp(masked, kind="sum", axes=[axis + 1])
    counts = reshape(cast(value(nn.SubOp(end, start)), element), [to, *rest])
    return value(nn.DivOp(total, counts))


def im2col(
    call: Call,
    x: SSAValue,
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> SSAValue:
    """The windows of an image as columns: for each place in the kernel a strided
    slice."""
    is_single = rank_of(x) == 3
    x = batched(x, 2)
    outside = [0, 0, *padding]
    if any(padding):
        zero = call.scalar(0, element_of(x))
        x = value(nn.PadOp(x, zero, low=outside, high=outside, mode="constant"))
    n, channels, *sizes = dims_of(x)
    spans = [step * (k - 1) for step, k in zip(dilation, kernel, strict=True)]
    counts = [
        (size - span - 1) // step + 1
        for size, span, step in zip(sizes, spans, stride, strict=True)
    ]
    pieces: list[SSAValue] = []
    for place in itertools.product(*map(range, kernel)):
        piece = x
        for axis, (at, gap, count, step) in enumerate(
            zip(place, dilation, counts, stride, strict=True), start=2
        ):
            first = at * gap
            piece = cut(piece, axis, first, first + (count - 1) * step + 1, step)
        pieces.append(reshape(piece, [n, channels, 1, *counts]))
    whole = value(nn.ConcatOp(pieces, axis=2)) if len(pieces) > 1 else pieces[0]
    rows = channels * math.prod(kernel)
    columns = [rows, product(counts)]
    return reshape(whole, columns if is_single else [n, *columns])


def col2im(
    call: Call,
    x: SSAValue,
    size: Sequence[Dim],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> SSAValue:
    """The sum of the windows that columns hold: a transposed convolution of each
    channel whose weights put every element in its place."""
    n, rows, _ = dims_of(x) if rank_of(x) == 3 else (1, *dims_of(x))
    places = math.prod(kernel)
    if not isinstance(rows, int):
        raise call.unsupported(f"fold of {rows} rows")
    spans = [step * (k - 1) for step, k in zip(dilation, kernel, strict=True)]
    inner = [
        whole + 2 * pad - span - 1
        for whole, pad, span in zip(size, padding, spans, strict=True)
    ]
    counts = [room // step + 1 for room, step in zip(inner, stride, strict=True)]
    left = [room % step for room, step in zip(inner, stride, strict=True)]
    one_hot = np.eye(places, dtype=numpy_dtype(element_of(x))).reshape(-1, 1, *kernel)
    y = nn.ConvTransposeOp(
        reshape(x, [n, rows, *counts]),
        call.builder.constant(np.tile(one_hot, (rows // places, 1, 1, 1))),
        None,
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        output_padding=left,
        groups=rows // places,
    )
    return reshape(value(y), call.dims())


RULES: Rules = {
    "aten.im2col.default": im2col,
    "aten.col2im.default": col2im,
    **{f"aten.max_pool{n}d.default": max_pool(n) for n in (1, 2, 3)},
    **{
        f"aten.max_pool{n}d_with_indices.default": max_pool_with_indices(n)
        for n in (1, 2, 3)
    },
    **{f"aten.avg_pool{n}d.default": avg_pool(n) for n in (1, 2, 3)},
    "aten.adaptive_avg_pool1d.default": adaptive("avg", 1),
    "aten.adaptive_avg_pool2d.default": adaptive("avg", 2),
    "aten.adaptive_avg_pool3d.default": adaptive("avg", 3),
    "aten._adaptive_avg_pool2d.default": adaptive("avg", 2),
    "aten._adaptive_avg_pool3d.default": adaptive("avg", 3),
    "aten.adaptive_max_pool1d.default": first_of(adaptive("max", 1)),
    "aten.adaptive_max_pool2d.default": first_of(adaptive("max", 2)),
    "aten.adaptive_max_pool3d.default": first_of(adaptive("max", 3)),
}
