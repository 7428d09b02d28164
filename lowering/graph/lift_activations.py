"""Recognise activation functions in the chains they are written out as."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.nn.unary import UnaryOp
from stepwell.dialects.weights import WeightStore
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import (
    both_orders,
    has_one_user,
    is_close,
    is_float_value,
    plus_constant,
    producer,
    product_of,
)


@pattern(nn.MaximumOp, nn.MinimumOp)
def bound_by_constant(op: nn.MaximumOp | nn.MinimumOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.maximum %x, 0.5   ->   nn.clamp %x {min = 0.5}
    nn.minimum %x, 0.5   ->   nn.clamp %x {max = 0.5}
    ```
    """
    if not is_float_value(op.lhs):
        return None
    for x, bound in both_orders(op):
        number = rewriter.scalar(bound)
        if number is not None and x.type == op.result.type:
            side = "min" if isinstance(op, nn.MaximumOp) else "max"
            rewriter.replace_with(nn.ClampOp(x, **{side: number}))
            return None
    return None


@pattern(nn.ClampOp)
def merge_clamps(op: nn.ClampOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.clamp(nn.clamp %x {min = 0}) {max = 6}   ->   nn.clamp %x {min = 0, max = 6}
    nn.clamp(nn.relu %x) {max = 6}              ->   nn.clamp %x {min = 0, max = 6}
    ```
    """
    inner = op.operand.owner
    if not isinstance(inner, nn.ClampOp | nn.ReluOp) or not has_one_user(op.operand):
        return None
    low, high = clamp_bounds(inner)
    outer_low, outer_high = clamp_bounds(op)
    # min(max(min(max(x, l), h), L), H): l and h are themselves clamped to [L, H].
    bounds = [bound_within(b, outer_low, outer_high) for b in (low, high)]
    rewriter.absorb(inner)
    lower = outer_low if bounds[0] is None else bounds[0]
    upper = outer_high if bounds[1] is None else bounds[1]
    rewriter.replace_with(nn.ClampOp(inner.operand, min=lower, max=upper))
    return None


def clamp_bounds(op: nn.ClampOp | nn.ReluOp) -> tuple[float | None, float | None]:
    """The lower and upper bound, `None` where there is none."""
    if isinstance(op, nn.ReluOp):
        return 0.0, None
    return op.value("min"), op.value("max")


def bound_within(
    bound: float | None, low: float | None, high: float | None
) -> float | None:
    """`bound` clamped to `[low, high]`; an absent bound stays absent."""
    if bound is None:
        return None
    bound = bound if low is None else max(bound, low)
    return bound if high is None else min(bound, high)


@pattern(nn.ClampOp)
def clamp_to_relu(op: nn.ClampOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.clamp %x {min = 0}   ->   nn.relu %x
    ```
    """
    if clamp_bounds(op) == (0.0, None):
        rewriter.replace_with(nn.ReluOp(op.operand))
    elif clamp_bounds(op) == (None, None):
        rewriter.replace_with(op.operand)
    return None


@pattern(nn.ClampOp)
def lift_hard_sigmoid(op: nn.ClampOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.clamp(%x * a + b) {min = 0, max = 1}   ->   nn.hard_sigmoid %x {a, b}
    ```
    """
    if clamp_bounds(op) != (0.0, 1.0) or not is_float_value(op.operand):
        return None
    found = plus_constant(op.operand, rewriter.weights)
    if found is None:
        return None
    scaled, beta = found
    product = product_of(scaled, rewriter.weights)
    if len(product.factors) != 1 or product.factors[0].type != op.result.type:
        return None
    rewriter.absorb_down_to(product.factors[0])
    alpha = product.scalar
    rewriter.replace_with(nn.HardSigmoidOp(product.factors[0], alpha=alpha, beta=beta))
    return None


@pattern(nn.MulOp)
def lift_scaled_hard_sigmoid(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.clamp(%x + 3) {min = 0, max = 6} * (1/6)   ->   nn.hard_sigmoid %x {1/6, 1/2}
    ```
    """
    product = product_of(op.result, rewriter.weights)
    if len(product.factors) != 1 or product.factors[0].type != op.result.type:
        return None
    x = match_relu6_of_shifted(product.factors[0], rewriter.weights)
    if x is None or not is_close(product.scalar, 1 / 6):
        return None
    rewriter.absorb_down_to(x)
    rewriter.replace_with(nn.HardSigmoidOp(x, alpha=1 / 6, beta=0.5))
    return None


@pattern(nn.MulOp)
def lift_gated(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    %x * nn.sigmoid %x                    ->   nn.silu %x
    %x * nn.hard_sigmoid %x {1/6, 1/2}    ->   nn.hard_swish %x
    %x * nn.tanh(nn.softplus %x)          ->   nn.mish %x
    ```
    """
    for x, gate in both_orders(op):
        if x.type != op.result.type or not isinstance(gate.owner, UnaryOp):
            continue
        kind = gated_by(gate.owner, x)
        if kind is not None:
            rewriter.absorb_down_to(x)
            rewriter.replace_with(kind(x))
            return None
    return None


def gated_by(gate: UnaryOp, x: SSAValue) -> type[UnaryOp] | None:
    """The activation `x * gate(x)`, if it has a name."""
    match gate:
        case nn.SigmoidOp() if gate.operand is x:
            return nn.SiluOp
        case nn.HardSigmoidOp() if gate.operand is x:
            is_sixth = is_close(gate.value("alpha"), 1 / 6)
            return nn.HardSwishOp if is_sixth and gate.value("beta") == 0.5 else None
        case nn.TanhOp():
            inner = producer(gate.operand, nn.SoftplusOp)
            return nn.MishOp if inner is not None and inner.operand is x else None
        case _:
            return None


@pattern(nn.MulOp)
def lift_hard_swish(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    %x * nn.clamp(%x + 3) {min = 0, max = 6} * (1/6)   ->   nn.hard_swish %x
    ```
    """
    product = product_of(op.result, rewriter.weights)
    for factor in product.factors:
        x = match_relu6_of_shifted(factor, rewriter.weights)
        if x is None or x.type != op.result.type:
            continue
        whole = product_of(op.result, rewriter.weights, whole=[x, factor])
        if whole.without(x, factor) == [] and is_close(whole.scalar, 1 / 6):
            rewriter.absorb_down_to(x)
            rewriter.replace_with(nn.HardSwishOp(x))
            return None
    return None


def match_relu6_of_shifted(value: SSAValue, weights: WeightStore) -> SSAValue | None:
    """x of `clamp(x + 3, 0, 6)`."""
    clamp = producer(value, nn.ClampOp)
    if clamp is None or clamp_bounds(clamp) != (0.0, 6.0):
        return None
    found = plus_constant(clamp.operand, weights)
    return found[0] if found is not None and found[1] == 3 else None


@pattern(nn.LogOp)
def lift_softplus(op: nn.LogOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.log(nn.exp %x + 1)   ->   nn.softplus %x
    ```
    """
    found = plus_constant(op.operand, rewriter.weights)
    if found is None or found[1] != 1:
        return None
    if (exp := producer(found[0], nn.ExpOp)) is not None:
        rewriter.absorb_down_to(exp.operand)
        rewriter.replace_with(nn.SoftplusOp(exp.operand))
    return None


@pattern(nn.MaximumOp)
def lift_leaky_relu(op: nn.MaximumOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.maximum %x, (%x * 0.1)   ->   nn.leaky_relu %x {alpha = 0.1}
    ```
    """
    for x, scaled in both_orders(op):
        product = product_of(scaled, rewriter.weights, whole=[x])
        if product.factors == [x] and product.ops and 0 <= product.scalar <= 1:
            rewriter.absorb(*product.ops)
            rewriter.replace_with(nn.LeakyReluOp(x, alpha=product.scalar))
            return None
    return None


PATTERNS = (
    bound_by_constant,
    merge_clamps,
    clamp_to_relu,
    lift_leaky_relu,
    lift_softplus,
    lift_hard_swish,
    lift_hard_sigmoid,
    lift_gated,
)


@dataclass(frozen=True)
class LiftActivationsPass(ModulePass):
    """Replace chains that compute an activation function by its op."""

    name = "lift-activations"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """First the ones that hold others: a scaled hard_sigmoid ends a hard_swish."""
        apply_patterns(op, PATTERNS, ctx)
        apply_patterns(op, [lift_scaled_hard_sigmoid, *PATTERNS], ctx)
