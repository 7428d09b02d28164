"""Pooling: a reduction over windows; and lrn, a window over channels."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import math

from stepwell.dialects.access import Guard
from stepwell.dialects.dims import Dim, ceildiv, dim_max, dim_min
from stepwell.dialects.dtypes import i64
from stepwell.dialects.fusion.structured import Combine
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.quasi_affine import simplify
from stepwell.dialects.shapes import dims_of, element_of, tensor_type

from .contraction import Window, accumulation_type
from .loops import Loops, Read, Write, replace, variables
from .reduction import lowest, result_type
from .scalars import Scalar, Scalars


def decompose_pool(op: NnOp) -> None:
    """`max_pool`, `avg_pool`, `lp_pool`: one reduction, one map where needed."""
    loops = Loops(op)
    window = Window(op, loops, op.value("kernel"))
    x = op.operands[0]
    c = loops.axis("c", window.channels(dims_of(x)))
    indices, guards = window.strided_input(x)
    element = element_of(x)
    wide = accumulation_type(element)
    is_max = op.name == "nn.max_pool"
    fill = lowest(element) if is_max else 0
    parallel = window.order_axes([c])
    space = [*parallel, *(tap.reduced() for tap in window.taps)]
    index = window.order(variables(window.places), c.var)
    read = Read(x, window.order(indices, c.var), guards, fill)
    kind = tensor_type(dims_of(op.results[0]), wide)
    combine = Combine.MAX if is_max else Combine.ADD
    power = op.value("p") if op.name == "nn.lp_pool" else 1
    total = loops.generic(
        space, [read], Write(kind, index, combine), lambda s, v: _power(s, v, power)
    )
    if not is_max or wide != element:
        finish = _finisher(op, window, power)
        write = Write(result_type(op), index)
        total = loops.generic(parallel, [Read(total, index)], write, finish)
    replace(op, total)


def _finisher(
    op: NnOp, window: Window, power: int
) -> Callable[[Scalars, Scalar], Scalar]:
    if op.name == "nn.max_pool":
        return lambda s, v: v
    if op.name == "nn.lp_pool":
        return lambda s, v: _root(s, v, power)
    sizes = window_sizes(window, bool(op.value("count_include_pad")))
    return lambda s, v: s.div(v, _count(s, sizes, v))


def _power(s: Scalars, v: Scalar, power: int) -> Scalar:
    if power == 1:
        return v
    base = s.abs(v)
    result = base
    for _ in range(power - 1):
        result = s.mul(result, base)
    return result


def _root(s: Scalars, v: Scalar, power: int) -> Scalar:
    if power == 1:
        return v
    if power == 2:
        return s.math(math.SqrtOp, v)
    return s.math(math.PowFOp, v, s.like(1 / power, v))


def window_sizes(window: Window, include_pad: bool) -> list[Dim]:
    """How many elements the window at each place counts, per spatial dim.

    With padding included, positions past the high padding (of ceil mode) do not count.
    """
    op = window.op
    sizes = window.spatial(window.dims_in)
    pads = op.value("pads")
    counts: list[Dim] = []
    for n, (place, tap, size) in enumerate(
        zip(window.places, window.taps, sizes, strict=True)
    ):
        stride, dilation = op.value("strides")[n], op.value("dilations")[n]
        start = place.var * stride - pads[n]
        limit = size + pads[window.rank + n] if include_pad else size
        first: Dim = 0 if include_pad else ceildiv(dim_max(0 - start, 0), dilation)
        last = dim_min(tap.size, ceildiv(limit - start, dilation))
        counts.append(_settled(last, first, place.size, place.name, tap.size))
    return counts


def _settled(last: Dim, first: Dim, places: Dim, name: str, taps: Dim) -> Dim:
    """`last - first`, or the whole window where every place is inside."""
    extents = {name: places}
    low, high = simplify(first, extents), simplify(last, extents)
    return high - low


def _count(s: Scalars, sizes: list[Dim], v: Scalar) -> Scalar:
    total: Scalar | None = None
    constant: Dim = 1
    for size in sizes:
        if isinstance(size, int):
            constant = constant * size
            continue
        number = s.cast(s.index(size, i64), v.element)
        total = number if total is None else s.mul(total, number)
    if total is None:
        return s.dim(constant, v.element)
    return total if constant == 1 else s.mul(total, s.dim(constant, v.element))


def decompose_lrn(op: NnOp) -> None:
    """`x / (bias + alpha / size * sum of x**2 over near channels) ** beta`."""
    loops = Loops(op)
    x = op.operands[0]
    shape = dims_of(x)
    axes = loops.axes(shape)
    size = op.value("size")
    k = loops.axis("k", size).reduced()
    channel = shape[1]
    near = axes[1].var + k.var - (size - 1) // 2
    index = variables(axes)
    read = Read(x, [index[0], near, *index[2:]], [Guard(near, channel)], 0)
    wide = accumulation_type(element_of(x))
    total = loops.generic(
        [*axes, k],
        [read],
        Write(tensor_type(shape, wide), index, Combine.ADD),
        lambda s, v: s.mul(v, v),
    )
    alpha, beta, bias = op.value("alpha"), op.value("beta"), op.value("bias")

    def scale(s: Scalars, v: Scalar, t: Scalar) -> Scalar:
        base = s.add(s.like(bias, t), s.mul(s.like(alpha / size, t), t))
        return s.div(v, s.math(math.PowFOp, base, s.like(beta, t)))

    reads = [Read(x, index), Read(total, index)]
    replace(op, loops.generic(axes, reads, Write(result_type(op), index), scale))
