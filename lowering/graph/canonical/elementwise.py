"""Algebra of elementwise ops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import i1, is_float, is_unsigned
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.lowering.graph.matching import (
    both_orders,
    has_one_user,
    is_float_value,
    producer,
)
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern

COMMUTATIVE = (
    nn.AddOp,
    nn.MulOp,
    nn.MaximumOp,
    nn.MinimumOp,
    nn.AndOp,
    nn.OrOp,
    nn.XorOp,
)

NEUTRAL: dict[type[Operation], Any] = {
    nn.AddOp: 0,
    nn.SubOp: 0,
    nn.MulOp: 1,
    nn.DivOp: 1,
    nn.PowOp: 1,
    nn.MaximumOp: -math.inf,
    nn.MinimumOp: math.inf,
}
"""The right operand that leaves the left one as it is."""

INVOLUTIONS = (nn.NegOp, nn.NotOp)
IDEMPOTENT = (nn.AbsOp, nn.ReluOp, nn.FloorOp, nn.CeilOp, nn.RoundOp, nn.SignOp)
MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}
INVERSE = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}
STEP_FUNCTIONS = (nn.FloorOp, nn.CeilOp, nn.RoundOp, nn.SignOp, nn.CompareOp, nn.ModOp)
"""Ops that turn a difference in the last bit into a whole step."""


@pattern(*COMMUTATIVE)
def move_constant_right(op: Any, rewriter: Rewriter) -> Outcome:
    """Later patterns look for constants on the right only.

    ```mlir
    nn.add %c, %x   ->   nn.add %x, %c
    ```
    """
    if producer(op.lhs, nn.ConstantOp) and not producer(op.rhs, nn.ConstantOp):
        rewriter.replace_with(type(op)(op.rhs, op.lhs))
    return None


@pattern(nn.CompareOp)
def move_compared_constant_right(op: nn.CompareOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.compare %c, %x {lt}   ->   nn.compare %x, %c {gt}
    ```
    """
    if producer(op.lhs, nn.ConstantOp) and not producer(op.rhs, nn.ConstantOp):
        mirrored = MIRRORED[op.value("predicate")]
        rewriter.replace_with(nn.CompareOp(op.rhs, op.lhs, predicate=mirrored))
    return None


@pattern(*NEUTRAL)
def drop_neutral_operand(op: Any, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.mul %x, 1   ->   %x                   (nn.broadcast_to %x if 1 has more dims)
    ```
    """
    if splat(op.rhs, rewriter) == NEUTRAL[type(op)]:
        replace_with_operand(op, op.lhs, rewriter)
    return None


@pattern(nn.AndOp, nn.OrOp)
def drop_neutral_truth(op: Any, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.and %x, true   ->   %x
    nn.or %x, false   ->   %x
    ```
    """
    if element_of(op.lhs) != i1:
        return None
    for value, other in both_orders(op):
        if splat(other, rewriter) is isinstance(op, nn.AndOp):
            replace_with_operand(op, value, rewriter)
            return None
    return None


def splat(value: SSAValue, rewriter: Rewriter) -> Any:
    """The number that all elements of a constant, repeated or not, equal."""
    broadcast = producer(value, nn.BroadcastToOp)
    return rewriter.scalar(value if broadcast is None else broadcast.operand)


def replace_with_operand(op: Operation, value: SSAValue, rewriter: Rewriter) -> None:
    """Replace `op` by `value`, repeated to the shape of the result."""
    result = op.results[0]
    if value.type == result.type:
        rewriter.replace_with(value)
    else:
        rewriter.replace_with(nn.BroadcastToOp(value, dims_of(result)))


@pattern(nn.CompareOp)
def compare_index(op: nn.CompareOp, rewriter: Rewriter) -> Outcome:
    """An index is never negative.

    ```mlir
    nn.compare (nn.iota), 0 {ge}   ->   true
    nn.compare (nn.iota), 0 {lt}   ->   false
    ```
    """
    source = op.lhs
    while (moved := producer(source, nn.ReshapeOp, nn.BroadcastToOp)) is not None:
        source = moved.operand
    bound, predicate = rewriter.scalar(op.rhs), op.value("predicate")
    if producer(source, nn.IotaOp) is None or bound is None:
        return None
    if predicate in ("ge", "lt") and bound <= 0:
        truth = rewriter.constant(np.array(predicate == "ge"))
        rewriter.replace_with(nn.BroadcastToOp(truth, dims_of(op.result)))
    return None


@pattern(*INVOLUTIONS)
def cancel_involution(op: Any, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.neg(nn.neg %x)   ->   %x
    ```
    """
    inner = producer(op.operand, type(op))
    if inner is not None:
        rewriter.replace_with(inner.operand)
    return None


@pattern(*IDEMPOTENT)
def drop_repeated(op: Any, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.relu(nn.relu %x)   ->   nn.relu %x
    ```
    """
    if producer(op.operand, type(op)):
        rewriter.replace_with(op.operand)
    return None


@pattern(nn.AbsOp)
def drop_sign_under_abs(op: nn.AbsOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.abs(nn.neg %x)   ->   nn.abs %x
    ```
    """
    if (inner := producer(op.operand, nn.NegOp)) is not None:
        rewriter.absorb(inner)
        rewriter.replace_with(nn.AbsOp(inner.operand))
    return None


@pattern(nn.SubOp)
def subtract_constant_by_adding(op: nn.SubOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.sub %x, %c   ->   nn.add %x, -%c
    ```
    """
    array = rewriter.array(op.rhs)
    if array is None or is_unsigned(element_of(op.rhs)):
        return None
    rewriter.replace_with(nn.AddOp(op.lhs, rewriter.constant(-array, op.rhs)))
    return None


@pattern(nn.SubOp)
def subtract_from_zero(op: nn.SubOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.sub 0, %x   ->   nn.neg %x
    ```
    """
    if op.rhs.type != op.result.type or is_unsigned(element_of(op.rhs)):
        return None
    if rewriter.scalar(op.lhs) == 0:
        rewriter.replace_with(nn.NegOp(op.rhs))
    return None


@pattern(nn.AddOp, nn.SubOp)
def absorb_negation(op: nn.AddOp | nn.SubOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.add %x, (nn.neg %y)   ->   nn.sub %x, %y
    nn.sub %x, (nn.neg %y)   ->   nn.add %x, %y
    ```
    """
    if (negated := producer(op.rhs, nn.NegOp)) is None:
        return None
    rewriter.absorb(negated)
    other = nn.SubOp if isinstance(op, nn.AddOp) else nn.AddOp
    rewriter.replace_with(other(op.lhs, negated.operand))
    return None


@pattern(nn.MulOp)
def multiply_by_minus_one(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.mul %x, -1   ->   nn.neg %x
    ```
    """
    if op.lhs.type == op.result.type and rewriter.scalar(op.rhs) == -1:
        rewriter.replace_with(nn.NegOp(op.lhs))
    return None


@pattern(nn.AddOp, nn.MulOp)
def combine_constants(op: nn.AddOp | nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.add (nn.add %x, %a), %b   ->   nn.add %x, (%a + %b)
    ```
    """
    inner = producer(op.lhs, type(op))
    right = rewriter.array(op.rhs)
    if inner is None or right is None or not has_one_user(op.lhs):
        return None
    left = rewriter.array(inner.rhs)
    if left is None:
        return None
    with np.errstate(all="ignore"):
        both = left + right if isinstance(op, nn.AddOp) else left * right
    if both.size > max(left.size, right.size):
        return "the combined constant would be larger than either"
    if not _is_finite(both):
        return "the combined constant would overflow"
    rewriter.absorb(inner)
    rewriter.replace_with(type(op)(inner.lhs, rewriter.constant(both, op.rhs)))
    return None


@pattern(nn.DivOp)
def divide_by_constant(op: nn.DivOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.div %x, %c   ->   nn.mul %x, 1/%c
    ```
    """
    array = rewriter.array(op.rhs)
    if array is None or not is_float_value(op.rhs):
        return None
    with np.errstate(all="ignore"):
        inverse = (1 / array.astype(np.float64)).astype(array.dtype)
    if not _is_finite(inverse) or not _is_normal(inverse):
        return "the reciprocal overflows or is subnormal"
    mantissa, _ = np.frexp(np.abs(array.astype(np.float64)))
    is_exact = bool((mantissa == 0.5).all())
    if not is_exact and feeds_step_function(op.result):
        return "an inexact reciprocal could move a rounding step"
    rewriter.replace_with(nn.MulOp(op.lhs, rewriter.constant(inverse, op.rhs)))
    return None


@pattern(nn.DivOp)
def divide_one(op: nn.DivOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.div 1, %x   ->   nn.reciprocal %x
    ```
    """
    if not is_float_value(op.rhs) or op.rhs.type != op.result.type:
        return None
    if rewriter.scalar(op.lhs) == 1:
        rewriter.replace_with(nn.ReciprocalOp(op.rhs))
    return None


@pattern(nn.ReciprocalOp)
def merge_reciprocal_of_root(op: nn.ReciprocalOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.reciprocal(nn.sqrt %x)   ->   nn.rsqrt %x
    ```
    """
    if (root := producer(op.operand, nn.SqrtOp)) is not None:
        rewriter.absorb(root)
        rewriter.replace_with(nn.RsqrtOp(root.operand))
    return None


@pattern(nn.PowOp)
def expand_power(op: nn.PowOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.pow %x, 2     ->   nn.mul %x, %x
    nn.pow %x, 3     ->   nn.mul (nn.mul %x, %x), %x
    nn.pow %x, -1    ->   nn.reciprocal %x
    nn.pow %x, 0.5   ->   nn.sqrt %x        (%x never negative)
    ```
    """
    x, exponent = op.lhs, rewriter.scalar(op.rhs)
    if exponent is None or x.type != op.result.type:
        return None
    if exponent in (2, 3):
        square = nn.MulOp(x, x)
        cube = exponent == 3
        rewriter.replace_with(nn.MulOp(rewriter.emit(square), x) if cube else square)
        return None
    if not is_float_value(x) or exponent not in (-1, 0.5, -0.5):
        return None
    if exponent == -1:
        rewriter.replace_with(nn.ReciprocalOp(x))
        return None
    if not is_never_negative(x, rewriter):
        return "pow(-inf, 0.5) is +inf but sqrt(-inf) is NaN"
    rewriter.replace_with(nn.SqrtOp(x) if exponent == 0.5 else nn.RsqrtOp(x))
    return None


@pattern(nn.NotOp)
def invert_comparison(op: nn.NotOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.not(nn.compare %a, %b {eq})   ->   nn.compare %a, %b {ne}
    ```
    """
    inner = producer(op.operand, nn.CompareOp)
    if inner is None or not has_one_user(op.operand):
        return None
    predicate = inner.value("predicate")
    if is_float_value(inner.lhs) and predicate not in ("eq", "ne"):
        return "with NaN, not (a < b) is not a >= b"
    rewriter.absorb(inner)
    inverse = INVERSE[predicate]
    rewriter.replace_with(nn.CompareOp(inner.lhs, inner.rhs, predicate=inverse))
    return None


@pattern(nn.CompareOp)
def compare_truth_with_zero(op: nn.CompareOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.compare (nn.cast %b {to = i64}), 0 {ne}   ->   %b        (%b: i1)
    nn.compare (nn.cast %b {to = i64}), 0 {eq}   ->   nn.not %b
    ```
    """
    cast = producer(op.lhs, nn.CastOp)
    if cast is None or element_of(cast.operand) != i1:
        return None
    if cast.operand.type != op.result.type or rewriter.scalar(op.rhs) != 0:
        return None
    match op.value("predicate"):
        case "ne" | "gt":
            rewriter.replace_with(cast.operand)
        case "eq" | "le":
            rewriter.replace_with(nn.NotOp(cast.operand))
        case _:
            pass
    return None


@pattern(nn.SelectOp)
def select_decided(op: nn.SelectOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.select true, %a, %b   ->   %a
    nn.select %c, %a, %a     ->   %a
    ```
    """
    chosen = None
    if op.on_true is op.on_false:
        chosen = op.on_true
    elif (condition := rewriter.scalar(op.condition)) is not None:
        chosen = op.on_true if condition else op.on_false
    if chosen is not None and chosen.type == op.result.type:
        rewriter.replace_with(chosen)
    return None


@pattern(nn.SelectOp)
def select_on_negated(op: nn.SelectOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.select (nn.not %c), %a, %b   ->   nn.select %c, %b, %a
    ```
    """
    if (negated := producer(op.condition, nn.NotOp)) is not None:
        rewriter.absorb(negated)
        rewriter.replace_with(nn.SelectOp(negated.operand, op.on_false, op.on_true))
    return None


def feeds_step_function(value: SSAValue, depth: int = 4) -> bool:
    """Whether a few ops further a difference in the last bit may become a step."""
    for use in value.uses:
        user = use.operation
        if isinstance(user, STEP_FUNCTIONS) or user.name.startswith("quant."):
            return True
        if isinstance(user, nn.CastOp) and not is_float(user.to):
            return True
        is_passing = isinstance(user, nn.AddOp | nn.MulOp | nn.ClampOp | nn.NegOp)
        if depth and is_passing and feeds_step_function(user.results[0], depth - 1):
            return True
    return False


def is_never_negative(value: SSAValue, rewriter: Rewriter, depth: int = 6) -> bool:
    """Whether `value >= 0` or NaN holds by the form of its producers."""
    owner = value.owner
    match owner:
        case nn.ConstantOp():
            array = rewriter.array(value)
            return array is not None and bool((array >= 0).all())
        case nn.AbsOp() | nn.ExpOp() | nn.ReluOp() | nn.SigmoidOp() | nn.SqrtOp():
            return True
        case nn.MulOp() if owner.lhs is owner.rhs:
            return True
        case nn.AddOp() | nn.MulOp() | nn.DivOp() if depth:
            operands = owner.operands
            return all(is_never_negative(o, rewriter, depth - 1) for o in operands)
        case nn.ReduceOp() if depth and owner.value("kind") in ("sum", "mean", "max"):
            return is_never_negative(owner.operands[0], rewriter, depth - 1)
        case nn.MaximumOp() if depth:
            operands = owner.operands
            return any(is_never_negative(o, rewriter, depth - 1) for o in operands)
        case _:
            return False


def _is_finite(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind in "iub" or bool(
        np.isfinite(array.astype(np.float64)).all()
    )


def _is_normal(array: np.ndarray[Any, Any]) -> bool:
    smallest = 2.0**-14 if array.dtype.itemsize == 2 else 2.0**-126
    return bool((np.abs(array.astype(np.float64)) >= smallest).all())


PATTERNS = (
    move_constant_right,
    move_compared_constant_right,
    compare_index,
    drop_neutral_operand,
    drop_neutral_truth,
    cancel_involution,
    drop_repeated,
    drop_sign_under_abs,
    subtract_constant_by_adding,
    subtract_from_zero,
    absorb_negation,
    multiply_by_minus_one,
    combine_constants,
    divide_one,
    divide_by_constant,
    merge_reciprocal_of_root,
    expand_power,
    invert_comparison,
    compare_truth_with_zero,
    select_decided,
    select_on_negated,
)
