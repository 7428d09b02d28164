"""Meaning of matrix products, convolutions and einsum: sums in f64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stepwell.dialects import nn

from .environment import Array, Environment, Table, wide


def windows(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    counts: Sequence[int],
    fill: Any,
) -> Array:
    """All windows over the trailing dims of x: `[lead.., counts.., kernel..]`.

    x is padded by `low` before, and cut or padded to what the windows need after.
    """
    rank = len(kernel)
    lead = x.ndim - rank
    spans = [
        dilation * (size - 1) + 1
        for dilation, size in zip(dilations, kernel, strict=True)
    ]
    needs = [
        (n - 1) * s + span for n, s, span in zip(counts, strides, spans, strict=True)
    ]
    x = fit(x, [0] * lead + list(low), list(x.shape[:lead]) + needs, fill)
    view = np.lib.stride_tricks.sliding_window_view(
        x, spans, tuple(range(lead, x.ndim))
    )
    keep = (slice(None),) * lead
    keep += tuple(slice(None, None, stride) for stride in strides)
    keep += tuple(slice(None, None, dilation) for dilation in dilations)
    return view[keep]


def fit(x: Array, low: Sequence[int], shape: Sequence[int], fill: Any) -> Array:
    """x shifted by `low` into an array of `shape` full of `fill`; the rest is cut."""
    result = np.full(shape, fill, dtype=x.dtype)
    source: list[slice] = []
    target: list[slice] = []
    for shift, size, have in zip(low, shape, x.shape, strict=True):
        start, stop = max(shift, 0), min(shift + have, size)
        target.append(slice(start, max(start, stop)))
        source.append(slice(start - shift, max(start, stop) - shift))
    result[tuple(target)] = x[tuple(source)]
    return result


def to_channels_first(x: Array, is_last: bool) -> Array:
    """`[N, spatial.., C]` as `[N, C, spatial..]`, if the channels are last."""
    return np.moveaxis(x, -1, 1) if is_last else x


def from_channels_first(y: Array, is_last: bool) -> Array:
    """The inverse of `to_channels_first`."""
    return np.moveaxis(y, 1, -1) if is_last else y


def convolve(
    x: Array,
    w: Array,
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    counts: Sequence[int],
    groups: int,
) -> Array:
    """Channels-first convolution of wide arrays; w is `[O, C/groups, kernel..]`."""
    batch, features, kernel = x.shape[0], w.shape[0], w.shape[2:]
    view = windows(x, kernel, strides, dilations, low, counts, 0)
    rank = len(kernel)
    order = [0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank)]
    depth = w.shape[1] * math.prod(kernel)
    columns = view.transpose(order).reshape(batch, groups, depth, math.prod(counts))
    filters = w.reshape(groups, features // groups, depth)
    return np.matmul(filters, columns).reshape(batch, features, *counts)


def _matmul(environment: Environment, op: Any, a: Array, b: Array) -> Array:
    return np.matmul(wide(a), wide(b))


def _conv(
    environment: Environment, op: nn.ConvOp, x: Array, w: Array, bias: Array | None
) -> Array:
    last = op.value("channels_last")
    if last:
        w = np.moveaxis(np.moveaxis(w, -1, 0), -1, 1)
    counts = _spatial(environment.shape(op.result.type), last)
    y = convolve(
        wide(to_channels_first(x, last)),
        wide(w),
        op.value("strides"),
        op.value("dilations"),
        environment.sizes(op.value("pads"))[: len(counts)],
        counts,
        op.value("groups"),
    )
    return from_channels_first(_add_bias(y, bias), last)


def _conv_transpose(
    environment: Environment,
    op: nn.ConvTransposeOp,
    x: Array,
    w: Array,
    bias: Array | None,
) -> Array:
    last, groups = op.value("channels_last"), op.value("groups")
    x = wide(to_channels_first(x, last))
    w = wide(np.moveaxis(np.moveaxis(w, -1, 0), -1, 0) if last else w)
    strides, dilations = op.value("strides"), op.value("dilations")
    counts = _spatial(environment.shape(op.result.type), last)
    rank = len(counts)
    spread = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], strides, strict=True)]
    zeros = np.zeros((*x.shape[:2], *[max(size, 0) for size in spread]), dtype=x.dtype)
    zeros[(..., *[slice(None, None, stride) for stride in strides])] = x
    low = [
        dilation * (size - 1) - pad
        for dilation, size, pad in zip(
            dilations,
            w.shape[2:],
            environment.sizes(op.value("pads"))[:rank],
            strict=True,
        )
    ]
    flipped = np.flip(w, tuple(range(2, 2 + rank)))
    split = flipped.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    filters = split.swapaxes(1, 2).reshape(-1, w.shape[0] // groups, *w.shape[2:])
    y = convolve(zeros, filters, (1,) * rank, dilations, low, counts, groups)
    return from_channels_first(_add_bias(y, bias), last)


def _spatial(shape: Sequence[int], last: bool) -> tuple[int, ...]:
    return tuple(shape[1:-1] if last else shape[2:])


def _add_bias(y: Array, bias: Array | None) -> Array:
    if bias is None:
        return y
    return y + wide(bias).reshape(1, -1, *[1] * (y.ndim - 2))


def _einsum(environment: Environment, op: nn.EinsumOp, inputs: list[Array]) -> Array:
    terms, output = nn.split_equation(op.value("equation"))
    operands = [wide(x) for x in inputs]
    return np.einsum(f"{','.join(terms)}->{output}", *operands, optimize=True)


TABLE: Table = {
    nn.MatmulOp: _matmul,
    nn.ConvOp: _conv,
    nn.ConvTransposeOp: _conv_transpose,
    nn.EinsumOp: _einsum,
}
