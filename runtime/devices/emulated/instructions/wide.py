"""Registers of 128 bits: mov, ld, st, atom; two words of 64 bits, the lower first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import ModelError
from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.syntax import (
    Instruction,
    Operand,
    Register,
    Vector,
)
from stepwell.runtime.devices.emulated.translate import Scope, unsupported

from .addressing import by_space, checked, locate, state_space

Words = NDArray[np.uint64]
"""`[threads, 2]`."""


def register(operand: Operand, scope: Scope) -> Callable[[Threads], Words]:
    """How to see a register of 128 bits; writes to the view are writes to it."""
    if not isinstance(operand, Register) or scope.slot(operand.name).bank != "b128":
        raise ModelError(f"expected a register of 128 bits, got {operand}")
    row = scope.slot(operand.name).row

    def view(threads: Threads) -> Words:
        return threads.wave.banks["b128"][row, threads.start : threads.stop]

    return view


def move(target: Operand, source: Operand, scope: Scope) -> Operation:
    """`mov.b128`: a copy, or to and from two words."""
    if isinstance(target, Vector):
        of = register(source, scope)
        writes = [scope.write(part, "b64") for part in target.elements]

        def unpack(threads: Threads, mask: Mask) -> None:
            words = of(threads).copy()
            for index, write in enumerate(writes):
                write(threads, mask, words[:, index])

        return unpack
    to = register(target, scope)
    if isinstance(source, Vector):
        reads = [scope.read(part, "b64") for part in source.elements]

        def pack(threads: Threads, mask: Mask) -> None:
            for index, read in enumerate(reads):
                np.copyto(to(threads)[:, index], read(threads), where=mask)

        return pack
    of = register(source, scope)
    return lambda threads, mask: np.copyto(
        to(threads), of(threads), where=mask[:, None]
    )


def load(one: Instruction, scope: Scope) -> Operation:
    """`ld.b128`."""
    to = register(one.operands[0], scope)
    where = locate(one, one.operands[1], scope, state_space(one))

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), 16, "read")
        to(threads)[mask] = memory.view(16)[offsets // 16]

    return by_space(run)


def store(one: Instruction, scope: Scope) -> Operation:
    """`st.b128`."""
    of = register(one.operands[1], scope)
    where = locate(one, one.operands[0], scope, state_space(one))

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), 16, "write")
        memory.view(16)[offsets // 16] = of(threads)[mask]
        memory.mark(offsets, 16)
        threads.wave.effects += 1

    return by_space(run)


def atomic(one: Instruction, scope: Scope, name: str) -> Operation:
    """`atom.exch.b128`, `atom.cas.b128`."""
    if name not in ("exch", "cas") or one.opcode != "atom":
        raise unsupported(one)
    target, address, *values = one.operands
    to = register(target, scope)
    where = locate(one, address, scope, state_space(one))
    given = [register(value, scope) for value in values]

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), 16, "atomic")
        view = memory.view(16)
        words = [value(threads)[mask] for value in given]
        old = np.empty((offsets.size, 2), np.uint64)
        for lane, at in enumerate(offsets // 16):
            old[lane] = view[at]
            if name == "exch" or (old[lane] == words[0][lane]).all():
                view[at] = words[-1][lane]
        to(threads)[mask] = old
        memory.mark(offsets, 16)
        threads.wave.effects += 1

    return by_space(run)
