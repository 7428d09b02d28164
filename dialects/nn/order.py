"""Sorting, and the ops whose result size depends on the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, result_def

from stepwell.dialects.dtypes import i64, is_bool
from stepwell.dialects.shapes import Dim, dims_of, element_of, tensor_type
from stepwell.errors import ShapeError

from .base import NnOp, OptionalOperandsOp, Value, opt_param, param
from .inference import normalise_axis, require_rank, unify


@irdl_op_definition
class SortOp(NnOp):
    """Elements along an axis in order, and where each came from.

    Stable: of equal elements the one with the lower index comes first. NaN is larger
    than any number.

    ```mlir
    %values, %indices = nn.sort %x {axis = -1 : i64, descending = true}
        : (tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xi64>)
    ```

    Source: StableHLO sort; the order of ONNX TopK.
    """

    name = "nn.sort"

    operand = operand_def(TensorType)
    values = result_def(TensorType)
    indices = result_def(TensorType)
    axis = param("int", -1)
    descending = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's shape twice."""
        dims = dims_of(self.operand)
        normalise_axis(self.value("axis"), len(dims))
        return [self.operand.type, tensor_type(dims, i64)]


@irdl_op_definition
class TopkOp(NnOp):
    """The k largest or smallest elements along an axis, best first, and their indices.

    The order is that of `nn.sort`; with `sorted` false any order is allowed.

    ```mlir
    %values, %indices = nn.topk %x {k = #nn.dims<3>, axis = -1 : i64, largest = true}
        : (tensor<2x8xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
    ```

    Source: ONNX TopK.
    """

    name = "nn.topk"

    operand = operand_def(TensorType)
    values = result_def(TensorType)
    indices = result_def(TensorType)
    k = param("dims")
    axis = param("int", -1)
    largest = param("bool", True)
    sorted = param("bool", True)

    def __init__(self, operand: Value, k: Dim, **parameters: Any) -> None:
        super().__init__(operand, k=(k,), **parameters)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The axis cut to k."""
        dims = list(dims_of(self.operand))
        axis = normalise_axis(self.value("axis"), len(dims))
        (dims[axis],) = self.value("k")
        element = element_of(self.operand)
        return [tensor_type(dims, element), tensor_type(dims, i64)]


@irdl_op_definition
class NonzeroOp(NnOp):
    """The coordinates of the elements other than 0, in row-major order.

    The number of columns is a fresh symbol that the op binds.

    ```mlir
    %i = nn.nonzero %x
        : (tensor<2x8xf32>) -> tensor<2x?xi64, #nn.dims<2, found>>
    ```

    Source: ONNX NonZero.
    """

    name = "nn.nonzero"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    def __init__(self, operand: Value, count: Dim) -> None:
        rank = len(dims_of(SSAValue.get(operand)))
        super().__init__(operand, result_types=[tensor_type((rank, count), i64)])

    def infer_result_types(self) -> Sequence[Attribute]:
        """One row per dim, as many columns as it was given."""
        require_rank(self.result, 2, 2)
        count = dims_of(self.result)[1]
        return [tensor_type((len(dims_of(self.operand)), count), i64)]


@irdl_op_definition
class UniqueOp(NnOp):
    """The distinct elements, or slices along `axis`; sorted, or as first seen.

    Results: the values; for each value the index of its first occurrence; for each
    element the index of its value; for each value its count.

    ```mlir
    %y, %first, %inverse, %counts = nn.unique %x {sorted = true}
        : (tensor<8xf32>) -> (tensor<?xf32, #nn.dims<n>>, tensor<?xi64, #nn.dims<n>>,
                              tensor<8xi64>, tensor<?xi64, #nn.dims<n>>)
    ```

    Source: ONNX Unique.
    """

    name = "nn.unique"

    operand = operand_def(TensorType)
    values = result_def(TensorType)
    first = result_def(TensorType)
    inverse = result_def(TensorType)
    counts = result_def(TensorType)
    axis = opt_param("int")
    sorted = param("bool", True)

    def __init__(
        self,
        operand: Value,
        count: Dim,
        *,
        axis: int | None = None,
        sorted: bool = True,
    ) -> None:
        operand = SSAValue.get(operand)
        types = _unique_types(operand, count, axis)
        super().__init__(operand, result_types=types, axis=axis, sorted=sorted)

    def infer_result_types(self) -> Sequence[Attribute]:
        """As many values as it was given."""
        return _unique_types(self.operand, dims_of(self.first)[0], self.value("axis"))


def _unique_types(operand: SSAValue, count: Dim, axis: int | None) -> list[Attribute]:
    dims = list(dims_of(operand))
    size: Dim = 1
    if axis is None:
        for dim in dims:
            size = size * dim
        dims = [count]
    else:
        axis = normalise_axis(axis, len(dims))
        size, dims[axis] = dims[axis], count
    counts = tensor_type((count,), i64)
    values = tensor_type(dims, element_of(operand))
    return [values, counts, tensor_type((size,), i64), counts]


@irdl_op_definition
class CompressOp(NnOp):
    """The slices along `axis` (elements of the flattened x if absent) where true.

    ```mlir
    %y = nn.compress %x, %keep {axis = 0 : i64}
        : (tensor<4x2xf32>, tensor<4xi1>) -> tensor<?x2xf32, #nn.dims<kept, 2>>
    ```

    Source: ONNX Compress.
    """

    name = "nn.compress"

    operand = operand_def(TensorType)
    condition = operand_def(TensorType)
    result = result_def(TensorType)
    axis = opt_param("int")

    def __init__(
        self, operand: Value, condition: Value, count: Dim, *, axis: int | None = None
    ) -> None:
        operand = SSAValue.get(operand)
        kind = _compressed(operand, count, axis)
        super().__init__(operand, condition, result_types=[kind], axis=axis)

    def infer_result_types(self) -> Sequence[Attribute]:
        """As many slices as it was given."""
        if not is_bool(element_of(self.condition)):
            raise ShapeError(f"expected i1 as condition, got {self.condition.type}")
        axis = self.value("axis")
        count = dims_of(self.result)[0 if axis is None else axis]
        return [_compressed(self.operand, count, axis)]


def _compressed(operand: SSAValue, count: Dim, axis: int | None) -> Attribute:
    dims = list(dims_of(operand))
    if axis is None:
        dims = [count]
    else:
        dims[normalise_axis(axis, len(dims))] = count
    return tensor_type(dims, element_of(operand))


@irdl_op_definition
class NonMaxSuppressionOp(OptionalOperandsOp):
    """The best boxes of each class, none overlapping a better one too much.

    boxes are `[N, B, 4]`, scores `[N, classes, B]`; a row of the result is batch,
    class, box. Boxes are two corners (y, x, y, x) or, if `center_point`, center and
    size. Absent operands: no boxes, threshold 0, no score limit.

    ```mlir
    %y = nn.non_max_suppression %boxes, %scores, %most, %overlap, none
        : (tensor<1x6x4xf32>, tensor<1x1x6xf32>, tensor<i64>, tensor<f32>)
        -> tensor<?x3xi64, #nn.dims<selected, 3>>
    ```

    Source: ONNX NonMaxSuppression.
    """

    name = "nn.non_max_suppression"

    boxes = operand_def(TensorType)
    scores = operand_def(TensorType)
    max_output = opt_operand_def(TensorType)
    iou_threshold = opt_operand_def(TensorType)
    score_threshold = opt_operand_def(TensorType)
    result = result_def(TensorType)
    center_point = param("bool", False)

    def __init__(
        self,
        boxes: Value,
        scores: Value,
        max_output: Value | None,
        iou_threshold: Value | None,
        score_threshold: Value | None,
        count: Dim,
        *,
        center_point: bool = False,
    ) -> None:
        super().__init__(
            boxes,
            scores,
            max_output,
            iou_threshold,
            score_threshold,
            result_types=[tensor_type((count, 3), i64)],
            center_point=center_point,
        )

    def infer_result_types(self) -> Sequence[Attribute]:
        """As many rows as it was given."""
        require_rank(self.boxes, 3, 3)
        require_rank(self.scores, 3, 3)
        unify(dims_of(self.boxes)[1], dims_of(self.scores)[2], "box counts")
        return [tensor_type((dims_of(self.result)[0], 3), i64)]
