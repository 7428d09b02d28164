"""Resampling: Resize, Upsample, GridSample, RoiAlign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from xdsl.ir import Operation

from stepwell.dialects import nn
from stepwell.dialects.shapes import Dim
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Rule


def resize(node: Node) -> Operation:
    """Interpolation to given sizes or by given scales."""
    if node.version < 11:
        return by_scales(node, node.constant(1).tolist())
    rank = node.rank()
    axes = [axis % rank for axis in node.ints("axes", list(range(rank)))]
    policy = node.string("keep_aspect_ratio_policy", "stretch")
    coordinates = node.string("coordinate_transformation_mode", "half_pixel")
    roi = None
    if coordinates == "tf_crop_and_resize":
        roi = _spread(node.constant(1).astype(np.float64), axes, rank)
    scales: list[float] | None = None
    if node.has(3) and node.dims(3) != (0,):
        dims, scales = _from_sizes(node, axes, policy)
    else:
        scales = [1.0] * rank
        for axis, scale in zip(axes, node.constant(2).tolist(), strict=True):
            scales[axis] = scale
        dims = scaled(node, scales, roi)
    return nn.ResizeOp(
        node.x(),
        dims,
        roi=None if roi is None else node.builder.constant(roi.astype(np.float32)),
        scales=scales,
        mode=node.string("mode", "nearest"),
        coordinates=coordinates,
        rounding=node.string("nearest_mode", "round_prefer_floor"),
        cubic_coefficient=node.float("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.int("exclude_outside", 0)),
        extrapolation=node.float("extrapolation_value", 0.0),
        antialias=bool(node.int("antialias", 0)),
    )


def _spread(roi: np.ndarray, axes: Sequence[int], rank: int) -> np.ndarray:
    """Starts and ends for all dims, from those of `axes`."""
    full = np.concatenate([np.zeros(rank), np.ones(rank)])
    count = len(axes)
    for index, axis in enumerate(axes):
        full[axis], full[axis + rank] = roi[index], roi[index + count]
    return full


def _from_sizes(
    node: Node, axes: Sequence[int], policy: str
) -> tuple[list[Dim], list[float] | None]:
    dims = list(node.dims())
    sizes = node.sizes(3)
    if policy == "stretch":
        for axis, size in zip(axes, sizes, strict=True):
            dims[axis] = size
        return dims, None
    old = [dim for axis in axes if isinstance(dim := dims[axis], int)]
    new = [size for size in sizes if isinstance(size, int)]
    if len(old) != len(axes) or len(new) != len(axes):
        raise node.unsupported("keep_aspect_ratio_policy on symbolic sizes")
    pick = min if policy == "not_larger" else max
    ratio = pick(Fraction(*pair) for pair in zip(new, old, strict=True))
    scales = [1.0] * len(dims)
    for axis, dim in zip(axes, old, strict=True):
        dims[axis] = math.floor(ratio * dim + Fraction(1, 2))
        scales[axis] = float(ratio)
    return dims, scales


def scaled(
    node: Node, scales: Sequence[float], roi: np.ndarray | None = None
) -> list[Dim]:
    """`floor(dim * scale)`, of the part inside `roi`."""
    rank = node.rank()
    dims: list[Dim] = []
    for axis, (dim, scale) in enumerate(zip(node.dims(), scales, strict=True)):
        part = Fraction(scale)
        if roi is not None:
            part *= Fraction(roi[axis + rank] - roi[axis])
        dims.append(dim * part.numerator // part.denominator)
    return dims


def by_scales(node: Node, scales: Sequence[float]) -> Operation:
    """The rule of opset 10 and before: asymmetric, rounding down."""
    return nn.ResizeOp(
        node.x(),
        scaled(node, scales),
        scales=scales,
        mode=node.string("mode", "nearest"),
        coordinates="asymmetric",
        rounding="floor",
    )


def upsample(node: Node) -> Operation:
    """Enlargement by scales."""
    is_attribute = node.version < 9
    scales = node.floats("scales") if is_attribute else node.constant(1).tolist()
    return by_scales(node, scales)


def grid_sample(node: Node) -> Operation:
    """Reads at normalised positions."""
    mode = node.string("mode", "bilinear" if node.version < 20 else "linear")
    return nn.GridSampleOp(
        node.x(0),
        node.x(1),
        mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode),
        padding=node.string("padding_mode", "zeros"),
        align_corners=bool(node.int("align_corners", 0)),
    )


def roi_align(node: Node) -> Operation:
    """Regions pooled to one size."""
    default = "half_pixel" if node.version >= 16 else "output_half_pixel"
    transform = node.string("coordinate_transformation_mode", default)
    return nn.RoiAlignOp(
        node.x(0),
        node.x(1),
        node.x(2),
        mode=node.string("mode", "avg"),
        output_height=node.int("output_height", 1),
        output_width=node.int("output_width", 1),
        sampling_ratio=node.int("sampling_ratio", 0),
        spatial_scale=node.float("spatial_scale", 1.0),
        half_pixel=transform == "half_pixel",
    )


RULES = (
    Rule("Resize", resize, since=10),
    Rule("Upsample", upsample, since=7),
    Rule("GridSample", grid_sample),
    Rule("RoiAlign", roi_align),
)
