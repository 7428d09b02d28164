"""What the importer knows of a value: its type, its SSA value, and its contents.

The contents of small tensors are carried beside the IR. A weight or constant has a
plain NumPy array; a small integer tensor computed from shapes has an *object* array of
`Dim`, so that `Reshape(x, Concat(Shape(x)[0], [-1]))` ends as a dim expression and not
as a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.dims import Dim, DimExpr

Contents: TypeAlias = NDArray
"""A plain array, or an object array of `Dim`."""

SYMBOLIC_LIMIT = 256
"""Elements up to which an array of `Dim` is worth carrying."""

FOLD_LIMIT = 4096
"""Elements up to which a result of plain arrays is computed at import."""


@dataclass(eq=False)
class Tensor:
    """One tensor of the graph.

    Args:
        dims: its shape.
        element: its element type, as the IR writes it.
        ssa: its SSA value; made from `contents` on first use when there is none.
        contents: its elements, when known at import.
        recipe: computes the contents when a shape position asks for them; called with
            whether elements of graph inputs may become symbols.
        origin: the graph input that this is, if it could be fixed to a value.
        sources: the values it is computed from.
    """

    dims: tuple[Dim, ...]
    element: Attribute
    ssa: SSAValue | None = None
    contents: Contents | None = None
    recipe: Callable[[bool], Contents | None] | None = field(default=None, repr=False)
    origin: str | None = None
    sources: tuple[Value | None, ...] = field(default=(), repr=False)

    @property
    def rank(self) -> int:
        """The number of dims."""
        return len(self.dims)


@dataclass(eq=False)
class Sequence_:
    """An ONNX sequence whose length is known at import: a list of values."""

    items: tuple[Tensor, ...]
    element: Attribute | None = None


Value: TypeAlias = Tensor | Sequence_
"""What a name of an ONNX graph stands for; a missing optional is None."""


def is_symbolic(contents: Contents) -> bool:
    """Whether the array holds dims rather than plain numbers."""
    return contents.dtype == object


def dim_array(dims: Sequence[Dim]) -> Contents:
    """A 1-D object array of `dims`."""
    array = np.empty(len(dims), dtype=object)
    array[:] = dims
    return array


def dim_scalar(dim: Dim) -> Contents:
    """A 0-d object array of one dim."""
    array = np.empty((), dtype=object)
    array[()] = dim
    return array


def scalar_dim(contents: Contents | None) -> Dim | None:
    """The one element of integer contents; None for any others."""
    if contents is None or contents.size != 1 or contents.dtype.kind not in "Oiu":
        return None
    return as_dim_array(contents).reshape(-1)[0]


def as_dim_array(contents: Contents) -> Contents:
    """The array with Python ints and `DimExpr`s as elements."""
    if is_symbolic(contents):
        return contents
    flat = [int(value) for value in contents.reshape(-1)]
    return dim_array(flat).reshape(contents.shape)


def simplify(contents: Contents, dtype: np.dtype) -> Contents:
    """A plain array of `dtype` if no element is symbolic, else the array itself."""
    if not is_symbolic(contents):
        return contents
    if any(isinstance(value, DimExpr) for value in contents.reshape(-1)):
        return contents
    return contents.astype(dtype)
