"""Elementwise functions of one tensor: arithmetic, trigonometry, rounding, tests."""

from __future__ import annotations

from xdsl.irdl import irdl_op_definition

from .base import param
from .unary import BitUnaryOp, FloatPredicateOp, FloatUnaryOp, UnaryOp


@irdl_op_definition
class AbsOp(UnaryOp):
    """Magnitude.

    `y = |x|`

    ```mlir
    %y = nn.abs %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Abs.
    """

    name = "nn.abs"


@irdl_op_definition
class NegOp(UnaryOp):
    """Negation.

    `y = -x`

    ```mlir
    %y = nn.neg %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Neg.
    """

    name = "nn.neg"


@irdl_op_definition
class ExpOp(FloatUnaryOp):
    """Exponential.

    `y = e**x`

    ```mlir
    %y = nn.exp %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Exp.
    """

    name = "nn.exp"


@irdl_op_definition
class Expm1Op(FloatUnaryOp):
    """Exponential less one, exact near 0.

    `y = e**x - 1`

    ```mlir
    %y = nn.expm1 %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: C99 expm1.
    """

    name = "nn.expm1"


@irdl_op_definition
class LogOp(FloatUnaryOp):
    """Natural logarithm.

    `y = ln x`

    ```mlir
    %y = nn.log %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Log.
    """

    name = "nn.log"


@irdl_op_definition
class Log1pOp(FloatUnaryOp):
    """Logarithm of one more, exact near 0.

    `y = ln(1 + x)`

    ```mlir
    %y = nn.log1p %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: C99 log1p.
    """

    name = "nn.log1p"


@irdl_op_definition
class SqrtOp(FloatUnaryOp):
    """Square root.

    `y = x**(1/2)`

    ```mlir
    %y = nn.sqrt %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Sqrt.
    """

    name = "nn.sqrt"


@irdl_op_definition
class RsqrtOp(FloatUnaryOp):
    """Reciprocal square root.

    `y = x**(-1/2)`

    ```mlir
    %y = nn.rsqrt %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: common to MLIR's math dialect.
    """

    name = "nn.rsqrt"


@irdl_op_definition
class ReciprocalOp(FloatUnaryOp):
    """Reciprocal.

    `y = 1 / x`

    ```mlir
    %y = nn.reciprocal %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Reciprocal.
    """

    name = "nn.reciprocal"


@irdl_op_definition
class SinOp(FloatUnaryOp):
    """Sine of radians.

    `y = sin x`

    ```mlir
    %y = nn.sin %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Sin.
    """

    name = "nn.sin"


@irdl_op_definition
class CosOp(FloatUnaryOp):
    """Cosine of radians.

    `y = cos x`

    ```mlir
    %y = nn.cos %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Cos.
    """

    name = "nn.cos"


@irdl_op_definition
class TanOp(FloatUnaryOp):
    """Tangent of radians.

    `y = tan x`

    ```mlir
    %y = nn.tan %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Tan.
    """

    name = "nn.tan"


@irdl_op_definition
class AsinOp(FloatUnaryOp):
    """Arc sine in radians.

    `y = asin x`

    ```mlir
    %y = nn.asin %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Asin.
    """

    name = "nn.asin"


@irdl_op_definition
class AcosOp(FloatUnaryOp):
    """Arc cosine in radians.

    `y = acos x`

    ```mlir
    %y = nn.acos %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Acos.
    """

    name = "nn.acos"


@irdl_op_definition
class AtanOp(FloatUnaryOp):
    """Arc tangent in radians.

    `y = atan x`

    ```mlir
    %y = nn.atan %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Atan.
    """

    name = "nn.atan"


@irdl_op_definition
class SinhOp(FloatUnaryOp):
    """Hyperbolic sine.

    `y = (e**x - e**-x) / 2`

    ```mlir
    %y = nn.sinh %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Sinh.
    """

    name = "nn.sinh"


@irdl_op_definition
class CoshOp(FloatUnaryOp):
    """Hyperbolic cosine.

    `y = (e**x + e**-x) / 2`

    ```mlir
    %y = nn.cosh %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Cosh.
    """

    name = "nn.cosh"


@irdl_op_definition
class TanhOp(FloatUnaryOp):
    """Hyperbolic tangent.

    `y = sinh x / cosh x`

    ```mlir
    %y = nn.tanh %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Tanh.
    """

    name = "nn.tanh"


@irdl_op_definition
class AsinhOp(FloatUnaryOp):
    """Inverse hyperbolic sine.

    `y = ln(x + sqrt(x**2 + 1))`

    ```mlir
    %y = nn.asinh %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Asinh.
    """

    name = "nn.asinh"


@irdl_op_definition
class AcoshOp(FloatUnaryOp):
    """Inverse hyperbolic cosine.

    `y = ln(x + sqrt(x**2 - 1))`

    ```mlir
    %y = nn.acosh %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Acosh.
    """

    name = "nn.acosh"


@irdl_op_definition
class AtanhOp(FloatUnaryOp):
    """Inverse hyperbolic tangent.

    `y = ln((1 + x) / (1 - x)) / 2`

    ```mlir
    %y = nn.atanh %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Atanh.
    """

    name = "nn.atanh"


@irdl_op_definition
class ErfOp(FloatUnaryOp):
    """Error function.

    `y = 2/sqrt(pi) * integral of e**(-t**2) from 0 to x`

    ```mlir
    %y = nn.erf %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Erf.
    """

    name = "nn.erf"


@irdl_op_definition
class FloorOp(FloatUnaryOp):
    """The largest integer at most x.

    `y = floor x`

    ```mlir
    %y = nn.floor %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Floor.
    """

    name = "nn.floor"


@irdl_op_definition
class CeilOp(FloatUnaryOp):
    """The smallest integer at least x.

    `y = ceil x`

    ```mlir
    %y = nn.ceil %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Ceil.
    """

    name = "nn.ceil"


@irdl_op_definition
class RoundOp(FloatUnaryOp):
    """The nearest integer, ties to even.

    `y = rint x`

    ```mlir
    %y = nn.round %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Round.
    """

    name = "nn.round"


@irdl_op_definition
class SignOp(UnaryOp):
    """-1, 0 or 1; NaN stays NaN.

    `y = x / |x|, or 0 at 0`

    ```mlir
    %y = nn.sign %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Sign.
    """

    name = "nn.sign"


@irdl_op_definition
class NotOp(BitUnaryOp):
    """Bitwise complement; logical on `i1`.

    `y = ~x`

    ```mlir
    %y = nn.not %x : (tensor<4xi32>) -> tensor<4xi32>
    ```

    Source: ONNX Not, BitwiseNot.
    """

    name = "nn.not"


@irdl_op_definition
class IsNanOp(FloatPredicateOp):
    """Whether x is NaN.

    `y = x != x`

    ```mlir
    %y = nn.is_nan %x : (tensor<4xf32>) -> tensor<4xi1>
    ```

    Source: ONNX IsNaN.
    """

    name = "nn.is_nan"


@irdl_op_definition
class IsInfOp(FloatPredicateOp):
    """Whether x is infinite, of the signs asked for.

    `y = (x == inf and detect_positive) or (x == -inf and detect_negative)`

    ```mlir
    %y = nn.is_inf %x {detect_negative = false} : (tensor<4xf32>) -> tensor<4xi1>
    ```

    Source: ONNX IsInf.
    """

    name = "nn.is_inf"

    detect_positive = param("bool", True)
    detect_negative = param("bool", True)
