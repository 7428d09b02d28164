"""Contents of small tensors, computed at import: shape arithmetic as dim expressions.

Each function gives the contents of a node's outputs from those of its inputs, or None
where they are not known exactly; then the node becomes ops of the graph like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from stepwell.dialects.dims import (
    Dim,
    DimExpr,
    Ranges,
    bounds,
    dim_max,
    dim_min,
)
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.values import (
    Contents,
    as_dim_array,
    dim_array,
    is_symbolic,
)

Fold: TypeAlias = Callable[..., Contents | list[Contents] | None]


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
            return (
                None
                if any(a.dtype.kind not in "iufb" for a in inputs)
                else (
                    np.asarray(
                        elementwise(lambda a, b: _plain(function, a, b), *inputs), bool
                    )
                )
            )
        decide = lambda a, b: function(a, b, node.builder.ranges)  # noqa: E731
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


def cast(node: Node, x: Contents) -> Contents | None:
    """Casts between integers, and of integers to and from floats that hold them."""
    dtype = node.dtype("to")
    if is_symbolic(x):
        return x if dtype.kind in "iuf" else None
    if dtype.kind not in "iufb" or x.dtype.kind not in "iufb":
        return None
    if x.dtype.kind == "f" and dtype.kind in "iu" and not np.isfinite(x).all():
        return None
    return x.astype(dtype)


def cast_like(node: Node, x: Contents, like: Contents) -> Contents | None:
    """A cast to the type of the second input."""
    del like
    dtype = node.numpy_dtype(1)
    if is_symbolic(x):
        return x if dtype.kind in "iu" else None
    is_plain = dtype.kind in "iuf" and x.dtype.kind in "iuf"
    return x.astype(dtype) if is_plain and np.isfinite(x).all() else None


def where(_: Node, condition: Contents, x: Contents, y: Contents) -> Contents | None:
    """Element by element, on a condition that is known."""
    if is_symbolic(condition):
        return None
    if is_symbolic(x) or is_symbolic(y):
        x, y = as_dim_array(x), as_dim_array(y)
    return np.where(condition, x, y)


def concat(node: Node, *inputs: Contents) -> Contents:
    """Plain arrays become dims when one of them holds dims."""
    if any(is_symbolic(array) for array in inputs):
        inputs = tuple(as_dim_array(array) for array in inputs)
    return np.concatenate(inputs, axis=node.int("axis", 1))


def gather(node: Node, x: Contents, indices: Contents) -> Contents | None:
    """Indices out of range are left to the checks of the graph's own op."""
    axis = node.int("axis", 0)
    if is_symbolic(indices):
        return None
    return np.asarray(np.take(x, indices.astype(np.int64), axis=axis), x.dtype)


def slice_(node: Node, x: Contents, *parameters: Contents) -> Contents | None:
    """Python's slicing, which is ONNX's, on bounds that are known."""
    if any(is_symbolic(array) for array in parameters):
        return None
    if parameters:
        starts, ends, *rest = (array.reshape(-1).tolist() for array in parameters)
    else:
        starts, ends, rest = node.ints("starts"), node.ints("ends"), []
    axes = rest[0] if rest else node.ints("axes", list(range(len(starts))))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        low = -x.shape[axis] - 1
        index[axis] = slice(start, None if step < 0 and end <= low else end, step)
    return x[tuple(index)]


def axes_of(node: Node, inputs: tuple[Contents, ...]) -> list[int] | None:
    """The axes a node names by input or, in older opsets, by attribute."""
    if inputs:
        return inputs[0].reshape(-1).tolist()
    return node.ints("axes", None)


def squeeze(node: Node, x: Contents, *axes: Contents) -> Contents:
    """Drop dims of size 1."""
    named = axes_of(node, axes)
    return np.squeeze(x, axis=None if named is None else tuple(named))


def unsqueeze(node: Node, x: Contents, *axes: Contents) -> Contents:
    """Add dims of size 1."""
    return np.expand_dims(x, tuple(axes_of(node, axes) or ()))


def reshape(node: Node, x: Contents, *shape: Contents) -> Contents | None:
    """To a plain shape; 0 keeps a dim."""
    if any(is_symbolic(array) for array in shape):
        return None
    sizes = shape[0].tolist() if shape else node.ints("shape")
    if not node.int("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def expand(_: Node, x: Contents, shape: Contents) -> Contents | None:
    """NumPy's broadcasting."""
    if is_symbolic(shape) or math.prod(map(int, shape)) > 4096:
        return None
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(map(int, shape))))


def transpose(node: Node, x: Contents) -> Contents:
    """Permute dims."""
    return np.transpose(x, node.ints("perm", None))


def split(node: Node, x: Contents, *sizes: Contents) -> list[Contents] | None:
    """Equal parts, or parts of the sizes given."""
    axis = node.int("axis", 0)
    lengths = sizes[0].tolist() if sizes else node.ints("split", None)
    if lengths is None:
        count = node.int("num_outputs", len(node.outputs))
        each = -(-x.shape[axis] // count)
        return np.array_split(x, np.arange(1, count) * each, axis=axis)
    return np.split(x, np.cumsum(lengths)[:-1], axis=axis)


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


def nonzero(_: Node, x: Contents) -> Contents | None:
    """Indices of the elements that are not zero."""
    if is_symbolic(x):
        return None
    return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)


def reduction(function: Callable[..., Dim]) -> Fold:
    """A reduction of integers over all of one or more axes."""

    def fold(node: Node, x: Contents, *axes: Contents) -> Contents | None:
        if x.dtype.kind not in "Oiu" or x.ndim != 1:
            return None
        if node.int("noop_with_empty_axes", 0) and not axes:
            return None
        total = dim_array([function(*as_dim_array(x).tolist())])
        return total if node.int("keepdims", 1) else total.reshape(())

    return fold


def _sum(*dims: Dim) -> Dim:
    return chained(lambda a, b: a + b)(0, *dims)


def _product(*dims: Dim) -> Dim:
    return chained(lambda a, b: a * b)(1, *dims)


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


_EQUAL = compare(is_equal)
_LESS = compare(is_less)

FOLDS: dict[str, Fold] = {
    "Abs": numeric(np.abs, absolute),
    "Add": numeric(np.add, lambda a, b: a + b),
    "Sub": numeric(np.subtract, lambda a, b: a - b),
    "Mul": numeric(np.multiply, lambda a, b: a * b),
    "Div": numeric(np.divide, divide),
    "Mod": exact(modulo),
    "Neg": numeric(np.negative, lambda a: -a),
    "Min": exact(dim_min),
    "Max": exact(dim_max),
    "Sqrt": numeric(np.sqrt),
    "Pow": numeric(np.power),
    "Floor": round_dims(np.floor),
    "Ceil": round_dims(np.ceil),
    "Round": round_dims(np.round),
    "Equal": _EQUAL,
    "Less": _LESS,
    "Greater": swapped(_LESS),
    "LessOrEqual": negated(_LESS, swap=True),
    "GreaterOrEqual": negated(_LESS),
    "And": logical(np.logical_and),
    "Or": logical(np.logical_or),
    "Xor": logical(np.logical_xor),
    "Not": logical(np.logical_not),
    "Where": where,
    "Cast": cast,
    "CastLike": cast_like,
    "Concat": concat,
    "Gather": gather,
    "Slice": slice_,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Reshape": reshape,
    "Expand": expand,
    "Transpose": transpose,
    "Split": split,
    "Range": range_,
    "NonZero": nonzero,
    "ReduceSum": reduction(_sum),
    "ReduceProd": reduction(_product),
    "ReduceMax": reduction(dim_max),
    "ReduceMin": reduction(dim_min),
    "Identity": lambda node, x: x,
}
