"""A kernel of the lower half of `tile` as one thread's `llvm` and `nvvm`.

Each op has a rule in one of the tables of `control`, `pipeline`, `fragments` and
`products`; all strides, descriptors and addresses are read off layouts.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    UnitAttr,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation
from xdsl.passes import ModulePass

from stepwell.codegen.llvm_builder import Builder, i8
from stepwell.dialects import nvvm, tile
from stepwell.dialects.tile.device_types import STAGE_ALIGNMENT
from stepwell.errors import CompileError

from . import control, fragments, pipeline, products
from .kernel import GLOBAL, SMEM, Group, Kernel, Plain, Ring, View

RULES = {
    **control.RULES,
    **pipeline.RULES,
    **fragments.RULES,
    **products.RULES,
}
"""The rule of each op."""

SHARED_BYTES = "stepwell.shared_bytes"
"""The attribute of the function: the dynamic shared memory of a block."""

POINTER = xllvm.LLVMPointerType()


def convert(k: Kernel, op: Operation) -> None:
    """Convert one op.

    Raises:
        CompileError: it has no rule.
    """
    if isinstance(op, tile.ReturnOp):
        return
    rule = RULES.get(type(op))
    if rule is None:
        raise CompileError(f"no translation to a GPU for {op.name} yet")
    rule(k, op)


@dataclass(frozen=True)
class ConvertTileToNvvmPass(ModulePass):
    """Replace each `tile.func` that has a launch by an `llvm.func` for one thread.

    Input: the lower half of `tile`. Output: `llvm` and `nvvm`.
    """

    name = "convert-tile-to-nvvm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert all kernels of the module, also those of modules inside it."""
        for func in [f for f in op.walk() if isinstance(f, tile.FuncOp)]:
            launch = func.attributes.get(tile.LAUNCH_ATTRIBUTE)
            if isinstance(launch, tile.LaunchAttr):
                _convert_kernel(func, launch.data)


def _convert_kernel(func: tile.FuncOp, launch: tile.Launch) -> None:
    kernel = _function(func, launch)
    b = Builder(kernel)
    thread = nvvm.ThreadIdXOp()
    b.block.add_op(thread)
    k = Kernel(b, launch, Group(launch.warps, thread.res), convert)
    total = _plan_shared_memory(k, func)
    kernel.attributes[SHARED_BYTES] = IntegerAttr(total, i64)
    _bind_arguments(k, func)
    _prologue(k, func)
    for op in func.body.block.ops:
        b.location = op.location
        convert(k, op)
    b.ret()
    block = func.parent
    assert block is not None
    block.insert_op_before(_shared_memory(), func)
    block.insert_op_before(kernel, func)
    func.detach()


def _function(func: tile.FuncOp, launch: tile.Launch) -> xllvm.FuncOp:
    """The kernel's signature: tensor maps by value, views by address."""
    kinds: list[Attribute] = []
    attributes: list[Attribute] = []
    for argument in func.args:
        if isinstance(argument.type, tile.TensorMapType):
            kinds.append(POINTER)
            attributes.append(DictionaryAttr(_TENSOR_MAP))
        else:
            kinds.append(GLOBAL)
            attributes.append(DictionaryAttr({"llvm.noalias": UnitAttr()}))
    limits = {
        "nvvm.maxntid": 32 * launch.warps,
        "nvvm.minctasm": launch.blocks_per_sm,
        **({"nvvm.cluster_dim": launch.cluster} if launch.cluster > 1 else {}),
    }
    pairs = [ArrayAttr([StringAttr(n), StringAttr(str(v))]) for n, v in limits.items()]
    made = Builder.function(func.sym_name.data, kinds).func
    made.attributes["nvvm.kernel"] = UnitAttr()
    made.properties["passthrough"] = ArrayAttr(pairs)
    made.properties["arg_attrs"] = ArrayAttr(attributes)
    made.location = func.location
    return made


_TENSOR_MAP: dict[str, Attribute] = {
    "llvm.byval": xllvm.LLVMArrayType(128, i8),
    "llvm.align": IntegerAttr(64, i32),
    "nvvm.grid_constant": UnitAttr(),
}


def _shared_memory() -> Operation:
    return xllvm.GlobalOp(
        xllvm.LLVMArrayType(0, i8),
        SMEM,
        "external",
        addr_space=3,
        alignment=STAGE_ALIGNMENT,
    )


def _plan_shared_memory(k: Kernel, func: tile.FuncOp) -> int:
    """Offsets of all allocations, barriers behind the tiles; the total in bytes."""
    offset = 0
    rings: list[tuple[tile.RingOp, list[int]]] = []
    for op in func.walk():
        if isinstance(op, tile.StagingOp):
            assert isinstance(op.result.type, tile.StagingType)
            role = op.parent_op()
            groups = role.groups.value.data if isinstance(role, tile.RoleOp) else 1
            k.offsets[op] = offset
            offset += groups * op.result.type.data_bytes
        elif isinstance(op, tile.RingOp):
            kind = op.result.type
            assert isinstance(kind, tile.RingType)
            starts: list[int] = []
            for part in kind.tiles:
                starts.append(offset)
                size = -(-part.bytes // STAGE_ALIGNMENT) * STAGE_ALIGNMENT
                offset += kind.stages * size
            rings.append((op, starts))
    for op, starts in rings:
        assert isinstance(op.result.type, tile.RingType)
        size = 8 * op.result.type.stages
        k.offsets[op] = Ring(tuple(starts), offset, offset + size)
        offset += 2 * size
    return offset


def _bind_arguments(k: Kernel, func: tile.FuncOp) -> None:
    for argument, value in zip(func.args, k.b.entry.args, strict=True):
        if isinstance(argument.type, tile.ViewType):
            k.bind(argument, View(argument.type, value))
        else:
            k.values[argument] = Plain(value)
    registers = (nvvm.BlockIdXOp, nvvm.BlockIdYOp, nvvm.BlockIdZOp)
    ids = list(reversed(func.program_ids))
    if len(ids) > len(registers):
        raise CompileError("a grid on a GPU has at most three dims")
    for value, kind in zip(ids, registers, strict=False):
        index = k.nvvm(kind())
        assert index is not None
        k.bind(value, index)


def _prologue(k: Kernel, func: tile.FuncOp) -> None:
    """One thread initialises all barriers; then the block meets."""
    rings = [op for op in func.walk() if isinstance(op, tile.RingOp)]
    maps = [a for a in func.args if isinstance(a.type, tile.TensorMapType)]
    if not rings:
        return
    with k.b.when(k.is_leader()):
        for op in rings:
            pipeline.initialise_ring(k, op)
        k.nvvm(nvvm.FenceMbarrierInitOp())
        for argument in maps:
            k.nvvm(nvvm.PrefetchTensorMapOp(k.scalar(argument)))
    if k.launch.cluster > 1:
        k.nvvm(nvvm.ClusterArriveRelaxedOp())
        k.nvvm(nvvm.ClusterWaitOp())
    else:
        k.nvvm(nvvm.BarrierOp())
