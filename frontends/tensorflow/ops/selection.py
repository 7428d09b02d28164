"""What data selects: boxes, distinct elements, positions in sorted rows, counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f32, i32, i64, numpy_dtype
from stepwell.dialects.shapes import Dim, dims_of, element_of, product
from stepwell.frontends.described import described
from stepwell.frontends.emit import broadcast, cast, cut, like, reshape, scalar, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Build, Output, Rule


def selected_boxes(node: Node) -> SSAValue:
    """The numbers of the boxes that overlap no better one too much, best first."""
    places, scores = cast(node.x(0), f32), cast(node.x(1), f32)
    count = dims_of(places)[0]
    found = nn.NonMaxSuppressionOp(
        reshape(places, [1, count, 4]),
        reshape(scores, [1, 1, count]),
        reshape(cast(node.x(2), i64), []),
        reshape(cast(node.x(3), f32), []) if node.has(3) else overlap(node),
        reshape(cast(node.x(4), f32), []) if node.has(4) else None,
        node.fresh_size([count]),
    )
    boxes = value(found)
    return cast(reshape(cut(boxes, 1, 2, 3), dims_of(boxes)[:1]), i32)


def overlap(node: Node) -> SSAValue:
    """The first version's threshold, an attribute."""
    return scalar(node, node.attribute("iou_threshold"), f32)


def non_max_suppression(node: Node) -> Output:
    """The boxes alone."""
    return selected_boxes(node)


def padded_non_max_suppression(node: Node) -> Sequence[Output]:
    """The boxes, filled up with zeros if asked for, and how many of them count."""
    boxes = selected_boxes(node)
    total = valid_outputs(node, boxes)
    return [padded(node, boxes), total]


def scored_non_max_suppression(node: Node) -> Sequence[Output]:
    """The boxes, their scores, and how many of them count."""
    sigma = node.known_now(5)
    if sigma is None or sigma.item() != 0:
        raise node.unsupported("a soft non-maximum suppression")
    boxes = selected_boxes(node)
    scores = value(nn.GatherOp(node.x(1), boxes, axis=0))
    return [padded(node, boxes), padded(node, scores), valid_outputs(node, boxes)]


def padded(node: Node, x: SSAValue) -> SSAValue:
    """`x` with zeros up to the most boxes that there may be, if asked for."""
    if not node.attribute("pad_to_max_output_size"):
        return x
    (most,) = node.sizes(2)
    return value(nn.PadOp(x, low=[0], high=[most - dims_of(x)[0]]))


def valid_outputs(node: Node, boxes: SSAValue) -> SSAValue:
    """The number of boxes that were selected."""
    return cast(node.builder.dim_value(dims_of(boxes)[0]), i32)


def unique(node: Node) -> Sequence[Output]:
    """The distinct elements as first seen, and which one each element is."""
    values, inverse, counts = distinct(node)
    return [values, inverse, counts][: node.output_count]


def distinct(node: Node) -> list[SSAValue]:
    """The distinct elements, the number of each element's, and their counts."""
    index = node.element("out_idx")
    axis: int | None = None
    if node.op_type.endswith("V2") and (axes := node.axes(1, node.rank())):
        (axis,) = axes
    limit = node.dims() if axis is None else [node.dims()[axis]]
    found = nn.UniqueOp(node.x(0), node.fresh_size(limit), axis=axis, sorted=False)
    return [found.values, cast(found.inverse, index), cast(found.counts, index)]


def bound(predicate: str) -> Build:
    """How many elements of a sorted row stand before each value."""

    def build(node: Node) -> Output:
        rows, wanted = node.x(0), node.x(1)
        batch, count = dims_of(rows)
        _, places = dims_of(wanted)
        return counted(
            reshape(rows, [batch, 1, count]),
            reshape(wanted, [batch, places, 1]),
            predicate,
            node,
            "out_type",
        )

    return described(build, f"The number of elements that are {predicate} each value.")


def counted(
    left: SSAValue, right: SSAValue, predicate: str, node: Node, kind: str = ""
) -> SSAValue:
    """How often a comparison holds along the last dim."""
    holds = value(nn.CompareOp(left, right, predicate=predicate))
    ones = cast(holds, i64)
    total = value(nn.ReduceOp(ones, kind="sum", axes=[-1], keepdims=False))
    return cast(total, node.element(kind) if kind else i32)


def bucketize(node: Node) -> Output:
    """How many of the boundaries are not above each element."""
    boundaries = np.asarray(node.attribute("boundaries"), np.float32)
    x = cast(node.x(), f32)
    column = reshape(x, [*dims_of(x), 1])
    return counted(node.builder.constant(boundaries), column, "le", node)


def bincount(node: Node) -> Output:
    """How often each number below `size` occurs in a row, or the sum of weights.

    `Bincount` counts in all rows together.
    """
    x, weights = node.x(0), node.tensor(2)
    (size,) = node.sizes(1)
    numbers = cast(value(nn.IotaOp([size])), element_of(x))
    is_dense = node.op_type == "DenseBincount"
    *outer, count = dims_of(x) if is_dense else [product(node.dims())]
    column = reshape(x, [*outer, count, 1])
    holds = value(nn.CompareOp(column, numbers, predicate="eq"))
    is_binary = is_dense and node.attribute("binary_output")
    axis = len(outer)
    if is_binary:
        found = nn.ReduceOp(holds, kind="any", axes=[axis], keepdims=False)
        return cast(value(found), weights.element)
    amounts = cast(holds, weights.element)
    if 0 not in weights.dims:
        amounts = value(nn.MulOp(amounts, reshape(node.x(2), dims_of(column))))
    return nn.ReduceOp(amounts, kind="sum", axes=[axis], keepdims=False)


def lowest(kind: np.dtype[Any]) -> float:
    """The smallest number of a dtype."""
    return limits(kind)[0]


def highest(kind: np.dtype[Any]) -> float:
    """The largest number of a dtype."""
    return limits(kind)[1]


def limits(kind: np.dtype[Any]) -> tuple[float, float]:
    """The smallest and the largest number of a dtype."""
    if kind.kind in "iu":
        integers = np.iinfo(kind)
        return integers.min, integers.max
    floats = ml_dtypes.finfo(kind)
    return float(floats.min), float(floats.max)


SEGMENTS: dict[str, tuple[str, Callable[[np.dtype[Any]], float]]] = {
    "Max": ("max", lowest),
    "Min": ("min", highest),
    "Prod": ("mul", lambda _: 1.0),
    "Sum": ("add", lambda _: 0.0),
}
"""How rows of a segment combine, and what an empty segment is, by dtype."""


def combined(
    node: Node, data: SSAValue, ids: SSAValue, count: Dim, reduction: str, empty: float
) -> SSAValue:
    """Rows combined by the number of their segment; negative numbers are left out."""
    rest = dims_of(data)[len(dims_of(ids)) :]
    kind = element_of(ids)
    outside = cast(node.builder.dim_value(count), kind)
    is_inside = nn.CompareOp(ids, like(node, 0, ids), predicate="ge")
    ids = value(nn.SelectOp(is_inside, ids, outside))
    start = broadcast(like(node, empty, data), [count + 1, *rest])
    rows = reshape(ids, [*dims_of(ids), 1])
    found = nn.ScatterNdOp(start, rows, data, reduction=reduction)
    return cut(value(found), 0, 0, count)


def unsorted_segments(name: str) -> Build:
    """Rows combined by the number of their segment, in any order."""
    reduction, empty = SEGMENTS[name]

    def build(node: Node) -> Output:
        (count,) = node.sizes(2)
        data = node.x(0)
        start = empty(numpy_dtype(element_of(data)))
        return combined(node, data, node.x(1), count, reduction, start)

    return described(build, f"One `nn.scatter_nd` of reduction {reduction}.")


def sorted_segments(name: str) -> Build:
    """Rows combined by the number of their segment, which must be known."""

    def build(node: Node) -> Output:
        ids = node.constant(1)
        count = int(ids.max(initial=-1)) + 1
        reduction = SEGMENTS["Sum" if name == "Mean" else name][0]
        data = node.x(0)
        empty = 1 if name == "Prod" else 0
        sizes = np.bincount(ids, minlength=count)
        if name in ("Max", "Min") and (sizes == 0).any():
            raise node.unsupported("empty segments")
        if name in ("Max", "Min"):
            empty = SEGMENTS[name][1](numpy_dtype(element_of(data)))
        found = combined(node, data, node.x(1), count, reduction, empty)
        if name != "Mean":
            return found
        shape = [count, *[1] * (len(dims_of(data)) - 1)]
        each = np.maximum(sizes, 1).reshape(shape)
        kind = numpy_dtype(element_of(data))
        return nn.DivOp(found, node.builder.constant(each.astype(kind)))

    return described(build, f"Segments whose rows stand together, by {name.lower()}.")


RULES = (
    Rule("NonMaxSuppression", non_max_suppression),
    Rule("NonMaxSuppressionV2", non_max_suppression),
    Rule("NonMaxSuppressionV3", non_max_suppression),
    Rule("NonMaxSuppressionV4", padded_non_max_suppression),
    Rule("NonMaxSuppressionV5", scored_non_max_suppression),
    *(
        Rule(name, unique)
        for name in ("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2")
    ),
    Rule("LowerBound", bound("lt")),
    Rule("UpperBound", bound("le")),
    Rule("Bucketize", bucketize),
    Rule("Bincount", bincount),
    Rule("DenseBincount", bincount),
    *(Rule(f"UnsortedSegment{name}", unsorted_segments(name)) for name in SEGMENTS),
    *(Rule(f"Segment{name}", sorted_segments(name)) for name in (*SEGMENTS, "Mean")),
)
