"""The `quant` dialect: quantized types and the ops that enter and leave them.

`quantize` and `dequantize` are what an ONNX QuantizeLinear and DequantizeLinear are;
with constant scales the quantized value can carry its scale in its type,
`!quant.uniform`. Integer products with zero points (ONNX MatMulInteger, ConvInteger,
QLinearMatMul, QLinearConv) are `quant.matmul_integer` and `quant.conv_integer`: they
subtract the zero points and accumulate in i32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    IntAttr,
    IntegerType,
    TensorType,
)
from xdsl.ir import Attribute, Dialect, ParametrizedAttribute, SSAValue
from xdsl.irdl import (
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    param_def,
    prop_def,
    result_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.traits import MemoryEffectKind
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import (
    StoredType,
    bit_width,
    f32,
    f64,
    i32,
    i64,
    is_float,
    is_integer,
    ui8,
)
from stepwell.dialects.nn.base import NnOp, OptionalOperandsOp, Value, param
from stepwell.dialects.nn.contraction import matmul_shape
from stepwell.dialects.nn.inference import normalise_axis, unify, window_size
from stepwell.dialects.shapes import (
    Dim,
    ceildiv,
    dims_of,
    element_of,
    num_elements,
    tensor_type,
    with_element,
)
from stepwell.errors import ShapeError


@irdl_attr_definition
class UniformType(ParametrizedAttribute, StoredType):
    """A real number kept as `(stored - zero point) * scale`.

    Per tensor `!quant.uniform<i8:f32, 0.5:3>`; per axis (here 1)
    `!quant.uniform<i8:f32:1, {0.5:3, 0.25:0}>`; in blocks (of 1 x 32)
    `!quant.uniform<i8:f32:{0:1, 1:32}, {0.5:0, 0.25:0}>`, scales row-major over the
    blocks. The storage is an integer or fp8 type.
    """

    name = "quant.uniform"

    storage: Attribute = param_def()
    expressed: Attribute = param_def()
    axes: ArrayAttr[IntAttr] = param_def()
    blocks: ArrayAttr[IntAttr] = param_def()
    scales: DenseArrayBase = param_def()
    zero_points: DenseArrayBase = param_def()

    def __init__(
        self,
        storage: Attribute,
        expressed: Attribute,
        scales: Sequence[float],
        zero_points: Sequence[int],
        axes: Sequence[int] = (),
        blocks: Sequence[int] = (),
    ) -> None:
        super().__init__(
            storage,
            expressed,
            ArrayAttr(IntAttr(axis) for axis in axes),
            ArrayAttr(IntAttr(block) for block in blocks),
            DenseArrayBase.from_list(f64, list(scales)),
            DenseArrayBase.from_list(i64, list(zero_points)),
        )

    @property
    def storage_type(self) -> Attribute:
        """The type of the stored values."""
        return self.storage

    def scale_values(self) -> tuple[float, ...]:
        """The scales, row-major over the blocks; one if per tensor."""
        return tuple(float(scale) for scale in self.scales.iter_values())  # pyright: ignore

    def zero_values(self) -> tuple[int, ...]:
        """The zero points, one per scale."""
        return tuple(int(point) for point in self.zero_points.iter_values())  # pyright: ignore

    def verify(self) -> None:
        """Check the parts against each other."""
        is_small = is_float(self.storage) and bit_width(self.storage) <= 8
        if not is_small and not isinstance(self.storage, IntegerType):
            raise VerifyException(
                f"expected integers or floats of 8 bits stored, got {self.storage}"
            )
        if not is_float(self.expressed):
            raise VerifyException(f"expected a float expressed, got {self.expressed}")
        if len(self.scales) != len(self.zero_points):
            raise VerifyException(
                f"expected a zero point per scale, got {len(self.zero_points)} "
                f"for {len(self.scales)}"
            )
        if any(not scale > 0 for scale in self.scale_values()):
            raise VerifyException("expected positive scales")
        if not self.axes.data and len(self.scales) != 1:
            raise VerifyException(f"expected one scale, got {len(self.scales)}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        """Read `<storage:expressed[:axes], scales>`."""
        with parser.in_angle_brackets():
            storage = parser.parse_type()
            parser.parse_punctuation(":")
            expressed = parser.parse_type()
            axes, blocks = _parse_axes(parser)
            parser.parse_punctuation(",")
            if axes:
                pairs = parser.parse_comma_separated_list(
                    parser.Delimiter.BRACES, lambda: _parse_scale(parser)
                )
            else:
                pairs = [_parse_scale(parser)]
        scales, points = zip(*pairs, strict=True)
        return cls(storage, expressed, scales, points, axes, blocks).parameters

    def print_parameters(self, printer: Printer) -> None:
        """Write what `parse_parameters` reads."""
        axes = [axis.data for axis in self.axes]
        blocks = [block.data for block in self.blocks]
        pairs = ", ".join(
            f"{scale!r}:{point}"
            for scale, point in zip(
                self.scale_values(), self.zero_values(), strict=True
            )
        )
        with printer.in_angle_brackets():
            printer.print_attribute(self.storage)
            printer.print_string(":")
            printer.print_attribute(self.expressed)
            if blocks:
                sizes = (f"{a}:{b}" for a, b in zip(axes, blocks, strict=True))
                printer.print_string(f":{{{', '.join(sizes)}}}")
            elif axes:
                printer.print_string(f":{axes[0]}")
            printer.print_string(f", {{{pairs}}}" if axes else f", {pairs}")


def _parse_axes(parser: AttrParser) -> tuple[list[int], list[int]]:
    if not parser.parse_optional_punctuation(":"):
        return [], []
    if (axis := parser.parse_optional_integer(False, False)) is not None:
        return [axis], []

    def parse_pair() -> tuple[int, int]:
        axis = parser.parse_integer(False, False)
        parser.parse_punctuation(":")
        return axis, parser.parse_integer(False, False)

    pairs = parser.parse_comma_separated_list(parser.Delimiter.BRACES, parse_pair)
    return [axis for axis, _ in pairs], [block for _, block in pairs]


def _parse_scale(parser: AttrParser) -> tuple[float, int]:
    scale = float(parser.parse_number())
    if not parser.parse_optional_punctuation(":"):
        return scale, 0
    return scale, parser.parse_integer(False)


def scale_shape(
    dims: Sequence[Dim], axis: int, block_size: int, scale: SSAValue
) -> tuple[Dim, ...]:
    """The shape that scales of a tensor must have: scalar, one per entry, or block."""
    given = dims_of(scale)
    if not given or given == (1,):
        return given
    axis = normalise_axis(axis, len(dims))
    if block_size == 0:
        return (unify(dims[axis], given[0], "scales and size of the quantized axis"),)
    blocks = list(dims)
    blocks[axis] = ceildiv(dims[axis], block_size)
    return tuple(blocks)


def _check_scale(
    x: SSAValue, scale: SSAValue, zero_point: SSAValue | None, op: NnOp
) -> None:
    axis, block = op.value("axis"), op.value("block_size")
    expected = scale_shape(dims_of(x), axis, block, scale)
    if len(expected) != len(dims_of(scale)):
        raise ShapeError(f"expected scales of shape {expected}, got {scale.type}")
    if not is_float(element_of(scale)):
        raise ShapeError(f"expected float scales, got {scale.type}")
    if zero_point is None or num_elements(zero_point) == num_elements(scale) == 1:
        return
    if len(dims_of(zero_point)) != len(dims_of(scale)):
        raise ShapeError(
            f"expected zero points like {scale.type}, got {zero_point.type}"
        )


@irdl_op_definition
class QuantizeOp(NnOp):
    """Real numbers to stored ones: `y = saturate(round(x / scale) + zero_point)`.

    Rounds half to even; the division is in f32 (f64 for f64). The scale is a scalar,
    one per entry of `axis`, or, if `block_size` is not 0, one per block along `axis`.
    Stored as fp8 it is `cast(x / scale)`, saturating if `saturate`.

    ```mlir
    %y = quant.quantize %x, %scale, %zero {to = ui8}
        : (tensor<2x3xf32>, tensor<f32>, tensor<ui8>) -> tensor<2x3xui8>
    ```

    Source: ONNX QuantizeLinear.
    """

    name = "quant.quantize"

    x = operand_def(TensorType)
    scale = operand_def(TensorType)
    zero_point = opt_operand_def(TensorType)
    result = result_def(TensorType)
    to = prop_def(Attribute)
    axis = param("int", 1)
    block_size = param("int", 0)
    saturate = param("bool", True)

    def __init__(
        self,
        x: Value,
        scale: Value,
        zero_point: Value | None = None,
        *,
        to: Attribute,
        **parameters: Any,
    ) -> None:
        super().__init__(x, scale, zero_point, to=to, **parameters)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape of x, of the element type `to`."""
        _check_scale(self.x, self.scale, self.zero_point, self)
        if self.zero_point is not None and element_of(self.zero_point) != self.to:
            raise ShapeError(
                f"expected zero points of {self.to}, got {self.zero_point.type}"
            )
        return [with_element(self.x.type, self.to)]


@irdl_op_definition
class DequantizeOp(NnOp):
    """Stored numbers to real ones: `y = (x - zero_point) * scale`.

    Scales as for `quant.quantize`; x may also be i32 (an accumulator).

    ```mlir
    %y = quant.dequantize %x, %scale, %zero
        : (tensor<2x3xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x3xf32>
    ```

    Source: ONNX DequantizeLinear.
    """

    name = "quant.dequantize"

    x = operand_def(TensorType)
    scale = operand_def(TensorType)
    zero_point = opt_operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int", 1)
    block_size = param("int", 0)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape of x, of the scale's element type."""
        _check_scale(self.x, self.scale, self.zero_point, self)
        return [with_element(self.x.type, element_of(self.scale))]


@irdl_op_definition
class DynamicQuantizeOp(NnOp):
    """Quantization to `ui8` by the range of x itself, which always includes 0.

    `scale = (max - min) / 255; zero_point = clamp(round(-min / scale), 0, 255)`

    ```mlir
    %y, %scale, %zero = quant.dynamic_quantize %x
        : (tensor<2x3xf32>) -> (tensor<2x3xui8>, tensor<f32>, tensor<ui8>)
    ```

    Source: ONNX DynamicQuantizeLinear.
    """

    name = "quant.dynamic_quantize"

    x = operand_def(TensorType)
    y = result_def(TensorType)
    scale = result_def(TensorType)
    zero_point = result_def(TensorType)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The shape of x of `ui8`, a scale, a zero point."""
        return [
            with_element(self.x.type, ui8),
            tensor_type((), f32),
            tensor_type((), ui8),
        ]


@irdl_op_definition
class ObserveOp(NnOp):
    """x itself; calibration records its range under `point`.

    ```mlir
    %y = quant.observe %x {point = "conv1.input"} : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: observers of PyTorch's quantization.
    """

    name = "quant.observe"

    x = operand_def(TensorType)
    result = result_def(TensorType)
    point = param("str")

    EFFECT: ClassVar[MemoryEffectKind | None] = MemoryEffectKind.WRITE

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type of x."""
        return [self.x.type]


@irdl_op_definition
class MatmulIntegerOp(OptionalOperandsOp):
    """Matrix product of 8-bit integers less their zero points, in i32.

    `y = (a - a_zero) (b - b_zero)`. A zero point is a scalar, or one per row of a (or
    column of b); it may carry batch dims, then with its unit dim.

    ```mlir
    %y = quant.matmul_integer %a, %b, %a_zero, none
        : (tensor<4x8xui8>, tensor<8x3xi8>, tensor<ui8>) -> tensor<4x3xi32>
    ```

    Source: ONNX MatMulInteger, QLinearMatMul.
    """

    name = "quant.matmul_integer"

    a = operand_def(TensorType)
    b = operand_def(TensorType)
    a_zero = opt_operand_def(TensorType)
    b_zero = opt_operand_def(TensorType)
    result = result_def(TensorType)

    def infer_result_types(self) -> Sequence[Attribute]:
        """NumPy's shape of `i32`."""
        for value in (self.a, self.b):
            if not is_integer(element_of(value)):
                raise ShapeError(f"expected integers, got {value.type}")
        return [tensor_type(matmul_shape(self.a.type, self.b.type), i32)]


@irdl_op_definition
class ConvIntegerOp(OptionalOperandsOp):
    """Convolution of 8-bit integers less their zero points, in i32.

    As `nn.conv`, channels first; padding is the zero point. The weight's zero point is
    a scalar or one per output channel.

    ```mlir
    %y = quant.conv_integer %x, %w, %x_zero, none {strides = array<i64: 1, 1>,
        pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>}
        : (tensor<1x1x3x3xui8>, tensor<1x1x2x2xui8>, tensor<ui8>)
        -> tensor<1x1x2x2xi32>
    ```

    Source: ONNX ConvInteger, QLinearConv.
    """

    name = "quant.conv_integer"

    x = operand_def(TensorType)
    w = operand_def(TensorType)
    x_zero = opt_operand_def(TensorType)
    w_zero = opt_operand_def(TensorType)
    result = result_def(TensorType)
    strides = param("ints")
    pads = param("dims")
    dilations = param("ints")
    groups = param("int", 1)

    def __init__(
        self,
        x: Value,
        w: Value,
        x_zero: Value | None = None,
        w_zero: Value | None = None,
        **parameters: Any,
    ) -> None:
        """Build; strides and dilations default to 1, pads to 0, for every dim."""
        spatial = len(dims_of(SSAValue.get(x))) - 2
        defaults: dict[str, Any] = {
            "strides": (1,) * spatial,
            "pads": (0,) * (2 * spatial),
            "dilations": (1,) * spatial,
        }
        given = {key: value for key, value in parameters.items() if value is not None}
        super().__init__(x, w, x_zero, w_zero, **{**defaults, **given})

    def infer_result_types(self) -> Sequence[Attribute]:
        """One position per window, one channel per filter, of `i32`."""
        dims, weight = dims_of(self.x), dims_of(self.w)
        if len(dims) != len(weight) or len(dims) < 3:
            raise ShapeError(
                f"expected x and w of one rank, got {self.x.type} and {self.w.type}"
            )
        unify(dims[1], weight[1] * self.value("groups"), "channels of x and w")
        pads, spatial = self.value("pads"), len(dims) - 2
        sizes = [
            window_size(
                dims[2 + i],
                weight[2 + i],
                self.value("strides")[i],
                pads[i] + pads[i + spatial],
                self.value("dilations")[i],
            )
            for i in range(spatial)
        ]
        return [tensor_type((dims[0], weight[0], *sizes), i32)]


Quant = Dialect(
    "quant",
    [
        QuantizeOp,
        DequantizeOp,
        DynamicQuantizeOp,
        ObserveOp,
        MatmulIntegerOp,
        ConvIntegerOp,
    ],
    [UniformType],
)
"""The dialect's ops and types."""
