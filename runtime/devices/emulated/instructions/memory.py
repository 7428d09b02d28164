"""Data movement: mov, ld, st, cvta, atom, red.

ISA chapter "Data Movement and Conversion Instructions". Effective addresses are
resolved to (memory, byte offset) once for all threads of the mask.
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
    SHARED_STRIDE,
    Memory,
    MemoryFault,
    check_access,
    shared_offsets,
)
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import (
    WIDTHS,
    Address,
    Instruction,
    Operand,
    Register,
    Symbol,
    Vector,
)
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    element_type,
    instruction,
    unsupported,
)

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
    base = GLOBAL_BASE if space in ("global", "const", "param") else 0
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


def _generic(
    threads: Threads, mask: Mask, addresses: NDArray[np.int64]
) -> tuple[Memory, NDArray[np.int64]]:
    if np.minimum.reduce(addresses) >= GLOBAL_BASE:
        return threads.device.memory.memory, addresses - GLOBAL_BASE
    window = window_of(addresses)
    if (window != window[0]).any():
        raise MemoryFault(
            "generic addresses of one access in several state spaces are not emulated",
            where=threads.describe(int(np.flatnonzero(mask)[0])),
        )
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
) -> tuple[Memory, NDArray[np.int64]]:
    """The place, once its bounds and alignment are known to be right."""
    memory, offsets = place
    check_access(memory, offsets, width, threads.describe, lambda: np.flatnonzero(mask))
    checker = threads.device.checker
    if checker is not None:
        checker.access(threads, memory, offsets, width, np.flatnonzero(mask), kind)
    return memory, offsets


def vector_elements(operand: Operand) -> Sequence[Operand]:
    """The registers of `{a, b}`, or the one operand."""
    return operand.elements if isinstance(operand, Vector) else (operand,)


@instruction("ld", "ldu")
def load(one: Instruction, scope: Scope) -> Operation:
    """`ld`: one register, or a vector of two, four or eight."""
    type_ = element_type(one)
    if type_ == "b128":
        raise unsupported(one)
    targets = vector_elements(one.operands[0])
    writes = [scope.write(target, type_) for target in targets]
    where = locate(one, one.operands[1], scope, state_space(one))
    size = WIDTHS[type_] // 8
    dtype = NUMPY_TYPES[type_]
    width = size * len(targets)

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), width, "read")
        view = memory.view(size)
        index = offsets // size
        if mask is threads.everyone:
            for write in writes:
                write(threads, mask, view.take(index).view(dtype))
                index += 1
            return
        full = np.empty(mask.shape, view.dtype)
        for write in writes:
            full[mask] = view[index]
            write(threads, mask, full.view(dtype))
            index += 1

    return run


@instruction("st")
def store(one: Instruction, scope: Scope) -> Operation:
    """`st`: one register, or a vector of two, four or eight."""
    if "async" in one.modifiers or element_type(one) == "b128":
        raise unsupported(one)
    type_ = element_type(one)
    reads = [scope.read(source, type_) for source in vector_elements(one.operands[1])]
    where = locate(one, one.operands[0], scope, state_space(one))
    size = WIDTHS[type_] // 8
    width = size * len(reads)
    bits = np.dtype(f"u{size}")

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), width, "write")
        view = memory.view(size)
        index = offsets // size
        for read in reads:
            view[index] = taken(threads, mask, read(threads)).view(bits)
            index += 1
        memory.mark(offsets, width)
        threads.wave.effects += 1

    return run


@instruction("mov")
def mov(one: Instruction, scope: Scope) -> Operation:
    """`mov`: copies, packs and unpacks vectors, takes addresses of variables."""
    type_ = element_type(one)
    target, source = one.operands
    if isinstance(target, Vector):
        return _unpack(target, source, type_, scope)
    if isinstance(source, Vector):
        return _pack(target, source, type_, scope)
    write = scope.write(target, type_)
    if isinstance(source, Symbol):
        read = address_of(source, scope)
    else:
        read = scope.read(source, type_)
    return lambda threads, mask: write(threads, mask, read(threads))


def address_of(symbol: Symbol, scope: Scope) -> Read:
    """The address of a variable within its own state space, or of a function."""
    space, start = scope.place(symbol.name)
    offset = start + symbol.offset
    if space == "param":
        return lambda threads: np.array(
            threads.wave.launch.parameters + offset, np.uint64
        )
    return lambda threads: np.array(offset, np.uint64)


def _part(type_: str, count: int) -> str:
    return f"b{WIDTHS[type_] // count}"


def _unpack(target: Vector, source: Operand, type_: str, scope: Scope) -> Operation:
    part = _part(type_, len(target.elements))
    writes = [scope.write(element, part) for element in target.elements]
    read = scope.read(source, type_)
    dtype = NUMPY_TYPES[part]

    def run(threads: Threads, mask: Mask) -> None:
        whole = np.array(np.broadcast_to(read(threads), mask.shape))
        parts = whole.view(dtype).reshape(mask.size, len(writes))
        for index, write in enumerate(writes):
            write(threads, mask, parts[:, index])

    return run


def _pack(target: Operand, source: Vector, type_: str, scope: Scope) -> Operation:
    part = _part(type_, len(source.elements))
    reads = [scope.read(element, part) for element in source.elements]
    write = scope.write(target, type_)
    dtype = NUMPY_TYPES[part]

    def run(threads: Threads, mask: Mask) -> None:
        parts = np.empty((mask.size, len(reads)), dtype)
        for index, read in enumerate(reads):
            parts[:, index] = read(threads)
        write(threads, mask, parts.view(NUMPY_TYPES[type_])[:, 0])

    return run


@instruction("mapa")
def mapa(one: Instruction, scope: Scope) -> Operation:
    """The address that a variable of this block has in another block of the cluster."""
    generic = "shared::cluster" not in one.modifiers
    type_ = element_type(one)
    source = one.operands[1]
    read = (
        address_of(source, scope)
        if isinstance(source, Symbol)
        else scope.read(source, type_)
    )
    rank = scope.read(one.operands[2], "u32")
    write = scope.write(one.operands[0], type_)
    base = SHARED_BASE if generic else 0

    def run(threads: Threads, mask: Mask) -> None:
        plain = (read(threads).astype(np.int64) - base) % SHARED_STRIDE
        to = (rank(threads).astype(np.int64) + 1) * SHARED_STRIDE
        write(threads, mask, (plain + to + base).astype(np.uint64))

    return run


@instruction("getctarank")
def getctarank(one: Instruction, scope: Scope) -> Operation:
    """The rank of the block that a shared address belongs to."""
    base = 0 if "shared::cluster" in one.modifiers else SHARED_BASE
    read = scope.read(one.operands[1], element_type(one))
    write = scope.write(one.operands[0], "u32")

    def run(threads: Threads, mask: Mask) -> None:
        window = (read(threads).astype(np.int64) - base) // SHARED_STRIDE
        rank = threads.block_of % threads.wave.launch.blocks
        write(threads, mask, np.where(window == 0, rank, window - 1))

    return run


@instruction("cvta")
def cvta(one: Instruction, scope: Scope) -> Operation:
    """`cvta`: between a state space's addresses and generic ones."""
    space = state_space(one)
    base = {"shared": SHARED_BASE, "local": LOCAL_BASE}.get(space, 0)
    if "to" in one.modifiers:
        base = -base
    type_ = element_type(one)
    source = one.operands[1]
    read = (
        address_of(source, scope)
        if isinstance(source, Symbol)
        else scope.read(source, type_)
    )
    write = scope.write(one.operands[0], type_)
    step = np.array(base & (2**64 - 1), np.uint64)

    def run(threads: Threads, mask: Mask) -> None:
        write(threads, mask, read(threads).astype(np.uint64) + step)

    return run


@instruction("isspacep")
def isspacep(one: Instruction, scope: Scope) -> Operation:
    """Whether a generic address lies in a space's window."""
    wanted = {"global": 0, "const": 0, "param": 0, "shared": 1, "local": 2}
    window = wanted[state_space(one)]
    read = scope.read(one.operands[1], "u64")
    write = scope.write(one.operands[0], "pred")

    def run(threads: Threads, mask: Mask) -> None:
        addresses = np.broadcast_to(read(threads), mask.shape).astype(np.int64)
        write(threads, mask, window_of(addresses) == window)

    return run


@instruction(
    *("prefetch", "prefetchu", "discard", "applypriority", "membar", "fence", "pragma"),
    *("nanosleep", "griddepcontrol", "setmaxnreg"),
)
def without_effect(one: Instruction, scope: Scope) -> Operation:
    """Hints, and fences among threads that this machine runs in one order anyway."""
    return lambda threads, mask: None


# Atomics: one thread after the other, in thread order.

UPDATES: dict[str, Callable[[Array, Array], Array]] = {
    "add": lambda old, value: old + value,
    "min": np.minimum,
    "max": np.maximum,
    "and": lambda old, value: old & value,
    "or": lambda old, value: old | value,
    "xor": lambda old, value: old ^ value,
    "exch": lambda old, value: value,
    "inc": lambda old, limit: np.where(old >= limit, 0, old + 1).astype(old.dtype),
    "dec": lambda old, limit: np.where(
        (old == 0) | (old > limit), limit, old - 1
    ).astype(old.dtype),
}
PAIRS = {"f16x2": "f16", "bf16x2": "bf16"}


@instruction("atom", "red")
def atomic(one: Instruction, scope: Scope) -> Operation:
    """`atom` (returns the old value) and `red`."""
    type_ = element_type(one)
    name = next((m for m in one.modifiers if m in UPDATES or m == "cas"), None)
    if name is None or "v2" in one.modifiers or "v4" in one.modifiers:
        raise unsupported(one)
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

    return run
