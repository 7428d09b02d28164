"""Ops that read between the elements: resize, grid_sample, roi_align."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, result_def

from stepwell.dialects.shapes import Shape, dims_of, element_of, tensor_type
from stepwell.errors import ShapeError

from .base import NnOp, OptionalOperandsOp, Value, opt_param, param
from .inference import require_rank, unify

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@irdl_op_definition
class ResizeOp(OptionalOperandsOp):
    """x interpolated to the result's size, dim by dim.

    The coordinate of output i in a dim with scale s (from `scales`, one per dim, else
    output size / input size) follows `coordinates`; `mode` interpolates around it.
    `roi` (starts, then ends, normalised) is for `tf_crop_and_resize`, which takes
    `extrapolation` outside of x. `antialias` widens the filter when shrinking.
    Operands `roi` and `scales` are used where the model computes them.

    ```mlir
    %y = nn.resize %x, none, none {mode = "linear", coordinates = "half_pixel"}
        : (tensor<1x3x8x8xf32>) -> tensor<1x3x16x16xf32>
    ```

    Source: ONNX Resize (opset 19), Upsample.
    """

    name = "nn.resize"

    operand = operand_def(TensorType)
    roi = opt_operand_def(TensorType)
    scale_values = opt_operand_def(TensorType)
    result = result_def(TensorType)
    mode = param("str", "nearest", ("nearest", "linear", "cubic"))
    coordinates = param("str", "half_pixel", COORDINATES)
    rounding = param("str", "round_prefer_floor", ROUNDINGS)
    scales = opt_param("floats")
    cubic_coefficient = param("float", -0.75)
    exclude_outside = param("bool", False)
    extrapolation = param("float", 0.0)
    antialias = param("bool", False)

    def __init__(
        self,
        operand: Value,
        dims: Shape,
        *,
        roi: Value | None = None,
        scale_values: Value | None = None,
        **parameters: Any,
    ) -> None:
        operand = SSAValue.get(operand)
        super().__init__(
            operand,
            roi,
            scale_values,
            result_types=[tensor_type(dims, element_of(operand))],
            **parameters,
        )

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type it was given, of the rank of x."""
        rank = len(dims_of(self.operand))
        require_rank(self.result, rank, rank)
        scales = self.value("scales")
        if scales is not None and len(scales) != rank:
            raise ShapeError(f"expected {rank} scales, got {len(scales)}")
        return [tensor_type(dims_of(self.result), element_of(self.operand))]


@irdl_op_definition
class GridSampleOp(NnOp):
    """x read at normalised positions in [-1, 1] given per output point.

    x is `[N, C, spatial..]`, the grid `[N, out.., rank]` with the last coordinate
    running along the first spatial dim from the right. Outside of x: `zeros`,
    `border` or `reflection`.

    ```mlir
    %y = nn.grid_sample %x, %grid {mode = "linear", padding = "zeros"}
        : (tensor<1x3x8x8xf32>, tensor<1x4x4x2xf32>) -> tensor<1x3x4x4xf32>
    ```

    Source: ONNX GridSample.
    """

    name = "nn.grid_sample"

    operand = operand_def(TensorType)
    grid = operand_def(TensorType)
    result = result_def(TensorType)
    mode = param("str", "linear", ("linear", "nearest", "cubic"))
    padding = param("str", "zeros", ("zeros", "border", "reflection"))
    align_corners = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The output points of the grid, the batch and channels of x."""
        dims, grid = dims_of(self.operand), dims_of(self.grid)
        require_rank(self.grid, len(dims), len(dims))
        unify(grid[-1], len(dims) - 2, "last dim of the grid and spatial rank")
        shape = (unify(dims[0], grid[0], "batch sizes"), dims[1], *grid[1:-1])
        return [tensor_type(shape, element_of(self.operand))]


@irdl_op_definition
class RoiAlignOp(NnOp):
    """Regions of interest cut out of x and pooled to one size.

    x is `[N, C, H, W]`, rois `[R, 4]` as x1, y1, x2, y2, batch indices `[R]`; each of
    `output_height x output_width` bins averages (or maximises) `sampling_ratio**2`
    bilinear samples (0: as many as the bin is large).

    ```mlir
    %y = nn.roi_align %x, %rois, %batch {output_height = 7 : i64,
                                         output_width = 7 : i64}
        : (tensor<1x8x32x32xf32>, tensor<5x4xf32>, tensor<5xi64>)
        -> tensor<5x8x7x7xf32>
    ```

    Source: ONNX RoiAlign; arXiv:1703.06870.
    """

    name = "nn.roi_align"

    operand = operand_def(TensorType)
    rois = operand_def(TensorType)
    batch_indices = operand_def(TensorType)
    result = result_def(TensorType)
    mode = param("str", "avg", ("avg", "max"))
    output_height = param("int", 1)
    output_width = param("int", 1)
    sampling_ratio = param("int", 0)
    spatial_scale = param("float", 1.0)
    half_pixel = param("bool", True)

    def infer_result_types(self) -> Sequence[Attribute]:
        """One pooled map per region."""
        require_rank(self.operand, 4, 4)
        require_rank(self.rois, 2, 2)
        count = unify(
            dims_of(self.rois)[0], dims_of(self.batch_indices)[0], "region counts"
        )
        size = (self.value("output_height"), self.value("output_width"))
        shape = (count, dims_of(self.operand)[1], *size)
        return [tensor_type(shape, element_of(self.operand))]
