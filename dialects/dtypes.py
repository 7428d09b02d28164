"""Element types of the IR and their NumPy dtypes, both ways.

Signed integers are signless in the IR (`i8` is `int8`), unsigned ones `ui8`, booleans
`i1`. Types that NumPy lacks come from `ml_dtypes`. Strings are `!nn.string`, held in
NumPy's object dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    ComplexType,
    Float4E2M1FNType,
    Float6E2M3FNType,
    Float6E3M2FNType,
    Float8E4M3B11FNUZType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E4M3Type,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    Signedness,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition

from stepwell.errors import ShapeError


class StoredType(TypeAttribute, ABC):
    """An element type whose values are kept as those of another, `storage_type`."""

    @property
    @abstractmethod
    def storage_type(self) -> Attribute:
        """The type of the stored values."""


@irdl_attr_definition
class StringType(ParametrizedAttribute, TypeAttribute):
    """A string of any length: `!nn.string`. Never enters a kernel."""

    name = "nn.string"


i1, i2, i4, i8, i16, i32, i64 = (IntegerType(n) for n in (1, 2, 4, 8, 16, 32, 64))
ui2, ui4, ui8, ui16, ui32, ui64 = (
    IntegerType(width, Signedness.UNSIGNED) for width in (2, 4, 8, 16, 32, 64)
)
bf16, f16, f32, f64 = BFloat16Type(), Float16Type(), Float32Type(), Float64Type()
string = StringType()

_PAIRS: tuple[tuple[Attribute, Any], ...] = (
    (i1, np.bool_),
    (i2, ml_dtypes.int2),
    (i4, ml_dtypes.int4),
    (i8, np.int8),
    (i16, np.int16),
    (i32, np.int32),
    (i64, np.int64),
    (ui2, ml_dtypes.uint2),
    (ui4, ml_dtypes.uint4),
    (ui8, np.uint8),
    (ui16, np.uint16),
    (ui32, np.uint32),
    (ui64, np.uint64),
    (f16, np.float16),
    (f32, np.float32),
    (f64, np.float64),
    (bf16, ml_dtypes.bfloat16),
    (Float8E4M3Type(), ml_dtypes.float8_e4m3),
    (Float8E4M3FNType(), ml_dtypes.float8_e4m3fn),
    (Float8E4M3FNUZType(), ml_dtypes.float8_e4m3fnuz),
    (Float8E4M3B11FNUZType(), ml_dtypes.float8_e4m3b11fnuz),
    (Float8E5M2Type(), ml_dtypes.float8_e5m2),
    (Float8E5M2FNUZType(), ml_dtypes.float8_e5m2fnuz),
    (Float8E8M0FNUType(), ml_dtypes.float8_e8m0fnu),
    (Float6E2M3FNType(), ml_dtypes.float6_e2m3fn),
    (Float6E3M2FNType(), ml_dtypes.float6_e3m2fn),
    (Float4E2M1FNType(), ml_dtypes.float4_e2m1fn),
    (ComplexType(f32), np.complex64),
    (ComplexType(f64), np.complex128),
    (string, np.object_),
)
_TO_NUMPY: dict[Attribute, np.dtype[Any]] = {
    element: np.dtype(dtype) for element, dtype in _PAIRS
}
_FROM_NUMPY = {dtype: element for element, dtype in _TO_NUMPY.items()}


def numpy_dtype(element: Attribute) -> np.dtype[Any]:
    """The NumPy dtype of an element type; `index` is 64 bits wide.

    Raises:
        ShapeError: the type has no dtype.
    """
    if isinstance(element, IndexType):
        return np.dtype(np.int64)
    if isinstance(element, StoredType):
        return numpy_dtype(element.storage_type)
    if (dtype := _TO_NUMPY.get(element)) is None:
        raise ShapeError(f"expected an element type with a NumPy dtype, got {element}")
    return dtype


def element_type(dtype: Any) -> Attribute:
    """The element type of a NumPy dtype; NumPy's string dtypes are `!nn.string`.

    Raises:
        ShapeError: the dtype has no element type.
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "US":
        return string
    if (element := _FROM_NUMPY.get(dtype)) is None:
        raise ShapeError(f"expected a dtype of the IR, got {dtype}")
    return element


def is_float(element: Attribute) -> bool:
    """Whether `element` is a real floating-point type of any width."""
    return isinstance(element, AnyFloat)


def is_bool(element: Attribute) -> bool:
    """Whether `element` is `i1`."""
    return element == i1


def is_integer(element: Attribute) -> bool:
    """Whether `element` is an integer type other than `i1`."""
    return isinstance(element, IntegerType) and element != i1


def is_unsigned(element: Attribute) -> bool:
    """Whether `element` is an unsigned integer."""
    return (
        isinstance(element, IntegerType)
        and element.signedness.data == Signedness.UNSIGNED
    )


def integer_limits(element: Attribute) -> tuple[int, int]:
    """The smallest and the largest number of an integer type."""
    bits = bit_width(element)
    if is_unsigned(element):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def bit_width(element: Attribute) -> int:
    """The number of bits of one element.

    Raises:
        ShapeError: the type has no fixed width.
    """
    match element:
        case IntegerType():
            return element.width.data
        case IndexType():
            return 64
        case StoredType():
            return bit_width(element.storage_type)
        case ComplexType():
            return 2 * bit_width(element.element_type)
        case _ if isinstance(element, AnyFloat):
            return element.bitwidth
        case _:
            raise ShapeError(f"expected a type of fixed width, got {element}")
