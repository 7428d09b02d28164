"""Pooling over windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Operation

from stepwell.dialects import nn
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.ops.contraction import (
    is_channels_last,
    spatial,
    spatial_dims,
    window_pads,
)
from stepwell.frontends.tensorflow.registry import Rule


def window(node: Node) -> dict[str, Any]:
    """The parameters that all pooling ops share."""
    kernel, strides = spatial(node, "ksize"), spatial(node, "strides")
    return placed(node, kernel, strides)


def placed(node: Node, kernel: Sequence[int], strides: Sequence[int]) -> dict[str, Any]:
    """Kernel and strides, and the pads they need."""
    sizes = spatial_dims(node, node.dims())
    return {
        "kernel": kernel,
        "strides": strides,
        "pads": window_pads(node, sizes, kernel, strides, [1] * len(kernel)),
        "channels_last": is_channels_last(node),
    }


def max_pool(node: Node) -> Operation:
    """The maximum of each window."""
    return nn.MaxPoolOp(node.x(), **window(node))


def max_pool_v2(node: Node) -> Operation:
    """The maximum of each window, whose sizes are inputs."""
    windows: list[list[int]] = []
    for index in (1, 2):
        given = [int(each) for each in node.constant(index).tolist()]
        windows.append(given[1:-1] if is_channels_last(node) else given[2:])
    return nn.MaxPoolOp(node.x(), **placed(node, *windows))


def average_pool(node: Node) -> Operation:
    """The mean of what lies inside of each window."""
    return nn.AvgPoolOp(node.x(), **window(node))


RULES = (
    Rule("MaxPool", max_pool),
    Rule("MaxPoolV2", max_pool_v2),
    Rule("MaxPool3D", max_pool),
    Rule("AvgPool", average_pool),
    Rule("AvgPool3D", average_pool),
)
