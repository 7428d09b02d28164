"""How LLVM IR spells types and constants."""

from __future__ import annotations

import struct

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntAttr,
    IntegerAttr,
    IntegerType,
    VectorType,
)
from xdsl.ir import Attribute

from stepwell.errors import CompileError

_SCALARS: dict[type[Attribute], str] = {
    Float16Type: "half",
    BFloat16Type: "bfloat",
    Float32Type: "float",
    Float64Type: "double",
    IndexType: "i64",
    xllvm.LLVMVoidType: "void",
}


def type_text(type_: Attribute) -> str:
    """LLVM's spelling of a type, e.g. `<16 x float>`.

    Raises:
        CompileError: the type has none.
    """
    scalar = _SCALARS.get(type(type_))
    if scalar is not None:
        return scalar
    if isinstance(type_, IntegerType):
        return f"i{type_.width.data}"
    if isinstance(type_, VectorType):
        (lanes,) = type_.get_shape()
        return f"<{lanes} x {type_text(type_.element_type)}>"
    if isinstance(type_, xllvm.LLVMPointerType):
        space = type_.addr_space
        number = space.data if isinstance(space, IntAttr) else 0
        if isinstance(space, IntegerAttr):
            number = space.value.data
        return f"ptr addrspace({number})" if number else "ptr"
    if isinstance(type_, xllvm.LLVMArrayType):
        return f"[{type_.size.data} x {type_text(type_.type)}]"
    if isinstance(type_, xllvm.LLVMStructType):
        return "{ " + ", ".join(type_text(t) for t in type_.types.data) + " }"
    raise CompileError(f"expected a type of the llvm dialect, got {type_}")


def is_float(type_: Attribute) -> bool:
    """Whether a type is a float or a vector of floats."""
    element = type_.element_type if isinstance(type_, VectorType) else type_
    return isinstance(element, (Float16Type, BFloat16Type, Float32Type, Float64Type))


def float_text(value: float, type_: Attribute) -> str:
    """A float's exact bits, as LLVM spells them; f32 in the width of a double."""
    if isinstance(type_, Float16Type):
        return f"0xH{int.from_bytes(struct.pack('>e', value)):04X}"
    if isinstance(type_, BFloat16Type):
        bits = int.from_bytes(struct.pack(">f", value))
        return f"0xR{bits >> 16:04X}"
    if isinstance(type_, Float32Type):
        value = struct.unpack(">f", struct.pack(">f", value))[0]
    return f"0x{int.from_bytes(struct.pack('>d', value)):016X}"


def constant_text(type_: Attribute, value: Attribute) -> str:
    """The text of a constant of `type_`.

    Raises:
        CompileError: not an integer, float or dense attribute.
    """
    if isinstance(value, IntegerAttr):
        number = value.value.data
        if isinstance(type_, IntegerType) and type_.width.data == 1:
            return "true" if number else "false"
        return str(number)
    if isinstance(value, FloatAttr):
        return float_text(value.value.data, type_)
    if isinstance(value, DenseIntOrFPElementsAttr):
        return _dense_text(type_, value)
    raise CompileError(f"expected an integer, float or dense constant, got {value}")


def _dense_text(type_: Attribute, value: DenseIntOrFPElementsAttr) -> str:
    array = isinstance(type_, xllvm.LLVMArrayType)
    element = type_.type if array else value.get_element_type()
    name = type_text(element)

    def one(item: object) -> str:
        assert isinstance(item, int | float)
        if is_float(element):
            return f"{name} {float_text(float(item), element)}"
        if name == "i1":
            return "i1 true" if item else "i1 false"
        return f"{name} {int(item)}"

    if array and value.is_splat() and not any(value.data.data[:8]):
        return "zeroinitializer"
    if value.is_splat() and not array:
        return f"splat ({one(next(iter(value.iter_values())))})"
    body = ", ".join(one(item) for item in value.iter_values())
    return f"[{body}]" if array else f"<{body}>"


def quoted(text: str) -> str:
    """A string with LLVM's escapes."""
    plain = {*range(0x20, 0x7F)} - {ord('"'), ord("\\")}
    data = text.encode()
    return '"' + "".join(chr(c) if c in plain else f"\\{c:02X}" for c in data) + '"'


def type_suffix(type_: Attribute) -> str:
    """How an intrinsic's name spells a type: `v16f32`."""
    if isinstance(type_, VectorType):
        (lanes,) = type_.get_shape()
        return f"v{lanes}{type_suffix(type_.element_type)}"
    if isinstance(type_, IntegerType):
        return f"i{type_.width.data}"
    if isinstance(type_, xllvm.LLVMPointerType):
        return "p0"
    return str(type_)
