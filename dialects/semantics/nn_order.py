"""Meaning of sorting and of the ops whose result size depends on the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepwell.dialects import nn
from stepwell.errors import ShapeError

from .environment import Array, Environment, Table, wide


def sorted_indices(x: Array, axis: int, descending: bool) -> Array:
    """The stable order along an axis; NaN counts as larger than any number."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    flipped = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - flipped, axis)


def _sort(environment: Environment, op: nn.SortOp, x: Array) -> tuple[Array, Array]:
    axis = op.value("axis")
    order = sorted_indices(wide(x), axis, op.value("descending"))
    return np.take_along_axis(x, order, axis), order


def _topk(environment: Environment, op: nn.TopkOp, x: Array) -> tuple[Array, Array]:
    axis = op.value("axis")
    (k,) = environment.sizes(op.value("k"))
    if k > x.shape[axis]:
        raise ShapeError(f"expected k of nn.topk at most {x.shape[axis]}, got {k}")
    order = sorted_indices(wide(x), axis, op.value("largest"))
    order = np.take(order, np.arange(k), axis)
    return np.take_along_axis(x, order, axis), order


def _nonzero(environment: Environment, op: nn.NonzeroOp, x: Array) -> Array:
    return np.argwhere(wide(x)).T.reshape(x.ndim, -1)


def _unique(environment: Environment, op: nn.UniqueOp, x: Array) -> tuple[Array, ...]:
    axis = op.value("axis")
    source = x.reshape(-1) if axis is None else x
    along = 0 if axis is None else axis
    keys = source.astype(np.str_) if x.dtype == np.object_ else wide(source)
    _, first, inverse, counts = np.unique(
        keys, True, True, True, axis=None if axis is None else axis
    )
    inverse = inverse.reshape(-1)
    if not op.value("sorted"):
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, inverse, counts = first[order], rank[inverse], counts[order]
    return np.take(source, first, along), first, inverse, counts


def _compress(
    environment: Environment, op: nn.CompressOp, x: Array, condition: Array
) -> Array:
    axis = op.value("axis")
    return np.compress(condition, x, axis)


def _non_max_suppression(
    environment: Environment,
    op: nn.NonMaxSuppressionOp,
    boxes: Array,
    scores: Array,
    max_output: Array | None,
    iou_threshold: Array | None,
    score_threshold: Array | None,
) -> Array:
    most = _scalar(max_output, 0)
    overlap = _scalar(iou_threshold, 0.0)
    least = None if score_threshold is None else _scalar(score_threshold, 0.0)
    corners = _corners(wide(boxes), op.value("center_point"))
    rows: list[tuple[int, int, int]] = []
    for batch, per_class in enumerate(wide(scores)):
        for label, values in enumerate(per_class):
            kept = _suppress(corners[batch], values, int(most), overlap, least)
            rows.extend((batch, label, box) for box in kept)
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _scalar(value: Array | None, default: float) -> Any:
    return default if value is None or value.size == 0 else wide(value).reshape(-1)[0]


def _corners(boxes: Array, is_center: bool) -> Array:
    """Boxes as y low, x low, y high, x high."""
    if is_center:
        x, y, width, height = np.moveaxis(boxes, -1, 0)
        parts = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
        return np.stack(parts, -1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _suppress(
    boxes: Array, scores: Array, most: int, overlap: float, least: float | None
) -> list[int]:
    order = np.argsort(-scores, kind="stable")
    if least is not None:
        order = order[scores[order] > least]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    alive = np.ones(len(scores), dtype=np.bool_)
    for box in order:
        if len(kept) >= most:
            break
        if not alive[box]:
            continue
        kept.append(int(box))
        low = np.maximum(boxes[:, :2], boxes[box, :2])
        high = np.minimum(boxes[:, 2:], boxes[box, 2:])
        common = np.prod(np.maximum(high - low, 0), -1)
        union = area + area[box] - common
        proper = (common > 0) & (area > 0) & (union > 0)
        alive &= ~(proper & (common > overlap * np.where(union > 0, union, 1)))
    return kept


TABLE: Table = {
    nn.SortOp: _sort,
    nn.TopkOp: _topk,
    nn.NonzeroOp: _nonzero,
    nn.UniqueOp: _unique,
    nn.CompressOp: _compress,
    nn.NonMaxSuppressionOp: _non_max_suppression,
}
