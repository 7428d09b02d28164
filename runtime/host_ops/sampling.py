"""Reads at computed positions, and where the maxima of windows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from .values import Array, HostOp, wide

TAPS = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}
"""Neighbours that each coordinate reads, counted from the one below it."""

CUBIC = -0.75
"""The coefficient of the cubic filter (Keys, 1981) that ONNX's GridSample has."""


def grid_sample(
    x: Array, grid: Array, dtype: str, mode: str, padding: str, align_corners: bool
) -> list[Array]:
    """x `[N, C, spatial..]` at positions in [-1, 1] given by `[N, out.., rank]`."""
    sizes = x.shape[2:]
    places: list[Array] = []
    for axis, size in enumerate(sizes):
        at = wide(grid)[..., len(sizes) - 1 - axis]
        place = (
            (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        )
        if mode != "cubic":
            place = fold(place, size, padding, align_corners)
        places.append(place)
    y = np.zeros((*grid.shape[:-1], x.shape[1]))
    source = np.moveaxis(wide(x), 1, -1)
    batch = np.arange(len(x)).reshape(-1, *[1] * len(sizes))
    for taps in product(TAPS[mode], repeat=len(sizes)):
        weight: Array = np.ones(grid.shape[:-1])
        index: list[Array] = [batch]
        for place, tap, size in zip(places, taps, sizes, strict=True):
            base = np.rint(place) if mode == "nearest" else np.floor(place)
            weight = weight * tap_weight(mode, np.abs(place - base - tap))
            inside, at = neighbour(base + tap, size, padding, align_corners)
            weight = weight * inside
            index.append(at)
        term = weight[..., None] * source[tuple(index)]
        y += np.where(weight[..., None] == 0, 0, term)
    return [np.moveaxis(y, -1, 1).astype(x.dtype)]


def tap_weight(mode: str, distance: Array) -> Array:
    """How much a neighbour at `distance` counts."""
    if mode == "nearest":
        return np.ones_like(distance)
    if mode == "linear":
        return 1 - distance
    a, d = CUBIC, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def fold(place: Array, size: int, padding: str, corners: bool) -> Array:
    """A place outside of the image, moved to the border or reflected."""
    if padding == "reflection":
        place = reflect(place, size, corners)
    return place if padding == "zeros" else np.clip(place, 0, size - 1)


def reflect(place: Array, size: int, corners: bool) -> Array:
    """Mirrored at the centres of the border's pixels, or at their outer edges."""
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    if high == low:
        return np.full_like(place, low)
    offset = np.abs(place - low) % (2 * (high - low))
    return low + np.minimum(offset, 2 * (high - low) - offset)


def neighbour(
    index: Array, size: int, padding: str, corners: bool
) -> tuple[Any, Array]:
    """Whether a neighbour counts, and the element it reads."""
    inside = (index >= 0) & (index < size) if padding == "zeros" else True
    if padding == "reflection":
        index = reflect(index, size, corners)
    return inside, np.clip(np.nan_to_num(index), 0, size - 1).astype(np.int64)


def max_pool_indices(
    x: Array,
    dtype: str,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    shape: Sequence[int],
    storage_order: int,
    **layout: bool,
) -> list[Array]:
    """Positions in the flat x of the first maximum of each window, channels first.

    With `storage_order` 1 the spatial dims count column-major.
    """
    sizes = x.shape[2:]
    flat = np.arange(np.prod(sizes))
    if storage_order:
        flat = flat.reshape(sizes[::-1]).T
    spatial = range(len(sizes))
    places = [
        np.arange(shape[i + 2])[:, None] * strides[i]
        + np.arange(kernel[i]) * dilations[i]
        - pads[i]
        for i in spatial
    ]
    best = np.full(shape, -np.inf)
    found = np.zeros(shape, np.int64)
    for taps in product(*(range(count) for count in kernel)):
        rows = [places[i][:, taps[i]] for i in spatial]
        index = np.ix_(*(np.clip(rows[i], 0, sizes[i] - 1) for i in spatial))
        asked = np.meshgrid(*rows, indexing="ij")
        counts = np.all(
            [at == i for at, i in zip(asked, np.broadcast_arrays(*index), strict=True)],
            0,
        )
        values = wide(x)[(..., *index)]
        wins = counts & (values > best)
        best = np.where(wins, values, best)
        found = np.where(wins, flat.reshape(sizes)[index], found)
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(sizes))
    return [found + planes * flat.size]


SAMPLING: Mapping[str, HostOp] = {
    "grid_sample": grid_sample,
    "max_pool_indices": max_pool_indices,
}
