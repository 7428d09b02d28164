"""Ops of the `com.microsoft` domain that onnxruntime's tools leave in models."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn, quant
from stepwell.dialects.shapes import dims_of
from stepwell.frontends.emit import like, rank_of, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.ops.recurrent import parameters
from stepwell.frontends.onnx.registry import Rule

DOMAIN = "com.microsoft"


def dynamic_quantize_lstm(node: Node) -> list[SSAValue]:
    """An LSTM with 8-bit weights, which are dequantized; activations go through 8 bits.

    So do its input as a whole, and its state at every step.
    """
    common = parameters(node, "LSTM")
    forget = bool(node.int("input_forget", 0))
    weights = [_weight(node, 1, 8), _weight(node, 2, 10)]
    op = nn.LstmOp(
        node.x(0),
        *weights,
        *(node.optional(index) for index in range(3, 8)),
        input_forget=forget,
        quantizes=True,
        **common,
    )
    return list(op.results)


def _weight(node: Node, index: int, scale: int) -> SSAValue:
    """A quantized weight `[directions, input, 4 * hidden]`, as the LSTM wants it."""
    x, by = node.x(index), node.x(scale)
    if rank_of(by) == 1:
        real = quant.DequantizeOp(x, by, node.optional(scale + 1), axis=0)
    else:
        by, zero = (_row(node.optional(i)) for i in (scale, scale + 1))
        rows = node.dims(index)[1]
        if by is None or not isinstance(rows, int):
            raise node.invalid("expected weights of a known shape with scales")
        real = quant.DequantizeOp(x, by, zero, axis=1, block_size=rows)
    return value(nn.TransposeOp(real, [0, 2, 1]))


def _row(x: SSAValue | None) -> SSAValue | None:
    if x is None:
        return None
    directions, *rest = dims_of(x)
    return value(nn.ReshapeOp(x, [directions, 1, *rest]))


def fused_matmul(node: Node) -> SSAValue:
    """`alpha * a' b'`, with the last two dims of either transposed."""
    a, b = (
        _swapped(node.x(index), node.int(name, 0))
        for index, name in ((0, "transA"), (1, "transB"))
    )
    product, alpha = value(nn.MatmulOp(a, b)), node.float("alpha", 1.0)
    if alpha == 1:
        return product
    return value(nn.MulOp(product, like(node, alpha, product)))


def _swapped(x: SSAValue, wanted: int) -> SSAValue:
    if not wanted:
        return x
    order = list(range(rank_of(x)))
    order[-2:] = reversed(order[-2:])
    return value(nn.TransposeOp(x, order))


def gelu(node: Node) -> Operation:
    """Exact."""
    return nn.GeluOp(node.x())


def bias_gelu(node: Node) -> Operation:
    """Exact, of the sum."""
    return nn.GeluOp(nn.AddOp(node.x(0), node.x(1)))


def fast_gelu(node: Node) -> Operation:
    """Approximated by tanh, of the sum if there is a bias."""
    x = nn.AddOp(node.x(0), node.x(1)) if node.has(1) else node.x(0)
    return nn.GeluOp(x, approximate="tanh")


RULES = (
    Rule("DynamicQuantizeLSTM", dynamic_quantize_lstm, domain=DOMAIN),
    Rule("FusedMatMul", fused_matmul, domain=DOMAIN),
    Rule("Gelu", gelu, domain=DOMAIN),
    Rule("BiasGelu", bias_gelu, domain=DOMAIN),
    Rule("FastGelu", fast_gelu, domain=DOMAIN),
)
