"""Rules about the shapes and layouts of tiles that many ops share."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    NoneAttr,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.layouts import LayoutAttr

from .assembly import (
    expect,
)
from .types import TileType


def expect_dim(dim: int, tile: TileType) -> None:
    """The tile has a dim `dim`."""
    rank = len(tile.extents)
    expect(0 <= dim < rank, f"expected a dim in [0, {rank}), got {dim}")


def reduced_type(tile: TileType, dim: int) -> TileType:
    """The tile type with extent 1 in `dim`; a layout is sliced."""
    extents = [1 if d == dim else n for d, n in enumerate(tile.extents)]
    layout = tile.layout
    if isinstance(layout, LayoutAttr):
        layout = LayoutAttr(layout.data.slice(dim))
    return TileType(extents, tile.element_type, layout)


def broadcast_layout(source: TileType, result: TileType) -> Attribute:
    """The layout `source` needs so that each thread holds what it repeats."""
    if not isinstance(result.layout, LayoutAttr):
        return NoneAttr()
    layout = result.layout.data
    for dim, (got, extent) in enumerate(
        zip(source.extents, result.extents, strict=True)
    ):
        if got == 1 and extent != 1:
            layout = layout.slice(dim)
    return LayoutAttr(layout)


def expect_layout(got: TileType, expected: Attribute) -> None:
    """The tile has the layout, or none."""
    if got.layout == expected:
        return  # layouts are long to print
    if isinstance(expected, NoneAttr):
        raise VerifyException(f"expected a tile without layout, got {got}")
    raise VerifyException(f"expected the layout {expected}, got {got.layout}")


def permuted(tile: TileType, perm: Sequence[int]) -> TileType:
    """The tile type whose dim `d` is the old dim `perm[d]`."""
    layout = tile.layout
    if isinstance(layout, LayoutAttr):
        layout = LayoutAttr(layout.data.permute(perm))
    return TileType([tile.extents[p] for p in perm], tile.element_type, layout)


def expect_same_element(source: TileType, result: TileType) -> None:
    """Both tiles have one element type."""
    expected, got = source.element_type, result.element_type
    if expected != got:
        raise VerifyException(f"expected elements of type {expected}, got {got}")


def expect_type(value: SSAValue, expected: TileType) -> None:
    """The value has the type."""
    if value.type != expected:
        raise VerifyException(f"expected a result of type {expected}, got {value.type}")
