"""Reductions over axes, pooling over windows, and running reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, result_def

from stepwell.dialects.dtypes import i64, is_bool
from stepwell.dialects.shapes import Dim, dims_of, element_of, tensor_type
from stepwell.errors import ShapeError

from .base import NnOp, Value, param
from .inference import normalise_axis, reduced_shape, require_rank, window_size


@irdl_op_definition
class ReduceOp(NnOp):
    """One number from all elements along `axes`.

    `y[kept..] = kind of x[..] over the axes`; max and min propagate NaN; `any` and
    `all` are for `i1`. No axes reduce nothing.

    ```mlir
    %y = nn.reduce %x {kind = "mean", axes = array<i64: 2, 3>, keepdims = true}
        : (tensor<1x64x7x7xf32>) -> tensor<1x64x1x1xf32>
    ```

    Source: ONNX ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd.
    """

    name = "nn.reduce"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    kind = param("str", choices=("sum", "mean", "max", "min", "prod", "any", "all"))
    axes = param("ints")
    keepdims = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape without the axes, or with 1 there."""
        element = element_of(self.operand)
        if self.value("kind") in ("any", "all") and not is_bool(element):
            raise ShapeError(f"expected i1 for {self.value('kind')}, got {element}")
        dims = reduced_shape(
            dims_of(self.operand), self.value("axes"), self.value("keepdims")
        )
        return [tensor_type(dims, element)]


@irdl_op_definition
class ArgReduceOp(NnOp):
    """The index of the largest or smallest element along an axis.

    Of equal ones the first, or the last if `select_last`.

    ```mlir
    %i = nn.arg_reduce %x {kind = "max", axis = 1 : i64}
        : (tensor<2x10xf32>) -> tensor<2xi64>
    ```

    Source: ONNX ArgMax, ArgMin.
    """

    name = "nn.arg_reduce"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    kind = param("str", choices=("max", "min"))
    axis = param("int")
    keepdims = param("bool", False)
    select_last = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape without the axis, of `i64`."""
        axes = [self.value("axis")]
        dims = reduced_shape(dims_of(self.operand), axes, self.value("keepdims"))
        return [tensor_type(dims, i64)]


class PoolBase(NnOp):
    """What the pooling ops share: windows over the spatial dims."""

    x = operand_def(TensorType)
    result = result_def(TensorType)

    kernel = param("ints")
    strides = param("ints")
    pads = param("dims")
    dilations = param("ints")
    ceil_mode = param("bool", False)
    channels_last = param("bool", False)

    def __init__(self, x: Value, *, kernel: Sequence[int], **parameters: Any) -> None:
        """Build; strides and dilations default to 1, pads to 0, for every dim."""
        defaults: dict[str, Any] = {
            "strides": (1,) * len(kernel),
            "pads": (0,) * (2 * len(kernel)),
            "dilations": (1,) * len(kernel),
        }
        given = {key: value for key, value in parameters.items() if value is not None}
        super().__init__(x, kernel=kernel, **{**defaults, **given})

    def spatial_dims(self) -> tuple[Dim, ...]:
        """The spatial dims of the input."""
        dims = dims_of(self.x)
        return dims[1:-1] if self.value("channels_last") else dims[2:]

    def infer_result_types(self) -> Sequence[Attribute]:
        """One position per window."""
        spatial = len(self.value("kernel"))
        require_rank(self.x, spatial + 2, spatial + 2)
        pads = self.value("pads")
        sizes = [
            window_size(
                size,
                kernel,
                stride,
                pads[i] + pads[i + spatial],
                dilation,
                ceil_mode=self.value("ceil_mode"),
                pad_low=pads[i],
            )
            for i, (size, kernel, stride, dilation) in enumerate(
                zip(
                    self.spatial_dims(),
                    self.value("kernel"),
                    self.value("strides"),
                    self.value("dilations"),
                    strict=True,
                )
            )
        ]
        dims = dims_of(self.x)
        last = self.value("channels_last")
        shape = [dims[0], *sizes, dims[-1]] if last else [*dims[:2], *sizes]
        return [tensor_type(shape, element_of(self.x))]


@irdl_op_definition
class MaxPoolOp(PoolBase):
    """The largest element of each window; padding never wins.

    ```mlir
    %y = nn.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>,
        pads = #nn.dims<1, 1, 1, 1>, dilations = array<i64: 1, 1>}
        : (tensor<1x64x112x112xf32>) -> tensor<1x64x56x56xf32>
    ```

    Source: ONNX MaxPool.
    """

    name = "nn.max_pool"


@irdl_op_definition
class MaxPoolIndicesOp(PoolBase):
    """Where `max_pool` finds its elements: positions in the flattened input.

    The flat index counts row-major over `[N, C, spatial..]`; `storage_order` 1 counts
    the spatial dims column-major. The first of equal elements wins.

    ```mlir
    %i = nn.max_pool_indices %x {kernel = array<i64: 2>, strides = array<i64: 2>,
        pads = #nn.dims<0, 0>, dilations = array<i64: 1>}
        : (tensor<1x1x8xf32>) -> tensor<1x1x4xi64>
    ```

    Source: ONNX MaxPool, second output.
    """

    name = "nn.max_pool_indices"

    storage_order = param("int", 0)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape of `max_pool`, of `i64`."""
        return [tensor_type(dims_of(*super().infer_result_types()), i64)]


@irdl_op_definition
class AvgPoolOp(PoolBase):
    """The mean of each window, over its elements inside the input.

    With `count_include_pad` the padding counts as zeros (what hangs over because of
    `ceil_mode` never does).

    ```mlir
    %y = nn.avg_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>,
        pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>}
        : (tensor<1x8x4x4xf32>) -> tensor<1x8x2x2xf32>
    ```

    Source: ONNX AveragePool.
    """

    name = "nn.avg_pool"

    count_include_pad = param("bool", False)


@irdl_op_definition
class LpPoolOp(PoolBase):
    """The p-norm of each window: `(sum of |x|**p)**(1/p)`; padding counts as 0.

    ```mlir
    %y = nn.lp_pool %x {p = 2 : i64, kernel = array<i64: 2>, strides = array<i64: 2>,
        pads = #nn.dims<0, 0>, dilations = array<i64: 1>}
        : (tensor<1x8x4xf32>) -> tensor<1x8x2xf32>
    ```

    Source: ONNX LpPool.
    """

    name = "nn.lp_pool"

    p = param("int", 2)


@irdl_op_definition
class CumulativeOp(NnOp):
    """Running sum or product along an axis.

    `y[i] = kind of x[0..i]`; `exclusive` leaves x[i] out, `reverse` runs from the end.

    ```mlir
    %y = nn.cumulative %x {kind = "sum", axis = 1 : i64}
        : (tensor<2x8xf32>) -> tensor<2x8xf32>
    ```

    Source: ONNX CumSum, CumProd.
    """

    name = "nn.cumulative"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    kind = param("str", "sum", ("sum", "prod"))
    axis = param("int")
    exclusive = param("bool", False)
    reverse = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The operand's type."""
        normalise_axis(self.value("axis"), len(dims_of(self.operand)))
        return [self.operand.type]
