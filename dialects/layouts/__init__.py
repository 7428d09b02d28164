"""Layouts of tiles, as linear algebra over F2 times an integer repeat.

* `linear`: `LinearLayout`, with composition, inverse, product and division.
* `tiled`: `TileLayout`, a linear base times a repeat per dim.
* `hardware`: the layouts that instructions dictate, and blocked ones.
* `conversion`: how to get from one layout to another; bank conflicts.
* `shared`: descriptors and copy boxes, derived from layouts of shared memory.
* `attribute`: `#tile.layout`.
"""

from __future__ import annotations

from .attribute import LayoutAttr
from .conversion import (
    Conversion,
    MatrixAccess,
    bank_conflicts,
    classify,
    matrix_access,
    register_sources,
    vector_width,
)
from .hardware import (
    blocked,
    matrix_8x8,
    mma_a,
    mma_b,
    mma_c,
    mma_on_warps,
    on_warps,
    replicated,
    row_major,
    swizzled,
    vector_pieces,
    wgmma_a,
    wgmma_accumulator,
)
from .linear import LinearLayout
from .shared import (
    CopyBox,
    WgmmaDescriptor,
    copy_box,
    swizzle_span,
    wgmma_descriptor,
)
from .tiled import BLOCK, LANE, OFFSET, REGISTER, WARP, TileLayout

__all__ = [
    "BLOCK",
    "LANE",
    "OFFSET",
    "REGISTER",
    "WARP",
    "Conversion",
    "CopyBox",
    "LayoutAttr",
    "LinearLayout",
    "MatrixAccess",
    "TileLayout",
    "WgmmaDescriptor",
    "bank_conflicts",
    "blocked",
    "classify",
    "copy_box",
    "matrix_8x8",
    "matrix_access",
    "mma_a",
    "mma_b",
    "mma_c",
    "mma_on_warps",
    "on_warps",
    "register_sources",
    "replicated",
    "row_major",
    "swizzle_span",
    "swizzled",
    "vector_pieces",
    "vector_width",
    "wgmma_a",
    "wgmma_accumulator",
    "wgmma_descriptor",
]
