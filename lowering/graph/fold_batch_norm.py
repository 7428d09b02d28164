"""Fold per-channel scales and offsets into the weights before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import has_one_user, is_float_value, producer, rank_of

Convolution = nn.ConvOp | nn.ConvTransposeOp
Array = np.ndarray[Any, Any]


@pattern(nn.BatchNormOp)
def fold_batch_norm(op: nn.BatchNormOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.batch_norm(nn.conv %x, %w, %b), %scale, %bias, %mean, %variance
    ->   nn.conv %x, (%w * s), (%b * s + t)
    ```
    with `s = scale / sqrt(variance + epsilon)` and `t = bias - mean * s`.
    """
    affine = batch_norm_affine(op, rewriter)
    if affine is None:
        return None
    return fold_affine(op.x, *affine, rewriter)


def batch_norm_affine(
    op: nn.BatchNormOp, rewriter: Rewriter
) -> tuple[Array, Array] | None:
    """The scale and offset per channel (f64), if the statistics are constants."""
    arrays = [rewriter.array(value) for value in op.operands[1:]]
    known = [array.astype(np.float64) for array in arrays if array is not None]
    if len(known) != len(arrays):
        return None
    scale, bias, mean, variance = known
    factor = scale / np.sqrt(variance + op.value("epsilon"))
    return factor, bias - mean * factor


@pattern(nn.MulOp)
def fold_scale(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.mul (nn.conv %x, %w, %b), %c   ->   nn.conv %x, (%w * c), (%b * c)
    ```
    """
    scale = channel_constant(op.lhs, op.rhs, rewriter)
    if scale is None or op.lhs.type != op.result.type:
        return None
    return fold_affine(op.lhs, scale, np.zeros_like(scale), rewriter)


@pattern(nn.AddOp)
def fold_offset(op: nn.AddOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.add (nn.conv %x, %w, %b), %c   ->   nn.conv %x, %w, (%b + c)
    ```
    """
    offset = channel_constant(op.lhs, op.rhs, rewriter)
    if offset is None or op.lhs.type != op.result.type:
        return None
    return fold_affine(op.lhs, np.ones_like(offset), offset, rewriter)


def channel_constant(
    value: SSAValue, constant: SSAValue, rewriter: Rewriter
) -> Array | None:
    """`constant` as one number per output channel of the convolution `value` (f64)."""
    conv = producer(value, nn.ConvOp, nn.ConvTransposeOp)
    array = rewriter.array(constant)
    if conv is None or array is None or not is_float_value(value):
        return None
    rank, axis = rank_of(value), channel_axis(conv)
    channels = dims_of(value)[axis]
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for i, size in enumerate(shape) if i != axis):
        return None
    if not isinstance(channels, int):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (channels,))


def channel_axis(conv: Convolution) -> int:
    """The channel dim of the result."""
    return rank_of(conv.result) - 1 if conv.value("channels_last") else 1


def fold_affine(
    value: SSAValue, scale: Array, offset: Array, rewriter: Rewriter
) -> Outcome:
    """Replace the matched op, `value * scale + offset`, by one convolution."""
    conv = producer(value, nn.ConvOp, nn.ConvTransposeOp)
    if conv is None:
        return None
    if not has_one_user(value):
        return "the convolution has another user"
    weight = rewriter.array(conv.w)
    bias = np.zeros(scale.shape) if conv.bias is None else rewriter.array(conv.bias)
    if weight is None or bias is None:
        return "the weights are not constants"
    w = conv.w
    with np.errstate(all="ignore"):
        new_bias = (bias.astype(np.float64) * scale + offset).astype(weight.dtype)
        if not (scale == 1).all():
            new_weight = scaled_weight(conv, weight, scale)
            if not np.isfinite(new_weight).all():
                return "the scaled weights overflow"
            w = rewriter.constant(new_weight)
    rewriter.absorb(conv)
    rewriter.replace_with(
        type(conv).build(
            operands=[conv.x, w, rewriter.constant(new_bias)],
            properties=dict(conv.properties),
            result_types=[conv.result.type],
        )
    )
    return None


def scaled_weight(conv: Convolution, weight: Array, scale: Array) -> Array:
    """The weight with each filter times the scale of its output channel."""
    rank, groups, last = weight.ndim, conv.value("groups"), conv.value("channels_last")
    if isinstance(conv, nn.ConvOp):
        shape = [1] * rank
        shape[-1 if last else 0] = -1
        return (weight * scale.reshape(shape)).astype(weight.dtype)
    # A transposed convolution's weight has all input channels, and the output channels
    # of one group; the group is that of the input channel.
    inputs = weight.shape[-2 if last else 0]
    per_input = np.repeat(scale.reshape(groups, -1), inputs // groups, axis=0)
    shape = (*per_input.shape, *[1] * (rank - 2))
    factor = per_input.reshape(per_input.shape if last else shape)
    return (weight * factor).astype(weight.dtype)


@pattern(nn.MulOp)
def fold_scale_into_matmul(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.mul (nn.matmul %x, %w), %c   ->   nn.matmul %x, (%w * c)
    ```
    """
    product = producer(op.lhs, nn.MatmulOp)
    scale = rewriter.array(op.rhs)
    if product is None or scale is None or op.lhs.type != op.result.type:
        return None
    weight = rewriter.array(product.rhs)
    is_row = scale.size == 1 or scale.shape[-1:] == (scale.size,)
    if weight is None or weight.ndim < 2 or not is_row or not has_one_user(op.lhs):
        return None
    if not is_float_value(op.lhs):
        return None
    rewriter.absorb(product)
    scaled = weight.astype(np.float64) * scale.reshape(-1)
    w = rewriter.constant(scaled.astype(weight.dtype))
    rewriter.replace_with(nn.MatmulOp(product.lhs, w))
    return None


@pattern(nn.ConvOp)
def fold_input_scale(op: nn.ConvOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.conv (nn.mul %x, 0.5), %w   ->   nn.conv %x, (%w * 0.5)
    ```
    Padding is zero on both sides, so only a scale may move, not an offset.
    """
    scaled = producer(op.x, nn.MulOp)
    weight = rewriter.array(op.w)
    if scaled is None or weight is None or not has_one_user(op.x):
        return None
    factor = rewriter.scalar(scaled.rhs)
    if not factor or scaled.lhs.type != op.x.type:
        return None
    rewriter.absorb(scaled)
    new = rewriter.constant((weight.astype(np.float64) * factor).astype(weight.dtype))
    operands = [scaled.lhs, new, *([op.bias] if op.bias is not None else [])]
    rewriter.replace_with(
        nn.ConvOp.create(
            operands=operands, properties=op.properties, result_types=[op.result.type]
        )
    )
    return None


PATTERNS = (
    fold_batch_norm,
    fold_scale,
    fold_offset,
    fold_scale_into_matmul,
    fold_input_scale,
)


@dataclass(frozen=True)
class FoldBatchNormPass(ModulePass):
    """Batch norm, or scales and offsets per channel, folded into conv and matmul."""

    name = "fold-batch-norm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Fold what follows a convolution, and scales before one."""
        apply_patterns(op, PATTERNS, ctx)
