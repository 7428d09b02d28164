"""Data movement: ops that place elements elsewhere and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    result_def,
    var_operand_def,
)

from stepwell.dialects.dtypes import is_integer
from stepwell.dialects.shapes import (
    Dim,
    Shape,
    bounds,
    ceildiv,
    dims_of,
    element_of,
    num_elements,
    tensor_type,
)
from stepwell.errors import ShapeError

from .base import NnOp, Value, param
from .inference import (
    broadcast,
    can_agree,
    normalise_axis,
    require_rank,
    same_element,
    str_shape,
    unify,
)

REDUCTIONS = ("none", "add", "mul", "max", "min")


@irdl_op_definition
class ReshapeOp(NnOp):
    """The same elements in row-major order, in another shape.

    ```mlir
    %y = nn.reshape %x : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
    ```

    Source: ONNX Reshape, Flatten, Squeeze, Unsqueeze.
    """

    name = "nn.reshape"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    def __init__(self, operand: Value, dims: Shape) -> None:
        operand = SSAValue.get(operand)
        super().__init__(operand, result_types=[tensor_type(dims, element_of(operand))])

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type it was given, of as many elements."""
        dims = dims_of(self.result)
        old, new = num_elements(self.operand), num_elements(self.result)
        if not can_agree(old, new, "numbers of elements of nn.reshape"):
            raise ShapeError(
                f"expected a shape of {old} elements, got {str_shape(dims)}"
            )
        return [tensor_type(dims, element_of(self.operand))]


@irdl_op_definition
class TransposeOp(NnOp):
    """Dims in another order: dim i of the result is dim `perm[i]` of x.

    ```mlir
    %y = nn.transpose %x {perm = array<i64: 0, 2, 1>}
        : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
    ```

    Source: ONNX Transpose.
    """

    name = "nn.transpose"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    perm = param("ints")

    def __init__(self, operand: Value, perm: Sequence[int]) -> None:
        super().__init__(operand, perm=perm)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The dims in the order of `perm`."""
        dims, perm = dims_of(self.operand), self.value("perm")
        if sorted(perm) != list(range(len(dims))):
            raise ShapeError(f"expected a permutation of {len(dims)} dims, got {perm}")
        return [tensor_type([dims[axis] for axis in perm], element_of(self.operand))]


@irdl_op_definition
class BroadcastToOp(NnOp):
    """x repeated along its dims of 1 and along new leading dims.

    ```mlir
    %y = nn.broadcast_to %x : (tensor<4x1xf32>) -> tensor<2x4x8xf32>
    ```

    Source: ONNX Expand.
    """

    name = "nn.broadcast_to"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    def __init__(self, operand: Value, dims: Shape) -> None:
        operand = SSAValue.get(operand)
        super().__init__(operand, result_types=[tensor_type(dims, element_of(operand))])

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type it was given, to which x broadcasts."""
        dims, source = dims_of(self.result), dims_of(self.operand)
        padded = (*[1] * (len(dims) - len(source)), *source)
        fits = len(padded) == len(dims) and all(
            dim == 1 or can_agree(dim, to, "dims of nn.broadcast_to")
            for dim, to in zip(padded, dims, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"expected a shape that {str_shape(source)} broadcasts to, "
                f"got {str_shape(dims)}"
            )
        return [tensor_type(dims, element_of(self.operand))]


@irdl_op_definition
class ConcatOp(NnOp):
    """Tensors one after another along `axis`.

    ```mlir
    %y = nn.concat %a, %b {axis = 1 : i64}
        : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x7xf32>
    ```

    Source: ONNX Concat.
    """

    name = "nn.concat"

    inputs = var_operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int")

    def __init__(self, inputs: Sequence[Value], axis: int) -> None:
        super().__init__(inputs, axis=axis)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The sizes along the axis added, the other dims shared."""
        if not self.inputs:
            raise ShapeError("expected at least one operand of nn.concat, got none")
        element = same_element(*self.inputs)
        shapes = [dims_of(value) for value in self.inputs]
        axis = normalise_axis(self.value("axis"), len(shapes[0]))
        dims = list(shapes[0])
        for shape in shapes[1:]:
            if len(shape) != len(dims):
                raise ShapeError(
                    f"expected operands of one rank, got {len(dims)} and {len(shape)}"
                )
            for index, dim in enumerate(shape):
                if index == axis:
                    dims[index] = dims[index] + dim
                else:
                    dims[index] = unify(dims[index], dim, f"dim {index} of nn.concat")
        return [tensor_type(dims, element)]


@irdl_op_definition
class SliceOp(NnOp):
    """Every `step`-th element of each dim from `start` up to, not including, `limit`.

    `y[i..] = x[start + i * step ..]`. One entry per dim. Nothing wraps around:
    `0 <= start <= limit <= size` for a positive step; a negative step reverses, with
    `-1 <= limit <= start < size`.

    ```mlir
    %y = nn.slice %x {starts = #nn.dims<0, 1>, limits = #nn.dims<2, seq>,
                      steps = array<i64: 1, 2>}
        : (tensor<2x?xf32, #nn.dims<2, seq>>)
        -> tensor<2x?xf32, #nn.dims<2, seq floordiv 2>>
    ```

    Source: ONNX Slice, Split.
    """

    name = "nn.slice"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    starts = param("dims")
    limits = param("dims")
    steps = param("ints")

    def __init__(
        self,
        operand: Value,
        starts: Shape,
        limits: Shape,
        steps: Sequence[int] | None = None,
    ) -> None:
        steps = [1] * len(starts) if steps is None else steps
        super().__init__(operand, starts=starts, limits=limits, steps=steps)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The number of steps of each dim."""
        dims = dims_of(self.operand)
        starts, limits = self.value("starts"), self.value("limits")
        steps = self.value("steps")
        if not len(starts) == len(limits) == len(steps) == len(dims):
            raise ShapeError(
                f"expected starts, limits and steps for {len(dims)} dims, got "
                f"{len(starts)}, {len(limits)}, {len(steps)}"
            )
        counts = [
            _steps_between(start, limit, step, dim)
            for start, limit, step, dim in zip(starts, limits, steps, dims, strict=True)
        ]
        return [tensor_type(counts, element_of(self.operand))]


def _steps_between(start: Dim, limit: Dim, step: int, size: Dim) -> Dim:
    if step == 0:
        raise ShapeError("expected a step other than 0")
    low, high = (start, limit) if step > 0 else (limit + 1, start + 1)
    if bounds(low)[1] < 0 or bounds(high - low)[1] < 0 or bounds(size - high)[1] < 0:
        raise ShapeError(
            f"expected a slice inside of {size}, got {start} to {limit} by {step}"
        )
    return ceildiv(high - low, abs(step))


@irdl_op_definition
class PadOp(NnOp):
    """More elements at both ends of each dim (fewer where a pad is negative).

    `constant` takes `value` (0 if absent), `reflect` mirrors without the border,
    `edge` repeats the border, `wrap` continues from the other end.

    ```mlir
    %y = nn.pad %x, %zero {low = #nn.dims<0, 1>, high = #nn.dims<0, 1>,
                           mode = "constant"}
        : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x5xf32>
    ```

    Source: ONNX Pad.
    """

    name = "nn.pad"

    operand = operand_def(TensorType)
    fill = opt_operand_def(TensorType)
    result = result_def(TensorType)
    low = param("dims")
    high = param("dims")
    mode = param("str", "constant", ("constant", "reflect", "edge", "wrap"))

    def infer_result_types(self) -> Sequence[Attribute]:
        """Each dim plus its pads."""
        dims, low, high = dims_of(self.operand), self.value("low"), self.value("high")
        if not len(low) == len(high) == len(dims):
            raise ShapeError(
                f"expected pads for {len(dims)} dims, got {len(low)} and {len(high)}"
            )
        values = (self.operand, *((self.fill,) if self.fill else ()))
        element = same_element(*values)
        sizes = [sum(parts) for parts in zip(dims, low, high, strict=True)]
        return [tensor_type(sizes, element)]


@irdl_op_definition
class GatherOp(NnOp):
    """Whole slices along `axis`, picked by indices of any shape.

    `y[a.., i.., b..] = x[a.., indices[i..], b..]`; a negative index counts from the
    end.

    ```mlir
    %y = nn.gather %table, %ids {axis = 0 : i64}
        : (tensor<30522x768xf32>, tensor<1x128xi64>) -> tensor<1x128x768xf32>
    ```

    Source: ONNX Gather.
    """

    name = "nn.gather"

    operand = operand_def(TensorType)
    indices = operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", 0)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The axis replaced by the dims of the indices."""
        _require_indices(self.indices)
        dims = dims_of(self.operand)
        axis = normalise_axis(self.value("axis"), len(dims))
        dims = (*dims[:axis], *dims_of(self.indices), *dims[axis + 1 :])
        return [tensor_type(dims, element_of(self.operand))]


@irdl_op_definition
class GatherElementsOp(NnOp):
    """One element per index: the index replaces the coordinate along `axis`.

    `y[i, j] = x[indices[i, j], j]` for axis 0; a negative index counts from the end.

    ```mlir
    %y = nn.gather_elements %x, %i {axis = 1 : i64}
        : (tensor<2x4xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
    ```

    Source: ONNX GatherElements.
    """

    name = "nn.gather_elements"

    operand = operand_def(TensorType)
    indices = operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", 0)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape of the indices."""
        _require_indices(self.indices)
        rank = len(dims_of(self.operand))
        require_rank(self.indices, rank, rank)
        normalise_axis(self.value("axis"), rank)
        return [tensor_type(dims_of(self.indices), element_of(self.operand))]


@irdl_op_definition
class GatherNdOp(NnOp):
    """Slices at index tuples: `y[i..] = x[tuple of indices[i.., :]]`.

    The first `batch_dims` dims of both run together. Negative indices count from the
    end.

    ```mlir
    %y = nn.gather_nd %x, %i {batch_dims = 0 : i64}
        : (tensor<2x3x4xf32>, tensor<5x2xi64>) -> tensor<5x4xf32>
    ```

    Source: ONNX GatherND.
    """

    name = "nn.gather_nd"

    operand = operand_def(TensorType)
    indices = operand_def(TensorType)
    result = result_def(TensorType)
    batch_dims = param("int", 0)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The dims of the tuples, then those that the tuples leave open."""
        _require_indices(self.indices)
        dims, indices = dims_of(self.operand), dims_of(self.indices)
        depth, batch = indices[-1], self.value("batch_dims")
        if not isinstance(depth, int) or batch + depth > len(dims):
            raise ShapeError(
                f"expected index tuples of at most {len(dims) - batch}, got {depth}"
            )
        kind = (*indices[:-1], *dims[batch + depth :])
        return [tensor_type(kind, element_of(self.operand))]


@irdl_op_definition
class ScatterElementsOp(NnOp):
    """A copy of x with one element replaced, or combined, per index.

    `y[indices[i, j], j] = updates[i, j]` for axis 0. With a reduction the update is
    combined with what is there; without, the last one in row-major order wins.

    ```mlir
    %y = nn.scatter_elements %x, %i, %u {axis = 0 : i64, reduction = "add"}
        : (tensor<4x3xf32>, tensor<2x3xi64>, tensor<2x3xf32>) -> tensor<4x3xf32>
    ```

    Source: ONNX ScatterElements.
    """

    name = "nn.scatter_elements"

    operand = operand_def(TensorType)
    indices = operand_def(TensorType)
    updates = operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", 0)
    reduction = param("str", "none", REDUCTIONS)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        _require_indices(self.indices)
        rank = len(dims_of(self.operand))
        normalise_axis(self.value("axis"), rank)
        require_rank(self.indices, rank, rank)
        same_element(self.operand, self.updates)
        broadcast(dims_of(self.indices), dims_of(self.updates))
        return [self.operand.type]


@irdl_op_definition
class ScatterNdOp(NnOp):
    """A copy of x with slices at index tuples replaced, or combined.

    `y[tuple of indices[i.., :]] = updates[i..]`.

    ```mlir
    %y = nn.scatter_nd %x, %i, %u {reduction = "none"}
        : (tensor<8x4xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
    ```

    Source: ONNX ScatterND.
    """

    name = "nn.scatter_nd"

    operand = operand_def(TensorType)
    indices = operand_def(TensorType)
    updates = operand_def(TensorType)
    result = result_def(TensorType)
    reduction = param("str", "none", REDUCTIONS)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        _require_indices(self.indices)
        same_element(self.operand, self.updates)
        depth = dims_of(self.indices)[-1]
        if not isinstance(depth, int) or depth > len(dims_of(self.operand)):
            raise ShapeError(
                f"expected index tuples of at most {len(dims_of(self.operand))}, "
                f"got {depth}"
            )
        expected = (*dims_of(self.indices)[:-1], *dims_of(self.operand)[depth:])
        require_rank(self.updates, len(expected), len(expected))
        broadcast(expected, dims_of(self.updates))
        return [self.operand.type]


@irdl_op_definition
class ReverseSequenceOp(NnOp):
    """The first `lengths[b]` elements along the time axis reversed, per batch entry.

    ```mlir
    %y = nn.reverse_sequence %x, %lengths {batch_axis = 1 : i64, time_axis = 0 : i64}
        : (tensor<4x2xf32>, tensor<2xi64>) -> tensor<4x2xf32>
    ```

    Source: ONNX ReverseSequence.
    """

    name = "nn.reverse_sequence"

    operand = operand_def(TensorType)
    lengths = operand_def(TensorType)
    result = result_def(TensorType)
    batch_axis = param("int", 1)
    time_axis = param("int", 0)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        rank = len(dims_of(self.operand))
        batch = normalise_axis(self.value("batch_axis"), rank)
        normalise_axis(self.value("time_axis"), rank)
        unify(dims_of(self.operand)[batch], dims_of(self.lengths)[0], "batch sizes")
        return [self.operand.type]


def _require_indices(value: SSAValue) -> None:
    if not is_integer(element_of(value)):
        raise ShapeError(f"expected indices of an integer type, got {value.type}")
