"""Paddings of sliding windows, from `pads` or `auto_pad`."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.dialects.shapes import Dim, bounds, ceildiv, dim_max
from stepwell.frontends.onnx.node import Node


def window_pads(
    node: Node,
    sizes: Sequence[Dim],
    kernel: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[Dim]:
    """Low pads, then high pads, one of each per spatial dim."""
    mode = node.string("auto_pad", "NOTSET")
    pads = node.ints("pads", [0] * (2 * len(kernel)))
    if mode == "VALID":
        return [0] * (2 * len(kernel))
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        return list(pads)
    lows: list[Dim] = []
    highs: list[Dim] = []
    for size, extent, stride, dilation in zip(
        sizes, kernel, strides, dilations, strict=True
    ):
        reach = (extent - 1) * dilation + 1
        total = (ceildiv(size, stride) - 1) * stride + reach - size
        # ceildiv(size, stride) * stride >= size, so that total >= reach - stride.
        if bounds(reach - stride)[0] < 0:
            total = dim_max(total, 0)
        small, large = total // 2, total - total // 2
        is_upper = mode == "SAME_UPPER"
        lows.append(small if is_upper else large)
        highs.append(large if is_upper else small)
    return [*lows, *highs]
