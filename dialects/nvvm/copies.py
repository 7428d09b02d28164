"""Asynchronous copies: `cp.async`, and bulk copies by tensor map (TMA)."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, IntegerType, UnitAttr, i16, i32, i64
from xdsl.dialects.llvm import LLVMPointerType
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect
from xdsl.utils.exceptions import VerifyException

from .attrs import LoadCacheModifier, LoadCacheModifierAttr
from .synchronisation import EffectOp

_COPIES = traits_def(MemoryReadEffect(), MemoryWriteEffect())


@irdl_op_definition
class CpAsyncOp(IRDLOperation):
    """Copies 4, 8 or 16 bytes from global to shared memory. PTX ISA: "cp.async".

    With `cpSize` only so many bytes are read and the rest is zero.

    ```mlir
    nvvm.cp.async.shared.global %dst, %src, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
    ```
    """

    name = "nvvm.cp.async.shared.global"

    dst = operand_def(LLVMPointerType)
    src = operand_def(LLVMPointerType)
    size = prop_def(IntegerAttr[IntegerType].constr(i32))
    modifier = prop_def(LoadCacheModifierAttr)
    cpSize = opt_operand_def(i32)

    traits = _COPIES
    assembly_format = (
        "$dst `,` $src `,` $size `,` `cache` `=` $modifier (`,` $cpSize^)? attr-dict "
        "`:` type($dst) `,` type($src) (`,` type($cpSize)^)?"
    )

    def __init__(
        self,
        dst: SSAValue,
        src: SSAValue,
        size: int,
        modifier: LoadCacheModifier | str = "cg",
        read: SSAValue | None = None,
    ):
        super().__init__(
            operands=[dst, src, read],
            properties={
                "size": IntegerAttr(size, i32),
                "modifier": LoadCacheModifierAttr(LoadCacheModifier(modifier)),
            },
        )

    def verify_(self) -> None:
        size, modifier = self.size.value.data, self.modifier.data
        allowed = (16,) if modifier is LoadCacheModifier.CG else (4, 8, 16)
        if size not in allowed:
            raise VerifyException(
                f"cp.async through {modifier} copies {' or '.join(map(str, allowed))} "
                f"bytes, got {size}"
            )


@irdl_op_definition
class CpAsyncCommitGroupOp(EffectOp):
    """Ends a group of copies of this thread. PTX ISA: "cp.async.commit_group"."""

    name = "nvvm.cp.async.commit.group"


@irdl_op_definition
class CpAsyncWaitGroupOp(IRDLOperation):
    """Waits until at most `n` groups are pending. PTX ISA: "cp.async.wait_group"."""

    name = "nvvm.cp.async.wait.group"

    n = prop_def(IntegerAttr[IntegerType].constr(i32))

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$n attr-dict"

    def __init__(self, n: int):
        super().__init__(properties={"n": IntegerAttr(n, i32)})


@irdl_op_definition
class PrefetchTensorMapOp(IRDLOperation):
    """Brings a tensor map into the cache. PTX ISA: "prefetch.tensormap".

    ```mlir
    nvvm.prefetch.tensormap %map : !llvm.ptr
    ```
    """

    name = "nvvm.prefetch.tensormap"

    tmaDescriptor = operand_def(LLVMPointerType)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$tmaDescriptor attr-dict `:` type($tmaDescriptor)"

    def __init__(self, descriptor: SSAValue):
        super().__init__(operands=[descriptor])


@irdl_op_definition
class BulkTensorLoadOp(IRDLOperation):
    """Copies a box of a tensor into shared memory and signals a barrier.

    Coordinates have the innermost dim first. With offsets, the map is an im2col one;
    with a mask, the blocks of the cluster named in it all get the box.
    PTX ISA: "cp.async.bulk.tensor".

    ```mlir
    nvvm.cp.async.bulk.tensor.shared.cluster.global %dst, %map, %bar, box[%c0, %c1]
        im2col[%o0, %o1] multicast_mask = %mask l2_cache_hint = %hint
        : !llvm.ptr<7>, !llvm.ptr
    ```
    """

    name = "nvvm.cp.async.bulk.tensor.shared.cluster.global"

    dstMem = operand_def(LLVMPointerType)
    tmaDescriptor = operand_def(LLVMPointerType)
    mbar = operand_def(LLVMPointerType)
    coordinates = var_operand_def(i32)
    im2colOffsets = var_operand_def(i16)
    multicastMask = opt_operand_def(i16)
    l2CacheHint = opt_operand_def(i64)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = _COPIES
    assembly_format = (
        "$dstMem `,` $tmaDescriptor `,` $mbar `,` `box` `[` $coordinates `]` "
        "(`im2col` `[` $im2colOffsets^ `]`)? "
        "(`multicast_mask` `=` $multicastMask^)? (`l2_cache_hint` `=` $l2CacheHint^)? "
        "attr-dict `:` type($dstMem) `,` type($tmaDescriptor) `,` type($mbar)"
    )

    def __init__(
        self,
        dst: SSAValue,
        descriptor: SSAValue,
        barrier: SSAValue,
        coordinates: Sequence[SSAValue],
        *,
        offsets: Sequence[SSAValue] = (),
        mask: SSAValue | None = None,
        hint: SSAValue | None = None,
    ):
        super().__init__(
            operands=[dst, descriptor, barrier, coordinates, offsets, mask, hint]
        )

    def verify_(self) -> None:
        rank, offsets = len(self.coordinates), len(self.im2colOffsets)
        if not 1 <= rank <= 5:
            raise VerifyException(f"expected 1 to 5 coordinates, got {rank}")
        if offsets and offsets != rank - 2:
            raise VerifyException(
                f"expected {rank - 2} im2col offsets for rank {rank}, got {offsets}"
            )


@irdl_op_definition
class BulkTensorStoreOp(IRDLOperation):
    """Copies a box from shared memory to a tensor. PTX ISA: "cp.async.bulk.tensor".

    ```mlir
    nvvm.cp.async.bulk.tensor.global.shared.cta %map, %src, box[%c0, %c1]
        : !llvm.ptr, !llvm.ptr<3>
    ```
    """

    name = "nvvm.cp.async.bulk.tensor.global.shared.cta"

    tmaDescriptor = operand_def(LLVMPointerType)
    srcMem = operand_def(LLVMPointerType)
    coordinates = var_operand_def(i32)

    traits = _COPIES
    assembly_format = (
        "$tmaDescriptor `,` $srcMem `,` `box` `[` $coordinates `]` attr-dict `:` "
        "type($tmaDescriptor) `,` type($srcMem)"
    )

    def __init__(
        self, descriptor: SSAValue, src: SSAValue, coordinates: Sequence[SSAValue]
    ):
        super().__init__(operands=[descriptor, src, coordinates])

    def verify_(self) -> None:
        rank = len(self.coordinates)
        if not 1 <= rank <= 5:
            raise VerifyException(f"expected 1 to 5 coordinates, got {rank}")


@irdl_op_definition
class BulkCommitGroupOp(EffectOp):
    """Ends a group of bulk stores. PTX ISA: "cp.async.bulk.commit_group"."""

    name = "nvvm.cp.async.bulk.commit.group"


@irdl_op_definition
class BulkWaitGroupOp(IRDLOperation):
    """Waits until at most `group` groups of bulk stores are pending.

    With `read`, only until they have read shared memory. PTX ISA:
    "cp.async.bulk.wait_group".

    ```mlir
    nvvm.cp.async.bulk.wait_group 1 {read}
    ```
    """

    name = "nvvm.cp.async.bulk.wait_group"

    group = prop_def(IntegerAttr[IntegerType].constr(i32))
    read = opt_prop_def(UnitAttr)

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$group attr-dict"

    def __init__(self, group: int, *, read: bool = False):
        super().__init__(
            properties={
                "group": IntegerAttr(group, i32),
                "read": UnitAttr() if read else None,
            }
        )


COPIES = (
    CpAsyncOp,
    CpAsyncCommitGroupOp,
    CpAsyncWaitGroupOp,
    PrefetchTensorMapOp,
    BulkTensorLoadOp,
    BulkTensorStoreOp,
    BulkCommitGroupOp,
    BulkWaitGroupOp,
)
"""All ops of this file."""
