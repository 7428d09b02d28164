"""Pooling over windows and over everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.frontends.described import described
from stepwell.frontends.emit import like, value
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.ops.windows import window_pads
from stepwell.frontends.onnx.registry import Build, Rule


def window(node: Node) -> dict[str, Any]:
    """The parameters that all pooling ops share."""
    kernel = node.ints("kernel_shape")
    strides = node.ints("strides", [1] * len(kernel))
    dilations = node.ints("dilations", [1] * len(kernel))
    return {
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": window_pads(node, node.dims()[2:], kernel, strides, dilations),
        "ceil_mode": bool(node.int("ceil_mode", 0)),
    }


def max_pool(node: Node) -> Sequence[Operation]:
    """The maximum, and where it was if that is asked for."""
    x, parameters = node.x(), window(node)
    order = node.int("storage_order", 0)
    outputs: list[Operation] = [nn.MaxPoolOp(x, **parameters)]
    if len(node.outputs) > 1 and node.outputs[1]:
        outputs.append(nn.MaxPoolIndicesOp(x, storage_order=order, **parameters))
    return outputs


def average_pool(node: Node) -> Operation:
    """The mean over what lies inside, or over all of the window."""
    include = bool(node.int("count_include_pad", 0))
    return nn.AvgPoolOp(node.x(), count_include_pad=include, **window(node))


def lp_pool(node: Node) -> Operation:
    """The p-norm."""
    return nn.LpPoolOp(node.x(), p=node.int("p", 2), **window(node))


def over_all(kind: str) -> Build:
    """A reduction over the spatial dims, which stay as 1."""

    def build(node: Node) -> Operation:
        axes = range(2, node.rank())
        return nn.ReduceOp(node.x(), kind=kind, axes=axes, keepdims=True)

    return described(build, f"The {kind} over the spatial dims.")


def global_lp_pool(node: Node) -> SSAValue:
    """The p-norm over the spatial dims."""
    p, x = node.int("p", 2), value(nn.AbsOp(node.x()))
    axes = range(2, len(dims_of(x)))
    power = x if p == 1 else nn.PowOp(x, like(node, p, x))
    total = value(nn.ReduceOp(power, kind="sum", axes=axes, keepdims=True))
    return total if p == 1 else value(nn.PowOp(total, like(node, 1 / p, x)))


RULES = (
    Rule("MaxPool", max_pool),
    Rule("AveragePool", average_pool),
    Rule("LpPool", lp_pool, since=2),
    Rule("GlobalAveragePool", over_all("mean")),
    Rule("GlobalMaxPool", over_all("max")),
    Rule("GlobalLpPool", global_lp_pool, since=2),
)
