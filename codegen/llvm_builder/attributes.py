"""Property attributes, made once and shared by all ops."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    Float16Type,
    Float32Type,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    VectorType,
    i32,
    i64,
)
from xdsl.ir import Attribute

from stepwell.codegen.llvm_types import element_of

_FLOATS = (BFloat16Type, Float16Type, Float32Type, Float64Type)


@lru_cache(maxsize=1024)
def number(value: int, type_: IntegerType) -> IntegerAttr:
    """An integer of a type."""
    return IntegerAttr(value, type_)


@lru_cache(maxsize=1024)
def string(text: str) -> StringAttr:
    """A text."""
    return StringAttr(text)


@lru_cache(maxsize=256)
def segments(*sizes: int) -> DenseArrayBase:
    """How many operands each group of an op's operands has."""
    return DenseArrayBase.from_list(i32, sizes)


def access(align: int, ordering: int = 0) -> dict[str, Attribute]:
    """The properties of a load or a store; LLVM's number of its atomic ordering."""
    return {"ordering": number(ordering, i64), "alignment": number(align, i64)}


def gep(indices: tuple[int, ...], element: Attribute) -> dict[str, Attribute]:
    """The properties of a `getelementptr`."""
    return dict(_shared_gep(indices, element))


@lru_cache(maxsize=4096)
def _shared_gep(indices: tuple[int, ...], element: Attribute) -> dict[str, Attribute]:
    return {
        "rawConstantIndices": DenseArrayBase.from_list(i32, indices),
        "elem_type": element,
        "noWrapFlags": IntegerAttr(0, 32),
    }


def constant_attribute(value: float, type_: Attribute) -> Attribute:
    """A number of a scalar type, or the splat of one."""
    element = element_of(type_)
    if isinstance(type_, VectorType):
        return dense(type_, [value])
    if isinstance(element, IntegerType):
        return IntegerAttr(_wrapped(int(value), element), element)
    assert isinstance(element, _FLOATS)
    return FloatAttr(float(value), element)


def dense(type_: VectorType, values: Sequence[float]) -> Attribute:
    """The lanes of a vector; one value stands for all of them."""
    element = type_.element_type
    if len(values) == 1:
        values = list(values) * type_.get_shape()[0]
    if isinstance(element, IntegerType):
        numbers = [_wrapped(int(v), element) for v in values]
        of_integers = VectorType(element, type_.shape)
        return DenseIntOrFPElementsAttr.from_list(of_integers, numbers)
    assert isinstance(element, _FLOATS)
    of_floats = VectorType(element, type_.shape)
    return DenseIntOrFPElementsAttr.from_list(of_floats, [float(v) for v in values])


def _wrapped(value: int, type_: IntegerType) -> int:
    """The value's bits as a signed number of the type's width."""
    width = type_.width.data
    value &= (1 << width) - 1
    if width == 1:
        return value
    return value - (1 << width) if value >> (width - 1) else value
