"""A kernel of the lower half of `tile` as one thread's `llvm` and `nvvm`.

Each op has a rule in one of the tables of `control`, `pipeline`, `fragments` and
`products`; all strides, descriptors and addresses are read off layouts.
"""

from __future__ import annotations

import re
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
    i8,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation
from xdsl.passes import ModulePass

from stepwell.codegen.indices import IndexSpace
from stepwell.codegen.llvm_builder import Builder
from stepwell.dialects import nvvm, tile
from stepwell.dialects.dims import product
from stepwell.dialects.provenance import location_names
from stepwell.dialects.target import ATTRIBUTE, Target
from stepwell.dialects.tile.device_types import STAGE_ALIGNMENT
from stepwell.dialects.tile.scratch import (
    BARRIER_BYTES,
    BARRIER_OFFSET,
    SHARED_OFFSET,
    plan_shared,
)
from stepwell.dialects.tile.scratch import SHARED_BYTES as SHARED_BYTES_PLAN
from stepwell.errors import CompileError, StepwellError

from . import (
    control,
    elementwise,
    fragment_products,
    moves,
    pipeline,
    products,
    reductions,
    scans,
    shared_tiles,
    sorts,
    transfers,
)
from .kernel import GLOBAL, SMEM, Group, Kernel, Plain, Ring, integer
from .scalars import Scalars

RULES = {
    **control.RULES,
    **elementwise.RULES,
    **transfers.RULES,
    **reductions.RULES,
    **moves.RULES,
    **scans.RULES,
    **sorts.RULES,
    **pipeline.RULES,
    **shared_tiles.RULES,
    **products.RULES,
    **fragment_products.RULES,
}
"""The rule of each op."""

SHARED_BYTES = "stepwell.shared_bytes"
"""The attribute of the function: the dynamic shared memory of a block."""

SYMBOL = "stepwell.symbol"
"""The attribute of a kernel whose name in PTX another kernel has."""

POINTER = xllvm.LLVMPointerType()


def convert(k: Kernel, op: Operation) -> None:
    """Convert one op.

    Raises:
        CompileError: it has no rule.
    """
    if isinstance(op, tile.ReturnOp):
        return
    where = ", ".join(location_names(op)) or None
    rule = RULES.get(type(op))
    if rule is None:
        raise CompileError(f"no translation to a GPU for {op.name} yet", where=where)
    try:
        rule(k, op)
    except StepwellError as error:
        error.where = error.where or where
        raise
    except ValueError as error:
        # Layouts refuse what they cannot do in these words.
        raise CompileError(f"{op.name}: {error}", where=where) from None


@dataclass(frozen=True)
class ConvertTileToNvvmPass(ModulePass):
    """Replace each `tile.func` that has a launch by an `llvm.func` for one thread.

    Input: the lower half of `tile`. Output: `llvm` and `nvvm`.
    """

    name = "convert-tile-to-nvvm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert all kernels of the module, also those of modules inside it."""
        modules = [m for m in op.walk() if isinstance(m, ModuleOp)]
        for module in modules:
            funcs = [f for f in module.ops if isinstance(f, tile.FuncOp)]
            launches = [f.attributes.get(tile.LAUNCH_ATTRIBUTE) for f in funcs]
            for func, launch in zip(funcs, launches, strict=True):
                if isinstance(launch, tile.LaunchAttr):
                    _convert_kernel(func, launch.data, _target_of(module))
            if any(launches):
                _declare_shared_memory(module)


def symbol_of(func: tile.FuncOp) -> str:
    """The kernel's name in PTX: letters, digits and underscores."""
    given = func.attributes.get(SYMBOL)
    if isinstance(given, StringAttr):
        return given.data
    name = re.sub(r"\W", "_", func.sym_name.data, flags=re.ASCII)
    return name if name[:1].isalpha() else f"k_{name}"


OLDEST = "sm_80"
"""What a module without a target is compiled for."""


def _target_of(module: ModuleOp) -> Target:
    if ATTRIBUTE not in module.attributes:
        return Target.parse(OLDEST)
    return Target.of(module)


def _convert_kernel(func: tile.FuncOp, launch: tile.Launch, target: Target) -> None:
    kernel = _function(func, launch)
    b = Builder(kernel)
    b.index_type = i32
    thread = nvvm.ThreadIdXOp()
    b.block.add_op(thread)
    group = Group(launch.warps, thread.res)
    k = Kernel(b, target, launch, group, IndexSpace(b, i32), Scalars(b), convert)
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
    block.insert_op_before(kernel, func)
    func.detach()
    func.erase(safe_erase=False)


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
            attributes.append(DictionaryAttr({}))
    kinds += [i32] * len(func.symbol_names)
    attributes += [DictionaryAttr({})] * len(func.symbol_names)
    limits = {
        "nvvm.maxntid": 32 * launch.warps,
        "nvvm.minctasm": launch.blocks_per_sm,
        **({"nvvm.cluster_dim": launch.cluster} if launch.cluster > 1 else {}),
    }
    pairs = [ArrayAttr([StringAttr(n), StringAttr(str(v))]) for n, v in limits.items()]
    made = Builder.function(symbol_of(func), kinds).func
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


def _declare_shared_memory(module: ModuleOp) -> None:
    """The dynamic shared memory, once for all kernels of a module."""
    memory = xllvm.GlobalOp(
        xllvm.LLVMArrayType(0, i8),
        SMEM,
        "external",
        addr_space=3,
        alignment=STAGE_ALIGNMENT,
    )
    block, first = module.body.block, module.body.block.first_op
    assert first is not None
    block.insert_op_before(memory, first)


def _plan_shared_memory(k: Kernel, func: tile.FuncOp) -> int:
    """Read the plan off the attributes, made now if no pass has; the total in bytes."""
    if SHARED_BYTES_PLAN not in func.attributes:
        try:
            plan_shared(func)
        except ValueError as error:
            raise CompileError(str(error), where=func.sym_name.data) from None
    for op in func.walk():
        if isinstance(op, tile.RingOp):
            k.offsets[op] = _ring(op)
        elif SHARED_OFFSET in op.attributes:
            k.offsets[op] = integer(op, SHARED_OFFSET)
    return integer(func, SHARED_BYTES_PLAN)


def _ring(op: tile.RingOp) -> Ring:
    kind, at = op.result.type, integer(op, SHARED_OFFSET)
    assert isinstance(kind, tile.RingType)
    starts: list[int] = []
    for part in kind.tiles:
        starts.append(at)
        at += kind.stages * (-(-part.bytes // STAGE_ALIGNMENT) * STAGE_ALIGNMENT)
    full = integer(op, BARRIER_OFFSET)
    return Ring(tuple(starts), full, full + BARRIER_BYTES * kind.stages)


def _bind_arguments(k: Kernel, func: tile.FuncOp) -> None:
    arguments = iter(k.b.entry.args)
    for argument in func.args:
        value = next(arguments)
        if isinstance(argument.type, tile.ViewType):
            k.roots[argument] = value
        else:
            k.values[argument] = Plain(value)
    for name, value in zip(func.symbol_names, arguments, strict=True):
        k.space.model_symbol(name, value)
    _bind_cell(k, func)


def _bind_cell(k: Kernel, func: tile.FuncOp) -> None:
    """The program ids of a block: the digits of its number, row-major."""
    grid = func.grid.data
    block = k.nvvm(nvvm.BlockIdXOp())
    assert block is not None
    rest = k.space.leaf("cell", block, product(grid))
    for number, (program_id, size) in enumerate(
        zip(func.program_ids, grid, strict=True)
    ):
        if product(grid) == 0:  # never launched
            k.space.bind(program_id, 0)
            continue
        stride = product(grid[number + 1 :])
        digit = k.space.simplify(rest // stride)
        if number:
            digit = k.space.simplify(digit % size)
        if isinstance(digit, int):
            k.space.bind(program_id, digit)
            continue
        leaf = k.space.leaf(f"p{number}", k.space.value(digit), size)
        k.space.bind(program_id, leaf)


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
