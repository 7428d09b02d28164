"""Data movement of element types that no kernel holds: strings, 4 bits and fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .values import Array, HostOp


def broadcast_to(x: Array, dtype: str, shape: Sequence[int]) -> list[Array]:
    """The tensor repeated to a larger shape."""
    return [np.broadcast_to(x, shape).copy()]


def concat(*parts: Array, dtype: str, axis: int) -> list[Array]:
    """The tensors one behind the other along an axis."""
    return [np.concatenate(parts, axis)]


def gather(x: Array, indices: Array, dtype: str, axis: int) -> list[Array]:
    """Slices along an axis; negative indices count from the end."""
    return [np.take(x, indices, axis)]


def transpose(x: Array, dtype: str, perm: Sequence[int]) -> list[Array]:
    """Dims in another order."""
    return [np.transpose(x, perm).copy()]


def slice_(
    x: Array,
    dtype: str,
    starts: Sequence[int],
    limits: Sequence[int],
    steps: Sequence[int],
) -> list[Array]:
    """Every step-th element from start up to limit; negative steps go backwards."""
    pieces = [
        slice(start, limit if limit >= 0 else None, step)
        for start, limit, step in zip(starts, limits, steps, strict=True)
    ]
    return [x[tuple(pieces)].copy()]


def select(condition: Array, a: Array, b: Array, dtype: str) -> list[Array]:
    """Elements of `a` where the condition holds, else of `b`."""
    return [np.where(condition, a, b)]


def compare(a: Array, b: Array, dtype: str, predicate: str) -> list[Array]:
    """Strings compared; only equality has a meaning for them."""
    same = np.asarray(a == b, np.bool_)
    return [same if predicate == "eq" else ~same]


MOVEMENT: Mapping[str, HostOp] = {
    "broadcast_to": broadcast_to,
    "compare": compare,
    "concat": concat,
    "gather": gather,
    "select": select,
    "slice": slice_,
    "transpose": transpose,
}
