"""One call of an op as its builder function sees it: result types, operands, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64, numpy_dtype
from stepwell.dialects.shapes import Dim, DimExpr, dims_of, element_of
from stepwell.errors import UnsupportedError
from stepwell.frontends.emit import cast, rank_of

from .symbols import Relation
from .tensors import dtype_of_element, element_of_dtype

if TYPE_CHECKING:
    from torch.fx import Node

    from stepwell.frontends.builder import GraphBuilder

    from .importer import GraphImporter

Operand = SSAValue | Dim | float | Relation
"""An argument that PyTorch lets be a tensor or a number."""


@dataclass(eq=False)
class Call:
    """A call node of the graph.

    `name` is its location: the module that made it.
    """

    node: Node
    name: str
    importer: GraphImporter

    @property
    def builder(self) -> GraphBuilder:
        """The function under construction."""
        return self.importer.builder

    @property
    def target(self) -> str:
        """The op as its overload is written: `aten.add.Tensor`."""
        return str(self.node.target)

    def unsupported(self, what: str, fix: str | None = None) -> UnsupportedError:
        """The error that says that `what` of this call is not supported."""
        return UnsupportedError(what, fix=fix)

    # The results that PyTorch computed when it traced the model

    def fake(self, index: int = 0) -> Any:
        """The tensor without data that stands for result `index`."""
        value = self.node.meta["val"]
        return value[index] if isinstance(value, tuple | list) else value

    def element(self, index: int = 0) -> Attribute:
        """The element type of result `index`."""
        return element_of_dtype(self.fake(index).dtype)

    def dims(self, index: int = 0) -> tuple[Dim, ...]:
        """The shape of result `index`."""
        return self.importer.symbols.dims(self.fake(index).shape)

    # Operands

    def scalar(self, number: Dim | float, element: Attribute) -> SSAValue:
        """A number as a 0-d tensor of an element type."""
        if isinstance(number, DimExpr):
            return cast(self.builder.dim_value(number), element)
        return self.builder.constant(np.array(number).astype(numpy_dtype(element)))

    def operand(self, value: Operand, element: Attribute) -> SSAValue:
        """A tensor or number as a tensor of an element type."""
        if isinstance(value, SSAValue):
            return cast(value, element)
        if isinstance(value, Relation):
            sides = [self.scalar(side, i64) for side in (value.left, value.right)]
            test = nn.CompareOp(*sides, predicate=value.predicate)
            return cast(test.results[0], element)
        return self.scalar(value, element)

    def operands(self, left: Operand, right: Operand) -> tuple[SSAValue, SSAValue]:
        """Two operands as tensors of the type that PyTorch promotes them to."""
        element = promoted(left, right)
        return self.operand(left, element), self.operand(right, element)


def promoted(left: Operand, right: Operand) -> Attribute:
    """The element type in which PyTorch computes an elementwise op of two operands.

    A tensor with dims outranks a 0-d one, which outranks a number, unless the lower one
    is of a higher category (bool, integer, float).
    """
    return element_of_dtype(torch.result_type(_stand_in(left), _stand_in(right)))


def _stand_in(value: Operand) -> Any:
    """A number, or a tensor without data of the dtype and of rank 0 or 1."""
    if isinstance(value, SSAValue):
        return _example(element_of(value), min(len(dims_of(value)), 1))
    if isinstance(value, Relation):
        return True
    return 1 if isinstance(value, DimExpr) else value


@lru_cache(maxsize=256)
def _example(element: Attribute, rank: int) -> torch.Tensor:
    dtype = dtype_of_element(element)
    return torch.empty((1,) * rank, dtype=dtype, device="meta")


def axes_of(x: SSAValue, dim: int | Sequence[int] | None) -> list[int]:
    """The axes that a `dim` argument names; all of them if it is None or empty."""
    rank = rank_of(x)
    if dim is None or (not isinstance(dim, int) and not len(dim)):
        return list(range(rank))
    given = [dim] if isinstance(dim, int) else dim
    return [axis % rank for axis in given] if rank else []


def as_index(x: SSAValue) -> SSAValue:
    """Integers as `i64`."""
    return cast(x, i64)
