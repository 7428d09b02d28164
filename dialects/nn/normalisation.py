"""Normalisations, softmax, attention: ops that stay whole until `fusion`."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, result_def

from stepwell.dialects.dtypes import is_bool, is_float
from stepwell.dialects.shapes import dims_of, element_of, tensor_type
from stepwell.errors import ShapeError

from .base import NnOp, OptionalOperandsOp, opt_param, param
from .inference import (
    broadcast,
    normalise_axis,
    require_rank,
    same_element,
    unify,
)


class NormOp(NnOp):
    """An op whose result has the type of its first operand, a float tensor."""

    def infer_result_types(self) -> Sequence[Attribute]:
        """The first operand's type."""
        return normalised_type(self.operands[0])


def normalised_type(x: SSAValue) -> Sequence[Attribute]:
    """The type of x, which must be a float tensor."""
    if not is_float(element := element_of(x)):
        raise ShapeError(f"expected a float type to normalise, got {element}")
    return [x.type]


@irdl_op_definition
class BatchNormOp(NormOp):
    """Normalisation of each channel (dim 1) by given statistics.

    `y = (x - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + bias[c]`

    ```mlir
    %y = nn.batch_norm %x, %scale, %bias, %mean, %variance {epsilon = 1.0e-5 : f64}
        : (tensor<1x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>,
           tensor<8xf32>) -> tensor<1x8x4x4xf32>
    ```

    Source: ONNX BatchNormalization (inference); arXiv:1502.03167.
    """

    name = "nn.batch_norm"

    x = operand_def(TensorType)
    scale = operand_def(TensorType)
    bias = operand_def(TensorType)
    mean = operand_def(TensorType)
    variance = operand_def(TensorType)
    result = result_def(TensorType)
    epsilon = param("float", 1e-5)
    channels_last = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x; the others are vectors over the channels."""
        dims = dims_of(self.x)
        axis = -1 if self.value("channels_last") else min(1, len(dims) - 1)
        for value in self.operands[1:]:
            require_rank(value, 1, 1)
            unify(dims_of(value)[0], dims[axis], "channels of batch_norm")
        return super().infer_result_types()


@irdl_op_definition
class LayerNormOp(OptionalOperandsOp):
    """Normalisation over the dims from `axis` on, to mean 0 and variance 1.

    `y = (x - mean) / sqrt(variance + epsilon) * scale + bias`, statistics in f32 at
    least; scale and bias broadcast.

    ```mlir
    %y = nn.layer_norm %x, %scale, %bias {axis = -1 : i64, epsilon = 1.0e-5 : f64}
        : (tensor<2x16x768xf32>, tensor<768xf32>, tensor<768xf32>)
        -> tensor<2x16x768xf32>
    ```

    Source: ONNX LayerNormalization; arXiv:1607.06450.
    """

    name = "nn.layer_norm"

    x = operand_def(TensorType)
    scale = opt_operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", -1)
    epsilon = param("float", 1e-5)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        dims = dims_of(self.x)
        normalise_axis(self.value("axis"), len(dims))
        for value in self.operands[1:]:
            broadcast(dims, dims_of(value))
        return normalised_type(self.x)


@irdl_op_definition
class RmsNormOp(NormOp):
    """Division by the root mean square over the dims from `axis` on.

    `y = x / sqrt(mean of x**2 + epsilon) * scale`

    ```mlir
    %y = nn.rms_norm %x, %scale {axis = -1 : i64, epsilon = 1.0e-5 : f64}
        : (tensor<2x16x768xf32>, tensor<768xf32>) -> tensor<2x16x768xf32>
    ```

    Source: ONNX RMSNormalization; arXiv:1910.07467.
    """

    name = "nn.rms_norm"

    x = operand_def(TensorType)
    scale = opt_operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", -1)
    epsilon = param("float", 1e-5)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        dims = dims_of(self.x)
        normalise_axis(self.value("axis"), len(dims))
        for value in self.operands[1:]:
            broadcast(dims, dims_of(value))
        return super().infer_result_types()


@irdl_op_definition
class InstanceNormOp(NormOp):
    """Normalisation of each channel (dim 1) of each sample over its spatial dims.

    ```mlir
    %y = nn.instance_norm %x, %scale, %bias {epsilon = 1.0e-5 : f64}
        : (tensor<2x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x4xf32>
    ```

    Source: ONNX InstanceNormalization; arXiv:1607.08022.
    """

    name = "nn.instance_norm"

    x = operand_def(TensorType)
    scale = operand_def(TensorType)
    bias = operand_def(TensorType)
    result = result_def(TensorType)
    epsilon = param("float", 1e-5)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x; scale and bias are vectors over the channels."""
        for value in (self.scale, self.bias):
            unify(dims_of(value)[0], dims_of(self.x)[1], "channels of instance_norm")
        return super().infer_result_types()


@irdl_op_definition
class GroupNormOp(NormOp):
    """Normalisation of each group of channels (dim 1) of each sample.

    ```mlir
    %y = nn.group_norm %x, %scale, %bias {groups = 2 : i64, epsilon = 1.0e-5 : f64}
        : (tensor<2x8x4x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x4xf32>
    ```

    Source: ONNX GroupNormalization (opset 21); arXiv:1803.08494.
    """

    name = "nn.group_norm"

    x = operand_def(TensorType)
    scale = operand_def(TensorType)
    bias = operand_def(TensorType)
    result = result_def(TensorType)
    groups = param("int")
    epsilon = param("float", 1e-5)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x; scale and bias are vectors over the channels."""
        channels = dims_of(self.x)[1]
        for value in (self.scale, self.bias):
            unify(dims_of(value)[0], channels, "channels of group_norm")
        if isinstance(channels, int) and channels % self.value("groups"):
            raise ShapeError(
                f"expected channels divisible by {self.value('groups')} groups, "
                f"got {channels}"
            )
        return super().infer_result_types()


@irdl_op_definition
class LrnOp(NormOp):
    """Local response normalisation over `size` neighbouring channels (dim 1).

    `y = x / (bias + alpha / size * sum of x**2 over channels
    c - floor((size-1)/2) .. c + ceil((size-1)/2))**beta`

    ```mlir
    %y = nn.lrn %x {size = 5 : i64, alpha = 1.0e-4 : f64}
        : (tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32>
    ```

    Source: ONNX LRN.
    """

    name = "nn.lrn"

    x = operand_def(TensorType)
    result = result_def(TensorType)
    size = param("int")
    alpha = param("float", 1e-4)
    beta = param("float", 0.75)
    bias = param("float", 1.0)


@irdl_op_definition
class SoftmaxOp(NormOp):
    """Exponentials along an axis, scaled to sum 1.

    `y = e**(x - max x) / sum of e**(x - max x)`

    ```mlir
    %y = nn.softmax %x {axis = -1 : i64} : (tensor<2x10xf32>) -> tensor<2x10xf32>
    ```

    Source: ONNX Softmax (opset 13).
    """

    name = "nn.softmax"

    x = operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", -1)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        normalise_axis(self.value("axis"), len(dims_of(self.x)))
        return super().infer_result_types()


@irdl_op_definition
class LogSoftmaxOp(NormOp):
    """The logarithm of softmax, without its rounding.

    `y = x - max x - ln(sum of e**(x - max x))`

    ```mlir
    %y = nn.log_softmax %x {axis = -1 : i64} : (tensor<2x10xf32>) -> tensor<2x10xf32>
    ```

    Source: ONNX LogSoftmax (opset 13).
    """

    name = "nn.log_softmax"

    x = operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", -1)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        normalise_axis(self.value("axis"), len(dims_of(self.x)))
        return super().infer_result_types()


@irdl_op_definition
class AttentionOp(NnOp):
    """Scaled dot-product attention, whole.

    `y = softmax(softcap(scale * q k^T) + mask) v` with
    `softcap(s) = c * tanh(s / c)` if `softcap` is given; with `causal`, row i sees the
    columns up to `i + causal_offset`. A boolean mask keeps where true; a float mask
    is added. A row that sees nothing is 0. Sums and softmax are in f32 at least.

    q is `[batch.., heads, rows, dim]`, k `[batch.., kv_heads, columns, dim]`,
    v `[batch.., kv_heads, columns, value_dim]`; heads is a multiple of kv_heads, and
    head h reads `h // (heads / kv_heads)` (grouped queries). The mask broadcasts to
    `[batch.., heads, rows, columns]`.

    ```mlir
    %y = nn.attention %q, %k, %v {scale = 0.125 : f64, causal = true}
        : (tensor<1x8x16x64xf32>, tensor<1x8x16x64xf32>, tensor<1x8x16x64xf32>)
        -> tensor<1x8x16x64xf32>
    ```

    Source: ONNX Attention; arXiv:1706.03762, arXiv:2305.13245.
    """

    name = "nn.attention"

    q = operand_def(TensorType)
    k = operand_def(TensorType)
    v = operand_def(TensorType)
    mask = opt_operand_def(TensorType)
    result = result_def(TensorType)
    scale = param("float")
    causal = param("bool", False)
    causal_offset = param("dims", (0,))
    softcap = opt_param("float")

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape of q with the last dim of v."""
        element = same_element(self.q, self.k, self.v)
        q, k, v = (dims_of(value) for value in (self.q, self.k, self.v))
        for value in (self.q, self.k, self.v):
            require_rank(value, 3)
        if not len(q) == len(k) == len(v):
            raise ShapeError(
                f"expected q, k, v of one rank, got {len(q)}, {len(k)}, {len(v)}"
            )
        unify(q[-1], k[-1], "last dims of q and k")
        unify(k[-2], v[-2], "rows of k and v")
        unify(k[-3], v[-3], "heads of k and v")
        if isinstance(q[-3], int) and isinstance(k[-3], int) and q[-3] % k[-3]:
            raise ShapeError(f"expected heads a multiple of {k[-3]}, got {q[-3]}")
        if self.mask is not None:
            mask = element_of(self.mask)
            if not is_bool(mask) and mask != element:
                raise ShapeError(f"expected a mask of i1 or {element}, got {mask}")
            broadcast((*q[:-1], k[-2]), dims_of(self.mask))
        return [tensor_type((*q[:-1], v[-1]), element)]


@irdl_op_definition
class RotaryEmbeddingOp(NormOp):
    """Rotation of pairs of features by position-dependent angles.

    `y1 = x1 * cos - x2 * sin; y2 = x2 * cos + x1 * sin` over the first
    `2 * (last dim of cos)` features; x1, x2 are their halves, or the even and odd ones
    if `interleaved`. The rest passes through. x is `[batch.., heads, rows, dim]`; cos
    and sin broadcast to `[batch.., heads, rows, half]`.

    ```mlir
    %y = nn.rotary_embedding %x, %cos, %sin {interleaved = false}
        : (tensor<1x8x16x64xf32>, tensor<1x1x16x32xf32>, tensor<1x1x16x32xf32>)
        -> tensor<1x8x16x64xf32>
    ```

    Source: ONNX RotaryEmbedding; arXiv:2104.09864.
    """

    name = "nn.rotary_embedding"

    x = operand_def(TensorType)
    cos = operand_def(TensorType)
    sin = operand_def(TensorType)
    result = result_def(TensorType)
    interleaved = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        same_element(self.x, self.cos, self.sin)
        cos, sin = dims_of(self.cos), dims_of(self.sin)
        unify(cos[-1], sin[-1], "last dims of cos and sin")
        broadcast(dims_of(self.x)[:-1], cos[:-1], sin[:-1])
        return super().infer_result_types()
