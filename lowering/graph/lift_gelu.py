"""Recognise GELU in the forms that frameworks write it out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.weights import WeightStore
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import is_close, plus_constant, producer, product_of

TANH_SCALE = math.sqrt(2 / math.pi)
CUBE_SCALE = 0.044715


@pattern(nn.MulOp)
def lift_gelu(op: nn.MulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    0.5 * %x * (1 + erf(%x * 0.70711))                            ->   nn.gelu %x
    0.5 * %x * (1 + tanh(0.79788 * (%x + 0.044715 * %x**3)))      ->   nn.gelu %x
    ```
    The factors stand in any order and association; `0.5 + 0.5 * erf(..)` is fine too.
    """
    product = product_of(op.result, rewriter.weights)
    for factor in product.factors:
        found = match_gate(factor, rewriter.weights)
        if found is None:
            continue
        x, gate_scale, approximate = found
        whole = product_of(op.result, rewriter.weights, whole=[x, factor])
        if whole.without(x, factor) != []:
            continue
        if not is_close(whole.scalar * gate_scale, 0.5) or x.type != op.result.type:
            return "the scale is not that of GELU"
        rewriter.absorb_down_to(x)
        rewriter.replace_with(nn.GeluOp(x, approximate=approximate))
        return None
    return None


Gate = tuple[SSAValue, float, str]
"""x, the number the gate stands times, and which approximation it is."""


def match_gate(value: SSAValue, weights: WeightStore) -> Gate | None:
    """`c + c * erf(x / sqrt(2))`, or the same of tanh."""
    found = plus_constant(value, weights)
    if found is None:
        return None
    inner, constant = found
    scaled = product_of(inner, weights)
    if len(scaled.factors) != 1 or not is_close(scaled.scalar, constant):
        return None
    function = scaled.factors[0]
    if (erf := producer(function, nn.ErfOp)) is not None:
        x = match_erf_argument(erf.operand, weights)
        return None if x is None else (x, constant, "none")
    if (tanh := producer(function, nn.TanhOp)) is not None:
        x = match_tanh_argument(tanh.operand, weights)
        return None if x is None else (x, constant, "tanh")
    return None


def match_erf_argument(value: SSAValue, weights: WeightStore) -> SSAValue | None:
    """x of `x * sqrt(1/2)`, written as a product or a quotient."""
    owner = value.owner
    if not isinstance(owner, nn.MulOp | nn.DivOp):
        return None
    for x in owner.operands:
        scaled = product_of(value, weights, whole=[x])
        if scaled.factors == [x] and is_close(scaled.scalar, math.sqrt(0.5)):
            return x
    return None


def match_tanh_argument(value: SSAValue, weights: WeightStore) -> SSAValue | None:
    """x of `s * (x + c * x**3)` or `s * x * (1 + c * x**2)`."""
    scaled = product_of(value, weights)
    if not is_close(scaled.scalar, TANH_SCALE):
        return None
    for factor in scaled.factors:
        add = producer(factor, nn.AddOp)
        if add is None:
            continue
        rest = scaled.without(factor)
        for x in (add.lhs, add.rhs) if rest == [] else rest or ():
            whole = product_of(value, weights, whole=[x, factor])
            power = 3 if whole.factors == [factor] else 2
            if whole.without(*([x, factor] if power == 2 else [factor])) != []:
                continue
            if is_cubic_term(add, x, power, weights):
                return x
    return None


def is_cubic_term(add: nn.AddOp, x: SSAValue, power: int, weights: WeightStore) -> bool:
    """Whether `add` is `x + c x**3` (power 3) or `1 + c x**2` (power 2)."""
    for base, term in ((add.lhs, add.rhs), (add.rhs, add.lhs)):
        if power == 3 and base is not x:
            continue
        if power == 2 and not is_close(_scalar(base, weights), 1.0):
            continue
        product = product_of(term, weights, whole=[x])
        if product.factors == [x] * power and is_close(product.scalar, CUBE_SCALE):
            return True
    return False


def _scalar(value: SSAValue, weights: WeightStore) -> float | None:
    product = product_of(value, weights)
    return None if product.factors else product.scalar


@dataclass(frozen=True)
class LiftGeluPass(ModulePass):
    """Replace chains that compute GELU by `nn.gelu`."""

    name = "lift-gelu"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Match products that end in one of GELU's gates."""
        apply_patterns(op, [lift_gelu], ctx)
