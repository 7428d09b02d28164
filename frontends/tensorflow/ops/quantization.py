"""Simulated quantization, as training with it leaves it in a model."""

from __future__ import annotations

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn, quant
from stepwell.dialects.dtypes import element_type, f32
from stepwell.dialects.shapes import dims_of
from stepwell.frontends.emit import value
from stepwell.frontends.tensorflow.node import Array, Node
from stepwell.frontends.tensorflow.registry import Output, Rule


def fake_quant_by_attributes(node: Node) -> Output:
    """Within a range that is two attributes."""
    low, high = (np.float32(node.attribute(name)) for name in ("min", "max"))
    return fake_quant(node, np.asarray(low), np.asarray(high))


def fake_quant_by_inputs(node: Node) -> Output:
    """Within a range that is two inputs, or one range per channel."""
    low, high = (node.constant(i).astype(np.float32) for i in (1, 2))
    return fake_quant(node, low, high)


def fake_quant(node: Node, low: Array, high: Array) -> Operation:
    """Clamped to a range, rounded to its steps; the range is moved to hold a 0."""
    least = 1 if node.attribute("narrow_range") else 0
    most = 2 ** node.attribute("num_bits") - 1
    scale = (high - low) / np.float32(most - least)
    zero = np.clip(np.rint(least - low / scale), least, most).astype(np.float32)
    limits = [(least - zero) * scale, (most - zero) * scale]
    x = node.x(0)
    bounds = [node.builder.constant(each.astype(np.float32)) for each in limits]
    held = value(nn.MinimumOp(nn.MaximumOp(x, bounds[0]), bounds[1]))
    kind = np.dtype(np.uint8 if most < 256 else np.uint16)
    return steps_of(node, held, scale, zero.astype(kind))


def steps_of(node: Node, x: SSAValue, scale: Array, zero: Array) -> Operation:
    """`x` quantized, and back: per tensor, or along the last dim."""
    axis = len(dims_of(x)) - 1
    scales = node.builder.constant(scale.astype(np.float32))
    points = node.builder.constant(zero)
    stored = quant.QuantizeOp(x, scales, points, to=element_type(zero.dtype), axis=axis)
    return quant.DequantizeOp(value(stored), scales, points, axis=axis)


def quantize_and_dequantize(node: Node) -> Output:
    """Rounded to the steps of a symmetric range, or of one from 0."""
    is_signed = bool(node.attribute("signed_input"))
    bits = node.attribute("num_bits")
    if not node.attribute("range_given"):
        raise node.unsupported("quantization by the range of each input")
    if node.attribute("round_mode") != "HALF_TO_EVEN" or node.attribute("axis") != -1:
        raise node.unsupported("quantization per axis, or with halves rounded up")
    if bits > 16 or node.element_of() != f32:
        raise node.unsupported(f"quantization of {bits} bits")
    low, high = (float(node.constant(i).item()) for i in (1, 2))
    most = 2 ** (bits - 1) - 1 if is_signed else 2**bits - 1
    least = (
        0 if not is_signed else -most if node.attribute("narrow_range") else -most - 1
    )
    scale = max(
        low / least if least * low > 0 else 0.0, high / most if high > 0 else 0.0
    )
    if scale == 0:
        raise node.unsupported(f"quantization to the range from {low} to {high}")
    held = nn.ClampOp(node.x(0), min=least * scale, max=most * scale)
    kind = np.dtype(f"{'i' if is_signed else 'u'}{1 if bits <= 8 else 2}")
    return steps_of(node, value(held), np.array(scale), np.zeros((), kind))


RULES = (
    Rule("FakeQuantWithMinMaxArgs", fake_quant_by_attributes),
    Rule("FakeQuantWithMinMaxVars", fake_quant_by_inputs),
    Rule("FakeQuantWithMinMaxVarsPerChannel", fake_quant_by_inputs),
    Rule("QuantizeAndDequantizeV2", quantize_and_dequantize),
    Rule("QuantizeAndDequantizeV4", quantize_and_dequantize),
)
