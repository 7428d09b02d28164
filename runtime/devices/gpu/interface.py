"""What an engine asks of a GPU, real or emulated."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stepwell.runtime.devices.interface import Array, LaunchObserver
from stepwell.runtime.dtypes import dtype_of

POINTER_BYTES, INTEGER_BYTES, MAP_BYTES, MAP_ALIGNMENT = 8, 4, 128, 64
_INTEGER_LIMIT = 2**31
MAP_ELEMENTS = (
    *("uint8", "uint16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "bfloat16"),
)
"""What `CUtensorMapDataType` knows, by NumPy's names."""


@dataclass(frozen=True)
class GpuCode:
    """An engine's kernels.

    Attributes:
        target: what the cubin is for, such as "sm_90a".
    """

    target: str
    cubin: bytes
    ptx: str
    entries: tuple[str, ...]
    shared: tuple[int, ...]


@dataclass(frozen=True)
class MapRequest:
    """A tensor map at known sizes: the fields of `manifest.TensorMap`, and where the
    tensor is."""

    element: str
    address: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]
    swizzle: int
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True)
class GpuLaunch:
    """A launch as the driver takes it.

    Attributes:
        function: what `Gpu.load` returned for the kernel.
        views: a pointer, or the bytes of a tensor map, for each view.
        integers: the arguments that follow.
    """

    function: Any
    blocks: int
    threads: int
    shared: int
    cluster: int
    views: tuple[int | bytes, ...]
    integers: tuple[int, ...]

    @property
    def has_maps(self) -> bool:
        """Whether an argument is a tensor map."""
        return any(isinstance(view, bytes) for view in self.views)

    @property
    def nbytes(self) -> int:
        """The size of all arguments, without padding."""
        maps = sum(isinstance(view, bytes) for view in self.views)
        pointers = len(self.views) - maps
        integers = INTEGER_BYTES * len(self.integers)
        return MAP_BYTES * maps + POINTER_BYTES * pointers + integers

    def parameters(self) -> tuple[bytes, tuple[int, ...]]:
        """The arguments one after another, aligned as in C, and where each starts."""
        data, offsets = bytearray(), list[int]()
        for view in self.views:
            is_map = isinstance(view, bytes)
            alignment = MAP_ALIGNMENT if is_map else POINTER_BYTES
            data += bytes(-len(data) % alignment)
            offsets.append(len(data))
            data += view if is_map else struct.pack("<Q", view)
        for integer in self.integers:
            offsets.append(len(data))
            data += struct.pack("<i", integer)
        return bytes(data), tuple(offsets)


def fits_integer(value: int) -> bool:
    """Whether a kernel can be given this number: indices are 32 bits wide."""
    return -_INTEGER_LIMIT <= value < _INTEGER_LIMIT


@dataclass(frozen=True)
class Download:
    """An array to be read from the device."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Recording(Protocol):
    """The launches of a segment, ready to be run again and again."""

    def replace(self, index: int, launch: GpuLaunch) -> None:
        """Change one launch, but for its function and grid."""
        ...

    def run(self) -> None:
        """Run all launches on the queue's stream."""
        ...

    def run_observed(self, observe: LaunchObserver) -> None:
        """Run them one by one, with their times."""
        ...


class Queue(Protocol):
    """A context's way to the device: what is asked for is done in order."""

    @property
    def handle(self) -> int:
        """The stream of the present run."""
        ...

    def begin(self, stream: Any) -> None:
        """A run begins, on a caller's stream or (None) on the queue's own."""
        ...

    def end(self) -> None:
        """The run has been asked for in full."""
        ...

    def upload(self, key: object, address: int, array: Array) -> None:
        """Copy an array to the device; it may be changed from then on. `key` tells
        the tensors of an engine apart."""
        ...

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy within the device's memory."""
        ...

    def download(self, wanted: Sequence[Download]) -> list[Array]:
        """Wait for all that was asked for, and read arrays."""
        ...

    def record(self, launches: Sequence[GpuLaunch]) -> Recording:
        """Prepare the launches of a segment."""
        ...

    def wait_for(self, stream: Any) -> None:
        """Let what follows wait for what another stream has been asked for so far."""
        ...


class Gpu(Protocol):
    """A device."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def ordinal(self) -> int:
        """Its number among the process's CUDA devices."""
        ...

    def activate(self) -> AbstractContextManager[object]:
        """Make it the device of the calling thread. Everything else needs this."""
        ...

    def allocate(self, nbytes: int, what: str) -> int:
        """Memory; `what` is for the message of the `DeviceError` when there is none."""
        ...

    def free(self, address: int) -> None:
        """Give memory back."""
        ...

    def load(self, code: GpuCode) -> list[Any]:
        """The functions of the code's entries. Raises `DeviceError` if they are for
        another device."""
        ...

    def encode(self, request: MapRequest) -> bytes:
        """The bytes of a tensor map."""
        ...

    def queue(self) -> Queue:
        """A queue for a new context."""
        ...


def element_of_map(dtype: str) -> str:
    """The element type of tensor maps that moves elements of a dtype: copies do not
    look at them, so that any of the same size will do."""
    known = dtype in MAP_ELEMENTS
    return dtype if known else f"uint{8 * dtype_of(dtype).itemsize}"
