"""Recurrent layers, whole: all steps, one or two directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_operand_def, result_def

from stepwell.dialects.shapes import Dim, dims_of, element_of, tensor_type

from .base import OptionalOperandsOp, opt_param, param
from .inference import require_rank, unify

DIRECTIONS = ("forward", "reverse", "bidirectional")


class RecurrentOp(OptionalOperandsOp):
    """What the recurrent layers share.

    x is `[steps, batch, features]`, w `[directions, gates * hidden, features]`,
    r `[directions, gates * hidden, hidden]`, bias `[directions, 2 * gates * hidden]`
    (for w, then for r), lengths `[batch]`, states `[directions, batch, hidden]`.
    Activations are ONNX's names, one set per direction; `clip` bounds their arguments.
    Results: y `[steps, directions, batch, hidden]`, then the last state.
    """

    GATES: ClassVar[int]

    x = operand_def(TensorType)
    w = operand_def(TensorType)
    r = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    lengths = opt_operand_def(TensorType)
    initial_h = opt_operand_def(TensorType)
    direction = param("str", "forward", DIRECTIONS)
    activations = param("strs")
    activation_alpha = opt_param("floats")
    activation_beta = opt_param("floats")
    clip = opt_param("float")

    def hidden_size(self) -> Dim:
        """The number of hidden units of one direction."""
        return dims_of(self.r)[2]

    def _shapes(self) -> tuple[Attribute, Attribute]:
        for value in (self.x, self.w, self.r):
            require_rank(value, 3, 3)
        steps, batch, features = dims_of(self.x)
        hidden = self.hidden_size()
        directions = 2 if self.value("direction") == "bidirectional" else 1
        unify(dims_of(self.w)[0], directions, "directions of w")
        unify(dims_of(self.w)[1], self.GATES * hidden, "rows of w and gates * hidden")
        unify(dims_of(self.r)[1], self.GATES * hidden, "rows of r and gates * hidden")
        unify(dims_of(self.w)[2], features, "features of x and w")
        element = element_of(self.x)
        return (
            tensor_type((steps, directions, batch, hidden), element),
            tensor_type((directions, batch, hidden), element),
        )


@irdl_op_definition
class RnnOp(RecurrentOp):
    """Elman layer: `h[t] = f(x[t] w^T + h[t-1] r^T + bias)`.

    ```mlir
    %y, %h = nn.rnn %x, %w, %r, none, none, none {activations = ["Tanh"]}
        : (tensor<5x1x4xf32>, tensor<1x8x4xf32>, tensor<1x8x8xf32>)
        -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>)
    ```

    Source: ONNX RNN.
    """

    name = "nn.rnn"
    GATES: ClassVar[int] = 1

    y = result_def(TensorType)
    last_h = result_def(TensorType)

    def infer_result_types(self) -> Sequence[Attribute]:
        """All states, the last state."""
        return list(self._shapes())


@irdl_op_definition
class GruOp(RecurrentOp):
    """Gated recurrent unit; gates in the order z (update), r (reset), h (new).

    `h[t] = (1 - z) * new + z * h[t-1]`; the reset applies to h before the product with
    r, or after it if `linear_before_reset`.

    ```mlir
    %y, %h = nn.gru %x, %w, %r, none, none, none {activations = ["Sigmoid", "Tanh"]}
        : (tensor<5x1x4xf32>, tensor<1x24x4xf32>, tensor<1x24x8xf32>)
        -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>)
    ```

    Source: ONNX GRU; arXiv:1406.1078.
    """

    name = "nn.gru"
    GATES: ClassVar[int] = 3

    y = result_def(TensorType)
    last_h = result_def(TensorType)
    linear_before_reset = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """All states, the last state."""
        return list(self._shapes())


@irdl_op_definition
class LstmOp(RecurrentOp):
    """Long short-term memory; gates in the order i (input), o (output), f (forget), c.

    `c[t] = f * c[t-1] + i * new; h[t] = o * tanh(c[t])`, with peepholes
    `[directions, 3 * hidden]` for i, o, f if given; `input_forget` makes f `1 - i`.
    With `quantizes`, x as a whole and each h go through 8 bits in front of their
    products: unsigned steps between the least and the greatest element and 0.

    ```mlir
    %y, %h, %c = nn.lstm %x, %w, %r, none, none, none, none, none
        {activations = ["Sigmoid", "Tanh", "Tanh"]}
        : (tensor<5x1x4xf32>, tensor<1x32x4xf32>, tensor<1x32x8xf32>)
        -> (tensor<5x1x1x8xf32>, tensor<1x1x8xf32>, tensor<1x1x8xf32>)
    ```

    Source: ONNX LSTM; doi:10.1162/neco.1997.9.8.1735; with `quantizes`
    com.microsoft DynamicQuantizeLSTM.
    """

    name = "nn.lstm"
    GATES: ClassVar[int] = 4

    x = operand_def(TensorType)
    w = operand_def(TensorType)
    r = operand_def(TensorType)
    bias = opt_operand_def(TensorType)
    lengths = opt_operand_def(TensorType)
    initial_h = opt_operand_def(TensorType)
    initial_c = opt_operand_def(TensorType)
    peepholes = opt_operand_def(TensorType)
    y = result_def(TensorType)
    last_h = result_def(TensorType)
    last_c = result_def(TensorType)
    input_forget = param("bool", False)
    quantizes = param("bool", False)

    def infer_result_types(self) -> Sequence[Attribute]:
        """All states, the last state, the last cell."""
        y, state = self._shapes()
        return [y, state, state]
