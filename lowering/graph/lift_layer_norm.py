"""Recognise layer and RMS normalisation written out in elementwise ops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.dialects.weights import WeightStore
from stepwell.lowering.constants import constant_scalar
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import (
    behind_unit_reshapes,
    both_orders,
    has_one_user,
    plus_constant,
    producer,
    rank_of,
    reduced_axes,
)


@pattern(nn.DivOp, nn.MulOp)
def lift_layer_norm(op: nn.DivOp | nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    %d = %x - mean %x
    %d / sqrt(mean(%d * %d) + eps)   ->   nn.layer_norm %x {axis, epsilon = eps}
    ```
    The variance may also be `mean(x * x) - mean(x)**2`, held above 0; dividing may be
    multiplying by `rsqrt`, and a scale may stand at the `rsqrt`.
    """
    for centred, divided in divisions(op):
        deviation = producer(centred, nn.SubOp)
        if deviation is None or centred.type != op.result.type:
            continue
        x, mean = deviation.lhs, deviation.rhs
        axes = reduced_axes(mean, x, "mean")
        found = plus_constant(divided.variance, rewriter.weights)
        if axes is None or found is None or x.type != op.result.type:
            continue
        if not is_variance(found[0], x, centred, axes, rewriter.weights):
            continue
        if (axis := trailing(axes, x)) is None:
            return "the normalised dims are not the last ones"
        rewriter.absorb_down_to(x, *divided.scales())
        norm = nn.LayerNormOp(x, axis=axis, epsilon=found[1])
        finish(op, norm, divided, rewriter)
        return None
    return None


@pattern(nn.DivOp, nn.MulOp)
def lift_rms_norm(op: nn.DivOp | nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    %x / sqrt(mean(%x * %x) + eps)   ->   nn.rms_norm %x {axis, epsilon = eps}
    ```
    """
    for x, divided in divisions(op):
        found = plus_constant(divided.variance, rewriter.weights)
        if found is None or x.type != op.result.type:
            continue
        axes = square_mean_axes(found[0], x)
        if axes is None:
            continue
        if (axis := trailing(axes, x)) is None:
            return "the normalised dims are not the last ones"
        rewriter.absorb_down_to(x, *divided.scales())
        norm = nn.RmsNormOp(x, axis=axis, epsilon=found[1])
        finish(op, norm, divided, rewriter)
        return None
    return None


@dataclass
class Divided:
    """What a value is divided by: `sqrt(variance)`, and what it is multiplied by."""

    variance: SSAValue
    scale: SSAValue | None = None

    def scales(self) -> list[SSAValue]:
        """The scale, if there is one."""
        return [] if self.scale is None else [self.scale]


def divisions(op: nn.DivOp | nn.MulOp) -> Iterator[tuple[SSAValue, Divided]]:
    """`op` as `value / sqrt(variance) [* scale]`, in each way that it is one."""
    if isinstance(op, nn.DivOp):
        root = producer(behind_unit_reshapes(op.rhs), nn.SqrtOp)
        if root is not None:
            yield op.lhs, Divided(behind_unit_reshapes(root.operand))
        return
    for value, factor in both_orders(op):
        inverse = producer(behind_unit_reshapes(factor), nn.RsqrtOp)
        if inverse is not None:
            variance = behind_unit_reshapes(inverse.operand)
            yield value, Divided(variance)
        if (product := producer(factor, nn.MulOp)) is None:
            continue
        for left, scale in both_orders(product):
            inverse = producer(behind_unit_reshapes(left), nn.RsqrtOp)
            if inverse is not None:
                variance = behind_unit_reshapes(inverse.operand)
                yield value, Divided(variance, scale)


def finish(
    op: Operation, norm: Operation, divided: Divided, rewriter: Rewriter
) -> None:
    """Replace `op` by `norm`, times the scale that stood at the divisor."""
    if divided.scale is None:
        rewriter.replace_with(norm)
    else:
        rewriter.replace_with(nn.MulOp(rewriter.emit(norm), divided.scale))


def is_variance(
    value: SSAValue,
    x: SSAValue,
    centred: SSAValue,
    axes: list[int],
    weights: WeightStore,
) -> bool:
    """Whether `value` is the variance of `x` along `axes`."""
    value = behind_unit_reshapes(value)
    if square_mean_axes(value, centred) == axes:
        return True
    if (unbounded := behind_lower_bound(value, weights)) is not None:
        value = behind_unit_reshapes(unbounded)
    difference = producer(value, nn.SubOp)
    if difference is None or square_mean_axes(difference.lhs, x) != axes:
        return False
    square = producer(behind_unit_reshapes(difference.rhs), nn.MulOp)
    if square is None or square.lhs is not square.rhs:
        return False
    return mean_axes(square.lhs, x) == axes


def behind_lower_bound(value: SSAValue, weights: WeightStore) -> SSAValue | None:
    """x of `maximum(x, 0)`, in any of its spellings."""
    if (bounded := producer(value, nn.ClampOp, nn.ReluOp)) is not None:
        return bounded.operand
    larger = producer(value, nn.MaximumOp)
    if larger is not None and constant_scalar(larger.rhs, weights) == 0:
        return larger.lhs
    return None


def square_mean_axes(value: SSAValue, x: SSAValue) -> list[int] | None:
    """The axes if `value` is `mean(x * x)`, up to dims of 1."""
    reduce = producer(behind_unit_reshapes(value), nn.ReduceOp)
    if reduce is None or reduce.value("kind") != "mean":
        return None
    square = producer(reduce.operand, nn.MulOp)
    if square is None or square.lhs is not x or square.rhs is not x:
        return None
    return axes_of(reduce)


def mean_axes(value: SSAValue, x: SSAValue) -> list[int] | None:
    """The axes if `value` is `mean(x)`, up to dims of 1."""
    reduce = producer(behind_unit_reshapes(value), nn.ReduceOp)
    if reduce is None or reduce.value("kind") != "mean" or reduce.operand is not x:
        return None
    return axes_of(reduce)


def axes_of(reduce: nn.ReduceOp) -> list[int]:
    """The axes of a reduction, counted from the front and sorted."""
    rank = rank_of(reduce.operand)
    return sorted(axis % rank for axis in reduce.value("axes"))


def trailing(axes: list[int], x: SSAValue) -> int | None:
    """The first of `axes` if they are all dims from there on, counted from the end."""
    rank = rank_of(x)
    first = axes[0]
    return first - rank if axes == list(range(first, rank)) else None


@pattern(nn.MulOp)
def absorb_scale(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.layer_norm %x * %scale   ->   nn.layer_norm %x, %scale
    ```
    """
    for value, scale in both_orders(op):
        norm = value.owner
        if not isinstance(norm, nn.LayerNormOp | nn.RmsNormOp) or norm.scale:
            continue
        if isinstance(norm, nn.LayerNormOp) and norm.bias:
            continue
        if not has_one_user(value) or not spans_normalised(scale, norm, op):
            return "the factor does not span just the normalised dims"
        rewriter.absorb(norm)
        same = {"axis": norm.value("axis"), "epsilon": norm.value("epsilon")}
        rewriter.replace_with(type(norm)(norm.x, scale, **same))
        return None
    return None


@pattern(nn.AddOp)
def absorb_bias(op: nn.AddOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.layer_norm %x, %scale + %bias   ->   nn.layer_norm %x, %scale, %bias
    ```
    """
    for value, bias in both_orders(op):
        norm = producer(value, nn.LayerNormOp)
        if norm is None or norm.bias or not has_one_user(value):
            continue
        if not spans_normalised(bias, norm, op):
            return "the summand does not span just the normalised dims"
        rewriter.absorb(norm)
        same = {"axis": norm.value("axis"), "epsilon": norm.value("epsilon")}
        rewriter.replace_with(nn.LayerNormOp(norm.x, norm.scale, bias, **same))
        return None
    return None


def spans_normalised(
    value: SSAValue,
    norm: nn.LayerNormOp | nn.RmsNormOp,
    user: nn.AddOp | nn.MulOp,
) -> bool:
    """Whether `value` is constant over all but the normalised dims of `norm`."""
    if user.result.type != norm.result.type:
        return False
    count = rank_of(norm.x) - norm.value("axis") % rank_of(norm.x)
    dims = dims_of(value)
    return all(dim == 1 for dim in dims[: max(0, len(dims) - count)])


@dataclass(frozen=True)
class LiftLayerNormPass(ModulePass):
    """Replace written-out normalisations by `nn.layer_norm` and `nn.rms_norm`."""

    name = "lift-layer-norm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """First the core, then scale and bias where they span the same dims."""
        patterns = [lift_layer_norm, lift_rms_norm, absorb_scale, absorb_bias]
        apply_patterns(op, patterns, ctx)
