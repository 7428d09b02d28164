"""Which results of a kernel may lie over which of its operands."""

from __future__ import annotations

from xdsl.ir import SSAValue

from stepwell.dialects.fusion import GenericOp, Iterator, KernelOp, StructuredOp
from stepwell.dialects.schedules import Anchor, ScheduleAttr


def in_place_pairs(kernel: KernelOp) -> list[tuple[int, int]]:
    """(result, operand) pairs that the kernel touches at the same index only.

    The kernel is a single map; it reads the operand once, through the map that it
    writes the result through. Its tiles are disjoint and read before they are written:
    so the result may take the operand's memory.
    """
    ops = [op for op in kernel.block.ops if isinstance(op, StructuredOp)]
    schedule = kernel.schedule
    is_map = isinstance(schedule, ScheduleAttr) and schedule.data.anchor is Anchor.MAP
    if len(ops) != 1 or not is_map or kernel.tied:
        return []
    (op,) = ops
    if not isinstance(op, GenericOp) or op.dests:
        return []
    if set(op.dims_of_kind(Iterator.PARALLEL)) != set(op.extents):
        return []
    return [
        (result, operand)
        for result, value in enumerate(kernel.yielded)
        for operand in range(len(kernel.inputs))
        if _touch_the_same(kernel, op, value, operand)
    ]


def _touch_the_same(
    kernel: KernelOp, op: GenericOp, value: SSAValue, operand: int
) -> bool:
    argument = kernel.block.args[operand]
    outputs = [number for number, one in enumerate(op.outputs) if one is value]
    if list(op.inputs).count(argument) != 1 or not outputs:
        return False
    if list(kernel.inputs).count(kernel.inputs[operand]) != 1:
        return False
    if any(use.operation is not op for use in argument.uses):
        return False
    if argument.type != value.type:
        return False
    read = op.in_maps[list(op.inputs).index(argument)]
    written = op.out_maps[outputs[0]]
    return read == written and not read.indirects and not read.guards
