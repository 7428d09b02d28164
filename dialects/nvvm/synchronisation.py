"""Barriers, fences, warps, clusters, and the dependence between grids."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    AnyFloatConstr,
    IntAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    UnitAttr,
    i1,
    i32,
)
from xdsl.dialects.llvm import LLVMPointerType
from xdsl.ir import SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    EqAttrConstraint,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

from .attrs import (
    ReduxKind,
    ReduxKindAttr,
    SetMaxRegisterAction,
    SetMaxRegisterActionAttr,
    ShflKind,
    ShflKindAttr,
)

_WORD = AnyFloatConstr | EqAttrConstraint(i32)


class EffectOp(IRDLOperation):
    """An op without operands or results that orders or waits."""

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """All threads of the block, or `numberOfThreads` of them, meet at a barrier.

    PTX ISA: "bar, barrier.cta".

    ```mlir
    nvvm.barrier
    nvvm.barrier id = %id number_of_threads = %n
    ```
    """

    name = "nvvm.barrier"

    barrierId = opt_operand_def(i32)
    numberOfThreads = opt_operand_def(i32)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "(`id` `=` $barrierId^)? (`number_of_threads` `=` $numberOfThreads^)? attr-dict"
    )

    def __init__(
        self, barrier: SSAValue | None = None, threads: SSAValue | None = None
    ):
        super().__init__(operands=[barrier, threads])

    def verify_(self) -> None:
        if self.numberOfThreads is not None and self.barrierId is None:
            raise VerifyException("expected a barrier id with the number of threads")


@irdl_op_definition
class BarrierArriveOp(IRDLOperation):
    """Arrives at a barrier without waiting. PTX ISA: "barrier.cta.arrive".

    ```mlir
    nvvm.barrier.arrive id = %id number_of_threads = %n
    ```
    """

    name = "nvvm.barrier.arrive"

    barrierId = operand_def(i32)
    numberOfThreads = operand_def(i32)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "`id` `=` $barrierId `number_of_threads` `=` $numberOfThreads attr-dict"
    )

    def __init__(self, barrier: SSAValue, threads: SSAValue):
        super().__init__(operands=[barrier, threads])


class _ClusterBarrierOp(IRDLOperation):
    """A cluster barrier; `aligned` if all threads of a warp run it together."""

    aligned = opt_prop_def(UnitAttr)

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict"

    def __init__(self, *, aligned: bool = True):
        super().__init__(properties={"aligned": UnitAttr() if aligned else None})


@irdl_op_definition
class ClusterArriveOp(_ClusterBarrierOp):
    """Arrives at the cluster's barrier, with release. PTX ISA: "barrier.cluster"."""

    name = "nvvm.cluster.arrive"


@irdl_op_definition
class ClusterArriveRelaxedOp(_ClusterBarrierOp):
    """Arrives at the cluster's barrier and orders no memory: costs no fence."""

    name = "nvvm.cluster.arrive.relaxed"


@irdl_op_definition
class ClusterWaitOp(_ClusterBarrierOp):
    """Waits for all threads of the cluster. PTX ISA: "barrier.cluster"."""

    name = "nvvm.cluster.wait"


@irdl_op_definition
class MBarrierInitOp(IRDLOperation):
    """Initialises a barrier in shared memory. PTX ISA: "mbarrier.init".

    ```mlir
    nvvm.mbarrier.init %bar, %count : !llvm.ptr<3>, i32
    ```
    """

    name = "nvvm.mbarrier.init"

    addr = operand_def(LLVMPointerType)
    count = operand_def(i32)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$addr `,` $count attr-dict `:` type($addr) `,` type($count)"

    def __init__(self, addr: SSAValue, count: SSAValue):
        super().__init__(operands=[addr, count])


@irdl_op_definition
class MBarrierArriveOp(IRDLOperation):
    """Arrives at a barrier, of this block or, in space 7, of another in the cluster.

    With a predicate, only where it holds. PTX ISA: "mbarrier.arrive".

    ```mlir
    nvvm.mbarrier.arrive %bar, predicate = %p : !llvm.ptr<3>, i1
    ```
    """

    name = "nvvm.mbarrier.arrive"

    addr = operand_def(LLVMPointerType)
    predicate = opt_operand_def(i1)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$addr (`,` `predicate` `=` $predicate^)? attr-dict `:` type($addr) "
        "(`,` type($predicate)^)?"
    )

    def __init__(self, addr: SSAValue, predicate: SSAValue | None = None):
        super().__init__(operands=[addr, predicate])


@irdl_op_definition
class MBarrierArriveExpectTxOp(IRDLOperation):
    """Arrives, and announces bytes that copies will bring. PTX ISA: "expect-tx".

    ```mlir
    nvvm.mbarrier.arrive.expect_tx %bar, %bytes : !llvm.ptr<3>, i32
    ```
    """

    name = "nvvm.mbarrier.arrive.expect_tx"

    addr = operand_def(LLVMPointerType)
    txcount = operand_def(i32)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$addr `,` $txcount attr-dict `:` type($addr) `,` type($txcount)"

    def __init__(self, addr: SSAValue, txcount: SSAValue):
        super().__init__(operands=[addr, txcount])


@irdl_op_definition
class MBarrierTryWaitParityOp(IRDLOperation):
    """Waits, in a loop, until the barrier's phase has the other parity.

    PTX ISA: "mbarrier.test_wait, mbarrier.try_wait".

    ```mlir
    nvvm.mbarrier.try_wait.parity %bar, %parity, %ticks : !llvm.ptr<3>, i32, i32
    ```
    """

    name = "nvvm.mbarrier.try_wait.parity"

    addr = operand_def(LLVMPointerType)
    phase = operand_def(i32)
    ticks = operand_def(i32)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$addr `,` $phase `,` $ticks attr-dict `:` type($addr) `,` type($phase) `,` "
        "type($ticks)"
    )

    def __init__(self, addr: SSAValue, phase: SSAValue, ticks: SSAValue):
        super().__init__(operands=[addr, phase, ticks])


@irdl_op_definition
class FenceMbarrierInitOp(EffectOp):
    """Makes initialised barriers visible to the cluster. PTX ISA: "membar, fence"."""

    name = "nvvm.fence.mbarrier.init"


@irdl_op_definition
class FenceProxyOp(IRDLOperation):
    """Orders accesses of the generic proxy before those of the copy engine.

    PTX ISA: "fence.proxy". Only `async.shared` of the block is emitted: the wider
    forms cost a fence of the whole device.

    ```mlir
    nvvm.fence.proxy {kind = "async.shared", space = "cta"}
    ```
    """

    name = "nvvm.fence.proxy"

    kind = prop_def(StringAttr)
    space = prop_def(StringAttr)

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__(
            properties={"kind": StringAttr("async.shared"), "space": StringAttr("cta")}
        )

    def verify_(self) -> None:
        got = self.kind.data, self.space.data
        if got != ("async.shared", "cta"):
            raise VerifyException(
                f"expected async.shared of cta, got {' of '.join(got)}"
            )


@irdl_op_definition
class GriddepcontrolWaitOp(EffectOp):
    """Waits until the grids before this one are done. PTX ISA: "griddepcontrol"."""

    name = "nvvm.griddepcontrol.wait"


@irdl_op_definition
class GriddepcontrolLaunchDependentsOp(EffectOp):
    """Lets the grid after this one start. PTX ISA: "griddepcontrol"."""

    name = "nvvm.griddepcontrol.launch.dependents"


@irdl_op_definition
class SetMaxRegisterOp(IRDLOperation):
    """Changes the warpgroup's registers per thread. PTX ISA: "setmaxnreg".

    ```mlir
    nvvm.setmaxregister increase 240
    ```
    """

    name = "nvvm.setmaxregister"

    action = prop_def(SetMaxRegisterActionAttr)
    regCount = prop_def(IntegerAttr[IntegerType].constr(i32))

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$action $regCount attr-dict"

    def __init__(self, action: SetMaxRegisterAction | str, count: int):
        super().__init__(
            properties={
                "action": SetMaxRegisterActionAttr(SetMaxRegisterAction(action)),
                "regCount": IntegerAttr(count, i32),
            }
        )

    def verify_(self) -> None:
        count = self.regCount.value.data
        if not 24 <= count <= 256 or count % 8:
            raise VerifyException(
                f"expected 24 to 256 registers in steps of 8, got {count}"
            )


@irdl_op_definition
class MapaOp(IRDLOperation):
    """The address of the same variable in another block of the cluster.

    PTX ISA: "mapa".

    ```mlir
    %remote = nvvm.mapa %addr, %rank : !llvm.ptr<3> -> !llvm.ptr<7>
    ```
    """

    name = "nvvm.mapa"

    a = operand_def(LLVMPointerType)
    b = operand_def(i32)
    res = result_def(LLVMPointerType)

    traits = traits_def(Pure())
    assembly_format = "$a `,` $b attr-dict `:` type($a) `->` type($res)"

    def __init__(self, addr: SSAValue, rank: SSAValue):
        super().__init__(
            operands=[addr, rank],
            result_types=[LLVMPointerType(IntAttr(7))],
        )


@irdl_op_definition
class ShflOp(IRDLOperation):
    """Reads a value from another lane of the warp. PTX ISA: "shfl.sync".

    ```mlir
    %y = nvvm.shfl.sync bfly %mask, %x, %offset, %clamp : f32 -> f32
    ```
    """

    name = "nvvm.shfl.sync"

    kind = prop_def(ShflKindAttr)
    thread_mask = operand_def(i32)
    val = operand_def(_WORD)
    offset = operand_def(i32)
    mask_and_clamp = operand_def(i32)
    res = result_def(_WORD)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$kind $thread_mask `,` $val `,` $offset `,` $mask_and_clamp attr-dict `:` "
        "type($val) `->` type($res)"
    )

    def __init__(
        self,
        kind: ShflKind | str,
        mask: SSAValue,
        value: SSAValue,
        offset: SSAValue,
        clamp: SSAValue,
    ):
        super().__init__(
            operands=[mask, value, offset, clamp],
            properties={"kind": ShflKindAttr(ShflKind(kind))},
            result_types=[value.type],
        )

    def verify_(self) -> None:
        if self.res.type != self.val.type:
            raise VerifyException(f"expected {self.val.type}, got {self.res.type}")


@irdl_op_definition
class ReduxOp(IRDLOperation):
    """Combines an integer over the lanes of a warp. PTX ISA: "redux.sync".

    ```mlir
    %s = nvvm.redux.sync add %x, %mask : i32 -> i32
    ```
    """

    name = "nvvm.redux.sync"

    kind = prop_def(ReduxKindAttr)
    val = operand_def(i32)
    mask_and_clamp = operand_def(i32)
    res = result_def(i32)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = (
        "$kind $val `,` $mask_and_clamp attr-dict `:` type($val) `->` type($res)"
    )

    def __init__(self, kind: ReduxKind | str, value: SSAValue, mask: SSAValue):
        super().__init__(
            operands=[value, mask],
            properties={"kind": ReduxKindAttr(ReduxKind(kind))},
            result_types=[i32],
        )


@irdl_op_definition
class ElectSyncOp(IRDLOperation):
    """True in one thread of the warp. PTX ISA: "elect.sync".

    ```mlir
    %leader = nvvm.elect.sync -> i1
    ```
    """

    name = "nvvm.elect.sync"

    pred = result_def(i1)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict `->` type($pred)"

    def __init__(self) -> None:
        super().__init__(result_types=[i1])


@irdl_op_definition
class SyncWarpOp(IRDLOperation):
    """The lanes of a mask meet. PTX ISA: "bar.warp.sync".

    ```mlir
    nvvm.bar.warp.sync %mask : i32
    ```
    """

    name = "nvvm.bar.warp.sync"

    mask = operand_def(i32)

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$mask attr-dict `:` type($mask)"

    def __init__(self, mask: SSAValue):
        super().__init__(operands=[mask])


SYNCHRONISATION = (
    BarrierOp,
    BarrierArriveOp,
    ClusterArriveOp,
    ClusterArriveRelaxedOp,
    ClusterWaitOp,
    MBarrierInitOp,
    MBarrierArriveOp,
    MBarrierArriveExpectTxOp,
    MBarrierTryWaitParityOp,
    FenceMbarrierInitOp,
    FenceProxyOp,
    GriddepcontrolWaitOp,
    GriddepcontrolLaunchDependentsOp,
    SetMaxRegisterOp,
    MapaOp,
    ShflOp,
    ReduxOp,
    ElectSyncOp,
    SyncWarpOp,
)
"""All ops of this file."""
