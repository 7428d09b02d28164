"""Integer tensors that decide sizes at run time: their elements become symbols."""

from __future__ import annotations

import math

from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import DimRange, symbol
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.contents import materialise, origins
from stepwell.frontends.inputs import sanitise
from stepwell.frontends.values import Contents, Tensor, dim_array

SHAPE_INPUT_LIMIT = 16
"""Elements up to which an integer tensor may become symbols."""

VALUE_LIMIT = 64
"""Elements up to which fixing a graph input to a value makes sense."""


def bind_symbols(
    tensor: Tensor, stem: str, builder: GraphBuilder, shape_inputs: set[str]
) -> Contents | None:
    """Symbols for the elements of a small integer tensor, bound at run time.

    Args:
        tensor: of rank 0 or 1; None is returned for any other.
        stem: how the names of the symbols begin.
        builder: gets the symbols and the op that reads them.
        shape_inputs: gets the names of the graph inputs that the tensor comes from.
    """
    count = static_count(tensor)
    kind = numpy_dtype(tensor.element).kind
    if count > SHAPE_INPUT_LIMIT or kind not in "iu" or tensor.rank > 1:
        return None
    names: list[str] = []
    for index in range(int(count)):
        name = builder.fresh_name(f"{sanitise(stem)}_{index}")
        builder.symbol(name, DimRange(min=0))
        names.append(name)
    shape_inputs |= origins(tensor)
    value = materialise(tensor, builder)
    builder.read_symbols(value, names)
    contents = dim_array([symbol(name) for name in names])
    if tensor.rank == 0:
        contents = contents.reshape(())
    if builder.is_at_top or builder.is_argument(value):
        tensor.contents = contents
    return contents


def static_count(tensor: Tensor) -> float:
    """The number of elements, infinite when that is not static."""
    sizes = [dim if isinstance(dim, int) else math.inf for dim in tensor.dims]
    return math.prod(sizes)
