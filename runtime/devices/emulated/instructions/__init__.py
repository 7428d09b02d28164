"""The instruction tables; importing this package registers all of them."""

from . import (
    arithmetic,
    barriers,
    compare,
    control,
    conversion,
    copies,
    logic,
    matrix,
    mbarrier,
    memory,
    special,
    warp,
    wgmma,
)

__all__ = [
    "arithmetic",
    "barriers",
    "compare",
    "control",
    "conversion",
    "copies",
    "logic",
    "matrix",
    "mbarrier",
    "memory",
    "special",
    "warp",
    "wgmma",
]
