"""Atomics: atom and red, one thread after the other, in thread order.

ISA chapter "Parallel Synchronization and Communication Instructions".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

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
from .addressing import by_space, checked, locate, state_space
from .updates import PAIRS, UPDATES


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

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), size, "atomic")
        raw = memory.view(size)
        values = [np.broadcast_to(read(threads), mask.shape)[mask] for read in reads]
        old = np.empty(mask.shape, raw.dtype)
        before = np.empty(offsets.size, raw.dtype)
        for lane, at in enumerate(offsets // size):
            before[lane] = raw[at]
            arguments = [np.atleast_1d(v[lane]).view(dtype) for v in values]
            current = raw[at : at + 1].view(dtype)
            if name == "cas":
                kept = np.where(current == arguments[0], arguments[1], current)
            else:
                with np.errstate(all="ignore"):
                    kept = UPDATES[name](current, arguments[0])
            raw[at : at + 1] = kept.astype(dtype).view(raw.dtype)
        old[mask] = before
        if write is not None:
            write(threads, mask, old.view(NUMPY_TYPES[type_]))
        threads.wave.effects += 1

    return by_space(run)


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
