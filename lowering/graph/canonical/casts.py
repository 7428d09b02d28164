"""Conversions that do nothing, or undo each other."""

from __future__ import annotations

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type
from xdsl.ir import Attribute

from stepwell.dialects import nn
from stepwell.dialects.dtypes import (
    bit_width,
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


PATTERNS = (drop_identity_cast, merge_casts)
