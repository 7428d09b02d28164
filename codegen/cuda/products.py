"""Rules of tensor core products."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float8E4M3FNType,
    Float8E5M2Type,
    Float16Type,
    Float32Type,
    IntegerType,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import nvvm, tile
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import WgmmaDescriptor

from .aggregates import fields, struct
from .kernel import Kernel, Shared, accumulator_struct
from .registers import Registers, scalars_of
from .shared_tiles import half_words

_TYPES: dict[Attribute, nvvm.MMAType] = {
    Float16Type(): nvvm.MMAType.F16,
    BFloat16Type(): nvvm.MMAType.BF16,
    Float32Type(): nvvm.MMAType.TF32,
    IntegerType(8): nvvm.MMAType.S8,
    Float8E4M3FNType(): nvvm.MMAType.E4M3,
    Float8E5M2Type(): nvvm.MMAType.E5M2,
}
_SUMS: dict[Attribute, nvvm.MMAType] = {
    Float32Type(): nvvm.MMAType.F32,
    Float16Type(): nvvm.MMAType.F16,
    IntegerType(32): nvvm.MMAType.S32,
}


def accumulator(k: Kernel, op: Operation) -> None:
    """Registers without a value, or those of a tile."""
    assert isinstance(op, tile.AccumulatorOp)
    kind = op.result.type
    assert isinstance(kind, tile.AccumulatorType)
    if op.initial is None:
        k.bind(op.result, k.b.poison(accumulator_struct(kind)))
        return
    held = k.values[op.initial]
    assert isinstance(held, Registers)
    k.bind(op.result, struct(k.b, scalars_of(k.b, held)))


def _descriptor(k: Kernel, pointer: SSAValue, known: WgmmaDescriptor) -> SSAValue:
    """The descriptor of an address: its 16-byte units, and what the layout says."""
    address = k.b.cast("ptrtoint", pointer, i64)
    units = k.b.binary("lshr", address, k.b.constant(4, i64))
    constant = known.constant
    constant -= (constant >> 63) << 64
    return k.b.binary("or", units, k.b.constant(constant, i64))


def _step(k: Kernel, descriptor: SSAValue, offset: int) -> SSAValue:
    if offset == 0:
        return descriptor
    return k.b.binary("add", descriptor, k.b.constant(offset >> 4, i64))


def _left(k: Kernel, op: tile.WgmmaOp, steps: int) -> list[list[SSAValue]]:
    """The left side of each k-step: a descriptor, or four registers."""
    known = k.values[op.lhs]
    if isinstance(known, Registers):
        words = half_words(k.b, known)
        return [words[4 * s : 4 * s + 4] for s in range(steps)]
    assert isinstance(known, Shared) and op.lhs_descriptor is not None
    base = _descriptor(k, known.pointer, op.lhs_descriptor)
    return [[_step(k, base, s)] for s in op.lhs_descriptor.k_steps]


def wgmma(k: Kernel, op: Operation) -> None:
    """A fence, a product for each k-step, and a commit."""
    assert isinstance(op, tile.WgmmaOp)
    kind, right = op.result.type, k.values[op.rhs]
    assert isinstance(kind, tile.AccumulatorType) and isinstance(right, Shared)
    element = right.kind.element_type
    types = (_TYPES[element], _TYPES[element], _SUMS[kind.element_type])
    shape = (64, kind.extents[1], 256 // bit_width(element))
    described = op.rhs_descriptor
    base = _descriptor(k, right.pointer, described)
    rights = [_step(k, base, s) for s in described.k_steps]
    lefts = _left(k, op, len(rights))
    layouts = _layouts(op, described)
    again = None if op.accumulate is None else k.scalar(op.accumulate)
    fresh = op.acc is None
    acc = k.b.poison(accumulator_struct(kind)) if op.acc is None else k.scalar(op.acc)
    k.nvvm(nvvm.WgmmaFenceAlignedOp())
    for number, (left, right_step) in enumerate(zip(lefts, rights, strict=True)):
        product = nvvm.WgmmaMmaAsyncOp(
            left,
            right_step,
            acc,
            shape,
            types,
            layouts=layouts,
            scale_d=again if number == 0 else None,
            zero=fresh and number == 0,
        )
        result = k.nvvm(product)
        assert result is not None
        acc = result
    k.nvvm(nvvm.WgmmaGroupSyncAlignedOp())
    k.bind(op.result, acc)


def _layouts(
    op: tile.WgmmaOp, right: WgmmaDescriptor
) -> tuple[nvvm.MMALayout, nvvm.MMALayout]:
    """Which operands are transposed: PTX counts k-major as the usual one."""
    row, col = nvvm.MMALayout.ROW, nvvm.MMALayout.COL
    left = op.lhs_descriptor
    left_usual = left is None or left.k_major
    return (row if left_usual else col), (col if right.k_major else row)


def wgmma_wait(k: Kernel, op: Operation) -> None:
    """Waits; the accumulators' registers are tiles behind it."""
    assert isinstance(op, tile.WgmmaWaitOp)
    waited = nvvm.WgmmaWaitGroupSyncOp(
        op.pending.value.data, [k.scalar(value) for value in op.accumulators]
    )
    k.b.block.add_op(waited)
    for result, done in zip(op.tiles, waited.done, strict=True):
        kind = result.type
        assert isinstance(kind, tile.TileType)
        k.bind(result, Registers(kind, tuple(fields(k.b, done))))


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.AccumulatorOp: accumulator,
    tile.WgmmaOp: wgmma,
    tile.WgmmaWaitOp: wgmma_wait,
}
"""The rules of this file."""
