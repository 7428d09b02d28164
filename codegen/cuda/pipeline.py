"""Rules of rings, tensor copies, and tiles in shared memory."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import i16
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nvvm, tile
from stepwell.dialects.tile.device_types import STAGE_ALIGNMENT
from stepwell.dialects.tile.scratch import SHARED_STRIDE
from stepwell.errors import CompileError

from .kernel import CLUSTER, Cursor, Kernel, Plain, Ring, Shared, bytes_of, integer

WAIT_TICKS = 0x989680
"""How long a barrier is tried before it is tried again, in nanoseconds."""


def ring(k: Kernel, op: Operation) -> None:
    """A ring's place was planned; its barriers are initialised in the prologue."""
    known = k.offsets[op]
    assert isinstance(known, Ring)
    k.bind(op.results[0], known)


def initialise_ring(k: Kernel, op: tile.RingOp) -> None:
    """One thread initialises both barriers of each stage."""
    known = k.offsets[op]
    assert isinstance(known, Ring) and isinstance(op.result.type, tile.RingType)
    consumers = op.consumers.value.data * k.launch.cluster
    for stage in range(op.result.type.stages):
        k.nvvm(nvvm.MBarrierInitOp(k.at(known.full + 8 * stage), k.number(1)))
        count = k.number(consumers)
        k.nvvm(nvvm.MBarrierInitOp(k.at(known.empty + 8 * stage), count))


def _stage(k: Kernel, op: Operation) -> tuple[Ring, tile.RingType, Cursor]:
    ring_value, cursor_value = op.operands[-2:]
    known, at = k.values[ring_value], k.values[cursor_value]
    kind = ring_value.type
    assert isinstance(known, Ring) and isinstance(at, Cursor)
    assert isinstance(kind, tile.RingType)
    return known, kind, at


def _barrier(k: Kernel, offset: int, at: Cursor) -> SSAValue:
    return k.offset(k.at(offset), k.arith("mul", at.stage, 8))


def _wait(k: Kernel, barrier: SSAValue, parity: SSAValue) -> None:
    k.nvvm(nvvm.MBarrierTryWaitParityOp(barrier, parity, k.number(WAIT_TICKS)))


def _bind_tiles(
    k: Kernel, tiles: tuple[SSAValue, ...], known: Ring, at: Cursor
) -> None:
    for result, offset in zip(tiles, known.tiles, strict=True):
        kind = result.type
        assert isinstance(kind, tile.SharedType)
        step = -(-kind.bytes // STAGE_ALIGNMENT) * STAGE_ALIGNMENT
        pointer = k.offset(k.at(offset), k.arith("mul", at.stage, step))
        k.bind(result, Shared(kind, pointer))


def acquire(k: Kernel, op: Operation) -> None:
    """Waits for the empty barrier, announces the bytes on the full one."""
    assert isinstance(op, tile.AcquireOp)
    known, _, at = _stage(k, op)
    _wait(k, _barrier(k, known.empty, at), k.arith("xor", at.phase, 1))
    full = _barrier(k, known.full, at)
    k.nvvm(nvvm.MBarrierArriveExpectTxOp(full, k.number(op.bytes.value.data)))
    k.bind(op.slot, full)
    _bind_tiles(k, tuple(op.tiles), known, at)


def wait(k: Kernel, op: Operation) -> None:
    """Waits for the full barrier."""
    assert isinstance(op, tile.WaitOp)
    known, _, at = _stage(k, op)
    _wait(k, _barrier(k, known.full, at), at.phase)
    _bind_tiles(k, tuple(op.tiles), known, at)


def release(k: Kernel, op: Operation) -> None:
    """One lane of each warp arrives at the empty barrier."""
    assert isinstance(op, tile.ReleaseOp)
    if k.launch.cluster > 1:
        raise CompileError("no translation for rings of a cluster yet")
    known, _, at = _stage(k, op)
    lane = k.arith("and", k.group.thread, 31)
    arrives = k.b.icmp("eq", lane, k.number(0))
    if op.condition is not None:
        arrives = k.b.binary("and", arrives, k.scalar(op.condition))
    k.nvvm(nvvm.MBarrierArriveOp(_barrier(k, known.empty, at), arrives))


def nothing(k: Kernel, op: Operation) -> None:
    """TMA signals by itself; the planned memory needs no instruction."""


def stage(k: Kernel, op: Operation) -> None:
    """The leader waits until the buffer was read, then the group meets."""
    assert isinstance(op, tile.StageOp)
    kind, at = op.staging.type, k.values[op.cursor]
    assert isinstance(kind, tile.StagingType) and isinstance(at, Cursor)
    with k.b.when(k.is_leader()):
        k.nvvm(nvvm.BulkWaitGroupOp(kind.stages - 1, read=True))
    k.group_barrier()
    base = k.values[op.staging]
    assert isinstance(base, Plain) and isinstance(op.tile.type, tile.SharedType)
    step = k.arith("mul", at.stage, kind.data_bytes // kind.stages)
    offset = k.b.binary("add", base.value, step)
    k.bind(op.tile, Shared(op.tile.type, k.at(offset)))


def staging(k: Kernel, op: Operation) -> None:
    """Where the group's buffers start: each group has its own."""
    assert isinstance(op, tile.StagingOp)
    start = k.offsets[op]
    kind = op.result.type
    assert isinstance(start, int) and isinstance(kind, tile.StagingType)
    role = op.parent_op()
    if not isinstance(role, tile.RoleOp):
        k.bind(op.result, k.number(start))
        return
    own = k.number(0)
    if SHARED_STRIDE in op.attributes:
        group = k.scalar(role.body.block.args[0])
        own = k.arith("mul", group, integer(op, SHARED_STRIDE))
    k.bind(op.result, k.arith("add", own, start))


def shared_slice(k: Kernel, op: Operation) -> None:
    """The address of a part: whole blocks, so a constant step per part."""
    assert isinstance(op, tile.SharedSliceOp)
    source, kind = k.shared(op.source), op.result.type
    assert isinstance(kind, tile.SharedType)
    pointer = source.pointer
    for dim, index in enumerate(op.indices):
        if index == 0 or kind.extents[dim] == source.kind.extents[dim]:
            continue
        place = [0] * len(kind.extents)
        place[dim] = kind.extents[dim]
        step = bytes_of(kind.element_type, int(kind.layout.offset_of(place)))
        each, rest = divmod(step, kind.extents[dim])
        if rest:
            raise CompileError(f"a part of {kind} is not a whole step in memory")
        pointer = k.offset(pointer, k.arith("mul", k.index(index), each))
    k.bind(op.result, Shared(kind, pointer))


def shared_transpose(k: Kernel, op: Operation) -> None:
    """Another layout of the same memory."""
    assert isinstance(op, tile.SharedTransposeOp)
    kind = op.result.type
    assert isinstance(kind, tile.SharedType)
    k.bind(op.result, Shared(kind, k.shared(op.source).pointer))


def _copies(k: Kernel, op: tile.TmaLoadOp | tile.TmaStoreOp):
    """Address and coordinates of each box, the innermost coordinate first."""
    known, kind = k.shared(op.tile), op.tensor.type
    assert isinstance(kind, tile.TensorMapType)
    boxes = kind.boxes(known.kind)
    rows, columns = boxes.extents
    indices = [k.index(index) for index in op.indices]
    if kind.is_im2col and boxes.count[0] > 1:
        raise CompileError("a window's pixels must fit one box")
    for i in range(boxes.count[0]):
        for j in range(boxes.count[1]):
            place = (i * rows, j * columns)
            offset = bytes_of(
                kind.element_type, int(known.kind.layout.offset_of(place))
            )
            at = list(indices)
            at[kind.over[0]] = k.arith("add", at[kind.over[0]], place[0])
            at[-1] = k.arith("add", at[-1], place[1])
            yield k.offset(known.pointer, offset), list(reversed(at))


def tma_load(k: Kernel, op: Operation) -> None:
    """A bulk tensor copy for each box of the tile."""
    assert isinstance(op, tile.TmaLoadOp)
    if op.multicast is not None:
        raise CompileError("no translation for multicast copies yet")
    tensor, barrier = k.scalar(op.tensor), k.scalar(op.slot)
    offsets = [k.b.cast("trunc", k.index(o), i16) for o in reversed(op.offset)]
    for pointer, coordinates in _copies(k, op):
        target = k.b.cast("addrspacecast", pointer, CLUSTER)
        k.nvvm(
            nvvm.BulkTensorLoadOp(target, tensor, barrier, coordinates, offsets=offsets)
        )


def tma_store(k: Kernel, op: Operation) -> None:
    """A bulk tensor copy for each box, as one group."""
    assert isinstance(op, tile.TmaStoreOp)
    tensor = k.scalar(op.tensor)
    for pointer, coordinates in _copies(k, op):
        k.nvvm(nvvm.BulkTensorStoreOp(tensor, pointer, coordinates))
    k.nvvm(nvvm.BulkCommitGroupOp())


def tma_store_wait(k: Kernel, op: Operation) -> None:
    """Waits for this thread's stores to have read shared memory."""
    assert isinstance(op, tile.TmaStoreWaitOp)
    k.nvvm(nvvm.BulkWaitGroupOp(op.pending.value.data, read=True))


def fence_async(k: Kernel, op: Operation) -> None:
    """Orders writes to shared memory before the copy engine's reads."""
    k.nvvm(nvvm.FenceProxyOp())


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.RingOp: ring,
    tile.AcquireOp: acquire,
    tile.CommitOp: nothing,
    tile.WaitOp: wait,
    tile.ReleaseOp: release,
    tile.StagingOp: staging,
    tile.StageOp: stage,
    tile.SharedSliceOp: shared_slice,
    tile.SharedTransposeOp: shared_transpose,
    tile.TmaLoadOp: tma_load,
    tile.TmaStoreOp: tma_store,
    tile.TmaStoreWaitOp: tma_store_wait,
    tile.FenceAsyncOp: fence_async,
}
"""The rules of this file."""
