"""Deformable convolution: samples at shifted positions, then a matrix product."""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import Dim, dims_of
from stepwell.frontends.emit import value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Rule


def deform_conv(node: Node) -> SSAValue:
    """A convolution whose windows read x at offsets of their own, by bilinear samples.

    Source: ONNX DeformConv; arXiv:1811.11168.
    """
    weight, groups = node.x(1), node.int("group", 1)
    features, per_group, *kernel = static(node, dims_of(weight))
    taps = math.prod(kernel)
    batch = node.dims(0)[0]
    rows, columns = static(node, node.dims(2)[2:])
    samples = sampled(node, kernel, (rows, columns))
    pixels = rows * columns
    left = nn.ReshapeOp(weight, [groups, features // groups, per_group * taps])
    right = nn.ReshapeOp(samples, [batch, groups, per_group * taps, pixels])
    y = nn.ReshapeOp(nn.MatmulOp(left, right), [batch, features, rows, columns])
    if not node.has(3):
        return value(y)
    bias = nn.ReshapeOp(node.x(3), [features, 1, 1])
    return value(nn.AddOp(y, bias))


def static(node: Node, dims: tuple[Dim, ...]) -> list[int]:
    """`dims`, which must be numbers."""
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if len(sizes) != len(dims):
        raise node.unsupported("deformable convolution of symbolic sizes")
    return sizes


def sampled(node: Node, kernel: list[int], out: tuple[int, int]) -> SSAValue:
    """x at each tap of each window: `[batch, channels, taps, rows, columns]`."""
    x, groups = node.x(0), node.int("offset_group", 1)
    if node.rank() != 4 or node.ints("kernel_shape", kernel) != kernel:
        raise node.unsupported("deformable convolution of other than two dims")
    batch, channels, *_ = dims_of(x)
    height, width = static(node, dims_of(x)[2:])
    taps, (rows, columns) = math.prod(kernel), out
    offsets = nn.ReshapeOp(node.x(2), [batch, groups, taps, 2, rows, columns])
    places = nn.AddOp(offsets, node.builder.constant(window_places(node, kernel, out)))
    scale = np.array([2 / max(height - 1, 1), 2 / max(width - 1, 1)])
    dtype = numpy_dtype(node.element_of())
    factor = node.builder.constant(scale.reshape(2, 1, 1).astype(dtype))
    one = node.builder.constant(np.array(1, dtype))
    turned = nn.TransposeOp(nn.SubOp(nn.MulOp(places, factor), one), [0, 1, 2, 4, 5, 3])
    wide = [batch, groups, taps, rows, columns]
    grid = nn.ConcatOp(
        [nn.SliceOp(turned, [0] * 5 + [part], [*wide, part + 1]) for part in (1, 0)],
        axis=5,
    )
    samples = nn.GridSampleOp(
        nn.ReshapeOp(x, [batch * groups, channels // groups, height, width]),
        nn.ReshapeOp(grid, [batch * groups, taps * rows, columns, 2]),
        align_corners=True,
    )
    if not node.has(4):
        return value(samples)
    split = [batch, groups, channels // groups, taps, rows, columns]
    mask = nn.ReshapeOp(node.x(4), [batch, groups, 1, taps, rows, columns])
    return value(nn.MulOp(nn.ReshapeOp(samples, split), mask))


def window_places(node: Node, kernel: list[int], out: tuple[int, int]) -> np.ndarray:
    """Row and column of each tap of each window: `[taps, 2, rows, columns]`."""
    strides = node.ints("strides", [1, 1])
    dilations = node.ints("dilations", [1, 1])
    pads = node.ints("pads", [0] * 4)
    axes = [
        np.arange(kernel[i])[:, None] * dilations[i]
        + np.arange(out[i]) * strides[i]
        - pads[i]
        for i in range(2)
    ]
    full = (*kernel, *out)
    down = np.broadcast_to(axes[0][:, None, :, None], full)
    across = np.broadcast_to(axes[1][None, :, None, :], full)
    places = np.stack([down, across], axis=2).reshape(-1, 2, *out)
    return places.astype(numpy_dtype(node.element_of()))


RULES = (Rule("DeformConv", deform_conv),)
