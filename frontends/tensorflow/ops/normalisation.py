"""Batch norm, also where Keras wrote it out, softmax, and local normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.emit import like, transpose, value
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.registry import Output, Rule


def as_batch_norm(
    left: SSAValue, right: SSAValue, weights: WeightStore
) -> Operation | None:
    """`left + right` as one batch norm, if that is what the two were made for.

    Keras writes `x * inv + (beta - mean * inv)` with
    `inv = rsqrt(variance + epsilon) * gamma`; gamma or beta may be missing.
    """
    for product, offset in ((left, right), (right, left)):
        if not isinstance(product.owner, nn.MulOp):
            continue
        parts = _offset_parts(offset)
        if parts is None:
            continue
        beta, mean, factor = parts
        x = _other(product.owner, factor)
        scale = _scale_parts(factor, weights)
        if x is None or scale is None or not _is_per_channel(x, mean):
            continue
        gamma, variance, epsilon = scale
        known = nn.constant_value(mean, weights)
        assert known is not None
        ones = np.ones_like(known)
        if gamma is None:
            gamma = value(nn.make_constant(ones, weights))
        if beta is None:
            beta = value(nn.make_constant(np.zeros_like(ones), weights))
        return nn.BatchNormOp(
            x, gamma, beta, mean, variance, epsilon=epsilon, channels_last=True
        )
    return None


def _offset_parts(
    offset: SSAValue,
) -> tuple[SSAValue | None, SSAValue, SSAValue] | None:
    """Beta (None for 0), mean and `inv` of `beta - mean * inv` or `-mean * inv`."""
    owner = offset.owner
    if isinstance(owner, nn.SubOp) and isinstance(owner.rhs.owner, nn.MulOp):
        product = owner.rhs.owner
        return owner.lhs, product.lhs, product.rhs
    if isinstance(owner, nn.MulOp) and isinstance(owner.lhs.owner, nn.NegOp):
        return None, owner.lhs.owner.operand, owner.rhs
    return None


def _scale_parts(
    factor: SSAValue, weights: WeightStore
) -> tuple[SSAValue | None, SSAValue, float] | None:
    """Gamma (None for 1), variance and epsilon of `rsqrt(variance + eps) * gamma`."""
    gamma, root = None, factor.owner
    if isinstance(root, nn.MulOp):
        gamma, root = root.rhs, root.lhs.owner
    if not isinstance(root, nn.RsqrtOp) or not isinstance(root.operand.owner, nn.AddOp):
        return None
    shifted = root.operand.owner
    epsilon = nn.constant_value(shifted.rhs, weights)
    if epsilon is None or epsilon.size != 1:
        return None
    return gamma, shifted.lhs, float(epsilon.item())


def _other(product: nn.MulOp, factor: SSAValue) -> SSAValue | None:
    """The operand of a product that is not `factor`."""
    if product.rhs is factor:
        return product.lhs
    return product.rhs if product.lhs is factor else None


def _is_per_channel(x: SSAValue, mean: SSAValue) -> bool:
    """Whether `mean` has one constant number per element of the last dim of `x`."""
    is_constant = isinstance(mean.owner, nn.ConstantOp)
    return is_constant and dims_of(mean) == dims_of(x)[-1:] and len(dims_of(x)) > 1


def fused_batch_norm(node: Node) -> Sequence[Output]:
    """Batch norm by given statistics; the outputs for training are left out."""
    if node.attribute("is_training"):
        raise node.unsupported(
            "batch norm in training mode", fix="export the model for inference"
        )
    x, statistics = node.x(0), [node.x(i) for i in range(1, 5)]
    element = element_of(x)
    if any(element_of(each) != element for each in statistics):
        wide = nn.CastOp(x, element_of(statistics[0]))
        y = batch_norm(node, value(wide), statistics)
        y = value(nn.CastOp(y, element))
    else:
        y = batch_norm(node, x, statistics)
    mean, variance = node.tensor(3), node.tensor(4)
    return [y, mean, variance, mean, variance, None][: node.output_count]


def batch_norm(node: Node, x: SSAValue, statistics: Sequence[SSAValue]) -> SSAValue:
    """The op itself."""
    is_last = node.attribute("data_format") in ("NHWC", "NDHWC")
    epsilon = node.attribute("epsilon")
    return value(nn.BatchNormOp(x, *statistics, epsilon=epsilon, channels_last=is_last))


def softmax(node: Node) -> Operation:
    """Along the last dim."""
    return nn.SoftmaxOp(node.x(), axis=-1)


def log_softmax(node: Node) -> Operation:
    """Along the last dim."""
    return nn.LogSoftmaxOp(node.x(), axis=-1)


def l2_loss(node: Node) -> Operation:
    """Half the sum of squares."""
    x = node.x()
    axes = range(len(dims_of(x)))
    total = nn.ReduceOp(nn.MulOp(x, x), kind="sum", axes=axes)
    return nn.MulOp(total, like(node, 0.5, x))


def local_response(node: Node) -> Output:
    """`x / (bias + alpha * sum of x**2 over neighbouring channels) ** beta`."""
    radius = int(node.attribute("depth_radius"))
    size = 2 * radius + 1
    y = nn.LrnOp(
        transpose(node.x(), [0, 3, 1, 2]),
        size=size,
        alpha=node.attribute("alpha") * size,
        beta=node.attribute("beta"),
        bias=node.attribute("bias"),
    )
    return transpose(y, [0, 2, 3, 1])


def contrast(node: Node) -> Operation:
    """Images drawn away from the mean of each channel, or towards it."""
    x, factor = node.x(0), node.x(1)
    rank = len(dims_of(x))
    axes = [rank - 3, rank - 2]
    mean = value(nn.ReduceOp(x, kind="mean", axes=axes, keepdims=True))
    return nn.AddOp(mean, nn.MulOp(nn.SubOp(x, mean), factor))


RULES = (
    *(
        Rule(name, fused_batch_norm, ignores=("exponential_avg_factor",))
        for name in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
    ),
    Rule("Softmax", softmax),
    Rule("LogSoftmax", log_softmax),
    Rule("L2Loss", l2_loss),
    Rule("LRN", local_response),
    Rule("AdjustContrastv2", contrast),
)
