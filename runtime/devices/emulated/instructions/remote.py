"""st.async, red.async: stores to another block's memory that its mbarrier counts.

ISA sections "st.async" and "red.async". They complete as bulk copies do: when no thread
can go on without them.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import (
    Mask,
    Operation,
    Pending,
    Threads,
)
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import WIDTHS, Instruction
from stepwell.runtime.devices.emulated.translate import Scope, element_type, unsupported

from .addressing import checked, locate, taken, vector_elements
from .mbarrier import complete_bytes
from .updates import UPDATES


def store(one: Instruction, scope: Scope) -> Operation:
    """`st.async`: one register, or a vector."""
    return _asynchronous(one, scope, None)


def reduce(one: Instruction, scope: Scope, name: str) -> Operation:
    """`red.async`: the element becomes a function of itself and the register."""
    if one.opcode != "red":
        raise unsupported(one)
    return _asynchronous(one, scope, name)


def _asynchronous(one: Instruction, scope: Scope, name: str | None) -> Operation:
    if "mbarrier::complete_tx::bytes" not in one.modifiers:
        raise unsupported(one)
    type_ = element_type(one)
    where = locate(one, one.operands[0], scope, "shared")
    reads = [scope.read(o, type_) for o in vector_elements(one.operands[1])]
    tracker = locate(one, one.operands[2], scope, "shared")
    size = WIDTHS[type_] // 8
    width = size * len(reads)
    dtype = NUMPY_TYPES[type_]

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), width, "bounds")
        _, barriers = checked(threads, mask, tracker(threads, mask), 8, "use")
        values = np.stack([taken(threads, mask, read(threads)) for read in reads], 1)

        checker = threads.device.checker

        def complete(at: int, barrier: int, data: NDArray, text: str) -> None:
            view = memory.view(size)[at // size : at // size + len(reads)].view(dtype)
            view[...] = data if name is None else UPDATES[name](view, data)
            place = np.array([at])
            memory.mark(place, width)
            if checker is not None:
                checker.landed(threads.wave, place, width, barrier)
            complete_bytes(threads.wave, barrier, width, text)

        lanes = np.flatnonzero(mask).tolist()
        for index, lane in enumerate(lanes):
            if checker is not None and name is None:
                checker.sent(threads, offsets[index : index + 1], width, lane)
            done = partial(
                complete,
                int(offsets[index]),
                int(barriers[index]),
                values[index].copy(),
                threads.describe(lane),
            )
            threads.later(lane, Pending(one.name, done))

    return run
