"""Quantized tensors: conversion to and from them, and integer layers with scales."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nn, quant
from stepwell.dialects.dtypes import f32, is_float, ui8
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.frontends.emit import cast, rank_of, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.ops.windows import window_pads
from stepwell.frontends.onnx.registry import Rule


def quantize_linear(node: Node) -> Operation:
    """`saturate(round(x / scale) + zero_point)`."""
    x, (scale, zero_point) = node.x(0), _scales(node)
    if not is_float(element_of(x)):
        x = cast(x, element_of(scale))
    node.int("precision", 0)
    to = _output_type(node) or ui8
    if node.has(2):
        to = node.element_of(2)
    return quant.QuantizeOp(
        x,
        scale,
        zero_point,
        to=to,
        axis=_axis(node),
        block_size=node.int("block_size", 0),
        saturate=bool(node.int("saturate", 1)),
    )


def dequantize_linear(node: Node) -> SSAValue:
    """`(x - zero_point) * scale`."""
    y = quant.DequantizeOp(
        node.x(0),
        *_scales(node),
        axis=_axis(node),
        block_size=node.int("block_size", 0),
    )
    return cast(value(y), _output_type(node) or node.element_of(1))


def _scales(node: Node) -> tuple[SSAValue, SSAValue | None]:
    """Scale and zero point; of one element they are scalars."""
    given = [node.x(1), node.optional(2)]
    is_blocked = bool(node.int("block_size", 0))
    scale, zero_point = (
        value(nn.ReshapeOp(x, []))
        if x is not None and not is_blocked and dims_of(x) == (1,)
        else x
        for x in given
    )
    assert scale is not None
    return scale, zero_point


def _axis(node: Node) -> int:
    axis = node.int("axis", 1)
    return axis if -node.rank() <= axis < node.rank() else 0


def _output_type(node: Node) -> Attribute | None:
    return node.element("output_dtype") if node.int("output_dtype", 0) else None


def dynamic_quantize_linear(node: Node) -> Sequence[SSAValue]:
    """To 8 bits by the range of the data."""
    return quant.DynamicQuantizeOp(node.x()).results


def matmul_integer(node: Node) -> Operation:
    """The product of 8-bit matrices, less their zero points, in `i32`."""
    return quant.MatmulIntegerOp(*(node.optional(i) for i in range(4)))


def conv_integer(node: Node) -> Operation:
    """The convolution of 8-bit tensors, less their zero points, in `i32`."""
    inputs = (node.x(0), node.x(1), node.optional(2), node.optional(3))
    return _convolve(node, *inputs)


def _convolve(
    node: Node,
    x: SSAValue,
    w: SSAValue,
    x_zero: SSAValue | None,
    w_zero: SSAValue | None,
) -> Operation:
    spatial = rank_of(x) - 2
    strides = node.ints("strides", [1] * spatial)
    dilations = node.ints("dilations", [1] * spatial)
    kernel = dims_of(w)[2:]
    node.ints("kernel_shape", None)
    return quant.ConvIntegerOp(
        x,
        w,
        x_zero,
        w_zero,
        strides=strides,
        pads=window_pads(node, dims_of(x)[2:], kernel, strides, dilations),
        dilations=dilations,
        groups=node.int("group", 1),
    )


def qlinear_matmul(node: Node) -> Operation:
    """An integer product, rescaled and quantized again."""
    product = quant.MatmulIntegerOp(node.x(0), node.x(3), node.x(2), node.x(5))
    a_scale, b_scale = cast(node.x(1), f32), cast(node.x(4), f32)
    if rank_of(a_scale) == 1 and dims_of(a_scale) != (1,):
        a_scale = value(nn.ReshapeOp(a_scale, [*dims_of(a_scale), 1]))
    real = nn.MulOp(cast(value(product), f32), nn.MulOp(a_scale, b_scale))
    y_scale, y_zero = cast(node.x(6), f32), node.x(7)
    axis = max(rank_of(value(real)) - 2, 0)
    return quant.QuantizeOp(real, y_scale, y_zero, to=element_of(y_zero), axis=axis)


def qlinear_conv(node: Node) -> Operation:
    """An integer convolution, with bias, rescaled and quantized again."""
    total = _convolve(node, node.x(0), node.x(3), node.x(2), node.x(5))
    column = [1] * (node.rank(0) - 2)
    if node.has(8):
        bias = nn.ReshapeOp(node.x(8), [*node.dims(8), *column])
        total = nn.AddOp(total, bias)
    w_scale = node.x(4)
    if rank_of(w_scale) == 1:
        w_scale = value(nn.ReshapeOp(w_scale, [*dims_of(w_scale), *column]))
    x_scale = value(nn.ReshapeOp(node.x(1), []))
    real = nn.MulOp(cast(value(total), f32), nn.MulOp(x_scale, w_scale))
    y_zero = node.x(7)
    return quant.QuantizeOp(real, node.x(6), y_zero, to=element_of(y_zero))


RULES = (
    Rule("QuantizeLinear", quantize_linear),
    Rule("DequantizeLinear", dequantize_linear),
    Rule("DynamicQuantizeLinear", dynamic_quantize_linear),
    Rule("MatMulInteger", matmul_integer),
    Rule("ConvInteger", conv_integer),
    Rule("QLinearMatMul", qlinear_matmul),
    Rule("QLinearConv", qlinear_conv),
)
