"""What the tensor core and the copy engine must be told about a tile in shared memory.

Descriptors, strides and swizzle modes are read off the layout, never written by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from .hardware import swizzled
from .tiled import TileLayout

_SPANS = (128, 64, 32, 16)
_SWIZZLE_CODES = {128: 1, 64: 2, 32: 3, 16: 0}


def swizzle_span(layout: TileLayout, bits: int) -> tuple[int, int] | None:
    """The bytes of a swizzled row and the contiguous dim; None for other layouts."""
    for dim in (1, 0):
        seen = layout if dim == 1 else _flip(layout)
        for span in _SPANS:
            width = span * 8 // bits
            if seen.base == swizzled(8, width, bits, span).base:
                return span, dim
    return None


def _flip(layout: TileLayout) -> TileLayout:
    """The layout of the transposed tile."""
    return layout.permute([1, 0])


@dataclass(frozen=True)
class WgmmaDescriptor:
    """A matrix descriptor of `wgmma` but for its address, and how to step along.

    PTX ISA, "Asynchronous warpgroup level matrix shared memory layout".

    Attributes:
        constant: all bits but the address.
        k_major: whether the contiguous dim is k; else the transpose bit is set.
        k_steps: bytes to add for each k-step of the instruction.
        block_step: bytes from one block of 64 rows (A) or N columns (B) to the next.
    """

    constant: int
    k_major: bool
    k_steps: tuple[int, ...]
    block_step: int


def wgmma_descriptor(
    layout: TileLayout, bits: int, k_dim: int, depth: int, block: int
) -> WgmmaDescriptor:
    """The descriptor of an operand tile.

    Args:
        layout: of the memory; the tile may be a part of it.
        bits: of an element.
        k_dim: 1 for A as (m, k), 0 for B as (k, n).
        depth: extent of the tile along k.
        block: extent along the other dim of one instruction.

    Raises:
        ValueError: the hardware cannot read this layout.
    """
    found = swizzle_span(layout, bits)
    if found is None:
        raise ValueError("wgmma reads only layouts swizzled by 128, 64, 32 or 16 bytes")
    span, contiguous = found
    size, width = bits // 8, span * 8 // bits

    def at(k: int = 0, other: int = 0) -> int:
        place = (other, k) if k_dim == 1 else (k, other)
        limits = zip(place, layout.extents, strict=True)
        inside = all(p < n for p, n in limits)
        return int(layout.offset_of(place)) * size if inside else 0

    k_major = contiguous == k_dim
    step = 256 // bits
    if not k_major and bits != 16:
        raise ValueError(f"wgmma needs {bits}-bit operands with k contiguous")
    if depth % step:
        raise ValueError(f"expected a multiple of {step} elements along k, got {depth}")
    if k_major:
        stride, leading = at(other=8), at(k=128 // bits) if span == 16 else 16
    else:
        stride, leading = at(k=8), at(other=width) or 16
    constant = _SWIZZLE_CODES[span] << 62 | _field(stride) << 32 | _field(leading) << 16
    steps = tuple(at(k=k) for k in range(0, depth, step))
    return WgmmaDescriptor(constant, k_major, steps, at(other=block))


def _field(stride: int) -> int:
    if stride % 16 or stride >> 4 >= 1 << 14:
        raise ValueError(f"a stride of {stride} bytes does not fit a wgmma descriptor")
    return stride >> 4


@dataclass(frozen=True)
class CopyBox:
    """How TMA copies a tile: boxes of `extents`, one after another.

    Attributes:
        swizzle: the span in bytes, 16 for none.
        extents: of one box, contiguous dim last.
        count: number of boxes along each dim of the tile.
        bytes: of one box.
    """

    swizzle: int
    extents: tuple[int, ...]
    count: tuple[int, ...]
    bytes: int


def copy_box(layout: TileLayout, bits: int, extents: tuple[int, int]) -> CopyBox:
    """The boxes of a tile (rows, columns), columns contiguous in global memory.

    Raises:
        ValueError: TMA cannot write this layout.
    """
    found = swizzle_span(layout, bits)
    if found is None or found[1] != 1:
        raise ValueError(
            "TMA writes only row-major layouts swizzled by 128, 64, 32 or 16 bytes"
        )
    width = layout.base_extents[1]
    rows = extents[0]
    if (
        rows % 8
        or extents[1] % width
        or (extents[1] // width > 1 and (rows != layout.extents[0]))
    ):
        raise ValueError(f"{list(extents)} is not made of whole 8x{width} blocks")
    box = next(n for n in range(min(rows, 256), 0, -1) if rows % n == 0 and n % 8 == 0)
    return CopyBox(
        found[0],
        (box, width),
        (rows // box, extents[1] // width),
        box * width * bits // 8,
    )
