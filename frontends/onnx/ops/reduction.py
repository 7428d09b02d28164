"""Reductions: the `Reduce` family, arg max and min, cumulative sums."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i1
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.frontends.described import described
from stepwell.frontends.emit import like, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.registry import Build, Rule
from stepwell.frontends.values import Value

KINDS = {
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
}


def axes_of(node: Node, rank: int) -> list[int] | None:
    """The axes to reduce, by attribute or input; None if the node reduces nothing."""
    axes = node.ints("axes", None)
    if node.has(1):
        axes = node.constant(1).reshape(-1).tolist()
    no_operation = bool(node.int("noop_with_empty_axes", 0))
    if not axes:
        return None if no_operation else list(range(rank))
    return [axis % rank if rank else axis for axis in axes]


def reduce_with(
    text: str,
    body: Callable[[Node, SSAValue, list[int], bool], SSAValue],
    before: Callable[[SSAValue], SSAValue] | None = None,
) -> Build:
    """A reduction; `before` applies to each element even when nothing is reduced.

    `text` describes it in the list of supported ops.
    """

    def build(node: Node) -> Value | SSAValue:
        keepdims = bool(node.int("keepdims", 1))
        axes = axes_of(node, node.rank())
        if axes is None and before is None:
            return node.tensor(0)
        x = node.x() if before is None else before(node.x())
        return x if axes is None else body(node, x, axes, keepdims)

    return described(build, text)


def reduce(x: SSAValue, kind: str, axes: list[int], keepdims: bool) -> SSAValue:
    """One `nn.reduce`; the maximum of booleans is `any`, the minimum `all`."""
    if element_of(x) == i1:
        kind = {"max": "any", "min": "all"}.get(kind, kind)
    return value(nn.ReduceOp(x, kind=kind, axes=axes, keepdims=keepdims))


def plain(kind: str) -> Build:
    """A reduction that is one op."""
    text = f"One `nn.reduce` of kind {kind}."
    return reduce_with(text, lambda _, x, axes, keep: reduce(x, kind, axes, keep))


def absolute(x: SSAValue) -> SSAValue:
    """`|x|`."""
    return value(nn.AbsOp(x))


def square(x: SSAValue) -> SSAValue:
    """`x * x`."""
    return value(nn.MulOp(x, x))


def total(_: Node, x: SSAValue, axes: list[int], keepdims: bool) -> SSAValue:
    """The sum."""
    return reduce(x, "sum", axes, keepdims)


def norm(_: Node, x: SSAValue, axes: list[int], keepdims: bool) -> SSAValue:
    """The root of the sum of squares `x`."""
    return value(nn.SqrtOp(reduce(x, "sum", axes, keepdims)))


def log_sum(_: Node, x: SSAValue, axes: list[int], keepdims: bool) -> SSAValue:
    """The logarithm of the sum."""
    return value(nn.LogOp(reduce(x, "sum", axes, keepdims)))


def log_sum_exp(node: Node, x: SSAValue, axes: list[int], keepdims: bool) -> SSAValue:
    """`log(sum(exp(x)))`, shifted by the maximum so that nothing overflows."""
    peak = reduce(x, "max", axes, keepdims=True)
    finite = nn.SelectOp(nn.IsInfOp(peak), like(node, 0, x), peak)
    summed = reduce(value(nn.ExpOp(nn.SubOp(x, finite))), "sum", axes, keepdims)
    shift = value(finite)
    if not keepdims:
        shift = value(nn.ReshapeOp(shift, dims_of(summed)))
    return value(nn.AddOp(nn.LogOp(summed), shift))


def arg(kind: str) -> Build:
    """The index of an extreme element."""

    def build(node: Node) -> Operation:
        return nn.ArgReduceOp(
            node.x(),
            kind=kind,
            axis=node.int("axis", 0),
            keepdims=bool(node.int("keepdims", 1)),
            select_last=bool(node.int("select_last_index", 0)),
        )

    return described(build, "One `nn.arg_reduce`.")


def cumulative(kind: str) -> Build:
    """A running sum or product."""

    def build(node: Node) -> Operation:
        return nn.CumulativeOp(
            node.x(),
            kind=kind,
            axis=int(node.constant(1).item()),
            exclusive=bool(node.int("exclusive", 0)),
            reverse=bool(node.int("reverse", 0)),
        )

    return described(build, "One `nn.cumulative`.")


RULES = (
    *(Rule(name, plain(kind)) for name, kind in KINDS.items()),
    Rule("ReduceL1", reduce_with("The sum of `|x|`.", total, absolute)),
    Rule("ReduceSumSquare", reduce_with("The sum of `x * x`.", total, square)),
    Rule("ReduceL2", reduce_with("The root of the sum of `x * x`.", norm, square)),
    Rule("ReduceLogSum", reduce_with("The logarithm of the sum.", log_sum)),
    Rule(
        "ReduceLogSumExp",
        reduce_with("`log(sum(exp(x)))`, shifted by the maximum.", log_sum_exp),
    ),
    Rule("ArgMax", arg("max")),
    Rule("ArgMin", arg("min")),
    Rule("CumSum", cumulative("sum")),
    Rule("CumProd", cumulative("prod")),
)
