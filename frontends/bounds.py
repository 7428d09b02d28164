"""Slice bounds as dims: Python's rules, on sizes that may be symbols."""

from __future__ import annotations

from stepwell.dialects.shapes import Dim, Ranges, bounds, dim_max, dim_min

FAR = 2**29
"""A bound past this is "to the end": exporters write 10**9, or the largest int64."""


def at_least(dim: Dim, low: Dim, ranges: Ranges) -> Dim:
    """`max(dim, low)`, without the max where the ranges prove it."""
    return dim if bounds(dim - low, ranges)[0] >= 0 else dim_max(dim, low)


def at_most(dim: Dim, high: Dim, ranges: Ranges) -> Dim:
    """`min(dim, high)`, without the min where the ranges prove it."""
    return dim if bounds(high - dim, ranges)[0] >= 0 else dim_min(dim, high)


def clamp_index(index: Dim, low: Dim, high: Dim, size: Dim, ranges: Ranges) -> Dim:
    """An index counted from the front and clamped to `low..high`."""
    if isinstance(index, int):
        if index > FAR:
            return high
        if index < -FAR:
            return low
        if index < 0:
            index = index + size
    return at_most(at_least(index, low, ranges), high, ranges)


def slice_bounds(
    start: Dim, end: Dim, step: int, size: Dim, ranges: Ranges
) -> tuple[Dim, Dim]:
    """First index and exclusive limit of `[start:end:step]` on a dim of `size`.

    With a negative step the limit lies below the start and may be -1.
    """
    if step > 0:
        first = clamp_index(start, 0, size, size, ranges)
        limit = clamp_index(end, 0, size, size, ranges)
        return first, at_least(limit, first, ranges)
    first = clamp_index(start, 0, size - 1, size, ranges)
    limit = clamp_index(end, -1, size - 1, size, ranges)
    return first, at_most(limit, first, ranges)
