"""Contents of small tensors, computed at import: shape arithmetic as dim expressions.

Each function gives the contents of a node's outputs from those of its inputs, or None
where they are not known exactly; then the node becomes ops of the graph like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from xdsl.ir import Attribute

from stepwell.dialects.dims import Dim, dim_max, dim_min
from stepwell.dialects.dtypes import element_type, i64
from stepwell.frontends import folds
from stepwell.frontends.folding import Fold
from stepwell.frontends.folds import (
    absolute,
    dim_product,
    dim_sum,
    divide,
    equal,
    exact,
    less,
    logical,
    modulo,
    negated,
    numeric,
    range_,
    round_dims,
    swapped,
    where,
)
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.values import Contents, as_dim_array, dim_array, is_symbolic


def cast(node: Node, x: Contents) -> Contents | None:
    """A cast to the type that the node names."""
    return folds.cast(x, node.dtype("to"))


def cast_like(node: Node, x: Contents, like: Contents) -> Contents | None:
    """A cast to the type of the second input."""
    del like
    dtype = node.numpy_dtype(1)
    if is_symbolic(x):
        return x if dtype.kind in "iu" else None
    is_plain = dtype.kind in "iuf" and x.dtype.kind in "iuf"
    return x.astype(dtype) if is_plain and np.isfinite(x).all() else None


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


def folded_element(node: Node, contents: Contents) -> Attribute:
    """The element type of a folded output of `node`."""
    if not is_symbolic(contents):
        if node.op_type in ("Cast", "CastLike") or contents.dtype == bool:
            return element_type(contents.dtype)
        if node.op_type == "NonZero":
            return i64
    if node.op_type == "Cast":
        return node.element("to")
    index = 1 if node.op_type in ("Where", "CastLike") else 0
    return node.element_of(index)


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
    "Equal": equal,
    "Less": less,
    "Greater": swapped(less),
    "LessOrEqual": negated(less, swap=True),
    "GreaterOrEqual": negated(less),
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
    "ReduceSum": reduction(dim_sum),
    "ReduceProd": reduction(dim_product),
    "ReduceMax": reduction(dim_max),
    "ReduceMin": reduction(dim_min),
    "Identity": lambda node, x: x,
}
