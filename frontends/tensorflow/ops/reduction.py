"""Reductions over axes, arg max and min, cumulative sums."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation

from stepwell.dialects import nn
from stepwell.dialects.dtypes import is_float
from stepwell.dialects.shapes import product
from stepwell.frontends.described import described
from stepwell.frontends.emit import cast, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Build, Output, Rule

KINDS = {
    "All": "all",
    "Any": "any",
    "Max": "max",
    "Mean": "mean",
    "Min": "min",
    "Prod": "prod",
    "Sum": "sum",
}


def reduce(kind: str) -> Build:
    """One `nn.reduce`; no axes reduce nothing."""

    def build(node: Node) -> Output:
        axes = node.axes(1, node.rank())
        keepdims = bool(node.attribute("keep_dims"))
        if not axes:
            return node.tensor(0)
        if kind == "mean" and not is_float(node.element_of()):
            return integer_mean(node, axes, keepdims)
        return nn.ReduceOp(node.x(), kind=kind, axes=axes, keepdims=keepdims)

    return described(build, f"One `nn.reduce` of kind {kind}.")


def integer_mean(node: Node, axes: Sequence[int], keepdims: bool) -> Operation:
    """The sum divided by the number of elements, towards zero."""
    count = product([node.dims()[axis] for axis in axes])
    total = nn.ReduceOp(node.x(), kind="sum", axes=axes, keepdims=keepdims)
    return nn.DivOp(total, cast(node.builder.dim_value(count), node.element_of()))


def euclidean_norm(node: Node) -> Operation:
    """The root of the sum of squares."""
    x, axes = node.x(), node.axes(1, node.rank())
    keepdims = bool(node.attribute("keep_dims"))
    squares = nn.MulOp(x, x)
    return nn.SqrtOp(nn.ReduceOp(squares, kind="sum", axes=axes, keepdims=keepdims))


def arg(kind: str) -> Build:
    """The index of an extreme element, the first of equal ones."""

    def build(node: Node) -> Output:
        axis = node.axis(1, node.rank())
        found = value(nn.ArgReduceOp(node.x(), kind=kind, axis=axis))
        return cast(found, node.element("output_type"))

    return described(build, "One `nn.arg_reduce`.")


def cumulative(kind: str) -> Build:
    """A running sum or product."""

    def build(node: Node) -> Operation:
        return nn.CumulativeOp(
            node.x(),
            kind=kind,
            axis=node.axis(1, node.rank()),
            exclusive=bool(node.attribute("exclusive")),
            reverse=bool(node.attribute("reverse")),
        )

    return described(build, "One `nn.cumulative`.")


def top_k(node: Node) -> list[Output]:
    """The largest elements of each row, and where they are."""
    (count,) = node.sizes(1)
    is_sorted = bool(node.attribute("sorted"))
    values, indices = nn.TopkOp(node.x(), count, axis=-1, sorted=is_sorted).results
    return [values, cast(indices, node.element("index_type"))]


RULES = (
    *(Rule(name, reduce(kind)) for name, kind in KINDS.items()),
    Rule("EuclideanNorm", euclidean_norm),
    Rule("ArgMax", arg("max")),
    Rule("ArgMin", arg("min")),
    Rule("Cumsum", cumulative("sum")),
    Rule("Cumprod", cumulative("prod")),
    Rule("TopKV2", top_k),
)
