"""Contents of small tensors, computed at import: shape arithmetic as dim expressions.

Each function gives the contents of a node's outputs from those of its inputs, or None
where they are not known exactly; then the node becomes ops of the graph like any other.
Only integers, booleans and scalars are folded here: weights stay as they are, for the
passes that recognise what is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Attribute

from stepwell.dialects.dims import Dim, bounds, dim_max, dim_min
from stepwell.dialects.dtypes import element_type
from stepwell.frontends import folds
from stepwell.frontends.folding import Fold
from stepwell.frontends.folds import (
    absolute,
    dim_product,
    dim_sum,
    equal,
    exact,
    less,
    logical,
    modulo,
    negated,
    numeric,
    round_dims,
    swapped,
    where,
)
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.slicing import SliceSpec
from stepwell.frontends.values import Contents, as_dim_array, dim_array, is_symbolic

RANGE_LIMIT = 4096


@dataclass(frozen=True)
class Folding:
    """How an op's outputs are computed at import.

    Args:
        now: as the node is imported, from inputs that are known already.
        later: when a builder insists on the contents.
    """

    now: Fold
    later: Fold


def always(fold: Fold) -> Folding:
    """`fold`, whatever the inputs are."""
    return Folding(fold, fold)


def scalars(fold: Fold) -> Folding:
    """`fold`, of integers and of scalars only, unless it is asked for."""

    def apply(node: Node, *inputs: Contents) -> Contents | list[Contents] | None:
        is_weight = any(x.dtype.kind not in "Oiub" and x.ndim for x in inputs)
        return None if is_weight else fold(node, *inputs)

    return Folding(apply, fold)


def integers(fold: Fold) -> Folding:
    """`fold`, of integers and dims only, unless it is asked for."""

    def apply(node: Node, *inputs: Contents) -> Contents | list[Contents] | None:
        is_plain = all(x.dtype.kind in "Oiub" for x in inputs)
        return fold(node, *inputs) if is_plain else None

    return Folding(apply, fold)


def floor_divide(left: Dim, right: Dim) -> Dim | None:
    """Division towards minus infinity by a positive number."""
    is_positive = right > 0 if isinstance(right, int) else bounds(right)[0] > 0
    if is_positive:
        return left // right
    if isinstance(left, int) and isinstance(right, int) and right:
        return left // right
    return None


def truncate_divide(left: Dim, right: Dim) -> Dim | None:
    """Division towards zero; None for signs that are not known."""
    if isinstance(left, int) and isinstance(right, int) and right:
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return floor_divide(left, right) if bounds(left)[0] >= 0 else None


def cast(node: Node, x: Contents) -> Contents | None:
    """A cast to the type that the node names."""
    return folds.cast(x, node.dtype("DstT"))


def together(arrays: tuple[Contents, ...]) -> tuple[Contents, ...]:
    """The arrays, all of dims if one of them is."""
    if any(is_symbolic(array) for array in arrays):
        return tuple(as_dim_array(array) for array in arrays)
    return arrays


def pack(node: Node, *inputs: Contents) -> Contents:
    """Stack along a new dim."""
    return np.stack(together(inputs), axis=node.attribute("axis"))


def unpack(node: Node, x: Contents) -> list[Contents]:
    """Take apart along a dim."""
    axis = node.attribute("axis")
    return [np.asarray(part) for part in np.moveaxis(x, axis, 0)]


def concat(_: Node, *inputs: Contents) -> Contents | None:
    """One after another along the axis that the last input names."""
    *parts, axis = inputs
    if is_symbolic(axis):
        return None
    return np.concatenate(together(tuple(parts)), axis=int(axis.item()))


def gather(
    node: Node, x: Contents, indices: Contents, axis: Contents
) -> Contents | None:
    """Indices out of range are left to the checks of the graph's own op."""
    if is_symbolic(indices) or is_symbolic(axis) or node.attribute("batch_dims"):
        return None
    size = x.shape[int(axis.item())]
    if indices.size and not (indices.min() >= 0 and indices.max() < size):
        return None
    return np.asarray(np.take(x, indices.astype(np.int64), axis=int(axis.item())))


def strided_slice(
    node: Node, x: Contents, begin: Contents, end: Contents, strides: Contents
) -> Contents | None:
    """Python's indexing, by the masks of the node."""
    if any(is_symbolic(array) for array in (begin, end, strides)):
        return None
    spec = SliceSpec.of(node, begin, end, strides)
    return np.asarray(x[spec.index(x.ndim)], x.dtype)


def slice_(_: Node, x: Contents, begin: Contents, size: Contents) -> Contents | None:
    """`size` elements from `begin`; -1 is all that is left."""
    if is_symbolic(begin) or is_symbolic(size):
        return None
    index = tuple(
        slice(first, None if count < 0 else first + count)
        for first, count in zip(begin.tolist(), size.tolist(), strict=True)
    )
    return x[index]


def squeeze(node: Node, x: Contents) -> Contents:
    """Drop dims of size 1."""
    return np.squeeze(x, axis=tuple(node.attribute("squeeze_dims")) or None)


def expand_dims(_: Node, x: Contents, axis: Contents) -> Contents:
    """Add a dim of size 1."""
    return np.expand_dims(x, int(axis.item()))


def reshape(_: Node, x: Contents, shape: Contents) -> Contents | None:
    """To a plain shape."""
    return None if is_symbolic(shape) else x.reshape(shape.tolist())


def fill(_: Node, dims: Contents, x: Contents) -> Contents | None:
    """One element many times."""
    if is_symbolic(dims) or math.prod(dims.tolist()) > RANGE_LIMIT:
        return None
    return np.full(dims.tolist(), x.item(), x.dtype)


def tile(_: Node, x: Contents, multiples: Contents) -> Contents | None:
    """The whole repeated along each dim."""
    if is_symbolic(multiples) or x.size * math.prod(multiples.tolist()) > RANGE_LIMIT:
        return None
    return np.tile(x, multiples.tolist())


def broadcast_to(_: Node, x: Contents, shape: Contents) -> Contents | None:
    """NumPy's broadcasting."""
    if is_symbolic(shape) or math.prod(shape.tolist()) > RANGE_LIMIT:
        return None
    return np.broadcast_to(x, shape.tolist())


def transpose(_: Node, x: Contents, perm: Contents) -> Contents:
    """Permute dims."""
    return np.transpose(x, perm.tolist())


def reverse(_: Node, x: Contents, axes: Contents) -> Contents:
    """Backwards along dims."""
    return np.flip(x, tuple(axes.reshape(-1).tolist()))


def range_(
    _: Node, start: Contents, limit: Contents, step: Contents
) -> Contents | None:
    """`start, start + step, ...` below `limit`, when the number of them is known."""
    if any(is_symbolic(array) for array in (start, limit, step)) or not step.item():
        return None
    count = math.ceil((limit.item() - start.item()) / step.item())
    if not 0 <= count <= RANGE_LIMIT:
        return None
    return np.asarray(start.item() + np.arange(count) * step.item(), start.dtype)


def reduction(function: Callable[..., Dim]) -> Fold:
    """A reduction of integers over the one dim there is."""

    def fold(node: Node, x: Contents, axes: Contents) -> Contents | None:
        if x.dtype.kind not in "Oiu" or x.ndim != 1 or axes.size != 1:
            return None
        total = dim_array([function(*as_dim_array(x).tolist())])
        return total if node.attribute("keep_dims") else total.reshape(())

    return fold


def boolean_reduction(function: Callable[..., Contents]) -> Fold:
    """All or any of booleans."""

    def fold(node: Node, x: Contents, axes: Contents) -> Contents | None:
        if x.dtype != bool:
            return None
        named = tuple(axes.reshape(-1).tolist())
        return np.asarray(function(x, axis=named, keepdims=node.attribute("keep_dims")))

    return fold


def dims_of_input(node: Node, x: Contents) -> Contents:
    """The shape of known contents."""
    del node
    return dim_array(list(x.shape))


def folded_element(node: Node, contents: Contents) -> Attribute:
    """The element type of a folded output of `node`."""
    if node.op_type == "Cast":
        return node.element("DstT")
    if not is_symbolic(contents) and contents.dtype == bool:
        return element_type(contents.dtype)
    index = 1 if node.op_type in ("Select", "SelectV2", "Fill") else 0
    return node.element_of(index)


FOLDS: dict[str, Folding] = {
    "Abs": scalars(numeric(np.abs, absolute)),
    "Add": scalars(numeric(np.add, lambda a, b: a + b)),
    "AddV2": scalars(numeric(np.add, lambda a, b: a + b)),
    "Sub": scalars(numeric(np.subtract, lambda a, b: a - b)),
    "Mul": scalars(numeric(np.multiply, lambda a, b: a * b)),
    "RealDiv": scalars(numeric(np.divide)),
    "FloorDiv": scalars(numeric(np.floor_divide, floor_divide)),
    "TruncateDiv": always(exact(truncate_divide)),
    "FloorMod": always(exact(modulo)),
    "Neg": scalars(numeric(np.negative, lambda a: -a)),
    "Minimum": scalars(numeric(np.minimum, dim_min)),
    "Maximum": scalars(numeric(np.maximum, dim_max)),
    "Sqrt": scalars(numeric(np.sqrt)),
    "Pow": scalars(numeric(np.power)),
    "Floor": scalars(round_dims(np.floor)),
    "Ceil": scalars(round_dims(np.ceil)),
    "Equal": scalars(equal),
    "NotEqual": scalars(negated(equal)),
    "Less": scalars(less),
    "Greater": scalars(swapped(less)),
    "LessEqual": scalars(negated(less, swap=True)),
    "GreaterEqual": scalars(negated(less)),
    "LogicalAnd": always(logical(np.logical_and)),
    "LogicalOr": always(logical(np.logical_or)),
    "LogicalNot": always(logical(np.logical_not)),
    "Select": scalars(where),
    "SelectV2": scalars(where),
    "Cast": scalars(cast),
    "Pack": scalars(pack),
    "Unpack": integers(unpack),
    "ConcatV2": integers(concat),
    "GatherV2": integers(gather),
    "StridedSlice": integers(strided_slice),
    "Slice": integers(slice_),
    "Squeeze": integers(squeeze),
    "ExpandDims": scalars(expand_dims),
    "Reshape": scalars(reshape),
    "Fill": integers(fill),
    "Tile": integers(tile),
    "BroadcastTo": integers(broadcast_to),
    "Transpose": integers(transpose),
    "ReverseV2": integers(reverse),
    "Range": always(range_),
    "Sum": always(reduction(dim_sum)),
    "Prod": always(reduction(dim_product)),
    "Max": always(reduction(dim_max)),
    "Min": always(reduction(dim_min)),
    "All": always(boolean_reduction(np.all)),
    "Any": always(boolean_reduction(np.any)),
}
