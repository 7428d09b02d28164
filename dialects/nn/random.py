"""Random numbers, and transforms into the frequency domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, result_def
from xdsl.traits import MemoryEffectKind

from stepwell.dialects.shapes import Dim, Shape, dims_of, element_of, tensor_type

from .base import NnOp, Value, opt_param, param
from .inference import normalise_axis


class RandomOp(NnOp):
    """An op whose result differs from call to call, unless `seed` is given."""

    result = result_def(TensorType)
    seed = opt_param("float")

    EFFECT: ClassVar[MemoryEffectKind | None] = MemoryEffectKind.READ

    def infer_result_types(self) -> Sequence[Attribute]:
        """The type it was given."""
        return [self.result.type]


@irdl_op_definition
class RandomUniformOp(RandomOp):
    """Numbers uniform in `[low, high)`.

    ```mlir
    %y = nn.random_uniform {low = 0.0 : f64, high = 1.0 : f64} : tensor<4xf32>
    ```

    Source: ONNX RandomUniform.
    """

    name = "nn.random_uniform"

    assembly_format = "attr-dict `:` type($result)"
    low = param("float", 0.0)
    high = param("float", 1.0)

    def __init__(self, dims: Shape, element: Attribute, **parameters: Any) -> None:
        super().__init__(result_types=[tensor_type(dims, element)], **parameters)


@irdl_op_definition
class RandomNormalOp(RandomOp):
    """Numbers of the normal distribution with `mean` and standard deviation `scale`.

    ```mlir
    %y = nn.random_normal {mean = 0.0 : f64, scale = 1.0 : f64} : tensor<4xf32>
    ```

    Source: ONNX RandomNormal.
    """

    name = "nn.random_normal"

    assembly_format = "attr-dict `:` type($result)"
    mean = param("float", 0.0)
    scale = param("float", 1.0)

    def __init__(self, dims: Shape, element: Attribute, **parameters: Any) -> None:
        super().__init__(result_types=[tensor_type(dims, element)], **parameters)


@irdl_op_definition
class BernoulliOp(RandomOp):
    """1 with the probability given per element, else 0.

    ```mlir
    %y = nn.bernoulli %p : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Bernoulli.
    """

    name = "nn.bernoulli"

    probability = operand_def(TensorType)

    def __init__(
        self, probability: Value, element: Attribute | None = None, **parameters: Any
    ) -> None:
        kind = SSAValue.get(probability).type
        kind = tensor_type(dims_of(kind), element or element_of(kind))
        super().__init__(probability, result_types=[kind], **parameters)


@irdl_op_definition
class MultinomialOp(RandomOp):
    """Class indices drawn from unnormalised log-probabilities `[batch, classes]`.

    ```mlir
    %y = nn.multinomial %logits : (tensor<2x10xf32>) -> tensor<2x5xi32>
    ```

    Source: ONNX Multinomial.
    """

    name = "nn.multinomial"

    logits = operand_def(TensorType)

    def __init__(
        self, logits: Value, samples: Dim, element: Attribute, **parameters: Any
    ) -> None:
        batch = dims_of(SSAValue.get(logits))[0]
        kind = tensor_type((batch, samples), element)
        super().__init__(logits, result_types=[kind], **parameters)


@irdl_op_definition
class DftOp(NnOp):
    """Discrete Fourier transform along `axis`; the last dim holds re (and im).

    `y[k] = sum over n of x[n] * e**(-2 pi i k n / length)`; x is cut or zero-padded to
    `length`. `inverse` has the conjugate kernel and divides by the length; `onesided`
    keeps `length floordiv 2 + 1` terms (or expects them, if inverse).

    ```mlir
    %y = nn.dft %x {axis = 1 : i64, length = #nn.dims<8>}
        : (tensor<1x8x1xf32>) -> tensor<1x8x2xf32>
    ```

    Source: ONNX DFT.
    """

    name = "nn.dft"

    operand = operand_def(TensorType)
    result = result_def(TensorType)
    axis = param("int")
    length = param("dims")
    inverse = param("bool", False)
    onesided = param("bool", False)

    def __init__(
        self, operand: Value, *, axis: int, length: Dim | None = None, **parameters: Any
    ) -> None:
        dims = dims_of(SSAValue.get(operand))
        if length is None:
            length = dims[normalise_axis(axis, len(dims))]
            if parameters.get("onesided") and parameters.get("inverse"):
                length = 2 * (length - 1)
        super().__init__(operand, axis=axis, length=(length,), **parameters)

    def infer_result_types(self) -> Sequence[Attribute]:
        """The axis of the transform's length, a last dim of 2 (1 if back to real)."""
        dims = list(dims_of(self.operand))
        axis = normalise_axis(self.value("axis"), len(dims))
        (length,) = self.value("length")
        onesided, inverse = self.value("onesided"), self.value("inverse")
        dims[axis] = length // 2 + 1 if onesided and not inverse else length
        dims[-1] = 1 if onesided and inverse else 2
        return [tensor_type(dims, element_of(self.operand))]
