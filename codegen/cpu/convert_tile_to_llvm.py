"""`convert-tile-to-llvm`: every `tile.func` becomes a function of the kernel ABI.

Input: a module whose `tile.func`s hold the upper half of `tile`, `scf` and scalar
`arith`. Output: `llvm.func`s, `void k(ptr args, i64 begin, i64 end)`, which run the
cells `begin..end` of the grid, row-major. `args` is an array of 64-bit words: a pointer
per view argument, then an i64 per symbol. Other ops of the module stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, math, scf
from xdsl.dialects.builtin import ModuleOp, i64
from xdsl.dialects.llvm import FuncOp as LLVMFuncOp
from xdsl.dialects.llvm import GlobalOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from stepwell.codegen.llvm_builder import Builder
from stepwell.codegen.llvm_types import PTR
from stepwell.codegen.math import MathLibrary
from stepwell.dialects import tile
from stepwell.dialects.dims import Dim, product
from stepwell.dialects.target import Target

from . import control, dot, elementwise, reduce, shapes
from .demand import Demand
from .kernel import Kernel, Rule


def _for(kernel: Kernel, op: Operation) -> None:
    control.for_(kernel, op, lambda o: kernel.run_block(o.body.block, RULES))


def _if(kernel: Kernel, op: Operation) -> None:
    def run(o: scf.IfOp, is_then: bool) -> None:
        region = o.true_region if is_then else o.false_region
        kernel.run_block(region.block, RULES)

    control.if_(kernel, op, run)


def _nothing(kernel: Kernel, op: Operation) -> None:
    """`tile.access` is read by the loads and stores that use it."""


RULES: dict[type[Operation], Rule] = {
    **{
        op: control.scalar_op
        for dialect in (arith.Arith, math.Math)
        for op in dialect.operations
    },
    scf.ForOp: _for,
    scf.IfOp: _if,
    tile.AccessOp: _nothing,
    tile.ArgReduceOp: reduce.arg_reduce,
    tile.BroadcastOp: elementwise.broadcast,
    tile.DimOp: control.dim,
    tile.DotOp: dot.dot,
    tile.ExtractOp: shapes.extract,
    tile.FullOp: elementwise.full,
    tile.IotaOp: elementwise.iota,
    tile.LoadOp: elementwise.load,
    tile.MapOp: elementwise.map_,
    tile.ReduceOp: reduce.reduce,
    tile.ReshapeOp: shapes.reshape,
    tile.ScanOp: reduce.scan,
    tile.SortOp: shapes.sort,
    tile.StoreOp: elementwise.store,
    tile.TransposeOp: shapes.transpose,
}


def convert_func(func: tile.FuncOp, target: Target, library: MathLibrary) -> LLVMFuncOp:
    """One `tile.func` as a kernel function.

    Raises:
        CompileError: an op that has no rule, or a form its rule refuses.
    """
    builder = Builder.function(func.sym_name.data, [PTR, i64, i64])
    builder.func.location = builder.location = func.location
    kernel = Kernel(builder, target, library)
    kernel.demand = Demand(func)
    kernel.written = _written(func)
    kernel.cells = product(func.grid.data)
    args, begin, end = builder.entry.args
    for number, view in enumerate(func.args):
        word = builder.gep(args, number, i64)
        kernel.roots[view] = builder.load(word, PTR, 8)
    for number, name in enumerate(func.symbol_names, len(func.args)):
        word = builder.gep(args, number, i64)
        kernel.space.model_symbol(name, builder.load(word, i64, 8))
    body = builder.new_block()
    builder.block = body
    grid = func.grid.data
    for stride in range(len(grid)):
        kernel.space.emit(product(grid[stride:]))
    count = builder.ibin("sub", end, begin)
    with builder.loop(count, unroll=1) as loop, kernel.space.loop(loop.entry):
        cell = builder.add(begin, loop.index)
        _bind_cell(kernel, func, cell)
        kernel.run_block(func.body.block, RULES)
    builder.ret()
    _close_entry(builder, body)
    return builder.func


def _written(func: tile.FuncOp) -> set[SSAValue]:
    """The arguments that the function stores to."""
    views = [op.view for op in func.walk() if isinstance(op, tile.StoreOp)]
    return {
        view.owner.source if isinstance(view.owner, tile.AccessOp) else view
        for view in views
    }


def _bind_cell(kernel: Kernel, func: tile.FuncOp, cell: object) -> None:
    """The program ids of a cell: the digits of its number."""
    grid: tuple[Dim, ...] = func.grid.data
    rest: Dim = kernel.space.leaf("cell", cell, product(grid))  # pyright: ignore
    ids = func.program_ids
    for number, (program_id, size) in enumerate(zip(ids, grid, strict=True)):
        stride = product(grid[number + 1 :])
        digit = rest // stride if number == 0 else (rest // stride) % size
        value = kernel.space.value(digit) if size != 1 else None
        if value is None:
            kernel.space.bind(program_id, 0)
        else:
            leaf = kernel.space.leaf(f"p{number}", value, size)
            kernel.space.bind(program_id, leaf)


def _close_entry(builder: Builder, body: object) -> None:
    """The entry block holds arguments, constants and allocas, then enters the body."""
    builder.block = builder.entry
    builder.br(body)  # pyright: ignore[reportArgumentType]


def convert_module(module: ModuleOp, target: Target) -> None:
    """Converts all kernels of a module in place."""
    library = MathLibrary()
    block = module.body.block
    for op in list(block.ops):
        if isinstance(op, tile.FuncOp):
            block.insert_op_before(convert_func(op, target, library), op)
            op.detach()
            op.erase(safe_erase=False)
    add_library(block.add_op, library)


def add_library(add: object, library: MathLibrary) -> None:
    """Adds what the kernels share: math functions and zeros."""
    for shared in shared_ops(library):
        add(shared)  # pyright: ignore


def shared_ops(library: MathLibrary) -> Iterable[LLVMFuncOp | GlobalOp]:
    """The definitions that converted kernels refer to."""
    yield from library.functions.values()
    if library.needs_zeros:
        yield dot.zeros_global()
    if library.needs_lock:
        yield elementwise.lock_global()


@dataclass(frozen=True)
class ConvertTileToLLVMPass(ModulePass):
    """`tile.func` to `llvm.func`, for the CPU that the module's target names."""

    name = "convert-tile-to-llvm"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        convert_module(op, Target.of(op))
