"""The `tile` dialect: what one program of a kernel's grid computes.

The upper half says *what*, the same for every device: `tile.func` with its grid, loads
and stores between views and tiles, and ops on whole tiles. The lower half says *how*:
layouts on the tiles, tiles in shared memory, rings, tensor maps, roles of warps, and
the products of tensor cores in the shapes of the hardware.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from stepwell.dialects.layouts import LayoutAttr

from .attrs import (
    BarrierKind,
    BarrierKindAttr,
    CombineKind,
    CombineKindAttr,
    Launch,
    LaunchAttr,
)
from .compute import DotOp, FullOp, IotaOp, MapOp, YieldOp
from .copy import (
    AsyncCommitOp,
    AsyncLoadOp,
    AsyncWaitOp,
    TmaLoadOp,
    TmaStoreOp,
    TmaStoreWaitOp,
)
from .device_types import (
    AccumulatorType,
    CursorType,
    RingType,
    SharedType,
    SlotType,
    StagingType,
)
from .folds import ArgReduceOp, ReduceOp, ScanOp, SortOp
from .function import (
    LAUNCH_ATTRIBUTE,
    OPTIONS_ATTRIBUTE,
    DimOp,
    FuncOp,
    ReturnOp,
)
from .memory import AccessOp, LoadOp, StoreOp, storage_type
from .rearrange import BroadcastOp, ExtractOp, ReshapeOp, TransposeOp
from .ring import (
    AcquireOp,
    AdvanceOp,
    CommitOp,
    CursorOp,
    ReleaseOp,
    RingOp,
    StageOp,
    StagingOp,
    WaitOp,
)
from .roles import (
    BarrierOp,
    ClusterRankOp,
    ClusterSyncOp,
    DependencyLaunchOp,
    DependencyWaitOp,
    ElectOp,
    NamedBarrierOp,
    RasterOp,
    RoleOp,
    SpecialiseOp,
)
from .shared import (
    ConvertLayoutOp,
    FenceAsyncOp,
    SharedAllocOp,
    SharedLoadOp,
    SharedSliceOp,
    SharedStoreOp,
    SharedTransposeOp,
)
from .tensor_core import AccumulatorOp, MmaOp, WgmmaOp, WgmmaWaitOp
from .tensor_map import TensorMapType, WindowAttr
from .types import TileType, ViewType, tile_of, view_of

UPPER_OPS = (
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
)
"""What is computed: the same for every device."""

LOWER_OPS = (
    ConvertLayoutOp,
    SharedAllocOp,
    SharedTransposeOp,
    SharedSliceOp,
    SharedLoadOp,
    SharedStoreOp,
    FenceAsyncOp,
    AsyncLoadOp,
    AsyncCommitOp,
    AsyncWaitOp,
    RingOp,
    CursorOp,
    AdvanceOp,
    AcquireOp,
    CommitOp,
    WaitOp,
    ReleaseOp,
    StagingOp,
    StageOp,
    TmaLoadOp,
    TmaStoreOp,
    TmaStoreWaitOp,
    AccumulatorOp,
    WgmmaOp,
    WgmmaWaitOp,
    MmaOp,
    SpecialiseOp,
    RoleOp,
    ElectOp,
    BarrierOp,
    NamedBarrierOp,
    ClusterRankOp,
    ClusterSyncOp,
    DependencyWaitOp,
    DependencyLaunchOp,
    RasterOp,
)
"""How a GPU computes it."""

Tile = Dialect(
    "tile",
    [*UPPER_OPS, *LOWER_OPS],
    [
        ViewType,
        TileType,
        CombineKindAttr,
        LayoutAttr,
        LaunchAttr,
        BarrierKindAttr,
        WindowAttr,
        SharedType,
        RingType,
        StagingType,
        SlotType,
        CursorType,
        TensorMapType,
        AccumulatorType,
    ],
)

__all__ = [
    "LAUNCH_ATTRIBUTE",
    "LOWER_OPS",
    "OPTIONS_ATTRIBUTE",
    "UPPER_OPS",
    "AccessOp",
    "AccumulatorOp",
    "AccumulatorType",
    "AcquireOp",
    "AdvanceOp",
    "ArgReduceOp",
    "AsyncCommitOp",
    "AsyncLoadOp",
    "AsyncWaitOp",
    "BarrierKind",
    "BarrierKindAttr",
    "BarrierOp",
    "BroadcastOp",
    "ClusterRankOp",
    "ClusterSyncOp",
    "CombineKind",
    "CombineKindAttr",
    "CommitOp",
    "ConvertLayoutOp",
    "CursorOp",
    "CursorType",
    "DependencyLaunchOp",
    "DependencyWaitOp",
    "DimOp",
    "DotOp",
    "ElectOp",
    "ExtractOp",
    "FenceAsyncOp",
    "FullOp",
    "FuncOp",
    "IotaOp",
    "Launch",
    "LaunchAttr",
    "LayoutAttr",
    "LoadOp",
    "MapOp",
    "MmaOp",
    "NamedBarrierOp",
    "RasterOp",
    "ReduceOp",
    "ReleaseOp",
    "ReshapeOp",
    "ReturnOp",
    "RingOp",
    "RingType",
    "RoleOp",
    "ScanOp",
    "SharedAllocOp",
    "SharedLoadOp",
    "SharedSliceOp",
    "SharedStoreOp",
    "SharedTransposeOp",
    "SharedType",
    "SlotType",
    "SortOp",
    "SpecialiseOp",
    "StageOp",
    "StagingOp",
    "StagingType",
    "StoreOp",
    "TensorMapType",
    "Tile",
    "TileType",
    "TmaLoadOp",
    "TmaStoreOp",
    "TmaStoreWaitOp",
    "TransposeOp",
    "ViewType",
    "WaitOp",
    "WgmmaOp",
    "WgmmaWaitOp",
    "WindowAttr",
    "YieldOp",
    "storage_type",
    "tile_of",
    "view_of",
]
