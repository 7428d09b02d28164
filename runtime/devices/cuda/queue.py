"""A context's stream: copies through pinned memory, and segments as CUDA graphs."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np

from stepwell.errors import DeviceError
from stepwell.runtime.devices.gpu.interface import Download, GpuLaunch
from stepwell.runtime.devices.interface import Array

from .driver import checked
from .graph import GraphRecording

PINNED_LIMIT = 64 << 20
"""Larger arrays are copied from and to the caller's own memory: the driver stages them
by itself, and pinned memory is scarce."""
SMALL, RING_BYTES = 4 << 10, 1 << 20
"""Arrays of up to so many bytes go through a ring of pinned memory."""
ALIGNMENT = 64


class CudaQueue:
    """Asks the GPU in order, on the stream of the present run.

    Runs on other streams than the one before wait for it by an event, so that they can
    share the context's memory.
    """

    def __init__(
        self, pycuda: Any, bindings: Any, active: AbstractContextManager[object]
    ) -> None:
        self.pycuda, self.bindings, self.active = pycuda, bindings, active
        self._held = _Held(pycuda, bindings, active)
        weakref.finalize(self, self._held.release)
        self.handle: int = self.own.handle
        self._last: int | None = None
        self._done, self._handed = self._held.events
        self._in_flight: set[object] = set()
        self._ring_end = 0

    @property
    def own(self) -> Any:
        """The queue's own stream."""
        return self._held.stream

    def begin(self, stream: int | None) -> None:
        """A run begins; it waits for the run before."""
        self.handle = self.own.handle if stream is None else stream
        if self._last is not None and self._last != self.handle:
            self._wait(self._done)

    def end(self) -> None:
        """The run has been asked for in full."""
        self.bindings.cuEventRecord(self._done, self.handle)  # an error shows elsewhere
        self._last = self.handle

    def wait_for(self, stream: int) -> None:
        """Let what follows wait for what `stream` has been asked for so far."""
        self._record(self._handed, stream)
        self._wait(self._handed)

    def _record(self, event: Any, stream: int) -> None:
        checked(self.bindings.cuEventRecord(event, stream), "record an event")

    def _wait(self, event: Any) -> None:
        checked(
            self.bindings.cuStreamWaitEvent(self.handle, event, 0), "wait for an event"
        )

    def upload(self, key: object, address: int, array: Array) -> None:
        """Copy an array to the device through pinned memory of its key."""
        nbytes = array.nbytes
        source = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if nbytes <= PINNED_LIMIT:
            small = nbytes <= SMALL
            pinned = self._slot(nbytes) if small else self._own_room(key, nbytes)
            np.copyto(pinned[:nbytes], source)
            source = pinned
        checked(
            self.bindings.cuMemcpyHtoDAsync(
                address, source.ctypes.data, nbytes, self.handle
            ),
            "copy to the GPU",
        )

    def _slot(self, nbytes: int) -> Array:
        """A fresh piece of a ring, so that a loop's scalars do not wait for the GPU."""
        ring = self._room("ring", RING_BYTES)
        if self._ring_end + nbytes > RING_BYTES:
            self._synchronise()
        start = self._ring_end
        self._ring_end += -(-nbytes // ALIGNMENT) * ALIGNMENT
        return ring[start : start + nbytes]

    def _own_room(self, key: object, nbytes: int) -> Array:
        """The pinned memory of a key, when the GPU has read what was there."""
        if key in self._in_flight:
            self._synchronise()
        self._in_flight.add(key)
        return self._room(key, nbytes)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy within the GPU's memory."""
        checked(
            self.bindings.cuMemcpyDtoDAsync(target, source, nbytes, self.handle),
            "copy within its memory",
        )

    def download(self, wanted: Sequence[Download]) -> list[Array]:
        """Wait for all that was asked for, and read arrays."""
        arrays = [np.empty(one.shape, one.dtype) for one in wanted]
        starts, end = list[int](), 0
        for array in arrays:
            starts.append(end)
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        pinned = self._room(self, end) if 0 < end <= PINNED_LIMIT else None
        for one, array, start in zip(wanted, arrays, starts, strict=True):
            target = array.ctypes.data if pinned is None else pinned.ctypes.data + start
            if array.nbytes:
                checked(
                    self.bindings.cuMemcpyDtoHAsync(
                        target, one.address, array.nbytes, self.handle
                    ),
                    "copy from the GPU",
                )
        self._synchronise()
        if pinned is not None:
            for array, start in zip(arrays, starts, strict=True):
                flat = array.reshape(-1).view(np.uint8)
                np.copyto(flat, pinned[start : start + array.nbytes])
        return arrays

    def _synchronise(self) -> None:
        result = self.bindings.cuStreamSynchronize(self.handle)
        checked(result, "finish the work of the engine")
        self._in_flight.clear()
        self._ring_end = 0

    def _room(self, key: object, nbytes: int) -> Array:
        """Pinned memory that is kept for `key`."""
        pinned = self._held.pinned.get(key)
        if pinned is None or pinned.nbytes < nbytes:
            try:
                pinned = self.pycuda.pagelocked_empty(max(nbytes, 1), np.uint8)
            except self.pycuda.Error as error:
                raise DeviceError(
                    f"cannot allocate {nbytes} B of pinned memory", notes=[str(error)]
                ) from None
            self._held.pinned[key] = pinned
        return pinned

    def record(self, launches: Sequence[GpuLaunch]) -> GraphRecording:
        """The launches as a CUDA graph."""
        return GraphRecording(self, launches)


class _Held:
    """What is given back only on a thread where the context is current."""

    def __init__(
        self, pycuda: Any, bindings: Any, active: AbstractContextManager[object]
    ) -> None:
        self._bindings, self._active = bindings, active
        self.pinned: dict[object, Array] = {}
        plain = bindings.CUevent_flags.CU_EVENT_DISABLE_TIMING
        with active:
            self.stream: Any = pycuda.Stream()
            self.events = [
                checked(bindings.cuEventCreate(plain), "make an event")
                for _ in range(2)
            ]

    def release(self) -> None:
        """Give the stream, its events and all pinned memory back."""
        with suppress(Exception), self._active:  # after a fault nothing can be done
            self.pinned.clear()
            self.stream = None
            while self.events:
                self._bindings.cuEventDestroy(self.events.pop())
