"""Reductions, pools and resizes that do nothing, or merge."""

from __future__ import annotations

import math

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.lowering.graph.matching import (
    has_one_user,
    is_close,
    is_float_value,
    producer,
    rank_of,
)
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern


@pattern(nn.ReduceOp)
def reduce_unit_dims(op: nn.ReduceOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.reduce %x {sum, axes = [1]} : tensor<4x1xf32>   ->   nn.reshape %x
    ```
    """
    dims = dims_of(op.operand)
    if all(dims[axis] == 1 for axis in op.value("axes")):
        rewriter.replace_with(nn.ReshapeOp(op.operand, dims_of(op.result)))
    return None


@pattern(nn.ReduceOp)
def merge_reduces(op: nn.ReduceOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.reduce(nn.reduce %x {sum, [2], keepdims}) {sum, [3], keepdims}
    ->   nn.reduce %x {sum, [2, 3], keepdims}
    ```
    """
    inner = producer(op.operand, nn.ReduceOp)
    if inner is None or inner.value("kind") != op.value("kind"):
        return None
    if not inner.value("keepdims") or not has_one_user(op.operand):
        return None
    rank = rank_of(inner.operand)
    axes = {axis % rank for axis in (*inner.value("axes"), *op.value("axes"))}
    if not op.value("keepdims") and len(axes) != len(op.value("axes")):
        return "the inner dims would vanish"
    rewriter.absorb(inner)
    rewriter.replace_with(
        nn.ReduceOp(
            inner.operand,
            kind=op.value("kind"),
            axes=sorted(axes),
            keepdims=op.value("keepdims"),
        )
    )
    return None


@pattern(nn.MulOp)
def scaled_sum_to_mean(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.reduce %x {sum} * (1/n)   ->   nn.reduce %x {mean}      (n elements each)
    ```
    """
    reduce = producer(op.lhs, nn.ReduceOp)
    scale = rewriter.scalar(op.rhs)
    if reduce is None or scale is None or reduce.value("kind") != "sum":
        return None
    dims = dims_of(reduce.operand)
    count = [dims[axis] for axis in reduce.value("axes")]
    if not is_float_value(op.lhs) or not all(isinstance(dim, int) for dim in count):
        return None
    size = math.prod(dim for dim in count if isinstance(dim, int))
    if not size or not is_close(scale, 1 / size) or op.lhs.type != op.result.type:
        return None
    rewriter.absorb(reduce)
    rewriter.replace_with(
        nn.ReduceOp(
            reduce.operand,
            kind="mean",
            axes=reduce.value("axes"),
            keepdims=reduce.value("keepdims"),
        )
    )
    return None


@pattern(nn.ReshapeOp)
def keep_reduced_dims(op: nn.ReshapeOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.reshape(nn.reduce %x {[1]}) : tensor<4xf32> -> tensor<4x1xf32>
    ->   nn.reduce %x {[1], keepdims}
    ```
    """
    reduce = producer(op.operand, nn.ReduceOp)
    if reduce is None or reduce.value("keepdims") or not has_one_user(op.operand):
        return None
    dims = dims_of(reduce.operand)
    axes = {axis % len(dims) for axis in reduce.value("axes")}
    kept = tuple(1 if i in axes else dim for i, dim in enumerate(dims))
    if dims_of(op.result) != kept:
        return None
    rewriter.absorb(reduce)
    kind = reduce.value("kind")
    rewriter.replace_with(
        nn.ReduceOp(reduce.operand, kind=kind, axes=sorted(axes), keepdims=True)
    )
    return None


@pattern(nn.MaxPoolOp, nn.AvgPoolOp)
def drop_unit_pool(op: nn.MaxPoolOp | nn.AvgPoolOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.max_pool %x {kernel = [1, 1], strides = [1, 1]}   ->   %x
    ```
    """
    windows = (*op.value("kernel"), *op.value("strides"))
    is_unit = all(number == 1 for number in windows)
    if is_unit and op.x.type == op.result.type:
        rewriter.replace_with(op.x)
    return None


@pattern(nn.ResizeOp)
def drop_same_size(op: nn.ResizeOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.resize %x : tensor<1x3x8x8xf32> -> tensor<1x3x8x8xf32>   ->   %x
    ```
    """
    scales = op.value("scales")
    is_unit = scales is None or all(scale == 1 for scale in scales)
    is_plain = op.roi is None and op.scale_values is None
    if op.value("coordinates") == "tf_crop_and_resize":
        return None
    if is_unit and is_plain and op.operand.type == op.result.type:
        rewriter.replace_with(op.operand)
    return None


PATTERNS = (
    reduce_unit_dims,
    merge_reduces,
    scaled_sum_to_mean,
    keep_reduced_dims,
    drop_unit_pool,
    drop_same_size,
)
