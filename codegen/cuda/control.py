"""Rules of loops, roles of warps, barriers, and scalar arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import FloatAttr, IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from stepwell.codegen.llvm_builder import CONTRACT, Builder, i32
from stepwell.dialects import nvvm, tile
from stepwell.errors import CompileError

from .kernel import Cursor, Group, Kernel, llvm_type

_INTEGERS = {
    arith.AddiOp: "add",
    arith.SubiOp: "sub",
    arith.MuliOp: "mul",
    arith.DivUIOp: "udiv",
    arith.RemUIOp: "urem",
    arith.DivSIOp: "sdiv",
    arith.RemSIOp: "srem",
    arith.AndIOp: "and",
    arith.OrIOp: "or",
    arith.XOrIOp: "xor",
}
_FLOATS = {
    arith.AddfOp: "fadd",
    arith.SubfOp: "fsub",
    arith.MulfOp: "fmul",
    arith.DivfOp: "fdiv",
}
_INTRINSICS = {
    arith.MaximumfOp: "llvm.maximum",
    arith.MinimumfOp: "llvm.minimum",
    arith.MaxnumfOp: "llvm.maxnum",
    arith.MinnumfOp: "llvm.minnum",
}
_CASTS = {arith.ExtFOp: "fpext", arith.TruncFOp: "fptrunc"}
_PREDICATES = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")


def scalar_value(b: Builder, op: Operation, args: Sequence[SSAValue]) -> SSAValue:
    """One `arith` op on LLVM values.

    Raises:
        CompileError: the op has no translation.
    """
    kind = type(op)
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, IntegerAttr | FloatAttr)
        return b.constant(op.value.value.data, llvm_type(op.result.type))
    if kind in _INTEGERS:
        return b.binary(_INTEGERS[kind], args[0], args[1])
    if kind in _FLOATS:
        return b.binary(_FLOATS[kind], args[0], args[1], CONTRACT)
    if kind in _INTRINSICS:
        return b.intrinsic(f"{_INTRINSICS[kind]}.{args[0].type}", args, args[0].type)
    if kind in _CASTS:
        return b.cast(_CASTS[kind], args[0], op.results[0].type)
    if isinstance(op, arith.CmpiOp):
        return b.icmp(_PREDICATES[op.predicate.value.data], args[0], args[1])
    if isinstance(op, arith.SelectOp):
        return b.select(args[0], args[1], args[2])
    raise CompileError(f"no translation to a GPU for {op.name}")


def scalar(k: Kernel, op: Operation) -> None:
    """`arith` on scalars; an index is an i32."""
    args = [k.scalar(value) for value in op.operands]
    k.bind(op.results[0], scalar_value(k.b, op, args))


def convert_block(k: Kernel, block: Block) -> None:
    """All ops of a block but `scf.yield`."""
    for op in block.ops:
        if not isinstance(op, scf.YieldOp):
            k.b.location = op.location
            k.convert(k, op)


def for_loop(k: Kernel, op: Operation) -> None:
    """`scf.for`: tested at its end where it is known to run at least once."""
    assert isinstance(op, scf.ForOp)
    start, end, step = (k.scalar(v) for v in (op.lb, op.ub, op.step))
    inits = k.flatten(op.iter_args)
    types = [value.type for value in inits]
    body = k.b.new_block([i32, *types])
    done = Block(arg_types=types)
    if _runs(op):
        k.b.br(body, start, *inits)
    else:
        some = k.b.icmp("slt", start, end)
        k.b.cond_br(some, body, (start, *inits), done, inits)
    k.b.block = body
    arguments = op.body.block.args
    k.bind(arguments[0], body.args[0])
    k.unflatten(arguments[1:], body.args[1:])
    convert_block(k, op.body.block)
    last = op.body.block.last_op
    assert isinstance(last, scf.YieldOp)
    results = k.flatten(last.operands)
    following = k.b.binary("add", body.args[0], step)
    more = k.b.icmp("slt", following, end)
    k.b.cond_br(more, body, (following, *results), done, results)
    k.b.region.add_block(done)
    k.b.block = done
    k.unflatten(op.results, done.args)


def _runs(op: scf.ForOp) -> bool:
    bounds = [known_integer(value) for value in (op.lb, op.ub)]
    return None not in bounds and bounds[0] < bounds[1]  # type: ignore[operator]


def known_integer(value: SSAValue) -> int | None:
    """The number that a value is, if it is a constant."""
    op = value.owner
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return op.value.value.data
    return None


def specialise(k: Kernel, op: Operation) -> None:
    """Deals the warps out to the roles and meets again behind them."""
    assert isinstance(op, tile.SpecialiseOp)
    b, outer = k.b, k.group
    warp = k.arith("lshr", outer.thread, 5)
    zero, full = k.number(0), k.number(-1)
    warp = k.nvvm(nvvm.ShflOp("idx", full, warp, zero, k.number(31)))
    assert warp is not None
    done = Block()
    first_warp, first_group = 0, 0
    entry = 65536 // (32 * k.launch.warps * k.launch.blocks_per_sm) // 8 * 8
    for role in op.roles:
        here, following = b.new_block(), Block()
        end = first_warp + role.total_warps
        mine = b.icmp("ult", warp, k.number(end))
        b.cond_br(mine, here, (), following, ())
        b.block = here
        _role(k, role, outer, warp, first_warp, first_group, entry)
        b.br(done)
        b.region.add_block(following)
        b.block = following
        first_warp, first_group = end, first_group + role.groups.value.data
    b.br(done)
    b.region.add_block(done)
    b.block, k.group = done, outer


def _role(
    k: Kernel,
    role: tile.RoleOp,
    outer: Group,
    warp: SSAValue,
    first_warp: int,
    first_group: int,
    entry: int,
) -> None:
    if role.budget is not None:
        way = "increase" if role.budget > entry else "decrease"
        k.nvvm(nvvm.SetMaxRegisterOp(way, role.budget))
    warps = role.warps.value.data
    group = k.number(0)
    if role.groups.value.data > 1:
        group = k.arith("udiv", k.arith("sub", warp, first_warp), warps)
    thread = k.arith("sub", outer.thread, 32 * first_warp)
    if role.groups.value.data > 1:
        thread = k.b.binary("sub", thread, k.arith("mul", group, 32 * warps))
    k.group = Group(warps, thread, k.arith("add", group, first_group))
    k.bind(role.body.block.args[0], group)
    convert_block(k, role.body.block)
    k.group = outer


def elect(k: Kernel, op: Operation) -> None:
    """The first thread of the group runs the body."""
    assert isinstance(op, tile.ElectOp)
    with k.b.when(k.is_leader()):
        convert_block(k, op.body.block)


def barrier(k: Kernel, op: Operation) -> None:
    """The block's barrier, or that of the group."""
    assert isinstance(op, tile.BarrierOp)
    if op.kind.data is tile.BarrierKind.GROUP:
        k.group_barrier()
    else:
        k.nvvm(nvvm.BarrierOp())


def cursor(k: Kernel, op: Operation) -> None:
    """Stage 0 in phase 0."""
    k.bind(op.results[0], Cursor(k.number(0), k.number(0)))


def advance(k: Kernel, op: Operation) -> None:
    """The next stage; the phase flips on the way round."""
    assert isinstance(op, tile.AdvanceOp)
    kind, at = op.cursor.type, k.values[op.cursor]
    assert isinstance(kind, tile.CursorType) and isinstance(at, Cursor)
    if kind.stages == 1:
        k.bind(op.result, Cursor(at.stage, k.arith("xor", at.phase, 1)))
        return
    following = k.arith("add", at.stage, 1)
    wraps = k.b.icmp("eq", following, k.number(kind.stages))
    stage = k.b.select(wraps, k.number(0), following)
    phase = k.b.binary("xor", at.phase, k.b.cast("zext", wraps, i32))
    k.bind(op.result, Cursor(stage, phase))


def raster(k: Kernel, op: Operation) -> None:
    """Row and column of an output tile; see `tile.raster`."""
    assert isinstance(op, tile.RasterOp)
    rows, columns = op.extents.get_values()
    group = min(op.group.value.data, rows)
    index = k.scalar(op.index)
    band = k.arith("udiv", index, group * columns)
    rest = k.arith("urem", index, group * columns)
    first = k.arith("mul", band, group)
    height: int | SSAValue = group
    if rows % group:
        left = k.b.binary("sub", k.number(rows), first)
        fewer = k.b.icmp("ult", left, k.number(group))
        height = k.b.select(fewer, left, k.number(group))
    row = k.b.binary("add", first, k.arith("urem", rest, height))
    k.bind(op.row, row)
    k.bind(op.column, k.arith("udiv", rest, height))


def cluster_rank(k: Kernel, op: Operation) -> None:
    """The block's rank in its cluster."""
    rank = k.nvvm(nvvm.ClusterIdOp())
    assert rank is not None
    k.bind(op.results[0], rank)


def cluster_sync(k: Kernel, op: Operation) -> None:
    """Arrive and wait, relaxed where no memory is ordered."""
    assert isinstance(op, tile.ClusterSyncOp)
    relaxed = op.relaxed is not None
    k.nvvm(nvvm.ClusterArriveRelaxedOp() if relaxed else nvvm.ClusterArriveOp())
    k.nvvm(nvvm.ClusterWaitOp())


def dependency_wait(k: Kernel, op: Operation) -> None:
    """Waits for the grids before this one."""
    k.nvvm(nvvm.GriddepcontrolWaitOp())


def dependency_launch(k: Kernel, op: Operation) -> None:
    """Lets the next grid start."""
    k.nvvm(nvvm.GriddepcontrolLaunchDependentsOp())


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    **dict.fromkeys((*_INTEGERS, *_FLOATS, *_INTRINSICS, *_CASTS), scalar),
    arith.ConstantOp: scalar,
    arith.CmpiOp: scalar,
    arith.SelectOp: scalar,
    scf.ForOp: for_loop,
    tile.SpecialiseOp: specialise,
    tile.ElectOp: elect,
    tile.BarrierOp: barrier,
    tile.CursorOp: cursor,
    tile.AdvanceOp: advance,
    tile.RasterOp: raster,
    tile.ClusterRankOp: cluster_rank,
    tile.ClusterSyncOp: cluster_sync,
    tile.DependencyWaitOp: dependency_wait,
    tile.DependencyLaunchOp: dependency_launch,
}
"""The rules of this file."""
