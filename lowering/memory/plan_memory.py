"""Give every tensor of the host program a place: a slot of the arena, or an output.

Input invariant: `func.func`s of `engine` ops and `nn.constant`s. Output: every launch,
`engine.empty` and `engine.copy` has `slots`; the function's `engine.slots` lists the
slots' sizes in bytes, as dims.

Tensors that are never alive at one time share a slot. The largest are placed first, so
that a slot is seldom larger than its first tensor. What is returned and allocated in
the function's own block lies in the output's buffer, and costs no copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DenseArrayBase, ModuleOp, i64
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, OpResult, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects.engine import (
    OUTPUT_SLOT,
    SLOTS_ATTRIBUTE,
    CopyOp,
    EmptyOp,
    LaunchOp,
)
from stepwell.dialects.provenance import location_names
from stepwell.dialects.shapes import (
    Dim,
    DimsAttr,
    Ranges,
    dim_max,
    dims_of,
    evaluate,
    is_zero_or_more,
    ranges_of,
    symbols_of,
)
from stepwell.errors import CompileError

from .lifetimes import (
    Storage,
    returned_at_top,
    source_of,
    storages_of,
    times_of,
)

TYPICAL_SIZE = 64
"""The value of a symbol without `opt` or maximum, where sizes are compared."""


@dataclass
class Slot:
    """Memory of the arena, shared by storages that are never alive together.

    Args:
        nbytes: its size.
        late: the symbols of the size that the run binds, not its inputs. There is no
            slot before they are bound, so that all members need the same ones.
        members: the storages.
    """

    nbytes: Dim
    late: frozenset[str]
    members: list[Storage]

    def fits(self, storage: Storage) -> bool:
        """Whether no member is alive together with `storage`."""
        return not any(storage.overlaps(member) for member in self.members)


def copy_ties_that_are_read_later(function: FuncOp) -> None:
    """Give a tied operand a copy, where writing into it would be seen by others.

    An input or a constant must stay as it is; so must a tensor that is used after the
    launch.
    """
    times = times_of(function)
    for op in [one for one in times if isinstance(one, LaunchOp)]:
        for operand in set(op.tied_operands.values()):
            if not _may_overwrite(op, operand, times):
                copy = CopyOp(op.inputs[operand])
                copy.location = op.location
                Rewriter.insert_op(copy, InsertPoint.before(op))
                op.operands[operand] = copy.output


def _may_overwrite(op: LaunchOp, operand: int, times: dict[Operation, int]) -> bool:
    root = source_of(op.inputs[operand])
    owner = root.owner
    if not isinstance(owner, LaunchOp | EmptyOp | CopyOp):
        return False
    if owner.parent is not op.parent:
        return False
    sharing = _sharing(root)
    tied = {result for result, source in op.tied_operands.items() if source == operand}
    results = _with_aliases(op.results[index] for index in tied)
    return all(
        times.get(use.operation, 0) <= times[op]
        for value in sharing - results
        for use in value.uses
    )


def _sharing(root: SSAValue) -> set[SSAValue]:
    """Every value that lies in the memory of `root`."""
    return _with_aliases([root])


def _with_aliases(values: Iterable[SSAValue]) -> set[SSAValue]:
    found: set[SSAValue] = set()
    todo = list(values)
    while todo:
        value = todo.pop()
        found.add(value)
        for use in value.uses:
            todo += [r for r in use.operation.results if _lies_in(r, value)]
    return found


def _lies_in(result: SSAValue, value: SSAValue) -> bool:
    return source_of(result) is source_of(value) and source_of(result) is not result


def merge_in_place(storages: list[Storage], kept: Iterable[SSAValue]) -> list[Storage]:
    """Let a kernel write over an operand that dies there, where it may.

    `kept` are the roots that lie in output buffers.
    """
    by_value = {value: one for one in storages for value in one.values}
    outputs = set(kept)
    merged: list[Storage] = []
    for storage in storages:
        other = _operand_that_dies(storage, by_value)
        if other is None or storage.root in outputs or other.root in outputs:
            merged.append(storage)
            continue
        other.values += storage.values
        other.end = storage.end
        by_value.update(dict.fromkeys(storage.values, other))
    return merged


def _operand_that_dies(
    storage: Storage, by_value: dict[SSAValue, Storage]
) -> Storage | None:
    """The storage of an operand that the launch of `storage` may write over: of the
    same size, used last there, and by no other operand."""
    root = storage.root
    op = root.owner
    if not isinstance(op, LaunchOp) or not isinstance(root, OpResult):
        return None
    for index in op.in_place_operands.get(root.index, ()):
        other = by_value.get(op.inputs[index])
        if other is None or other.end != storage.begin:
            continue
        readers = sum(by_value.get(operand) is other for operand in op.inputs)
        if readers == 1 and other.nbytes == storage.nbytes:
            return other
    return None


def assign_slots(
    storages: Iterable[Storage], ranges: Ranges, early: frozenset[str]
) -> list[Slot]:
    """Slots for all storages: the largest first, each into the first that is free.

    `early` are the symbols that inputs bind.
    """
    slots: list[Slot] = []
    order = sorted(storages, key=lambda one: (-_typical(one.nbytes, ranges), one.begin))
    for storage in order:
        late = symbols_of(storage.nbytes) - early
        free = [one for one in slots if one.late == late and one.fits(storage)]
        slot = next((one for one in free if _holds(one, storage, ranges)), None)
        if slot is None and free:
            slot = min(free, key=lambda one: _typical(one.nbytes, ranges))
            slot.nbytes = dim_max(slot.nbytes, storage.nbytes)
        if slot is None:
            slots.append(slot := Slot(storage.nbytes, late, []))
        slot.members.append(storage)
    return slots


def early_symbols(function: FuncOp) -> frozenset[str]:
    """The symbols that the sizes of the inputs bind."""
    dims = (dim for argument in function.args for dim in dims_of(argument))
    return frozenset[str]().union(*map(symbols_of, dims))


def _holds(slot: Slot, storage: Storage, ranges: Ranges) -> bool:
    return is_zero_or_more(slot.nbytes - storage.nbytes, ranges)


def _typical(size: Dim, ranges: Ranges) -> int:
    """The size at each symbol's optimum, for comparison."""
    values: dict[str, int] = {}
    for name in symbols_of(size):
        known = ranges.get(name)
        value = None if known is None else known.opt or known.max
        values[name] = TYPICAL_SIZE if value is None else value
    return evaluate(size, values)


def verify_no_overlap(storages: list[Storage], slots: dict[SSAValue, int]) -> None:
    """Check that storages in one slot are never alive together.

    Raises:
        CompileError: two are.
    """
    for index, storage in enumerate(storages):
        for other in storages[:index]:
            mine, theirs = slots[storage.root], slots[other.root]
            if mine == theirs != OUTPUT_SLOT and storage.overlaps(other):
                raise CompileError(
                    f"expected tensors that are never alive together in slot {mine}",
                    notes=[
                        f"one of {', '.join(_names(other))}",
                        f"one of {', '.join(_names(storage))}",
                    ],
                )


def _names(storage: Storage) -> tuple[str, ...]:
    owner = storage.root.owner
    assert isinstance(owner, Operation)
    return location_names(owner) or (owner.name,)


@dataclass(frozen=True)
class PlanMemoryPass(ModulePass):
    """Plan the memory of every function of the host program."""

    name = "plan-memory"

    in_place: bool = True

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Set `slots` and `engine.slots`."""
        ranges = ranges_of(op)
        for function in [one for one in op.ops if isinstance(one, FuncOp)]:
            if not function.is_declaration:
                self._plan(function, ranges)

    def _plan(self, function: FuncOp, ranges: Ranges) -> None:
        copy_ties_that_are_read_later(function)
        storages = storages_of(function, times_of(function))
        outputs = returned_at_top(function)
        if self.in_place:
            storages = merge_in_place(storages, outputs)
        inside = [one for one in storages if one.root not in outputs]
        slots = assign_slots(inside, ranges, early_symbols(function))
        places = dict.fromkeys(outputs, OUTPUT_SLOT)
        for number, slot in enumerate(slots):
            places |= {storage.root: number for storage in slot.members}
        verify_no_overlap(storages, places)
        for storage in storages:
            for value in storage.values:
                places[value] = places[storage.root]
        for op in function.body.walk():
            if isinstance(op, LaunchOp | EmptyOp | CopyOp):
                # A result tied to an input of a loop's body has no place of its own.
                found = [places.get(result, OUTPUT_SLOT) for result in op.results]
                op.properties["slots"] = DenseArrayBase.from_list(i64, found)
        sizes = DimsAttr(slot.nbytes for slot in slots)
        function.attributes[SLOTS_ATTRIBUTE] = sizes
