"""Meaning of resize, grid_sample and roi_align, in f64."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of

from .environment import Array, Environment, Table, wide


def _resize(
    environment: Environment,
    op: nn.ResizeOp,
    x: Array,
    roi: Array | None,
    scale_values: Array | None,
) -> Array:
    scales = None if scale_values is None else wide(scale_values).reshape(-1)
    given = op.value("scales")
    factors = scales if given is None else np.asarray(given)
    sizes = _target_sizes(environment, op, x, factors)
    if factors is None:
        factors = np.asarray(sizes) / np.maximum(x.shape, 1)
    box = np.array([0.0] * x.ndim + [1.0] * x.ndim) if roi is None else wide(roi)
    outside = np.zeros(sizes, dtype=np.bool_)
    y = wide(x) if op.value("mode") != "nearest" else x
    for axis, size in enumerate(sizes):
        span = (float(box[axis]), float(box[axis + x.ndim]))
        place = _source_coordinates(op, x.shape[axis], size, float(factors[axis]), span)
        is_crop = op.value("coordinates") == "tf_crop_and_resize"
        if is_crop:
            beyond = (place < 0) | (place > x.shape[axis] - 1)
            outside |= beyond.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        if size != x.shape[axis] or factors[axis] != 1 or is_crop:
            y = _resample(op, y, axis, place, float(factors[axis]))
    return (
        np.where(outside, np.asarray(op.value("extrapolation")), y)
        if outside.any()
        else y
    )


def _target_sizes(
    environment: Environment, op: nn.ResizeOp, x: Array, factors: Any
) -> tuple[int, ...]:
    """The result's sizes; a dim whose symbol is unbound follows from its scale."""
    return tuple(
        environment.size(dim)
        if environment.is_bound(dim)
        else int(np.floor(np.float32(factors[axis]) * x.shape[axis]))
        for axis, dim in enumerate(dims_of(op.result))
    )


def _source_coordinates(
    op: nn.ResizeOp, size: int, count: int, scale: float, roi: tuple[float, float]
) -> Array:
    """Where each of `count` outputs lies in a dim of `size`, as ONNX Resize says."""
    index = np.arange(count, dtype=np.float64)
    exact = scale * size
    match op.value("coordinates"):
        case "align_corners":
            return index * (size - 1) / (exact - 1) if exact != 1 else index * 0
        case "asymmetric":
            return index / scale
        case "tf_half_pixel_for_nn":
            return (index + 0.5) / scale
        case "pytorch_half_pixel" if exact == 1:
            return index * 0 - 0.5
        case "half_pixel_symmetric":
            offset = size / 2 * (1 - count / exact)
            return offset + (index + 0.5) / scale - 0.5
        case "tf_crop_and_resize":
            start, end = roi
            if exact == 1:
                step = np.full(count, (end - start) * (size - 1) / 2)
            else:
                step = index * (end - start) * (size - 1) / (exact - 1)
            return step + start * (size - 1)
        case _:
            return (index + 0.5) / scale - 0.5


def _resample(
    op: nn.ResizeOp, x: Array, axis: int, place: Array, scale: float
) -> Array:
    size = x.shape[axis]
    left = np.ceil(place).astype(np.int64) - 1
    ratio = place - left
    if op.value("mode") == "nearest":
        index = left + _round_up(ratio, op.value("rounding"))
        return np.take(x, np.clip(index, 0, size - 1), axis)
    weights, first = _filter(op, ratio, scale)
    index = left[:, None] + first + np.arange(weights.shape[1])
    if op.value("exclude_outside"):
        weights = np.where((index < 0) | (index >= size), 0, weights)
        weights = weights / weights.sum(1, keepdims=True)
    matrix = np.zeros((len(place), size))
    rows = np.broadcast_to(np.arange(len(place))[:, None], index.shape)
    np.add.at(matrix, (rows, np.clip(index, 0, size - 1)), weights)
    return np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)


def _round_up(ratio: Array, rounding: str) -> Array:
    """Whether the right neighbour is the nearest; ratio 1 is an exact hit on it."""
    exact = ratio == 1
    match rounding:
        case "floor":
            return exact
        case "ceil":
            return ratio > 0
        case "round_prefer_ceil":
            return exact | (ratio >= 0.5)
        case _:
            return exact | (ratio > 0.5)


def _filter(op: nn.ResizeOp, ratio: Array, scale: float) -> tuple[Array, int]:
    """Weights of the taps around each place, and the first tap's offset."""
    is_cubic = op.value("mode") == "cubic"
    reach = 2 if is_cubic else 1
    shrink = min(scale, 1.0) if op.value("antialias") else 1.0
    first = int(np.floor(-reach / shrink)) + 1
    taps = np.arange(first, 2 - first)
    distance = np.abs(taps - ratio[:, None]) * shrink
    if is_cubic:
        weights = cubic(distance, op.value("cubic_coefficient"))
    else:
        weights = np.clip(1 - distance, 0, 1)
    if op.value("antialias"):
        weights = weights / weights.sum(1, keepdims=True)
    return weights, first


def cubic(distance: Array, a: float) -> Array:
    """The convolution kernel of R. Keys (doi:10.1109/TASSP.1981.1163711)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _grid_sample(
    environment: Environment, op: nn.GridSampleOp, x: Array, grid: Array
) -> Array:
    spatial = x.shape[2:]
    corners, mode = op.value("align_corners"), op.value("mode")
    places: list[Array] = []
    for axis, size in enumerate(spatial):
        at = wide(grid)[..., len(spatial) - 1 - axis]
        place = (at + 1) / 2 * (size - 1) if corners else ((at + 1) * size - 1) / 2
        places.append(_fold_back(op, place, size) if mode != "cubic" else place)
    offsets = {"nearest": [0], "linear": [0, 1], "cubic": [-1, 0, 1, 2]}[mode]
    y: Array = np.zeros((*grid.shape[:-1], x.shape[1]))
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * len(spatial))
    for taps in product(offsets, repeat=len(spatial)):
        weight: Array = np.ones(grid.shape[:-1])
        index: list[Array] = []
        for place, tap, size in zip(places, taps, spatial, strict=True):
            base = np.rint(place) if mode == "nearest" else np.floor(place)
            weight = weight * _tap_weight(mode, place - base, tap)
            inside, at = _border(op, base + tap, size)
            weight = np.where(inside, weight, 0)
            index.append(at)
        values = wide(np.moveaxis(x, 1, -1)[(batch, *index)])
        y = y + np.where(weight[..., None] == 0, 0, weight[..., None] * values)
    return np.moveaxis(y, -1, 1)


def _tap_weight(mode: str, fraction: Array, tap: int) -> Array:
    distance = np.abs(fraction - tap)
    if mode == "nearest":
        return np.ones_like(fraction)
    return cubic(distance, -0.75) if mode == "cubic" else 1 - distance


def _limits(op: nn.GridSampleOp, size: int) -> tuple[float, float]:
    return (0.0, size - 1.0) if op.value("align_corners") else (-0.5, size - 0.5)


def _fold_back(op: nn.GridSampleOp, place: Array, size: int) -> Array:
    """A place outside of the image moved to the border, or reflected."""
    if op.value("padding") == "border":
        return np.clip(place, 0, size - 1)
    if op.value("padding") == "reflection":
        return np.clip(_reflect(place, *_limits(op, size)), 0, size - 1)
    return place


def _reflect(place: Array, low: float, high: float) -> Array:
    span = high - low
    if span == 0:
        return np.full_like(place, low)
    offset = np.abs(place - low) % (2 * span)
    return low + np.where(offset > span, 2 * span - offset, offset)


def _border(op: nn.GridSampleOp, index: Array, size: int) -> tuple[Any, Array]:
    """Which taps count, and the element each reads."""
    inside: Any = True
    if op.value("padding") == "zeros":
        inside = (index >= 0) & (index < size)
    elif op.value("padding") == "reflection":
        index = _reflect(index, *_limits(op, size))
    at = np.clip(np.nan_to_num(index), 0, size - 1)
    return inside, at.astype(np.int64)


def _roi_align(
    environment: Environment, op: nn.RoiAlignOp, x: Array, rois: Array, batch: Array
) -> Array:
    x, regions = wide(x), wide(rois) * op.value("spatial_scale")
    counts = (op.value("output_height"), op.value("output_width"))
    pooled = [
        _pool_region(op, x[int(which)], region, counts)
        for which, region in zip(batch, regions, strict=True)
    ]
    empty = np.zeros((0, x.shape[1], *counts))
    return np.stack(pooled) if pooled else empty


def _pool_region(
    op: nn.RoiAlignOp, image: Array, region: Array, counts: Sequence[int]
) -> Array:
    shift = 0.5 if op.value("half_pixel") else 0.0
    starts = (region[1] - shift, region[0] - shift)
    extents = [region[3] - region[1], region[2] - region[0]]
    if not op.value("half_pixel"):
        extents = [max(extent, 1.0) for extent in extents]
    ratio = op.value("sampling_ratio")
    taps = [
        _bin_taps(start, extent / count, count, ratio, size)
        for start, extent, count, size in zip(
            starts, extents, counts, image.shape[1:], strict=True
        )
    ]
    (row, row_weight), (column, column_weight) = taps
    values = image[:, row[:, :, :, None, None, None], column]
    weights = row_weight[:, :, :, None, None, None] * column_weight
    corners = values * weights
    samples = row.shape[1] * column.shape[1]
    if op.value("mode") == "avg":
        return corners.sum((2, 3, 5, 6)) / max(samples, 1)
    if samples == 0:
        return np.zeros((image.shape[0], *counts))
    return corners.max((2, 3, 5, 6))


def _bin_taps(
    start: float, width: float, count: int, ratio: int, size: int
) -> tuple[Array, Array]:
    """Indices and weights `[bins, samples, 2]` of linear interpolation along a dim."""
    samples = ratio if ratio > 0 else max(int(np.ceil(width)), 0)
    within = (np.arange(samples) + 0.5) / max(samples, 1)
    place = start + (np.arange(count)[:, None] + within) * width
    valid = (place >= -1) & (place <= size)
    place = np.clip(place, 0, size - 1)
    low = np.floor(place).astype(np.int64)
    fraction = place - low
    index = np.stack([low, np.minimum(low + 1, size - 1)], -1)
    weight = np.stack([1 - fraction, fraction], -1) * valid[..., None]
    return index, weight


TABLE: Table = {
    nn.ResizeOp: _resize,
    nn.GridSampleOp: _grid_sample,
    nn.RoiAlignOp: _roi_align,
}
