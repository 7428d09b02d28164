"""The schedule of a kernel on a GPU, by what kind of kernel it is."""

from __future__ import annotations

from stepwell.dialects.fusion import GenericOp, Iterator, KernelOp, ScanOp, SortOp
from stepwell.dialects.nn import AttentionOp
from stepwell.dialects.schedules import Schedule
from stepwell.dialects.shapes import Ranges
from stepwell.dialects.target import Target
from stepwell.errors import CompileError
from stepwell.lowering.tiling.product import product_of

from .schedule_attention import schedule_attention
from .schedule_contraction import is_mma, schedule_contraction
from .schedule_map import schedule_map
from .schedule_order import schedule_scan, schedule_sort
from .schedule_reduction import schedule_reduction


def schedule_kernel(kernel: KernelOp, target: Target, ranges: Ranges) -> Schedule:
    """The schedule of one kernel.

    Raises:
        CompileError: the region has none of the forms that kernels come in.
    """
    for op in kernel.block.ops:
        if isinstance(op, AttentionOp):
            return schedule_attention(op, target, ranges)
        if isinstance(op, ScanOp):
            return schedule_scan(op, ranges)
        if isinstance(op, SortOp):
            return schedule_sort(op, ranges)
    generics = [op for op in kernel.block.ops if isinstance(op, GenericOp)]
    if not generics:
        raise CompileError(
            f"kernel {kernel.kernel_name.data} has no anchor to schedule by",
            where=str(kernel.location),
        )
    product = product_of(generics[0])
    if product is not None and is_mma(product, ranges):
        return schedule_contraction(product, target, ranges)
    if not any(Iterator.REDUCTION in op.kinds for op in generics):
        return schedule_map(generics[0], ranges)
    return schedule_reduction(kernel, ranges)
