"""Elementwise functions of two and three tensors, which broadcast like NumPy's."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, result_def

from stepwell.dialects.dtypes import i1, is_bool, is_integer
from stepwell.dialects.shapes import dims_of, element_of, tensor_type
from stepwell.errors import ShapeError

from .base import NnOp, param
from .inference import broadcast, elementwise_type, same_element


class BinaryOp(NnOp, ABC):
    """An elementwise op of two tensors of one element type."""

    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The broadcast shape, the shared element type."""
        return [elementwise_type(self.lhs, self.rhs)]


class BitBinaryOp(BinaryOp, ABC):
    """A binary op on integers or booleans."""

    def infer_result_types(self) -> Sequence[Attribute]:
        """The broadcast shape, the shared element type."""
        element = same_element(self.lhs, self.rhs)
        if not is_integer(element) and not is_bool(element):
            raise ShapeError(f"expected integers or i1 in {self.name}, got {element}")
        return super().infer_result_types()


@irdl_op_definition
class AddOp(BinaryOp):
    """Sum.

    `y = a + b`

    ```mlir
    %y = nn.add %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Add.
    """

    name = "nn.add"


@irdl_op_definition
class SubOp(BinaryOp):
    """Difference.

    `y = a - b`

    ```mlir
    %y = nn.sub %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Sub.
    """

    name = "nn.sub"


@irdl_op_definition
class MulOp(BinaryOp):
    """Product.

    `y = a * b`

    ```mlir
    %y = nn.mul %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Mul.
    """

    name = "nn.mul"


@irdl_op_definition
class DivOp(BinaryOp):
    """Quotient; integers truncate toward 0.

    `y = a / b`

    ```mlir
    %y = nn.div %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Div.
    """

    name = "nn.div"


@irdl_op_definition
class PowOp(BinaryOp):
    """Power.

    `y = a**b`

    ```mlir
    %y = nn.pow %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Pow.
    """

    name = "nn.pow"


@irdl_op_definition
class MinimumOp(BinaryOp):
    """The smaller; NaN if either is.

    `y = min(a, b)`

    ```mlir
    %y = nn.minimum %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Min.
    """

    name = "nn.minimum"


@irdl_op_definition
class MaximumOp(BinaryOp):
    """The larger; NaN if either is.

    `y = max(a, b)`

    ```mlir
    %y = nn.maximum %a, %b : (tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Max.
    """

    name = "nn.maximum"


@irdl_op_definition
class AndOp(BitBinaryOp):
    """Bitwise and; logical on `i1`.

    `y = a & b`

    ```mlir
    %y = nn.and %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
    ```

    Source: ONNX And, BitwiseAnd.
    """

    name = "nn.and"


@irdl_op_definition
class OrOp(BitBinaryOp):
    """Bitwise or; logical on `i1`.

    `y = a | b`

    ```mlir
    %y = nn.or %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
    ```

    Source: ONNX Or, BitwiseOr.
    """

    name = "nn.or"


@irdl_op_definition
class XorOp(BitBinaryOp):
    """Bitwise exclusive or; logical on `i1`.

    `y = a ^ b`

    ```mlir
    %y = nn.xor %a, %b : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
    ```

    Source: ONNX Xor, BitwiseXor.
    """

    name = "nn.xor"


@irdl_op_definition
class ShiftLeftOp(BitBinaryOp):
    """Bits moved up, zeros shifted in; 0 unless `0 <= b < width`.

    `y = a << b`

    ```mlir
    %y = nn.shift_left %a, %b : (tensor<4xui32>, tensor<1xui32>) -> tensor<4xui32>
    ```

    Source: ONNX BitShift.
    """

    name = "nn.shift_left"


@irdl_op_definition
class ShiftRightOp(BitBinaryOp):
    """Bits moved down, the sign (unsigned: 0) shifted in; 0 or -1 past the width.

    `y = a >> b`

    ```mlir
    %y = nn.shift_right %a, %b : (tensor<4xui32>, tensor<1xui32>) -> tensor<4xui32>
    ```

    Source: ONNX BitShift.
    """

    name = "nn.shift_right"


@irdl_op_definition
class ModOp(BinaryOp):
    """Remainder with the divisor's sign, or with the dividend's when `fmod`.

    `y = a - b * floor(a / b)`, or `a - b * trunc(a / b)`

    ```mlir
    %y = nn.mod %a, %b {fmod = true} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Mod.
    """

    name = "nn.mod"

    fmod = param("bool", False)


@irdl_op_definition
class CompareOp(BinaryOp):
    """Comparison; with NaN only `ne` holds.

    `y = a <predicate> b`

    ```mlir
    %y = nn.compare %a, %b {predicate = "lt"}
        : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>
    ```

    Source: ONNX Equal, Less, LessOrEqual, Greater, GreaterOrEqual.
    """

    name = "nn.compare"

    predicate = param("str", choices=("eq", "ne", "lt", "le", "gt", "ge"))

    def infer_result_types(self) -> Sequence[Attribute]:
        """The broadcast shape of `i1`."""
        same_element(self.lhs, self.rhs)
        return [elementwise_type(self.lhs, self.rhs, element=i1)]


@irdl_op_definition
class PreluOp(BinaryOp):
    """Relu with a learned slope below 0.

    `y = x if x >= 0 else slope * x`, slope broadcast to x

    ```mlir
    %y = nn.prelu %x, %slope : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    ```

    Source: ONNX PRelu.
    """

    name = "nn.prelu"


@irdl_op_definition
class SelectOp(NnOp):
    """A choice per element.

    `y = a if condition else b`

    ```mlir
    %y = nn.select %c, %a, %b
        : (tensor<4xi1>, tensor<4xf32>, tensor<1xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Where.
    """

    name = "nn.select"

    condition = operand_def(TensorType)
    on_true = operand_def(TensorType)
    on_false = operand_def(TensorType)
    result = result_def(TensorType)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The broadcast shape of all three, the element type of the choices."""
        if not is_bool(element_of(self.condition)):
            raise ShapeError(f"expected i1 as condition, got {self.condition.type}")
        element = same_element(self.on_true, self.on_false)
        shapes = (dims_of(value) for value in self.operands)
        return [tensor_type(broadcast(*shapes), element)]
