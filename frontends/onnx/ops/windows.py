"""Paddings of sliding windows, from `pads` or `auto_pad`."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.dialects.shapes import Dim
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.windows import same_pads


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
    return same_pads(sizes, kernel, strides, dilations, extra_low=mode == "SAME_LOWER")
