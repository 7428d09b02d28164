"""The monoids of reductions, as scalar ops and as their identities."""

from __future__ import annotations

import math
from collections.abc import Callable

from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, IntegerType, Signedness
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.fusion import Combine
from stepwell.errors import CompileError

Binary = Callable[[SSAValue, SSAValue], Operation]

_FLOAT: dict[Combine, Binary] = {
    Combine.ADD: arith.AddfOp,
    Combine.MUL: arith.MulfOp,
    Combine.MAX: arith.MaximumfOp,
    Combine.MIN: arith.MinimumfOp,
}
_INTEGER: dict[Combine, Binary] = {
    Combine.ADD: arith.AddiOp,
    Combine.MUL: arith.MuliOp,
    Combine.MAX: arith.MaxSIOp,
    Combine.MIN: arith.MinSIOp,
    Combine.AND: arith.AndIOp,
    Combine.OR: arith.OrIOp,
}
_UNSIGNED: dict[Combine, Binary] = {
    Combine.MAX: arith.MaxUIOp,
    Combine.MIN: arith.MinUIOp,
}


def is_unsigned(element: Attribute) -> bool:
    """Whether integers of this element type count from zero; bools do."""
    return isinstance(element, IntegerType) and (
        element.signedness.data is Signedness.UNSIGNED or element.width.data == 1
    )


def combine_op(
    kind: Combine, element: Attribute, left: SSAValue, right: SSAValue
) -> Operation:
    """The scalar op that combines two values of a tensor's element type.

    Raises:
        CompileError: the kind has no meaning for the type.
    """
    if isinstance(element, AnyFloat):
        table = _FLOAT
    else:
        table = _INTEGER | _UNSIGNED if is_unsigned(element) else _INTEGER
    if kind not in table:
        raise CompileError(f"expected a combine kind for {element}, got {kind}")
    return table[kind](left, right)


def identity(kind: Combine, element: Attribute) -> float | int:
    """What leaves every value of the element type unchanged under `kind`."""
    if isinstance(element, AnyFloat):
        values = {Combine.ADD: 0.0, Combine.MUL: 1.0}
        values |= {Combine.MAX: -math.inf, Combine.MIN: math.inf}
        return values[kind]
    assert isinstance(element, IntegerType)
    width = element.width.data
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    if is_unsigned(element):
        low, high = 0, -1 if width > 1 else 1
    ones = -1 if width > 1 else 1
    table = {Combine.ADD: 0, Combine.MUL: 1, Combine.OR: 0, Combine.AND: ones}
    return (table | {Combine.MAX: low, Combine.MIN: high})[kind]
