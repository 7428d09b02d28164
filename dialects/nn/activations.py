"""Activation functions: elementwise, of one tensor, with constant parameters."""

from __future__ import annotations

from xdsl.irdl import irdl_op_definition

from .base import opt_param, param
from .unary import FloatUnaryOp, UnaryOp


@irdl_op_definition
class ReluOp(UnaryOp):
    """Rectified linear unit.

    `y = max(x, 0)`

    ```mlir
    %y = nn.relu %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Relu.
    """

    name = "nn.relu"


@irdl_op_definition
class SigmoidOp(FloatUnaryOp):
    """Logistic function.

    `y = 1 / (1 + e**-x)`

    ```mlir
    %y = nn.sigmoid %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Sigmoid.
    """

    name = "nn.sigmoid"


@irdl_op_definition
class SoftplusOp(FloatUnaryOp):
    """Smooth relu.

    `y = ln(1 + e**x)`

    ```mlir
    %y = nn.softplus %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Softplus.
    """

    name = "nn.softplus"


@irdl_op_definition
class SoftsignOp(FloatUnaryOp):
    """Rational squashing.

    `y = x / (1 + |x|)`

    ```mlir
    %y = nn.softsign %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Softsign.
    """

    name = "nn.softsign"


@irdl_op_definition
class SiluOp(FloatUnaryOp):
    """Sigmoid-weighted linear unit, also swish.

    `y = x * sigmoid(x)`

    ```mlir
    %y = nn.silu %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Swish (alpha 1).
    """

    name = "nn.silu"


@irdl_op_definition
class HardSwishOp(FloatUnaryOp):
    """Piecewise silu.

    `y = x * clamp(x/6 + 1/2, 0, 1)`

    ```mlir
    %y = nn.hard_swish %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX HardSwish.
    """

    name = "nn.hard_swish"


@irdl_op_definition
class MishOp(FloatUnaryOp):
    """Self-gated smooth unit.

    `y = x * tanh(softplus(x))`

    ```mlir
    %y = nn.mish %x : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Mish.
    """

    name = "nn.mish"


@irdl_op_definition
class GeluOp(FloatUnaryOp):
    """Gaussian error linear unit, exact or by tanh.

    `y = x * (1 + erf(x / sqrt(2))) / 2, or
    x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))) / 2`

    ```mlir
    %y = nn.gelu %x {approximate = "tanh"} : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Gelu.
    """

    name = "nn.gelu"

    approximate = param("str", "none", ("none", "tanh"))


@irdl_op_definition
class HardSigmoidOp(FloatUnaryOp):
    """Piecewise linear sigmoid.

    `y = clamp(alpha * x + beta, 0, 1)`

    ```mlir
    %y = nn.hard_sigmoid %x {alpha = 0.2 : f64} : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX HardSigmoid.
    """

    name = "nn.hard_sigmoid"

    alpha = param("float", 0.2)
    beta = param("float", 0.5)


@irdl_op_definition
class EluOp(FloatUnaryOp):
    """Exponential linear unit.

    `y = x if x > 0 else alpha * (e**x - 1)`

    ```mlir
    %y = nn.elu %x {alpha = 1.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Elu.
    """

    name = "nn.elu"

    alpha = param("float", 1.0)


@irdl_op_definition
class LeakyReluOp(FloatUnaryOp):
    """Relu with a slope below 0.

    `y = x if x >= 0 else alpha * x`

    ```mlir
    %y = nn.leaky_relu %x {alpha = 0.01 : f64} : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX LeakyRelu.
    """

    name = "nn.leaky_relu"

    alpha = param("float", 0.01)


@irdl_op_definition
class SeluOp(FloatUnaryOp):
    """Scaled exponential linear unit.

    `y = gamma * (x if x > 0 else alpha * (e**x - 1))`

    ```mlir
    %y = nn.selu %x {gamma = 1.05 : f64} : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Selu.
    """

    name = "nn.selu"

    alpha = param("float", 1.67326319217681884765625)
    gamma = param("float", 1.05070102214813232421875)


@irdl_op_definition
class CeluOp(FloatUnaryOp):
    """Continuously differentiable exponential linear unit.

    `y = max(0, x) + min(0, alpha * (e**(x / alpha) - 1))`

    ```mlir
    %y = nn.celu %x {alpha = 1.0 : f64} : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Celu.
    """

    name = "nn.celu"

    alpha = param("float", 1.0)


@irdl_op_definition
class ClampOp(UnaryOp):
    """x held between two constants; an absent one does not bound.

    `y = min(max(x, min), max)`

    ```mlir
    %y = nn.clamp %x {min = 0.0 : f64, max = 6.0 : f64}
        : (tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Clip.
    """

    name = "nn.clamp"

    min = opt_param("float")
    max = opt_param("float")
