"""The `tile` dialect: what one program of a kernel's grid computes.

The upper half says *what*, the same for every device: `tile.func` with its grid, loads
and stores between views and tiles, and ops on whole tiles.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from stepwell.dialects.layouts import LayoutAttr

from .attrs import CombineKind, CombineKindAttr
from .compute import (
    ArgReduceOp,
    BroadcastOp,
    DotOp,
    ExtractOp,
    FullOp,
    IotaOp,
    MapOp,
    ReduceOp,
    ReshapeOp,
    ScanOp,
    SortOp,
    TransposeOp,
    YieldOp,
)
from .function import DimOp, FuncOp, ReturnOp
from .memory import AccessOp, LoadOp, StoreOp, storage_type
from .types import TileType, ViewType, tile_of, view_of

Tile = Dialect(
    "tile",
    [
        FuncOp,
        ReturnOp,
        DimOp,
        AccessOp,
        LoadOp,
        StoreOp,
        FullOp,
        IotaOp,
        MapOp,
        YieldOp,
        DotOp,
        ReduceOp,
        ArgReduceOp,
        ScanOp,
        SortOp,
        TransposeOp,
        BroadcastOp,
        ReshapeOp,
        ExtractOp,
    ],
    [ViewType, TileType, CombineKindAttr, LayoutAttr],
)

__all__ = [
    "AccessOp",
    "ArgReduceOp",
    "BroadcastOp",
    "CombineKind",
    "CombineKindAttr",
    "DimOp",
    "DotOp",
    "ExtractOp",
    "FullOp",
    "FuncOp",
    "IotaOp",
    "LoadOp",
    "MapOp",
    "ReduceOp",
    "ReshapeOp",
    "ReturnOp",
    "ScanOp",
    "SortOp",
    "StoreOp",
    "Tile",
    "TileType",
    "TransposeOp",
    "ViewType",
    "YieldOp",
    "storage_type",
    "tile_of",
    "view_of",
]
