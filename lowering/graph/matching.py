"""Small questions that patterns ask about values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import is_float
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.dialects.weights import WeightStore
from stepwell.lowering.constants import constant_scalar

OpT = TypeVar("OpT", bound=Operation)


def producer(value: SSAValue, *kinds: type[OpT]) -> OpT | None:
    """The op that defines `value` if it is one of `kinds`."""
    owner = value.owner
    return owner if isinstance(owner, kinds) else None


def has_one_user(value: SSAValue) -> bool:
    """Whether one op uses `value`, once or several times over."""
    return len({use.operation for use in value.uses}) == 1


def is_float_value(value: SSAValue) -> bool:
    """Whether the elements are real floating-point numbers."""
    return is_float(element_of(value))


def rank_of(value: SSAValue) -> int:
    """The number of dims."""
    return len(dims_of(value))


def clone_with(op: OpT, operands: Sequence[SSAValue]) -> OpT:
    """`op` over other operands, with the same parameters and result types."""
    return op.create(
        operands=operands,
        properties=op.properties,
        attributes=op.attributes,
        result_types=op.result_types,
    )


def both_orders(op: Any) -> Iterator[tuple[SSAValue, SSAValue]]:
    """The operands of a commutative binary op, as they stand and swapped."""
    yield op.lhs, op.rhs
    yield op.rhs, op.lhs


def is_unit_reshape(op: Operation) -> bool:
    """Whether `op` only inserts or drops dims of 1, or repeats nothing."""
    if not isinstance(op, nn.ReshapeOp | nn.BroadcastToOp):
        return False
    before, after = (
        [dim for dim in dims_of(value) if dim != 1]
        for value in (op.operands[0], op.results[0])
    )
    return before == after


def behind_unit_reshapes(value: SSAValue) -> SSAValue:
    """The value that `value` is, but for dims of 1."""
    while isinstance(owner := value.owner, Operation) and is_unit_reshape(owner):
        value = owner.operands[0]
    return value


@dataclass
class Product:
    """A value as `scalar * product of factors`."""

    scalar: float
    factors: list[SSAValue]
    ops: list[Operation]

    def without(self, *factors: SSAValue) -> list[SSAValue] | None:
        """The factors that are left, or `None` if one of these is not among them."""
        left = list(self.factors)
        for factor in factors:
            if factor not in left:
                return None
            left.remove(factor)
        return left


def product_of(
    value: SSAValue, weights: WeightStore, whole: Sequence[SSAValue] = ()
) -> Product:
    """`value` as a product, looking through `mul`, `neg` and `div` by a constant.

    Values in `whole` are factors as they stand.
    """
    result = Product(1.0, [], [])
    pending = [value]
    while pending:
        one = pending.pop()
        owner = one.owner
        if one in whole or len(result.ops) > 8:
            result.factors.append(one)
        elif isinstance(owner, nn.MulOp):
            result.ops.append(owner)
            pending += [owner.rhs, owner.lhs]
        elif isinstance(owner, nn.NegOp):
            result.ops.append(owner)
            result.scalar = -result.scalar
            pending.append(owner.operand)
        elif (number := constant_scalar(one, weights)) is not None:
            result.scalar *= number
        elif isinstance(owner, nn.DivOp) and (
            number := constant_scalar(owner.rhs, weights)
        ):
            result.ops.append(owner)
            result.scalar /= number
            pending.append(owner.lhs)
        else:
            result.factors.append(one)
    return result


def plus_constant(
    value: SSAValue, weights: WeightStore
) -> tuple[SSAValue, float] | None:
    """`(x, c)` if `value` is `add(x, c)` with a constant of one number."""
    add = producer(value, nn.AddOp)
    if add is None:
        return None
    for x, constant in both_orders(add):
        number = constant_scalar(constant, weights)
        if number is not None and x.type == value.type:
            return x, number
    return None


def is_close(left: float | None, right: float) -> bool:
    """Equal up to the digits that people write constants with."""
    return left is not None and math.isclose(left, right, rel_tol=2e-5)


def reduced_axes(value: SSAValue, source: SSAValue, kind: str) -> list[int] | None:
    """The axes along which `value` is the `kind` reduction of `source`.

    `value` must broadcast against `source` so that each row meets its own number;
    reshapes that put dims of 1 back are looked through.
    """
    reduce = producer(behind_unit_reshapes(value), nn.ReduceOp)
    if reduce is None or reduce.operand is not source or reduce.value("kind") != kind:
        return None
    axes = sorted(axis % rank_of(source) for axis in reduce.value("axes"))
    kept = [1 if i in axes else dim for i, dim in enumerate(dims_of(source))]
    dims = list(dims_of(value))
    return axes if [1] * (len(kept) - len(dims)) + dims == kept else None
