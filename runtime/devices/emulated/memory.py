"""The memories of the emulated device and the one generic address space over them.

PTX's generic addresses hold windows for shared and local memory (ISA, "Generic
Addressing"). Here: global memory (with constants and kernel parameters in it) starts at
`GLOBAL_BASE`; the shared memories of all blocks of a wave lie side by side,
`SHARED_STRIDE` bytes each; local memory is one array, thread after thread.
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
RESERVED = 1024
"""Bytes of shared memory that belong to the system: they follow the program's."""
ALIGNMENT = 512
"""Of global allocations, as cudaMalloc's (256 is promised)."""
UNWRITTEN = 0xCD
"""What memory holds before anything is written to it."""

Offsets = NDArray[np.int64]
Mask = NDArray[np.bool_]


class MemoryFault(DeviceError):
    """An access outside memory, misaligned, or to memory that holds nothing yet."""


class Memory:
    """One flat array of bytes; `written` (if kept) says which were ever written.

    `name` is for messages; `base` is the generic address of byte 0.
    """

    def __init__(self, name: str, base: int, size: int, shadow: bool = False) -> None:
        whole = -(-size // 16) * 16
        self.name, self.base = name, base
        self.bytes = np.zeros(whole, np.uint8)
        self.written = np.zeros(whole, np.bool_) if shadow else None
        self._views: dict[int, NDArray] = {}

    @property
    def size(self) -> int:
        """Bytes."""
        return self.bytes.size

    def view(self, width: int) -> NDArray:
        """The memory as unsigned integers of `width` bytes (1, 2, 4 or 8).

        Of 16 bytes: pairs `[size / 16, 2]` of 8.
        """
        found = self._views.get(width)
        if found is None:
            if width == 16:
                found = self.bytes.view(np.uint64).reshape(-1, 2)
            else:
                found = self.bytes.view(f"u{width}")
            self._views[width] = found
        return found

    def label(self, offset: int) -> str:
        """A byte, for messages."""
        return f"{self.name}[{offset:#x}]"

    def holds(self, low: int, high: int) -> bool:
        """Whether accesses from `low` to before `high` are surely within bounds."""
        return low >= 0 and high <= self.size

    def outside(self, offsets: Offsets, width: int) -> Mask:
        """Which of the accesses are out of bounds."""
        return (offsets < 0) | (offsets > self.size - width)

    def mark(self, offsets: Offsets, width: int) -> None:
        """Remember that `width` bytes at each (aligned) offset are written."""
        if self.written is not None:
            for byte in range(width):
                self.written[offsets + byte] = True


class SharedMemory(Memory):
    """The shared memories of a wave's blocks, `used` bytes of each stride."""

    def __init__(self, blocks: int, used: int, shadow: bool) -> None:
        super().__init__("shared", SHARED_BASE, SHARED_STRIDE * blocks, shadow)
        self.used = used
        self.clear()

    def clear(self) -> None:
        """Forget the contents: other blocks begin."""
        self.bytes.reshape(-1, SHARED_STRIDE)[:, : self.used] = UNWRITTEN
        if self.written is not None:
            self.written.reshape(-1, SHARED_STRIDE)[:, : self.used] = False

    def label(self, offset: int) -> str:
        """A byte, by its offset in the memory of its block."""
        return f"shared[{offset % SHARED_STRIDE:#x}]"

    def holds(self, low: int, high: int) -> bool:
        """Within one block's bytes."""
        start = low // SHARED_STRIDE * SHARED_STRIDE
        return low >= 0 and high <= min(start + self.used, self.size)

    def outside(self, offsets: Offsets, width: int) -> Mask:
        """Which of the accesses are out of their block's bytes."""
        within = offsets & (SHARED_STRIDE - 1)
        beyond = (offsets < 0) | (offsets >= self.size)
        return beyond | (within > self.used - width)


class LocalMemory(Memory):
    """The local memories of a wave's threads."""

    def __init__(self, size: int) -> None:
        super().__init__("local", LOCAL_BASE, size)
        self.bytes[:] = UNWRITTEN


@dataclass
class Allocation:
    """A piece of global memory, from `start` (an offset) for `size` bytes."""

    start: int
    size: int


class AllocatedMemory(Memory):
    """Global memory's bytes: only what is allocated may be touched."""

    def __init__(self, size: int, shadow: bool) -> None:
        super().__init__("global", GLOBAL_BASE, size, shadow)
        self.starts: list[int] = []
        self.ends: list[int] = []

    def grown(self) -> AllocatedMemory:
        """The same with twice the bytes."""
        new = AllocatedMemory(2 * self.size, self.written is not None)
        new.bytes[: self.size] = self.bytes
        if self.written is not None and new.written is not None:
            new.written[: self.size] = self.written
        new.starts, new.ends = self.starts, self.ends
        return new

    def holds(self, low: int, high: int) -> bool:
        """Within one allocation."""
        index = bisect.bisect_right(self.starts, low) - 1
        return index >= 0 and high <= self.ends[index]

    def outside(self, offsets: Offsets, width: int) -> Mask:
        """Which of the accesses lie in no allocation."""
        if not self.starts:
            return np.ones(offsets.shape, np.bool_)
        index = np.searchsorted(np.array(self.starts), offsets, "right") - 1
        return (index < 0) | (offsets + width > np.array(self.ends)[index])


@dataclass
class GlobalMemory:
    """Global memory: one growing array; a freed piece serves requests of its size."""

    shadow: bool = False
    memory: AllocatedMemory = field(init=False)
    _free: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    _top: int = ALIGNMENT

    def __post_init__(self) -> None:
        self.memory = AllocatedMemory(1 << 20, self.shadow)

    def allocate(self, size: int) -> int:
        """Reserve `size` bytes; the generic address. A guard gap follows each piece."""
        taken = -(-(size + 1) // ALIGNMENT) * ALIGNMENT
        free = self._free.get(taken)
        if free:
            start = free.pop()
        else:
            start = self._top
            self._top = start + taken
            while self._top > self.memory.size:
                self.memory = self.memory.grown()
        index = bisect.bisect(self.memory.starts, start)
        self.memory.starts.insert(index, start)
        self.memory.ends.insert(index, start + size)
        self.memory.bytes[start : start + size] = UNWRITTEN
        return GLOBAL_BASE + start

    def free(self, address: int) -> None:
        """Give an allocation back; later accesses to it are faults."""
        piece = self.piece(address)
        if piece is None or piece.start != address - GLOBAL_BASE:
            raise DeviceError(f"expected an allocated pointer, got {address:#x}")
        index = bisect.bisect_left(self.memory.starts, piece.start)
        del self.memory.starts[index], self.memory.ends[index]
        if self.memory.written is not None:
            self.memory.written[piece.start : piece.start + piece.size] = False
        taken = -(-(piece.size + 1) // ALIGNMENT) * ALIGNMENT
        self._free.setdefault(taken, []).append(piece.start)

    def piece(self, address: int) -> Allocation | None:
        """The allocation that an address lies in."""
        offset = address - GLOBAL_BASE
        index = bisect.bisect_right(self.memory.starts, offset) - 1
        if index < 0 or offset >= max(self.memory.ends[index], 1):
            return None
        start = self.memory.starts[index]
        return Allocation(start, self.memory.ends[index] - start)

    def span(self, address: int, size: int) -> slice:
        """Where `size` bytes at an address lie. Raises MemoryFault if not allocated."""
        start = address - GLOBAL_BASE
        if size and not self.memory.holds(start, start + size):
            raise MemoryFault(f"expected {size} allocated bytes at {address:#x}")
        return slice(start, start + size)

    def write(self, address: int, data: bytes | NDArray) -> None:
        """Copy host bytes to the device. Raises MemoryFault outside an allocation."""
        raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        raw = np.ascontiguousarray(raw).reshape(-1).view(np.uint8)
        span = self.span(address, raw.size)
        self.memory.bytes[span] = raw
        if self.memory.written is not None:
            self.memory.written[span] = True

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy within the device; what nothing was written to stays so."""
        there, here = self.span(target, size), self.span(source, size)
        self.memory.bytes[there] = self.memory.bytes[here].copy()
        if self.memory.written is not None:
            self.memory.written[there] = self.memory.written[here].copy()

    def fill(self, address: int, size: int, byte: int) -> None:
        """Set `size` bytes."""
        span = self.span(address, size)
        self.memory.bytes[span] = byte
        if self.memory.written is not None:
            self.memory.written[span] = True

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        """A copy of `size` bytes. Raises MemoryFault outside an allocation."""
        return self.memory.bytes[self.span(address, size)].copy()


def shared_offsets(own: Offsets, first: Offsets, addresses: Offsets) -> Offsets:
    """Offsets in a wave's shared memory, for addresses in the shared window.

    The window begins with the thread's block's own memory (at offset `own`); the
    memories of the blocks of its cluster follow (from offset `first`), by rank, as
    `mapa` gives them.
    """
    if addresses.size == 0 or np.maximum.reduce(addresses) < SHARED_STRIDE:
        return addresses + own
    mine = addresses < SHARED_STRIDE
    return np.where(mine, addresses + own, addresses + (first - SHARED_STRIDE))


def check_access(
    memory: Memory,
    offsets: Offsets,
    width: int,
    where: Callable[[int], str],
    lanes: Callable[[], NDArray[np.int64]],
) -> None:
    """Raise MemoryFault for the first of the accesses that is out or misaligned.

    `offsets` holds one byte offset per active lane, `lanes()` their thread numbers;
    `where` describes a thread for the message.
    """
    if offsets.size == 0:
        return
    low, high = int(np.minimum.reduce(offsets)), int(np.maximum.reduce(offsets))
    if not memory.holds(low, high + width):
        bad = memory.outside(offsets, width)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise MemoryFault(
                f"out-of-bounds access of {width} bytes at "
                f"{memory.label(int(offsets[first]))}, which holds nothing there",
                where=where(int(lanes()[first])),
            )
    if width > 1 and np.bitwise_or.reduce(offsets) & (width - 1):
        first = int(np.flatnonzero(offsets & (width - 1))[0])
        raise MemoryFault(
            f"misaligned access of {width} bytes at "
            f"{memory.label(int(offsets[first]))}",
            where=where(int(lanes()[first])),
        )
