"""Data movement: mov, ld, st, cvta, mapa, isspacep.

ISA chapter "Data Movement and Conversion Instructions".
"""

from __future__ import annotations

import numpy as np

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.memory import (
    LOCAL_BASE,
    SHARED_BASE,
    SHARED_STRIDE,
)
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import (
    WIDTHS,
    Instruction,
    Operand,
    Symbol,
    Vector,
)
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    element_type,
    instruction,
)

from . import remote, wide
from .addressing import (
    address_of,
    by_space,
    checked,
    locate,
    state_space,
    taken,
    vector_elements,
    window_of,
)


def strong(one: Instruction) -> bool:
    """Whether an access may be one of several at once: it orders as atomics do."""
    kinds = ("volatile", "relaxed", "acquire", "release", "mmio")
    return any(modifier in kinds for modifier in one.modifiers)


@instruction("ld", "ldu")
def load(one: Instruction, scope: Scope) -> Operation:
    """`ld`: one register, or a vector of two, four or eight."""
    type_ = element_type(one)
    if type_ == "b128":
        return wide.load(one, scope)
    targets = vector_elements(one.operands[0])
    writes = [scope.write(target, type_) for target in targets]
    where = locate(one, one.operands[1], scope, state_space(one))
    size = WIDTHS[type_] // 8
    dtype = NUMPY_TYPES[type_]
    width = size * len(targets)
    kind = "strong read" if strong(one) else "read"

    def run(threads: Threads, mask: Mask) -> None:
        memory, offsets = checked(threads, mask, where(threads, mask), width, kind)
        view = memory.view(size)
        index = offsets // size
        if kind == "strong read":
            found = offsets.tobytes() + view[index].tobytes()
            threads.look(memory.label(int(offsets[0])), found)
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

    return by_space(run)


@instruction("st")
def store(one: Instruction, scope: Scope) -> Operation:
    """`st`: one register, or a vector of two, four or eight."""
    type_ = element_type(one)
    if "async" in one.modifiers:
        return remote.store(one, scope)
    if type_ == "b128":
        return wide.store(one, scope)
    reads = [scope.read(source, type_) for source in vector_elements(one.operands[1])]
    where = locate(one, one.operands[0], scope, state_space(one))
    size = WIDTHS[type_] // 8
    width = size * len(reads)
    bits = np.dtype(f"u{size}")
    kind = "strong write" if strong(one) else "write"

    def run(threads: Threads, mask: Mask) -> None:
        values = [taken(threads, mask, read(threads)).view(bits) for read in reads]
        place = where(threads, mask)
        memory, offsets = checked(threads, mask, place, width, kind, values)
        view = memory.view(size)
        index = offsets // size
        for value in values:
            view[index] = value
            index += 1
        memory.mark(offsets, width)
        threads.wave.effects += 1

    return by_space(run)


@instruction("mov")
def mov(one: Instruction, scope: Scope) -> Operation:
    """`mov`: copies, packs and unpacks vectors, takes addresses of variables."""
    type_ = element_type(one)
    target, source = one.operands
    if type_ == "b128":
        return wide.move(target, source, scope)
    if isinstance(target, Vector):
        return _unpack(target, source, type_, scope)
    if isinstance(source, Vector):
        return _pack(target, source, type_, scope)
    write = scope.write(target, type_)
    read = _address(source, type_, scope)
    return lambda threads, mask: write(threads, mask, read(threads))


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


def _address(source: Operand, type_: str, scope: Scope) -> Read:
    """How to read an address: a register, or the place of a variable."""
    if isinstance(source, Symbol):
        return address_of(source, scope)
    return scope.read(source, type_)


@instruction("mapa")
def mapa(one: Instruction, scope: Scope) -> Operation:
    """The address that a variable of this block has in another block of the cluster."""
    generic = "shared::cluster" not in one.modifiers
    type_ = element_type(one)
    source = one.operands[1]
    read = _address(source, type_, scope)
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
    read = _address(source, type_, scope)
    write = scope.write(one.operands[0], type_)
    step = np.array(base & (2**64 - 1), np.uint64)
    sign = -1 if "to" in one.modifiers else 1

    def run(threads: Threads, mask: Mask) -> None:
        value = read(threads).astype(np.uint64) + step
        if space == "param":
            start = sign * threads.wave.launch.parameters
            value = value + np.uint64(start & (2**64 - 1))
        write(threads, mask, value)

    return run


@instruction("isspacep")
def isspacep(one: Instruction, scope: Scope) -> Operation:
    """Whether a generic address lies in a space's window."""
    space = state_space(one)
    window = {"shared": 1, "local": 2}.get(space, 0)
    read = scope.read(one.operands[1], "u64")
    write = scope.write(one.operands[0], "pred")
    module, places = scope.program.module, scope.program.addresses
    constants = [
        (places[variable.name][1], variable.size)
        for variable in module.variables.values()
        if variable.space == "const"
    ]
    size = sum(-(-p.size // 8) * 8 + p.alignment for p in scope.function.parameters)

    def run(threads: Threads, mask: Mask) -> None:
        addresses = np.broadcast_to(read(threads), mask.shape).astype(np.int64)
        inside = window_of(addresses) == window
        if space in ("const", "param"):
            pieces = constants
            if space == "param":
                pieces = [(threads.wave.launch.parameters, size)]
            inside = np.zeros(mask.shape, np.bool_)
            for start, extent in pieces:
                inside |= (addresses >= start) & (addresses < start + extent)
        write(threads, mask, inside)

    return run


@instruction(
    *("prefetch", "prefetchu", "discard", "applypriority", "membar", "fence", "pragma"),
    *("nanosleep", "griddepcontrol", "setmaxnreg", "pmevent"),
)
def without_effect(one: Instruction, scope: Scope) -> Operation:
    """Hints, and fences among threads that this machine runs in one order anyway."""
    return lambda threads, mask: None


@instruction("createpolicy")
def create_policy(one: Instruction, scope: Scope) -> Operation:
    """A cache policy: a word that loads take as a hint."""
    write = scope.write(one.operands[0], "b64")
    none = np.array(0, np.uint64)
    return lambda threads, mask: write(threads, mask, none)
