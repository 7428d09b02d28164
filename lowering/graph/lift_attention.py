"""Recognise scaled dot-product attention written out as two matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.dtypes import is_bool
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .matching import both_orders, has_one_user, producer, rank_of


@dataclass
class Scores:
    """`scale * product + mask`."""

    product: nn.MatmulOp
    scale: float = 1.0
    mask: SSAValue | None = None


@pattern(nn.MatmulOp)
def lift_attention(op: nn.MatmulOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.softmax(%q @ transpose(%k) * s + %mask) @ %v
    ->   nn.attention %q, %k, %v, %mask {scale = s}
    ```
    The scale may be a quotient, or stand at q, at k, or at both, before or behind a
    transpose; k is what the second operand transposes to, so any layout of it composes
    with that transpose. The probabilities may be guarded: `select(is_nan(p), 0, p)`
    gives a row that sees nothing 0, as attention does.
    """
    weights = unguarded(op.lhs, rewriter)
    softmax = producer(weights, nn.SoftmaxOp)
    if softmax is None or rank_of(op.lhs) < 3:
        return None
    if softmax.value("axis") % rank_of(op.lhs) != rank_of(op.lhs) - 1:
        return "softmax does not run along the last dim"
    if not has_one_user(op.lhs) or (weights is op.lhs and not has_one_user(weights)):
        return "the probabilities have another user"
    scores = match_scores(softmax.x, rewriter)
    if scores is None:
        return "the scores are not a scaled and masked matrix product"
    left = unscaled_before(scores.product.lhs, rewriter)
    right = unscaled_before(scores.product.rhs, rewriter)
    q, k = left.value, right.value
    ranks = {rank_of(value) for value in (q, k, op.rhs)}
    sides = (scores.product.lhs, scores.product.rhs, op.rhs)
    batches = {dims_of(value)[:-2] for value in sides}
    if len(ranks) != 1 or len(batches) != 1:
        return "q, k and v have different batch dims"
    mask = [] if scores.mask is None else [scores.mask]
    rewriter.absorb_down_to(q, k, op.rhs, *mask)
    q, k = (
        value if perm is None else rewriter.emit(nn.TransposeOp(value, perm=perm))
        for value, perm in ((q, left.perm), (k, right.perm))
    )
    k = rewriter.emit(nn.TransposeOp(k, perm=swap_last_two(rank_of(k))))
    scale = scores.scale * left.scale * right.scale
    rewriter.replace_with(nn.AttentionOp(q, k, op.rhs, scores.mask, scale=scale))
    return None


def swap_last_two(rank: int) -> tuple[int, ...]:
    """The permutation that transposes matrices."""
    return (*range(rank - 2), rank - 1, rank - 2)


def match_scores(value: SSAValue, rewriter: Rewriter) -> Scores | None:
    """Read `value` from the softmax up to the matrix product."""
    mask: SSAValue | None = None
    add = producer(value, nn.AddOp)
    if add is not None:
        sides = [pair for pair in both_orders(add) if is_scores(pair[0], rewriter)]
        if not sides or sides[0][0].type != value.type:
            return None
        value, mask = sides[0]
    elif (select := producer(value, nn.SelectOp)) is not None:
        mask = boolean_mask(select, rewriter)
        if mask is None or select.on_true.type != value.type:
            return None
        value = select.on_true
    inner, scale = unscaled(value, rewriter)
    product = producer(inner, nn.MatmulOp)
    if product is None or not has_one_user(product.result):
        return None
    return Scores(product, scale, mask)


def is_scores(value: SSAValue, rewriter: Rewriter) -> bool:
    """Whether `value` is a matrix product, scaled or not."""
    return isinstance(unscaled(value, rewriter)[0].owner, nn.MatmulOp)


def unscaled(value: SSAValue, rewriter: Rewriter) -> tuple[SSAValue, float]:
    """`value` as `(inner, scale)` with `value == inner * scale`."""
    scale = 1.0
    while isinstance(owner := value.owner, nn.MulOp | nn.DivOp):
        number = rewriter.scalar(owner.rhs)
        if not number or owner.lhs.type != value.type:
            break
        scale = scale * number if isinstance(owner, nn.MulOp) else scale / number
        value = owner.lhs
    return value, scale


@dataclass
class Unscaled:
    """`transpose(value, perm) * scale`; no transpose without `perm`."""

    value: SSAValue
    scale: float
    perm: tuple[int, ...] | None = None


def unscaled_before(value: SSAValue, rewriter: Rewriter) -> Unscaled:
    """`unscaled`, also of what stands before a transpose."""
    inner, scale = unscaled(value, rewriter)
    transpose = producer(inner, nn.TransposeOp)
    if transpose is None:
        return Unscaled(inner, scale)
    before, factor = unscaled(transpose.operands[0], rewriter)
    if before is transpose.operands[0]:
        return Unscaled(inner, scale)
    return Unscaled(before, scale * factor, tuple(transpose.value("perm")))


def unguarded(value: SSAValue, rewriter: Rewriter) -> SSAValue:
    """`p` of `select(is_nan(p), 0, p)` without other users; else the value itself."""
    select = producer(value, nn.SelectOp)
    if select is None or rewriter.scalar(select.on_true) != 0:
        return value
    inner, test = select.on_false, producer(select.condition, nn.IsNanOp)
    if test is None or test.operands[0] is not inner or inner.type != value.type:
        return value
    users = {use.operation for use in inner.uses}
    return inner if users == {select, test} else value


def boolean_mask(select: nn.SelectOp, rewriter: Rewriter) -> SSAValue | None:
    """The condition of `select(mask, scores, very negative)`, if it means the same.

    A row with no true element would be uniform there and NaN in attention, so the
    condition must be a constant with a true element in each row.
    """
    number = rewriter.scalar(select.on_false)
    condition = rewriter.array(select.condition)
    if number is None or number > -1e4 or condition is None:
        return None
    if not is_bool(element_of(select.condition)) or not condition.any(axis=-1).all():
        return None
    return select.condition


@dataclass(frozen=True)
class LiftAttentionPass(ModulePass):
    """Replace written-out attention by `nn.attention`."""

    name = "lift-attention"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Match the second matrix product of each attention."""
        apply_patterns(op, [lift_attention], ctx)
