"""Contents of tensors: computed where shapes need them, turned into ops where not."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import element_type, i64, numpy_dtype
from stepwell.dialects.shapes import DimExpr, dims_of, element_of
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.values import (
    Contents,
    Sequence_,
    Tensor,
    Value,
    is_symbolic,
    simplify,
)


def constant_tensor(array: np.ndarray) -> Tensor:
    """A tensor of known contents."""
    return Tensor(array.shape, element_type(array.dtype), contents=array)


def symbolic_tensor(contents: Contents, element: Attribute) -> Tensor:
    """A tensor of known contents, which may be dims."""
    contents = simplify(contents, numpy_dtype(element))
    return Tensor(contents.shape, element, contents=contents)


def as_value(output: Operation | SSAValue | Value | None) -> Value | None:
    """What a builder function returned, as the importer keeps it."""
    if isinstance(output, Operation):
        output = output.results[0]
    if isinstance(output, SSAValue):
        return Tensor(dims_of(output), element_of(output), output)
    return output


def demand(tensor: Tensor, symbols: bool) -> Contents | None:
    """The contents, computed now if need be.

    With `symbols`, elements of integer graph inputs become symbols.
    """
    if tensor.contents is None and tensor.recipe is not None:
        found = tensor.recipe(symbols)
        if found is None:
            return None
        found = simplify(found, numpy_dtype(tensor.element))
        if not is_symbolic(found):
            tensor.contents = found
        return found
    return tensor.contents


def materialise(tensor: Tensor, builder: GraphBuilder) -> SSAValue:
    """The SSA value of a tensor; contents become constants and sizes."""
    if tensor.ssa is not None:
        return tensor.ssa
    assert tensor.contents is not None
    if not is_symbolic(tensor.contents):
        tensor.ssa = builder.constant(np.asarray(tensor.contents))
        return tensor.ssa
    value = _stack(tensor.contents, builder)
    if tensor.element != i64:
        value = nn.CastOp(value, to=tensor.element).results[0]
    if builder.is_at_top:
        tensor.ssa = value
    return value


def origins(value: Value | None) -> set[str]:
    """The small graph inputs that a value is computed from."""
    pending, seen, found = [value], set[int](), set[str]()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Sequence_):
            pending += each.items
            continue
        pending += each.sources
        if each.origin is not None:
            found.add(each.origin)
    return found


def _stack(contents: Contents, builder: GraphBuilder) -> SSAValue:
    """An object array as an `i64` tensor: runs of numbers are one constant."""
    if contents.ndim == 0:
        return builder.dim_value(contents.item())
    parts: list[SSAValue] = []
    for symbolic, run in groupby(
        contents.reshape(-1).tolist(), key=lambda dim: isinstance(dim, DimExpr)
    ):
        if symbolic:
            parts += [_as_row(builder.dim_value(dim)) for dim in run]
        else:
            parts.append(builder.constant(np.array(list(run), np.int64)))
    flat = parts[0] if len(parts) == 1 else nn.ConcatOp(parts, axis=0).results[0]
    if contents.ndim == 1:
        return flat
    return nn.ReshapeOp(flat, contents.shape).results[0]


def _as_row(value: SSAValue) -> SSAValue:
    return nn.ReshapeOp(value, [1]).results[0]
