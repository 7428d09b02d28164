"""Conversions that do nothing, or undo each other."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.dtypes import (
    bit_width,
    integer_limits,
    is_bool,
    is_integer,
    is_unsigned,
)
from stepwell.dialects.shapes import element_of
from stepwell.lowering.graph.matching import producer
from stepwell.lowering.rewriting import Outcome, Rewriter, pattern

SIGNIFICAND_BITS: dict[type[Attribute], int] = {
    BFloat16Type: 8,
    Float16Type: 11,
    Float32Type: 24,
    Float64Type: 53,
}
EXPONENT_BITS: dict[type[Attribute], int] = {
    BFloat16Type: 8,
    Float16Type: 5,
    Float32Type: 8,
    Float64Type: 11,
}


def holds_all_of(wide: Attribute, narrow: Attribute) -> bool:
    """Whether every value of element type `narrow` is one of `wide`."""
    if wide == narrow or is_bool(narrow):
        return wide == narrow or is_integer(wide) or type(wide) in SIGNIFICAND_BITS
    if is_integer(narrow) and is_integer(wide):
        grows = bit_width(wide) > bit_width(narrow)
        same_sign = is_unsigned(wide) == is_unsigned(narrow)
        return (grows and not is_unsigned(wide)) or (
            same_sign and bit_width(wide) >= bit_width(narrow)
        )
    if is_integer(narrow):
        bits = bit_width(narrow) - (not is_unsigned(narrow))
        return bits <= SIGNIFICAND_BITS.get(type(wide), 0)
    if type(wide) not in SIGNIFICAND_BITS or type(narrow) not in SIGNIFICAND_BITS:
        return False
    return all(
        table[type(wide)] >= table[type(narrow)]
        for table in (SIGNIFICAND_BITS, EXPONENT_BITS)
    )


@pattern(nn.CastOp)
def drop_identity_cast(op: nn.CastOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.cast %x {to = f32}   ->   %x        (%x: f32)
    ```
    """
    if op.operand.type == op.result.type:
        rewriter.replace_with(op.operand)
    return None


@pattern(nn.CastOp)
def merge_casts(op: nn.CastOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.cast(nn.cast %x {to = f64}) {to = i32}   ->   nn.cast %x {to = i32}
    ```
    The type in the middle must hold every value that %x can have.
    """
    inner = producer(op.operand, nn.CastOp)
    if inner is None:
        return None
    source, middle = element_of(inner.operand), element_of(inner.result)
    if not holds_all_of(middle, source):
        return "the first cast rounds or wraps"
    rewriter.absorb(inner)
    if source == op.to:
        rewriter.replace_with(inner.operand)
    else:
        rewriter.replace_with(nn.CastOp(inner.operand, op.to))
    return None


@pattern(nn.CastOp)
def drop_round_trip(op: nn.CastOp, rewriter: Rewriter) -> Outcome:
    """A whole number within the limits of an integer type survives the trip there.

    ```mlir
    nn.cast(nn.cast %c {to = ui8}) {to = f32}   ->   %c     (%c whole, in [0, 255])
    ```
    """
    inner = producer(op.operand, nn.CastOp)
    if inner is None or not is_integer(element_of(inner.result)):
        return None
    clamp = producer(inner.operand, nn.ClampOp)
    if clamp is None or clamp.result.type != op.result.type:
        return None
    low, high = clamp.value("min"), clamp.value("max")
    limits = integer_limits(inner.to)
    if low is None or high is None or low < limits[0] or high > limits[1]:
        return None
    if not (
        low.is_integer() and high.is_integer() and is_whole(clamp.operand, rewriter)
    ):
        return "the number may have a fraction"
    rewriter.replace_with(clamp.result)
    return None


def is_whole(value: SSAValue, rewriter: Rewriter, depth: int = 4) -> bool:
    """Whether every element is a whole number (or not finite) by how it is made."""
    match value.owner:
        case nn.RoundOp() | nn.FloorOp() | nn.CeilOp():
            return True
        case nn.CastOp() as cast:
            return is_integer(element_of(cast.operand))
        case nn.ConstantOp():
            array = rewriter.array(value)
            return array is not None and bool((array == np.rint(array)).all())
        case nn.AddOp() | nn.SubOp() | nn.MulOp() as both if depth:
            return all(is_whole(v, rewriter, depth - 1) for v in both.operands)
        case nn.ReshapeOp() | nn.NegOp() as one if depth:
            return is_whole(one.operand, rewriter, depth - 1)
        case nn.ClampOp() as clamp if depth:
            bounds = (clamp.value("min"), clamp.value("max"))
            is_even = all(b is None or float(b).is_integer() for b in bounds)
            return is_even and is_whole(clamp.operand, rewriter, depth - 1)
        case _:
            return False


PATTERNS = (drop_identity_cast, drop_round_trip, merge_casts)
