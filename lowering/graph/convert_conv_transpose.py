"""Compute transposed convolutions by convolutions of stride 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim, dims_of
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import rank_of

Array = np.ndarray[Any, Any]


@pattern(nn.ConvTransposeOp)
def convert_conv_transpose(op: nn.ConvTransposeOp, rewriter: Rewriter) -> Outcome:
    """All phases of the output at once: one convolution, then a pixel shuffle.

    ```mlir
    nn.conv_transpose %x, %w {strides = [s, s]}
    ->
    %z = nn.conv %x, %v {pads = k' - 1} : [N, P, Q, s*s*O]        (k' = ceil(k / s))
    nn.slice(nn.reshape(nn.transpose(nn.reshape %z))) : [N, P*s, Q*s, O] less the pads
    ```
    Output position `q * s + phase` sums `x[q - j] * w[phase + j * s]` over j, so the
    filter of each phase is every s-th row of w, reversed. When the kernel is as large
    as the stride, the convolution is a matrix product.
    """
    weight = rewriter.array(op.w)
    if weight is None:
        return "the weight is not a constant"
    if any(step != 1 for step in op.value("dilations")):
        return "the kernel is dilated"
    if not op.value("channels_last"):
        return "the channels are not last"
    sizes = static_sizes(op)
    if sizes is None:
        return "the pads depend on symbols"
    steps = op.value("strides")
    spatial = len(steps)
    groups = op.value("groups")
    taps = [math.ceil(size / step) for size, step in zip(sizes, steps, strict=True)]
    filters = phase_filters(weight, taps, steps, groups)
    features = weight.shape[-1]
    bias = None if op.bias is None else rewriter.array(op.bias)
    if bias is not None:
        bias = np.repeat(bias.reshape(groups, 1, features), math.prod(steps), axis=1)
    conv = nn.ConvOp(
        op.x,
        rewriter.constant(filters),
        None if bias is None else rewriter.constant(bias.reshape(-1)),
        pads=[tap - 1 for tap in taps] * 2,
        groups=groups,
        channels_last=True,
    )
    shuffled = shuffle(rewriter.emit(conv), steps, groups, features, rewriter)
    low = [0, *op.value("pads")[:spatial], 0]
    limits = [a + b for a, b in zip(low, dims_of(op.result), strict=True)]
    cropped: nn.Value = nn.SliceOp(shuffled, low, limits)
    if op.bias is not None and bias is None:
        cropped = nn.AddOp(rewriter.emit(cropped), op.bias)
    rewriter.replace_with(cropped)
    return None


def static_sizes(op: nn.ConvTransposeOp) -> list[int] | None:
    """The kernel sizes, enlarged by zeros to where the output padding reaches."""
    spatial = rank_of(op.x) - 2
    sizes: list[int] = []
    for i, kernel in enumerate(op.kernel_dims()):
        extra: Dim = op.value("output_padding")[i] - op.value("pads")[spatial + i]
        if not isinstance(extra, int) or not isinstance(kernel, int):
            return None
        sizes.append(kernel + max(0, extra))
    return sizes


def phase_filters(
    weight: Array, taps: list[int], steps: tuple[int, ...], groups: int
) -> Array:
    """`[k.., C, O/g]` as `[k'.., C/g, g * s.. * O/g]`: one filter per phase.

    The output channels count the group, then the phase of each dim, then the channel.
    """
    spatial = len(steps)
    full = [tap * step for tap, step in zip(taps, steps, strict=True)]
    *kernel, channels, features = weight.shape
    grown = [(0, size - have) for size, have in zip(full, kernel, strict=True)]
    weight = np.pad(weight, [*grown, (0, 0), (0, 0)])
    pairs = [size for pair in zip(taps, steps, strict=True) for size in pair]
    split = weight.reshape(*pairs, groups, channels // groups, features)
    split = np.flip(split, axis=tuple(range(0, 2 * spatial, 2)))
    tap_axes = range(0, 2 * spatial, 2)
    phase_axes = range(1, 2 * spatial, 2)
    group, channel, feature = 2 * spatial, 2 * spatial + 1, 2 * spatial + 2
    moved = split.transpose(*tap_axes, channel, group, *phase_axes, feature)
    outputs = groups * math.prod(steps) * features
    return np.ascontiguousarray(moved).reshape(*taps, channels // groups, outputs)


def shuffle(
    value: SSAValue,
    steps: tuple[int, ...],
    groups: int,
    features: int,
    rewriter: Rewriter,
) -> SSAValue:
    """`[N, P.., g * s.. * O]` as `[N, P*s.., g * O]`."""
    batch, *places, _ = dims_of(value)
    spatial = len(steps)
    split = [batch, *places, groups, *steps, features]
    value = rewriter.emit(nn.ReshapeOp(value, split))
    place_axes, group = range(1, 1 + spatial), 1 + spatial
    phase_axes = range(2 + spatial, 2 + 2 * spatial)
    pairs = [axis for pair in zip(place_axes, phase_axes, strict=True) for axis in pair]
    perm = [0, *pairs, group, 2 + 2 * spatial]
    value = rewriter.emit(nn.TransposeOp(value, perm))
    merged = [place * step for place, step in zip(places, steps, strict=True)]
    return rewriter.emit(nn.ReshapeOp(value, [batch, *merged, groups * features]))


@dataclass(frozen=True)
class ConvertConvTransposePass(ModulePass):
    """Replace `nn.conv_transpose` with channels last by `nn.conv` and data movement.

    Stands behind `propagate-channels-last`; what it declines stays as it is.
    """

    name = "convert-conv-transpose"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert every transposed convolution with constant weights."""
        apply_patterns(op, [convert_conv_transpose], ctx)
