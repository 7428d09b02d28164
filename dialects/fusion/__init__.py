"""The `fusion` dialect: kernels as regions, and loops as data.

The upper half is `fusion.kernel`, a region of `nn` ops that will be exactly one launch.
The lower half replaces each `nn` op in it by structured ops: `fusion.generic` (named
iteration dims, one access map per operand, a scalar body), `fusion.scan` and
`fusion.sort`.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from stepwell.dialects.access import AccessAttr
from stepwell.dialects.schedules import ScheduleAttr

from .insert import InsertOp
from .kernel import KernelOp, YieldOp
from .scalar import DimOp, IndexOp
from .structured import Combine, GenericOp, Iterator, ScanOp, SortOp, StructuredOp

Fusion = Dialect(
    "fusion",
    [KernelOp, YieldOp, InsertOp, GenericOp, ScanOp, SortOp, IndexOp, DimOp],
    [AccessAttr, ScheduleAttr],
)

__all__ = [
    "AccessAttr",
    "Combine",
    "DimOp",
    "Fusion",
    "GenericOp",
    "IndexOp",
    "InsertOp",
    "Iterator",
    "KernelOp",
    "ScanOp",
    "ScheduleAttr",
    "SortOp",
    "StructuredOp",
    "YieldOp",
]
