"""Types of values: pointers, vectors and their elements."""

from __future__ import annotations

from functools import lru_cache

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import VectorType
from xdsl.ir import Attribute

PTR = xllvm.LLVMPointerType()


@lru_cache(maxsize=1024)
def vector(element: Attribute, lanes: int) -> Attribute:
    """`lanes` elements as one value; the element type itself for one lane."""
    return element if lanes == 1 else VectorType(element, [lanes])


def lanes_of(type_: Attribute) -> int:
    """Lanes of a vector type, 1 for a scalar."""
    return type_.get_shape()[0] if isinstance(type_, VectorType) else 1


def element_of(type_: Attribute) -> Attribute:
    """A vector's element type, or the scalar type itself."""
    return type_.element_type if isinstance(type_, VectorType) else type_
