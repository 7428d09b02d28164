"""Folds that frontends share: arithmetic on small arrays whose elements may be dims.

A fold gives the contents of a node's outputs from those of its inputs, or None where
they are not known exactly; then the node becomes ops of the graph like any other. What
depends on a framework's attributes is with that framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from stepwell.dialects.dims import Dim, DimExpr, Ranges, bounds
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.folding import Fold
from stepwell.frontends.values import Contents, as_dim_array, dim_array, is_symbolic


class Node(Protocol):
    """What a fold asks of a frontend's node."""

    @property
    def builder(self) -> GraphBuilder:
        """The function under construction."""
        ...


def elementwise(function: Callable[..., Any], *arrays: Contents) -> Contents | None:
    """`function` on each tuple of broadcast elements; None if it is None anywhere."""
    broadcast = np.broadcast_arrays(*arrays)
    rows = zip(*(array.reshape(-1) for array in broadcast), strict=True)
    values = [function(*row) for row in rows]
    if any(value is None for value in values):
        return None
    return dim_array(values).reshape(broadcast[0].shape)


def exact(function: Callable[..., Dim | None]) -> Fold:
    """A fold on integers: `function` on Python ints and dims."""

    def fold(_: Node, *inputs: Contents) -> Contents | None:
        if any(array.dtype.kind not in "Oiu" for array in inputs):
            return None
        return elementwise(function, *(as_dim_array(array) for array in inputs))

    return fold


def numeric(
    function: Callable[..., Contents], symbolic: Callable[..., Dim | None] | None = None
) -> Fold:
    """A fold that is `function` of NumPy on floats, and exact on integers."""
    folded = exact(symbolic) if symbolic else None

    def fold(node: Node, *inputs: Contents) -> Contents | list[Contents] | None:
        if all(array.dtype.kind == "f" for array in inputs):
            return np.asarray(function(*inputs), inputs[0].dtype)
        return folded(node, *inputs) if folded else None

    return fold


def chained(function: Callable[[Any, Any], Any]) -> Callable[..., Dim]:
    """A function of any number of dims from one of two."""

    def apply(first: Dim, *others: Dim) -> Dim:
        for other in others:
            first = function(first, other)
        return first

    return apply


def divide(left: Dim, right: Dim) -> Dim | None:
    """Truncating division; None for signs that are not known."""
    if isinstance(left, int) and isinstance(right, int):
        quotient = abs(left) // abs(right) if right else None
        same_sign = (left < 0) == (right < 0)
        return None if quotient is None else quotient if same_sign else -quotient
    is_known = bounds(left)[0] >= 0 and not (isinstance(right, int) and right <= 0)
    return left // right if is_known and bounds(right)[0] >= 0 else None


def modulo(left: Dim, right: Dim) -> Dim | None:
    """The remainder of dims that are not negative."""
    if isinstance(right, int) and right <= 0:
        return None
    return left % right if bounds(left)[0] >= 0 and bounds(right)[0] >= 0 else None


def is_equal(left: Dim, right: Dim, ranges: Ranges) -> bool | None:
    """Whether two dims are equal; None if that depends on their symbols."""
    if left == right:
        return True
    low, high = bounds(left - right, ranges)
    return None if low <= 0 <= high else False


def is_less(left: Dim, right: Dim, ranges: Ranges) -> bool | None:
    """Whether `left < right`; None if that depends on their symbols."""
    low, high = bounds(right - left, ranges)
    return True if low > 0 else False if high <= 0 else None


def compare(function: Callable[[Dim, Dim, Ranges], bool | None]) -> Fold:
    """A fold of a comparison, decided by the ranges of the symbols."""

    def fold(node: Node, *inputs: Contents) -> Contents | None:
        if not any(is_symbolic(array) for array in inputs):
            if any(array.dtype.kind not in "iufb" for array in inputs):
                return None
            plain = elementwise(lambda a, b: _plain(function, a, b), *inputs)
            return np.asarray(plain, bool)

        def decide(left: Dim, right: Dim) -> bool | None:
            return function(left, right, node.builder.ranges)

        found = elementwise(decide, *(as_dim_array(array) for array in inputs))
        return None if found is None else found.astype(bool)

    return fold


def _plain(function: Any, left: Any, right: Any) -> bool:
    return bool(left == right if function is is_equal else left < right)


def negated(fold: Fold, swap: bool = False) -> Fold:
    """`a <= b` is `not (b < a)`."""

    def apply(node: Node, left: Contents, right: Contents) -> Contents | None:
        found = fold(node, right, left) if swap else fold(node, left, right)
        return None if found is None else np.logical_not(found)

    return apply


def swapped(fold: Fold) -> Fold:
    """`a > b` is `b < a`."""
    return lambda node, left, right: fold(node, right, left)


def logical(function: Callable[..., Contents]) -> Fold:
    """A fold on booleans."""

    def fold(_: Node, *inputs: Contents) -> Contents | None:
        if any(array.dtype != bool for array in inputs):
            return None
        return np.asarray(function(*inputs))

    return fold


def cast(x: Contents, dtype: np.dtype[Any]) -> Contents | None:
    """Casts between integers, and of integers to and from floats that hold them."""
    if is_symbolic(x):
        return x if dtype.kind in "iuf" else None
    if dtype.kind not in "iufb" or x.dtype.kind not in "iufb":
        return None
    if x.dtype.kind == "f" and dtype.kind in "iu" and not np.isfinite(x).all():
        return None
    return x.astype(dtype)


def where(_: Node, condition: Contents, x: Contents, y: Contents) -> Contents | None:
    """Element by element, on a condition that is known."""
    if is_symbolic(condition):
        return None
    if is_symbolic(x) or is_symbolic(y):
        x, y = as_dim_array(x), as_dim_array(y)
    return np.where(condition, x, y)


def range_(
    _: Node, start: Contents, limit: Contents, step: Contents
) -> Contents | None:
    """`start, start + step, ...` below `limit`, when the number of them is known."""
    if any(is_symbolic(array) for array in (start, limit, step)) or not step.item():
        return None
    count = math.ceil((limit.item() - start.item()) / step.item())
    if not 0 <= count <= 4096:
        return None
    return np.asarray(start.item() + np.arange(count) * step.item(), start.dtype)


def round_dims(function: Callable[..., Contents]) -> Fold:
    """Rounding: dims are whole already."""

    def fold(_: Node, x: Contents) -> Contents | None:
        return x if is_symbolic(x) else function(x) if x.dtype.kind == "f" else None

    return fold


def absolute(dim: Dim) -> Dim | None:
    """`|dim|` of a known sign."""
    if isinstance(dim, DimExpr):
        return dim if bounds(dim)[0] >= 0 else None
    return abs(dim)


def dim_sum(*dims: Dim) -> Dim:
    """The sum of dims."""
    return chained(lambda a, b: a + b)(0, *dims)


def dim_product(*dims: Dim) -> Dim:
    """The product of dims."""
    return chained(lambda a, b: a * b)(1, *dims)


equal = compare(is_equal)
less = compare(is_less)
