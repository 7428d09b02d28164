"""Floats of eight bits and fewer: decoding, encoding and rounding on f32 vectors.

A narrow float's exponent and mantissa, shifted to where f32 has them, are an f32 that
differs from the value by a power of two, denormals included. So decoding and encoding
are a shift and a multiplication; what is left is NaN and infinity, which each format
spells its own way (the OCP 8-bit and microscaling specifications; the `fnuz` formats of
Graphcore and AMD). Rounding is to nearest even, and agrees with `ml_dtypes`.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import (
    Float4E2M1FNType,
    Float6E2M3FNType,
    Float6E3M2FNType,
    Float8E4M3B11FNUZType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E4M3Type,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    f32,
    i8,
    i32,
)
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import lanes_of, vector
from stepwell.codegen.math.vectors import V

_F32_MANTISSA, _F32_BIAS = 23, 127
_F32_INFINITY, _F32_NAN = 0x7F800000, 0x7FC00000


@dataclass(frozen=True)
class Format:
    """One narrow format.

    Attributes:
        bits: its width.
        mantissa: bits of the mantissa.
        bias: of the exponent; the smallest normal number is `2^(1 - bias)`.
        largest: the largest finite number.
        nan: code of NaN without sign; None where the format has none.
        infinity: code of infinity; None where overflow gives NaN, or the largest
            number if there is no NaN either.
        signed_nan: whether NaN keeps a sign; else `nan` is the code of minus zero.
    """

    bits: int
    mantissa: int
    bias: int
    largest: float
    nan: int | None = None
    infinity: int | None = None
    signed_nan: bool = True

    @property
    def magnitude(self) -> int:
        """Mask of all bits but the sign."""
        return (1 << (self.bits - 1)) - 1


FORMATS: dict[Attribute, Format] = {
    Float8E4M3Type(): Format(8, 3, 7, 240.0, nan=0x7C, infinity=0x78),
    Float8E5M2Type(): Format(8, 2, 15, 57344.0, nan=0x7E, infinity=0x7C),
    Float8E4M3FNType(): Format(8, 3, 7, 448.0, nan=0x7F),
    Float8E4M3FNUZType(): Format(8, 3, 8, 240.0, nan=0x80, signed_nan=False),
    Float8E4M3B11FNUZType(): Format(8, 3, 11, 30.0, nan=0x80, signed_nan=False),
    Float8E5M2FNUZType(): Format(8, 2, 16, 57344.0, nan=0x80, signed_nan=False),
    Float6E2M3FNType(): Format(6, 3, 1, 7.5),
    Float6E3M2FNType(): Format(6, 2, 3, 28.0),
    Float4E2M1FNType(): Format(4, 1, 1, 6.0),
}


def decode(b: Builder, stored: SSAValue, form: Format) -> SSAValue:
    """Bytes as f32."""
    lanes = lanes_of(stored.type)
    code = V(b, b.cast("zext", stored, vector(i32, lanes)))
    magnitude = code & form.magnitude
    shift = _F32_MANTISSA - form.mantissa
    value = (magnitude << shift).as_float() * 2.0 ** (_F32_BIAS - form.bias)
    if form.infinity is not None:
        special = magnitude.compare("sge", form.infinity)
        value = ((magnitude << shift) | _F32_INFINITY).as_float().where(special, value)
    elif form.nan is not None and form.signed_nan:
        is_nan = magnitude.compare("eq", form.nan)
        value = code.like(_F32_NAN).as_float().where(is_nan, value)
    sign = code & (1 << (form.bits - 1))
    bits = value.bits() | (sign << (32 - form.bits))
    if form.nan is not None and not form.signed_nan:
        is_nan = code.compare("eq", form.nan)
        return code.like(_F32_NAN).where(is_nan, bits).as_float().value
    return bits.as_float().value


def encode(b: Builder, value: SSAValue, form: Format) -> SSAValue:
    """f32 that hold only values of the format, as bytes."""
    x = V(b, value)
    lanes = lanes_of(value.type)
    size = x.abs()
    shift = _F32_MANTISSA - form.mantissa
    code = (size * 2.0 ** (form.bias - _F32_BIAS)).bits() >> shift
    if form.infinity is not None:
        finite = size.compare("olt", float("inf"))
        code = code.where(finite, form.infinity)
    if form.nan is not None and form.signed_nan:
        code = code.where(size.compare("ord", size), form.nan)
    sign = (x.bits() >> (32 - form.bits)) & (1 << (form.bits - 1))
    code = (code & form.magnitude) | sign
    if form.nan is not None and not form.signed_nan:
        code = code.where(size.compare("ord", size), form.nan)
    return b.cast("trunc", code.value, vector(i8, lanes))


def round_to(b: Builder, value: SSAValue, form: Format) -> SSAValue:
    """f32 rounded to the nearest value of the format, ties to even."""
    x = V(b, value)
    size = x.abs()
    exponent = size.bits() & _F32_INFINITY
    smallest = exponent.like((_F32_BIAS + 1 - form.bias) << _F32_MANTISSA)
    exponent = smallest.where(exponent.compare("slt", smallest), exponent)
    unit_bits = exponent - (form.mantissa << _F32_MANTISSA)
    inverse = (unit_bits.like(254 << _F32_MANTISSA) - unit_bits).as_float()
    rounded = (size * inverse).intrinsic("roundeven") * unit_bits.as_float()
    # Infinity and NaN come out of the product as NaN: put them back.
    rounded = rounded.where(size.compare("olt", float("inf")), size)
    over = rounded.compare("ogt", form.largest)
    if form.infinity is not None:
        rounded = rounded.like(float("inf")).where(over, rounded)
    elif form.nan is not None:
        rounded = rounded.like(float("nan")).where(over, rounded)
    else:
        rounded = rounded.like(form.largest).where(over, rounded)
    signed = rounded.with_sign_of(x)
    if form.nan is None:
        # The format has no NaN: ml_dtypes makes it a zero of the other sign.
        zero = x.like(0.0).with_sign_of(-x)
        return zero.where(x.is_nan(), signed).value
    if not form.signed_nan:
        return signed.where(rounded.compare("une", 0.0), 0.0).value
    return signed.value


__all__ = ["FORMATS", "Format", "decode", "encode", "f32", "round_to"]
