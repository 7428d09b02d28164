"""The memories of the emulated device and the one generic address space over them.

PTX's generic addresses hold windows for shared and local memory (ISA, "Generic
Addressing"). Here: global memory (with constants and kernel parameters in it) starts at
`GLOBAL_BASE`; the shared memories of all blocks of a cluster lie side by side in the
shared window, `SHARED_STRIDE` bytes each, so that an address of `.shared::cluster` is a
plain offset; local memory is one array, thread after thread.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import DeviceError

GLOBAL_BASE = 0x7F00_0000_0000
SHARED_BASE = 0x0100_0000_0000
LOCAL_BASE = 0x0200_0000_0000
SHARED_STRIDE = 1 << 18
SHARED_LIMIT = 227 * 1024
ALIGNMENT = 512
"""Of global allocations, as cudaMalloc's (256 is promised)."""

Lanes = NDArray[np.bool_]
Addresses = NDArray[np.uint64]


class MemoryFault(DeviceError):
    """An access outside memory, misaligned, or to memory that holds nothing yet."""


@dataclass
class Memory:
    """One flat array of bytes, with a shadow that says which were ever written.

    `valid` says which bytes were allocated. `name` is for messages; `base` is the
    generic address of byte 0.
    """

    name: str
    base: int
    bytes: NDArray[np.uint8]
    written: NDArray[np.bool_] | None = None
    valid: NDArray[np.bool_] | None = None

    @staticmethod
    def of_size(name: str, base: int, size: int, shadow: bool = False) -> Memory:
        """Memory of `size` bytes; their contents are unspecified (a fixed pattern)."""
        return Memory(
            name,
            base,
            np.full(-(-size // 16) * 16, 0xCD, np.uint8),
            np.zeros(-(-size // 16) * 16, np.bool_) if shadow else None,
            np.zeros(-(-size // 16) * 16, np.bool_) if shadow else None,
        )

    @property
    def size(self) -> int:
        """Bytes."""
        return self.bytes.size

    def view(self, width: int) -> NDArray:
        """The memory as unsigned integers of `width` bytes (1, 2, 4 or 8)."""
        return self.bytes.view(f"u{width}")


@dataclass
class Allocation:
    """A piece of global memory, from `start` (an offset) for `size` bytes."""

    start: int
    size: int


@dataclass
class GlobalMemory:
    """Global memory: a bump allocator over one growing array, never moved by `free`."""

    memory: Memory = field(
        default_factory=lambda: Memory.of_size("global", GLOBAL_BASE, 1 << 20, True)
    )
    allocations: list[Allocation] = field(default_factory=list[Allocation])
    _top: int = ALIGNMENT

    def allocate(self, size: int) -> int:
        """Reserve `size` bytes; the generic address. A guard gap follows each piece."""
        start = self._top
        self._top = start + -(-(size + 1) // ALIGNMENT) * ALIGNMENT
        while self._top > self.memory.size:
            self._grow()
        self.allocations.append(Allocation(start, size))
        assert self.memory.valid is not None
        self.memory.valid[start : start + size] = True
        return GLOBAL_BASE + start

    def _grow(self) -> None:
        old = self.memory
        assert old.written is not None and old.valid is not None
        self.memory = Memory(
            old.name,
            old.base,
            np.concatenate([old.bytes, np.full_like(old.bytes, 0xCD)]),
            np.concatenate([old.written, np.zeros_like(old.written)]),
            np.concatenate([old.valid, np.zeros_like(old.valid)]),
        )

    def free(self, address: int) -> None:
        """Give an allocation back; later accesses to it are faults."""
        start = address - GLOBAL_BASE
        index = bisect.bisect_left([a.start for a in self.allocations], start)
        if index == len(self.allocations) or self.allocations[index].start != start:
            raise DeviceError(f"expected an allocated pointer, got {address:#x}")
        size = self.allocations.pop(index).size
        assert self.memory.valid is not None and self.memory.written is not None
        self.memory.valid[start : start + size] = False
        self.memory.written[start : start + size] = False

    def piece(self, offset: int) -> Allocation | None:
        """The allocation that `offset` lies in."""
        starts = [allocation.start for allocation in self.allocations]
        index = bisect.bisect_right(starts, offset) - 1
        if index < 0:
            return None
        found = self.allocations[index]
        return found if offset < found.start + found.size else None

    def write(self, address: int, data: bytes | NDArray) -> None:
        """Copy host bytes to the device."""
        raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        raw = np.ascontiguousarray(raw).reshape(-1).view(np.uint8)
        start = address - GLOBAL_BASE
        self.memory.bytes[start : start + raw.size] = raw
        assert self.memory.written is not None
        self.memory.written[start : start + raw.size] = True

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """A copy of `size` bytes of the device."""
        start = address - GLOBAL_BASE
        return self.memory.bytes[start : start + size].copy()


def shared_offsets(own: int, addresses: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets in a cluster's shared memory, for addresses in the shared window.

    The window begins with the block's own memory (which starts at offset `own` of the
    cluster's); the memories of the cluster's blocks follow, by rank, as `mapa` gives
    them.
    """
    mine = (addresses >= 0) & (addresses < SHARED_STRIDE)
    return np.where(mine, addresses + own, addresses - SHARED_STRIDE)


def check_access(
    memory: Memory,
    offsets: NDArray[np.int64],
    width: int,
    where: Callable[[int], str],
    lanes: NDArray[np.int64],
) -> None:
    """Raise MemoryFault for the first of the accesses that is out or misaligned.

    `offsets` holds one byte offset per active lane, `lanes` their thread numbers;
    `where` describes a thread for the message.
    """
    bad = (offsets < 0) | (offsets > memory.size - width)
    if memory.valid is not None and not bad.any():
        bad = ~(memory.valid[offsets] & memory.valid[offsets + (width - 1)])
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise MemoryFault(
            f"out-of-bounds access of {width} bytes at "
            f"{memory.name}[{int(offsets[first]):#x}], which holds nothing there",
            where=where(int(lanes[first])),
        )
    skew = offsets & (width - 1)
    if skew.any():
        first = int(np.flatnonzero(skew)[0])
        raise MemoryFault(
            f"misaligned access of {width} bytes at "
            f"{memory.name}[{int(offsets[first]):#x}]",
            where=where(int(lanes[first])),
        )
