"""Element types against NumPy's and ml_dtypes' own facts."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from xdsl.dialects.builtin import ComplexType, FloatTF32Type, IndexType, IntegerType

from stepwell.dialects import dtypes
from stepwell.dialects.dtypes import bit_width, element_type, numpy_dtype
from stepwell.errors import ShapeError

NAMED = {
    "i1": np.bool_,
    "i8": np.int8,
    "ui8": np.uint8,
    "i64": np.int64,
    "bf16": ml_dtypes.bfloat16,
    "f16": np.float16,
    "f32": np.float32,
    "i4": ml_dtypes.int4,
    "ui2": ml_dtypes.uint2,
    "f8E4M3FN": ml_dtypes.float8_e4m3fn,
    "f8E5M2": ml_dtypes.float8_e5m2,
    "f8E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "f4E2M1FN": ml_dtypes.float4_e2m1fn,
    "f8E8M0FNU": ml_dtypes.float8_e8m0fnu,
}


@pytest.mark.parametrize("name", NAMED)
def test_both_ways(name: str) -> None:
    element = element_type(NAMED[name])
    assert str(element) == name
    assert numpy_dtype(element) == np.dtype(NAMED[name])


@pytest.mark.parametrize("name", [n for n in NAMED if n[0] == "f" or n == "bf16"])
def test_widths_of_floats(name: str) -> None:
    assert bit_width(element_type(NAMED[name])) == ml_dtypes.finfo(NAMED[name]).bits


def test_other_widths() -> None:
    assert bit_width(dtypes.ui4) == 4
    assert bit_width(IndexType()) == 64
    assert bit_width(ComplexType(dtypes.f32)) == 64


def test_strings_have_no_width() -> None:
    assert element_type("U5") == dtypes.string
    assert numpy_dtype(dtypes.string) == np.object_
    with pytest.raises(
        ShapeError, match=r"expected a type of fixed width, got !nn.str"
    ):
        bit_width(dtypes.string)


def test_predicates() -> None:
    assert dtypes.is_float(dtypes.bf16) and not dtypes.is_float(dtypes.i8)
    assert dtypes.is_integer(dtypes.ui8) and not dtypes.is_integer(dtypes.i1)
    assert dtypes.is_bool(dtypes.i1) and not dtypes.is_bool(dtypes.i8)
    assert dtypes.is_unsigned(dtypes.ui8) and not dtypes.is_unsigned(dtypes.i8)


def test_refuses_what_neither_side_has() -> None:
    with pytest.raises(ShapeError, match="expected an element type with a NumPy dtype"):
        numpy_dtype(FloatTF32Type())
    with pytest.raises(ShapeError, match="got i128"):
        numpy_dtype(IntegerType(128))
    with pytest.raises(ShapeError, match="expected a dtype of the IR, got datetime64"):
        element_type("datetime64[s]")
