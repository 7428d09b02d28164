"""Bases of the elementwise ops of one tensor, and `cast`."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from stepwell.dialects.dtypes import i1, is_bool, is_float, is_integer, numpy_dtype
from stepwell.dialects.shapes import element_of, with_element
from stepwell.errors import ShapeError

from .base import NnOp, Value, param


class UnaryOp(NnOp, ABC):
    """An elementwise op of one tensor, whose type the result has."""

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's type."""
        return [self.operand.type]


class FloatUnaryOp(UnaryOp, ABC):
    """A unary op on floating-point numbers."""

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's type."""
        if not is_float(element := element_of(self.operand)):
            raise ShapeError(f"expected a float type in {self.name}, got {element}")
        return [self.operand.type]


class BitUnaryOp(UnaryOp, ABC):
    """A unary op on integers or booleans."""

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's type."""
        element = element_of(self.operand)
        if not is_integer(element) and not is_bool(element):
            raise ShapeError(f"expected integers or i1 in {self.name}, got {element}")
        return [self.operand.type]


class FloatPredicateOp(FloatUnaryOp, ABC):
    """A test of each floating-point number."""

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's shape of `i1`."""
        super().infer_result_types()
        return [with_element(self.operand.type, i1)]


@irdl_op_definition
class BitcastOp(NnOp):
    """The same bits read as another element type of the same width.

    ```mlir
    %y = nn.bitcast %x {to = i32} : (tensor<4xf32>) -> tensor<4xi32>
    ```

    Source: ONNX BitCast.
    """

    name = "nn.bitcast"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    to = prop_def(Attribute)

    def __init__(self, operand: Value, to: Attribute) -> None:
        super().__init__(operand, to=to)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's shape of the element type `to`."""
        element = element_of(self.operand)
        if storage_bytes(element) != storage_bytes(self.to):
            raise ShapeError(f"expected a type as wide as {element}, got {self.to}")
        return [with_element(self.operand.type, self.to)]


def storage_bytes(element: Attribute) -> int:
    """The bytes of one stored element."""
    return numpy_dtype(element).itemsize


@irdl_op_definition
class CastOp(NnOp):
    """Conversion to another element type.

    Floats round to nearest even. A float to an integer truncates: out of range it is
    the nearest value of 8 bits or more, and the low bits of fewer; NaN is 0. Integers
    keep their low bits. Anything to `i1` is `x != 0`. A float8 out of range saturates
    if `saturate`, else becomes infinite or NaN. `round_mode` (`up`, `down`, `nearest`)
    is for `f8E8M0FNU`.

    ```mlir
    %y = nn.cast %x {to = f16} : (tensor<4xf32>) -> tensor<4xf16>
    ```

    Source: ONNX Cast.
    """

    name = "nn.cast"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    to = prop_def(Attribute)
    saturate = param("bool", True)
    round_mode = param("str", "up", ("up", "down", "nearest"))

    def __init__(
        self,
        operand: Value,
        to: Attribute,
        *,
        saturate: bool = True,
        round_mode: str = "up",
    ) -> None:
        super().__init__(operand, to=to, saturate=saturate, round_mode=round_mode)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's shape of the element type `to`."""
        return [with_element(self.operand.type, self.to)]
