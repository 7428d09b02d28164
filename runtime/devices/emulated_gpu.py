"""`device="emulated"`: engines for GPUs, run by the PTX emulator.

Every kernel of the engine's PTX is interpreted in NumPy, for tests and for machines
without a GPU: slow, but right, and with the emulator's checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

import numpy as np

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated import (
    EmulatedDevice,
    Module,
    encode_im2col_map,
    encode_tensor_map,
)
from stepwell.runtime.devices.gpu.interface import (
    Download,
    GpuCode,
    GpuLaunch,
    MapRequest,
    element_of_map,
)
from stepwell.runtime.devices.interface import Array, LaunchObserver

MEMORY_LIMIT = 8 << 30
"""Bytes of host memory that the emulated GPU may take."""


class EmulatedGpu:
    """A GPU in NumPy.

    Args:
        check: report races, missing fences and reads of what nothing wrote.
        seed: carry asynchronous operations out in a random order.
    """

    name, ordinal = "the emulated GPU", 0

    def __init__(self, check: bool = False, seed: int | None = None) -> None:
        self.device = EmulatedDevice(check=check, seed=seed)
        self._used: dict[int, int] = {}

    @property
    def used(self) -> int:
        """Bytes that are allocated."""
        return sum(self._used.values())

    def activate(self) -> AbstractContextManager[object]:
        """Nothing to do."""
        return nullcontext()

    def allocate(self, nbytes: int, what: str) -> int:
        """Memory of the emulated device."""
        free = MEMORY_LIMIT - self.used
        if nbytes > free:
            raise DeviceError(
                f"out of memory on {self.name}: cannot allocate {nbytes} B for {what}",
                notes=[f"{free} B of {MEMORY_LIMIT} B are free"],
            )
        address = self.device.allocate(nbytes)
        self._used[address] = nbytes
        return address

    def free(self, address: int) -> None:
        """Give memory back."""
        del self._used[address]
        self.device.machine.memory.free(address)

    def load(self, code: GpuCode) -> list[Any]:
        """The functions: the module and the name of each entry."""
        module = self.device.load(code.ptx)
        return [(module, entry) for entry in code.entries]

    def encode(self, request: MapRequest) -> bytes:
        """The emulator's own form of a tensor map."""
        swizzle = f"{request.swizzle}B" if request.swizzle else "none"
        element = element_of_map(request.element)
        common = (element, request.address, request.dims, request.strides)
        if not request.lower:
            return encode_tensor_map(
                *common, request.box, element_strides=request.steps, swizzle=swizzle
            )
        return encode_im2col_map(
            *common,
            request.lower,
            request.upper,
            *request.box,
            element_strides=request.steps,
            swizzle=swizzle,
        )

    def queue(self) -> EmulatedQueue:
        """A queue for a new context."""
        return EmulatedQueue(self.device)


class EmulatedQueue:
    """Does at once what it is asked for."""

    handle = 0

    def __init__(self, device: EmulatedDevice) -> None:
        self._device = device

    def begin(self, stream: Any) -> None:
        """Streams mean nothing here."""

    def end(self) -> None:
        """Nothing is under way."""

    def wait_for(self, stream: Any) -> None:
        """Nothing is under way."""

    def upload(self, key: object, address: int, array: Array) -> None:
        """Copy an array to the device."""
        self._device.machine.memory.write(address, array)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy within the device's memory."""
        memory = self._device.machine.memory
        memory.write(target, memory.read(source, nbytes))

    def download(self, wanted: Sequence[Download]) -> list[Array]:
        """Read arrays."""
        return [
            self._device.download(one.address, one.shape, one.dtype) for one in wanted
        ]

    def record(self, launches: Sequence[GpuLaunch]) -> EmulatedRecording:
        """The launches as they are."""
        return EmulatedRecording(launches)


class EmulatedRecording:
    """The launches of a segment."""

    def __init__(self, launches: Sequence[GpuLaunch]) -> None:
        self._launches = list(launches)

    def replace(self, index: int, launch: GpuLaunch) -> None:
        """Change one launch."""
        self._launches[index] = launch

    def run(self) -> None:
        """Run them in order."""
        for one in self._launches:
            _launch(one)

    def run_observed(self, observe: LaunchObserver) -> None:
        """Run them with the interpreter's own times, which are not a GPU's."""
        for index, one in enumerate(self._launches):
            start = perf_counter()
            _launch(one)
            observe(index, start, perf_counter() - start)


def _launch(one: GpuLaunch) -> None:
    module: Module
    module, entry = one.function
    with np.errstate(all="ignore"):  # overflow gives infinity, as on a GPU
        module.launch(
            entry,
            grid=one.blocks,
            block=one.threads,
            args=[*one.views, *one.integers],
            shared=one.shared,
            cluster=one.cluster if one.cluster > 1 else None,
        )
