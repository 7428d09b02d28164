"""Merge maps of a kernel that walk over one space into one map with several results.

A contraction's own result that the kernel yields is copied by the epilogue: only the
last map of a kernel writes memory.
"""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from stepwell.dialects.access import AccessMap
from stepwell.dialects.fusion import GenericOp, KernelOp, YieldOp
from stepwell.dialects.fusion.structured import Combine, Iterator

from .nest import Nest, is_map, structured_ops


def merge_siblings(kernel: KernelOp) -> None:
    """Merge the maps whose results the kernel yields."""
    if len(kernel.yielded) > 1:
        _copy_yielded_reductions(kernel)
    results = set(kernel.yielded)
    last: GenericOp | None = None
    for op in structured_ops(kernel):
        if not isinstance(op, GenericOp) or not is_map(op):
            continue
        if not results & set(op.results):
            continue
        is_sibling = last is not None and _may_merge(last, op)
        last = _merge(last, op) if last is not None and is_sibling else op


def _copy_yielded_reductions(kernel: KernelOp) -> None:
    terminator = kernel.block.last_op
    assert terminator is not None
    for position, value in enumerate(kernel.yielded):
        producer = value.owner
        if not isinstance(producer, GenericOp) or is_map(producer):
            continue
        if not any(use.operation is not terminator for use in value.uses):
            continue
        copy = _copy_of(producer, terminator)
        terminator.operands[position] = copy.results[0]


def _copy_of(producer: GenericOp, before: Operation) -> GenericOp:
    space = [entry for entry in producer.space if entry[2] is Iterator.PARALLEL]
    names = tuple(name for name, _, _ in space)
    access = AccessMap(names, producer.out_maps[0].results)
    result = producer.results[0]
    copy = GenericOp(space, [result], [access], [access], [result.type], [Combine.SET])
    copy.block.add_op(YieldOp(copy.block.args[0]))
    copy.location = producer.location
    block = before.parent
    assert block is not None
    block.insert_op_before(copy, before)
    return copy


def _may_merge(first: GenericOp, second: GenericOp) -> bool:
    """Whether both walk over the same dims and no op between them reads the first."""
    if first.space != second.space:
        return False
    if any(use.operation is second for r in first.results for use in r.uses):
        return False
    between = first.next_op
    while between is not None and between is not second:
        if any(operand in first.results for operand in between.operands):
            return False
        between = between.next_op
    return True


def _merge(first: GenericOp, second: GenericOp) -> GenericOp:
    """`second` with the code and the results of `first` before its own."""
    nest = Nest.of(second)
    base = len(nest.inputs)
    scalars: dict[SSAValue, SSAValue] = {}
    for value, access, argument in zip(
        first.inputs, first.in_maps, first.block.args, strict=True
    ):
        moved = access.shift_operands(lambda k: base + k)
        scalars[argument] = nest.add_input(value, moved)
    start = nest.block.first_op
    for op in first.block.ops:
        if op is not first.block.last_op:
            assert start is not None
            copy = op.clone(scalars)
            copy.location = op.location
            nest.block.insert_op_before(copy, start)
    old = nest.block.last_op
    assert old is not None
    values = [*(scalars.get(v, v) for v in first.yielded), *second.yielded]
    nest.block.add_op(YieldOp(*values))
    old.detach()
    old.erase()
    nest.out_maps = [
        *(m.shift_operands(lambda k: base + k) for m in first.out_maps),
        *nest.out_maps,
    ]
    nest.types = [*first.outputs.types, *nest.types]
    nest.combines = [*first.combines, *nest.combines]
    nest.results = [*first.results, *nest.results]
    nest.prune()
    merged = nest.build()
    first.detach()
    first.erase()
    assert isinstance(merged, GenericOp)
    return merged
