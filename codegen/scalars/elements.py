"""Element types: how memory stores them and what registers carry.

Arithmetic happens in the *carrier* type. It is the element type itself where the device
(or LLVM without a library call) computes in it; narrower floats are carried as f32 that
hold only values of the narrow type, and rounded after each operation. `i1` and the
integers of two and four bits are stored one in a byte.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    VectorType,
    f32,
    i1,
    i8,
    i32,
    i64,
)
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import lanes_of, vector
from stepwell.errors import CompileError

from .minifloats import FORMATS, decode, encode, round_to

_I16 = IntegerType(16)
_NATIVE = (Float16Type, Float32Type, Float64Type)
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Carriers:
    """What the registers of a device carry.

    Attributes:
        index: the integer type of `index`.
        bf16: whether bf16 is a type of its own; else it is an f32 that is rounded.
        nan_extrema: whether the maximum that propagates NaN is one instruction of f32.
    """

    index: IntegerType = i64
    bf16: bool = False
    nan_extrema: bool = False


CPU = Carriers()


def carrier_type(element: Attribute, on: Carriers = CPU) -> Attribute:
    """The scalar type that registers carry.

    Raises:
        CompileError: the code generator has no form of this element type.
    """
    if isinstance(element, _NATIVE):
        return element
    if isinstance(element, IndexType):
        return on.index
    if is_rounded(element, on):
        return f32
    if isinstance(element, BFloat16Type):
        return element
    if isinstance(element, IntegerType) and element.width.data in _WIDTHS:
        return IntegerType(element.width.data)
    raise CompileError(
        f"expected an element type that kernels can compute in, got {element}",
        fix="convert it with a cast above this kernel",
    )


def storage_type(element: Attribute, on: Carriers = CPU) -> Attribute:
    """The scalar type of one element in memory."""
    if isinstance(element, BFloat16Type) and not on.bf16:
        return _I16
    if element in FORMATS:
        return i8
    return scratch_type(carrier_type(element, on))


def scratch_type(carrier: Attribute) -> Attribute:
    """How a carried value lies in memory: whole bytes."""
    if isinstance(carrier, IntegerType) and carrier.width.data < 8:
        return i8
    return carrier


def element_bytes(element: Attribute) -> int:
    """Bytes of one element in memory."""
    stored = storage_type(element)
    assert isinstance(stored, IntegerType | Float16Type | Float32Type | Float64Type)
    return stored.bitwidth // 8


def is_rounded(element: Attribute, on: Carriers = CPU) -> bool:
    """Whether results must be rounded to the element type after each operation."""
    return (isinstance(element, BFloat16Type) and not on.bf16) or element in FORMATS


def _as(type_: Attribute, like: Attribute) -> Attribute:
    return vector(type_, lanes_of(like))


def load_conversion(
    b: Builder, stored: SSAValue, element: Attribute, on: Carriers = CPU
) -> SSAValue:
    """A stored value (or vector) as its carrier."""
    type_ = stored.type
    if isinstance(element, BFloat16Type) and not on.bf16:
        wide = b.cast("zext", stored, _as(i32, type_))
        wide = b.binary("shl", wide, b.constant(16, wide.type))
        return b.cast("bitcast", wide, _as(f32, type_))
    if element in FORMATS:
        return decode(b, stored, FORMATS[element])
    return from_bytes(b, stored, carrier_type(element, on))


def store_conversion(
    b: Builder, value: SSAValue, element: Attribute, on: Carriers = CPU
) -> SSAValue:
    """A carried value (or vector) as it is stored."""
    if isinstance(element, BFloat16Type) and not on.bf16:
        bits = b.cast("bitcast", value, _as(i32, value.type))
        bits = b.binary("lshr", bits, b.constant(16, bits.type))
        return b.cast("trunc", bits, _as(_I16, value.type))
    if element in FORMATS:
        return encode(b, value, FORMATS[element])
    return to_bytes(b, value, carrier_type(element, on))


def from_bytes(b: Builder, stored: SSAValue, carrier: Attribute) -> SSAValue:
    """Whole bytes as an integer narrower than a byte; others as they are."""
    if carrier == i1:
        return b.icmp("ne", stored, b.constant(0, stored.type))
    if scratch_type(carrier) != carrier:
        return b.cast("trunc", stored, _as(carrier, stored.type))
    return stored


def to_bytes(b: Builder, value: SSAValue, carrier: Attribute) -> SSAValue:
    """An integer narrower than a byte as whole bytes; others as they are."""
    if scratch_type(carrier) != carrier:
        return b.cast("zext", value, _as(i8, value.type))
    return value


def round_to_element(b: Builder, value: SSAValue, element: Attribute) -> SSAValue:
    """An f32 rounded to nearest even in the narrow float type it stands for."""
    if element in FORMATS:
        return round_to(b, value, FORMATS[element])
    if not isinstance(element, BFloat16Type):
        return value
    bits = b.cast("bitcast", value, _as(i32, value.type))
    type_ = bits.type
    sixteen, one = b.constant(16, type_), b.constant(1, type_)
    odd = b.binary("and", b.binary("lshr", bits, sixteen), one)
    bias = b.binary("add", odd, b.constant(0x7FFF, type_))
    rounded = b.binary("add", bits, bias)
    # A NaN must stay one: its payload may sit in the bits that are cut off.
    quiet = b.binary("or", bits, b.constant(0x400000, type_))
    rounded = b.select(b.fcmp("uno", value, value), quiet, rounded)
    rounded = b.binary("and", rounded, b.constant(-0x10000, type_))
    return b.cast("bitcast", rounded, value.type)


def is_vector(value: SSAValue) -> bool:
    """Whether a value has more than one lane."""
    return isinstance(value.type, VectorType)
