"""Normalisations, softmax, attention: all kept whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import is_bool, numpy_dtype
from stepwell.dialects.shapes import Dim, dims_of, element_of
from stepwell.frontends.described import described
from stepwell.frontends.emit import cast, rank_of, value
from stepwell.frontends.torch.call import Call
from stepwell.frontends.torch.registry import Build, Output, Rules

from .elementwise import scaled
from .reduction import var_mean
from .rows import first_of


def batch_norm(
    call: Call,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    mean: SSAValue | None,
    var: SSAValue | None,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Output:
    """Normalisation of each channel by the stored statistics."""
    if mean is None or var is None:
        return batch_statistics(call, x, weight, bias, momentum, eps)[0][0]
    if training:
        raise call.unsupported(
            "batch_norm that changes its statistics", fix="call model.eval()"
        )
    scale, shift = affine(call, x, weight, bias)
    return nn.BatchNormOp(x, scale, shift, mean, var, epsilon=eps)


def batch_norm_inference(
    call: Call,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    mean: SSAValue,
    var: SSAValue,
    momentum: float,
    eps: float,
) -> Sequence[Output]:
    """Normalisation of each channel by the stored statistics."""
    return [batch_norm(call, x, weight, bias, mean, var, False, momentum, eps)]


def batch_statistics(
    call: Call,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    momentum: float,
    eps: float,
) -> tuple[list[Output], SSAValue, SSAValue]:
    """Normalisation by the batch's own statistics; its results, mean and variance.

    The results: y, the mean, and 1 / deviation; the variance is the one that running
    statistics take (divided by the count less 1).
    """
    axes = [axis for axis in range(rank_of(x)) if axis != 1]
    var, mean = var_mean(call, x, axes, 0, False)
    scale, shift = affine(call, x, weight, bias)
    y = nn.BatchNormOp(x, scale, shift, mean, var, epsilon=eps)
    inverse = nn.RsqrtOp(nn.AddOp(var, call.scalar(eps, element_of(x))))
    return [y, mean, inverse], mean, var_mean(call, x, axes, 1, False)[0]


def batch_norm_no_stats(
    call: Call,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Sequence[Output]:
    """Normalisation of each channel by the statistics of the batch."""
    return batch_statistics(call, x, weight, bias, momentum, eps)[0]


def batch_norm_functional(
    call: Call,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    mean: SSAValue,
    var: SSAValue,
    training: bool,
    momentum: float,
    eps: float,
) -> Sequence[Output]:
    """Normalisation of each channel, and the new running statistics."""
    if not training:
        y = batch_norm(call, x, weight, bias, mean, var, False, momentum, eps)
        empty = call.builder.constant(np.zeros(0, numpy_dtype(element_of(x))))
        return [y, empty, empty, mean, var]
    results, new_mean, new_var = batch_statistics(call, x, weight, bias, momentum, eps)
    running = [
        nn.AddOp(
            nn.MulOp(old, call.scalar(1 - momentum, element_of(old))),
            nn.MulOp(new, call.scalar(momentum, element_of(new))),
        )
        for old, new in ((mean, new_mean), (var, new_var))
    ]
    return [*results, *running]


def affine(
    call: Call, x: SSAValue, weight: SSAValue | None, bias: SSAValue | None
) -> tuple[SSAValue, SSAValue]:
    """The factor and the shift of each channel: 1 and 0 where none is given."""
    return weight or per_channel(call, x, 1), bias or per_channel(call, x, 0)


def per_channel(call: Call, x: SSAValue, number: float) -> SSAValue:
    """One number for each channel of `x`."""
    count = dims_of(x)[1]
    if not isinstance(count, int):
        raise call.unsupported(f"a normalisation of {count} channels without weights")
    return call.builder.constant(np.full(count, number, numpy_dtype(element_of(x))))


def layer_norm(
    call: Call,
    x: SSAValue,
    shape: Sequence[Dim],
    weight: SSAValue | None = None,
    bias: SSAValue | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Operation:
    """Normalisation over the last dims."""
    return nn.LayerNormOp(x, weight, bias, axis=-len(shape), epsilon=eps)


def native_layer_norm(
    call: Call,
    x: SSAValue,
    shape: Sequence[Dim],
    weight: SSAValue | None,
    bias: SSAValue | None,
    eps: float,
) -> Sequence[Output]:
    """Normalisation over the last dims, and on request its mean and 1 / deviation."""
    y = layer_norm(call, x, shape, weight, bias, eps)
    if not wants_more(call):
        return [y]
    axes = [rank_of(x) - 1 - i for i in range(len(shape))]
    var, mean = var_mean(call, x, axes, 0, True)
    return [y, mean, nn.RsqrtOp(nn.AddOp(var, call.scalar(eps, element_of(x))))]


def wants_more(call: Call) -> bool:
    """Whether a result but the first is used."""
    return any(user.args[1] != 0 for user in call.node.users)


def rms_norm(
    call: Call,
    x: SSAValue,
    shape: Sequence[Dim],
    weight: SSAValue | None = None,
    eps: float | None = None,
) -> Operation:
    """Division by the root mean square over the last dims."""
    epsilon = float(np.finfo(np.float32).eps) if eps is None else eps
    return nn.RmsNormOp(x, weight, axis=-len(shape), epsilon=epsilon)


def group_norm(
    call: Call,
    x: SSAValue,
    groups: int,
    weight: SSAValue | None = None,
    bias: SSAValue | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Operation:
    """Normalisation of each group of channels of each sample."""
    scale, shift = affine(call, x, weight, bias)
    return nn.GroupNormOp(x, scale, shift, groups=groups, epsilon=eps)


def native_group_norm(
    call: Call,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    n: Dim,
    c: Dim,
    spatial: Dim,
    groups: int,
    eps: float,
) -> Sequence[Output]:
    """Normalisation of each group of channels of each sample."""
    return [group_norm(call, x, groups, weight, bias, eps)]


def instance_norm(
    call: Call,
    x: SSAValue,
    weight: SSAValue | None,
    bias: SSAValue | None,
    mean: SSAValue | None,
    var: SSAValue | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Output:
    """Normalisation of each channel of each sample over its spatial dims."""
    if not use_input_stats:
        return batch_norm(call, x, weight, bias, mean, var, False, momentum, eps)
    scale, shift = affine(call, x, weight, bias)
    return nn.InstanceNormOp(x, scale, shift, epsilon=eps)


def along_dim(op: Any) -> Build:
    """Softmax or its logarithm along a dim."""

    def build(call: Call, x: SSAValue, dim: int, *_: Any) -> Output:
        x = cast(x, call.element())
        if not rank_of(x):
            x = value(nn.ReshapeOp(x, [1]))
            return nn.ReshapeOp(op(x, axis=0), [])
        return op(x, axis=dim % rank_of(x))

    return described(build, f"One `{op.name}`.")


def attention(
    call: Call,
    q: SSAValue,
    k: SSAValue,
    v: SSAValue,
    mask: SSAValue | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    scale: SSAValue | float | None = None,
    enable_gqa: bool = False,
) -> Operation:
    """`softmax(scale q k' + mask) v`, by heads."""
    rank = rank_of(q)
    if dropout:
        raise call.unsupported("attention with dropout", fix="call model.eval()")
    width = dims_of(q)[-1]
    if scale is None:
        if not isinstance(width, int):
            raise call.unsupported(f"attention with heads of width {width}")
        scale = width**-0.5
    if isinstance(scale, SSAValue):
        q, scale = scaled(call, q, scale), 1.0
    if rank == 2:
        q, k, v = (value(nn.ReshapeOp(x, [1, *dims_of(x)])) for x in (q, k, v))
    if mask is not None and not is_bool(element_of(mask)):
        mask = cast(mask, element_of(q))
    y = nn.AttentionOp(q, k, v, mask, scale=scale, causal=is_causal)
    return nn.ReshapeOp(y, call.dims()) if rank == 2 else y


ATTENTION = ("q", "k", "v", "mask", "dropout", "is_causal", "scale")


def attention_kernel(*names: str) -> Build:
    """Attention as the op of one of PyTorch's kernels, whose arguments are `names`."""

    def build(call: Call, *arguments: Any) -> Sequence[Output]:
        given = dict(zip(names, arguments, strict=False))
        return [attention(call, **{k: given[k] for k in ATTENTION if k in given})]

    return described(build, attention.__doc__ or "")


def weight_norm(call: Call, v: SSAValue, g: SSAValue, dim: int = 0) -> Operation:
    """`v` scaled to the norm `g` over all dims but one."""
    axes = [axis for axis in range(rank_of(v)) if axis != dim % rank_of(v)]
    square = nn.ReduceOp(nn.MulOp(v, v), kind="sum", axes=axes, keepdims=True)
    return nn.MulOp(v, nn.DivOp(g, nn.SqrtOp(square)))


RULES: Rules = {
    "aten._weight_norm.default": weight_norm,
    "aten._weight_norm_interface.default": first_of(weight_norm),
    "aten.batch_norm.default": batch_norm,
    "aten._native_batch_norm_legit_no_training.default": batch_norm_inference,
    "aten._native_batch_norm_legit.no_stats": batch_norm_no_stats,
    "aten._native_batch_norm_legit_functional.default": batch_norm_functional,
    "aten.layer_norm.default": layer_norm,
    "aten.native_layer_norm.default": native_layer_norm,
    "aten.rms_norm.default": rms_norm,
    "aten._fused_rms_norm.default": first_of(rms_norm),
    "aten.group_norm.default": group_norm,
    "aten.native_group_norm.default": native_group_norm,
    "aten.instance_norm.default": instance_norm,
    "aten.softmax.int": along_dim(nn.SoftmaxOp),
    "aten._softmax.default": along_dim(nn.SoftmaxOp),
    "aten.log_softmax.int": along_dim(nn.LogSoftmaxOp),
    "aten._log_softmax.default": along_dim(nn.LogSoftmaxOp),
    "aten.scaled_dot_product_attention.default": attention,
    "aten._scaled_dot_product_flash_attention_for_cpu.default": attention_kernel(
        "q", "k", "v", "dropout", "is_causal", "mask", "scale"
    ),
    "aten._scaled_dot_product_efficient_attention.default": attention_kernel(
        "q", "k", "v", "mask", "_", "dropout", "is_causal", "scale"
    ),
    "aten._scaled_dot_product_flash_attention.default": attention_kernel(
        "q", "k", "v", "dropout", "is_causal", "_", "scale"
    ),
}
