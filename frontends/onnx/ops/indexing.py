"""Gather, scatter, and tensors made of indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i64, is_float, numpy_dtype
from stepwell.dialects.shapes import Dim, ceildiv, dims_of
from stepwell.frontends.bounds import at_least
from stepwell.frontends.emit import broadcast, cast, cut, like, reshape, scalar, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Output, Rule


def gather(node: Node) -> Operation:
    """Slices along an axis."""
    return nn.GatherOp(node.x(0), node.x(1), axis=node.int("axis", 0))


def gather_elements(node: Node) -> Operation:
    """One element per index."""
    return nn.GatherElementsOp(node.x(0), node.x(1), axis=node.int("axis", 0))


def gather_nd(node: Node) -> Operation:
    """Slices at index tuples."""
    batch_dims = node.int("batch_dims", 0)
    return nn.GatherNdOp(node.x(0), node.x(1), batch_dims=batch_dims)


def scatter_elements(node: Node) -> Operation:
    """A copy with elements replaced."""
    return nn.ScatterElementsOp(
        node.x(0),
        node.x(1),
        node.x(2),
        axis=node.int("axis", 0),
        reduction=node.string("reduction", "none"),
    )


def scatter_nd(node: Node) -> Operation:
    """A copy with slices replaced."""
    reduction = node.string("reduction", "none")
    return nn.ScatterNdOp(node.x(0), node.x(1), node.x(2), reduction=reduction)


def tensor_scatter(node: Node) -> Operation:
    """A cache with each sample's update written at its own index."""
    past, update = node.x(0), node.x(1)
    dims, new = dims_of(past), dims_of(update)
    axis = node.int("axis", -2) % len(dims)
    steps = [new[axis] if i == axis else 1 for i in range(len(new))]
    index = value(nn.IotaOp(steps, axis=axis))
    if node.has(2):
        first = nn.ReshapeOp(node.x(2), [new[0], *[1] * (len(new) - 1)])
        index = value(nn.AddOp(index, cast(value(first), i64)))
    if node.string("mode", "linear") == "circular":
        index = value(nn.ModOp(index, node.builder.dim_value(dims[axis])))
    return nn.ScatterElementsOp(past, broadcast(index, new), update, axis=axis)


def array_feature_extractor(node: Node) -> Operation:
    """Columns of the last dim."""
    x, indices = node.x(0), node.x(1)
    (count,) = dims_of(indices)[-1:]
    flat = nn.ReshapeOp(indices, [count])
    if len(dims_of(x)) == 1:
        x = value(nn.ReshapeOp(x, [1, *dims_of(x)]))
    return nn.GatherOp(x, flat, axis=len(dims_of(x)) - 1)


def one_hot(node: Node) -> Operation:
    """`on` where the index is, `off` elsewhere, along a new axis."""
    indices, values = cast(node.x(0), i64), node.x(2)
    if is_float(node.element_of(1)):
        depth: Dim = int(node.constant(1).item())
    else:
        (depth,) = node.sizes(1)
    dims = list(dims_of(indices))
    axis = node.int("axis", -1) % (len(dims) + 1)
    wrapped = nn.AddOp(indices, node.builder.dim_value(depth))
    negative = nn.CompareOp(indices, scalar(node, 0, i64), predicate="lt")
    indices = value(nn.SelectOp(negative, wrapped, indices))
    column = nn.ReshapeOp(indices, [*dims[:axis], 1, *dims[axis:]])
    shape = [depth if i == axis else 1 for i in range(len(dims) + 1)]
    here = nn.CompareOp(column, nn.IotaOp(shape, axis=axis), predicate="eq")
    off, on = (reshape(cut(values, 0, i, i + 1), []) for i in range(2))
    return nn.SelectOp(here, on, off)


def range_(node: Node) -> Output:
    """`start, start + step, ...` below `limit`."""
    element = node.element_of(0)
    if is_float(element):
        node.constants(0, 1, 2)
        start, limit, step = (node.constant(i).item() for i in range(3))
        count = max(int(np.ceil((limit - start) / step)), 0)
        array = start + np.arange(count) * step
        return node.builder.constant(array.astype(numpy_dtype(element)))
    (start,), (limit,) = node.sizes(0), node.sizes(1)
    step = int(node.constant(2).item())
    if step == 0:
        raise node.invalid("expected a step other than 0")
    span = limit - start if step > 0 else start - limit
    count = ceildiv(at_least(span, 0, node.builder.ranges), abs(step))
    index = value(nn.IotaOp([count], element))
    if step != 1:
        index = value(nn.MulOp(index, scalar(node, step, element)))
    if start != 0:
        first = cast(node.builder.dim_value(start), element)
        index = value(nn.AddOp(index, first))
    return index


def rows_and_columns(rows: Dim, columns: Dim) -> tuple[SSAValue, SSAValue]:
    """Row and column indices that broadcast to a matrix."""
    return (
        value(nn.IotaOp([rows, 1], axis=0)),
        value(nn.IotaOp([1, columns], axis=1)),
    )


def trilu(node: Node) -> Operation:
    """The upper or lower triangle of the last two dims, from diagonal k on."""
    x = node.x(0)
    row, column = rows_and_columns(*dims_of(x)[-2:])
    offset = scalar(node, 0, i64)
    if node.has(1):
        offset = value(nn.ReshapeOp(node.x(1), []))
    predicate = "ge" if node.int("upper", 1) else "le"
    keep = nn.CompareOp(column, nn.AddOp(row, offset), predicate=predicate)
    return nn.SelectOp(keep, x, like(node, 0, x))


def eye_like(node: Node) -> SSAValue:
    """Ones on diagonal k, zeros elsewhere."""
    row, column = rows_and_columns(*node.dims())
    element = node.element("dtype") if node.has_attribute("dtype") else None
    diagonal = nn.AddOp(row, scalar(node, node.int("k", 0), i64))
    here = nn.CompareOp(column, diagonal, predicate="eq")
    return cast(value(here), element or node.element_of())


def nonzero(node: Node) -> Operation:
    """Coordinates of what is not zero."""
    return nn.NonzeroOp(node.x(), node.fresh_size(node.dims()))


def compress(node: Node) -> Operation:
    """The slices where a condition holds."""
    axis = node.int("axis") if node.has_attribute("axis") else None
    dims = node.dims(0)
    limit = dims if axis is None else [dims[axis]]
    return nn.CompressOp(node.x(0), node.x(1), node.fresh_size(limit), axis=axis)


def unique(node: Node) -> Sequence[SSAValue]:
    """Distinct elements or slices."""
    axis = node.int("axis") if node.has_attribute("axis") else None
    limit = node.dims() if axis is None else [node.dims()[axis]]
    count = node.fresh_size(limit)
    is_sorted = bool(node.int("sorted", 1))
    return nn.UniqueOp(node.x(), count, axis=axis, sorted=is_sorted).results


def top_k(node: Node) -> Sequence[SSAValue]:
    """The k best along an axis."""
    k: Dim = node.int("k") if node.version < 10 else node.sizes(1)[0]
    return nn.TopkOp(
        node.x(0),
        k,
        axis=node.int("axis", -1),
        largest=bool(node.int("largest", 1)),
        sorted=bool(node.int("sorted", 1)),
    ).results


def reverse_sequence(node: Node) -> Operation:
    """Each sample's first steps reversed."""
    return nn.ReverseSequenceOp(
        node.x(0),
        node.x(1),
        batch_axis=node.int("batch_axis", 1),
        time_axis=node.int("time_axis", 0),
    )


def non_max_suppression(node: Node) -> Operation:
    """Boxes that overlap no better one."""
    batch, boxes = node.dims(0)[:2]
    return nn.NonMaxSuppressionOp(
        node.x(0),
        node.x(1),
        node.optional(2),
        node.optional(3),
        node.optional(4),
        node.fresh_size([batch, boxes, node.dims(1)[1]]),
        center_point=bool(node.int("center_point_box", 0)),
    )


RULES = (
    Rule("Gather", gather),
    Rule("GatherElements", gather_elements),
    Rule("GatherND", gather_nd),
    Rule("Scatter", scatter_elements),
    Rule("ScatterElements", scatter_elements),
    Rule("ScatterND", scatter_nd),
    Rule("TensorScatter", tensor_scatter),
    Rule("ArrayFeatureExtractor", array_feature_extractor, domain="ai.onnx.ml"),
    Rule("OneHot", one_hot),
    Rule("Range", range_),
    Rule("Trilu", trilu),
    Rule("EyeLike", eye_like),
    Rule("NonZero", nonzero),
    Rule("Compress", compress),
    Rule("Unique", unique),
    Rule("TopK", top_k),
    Rule("ReverseSequence", reverse_sequence),
    Rule("NonMaxSuppression", non_max_suppression, since=10),
)
