"""Activations, and bounds on values."""

from __future__ import annotations

from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.frontends.emit import cast, reshape, value
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Output, Rules

from .elementwise import scaled
from .rows import binary, unary


def clamp(call: Call, x: SSAValue, low: Any = None, high: Any = None) -> Output:
    """`x` between two bounds, numbers or tensors."""
    element = call.element()
    result = cast(x, element)
    for bound, op in ((low, nn.MaximumOp), (high, nn.MinimumOp)):
        if bound is not None:
            result = value(op(result, call.operand(bound, element)))
    return result


def clamp_min(call: Call, x: SSAValue, low: Any) -> Output:
    """`x`, but at least `low`."""
    return clamp(call, x, low)


def clamp_max(call: Call, x: SSAValue, high: Any) -> Output:
    """`x`, but at most `high`."""
    return clamp(call, x, None, high)


def hardtanh(call: Call, x: SSAValue, low: float, high: float) -> Output:
    """`x` between two numbers."""
    return clamp(call, x, low, high)


def relu6(call: Call, x: SSAValue) -> Output:
    """`x` between 0 and 6."""
    return clamp(call, x, 0, 6)


def gelu(call: Call, x: SSAValue, approximate: str) -> Operation:
    """Gaussian error linear unit, exact or by tanh."""
    return nn.GeluOp(x, approximate=approximate)


def softplus(call: Call, x: SSAValue, beta: float, threshold: float) -> Operation:
    """`ln(1 + e**(beta x)) / beta`, and `x` itself where `beta x` is large."""
    element = element_of(x)
    inner = scaled(call, x, beta)
    soft = value(nn.SoftplusOp(inner))
    if beta != 1:
        soft = value(nn.DivOp(soft, call.scalar(beta, element)))
    is_large = nn.CompareOp(inner, call.scalar(threshold, element), predicate="gt")
    return nn.SelectOp(is_large, x, soft)


def elu(
    call: Call, x: SSAValue, alpha: float, scale: float, input_scale: float
) -> Output:
    """`scale * x`, and `scale * alpha * (e**(input_scale x) - 1)` below 0."""
    if input_scale == 1:
        return scaled(call, value(nn.EluOp(x, alpha=alpha)), scale)
    zero = call.scalar(0, element_of(x))
    below = scaled(call, value(nn.Expm1Op(scaled(call, x, input_scale))), alpha)
    whole = nn.SelectOp(nn.CompareOp(x, zero, predicate="gt"), x, below)
    return scaled(call, value(whole), scale)


def celu(call: Call, x: SSAValue, alpha: float) -> Operation:
    """`x`, and `alpha (e**(x/alpha) - 1)` below 0."""
    return nn.CeluOp(x, alpha=alpha)


def leaky_relu(call: Call, x: SSAValue, slope: float) -> Operation:
    """`x`, and `slope * x` below 0."""
    return nn.LeakyReluOp(x, alpha=slope)


def rrelu(
    call: Call, x: SSAValue, low: float, high: float, train: bool = False, *_: Any
) -> Operation:
    """`x`, and below 0 `x` times the mean of the two slopes."""
    if train:
        raise call.unsupported("rrelu with random slopes", fix="call model.eval()")
    return nn.LeakyReluOp(x, alpha=(low + high) / 2)


def prelu(call: Call, x: SSAValue, weight: SSAValue) -> Operation:
    """`x`, and `weight[c] * x` below 0."""
    (count,), rank = dims_of(weight) or (1,), len(dims_of(x))
    dims = [1, count, *[1] * (rank - 2)] if rank > 1 else [count]
    if count == 1:
        dims = [1] * rank
    return nn.PreluOp(x, reshape(weight, dims))


def hardsigmoid(call: Call, x: SSAValue) -> Operation:
    """`min(max(x + 3, 0), 6) / 6`."""
    return nn.HardSigmoidOp(x, alpha=1 / 6, beta=0.5)


def threshold(call: Call, x: SSAValue, limit: float, other: float) -> Operation:
    """`x` where it is above a limit, else another number."""
    element = element_of(x)
    above = nn.CompareOp(x, call.scalar(limit, element), predicate="gt")
    return nn.SelectOp(above, x, call.scalar(other, element))


def logit(call: Call, x: SSAValue, eps: float | None = None) -> Operation:
    """`ln(x / (1 - x))`, with x at least eps from 0 and 1."""
    element = call.element()
    x = cast(x, element)
    if eps is not None:
        low, high = call.scalar(eps, element), call.scalar(1 - eps, element)
        x = value(nn.MinimumOp(nn.MaximumOp(x, low), high))
    one = call.scalar(1, element)
    return nn.LogOp(nn.DivOp(x, nn.SubOp(one, x)))


_UNARY = {
    "hardswish": nn.HardSwishOp,
    "mish": nn.MishOp,
    "relu": nn.ReluOp,
    "sigmoid": nn.SigmoidOp,
    "silu": nn.SiluOp,
}

RULES: Rules = {
    **{f"aten.{name}.default": unary(op) for name, op in _UNARY.items()},
    "aten.clamp.default": clamp,
    "aten.clamp.Tensor": clamp,
    "aten.clamp_min.default": clamp_min,
    "aten.clamp_max.default": clamp_max,
    "aten.hardtanh.default": hardtanh,
    "aten.relu6.default": relu6,
    "aten.gelu.default": gelu,
    "aten.softplus.default": softplus,
    "aten.elu.default": elu,
    "aten.celu.default": celu,
    "aten.leaky_relu.default": leaky_relu,
    "aten.rrelu.default": rrelu,
    "aten.prelu.default": prelu,
    "aten._prelu_kernel.default": binary(nn.PreluOp),
    "aten.hardsigmoid.default": hardsigmoid,
    "aten.threshold.default": threshold,
    "aten.logit.default": logit,
}
