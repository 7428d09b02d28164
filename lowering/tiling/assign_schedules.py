"""Give each kernel its schedule, from the target and a cost model.

Input invariant: kernels in the forms that `fuse-generics` leaves. A schedule that is
already there stays: a person may have written it.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.dialects.fusion import GenericOp, Iterator, KernelOp, ScanOp, SortOp
from stepwell.dialects.nn import AttentionOp
from stepwell.dialects.schedules import Schedule, ScheduleAttr
from stepwell.dialects.shapes import Ranges
from stepwell.dialects.target import Target
from stepwell.errors import CompileError

from . import gpu
from .estimate import tuned_ranges
from .gpu.schedule_hopper import schedule_hopper
from .product import product_of
from .schedule_attention import schedule_attention
from .schedule_contraction import is_dot, schedule_contraction
from .schedule_map import schedule_map
from .schedule_order import schedule_scan, schedule_sort
from .schedule_reduction import schedule_reduction


def schedule_kernel(kernel: KernelOp, target: Target, ranges: Ranges) -> Schedule:
    """The schedule of one kernel.

    GPUs have cost models of their own in `gpu/`.

    Raises:
        CompileError: the region has none of the forms that kernels come in.
    """
    if not target.is_cpu:
        return gpu.schedule_kernel(kernel, target, ranges)
    for op in kernel.block.ops:
        if isinstance(op, AttentionOp):
            return schedule_attention(op, target, ranges)
        if isinstance(op, ScanOp):
            return schedule_scan(op, target, ranges)
        if isinstance(op, SortOp):
            return schedule_sort(op, target, ranges)
    generics = [op for op in kernel.block.ops if isinstance(op, GenericOp)]
    if not generics:
        raise CompileError(
            f"kernel {kernel.kernel_name.data} has no anchor to schedule by",
            where=str(kernel.location),
        )
    first = generics[0]
    product = product_of(first)
    if product is not None and is_dot(product, ranges):
        return schedule_contraction(product, target, ranges)
    if not any(Iterator.REDUCTION in op.kinds for op in generics):
        return schedule_map(first, target, ranges)
    return schedule_reduction(kernel, target, ranges)


@dataclass(frozen=True)
class AssignSchedulesPass(ModulePass):
    """Schedule all kernels of a module.

    Products that fit get tiles for `specialise-warps` on `sm_90a`; without `wgmma`, for
    `mma.sync`.
    """

    name = "assign-schedules"

    wgmma: bool = True

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Set the `schedule` of each kernel that has none."""
        target, ranges = Target.of(op), tuned_ranges(op)
        for kernel in [one for one in op.walk() if isinstance(one, KernelOp)]:
            if kernel.schedule is not None:
                continue
            schedule = None
            if self.wgmma and target.has_wgmma:
                schedule = schedule_hopper(kernel, ranges)
            if schedule is None:
                schedule = schedule_kernel(kernel, target, ranges)
            kernel.schedule = ScheduleAttr(schedule)
