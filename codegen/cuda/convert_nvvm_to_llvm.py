"""`nvvm` to calls of LLVM's intrinsics, and to inline PTX where LLVM has none.

Runs of `wgmma` become one block of PTX: fence, products, commit and wait together, for
`ptxas` keeps accumulators in place only if nothing stands between. It is also two to
four times less IR than one block each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from xdsl.context import Context
from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import IntegerType, ModuleOp, VectorType, i1, i32, i64
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass

from stepwell.codegen.llvm_builder import Builder
from stepwell.dialects import nvvm
from stepwell.errors import CompileError

from .aggregates import field
from .inline_ptx import inline_ptx, is_wgmma, wgmma_block

_NVVM = "llvm.nvvm."
Rule = Callable[[Builder, Operation], SSAValue | None]


def _call(
    b: Builder, name: str, args: Sequence[SSAValue], result: Attribute | None = None
) -> SSAValue | None:
    if result is None:
        b.intrinsic_void(_NVVM + name, args)
        return None
    return b.intrinsic(_NVVM + name, args, result)


def _same_name(b: Builder, op: Operation) -> SSAValue | None:
    """The intrinsic is named like the op and takes its operands."""
    result = op.results[0].type if op.results else None
    return _call(b, op.name.removeprefix("nvvm."), tuple(op.operands), result)


def _named(name: str) -> Rule:
    """Another name, the same operands."""

    def rule(b: Builder, op: Operation) -> SSAValue | None:
        result = op.results[0].type if op.results else None
        return _call(b, name, tuple(op.operands), result)

    return rule


def _barrier(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.BarrierOp)
    barrier = op.barrierId or b.constant(0, i32)
    if op.numberOfThreads is None:
        _call(b, "barrier.cta.sync.aligned.all", (barrier,))
    else:
        threads = op.numberOfThreads
        _call(b, "barrier.cta.sync.aligned.count", (barrier, threads))


def _cluster(name: str) -> Rule:
    def rule(b: Builder, op: Operation) -> None:
        aligned = ".aligned" if "aligned" in op.properties else ""
        _call(b, f"barrier.cluster.{name}{aligned}", ())

    return rule


def _expect_tx(b: Builder, op: Operation) -> None:
    name = "mbarrier.arrive.expect.tx.relaxed.scope.cta.space.cta"
    _call(b, name, tuple(op.operands), i64)


def _set_registers(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.SetMaxRegisterOp)
    up = op.action.data is nvvm.SetMaxRegisterAction.INCREASE
    name = f"setmaxnreg.{'inc' if up else 'dec'}.sync.aligned.u32"
    _call(b, name, (b.constant(op.regCount.value.data, i32),))


def _shuffle(b: Builder, op: Operation) -> SSAValue | None:
    assert isinstance(op, nvvm.ShflOp)
    suffix = "i32" if isinstance(op.val.type, IntegerType) else "f32"
    name = f"shfl.sync.{op.kind.data.value}.{suffix}"
    return _call(b, name, tuple(op.operands), op.res.type)


def _redux(b: Builder, op: Operation) -> SSAValue | None:
    assert isinstance(op, nvvm.ReduxOp)
    return _call(b, f"redux.sync.{op.kind.data.value}", tuple(op.operands), i32)


def _elect(b: Builder, op: Operation) -> SSAValue:
    pair = xllvm.LLVMStructType.from_type_list([i32, i1])
    both = _call(b, "elect.sync", (b.constant(-1, i32),), pair)
    assert both is not None
    return field(b, both, 1, i1)


def _cp_async(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.CpAsyncOp)
    cache, size = op.modifier.data.value, op.size.value.data
    some = ".s" if op.cpSize is not None else ""
    _call(b, f"cp.async.{cache}.shared.global.{size}{some}", tuple(op.operands))


def _cp_async_wait(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.CpAsyncWaitGroupOp)
    _call(b, "cp.async.wait.group", (b.constant(op.n.value.data, i32),))


def _bulk_load(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.BulkTensorLoadOp)
    i16 = IntegerType(16)
    mask, hint = op.multicastMask, op.l2CacheHint
    mode = "im2col" if op.im2colOffsets else "tile"
    args = [op.dstMem, op.mbar, op.tmaDescriptor, *op.coordinates, *op.im2colOffsets]
    args += [mask if mask is not None else b.constant(0, i16)]
    args += [hint if hint is not None else b.constant(0, i64)]
    args += [b.constant(mask is not None, i1), b.constant(hint is not None, i1)]
    args += [b.constant(0, i32)]
    rank = len(op.coordinates)
    _call(b, f"cp.async.bulk.tensor.g2s.{mode}.{rank}d", args)


def _bulk_store(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.BulkTensorStoreOp)
    args = [op.srcMem, op.tmaDescriptor, *op.coordinates]
    args += [b.constant(0, i64), b.constant(0, i1)]
    _call(b, f"cp.async.bulk.tensor.s2g.tile.{len(op.coordinates)}d", args)


def _bulk_wait(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.BulkWaitGroupOp)
    read = ".read" if op.read is not None else ""
    _call(b, f"cp.async.bulk.wait.group{read}", (b.constant(op.group.value.data, i32),))


def _trans(layout: nvvm.MMALayoutAttr) -> str:
    return ".trans" if layout.data is nvvm.MMALayout.COL else ""


def _ldmatrix(b: Builder, op: Operation) -> SSAValue | None:
    assert isinstance(op, nvvm.LdMatrixOp)
    name = f"ldmatrix.sync.aligned.m8n8.x{op.num.value.data}{_trans(op.layout)}.b16.p3"
    return _call(b, name, (op.ptr,), op.res.type)


def _stmatrix(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.StMatrixOp)
    name = f"stmatrix.sync.aligned.m8n8.x{len(op.sources)}{_trans(op.layout)}.b16.p3"
    _call(b, name, (op.ptr, *op.sources))


def _mma(b: Builder, op: Operation) -> SSAValue | None:
    assert isinstance(op, nvvm.MmaOp)
    m, n, k = op.shape.extents
    name = f"mma.m{m}n{n}k{k}.row.col.{_mma_types(op)}"
    return _call(b, name, tuple(op.operands), op.res.type)


def _mma_types(op: nvvm.MmaOp) -> str:
    a, b = op.multiplicandAPtxType, op.multiplicandBPtxType
    if a is None or b is None:
        total = op.operandC.types[0]
        return "f16.f16" if isinstance(total, VectorType) else "f32.f32"
    first, second = a.data.value, b.data.value
    return first if first == second else f"{first}.{second}"


def _wgmma_wait(b: Builder, op: Operation) -> None:
    assert isinstance(op, nvvm.WgmmaWaitGroupSyncOp)
    group = b.constant(op.group.value.data, i64)
    _call(b, "wgmma.wait_group.sync.aligned", (group,))


RULES: dict[type[Operation], Rule] = {
    **dict.fromkeys(
        (
            nvvm.ThreadIdXOp,
            nvvm.BlockDimXOp,
            nvvm.BlockIdXOp,
            nvvm.BlockIdYOp,
            nvvm.BlockIdZOp,
            nvvm.GridDimXOp,
            nvvm.LaneIdOp,
            nvvm.ClusterIdXOp,
            nvvm.ClusterIdOp,
            nvvm.ClusterDimOp,
            nvvm.SyncWarpOp,
            nvvm.GriddepcontrolWaitOp,
            nvvm.GriddepcontrolLaunchDependentsOp,
            nvvm.CpAsyncCommitGroupOp,
            nvvm.BulkCommitGroupOp,
        ),
        _same_name,
    ),
    nvvm.BarrierOp: _barrier,
    nvvm.BarrierArriveOp: _named("barrier.cta.arrive.aligned.count"),
    nvvm.ClusterArriveOp: _cluster("arrive"),
    nvvm.ClusterArriveRelaxedOp: _cluster("arrive.relaxed"),
    nvvm.ClusterWaitOp: _cluster("wait"),
    nvvm.MBarrierInitOp: _named("mbarrier.init.shared"),
    nvvm.MBarrierArriveExpectTxOp: _expect_tx,
    nvvm.FenceMbarrierInitOp: _named("fence.mbarrier_init.release.cluster"),
    nvvm.FenceProxyOp: _named("fence.proxy.async.shared_cta"),
    nvvm.SetMaxRegisterOp: _set_registers,
    nvvm.MapaOp: _named("mapa.shared.cluster"),
    nvvm.ShflOp: _shuffle,
    nvvm.ReduxOp: _redux,
    nvvm.ElectSyncOp: _elect,
    nvvm.CpAsyncOp: _cp_async,
    nvvm.CpAsyncWaitGroupOp: _cp_async_wait,
    nvvm.BulkTensorLoadOp: _bulk_load,
    nvvm.BulkTensorStoreOp: _bulk_store,
    nvvm.BulkWaitGroupOp: _bulk_wait,
    nvvm.LdMatrixOp: _ldmatrix,
    nvvm.StMatrixOp: _stmatrix,
    nvvm.MmaOp: _mma,
    nvvm.WgmmaWaitGroupSyncOp: _wgmma_wait,
    nvvm.WgmmaFenceAlignedOp: _named("wgmma.fence.sync.aligned"),
    nvvm.WgmmaGroupSyncAlignedOp: _named("wgmma.commit_group.sync.aligned"),
    **inline_ptx,
}
"""How each op is said to LLVM."""


@dataclass(frozen=True)
class ConvertNvvmToLlvmPass(ModulePass):
    """Replace all of `nvvm`. Input: `llvm` and `nvvm` ops; output: `llvm` ops."""

    name = "convert-nvvm-to-llvm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rebuild each block in place, in one pass."""
        for func in op.ops:
            if isinstance(func, xllvm.FuncOp):
                builder = Builder(func)
                for block in func.body.blocks:
                    _convert(builder, block)


def _convert(builder: Builder, block: Block) -> None:
    ops = list(block.ops)
    for op in ops:
        op.detach()
    builder.block = block
    position = 0
    while position < len(ops):
        op = ops[position]
        run = _wgmma_run(ops, position)
        if run:
            wgmma_block(builder, ops[position : position + run])
            position += run
            continue
        position += 1
        if not op.name.startswith("nvvm."):
            block.add_op(op)
            continue
        rule = RULES.get(type(op))
        if rule is None:
            raise CompileError(f"no translation to LLVM for {op.name}")
        builder.location = op.location
        result = rule(builder, op)
        if op.results:
            op.results[0].replace_all_uses_with(cast(SSAValue, result))
        op.erase()


def _wgmma_run(ops: Sequence[Operation], start: int) -> int:
    """The length of the run of wgmma ops from `start` that touches accumulators."""
    if not is_wgmma(ops[start]):
        return 0
    end = start
    while end < len(ops) and is_wgmma(ops[end]):
        end += 1
    touches = any(op.results for op in ops[start:end])
    return end - start if touches else 0
