"""Element types on the CPU: how memory stores them and what registers carry.

Arithmetic happens in the *carrier* type. It is the element type itself where the CPU
(or LLVM without a library call) computes in it; bf16 and the eight-bit floats are
carried as f32 that hold only values of the narrow type, and rounded after each
operation. `i1` is stored as a byte.
"""

from __future__ import annotations

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    VectorType,
)
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_builder import (
    Builder,
    f32,
    i1,
    i8,
    i32,
    i64,
    lanes_of,
    vector,
)
from stepwell.errors import CompileError

_I16 = IntegerType(16)
_NATIVE = (Float16Type, Float32Type, Float64Type)


def carrier_type(element: Attribute) -> Attribute:
    """The scalar type that registers carry.

    Raises:
        CompileError: the CPU code generator has no form of this element type.
    """
    if isinstance(element, _NATIVE):
        return element
    if isinstance(element, IndexType):
        return i64
    if isinstance(element, BFloat16Type):
        return f32
    if isinstance(element, IntegerType) and element.width.data in (1, 8, 16, 32, 64):
        return IntegerType(element.width.data)
    raise CompileError(
        f"expected an element type the CPU can compute in, got {element}",
        fix="convert it with a cast above this kernel",
    )


def storage_type(element: Attribute) -> Attribute:
    """The scalar type of one element in memory."""
    if isinstance(element, BFloat16Type):
        return _I16
    carrier = carrier_type(element)
    return i8 if carrier == i1 else carrier


def element_bytes(element: Attribute) -> int:
    """Bytes of one element in memory."""
    stored = storage_type(element)
    assert isinstance(stored, IntegerType | Float16Type | Float32Type | Float64Type)
    return stored.bitwidth // 8


def is_rounded(element: Attribute) -> bool:
    """Whether results must be rounded to the element type after each operation."""
    return isinstance(element, BFloat16Type)


def _as(type_: Attribute, like: Attribute) -> Attribute:
    return vector(type_, lanes_of(like))


def load_conversion(b: Builder, stored: SSAValue, element: Attribute) -> SSAValue:
    """A stored value (or vector) as its carrier."""
    type_ = stored.type
    if isinstance(element, BFloat16Type):
        wide = b.cast("zext", stored, _as(i32, type_))
        wide = b.binary("shl", wide, b.constant(16, wide.type))
        return b.cast("bitcast", wide, _as(f32, type_))
    if carrier_type(element) == i1:
        return b.icmp("ne", stored, b.constant(0, type_))
    return stored


def store_conversion(b: Builder, value: SSAValue, element: Attribute) -> SSAValue:
    """A carried value (or vector) as it is stored."""
    if isinstance(element, BFloat16Type):
        bits = b.cast("bitcast", value, _as(i32, value.type))
        bits = b.binary("lshr", bits, b.constant(16, bits.type))
        return b.cast("trunc", bits, _as(_I16, value.type))
    if carrier_type(element) == i1:
        return b.cast("zext", value, _as(i8, value.type))
    return value


def round_to_element(b: Builder, value: SSAValue, element: Attribute) -> SSAValue:
    """An f32 rounded to nearest even in the narrow float type it stands for."""
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
