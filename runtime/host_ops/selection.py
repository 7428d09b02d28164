"""Results whose size depends on the data, and orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stepwell.errors import InputError

from .values import Array, HostOp, scalar, wide


def nonzero(x: Array, dtype: str) -> list[Array]:
    """Coordinates of the elements other than 0, `[rank, count]`, row-major."""
    return [np.argwhere(wide(x)).T.reshape(x.ndim, -1)]


def compress(
    x: Array, condition: Array, dtype: str, axis: int | None = None
) -> list[Array]:
    """The slices along `axis` where the condition holds; of the flat x if None."""
    return [np.compress(condition, x, axis)]


def unique(x: Array, dtype: str, sorted: bool, axis: int | None = None) -> list[Array]:
    """Distinct values, where each is first, which each element is, how many of each."""
    source = x.reshape(-1) if axis is None else x
    keys = source.astype(np.str_) if x.dtype == np.object_ else wide(source)
    _, first, inverse, counts = np.unique(keys, True, True, True, axis=axis)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, inverse, counts = first[order], rank[inverse], counts[order]
    return [np.take(source, first, axis or 0), first, inverse, counts]


def sorted_indices(x: Array, axis: int, descending: bool) -> Array:
    """The stable order along an axis; NaN is larger than any number."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    flipped = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - flipped, axis)


def sort(x: Array, dtype: str, axis: int, descending: bool) -> list[Array]:
    """The elements along an axis in order, and where each came from."""
    order = sorted_indices(wide(x), axis, descending)
    return [np.take_along_axis(x, order, axis), order]


def topk(
    x: Array, dtype: str, k: Sequence[int], axis: int, largest: bool, sorted: bool
) -> list[Array]:
    """The k best elements along an axis, best first, and where each came from."""
    if k[0] > x.shape[axis]:
        raise InputError(f"expected k of topk at most {x.shape[axis]}, got {k[0]}")
    order = sorted_indices(wide(x), axis, largest)
    order = np.take(order, np.arange(k[0]), axis)
    return [np.take_along_axis(x, order, axis), order]


def non_max_suppression(
    boxes: Array,
    scores: Array,
    max_output: Array | None,
    iou_threshold: Array | None,
    score_threshold: Array | None,
    dtype: str,
    center_point: bool,
) -> list[Array]:
    """The best boxes of each class, none overlapping a better one too much."""
    most = int(scalar(max_output, 0))
    overlap = scalar(iou_threshold, 0.0)
    least = None if score_threshold is None else scalar(score_threshold, 0.0)
    corners = _corners(wide(boxes), center_point)
    rows: list[tuple[int, int, int]] = []
    for batch, per_class in enumerate(wide(scores)):
        for label, values in enumerate(per_class):
            kept = _suppress(corners[batch], values, most, overlap, least)
            rows.extend((batch, label, box) for box in kept)
    return [np.array(rows, np.int64).reshape(-1, 3)]


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
    """Indices of the boxes kept, the best first."""
    order = np.argsort(-scores, kind="stable")
    if least is not None:
        order = order[scores[order] > least]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(scores), np.bool_)
    kept: list[int] = []
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


SELECTION: Mapping[str, HostOp] = {
    "compress": compress,
    "non_max_suppression": non_max_suppression,
    "nonzero": nonzero,
    "sort": sort,
    "topk": topk,
    "unique": unique,
}
