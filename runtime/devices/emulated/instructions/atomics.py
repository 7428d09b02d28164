"""Atomics: atom and red, one thread after the other, in thread order.

ISA chapter "Parallel Synchronization and Communication Instructions".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import (
    WIDTHS,
    Address,
    Instruction,
    Vector,
)
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    element_type,
    instruction,
    unsupported,
)

from . import remote, wide
from .addressing import by_space, checked, locate, state_space, taken
from .updates import PAIRS, UPDATES

RUNNING = {
    "add": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
"""Updates of one element after the other that NumPy does in one call."""


@instruction("atom", "red")
def atomic(one: Instruction, scope: Scope) -> Operation:
    """`atom` (returns the old value) and `red`."""
    type_ = element_type(one)
    name = next((m for m in one.modifiers if m in UPDATES or m == "cas"), None)
    if name is None:
        raise unsupported(one)
    if "async" in one.modifiers:
        return remote.reduce(one, scope, name)
    if type_ == "b128":
        return wide.atomic(one, scope, name)
    if any(isinstance(operand, Vector) for operand in one.operands):
        return _vector_atomic(one, scope)
    operands = list(one.operands)
    write = scope.write(operands.pop(0), type_) if one.opcode == "atom" else None
    where = locate(one, operands[0], scope, state_space(one))
    reads = [scope.read(operand, type_) for operand in operands[1:]]
    size = WIDTHS[type_] // 8
    dtype = NUMPY_TYPES[PAIRS.get(type_, type_)]
    single_sum = type_ == "f32" and name == "add"

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), size, "atomic")
        raw = memory.view(size)
        view = raw if raw.dtype.itemsize != dtype.itemsize else raw.view(dtype)
        values = [
            np.ascontiguousarray(taken(threads, mask, read(threads))).view(view.dtype)
            for read in reads
        ]
        flushes = single_sum and memory is threads.device.memory.memory
        update = "add.ftz" if flushes else name
        before = _one_by_one(view, offsets // size, values, update, dtype)
        if write is not None:
            old = np.empty(mask.shape, raw.dtype)
            old[mask] = before.view(raw.dtype)
            write(threads, mask, old.view(NUMPY_TYPES[type_]))
        found = before.view(raw.dtype)
        if np.array_equal(found, raw[offsets // size]):
            place = memory.label(int(offsets[0]))
            threads.look(place, offsets.tobytes() + found.tobytes())
        else:
            threads.wave.effects += 1

    return by_space(run)


def _one_by_one(
    view: NDArray, at: NDArray[np.int64], values: list[NDArray], name: str, of: np.dtype
) -> NDArray:
    """Update elements in order; what each update found.

    Updates of different elements are done together: first the first one of each
    element, then the second, and so on. `of` is the type of what is updated, which
    may be a part of an element.
    """
    order = np.argsort(at, kind="stable")
    first = np.flatnonzero(np.diff(at[order], prepend=-1))
    turn = np.arange(at.size) - np.repeat(first, np.diff(first, append=at.size))
    before = np.empty(at.size, view.dtype)
    if name in RUNNING and view.dtype == of and first.size < turn.max():
        for place in np.split(order, first[1:]):
            element = at[place[0]]
            found = np.concatenate([view[element : element + 1], values[0][place]])
            found = RUNNING[name].accumulate(found, dtype=of)
            before[place], view[element] = found[:-1], found[-1]
        return before
    by_turn = order[np.argsort(turn, kind="stable")]
    ends = np.cumsum(np.bincount(turn)).tolist()
    for start, stop in zip([0, *ends], ends, strict=False):
        now = by_turn[start:stop]
        current = before[now] = view[at[now]]
        given = [value[now] for value in values]
        if name == "cas":
            kept = np.where(current == given[0], given[1], current)
        else:
            kept = UPDATES[name](current.view(of), given[0].view(of))
            kept = kept.astype(of).view(view.dtype)
        view[at[now]] = kept
    return before


def _vector_atomic(one: Instruction, scope: Scope) -> Operation:
    """Elements of a vector, each an atomic of its own (ISA: no order among them)."""
    returns = one.opcode == "atom"
    address = one.operands[returns]
    if not isinstance(address, Address):
        raise unsupported(one)
    operands = [o for o in one.operands if isinstance(o, Vector)]
    if len(operands) != 1 + returns:
        raise unsupported(one)
    modifiers = tuple(m for m in one.modifiers if m not in ("v2", "v4", "v8"))
    size = WIDTHS[element_type(one)] // 8
    parts: list[Operation] = []
    for index, elements in enumerate(zip(*(o.elements for o in operands), strict=True)):
        place = replace(address, offset=address.offset + index * size)
        targets, values = elements[:-1], elements[-1:]
        part = replace(one, modifiers=modifiers, operands=(*targets, place, *values))
        parts.append(atomic(part, scope))

    def run(threads: Threads, mask: Mask) -> None:
        for part in parts:
            part(threads, mask)

    return run
