"""Access maps of the ops that only move data: `result[i] = source[map(i)]`.

The maps are over dims `t0, t1, ...`, one per dim of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from stepwell.dialects.access import AccessMap, Fill, Guard, row_major
from stepwell.dialects.dims import Dim, dim_max, dim_min, product, symbol
from stepwell.dialects.quasi_affine import Extents, floor_divide, modulo

PadMode: TypeAlias = Literal["constant", "reflect", "edge", "wrap"]


def tensor_dims(rank: int) -> tuple[str, ...]:
    """The names `t0, t1, ...` of a tensor's own indices."""
    return tuple(f"t{position}" for position in range(rank))


def transpose_map(perm: Sequence[int]) -> AccessMap:
    """`result[i] = source[...]` with dim `k` of the result being dim `perm[k]`."""
    dims = tensor_dims(len(perm))
    results: list[Dim] = [0] * len(perm)
    for name, position in zip(dims, perm, strict=True):
        results[position] = symbol(name)
    return AccessMap(dims, tuple(results))


def slice_map(starts: Sequence[Dim], steps: Sequence[int]) -> AccessMap:
    """Element `i` is `start + i * step`, in each dim; steps may be negative."""
    dims = tensor_dims(len(starts))
    results = (
        symbol(name) * step + start
        for name, start, step in zip(dims, starts, steps, strict=True)
    )
    return AccessMap(dims, tuple(results))


def broadcast_map(source: Sequence[Dim], result: Sequence[Dim]) -> AccessMap:
    """NumPy's broadcasting: shapes are aligned at the end, extent 1 is repeated."""
    dims = tensor_dims(len(result))
    aligned = dims[len(result) - len(source) :]
    indices = (
        0 if size == 1 else symbol(name)
        for name, size in zip(aligned, source, strict=True)
    )
    return AccessMap(dims, tuple(indices))


def pad_map(
    shape: Sequence[Dim],
    low: Sequence[Dim],
    fill: Fill | None,
    mode: PadMode = "constant",
    high: Sequence[Dim] | None = None,
) -> AccessMap:
    """Element `i` of the padded tensor is `i - low` of the source of `shape`.

    Negative `low` and `high` crop. With `constant`, reads outside give `fill`; a dim
    that is padded on no side needs no guard.
    """
    dims = tensor_dims(len(shape))
    high = [1] * len(shape) if high is None else high
    results: list[Dim] = []
    guards: list[Guard] = []
    for name, size, before, after in zip(dims, shape, low, high, strict=True):
        index = symbol(name) - before
        if mode != "constant":
            results.append(_reflected(index, size, mode))
            continue
        results.append(index)
        if (before, after) != (0, 0):
            guards.append(Guard(index, size))
    return AccessMap(dims, tuple(results), tuple(guards), fill if guards else None)


def reshape_map(before: Sequence[Dim], after: Sequence[Dim]) -> AccessMap:
    """Element `i` of `after` in a row-major tensor of `before`.

    Dims are matched in groups of equal product, so that a reshape which splits or
    merges on borders stays free of `floordiv` and `mod` where it can.
    """
    dims = tensor_dims(len(after))
    extents = dict(zip(dims, after, strict=True))
    results: list[Dim] = [0] * len(before)
    for (begin, end), (first, last) in _groups(before, after):
        sizes = before[begin:end]
        linear = _linearise(dims[first:last], after[first:last])
        results[begin:end] = _delinearise(linear, sizes, extents)
    return AccessMap(dims, tuple(results))


def _reflected(index: Dim, size: Dim, mode: PadMode) -> Dim:
    if mode == "edge":
        return dim_min(dim_max(index, 0), size - 1)
    if mode == "wrap":
        return index % size
    if size == 1:
        return 0
    period = (size - 1) * 2
    phase = index % period
    return dim_min(phase, period - phase)


def _linearise(names: Sequence[str], shape: Sequence[Dim]) -> Dim:
    total: Dim = 0
    for name, size, stride in zip(names, shape, row_major(shape), strict=True):
        total = total if size == 1 else total + symbol(name) * stride
    return total


def _delinearise(linear: Dim, shape: Sequence[Dim], extents: Extents) -> list[Dim]:
    found: list[Dim] = []
    outer = True
    for size, stride in zip(shape, row_major(shape), strict=True):
        if size == 1:
            found.append(0)
            continue
        digit = floor_divide(linear, stride, extents)
        found.append(digit if outer else modulo(digit, size, extents))
        outer = False
    return found


def _groups(
    before: Sequence[Dim], after: Sequence[Dim]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of ranges of dims with equal products, from left to right."""
    groups: list[tuple[tuple[int, int], tuple[int, int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        end, last = _next_border(before, after, i, j)
        groups.append(((i, end), (j, last)))
        i, j = end, last
    return groups


def _next_border(
    before: Sequence[Dim], after: Sequence[Dim], i: int, j: int
) -> tuple[int, int]:
    reach = (len(before) - i) + (len(after) - j)
    for total in range(1, reach):
        for step in range(total + 1):
            end, last = i + total - step, j + step
            if end > len(before) or last > len(after):
                continue
            if product(before[i:end]) == product(after[j:last]):
                return end, last
    return len(before), len(after)
