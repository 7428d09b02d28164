"""Effective addresses: which memory an access is to, and where in it.

ISA, "Operands" and "State Spaces". Addresses are resolved to (memory, byte offset) once
for all threads of a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import ModelError
from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.memory import (
    GLOBAL_BASE,
    LOCAL_BASE,
    SHARED_BASE,
    Memory,
    check_access,
    shared_offsets,
)
from stepwell.runtime.devices.emulated.syntax import (
    Address,
    Instruction,
    Operand,
    Register,
    Symbol,
    Vector,
)
from stepwell.runtime.devices.emulated.translate import Read, Scope

Array = NDArray
SPACES = ("global", "shared", "local", "param", "const")
Locate = Callable[[Threads, Mask], tuple[Memory, NDArray[np.int64]]]
"""The memory of an access and the byte offsets of the threads of the mask, in order."""


def state_space(one: Instruction) -> str:
    """The space of `ld.shared::cta.u32`; "generic" if none is named."""
    for modifier in one.modifiers:
        base = modifier.split("::")[0]
        if base in SPACES:
            return base
    return "generic"


def locate(one: Instruction, address: Operand, scope: Scope, space: str) -> Locate:
    """How to resolve an address operand."""
    if not isinstance(address, Address):
        raise ModelError(f"expected an address, got {address}")
    if isinstance(address.base, Symbol):
        space, start = scope.place(address.base.name)
        return _at_symbol(space, start + address.offset)
    narrow = isinstance(address.base, Register) and (
        scope.registers.get(address.base.name) is not None
        and scope.slot(address.base.name).bank == "b32"
    )
    read = scope.read(address.base, "u32" if narrow else "u64")
    return _at_register(space, read, address.offset)


def _at_symbol(space: str, offset: int) -> Locate:
    def everywhere(threads: Threads, mask: Mask, start: int) -> NDArray[np.int64]:
        whole = mask is threads.everyone
        count = threads.count if whole else int(np.count_nonzero(mask))
        return np.full(count, start, np.int64)

    if space == "global":
        return lambda threads, mask: (
            threads.device.memory.memory,
            everywhere(threads, mask, offset - GLOBAL_BASE),
        )
    if space == "param":
        return lambda threads, mask: (
            threads.device.memory.memory,
            everywhere(
                threads, mask, threads.wave.launch.parameters - GLOBAL_BASE + offset
            ),
        )
    if space == "shared":
        return lambda threads, mask: (
            threads.wave.shared,
            taken(threads, mask, threads.shared_base) + offset,
        )
    return lambda threads, mask: (
        threads.wave.local,
        taken(threads, mask, threads.local_offsets) + offset,
    )


def taken(threads: Threads, mask: Mask, values: Array) -> Array:
    """The values of the threads of a mask, in order."""
    if mask is threads.everyone and values.ndim:
        return values
    return np.broadcast_to(values, mask.shape)[mask]


def _at_register(space: str, read: Read, offset: int) -> Locate:
    base = GLOBAL_BASE if space in ("global", "const") else 0
    shift = offset - base

    def addresses(threads: Threads, mask: Mask) -> NDArray[np.int64]:
        values = taken(threads, mask, read(threads))
        if values.dtype == np.uint64:
            return values.view(np.int64) + shift
        return values.astype(np.int64) + shift

    if base:
        return lambda threads, mask: (
            threads.device.memory.memory,
            addresses(threads, mask),
        )
    if space == "shared":
        return lambda threads, mask: (
            threads.wave.shared,
            _in_shared(threads, mask, addresses(threads, mask)),
        )
    if space == "param":
        return lambda threads, mask: (
            threads.device.memory.memory,
            addresses(threads, mask) + threads.wave.launch.parameters - GLOBAL_BASE,
        )
    if space == "local":
        return lambda threads, mask: (
            threads.wave.local,
            addresses(threads, mask) + taken(threads, mask, threads.local_offsets),
        )
    return lambda threads, mask: _generic(threads, mask, addresses(threads, mask))


def _in_shared(
    threads: Threads, mask: Mask, addresses: NDArray[np.int64]
) -> NDArray[np.int64]:
    own = taken(threads, mask, threads.shared_base)
    return shared_offsets(own, taken(threads, mask, threads.cluster_base), addresses)


class SeveralSpaces(Exception):
    """Generic addresses of one access lie in several state spaces: their windows."""

    def __init__(self, windows: NDArray[np.int64]) -> None:
        super().__init__()
        self.windows = windows


def by_space(run: Operation) -> Operation:
    """An access that is done for one state space after the other, if it must."""

    def each(threads: Threads, mask: Mask) -> None:
        try:
            run(threads, mask)
        except SeveralSpaces as several:
            windows = np.full(mask.size, -1)
            windows[mask] = several.windows
            for window in np.unique(several.windows):
                run(threads, windows == window)

    return each


def _generic(
    threads: Threads, mask: Mask, addresses: NDArray[np.int64]
) -> tuple[Memory, NDArray[np.int64]]:
    if np.minimum.reduce(addresses) >= GLOBAL_BASE:
        return threads.device.memory.memory, addresses - GLOBAL_BASE
    window = window_of(addresses)
    if (window != window[0]).any():
        raise SeveralSpaces(window)
    if window[0] == 0:
        return threads.device.memory.memory, addresses - GLOBAL_BASE
    if window[0] == 1:
        return threads.wave.shared, _in_shared(threads, mask, addresses - SHARED_BASE)
    own = taken(threads, mask, threads.local_offsets)
    return threads.wave.local, addresses - LOCAL_BASE + own


def window_of(addresses: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 for global addresses, 1 for shared ones, 2 for local ones."""
    shared = (addresses >= SHARED_BASE) & (addresses < LOCAL_BASE)
    local = (addresses >= LOCAL_BASE) & (addresses < GLOBAL_BASE)
    return shared.astype(np.int64) + 2 * local


def checked(
    threads: Threads,
    mask: Mask,
    place: tuple[Memory, NDArray[np.int64]],
    width: int,
    kind: str,
    bits: Sequence[Array] = (),
) -> tuple[Memory, NDArray[np.int64]]:
    """The place, once its bounds and alignment are known to be right.

    `kind` is what the checker calls the access; `bits` are the values of a write.
    """
    memory, offsets = place
    check_access(memory, offsets, width, threads.describe, lambda: np.flatnonzero(mask))
    checker, statistics = threads.device.checker, threads.device.statistics
    if checker is not None or statistics is not None:
        lanes = np.flatnonzero(mask)
        if checker is not None:
            checker.access(threads, memory, offsets, width, lanes, kind, bits)
        if statistics is not None and kind != "use":
            statistics.access(threads, memory, offsets, width, lanes)
    return memory, offsets


def vector_elements(operand: Operand) -> Sequence[Operand]:
    """The registers of `{a, b}`, or the one operand."""
    return operand.elements if isinstance(operand, Vector) else (operand,)


def address_of(symbol: Symbol, scope: Scope) -> Read:
    """The address of a variable within its own state space, or of a function."""
    offset = np.array(scope.place(symbol.name)[1] + symbol.offset, np.uint64)
    return lambda threads: offset
