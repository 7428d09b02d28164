"""Constants, and the ops that turn dims into tensors and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects.builtin import LocationAttr, TensorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import ConstantLike, MemoryEffectKind
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import element_type, i64, is_integer
from stepwell.dialects.shapes import (
    Dim,
    Shape,
    dims_of,
    element_of,
    is_static,
    num_elements,
    tensor_type,
)
from stepwell.dialects.weights import WeightStore, decode_array, encode_array
from stepwell.errors import ShapeError

from .base import NnOp, param
from .inference import normalise_axis


@irdl_op_definition
class ConstantOp(NnOp):
    """A tensor known when the model is built.

    `value` is a dense attribute (up to 1 KiB), an array of strings, or `#nn.weight`,
    a reference into the weight store.

    ```mlir
    %c = nn.constant {value = dense<[1.0, 2.0]> : tensor<2xf32>} : tensor<2xf32>
    %w = nn.constant {value = #nn.weight<"9f86d0...">} : tensor<64x3x7x7xf32>
    ```

    Source: ONNX Constant and initializers.
    """

    name = "nn.constant"

    assembly_format = "attr-dict `:` type($result)"
    result = result_def(TensorType)
    value_attr = prop_def(Attribute, prop_name="value")

    traits = traits_def(ConstantLike())

    def __init__(self, value: Attribute, kind: Attribute) -> None:
        super().__init__(result_types=[kind], value_attr=value)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type it was given."""
        return [self.result.type]

    def verify_(self) -> None:
        """Check that the shape is static."""
        if not is_static(self.result):
            raise VerifyException(f"expected a static type, got {self.result.type}")

    @classmethod
    def _properties(cls, parameters: Any) -> dict[str, Attribute | None]:
        return {"value": parameters["value_attr"]}


def make_constant(
    array: np.ndarray[Any, Any] | Any,
    store: WeightStore,
    location: LocationAttr | None = None,
) -> ConstantOp:
    """A constant of `array`; a large one goes to `store`.

    Raises:
        ShapeError: the dtype is not one of the IR.
    """
    array = np.asarray(array)
    kind = tensor_type(array.shape, element_type(array.dtype))
    op = ConstantOp(encode_array(array, store), kind)
    if location is not None:
        op.location = location
    return op


def constant_value(
    source: Operation | SSAValue, store: WeightStore
) -> np.ndarray[Any, Any] | None:
    """The read-only array of a constant op or of its result; None for anything else."""
    op = source.owner if isinstance(source, SSAValue) else source
    if not isinstance(op, ConstantOp):
        return None
    kind = op.result.type
    assert isinstance(kind, TensorType)
    return decode_array(op.value_attr, kind, store)


@irdl_op_definition
class DimValueOp(NnOp):
    """The value of a dim expression, as a scalar of `i64`.

    ```mlir
    %n = nn.dim_value {dim = #nn.dims<batch * seq>} : tensor<i64>
    ```

    Source: ONNX Shape, Size.
    """

    name = "nn.dim_value"

    assembly_format = "attr-dict `:` type($result)"
    result = result_def(TensorType)
    dim = param("dims")

    def __init__(self, dim: Dim) -> None:
        super().__init__(dim=(dim,))

    def infer_result_types(self) -> Sequence[Attribute]:
        """A scalar of `i64`."""
        if len(self.value("dim")) != 1:
            raise ShapeError(f"expected one dim, got {len(self.value('dim'))}")
        return [tensor_type((), i64)]


@irdl_op_definition
class BindSymbolsOp(NnOp):
    """Gives symbols their values: the elements of an integer tensor, in order.

    From here on types may use `symbols`. This is how a shape computed by the model
    (the second operand of ONNX Reshape, say) becomes dims.

    ```mlir
    nn.bind_symbols %shape {symbols = ["rows", "columns"]} : tensor<2xi64>
    ```

    Source: ONNX ops that take shapes, sizes or counts as tensors.
    """

    name = "nn.bind_symbols"

    assembly_format = "operands attr-dict `:` type(operands)"
    operand = operand_def(TensorType)
    symbols = param("strs")

    EFFECT: ClassVar[MemoryEffectKind | None] = MemoryEffectKind.WRITE

    def infer_result_types(self) -> Sequence[Attribute]:
        """No results; one symbol per element."""
        if not is_integer(element_of(self.operand)):
            raise ShapeError(f"expected integers, got {self.operand.type}")
        if num_elements(self.operand) != len(self.value("symbols")):
            raise ShapeError(
                f"expected {num_elements(self.operand)} symbols, "
                f"got {len(self.value('symbols'))}"
            )
        return []


@irdl_op_definition
class AssertDimsOp(NnOp):
    """A relation between dims that could not be proved, checked once per new shape.

    ```mlir
    nn.assert_dims {left = #nn.dims<2 * seq>, right = #nn.dims<total>,
                    predicate = "eq", message = "add: shapes must agree"}
    ```

    Source: the engine's `engine.assert`.
    """

    name = "nn.assert_dims"

    assembly_format = "attr-dict"
    left = param("dims")
    right = param("dims")
    predicate = param("str", "eq", ("eq", "le", "lt"))
    message = param("str")

    EFFECT: ClassVar[MemoryEffectKind | None] = MemoryEffectKind.WRITE

    def infer_result_types(self) -> Sequence[Attribute]:
        """No results; as many dims on both sides."""
        if len(self.value("left")) != len(self.value("right")):
            raise ShapeError("expected as many dims left as right")
        return []


@irdl_op_definition
class IotaOp(NnOp):
    """Each element is its index along `axis`.

    ```mlir
    %i = nn.iota {axis = 1 : i64} : tensor<2x4xi64>
    ```

    Source: ONNX Range; StableHLO iota.
    """

    name = "nn.iota"

    assembly_format = "attr-dict `:` type($result)"
    result = result_def(TensorType)
    axis = param("int", 0)

    def __init__(self, dims: Shape, element: Attribute = i64, axis: int = 0) -> None:
        super().__init__(result_types=[tensor_type(dims, element)], axis=axis)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type it was given."""
        normalise_axis(self.value("axis"), len(dims_of(self.result)))
        return [self.result.type]
