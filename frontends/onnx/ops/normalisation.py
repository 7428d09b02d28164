"""Normalisation layers and softmax."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import f32
from stepwell.dialects.shapes import Dim, dims_of, element_of, product
from stepwell.frontends.described import described
from stepwell.frontends.emit import cast, like, rank_of, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.ops.reduction import reduce
from stepwell.frontends.onnx.registry import Build, Output, Rule


def batch_normalization(node: Node) -> Sequence[Output]:
    """With running statistics; in training mode with those of the batch."""
    x = node.x(0)
    epsilon = node.float("epsilon", 1e-5)
    scale, bias, mean, variance = (cast(node.x(i), element_of(x)) for i in range(1, 5))
    if not node.int("training_mode", 0):
        node.float("momentum", 0.9)
        return [nn.BatchNormOp(x, scale, bias, mean, variance, epsilon=epsilon)]
    return _train(node, x, scale, bias, epsilon)


def _train(
    node: Node, x: SSAValue, scale: SSAValue, bias: SSAValue, epsilon: float
) -> Sequence[Output]:
    momentum = node.float("momentum", 0.9)
    axes = [axis for axis in range(rank_of(x)) if axis != 1]
    mean = reduce(x, "mean", axes, keepdims=True)
    centred = value(nn.SubOp(x, mean))
    variance = reduce(value(nn.MulOp(centred, centred)), "mean", axes, keepdims=True)
    flat = [value(nn.ReshapeOp(v, dims_of(x)[1:2])) for v in (mean, variance)]
    y = nn.BatchNormOp(x, scale, bias, *flat, epsilon=epsilon)
    running = [
        nn.AddOp(
            nn.MulOp(node.x(index), like(node, momentum, x)),
            nn.MulOp(current, like(node, 1 - momentum, x)),
        )
        for index, current in zip((3, 4), flat, strict=True)
    ]
    return [y, *running]


def instance_normalization(node: Node) -> Operation:
    """Over the spatial dims of each channel of each sample."""
    epsilon = node.float("epsilon", 1e-5)
    return nn.InstanceNormOp(node.x(0), node.x(1), node.x(2), epsilon=epsilon)


def layer_normalization(node: Node) -> Sequence[Output]:
    """Over the dims from `axis` on; mean and inverse deviation if asked for."""
    x, axis = node.x(0), node.int("axis", -1)
    epsilon = node.float("epsilon", 1e-5)
    node.int("stash_type", 1)
    y = nn.LayerNormOp(x, node.x(1), node.optional(2), axis=axis, epsilon=epsilon)
    if len(node.outputs) < 2:
        return [y]
    axes = list(range(axis % rank_of(x), rank_of(x)))
    wide = cast(x, f32)
    mean = reduce(wide, "mean", axes, keepdims=True)
    centred = value(nn.SubOp(wide, mean))
    variance = reduce(value(nn.MulOp(centred, centred)), "mean", axes, keepdims=True)
    inverse = nn.RsqrtOp(nn.AddOp(variance, like(node, epsilon, variance)))
    return [y, mean, inverse]


def rms_normalization(node: Node) -> Operation:
    """By the root of the mean square of the dims from `axis` on."""
    node.int("stash_type", 1)
    epsilon = node.float("epsilon", 1e-5)
    axis = node.int("axis", -1)
    return nn.RmsNormOp(node.x(0), node.x(1), axis=axis, epsilon=epsilon)


def group_normalization(node: Node) -> Operation:
    """Over groups of channels; before opset 21 scale and bias are per group."""
    x, scale, bias = node.x(0), node.x(1), node.x(2)
    groups = node.int("num_groups")
    node.int("stash_type", 1)
    if node.version < 21:
        channels = dims_of(x)[1]
        scale, bias = (_per_channel(v, channels // groups) for v in (scale, bias))
    epsilon = node.float("epsilon", 1e-5)
    return nn.GroupNormOp(x, scale, bias, groups=groups, epsilon=epsilon)


def _per_channel(x: SSAValue, times: Dim) -> SSAValue:
    (groups,) = dims_of(x)
    column = nn.ReshapeOp(x, [groups, 1])
    wide = nn.BroadcastToOp(column, [groups, times])
    return value(nn.ReshapeOp(wide, [groups * times]))


def lrn(node: Node) -> Operation:
    """Across neighbouring channels."""
    return nn.LrnOp(
        node.x(),
        size=node.int("size"),
        alpha=node.float("alpha", 1e-4),
        beta=node.float("beta", 0.75),
        bias=node.float("bias", 1.0),
    )


def mean_variance_normalization(node: Node) -> Operation:
    """`(x - mean) / (deviation + 1e-9)` over `axes`."""
    x, axes = node.x(), node.ints("axes", [0, 2, 3])
    mean = reduce(x, "mean", axes, keepdims=True)
    centred = value(nn.SubOp(x, mean))
    variance = reduce(value(nn.MulOp(centred, centred)), "mean", axes, keepdims=True)
    deviation = nn.AddOp(nn.SqrtOp(variance), like(node, 1e-9, x))
    return nn.DivOp(centred, deviation)


def lp_normalization(node: Node) -> Operation:
    """By the 1- or 2-norm along an axis; a norm of 0 gives 0."""
    x, p = node.x(), node.int("p", 2)
    axes = [node.int("axis", -1)]
    if p == 1:
        norm = reduce(value(nn.AbsOp(x)), "sum", axes, keepdims=True)
    else:
        squares = reduce(value(nn.MulOp(x, x)), "sum", axes, keepdims=True)
        norm = value(nn.SqrtOp(squares))
    zero = like(node, 0, x)
    is_zero = nn.CompareOp(norm, zero, predicate="eq")
    return nn.SelectOp(is_zero, zero, nn.DivOp(x, norm))


def along_axis(make: Callable[[Node, SSAValue, int], SSAValue]) -> Build:
    """A function along an axis; before opset 13 along all dims from `axis` on."""

    def build(node: Node) -> SSAValue:
        x = node.x()
        if node.version >= 13:
            return make(node, x, node.int("axis", -1))
        dims = dims_of(x)
        axis = node.int("axis", 1) % max(len(dims), 1)
        if axis == len(dims) - 1:
            return make(node, x, axis)
        if all(dim == 1 for dim in dims[axis + 1 :]):
            return make(node, x, axis)
        flat = nn.ReshapeOp(x, [product(dims[:axis]), product(dims[axis:])])
        return value(nn.ReshapeOp(make(node, value(flat), 1), dims))

    return described(build, inspect.getdoc(make) or "")


def softmax(_: Node, x: SSAValue, axis: int) -> SSAValue:
    """`exp(x) / sum(exp(x))`."""
    return value(nn.SoftmaxOp(x, axis=axis))


def log_softmax(_: Node, x: SSAValue, axis: int) -> SSAValue:
    """`x - log(sum(exp(x)))`."""
    return value(nn.LogSoftmaxOp(x, axis=axis))


def hardmax(node: Node, x: SSAValue, axis: int) -> SSAValue:
    """1 at the first maximum, 0 elsewhere."""
    dims = dims_of(x)
    axis %= len(dims)
    best = nn.ArgReduceOp(x, kind="max", axis=axis, keepdims=True)
    positions = nn.IotaOp(dims, axis=axis)
    here = nn.CompareOp(positions, best, predicate="eq")
    return value(nn.SelectOp(here, like(node, 1, x), like(node, 0, x)))


RULES = (
    Rule(
        "BatchNormalization",
        batch_normalization,
        since=6,
        ignores=("spatial", "consumed_inputs", "is_test"),
    ),
    Rule("InstanceNormalization", instance_normalization, since=6),
    Rule("LayerNormalization", layer_normalization),
    Rule("RMSNormalization", rms_normalization),
    Rule("GroupNormalization", group_normalization),
    Rule("LRN", lrn),
    Rule("MeanVarianceNormalization", mean_variance_normalization),
    Rule("LpNormalization", lp_normalization),
    Rule("Softmax", along_axis(softmax)),
    Rule("LogSoftmax", along_axis(log_softmax)),
    Rule("Hardmax", along_axis(hardmax)),
)
