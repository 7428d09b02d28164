"""The instruction tables; importing this package registers all of them."""

from . import (
    arithmetic,
    atomics,
    barriers,
    compare,
    control,
    conversion,
    copies,
    integers,
    logic,
    matrix,
    mbarrier,
    memory,
    special,
    video,
    warp,
    wgmma,
)

__all__ = [
    "arithmetic",
    "atomics",
    "barriers",
    "compare",
    "control",
    "conversion",
    "copies",
    "integers",
    "logic",
    "matrix",
    "mbarrier",
    "memory",
    "special",
    "video",
    "warp",
    "wgmma",
]
