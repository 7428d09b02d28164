"""Sums of products: matrix multiplication, convolution, einsum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    result_def,
    var_operand_def,
)

from stepwell.dialects.shapes import Dim, dims_of, element_of, tensor_type
from stepwell.errors import ShapeError

from .base import NnOp, Value, param
from .inference import broadcast, require_rank, same_element, unify, window_size


@irdl_op_definition
class MatmulOp(NnOp):
    """Matrix product over the last two dims; the others broadcast.

    `y[..., i, j] = sum over k of a[..., i, k] * b[..., k, j]`; a vector operand is a
    row on the left or a column on the right, and its dim vanishes from the result.

    ```mlir
    %y = nn.matmul %a, %b : (tensor<2x4x8xf32>, tensor<8x3xf32>) -> tensor<2x4x3xf32>
    ```

    Source: ONNX MatMul, numpy.matmul.
    """

    name = "nn.matmul"

    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)

    def infer_result_types(self) -> Sequence[Attribute]:
        """NumPy's shape, the shared element type."""
        element = same_element(self.lhs, self.rhs)
        require_rank(self.lhs, 1)
        require_rank(self.rhs, 1)
        return [tensor_type(matmul_shape(self.lhs.type, self.rhs.type), element)]


def matmul_shape(lhs: Attribute, rhs: Attribute) -> list[Dim]:
    """The shape of a matrix product of two tensor types."""
    left, right = dims_of(lhs), dims_of(rhs)
    rows, columns = left[-2:-1], right[1:][-1:]
    inner = right[-2:][0]
    unify(left[-1], inner, "inner dims of a matrix product")
    return [*broadcast(left[:-2], right[:-2]), *rows, *columns]


class ConvBase(NnOp):
    """What `conv` and `conv_transpose` share: dimension order and window parameters."""

    x = operand_def(TensorType)
    w = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    result = result_def(TensorType)

    strides = param("ints")
    pads = param("dims")
    dilations = param("ints")
    groups = param("int", 1)
    channels_last = param("bool", False)

    def __init__(
        self, x: Value, w: Value, bias: Value | None = None, **parameters: Any
    ) -> None:
        """Build; strides and dilations default to 1, pads to 0, for every dim."""
        spatial = _spatial_rank(x)
        defaults = {
            "strides": (1,) * spatial,
            "pads": (0,) * (2 * spatial),
            "dilations": (1,) * spatial,
        }
        super().__init__(x, w, bias, **_with_defaults(defaults, parameters))

    def spatial_rank(self) -> int:
        """The number of spatial dims."""
        return len(dims_of(self.x)) - 2

    def channels(self) -> Dim:
        """The number of channels of the input."""
        dims = dims_of(self.x)
        return dims[-1] if self.value("channels_last") else dims[1]

    def spatial_dims(self) -> tuple[Dim, ...]:
        """The spatial dims of the input."""
        dims = dims_of(self.x)
        return dims[1:-1] if self.value("channels_last") else dims[2:]

    def _check(self) -> Attribute:
        rank = require_rank(self.x, 3)
        require_rank(self.w, rank, rank)
        for name, count in (("strides", 1), ("pads", 2), ("dilations", 1)):
            if len(self.value(name)) != count * (rank - 2):
                raise ShapeError(
                    f"expected {count * (rank - 2)} {name} of {self.name}, "
                    f"got {len(self.value(name))}"
                )
        values = (self.x, self.w, *((self.bias,) if self.bias else ()))
        return same_element(*values)

    def _result(self, spatial: Sequence[Dim], features: Dim) -> Sequence[Attribute]:
        if self.bias:
            require_rank(self.bias, 1, 1)
            unify(dims_of(self.bias)[0], features, "bias length and output channels")
        batch = dims_of(self.x)[0]
        if self.value("channels_last"):
            dims = [batch, *spatial, features]
        else:
            dims = [batch, features, *spatial]
        return [tensor_type(dims, element_of(self.x))]


@irdl_op_definition
class ConvOp(ConvBase):
    """Convolution (cross-correlation) with groups, strides, pads and dilations.

    `y[n, o, p..] = bias[o] + sum over c, r.. of
    x[n, g*C/groups + c, p*stride + r*dilation - pad ..] * w[o, c, r..]`,
    with g the group of o; reads outside of x are 0.

    x is `[N, C, spatial..]`, w `[O, C/groups, spatial..]`; with `channels_last`
    x is `[N, spatial.., C]`, w `[spatial.., C/groups, O]`. `pads` is all low ones, then
    all high ones.

    ```mlir
    %y = nn.conv %x, %w {strides = array<i64: 2, 2>, pads = #nn.dims<1, 1, 1, 1>,
                         dilations = array<i64: 1, 1>}
        : (tensor<1x3x224x224xf32>, tensor<64x3x3x3xf32>) -> tensor<1x64x112x112xf32>
    ```

    Source: ONNX Conv.
    """

    name = "nn.conv"

    def kernel_dims(self) -> tuple[Dim, ...]:
        """The spatial dims of the weight."""
        dims = dims_of(self.w)
        return dims[:-2] if self.value("channels_last") else dims[2:]

    def infer_result_types(self) -> Sequence[Attribute]:
        """One position per window, one channel per filter."""
        self._check()
        weight, groups = dims_of(self.w), self.value("groups")
        last = self.value("channels_last")
        per_group, features = weight[-2:] if last else (weight[1], weight[0])
        unify(per_group * groups, self.channels(), "channels of x and w times groups")
        if isinstance(features, int) and features % groups:
            raise ShapeError(
                f"expected output channels divisible by {groups} groups, got {features}"
            )
        pads, spatial = self.value("pads"), self.spatial_rank()
        sizes = [
            window_size(size, kernel, stride, pads[i] + pads[i + spatial], dilation)
            for i, (size, kernel, stride, dilation) in enumerate(
                zip(
                    self.spatial_dims(),
                    self.kernel_dims(),
                    self.value("strides"),
                    self.value("dilations"),
                    strict=True,
                )
            )
        ]
        return self._result(sizes, features)


@irdl_op_definition
class ConvTransposeOp(ConvBase):
    """Transposed convolution: the gradient of `conv` with respect to its input.

    `y[n, o, p*stride + r*dilation - pad ..] += x[n, c, p..] * w[c, o, r..]` for all
    c, p, r, plus bias. A spatial dim of the result is
    `(size - 1) * stride + (kernel - 1) * dilation + 1 - pads + output_padding`.

    w is `[C, O/groups, spatial..]`; with `channels_last` `[spatial.., C, O/groups]`.

    ```mlir
    %y = nn.conv_transpose %x, %w {strides = array<i64: 2, 2>,
        pads = #nn.dims<0, 0, 0, 0>, dilations = array<i64: 1, 1>,
        output_padding = #nn.dims<0, 0>}
        : (tensor<1x8x4x4xf32>, tensor<8x3x2x2xf32>) -> tensor<1x3x8x8xf32>
    ```

    Source: ONNX ConvTranspose.
    """

    name = "nn.conv_transpose"

    output_padding = param("dims")

    def __init__(
        self, x: Value, w: Value, bias: Value | None = None, **parameters: Any
    ) -> None:
        """Build; output padding defaults to 0."""
        defaults = {"output_padding": (0,) * _spatial_rank(x)}
        super().__init__(x, w, bias, **_with_defaults(defaults, parameters))

    def kernel_dims(self) -> tuple[Dim, ...]:
        """The spatial dims of the weight."""
        dims = dims_of(self.w)
        return dims[:-2] if self.value("channels_last") else dims[2:]

    def infer_result_types(self) -> Sequence[Attribute]:
        """The size whose windows are the input's positions."""
        self._check()
        weight = dims_of(self.w)
        channels, per_group = weight[-2:] if self.value("channels_last") else weight[:2]
        unify(channels, self.channels(), "channels of x and w")
        pads, spatial = self.value("pads"), self.spatial_rank()
        extra = self.value("output_padding")
        sizes: list[Dim] = [
            (size - 1) * stride
            + (kernel - 1) * dilation
            + 1
            - pads[i]
            - pads[i + spatial]
            + extra[i]
            for i, (size, kernel, stride, dilation) in enumerate(
                zip(
                    self.spatial_dims(),
                    self.kernel_dims(),
                    self.value("strides"),
                    self.value("dilations"),
                    strict=True,
                )
            )
        ]
        return self._result(sizes, per_group * self.value("groups"))


@irdl_op_definition
class EinsumOp(NnOp):
    """Sum of products by index letters; `...` stands for dims that broadcast.

    ```mlir
    %y = nn.einsum %a, %b {equation = "bij,bjk->bik"}
        : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
    ```

    Source: ONNX Einsum, numpy.einsum.
    """

    name = "nn.einsum"

    inputs = var_operand_def(TensorType)
    result = result_def(TensorType)
    equation = param("str")

    def __init__(self, *inputs: Value, equation: str) -> None:
        super().__init__(inputs, equation=equation)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The dims of the letters after the arrow."""
        terms, output = split_equation(self.value("equation"))
        if len(terms) != len(self.inputs):
            raise ShapeError(
                f"expected {len(terms)} operands of {self.value('equation')!r}, "
                f"got {len(self.inputs)}"
            )
        sizes: dict[str, Dim] = {}
        ellipsis: tuple[Dim, ...] = ()
        for term, operand in zip(terms, self.inputs, strict=True):
            dims = dims_of(operand)
            head, tail, middle = _split_term(term, len(dims))
            ellipsis = broadcast(ellipsis, dims[len(head) : len(head) + middle])
            named = (*dims[: len(head)], *dims[len(dims) - len(tail) :])
            for letter, dim in zip(head + tail, named, strict=True):
                known = sizes.get(letter, 1)
                sizes[letter] = dim if known == 1 else _join(known, dim, letter)
        head, _, tail = output.partition("...")
        middle_dims = ellipsis if "..." in output else ()
        result = [sizes[c] for c in head], middle_dims, [sizes[c] for c in tail]
        return [
            tensor_type(
                [*result[0], *result[1], *result[2]], same_element(*self.inputs)
            )
        ]


def split_equation(equation: str) -> tuple[list[str], str]:
    """The operand terms of an einsum equation, and its output (made explicit).

    Without an arrow the output is `...` and the letters that occur once, sorted.
    """
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace("...", "").replace(",", "")
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        output = ("..." if "..." in left else "") + "".join(once)
    return terms, output


def _split_term(term: str, rank: int) -> tuple[str, str, int]:
    head, dots, tail = term.partition("...")
    middle = rank - len(head) - len(tail)
    if middle < 0 or (middle and not dots):
        raise ShapeError(f"expected a tensor of the dims {term!r}, got rank {rank}")
    return head, tail, middle


def _join(known: Dim, dim: Dim, letter: str) -> Dim:
    return known if dim == 1 else unify(known, dim, f"dims of index {letter!r}")


def _spatial_rank(x: Value) -> int:
    return len(dims_of(SSAValue.get(x))) - 2


def _with_defaults(
    defaults: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    given = {name: value for name, value in parameters.items() if value is not None}
    return {**defaults, **given}
