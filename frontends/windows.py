"""Paddings of sliding windows that keep the size, as `SAME` asks for."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.dialects.shapes import Dim, bounds, ceildiv, dim_max


def same_pads(
    sizes: Sequence[Dim],
    kernel: Sequence[Dim],
    strides: Sequence[int],
    dilations: Sequence[int],
    extra_low: bool = False,
) -> list[Dim]:
    """Low pads, then high pads, so that there is a window per `stride` elements.

    An odd element goes to the high end, or to the low one with `extra_low`.
    """
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
        lows.append(large if extra_low else small)
        highs.append(small if extra_low else large)
    return [*lows, *highs]
