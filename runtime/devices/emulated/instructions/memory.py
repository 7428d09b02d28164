"""Data movement: mov, ld, st, cvta, atom, red.

ISA chapter "Data Movement and Conversion Instructions". Effective addresses are
resolved to (memory, byte offset) once for all threads of the mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import ModelError
from stepwell.runtime.devices.emulated.machine import Block, Mask, Operation
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
Locate = Callable[[Block, Mask], tuple[Memory, NDArray[np.int64]]]
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
    if space == "global":
        return lambda block, mask: (
            block.device.memory.memory,
            np.full(int(mask.sum()), offset - GLOBAL_BASE, np.int64),
        )
    if space == "param":
        return lambda block, mask: (
            block.device.memory.memory,
            np.full(int(mask.sum()), block.parameters - GLOBAL_BASE + offset),
        )
    if space == "shared":
        return lambda block, mask: (
            block.cluster.shared,
            np.full(int(mask.sum()), block.shared_base + offset, np.int64),
        )
    return lambda block, mask: (
        block.local,
        block.local_offsets[mask] + offset,
    )


def _at_register(space: str, read: Read, offset: int) -> Locate:
    def addresses(block: Block, mask: Mask) -> NDArray[np.int64]:
        values = np.broadcast_to(read(block), mask.shape)[mask]
        return values.astype(np.int64) + offset

    if space in ("global", "const", "param"):
        return lambda block, mask: (
            block.device.memory.memory,
            addresses(block, mask) - GLOBAL_BASE,
        )
    if space == "shared":
        return lambda block, mask: (
            block.cluster.shared,
            shared_offsets(block.shared_base, addresses(block, mask)),
        )
    if space == "local":
        return lambda block, mask: (
            block.local,
            addresses(block, mask) + block.local_offsets[mask],
        )
    return lambda block, mask: _generic(block, mask, addresses(block, mask))


def _generic(
    block: Block, mask: Mask, addresses: NDArray[np.int64]
) -> tuple[Memory, NDArray[np.int64]]:
    window = window_of(addresses)
    if (window != window[0]).any():
        raise MemoryFault(
            "generic addresses of one access in several state spaces are not emulated",
            where=block.describe(int(np.flatnonzero(mask)[0])),
        )
    if window[0] == 0:
        return block.device.memory.memory, addresses - GLOBAL_BASE
    if window[0] == 1:
        return block.cluster.shared, shared_offsets(
            block.shared_base, addresses - SHARED_BASE
        )
    return block.local, addresses - LOCAL_BASE + block.local_offsets[mask]


def window_of(addresses: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 for global addresses, 1 for shared ones, 2 for local ones."""
    shared = (addresses >= SHARED_BASE) & (addresses < LOCAL_BASE)
    local = (addresses >= LOCAL_BASE) & (addresses < GLOBAL_BASE)
    return shared.astype(np.int64) + 2 * local


def checked(
    block: Block,
    mask: Mask,
    place: tuple[Memory, NDArray[np.int64]],
    width: int,
    kind: str,
) -> tuple[Memory, NDArray[np.int64]]:
    """The place, once its bounds and alignment are known to be right."""
    memory, offsets = place
    lanes = np.flatnonzero(mask)
    check_access(memory, offsets, width, block.describe, lanes)
    checker = block.device.checker
    if checker is not None:
        checker.access(block, memory, offsets, width, lanes, kind)
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

    def run(block: Block, mask: Mask) -> None:
        memory, offsets = checked(block, mask, where(block, mask), width, "read")
        view = memory.view(size)
        for index, write in enumerate(writes):
            full = np.empty(mask.shape, view.dtype)
            full[mask] = view[offsets // size + index]
            write(block, mask, full.view(dtype))

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

    def run(block: Block, mask: Mask) -> None:
        memory, offsets = checked(block, mask, where(block, mask), width, "write")
        view = memory.view(size)
        for index, read in enumerate(reads):
            value = np.broadcast_to(read(block), mask.shape)[mask]
            view[offsets // size + index] = value.view(view.dtype)
        if memory.written is not None:
            for byte in range(width):
                memory.written[offsets + byte] = True
        block.cluster.effects += 1

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
    return lambda block, mask: write(block, mask, read(block))


def address_of(symbol: Symbol, scope: Scope) -> Read:
    """The address of a variable within its own state space, or of a function."""
    space, start = scope.place(symbol.name)
    offset = start + symbol.offset
    if space == "param":
        return lambda block: np.array(block.parameters + offset, np.uint64)
    return lambda block: np.array(offset, np.uint64)


def _part(type_: str, count: int) -> str:
    return f"b{WIDTHS[type_] // count}"


def _unpack(target: Vector, source: Operand, type_: str, scope: Scope) -> Operation:
    part = _part(type_, len(target.elements))
    writes = [scope.write(element, part) for element in target.elements]
    read = scope.read(source, type_)
    dtype = NUMPY_TYPES[part]

    def run(block: Block, mask: Mask) -> None:
        whole = np.array(np.broadcast_to(read(block), mask.shape))
        parts = whole.view(dtype).reshape(mask.size, len(writes))
        for index, write in enumerate(writes):
            write(block, mask, parts[:, index])

    return run


def _pack(target: Operand, source: Vector, type_: str, scope: Scope) -> Operation:
    part = _part(type_, len(source.elements))
    reads = [scope.read(element, part) for element in source.elements]
    write = scope.write(target, type_)
    dtype = NUMPY_TYPES[part]

    def run(block: Block, mask: Mask) -> None:
        parts = np.empty((mask.size, len(reads)), dtype)
        for index, read in enumerate(reads):
            parts[:, index] = read(block)
        write(block, mask, parts.view(NUMPY_TYPES[type_])[:, 0])

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

    def run(block: Block, mask: Mask) -> None:
        plain = (read(block).astype(np.int64) - base) % SHARED_STRIDE
        to = (rank(block).astype(np.int64) + 1) * SHARED_STRIDE
        write(block, mask, (plain + to + base).astype(np.uint64))

    return run


@instruction("getctarank")
def getctarank(one: Instruction, scope: Scope) -> Operation:
    """The rank of the block that a shared address belongs to."""
    base = 0 if "shared::cluster" in one.modifiers else SHARED_BASE
    read = scope.read(one.operands[1], element_type(one))
    write = scope.write(one.operands[0], "u32")

    def run(block: Block, mask: Mask) -> None:
        window = (read(block).astype(np.int64) - base) // SHARED_STRIDE
        write(block, mask, np.where(window == 0, block.rank, window - 1))

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

    def run(block: Block, mask: Mask) -> None:
        write(block, mask, read(block).astype(np.uint64) + step)

    return run


@instruction("isspacep")
def isspacep(one: Instruction, scope: Scope) -> Operation:
    """Whether a generic address lies in a space's window."""
    wanted = {"global": 0, "const": 0, "param": 0, "shared": 1, "local": 2}
    window = wanted[state_space(one)]
    read = scope.read(one.operands[1], "u64")
    write = scope.write(one.operands[0], "pred")

    def run(block: Block, mask: Mask) -> None:
        addresses = np.broadcast_to(read(block), mask.shape).astype(np.int64)
        write(block, mask, window_of(addresses) == window)

    return run


@instruction(
    *("prefetch", "prefetchu", "discard", "applypriority", "membar", "fence", "pragma"),
    *("nanosleep", "griddepcontrol", "setmaxnreg"),
)
def without_effect(one: Instruction, scope: Scope) -> Operation:
    """Hints, and fences among threads that this machine runs in one order anyway."""
    return lambda block, mask: None


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

    def run(block: Block, mask: Mask) -> None:
        memory, offsets = checked(block, mask, where(block, mask), size, "atomic")
        raw = memory.view(size)
        values = [np.broadcast_to(read(block), mask.shape)[mask] for read in reads]
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
            write(block, mask, old.view(NUMPY_TYPES[type_]))
        block.cluster.effects += 1

    return run
