"""When the tensors of the host program are alive, and which of them share memory.

Every op has a *time*: its place in a walk of the function, where a region's ops follow
their op. A *storage* is the memory of one result of `engine.launch`, `engine.empty` or
`engine.copy`, with everything that lies in the same memory: views (`engine.alias`) and
results tied to an operand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, OpResult, SSAValue

from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.engine import AliasOp, CopyOp, EmptyOp, LaunchOp, LoopOp
from stepwell.dialects.shapes import Dim, element_of, num_elements


@dataclass
class Storage:
    """Memory of its own: the value that is first in it, and its time alive.

    Attributes:
        root: the result that the storage is allocated for.
        begin, end: times of the first write and the last use, both inclusive.
        values: everything that lies in it, `root` first.
    """

    root: SSAValue
    begin: int
    end: int
    values: list[SSAValue] = field(default_factory=list[SSAValue])

    @property
    def nbytes(self) -> Dim:
        """Bytes of memory."""
        return nbytes_of(self.root)

    def overlaps(self, other: Storage) -> bool:
        """Whether both are alive at one time."""
        return self.begin <= other.end and other.begin <= self.end


def nbytes_of(value: SSAValue) -> Dim:
    """Bytes of a tensor in memory, where an element takes at least one."""
    assert isinstance(value.type, TensorType)
    return num_elements(value) * numpy_dtype(element_of(value)).itemsize


def source_of(value: SSAValue) -> SSAValue:
    """The value whose memory `value` lies in, itself if it has memory of its own."""
    while isinstance(value, OpResult):
        op = value.op
        if isinstance(op, AliasOp):
            value = op.source
        elif isinstance(op, LaunchOp) and value.index in op.tied_operands:
            value = op.inputs[op.tied_operands[value.index]]
        else:
            break
    return value


def times_of(function: FuncOp) -> dict[Operation, int]:
    """The time of each op."""
    return {op: time for time, op in enumerate(function.body.walk())}


def storages_of(function: FuncOp, times: dict[Operation, int]) -> list[Storage]:
    """All storages of a function, in the order of their first write."""
    storages: dict[SSAValue, Storage] = {}
    for op, time in times.items():
        if isinstance(op, LaunchOp | EmptyOp | CopyOp):
            for result in op.results:
                if source_of(result) is result:
                    storages[result] = Storage(result, time, time)
        for result in op.results:
            storage = storages.get(source_of(result))
            if storage is not None:
                storage.values.append(result)
                storage.end = max(storage.end, _last_use(result, storage, times))
    return list(storages.values())


def _last_use(value: SSAValue, storage: Storage, times: dict[Operation, int]) -> int:
    """The time of the last use of `value`, in its storage's block or inside it."""
    home = storage.root.owner
    block = home.parent if isinstance(home, Operation) else home
    last = times[value.op] if isinstance(value, OpResult) else storage.begin
    for use in value.uses:
        last = max(last, _time_of_use(use.operation, block, times))
    return last


def _time_of_use(
    user: Operation, block: Block | None, times: dict[Operation, int]
) -> int:
    """A use inside a loop that the storage's block is outside of lasts until the loop
    is over: the next round uses it again."""
    time = times[user]
    op: Operation | None = user
    while op is not None and op.parent is not block:
        op = op.parent_op()
        if isinstance(op, LoopOp):
            time = max(time, _end_of(op, times))
    return time


def _end_of(op: Operation, times: dict[Operation, int]) -> int:
    """The time of the last op inside `op`."""
    return max((times[inner] for inner in op.walk() if inner in times), default=0)


def returned_at_top(function: FuncOp) -> dict[SSAValue, int]:
    """For each storage root that can lie in an output's buffer, that output.

    The returned value must be all of the storage, and the root in the function's own
    block: what a region makes may be made twice, or never.
    """
    block = function.body.block
    found: dict[SSAValue, int] = {}
    last = block.last_op
    assert isinstance(last, ReturnOp)
    for index, value in enumerate(last.operands):
        root = source_of(value)
        owner = root.owner
        is_own = isinstance(owner, LaunchOp | EmptyOp | CopyOp)
        is_top = isinstance(owner, Operation) and owner.parent is block
        if is_own and is_top and nbytes_of(root) == nbytes_of(value):
            found.setdefault(root, index)
    return found
