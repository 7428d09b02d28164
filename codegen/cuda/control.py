"""Rules of loops, roles of warps, barriers, and scalar arithmetic."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects import arith, math, scf
from xdsl.dialects.builtin import IndexType, i32
from xdsl.ir import Block, Operation, SSAValue

from stepwell.codegen.indices import index_expression
from stepwell.dialects import nvvm, tile
from stepwell.dialects.dims import ceildiv

from .kernel import Cursor, Group, Kernel


def scalar(k: Kernel, op: Operation) -> None:
    """An op on index values becomes an expression, any other an instruction."""
    result = op.results[0]
    if isinstance(result.type, IndexType):
        known = index_expression(k.space, op)
        if known is not None:
            k.space.bind(result, k.space.simplify(known))
            return
    operands = [k.scalar(value) for value in op.operands]
    k.bind(result, k.scalars.apply(op, operands, 1))


def dim(k: Kernel, op: Operation) -> None:
    """A dim expression over the kernel's symbols."""
    assert isinstance(op, tile.DimOp)
    k.space.bind(op.result, op.dim)


def convert_block(k: Kernel, block: Block) -> None:
    """All ops of a block but `scf.yield`."""
    for op in block.ops:
        if not isinstance(op, scf.YieldOp):
            k.b.location = op.location
            k.convert(k, op)


def for_loop(k: Kernel, op: Operation) -> None:
    """`scf.for`: tested at its end, and before it unless it is known to run."""
    assert isinstance(op, scf.ForOp)
    space = k.space
    low, high, step = (k.dim(v) for v in (op.lb, op.ub, op.step))
    trip = space.simplify(ceildiv(high - low, step))
    count, carried = space.emit(trip), k.flatten(op.iter_args)
    runs = space.is_non_negative(trip - 1)
    body = op.body.block
    with (
        k.b.loop(count, carried, at_least_once=runs) as loop,
        space.loop(loop.entry),
    ):
        at = space.leaf("i", loop.index, trip)
        space.bind(body.args[0], space.simplify(low + at * step))
        k.unflatten(body.args[1:], loop.args)
        convert_block(k, body)
        last = body.last_op
        assert isinstance(last, scf.YieldOp)
        loop.results = k.flatten(last.operands)
    k.unflatten(op.results, loop.results)


def if_op(k: Kernel, op: Operation) -> None:
    """`scf.if`: its results are the arguments of the block behind it."""
    assert isinstance(op, scf.IfOp)
    b, then = k.b, k.b.new_block()
    other = b.new_block() if op.false_region.blocks else None
    entry = b.block
    condition = k.scalar(op.cond)
    done: Block | None = None
    for block, region in ((then, op.true_region), (other, op.false_region)):
        if block is None:
            continue
        b.block = block
        with k.space.scope():
            convert_block(k, region.block)
            last = region.block.last_op
            values = k.flatten(last.operands) if isinstance(last, scf.YieldOp) else []
        done = done or Block(arg_types=[value.type for value in values])
        b.br(done, *values)
    assert done is not None
    b.block = entry
    b.cond_br(condition, then, (), other or done, ())
    b.region.add_block(done)
    b.block = done
    k.unflatten(op.results, done.args)


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
        with k.space.scope():
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
    k.group = Group(warps, thread, k.arith("add", group, first_group), group)
    at = k.space.leaf("group", group, role.groups.value.data)
    k.space.bind(role.body.block.args[0], at)
    convert_block(k, role.body.block)
    k.group = outer


def elect(k: Kernel, op: Operation) -> None:
    """The first thread of the group runs the body."""
    assert isinstance(op, tile.ElectOp)
    with k.b.when(k.is_leader()), k.space.scope():
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
    column = k.arith("udiv", rest, height)
    k.space.bind(op.row, k.space.leaf("row", row, rows))
    k.space.bind(op.column, k.space.leaf("column", column, columns))


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
    **{op: scalar for dialect in (arith.Arith, math.Math) for op in dialect.operations},
    scf.ForOp: for_loop,
    scf.IfOp: if_op,
    tile.DimOp: dim,
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
