"""Shape rules that several ops share. All raise `ShapeError` on a misfit."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.shapes import (
    Dim,
    Shape,
    as_tensor,
    bounds,
    ceildiv,
    dim_min,
    dims_of,
    element_of,
    may_be_equal,
    tensor_type,
)
from stepwell.errors import ShapeError

Agreement = tuple[Dim, Dim, str]
"""Two dims that must be equal, and what they are the dims of."""

_noted: ContextVar[list[Agreement] | None] = ContextVar("noted", default=None)


@contextmanager
def undecided_agreements() -> Generator[list[Agreement]]:
    """The dims that inference inside takes to be equal without proof."""
    found: list[Agreement] = []
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def can_agree(left: Dim, right: Dim, what: str) -> bool:
    """Whether two dims may be equal; notes them if that is not decided."""
    if left == right:
        return True
    if not may_be_equal(left, right):
        return False
    if (noted := _noted.get()) is not None:
        noted.append((left, right, what))
    return True


def broadcast(*shapes: Shape) -> tuple[Dim, ...]:
    """The common shape of `shapes` after NumPy's rule.

    Dims whose equality is not decided are taken to be equal (`assert-dims` asserts it);
    a number is preferred to an expression.
    """
    rank = max(len(shape) for shape in shapes)
    padded = [(*[1] * (rank - len(shape)), *shape) for shape in shapes]
    return tuple(_broadcast_dim(dims, shapes) for dims in zip(*padded, strict=True))


def _broadcast_dim(dims: Sequence[Dim], shapes: Sequence[Shape]) -> Dim:
    result: Dim = 1
    for dim in dims:
        if dim is result or dim == 1 or dim == result:
            continue
        if result != 1 and not can_agree(result, dim, "dims that broadcast"):
            raise ShapeError(
                "expected shapes that broadcast, got "
                + " and ".join(str_shape(shape) for shape in shapes)
            )
        if result == 1 or isinstance(dim, int):
            result = dim
    return result


def str_shape(shape: Shape) -> str:
    """`[batch, 768]`."""
    return f"[{', '.join(map(str, shape))}]"


def normalise_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front.

    Raises:
        ShapeError: it is outside of `[-rank, rank)`.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"expected an axis in [{-rank}, {rank}), got {axis}")
    return axis % rank


def reduced_shape(shape: Shape, axes: Sequence[int], keepdims: bool) -> list[Dim]:
    """`shape` after a reduction over `axes`."""
    rank = len(shape)
    gone = {normalise_axis(axis, rank) for axis in axes}
    if keepdims:
        return [1 if i in gone else dim for i, dim in enumerate(shape)]
    return [dim for i, dim in enumerate(shape) if i not in gone]


def unify(left: Dim, right: Dim, what: str) -> Dim:
    """One dim for two that must agree; a number is preferred."""
    if left == right:
        return left
    if not can_agree(left, right, what):
        raise ShapeError(f"expected equal {what}, got {left} and {right}")
    return right if isinstance(right, int) else left


def window_size(
    size: Dim,
    kernel: Dim,
    stride: int,
    pad: Dim,
    dilation: int,
    *,
    ceil_mode: bool = False,
    pad_low: Dim = 0,
) -> Dim:
    """How many windows fit into one spatial dim of `size`, padded by `pad` in total.

    With `ceil_mode` a last window may hang over, unless it starts in the high padding
    (ONNX MaxPool, AveragePool).
    """
    span = size + pad - dilation * (kernel - 1) - 1
    low, _ = bounds(span)
    if isinstance(span, int) and low < 0:
        raise ShapeError(
            f"expected a window that fits, got kernel {kernel} dilated by {dilation} "
            f"on {size} padded by {pad}"
        )
    if not ceil_mode:
        return span // stride + 1
    starts_inside = ceildiv(size + pad_low, stride)
    return dim_min(ceildiv(span, stride) + 1, starts_inside)


def same_element(*values: SSAValue) -> Attribute:
    """The element type that all values share."""
    first = element_of(values[0])
    for value in values[1:]:
        other = element_of(value)
        if other is not first and other != first:
            raise ShapeError(f"expected one element type, got {first} and {other}")
    return first


def require_rank(value: SSAValue, low: int, high: int | None = None) -> int:
    """The rank of `value`, which must lie in `low..high`."""
    rank = len(dims_of(value))
    if rank < low or (high is not None and rank > high):
        expected = f"{low}" if high == low else f"at least {low}"
        raise ShapeError(f"expected rank {expected}, got {value.type}")
    return rank


def elementwise_type(*values: SSAValue, element: Attribute | None = None) -> TensorType:
    """The broadcast type of `values`, with their element type or `element`."""
    kinds = [value.type for value in values]
    if element is None and all(kind is kinds[0] for kind in kinds):
        return as_tensor(kinds[0])
    kind = same_element(*values) if element is None else element
    return tensor_type(broadcast(*map(dims_of, kinds)), kind)
