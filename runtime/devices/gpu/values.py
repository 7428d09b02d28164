"""Values of a run on a GPU: on the device, on the host, or on their way."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from stepwell.errors import InputError
from stepwell.runtime.devices.host_memory import alias_of
from stepwell.runtime.devices.interface import Array, Slots

from .buffer import GpuBuffer
from .interface import Download
from .tensors import LIBRARIES, DeviceTensor, stream_handle

if TYPE_CHECKING:
    from stepwell.runtime.plan import Plan

    from .executable import GpuWorkspace

VECTOR_BYTES = 16
"""What every pointer that a kernel is given must be a multiple of."""


class Taken:
    """A copy of a tensor on the device; its memory is used again when it is gone."""

    def __init__(
        self,
        workspace: GpuWorkspace,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        nbytes: int,
    ) -> None:
        self.shape, self.dtype, self.nbytes = shape, dtype, nbytes
        self._spare = workspace.spare.setdefault(nbytes, [])
        self.buffer = self._spare.pop() if self._spare else workspace.buffer()
        self.buffer.reserve(nbytes)

    def __del__(self) -> None:
        self._spare.append(self.buffer)


class GpuValues:
    """The tensors of one run.

    What the host makes or is given goes to the device when a kernel asks for its
    address, into memory that the context keeps: such addresses stay the same from run
    to run. What kernels make comes to the host when the program asks for its contents.
    If some input is on a device, the outputs stay there.
    """

    def __init__(
        self,
        workspace: GpuWorkspace,
        context: Slots,
        plan: Plan,
        inputs: Sequence[Array | DeviceTensor],
        bindings: dict[str, int],
        stream: Any,
    ) -> None:
        self._workspace, self._queue = workspace, workspace.queue
        self._context, self._plan, self._bindings = context, plan, bindings
        self._values = context.program.values
        self._arrays: dict[int, Array] = {}
        self._pointers: dict[int, int] = {}
        self._outputs: dict[int, Any] = {}
        given = [one for one in inputs if isinstance(one, DeviceTensor)]
        _require_device(given, workspace.gpu.ordinal)
        self._on_host = not given
        self._library = next((one.library for one in given if one.library), "")
        self._stream = _stream_of(given, stream)
        self._guard = workspace.gpu.activate()
        self._guard.__enter__()
        try:
            self._queue.begin(self._stream)
            tensors = context.program.manifest.inputs
            for tensor, one in zip(tensors, inputs, strict=True):
                self._take(tensor.value, one)
        except BaseException:
            self.close()
            raise

    def _take(self, index: int, one: Array | DeviceTensor) -> None:
        if not isinstance(one, DeviceTensor):
            self._arrays[index] = one
            return
        if one.stream is not None and one.stream != self._stream:
            self._queue.wait_for(one.stream)
        self._pointers[index] = self._fit(index, one.address, one.nbytes)

    def _fit(self, index: int, address: int, nbytes: int) -> int:
        """A tensor's address, or that of a copy which kernels can read in vectors."""
        if nbytes and address % VECTOR_BYTES == 0:
            return address
        room = self._workspace.room(index, nbytes)
        if nbytes:
            self._queue.copy(room, address, nbytes)
        return room

    def array(self, index: int) -> Array:
        """The contents of a value on the host."""
        array = self._host(index)
        if array is None:
            array = self._queue.download([self.location(index)])[0]
        return array

    def _host(self, index: int) -> Array | None:
        """A value that is on the host anyway."""
        array = self._arrays.get(index)
        if array is not None:
            return array
        value = self._values[index]
        if value.place == "weight":
            return self._workspace.executable.weights[value.index]
        if value.place == "alias" and (source := self._host(value.index)) is not None:
            return alias_of(source, value, self._bindings)
        return None

    def location(self, index: int) -> Download:
        """Where a value is on the device, and of what shape."""
        value = self._values[index]
        shape = value.shape(self._bindings)
        return Download(self.address(index), shape, value.dtype)

    def address(self, index: int) -> int:
        """The address of a value on the device."""
        value = self._values[index]
        if value.place == "slot":
            return self._context.slot_address(self._plan, value.index, self._bindings)
        if value.place == "weight":
            return self._workspace.executable.weight_address(value.index)
        if value.place == "alias":
            source = self._values[value.index]
            start = value.offset(self._bindings) * source.dtype.itemsize
            return self.address(value.index) + start
        address = self._pointers.get(index)
        if address is None:
            address = self._pointers[index] = self._place(index)
        return address

    def _place(self, index: int) -> int:
        """Find memory for an output, or for what is on the host."""
        value = self._values[index]
        if value.place == "output":
            return self._new_output(index)
        array = self._arrays.get(index)
        if array is None:
            raise InputError(f"expected value {index} to be computed before it is used")
        address = self._workspace.room(index, array.nbytes)
        if array.nbytes:
            self._queue.upload(index, address, array)
        return address

    def _new_output(self, index: int) -> int:
        value = self._values[index]
        shape = value.shape(self._bindings)
        if self._on_host:
            return self._workspace.room(index, value.nbytes(self._bindings))
        self._outputs[index], address = self._make(shape, value.dtype)
        return address or self._workspace.room(index, 0)

    def _make(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, int]:
        """An empty tensor of the inputs' library, and its address."""
        gpu, queue = self._workspace.gpu, self._queue
        if self._library:
            make = LIBRARIES[self._library]
            return make(shape, dtype, gpu.ordinal, queue.handle)
        buffer = GpuBuffer(gpu, "an output")
        address = buffer.reserve(prod(shape) * dtype.itemsize)
        own = DeviceTensor(address, shape, dtype, self._stream, buffer, "", gpu.ordinal)
        return own, address

    def take(self, index: int) -> Array | Taken:
        """A copy of a value, on the side where it is."""
        array = self._host(index)
        if array is not None:
            return array.copy()
        value = self._values[index]
        return self._copied(
            value.shape(self._bindings), value.dtype, [self.address(index)]
        )

    def stack(self, taken: Sequence[Array | Taken]) -> Array | Taken:
        """What was taken, along a new first dim."""
        there = [one for one in taken if isinstance(one, Taken)]
        if len(there) < len(taken):
            return np.stack([self._array_of(one) for one in taken])
        first, sources = there[0], [one.buffer.address for one in there]
        return self._copied((len(there), *first.shape), first.dtype, sources)

    def _copied(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], sources: Sequence[int]
    ) -> Taken:
        """A tensor made of pieces of equal size, one behind the other."""
        total = prod(shape) * dtype.itemsize
        result = Taken(self._workspace, shape, dtype, total)
        step = total // len(sources)
        for number, source in enumerate(sources if step else ()):
            self._queue.copy(result.buffer.address + number * step, source, step)
        return result

    def _array_of(self, one: Array | Taken) -> Array:
        if not isinstance(one, Taken):
            return one
        wanted = Download(one.buffer.address, one.shape, one.dtype)
        return self._queue.download([wanted])[0]

    def keep(self, index: int, array: Array | Taken) -> None:
        """Make a host array, or what was taken, the value `index`."""
        if isinstance(array, Taken):
            self._keep_taken(index, array)
        elif self._values[index].place == "host":
            self._arrays[index] = array
            self._pointers.pop(index, None)
        elif array.nbytes:
            self._queue.upload(index, self.address(index), array)

    def _keep_taken(self, index: int, one: Taken) -> None:
        """Into memory that stays where it is from round to round of a loop."""
        if self._values[index].place == "host":
            self._arrays.pop(index, None)
            self._pointers[index] = self._workspace.room(index, one.nbytes)
        if one.nbytes:
            self._queue.copy(self.address(index), one.buffer.address, one.nbytes)

    def copy(self, source: int, target: int) -> None:
        """Copy the contents of one value into another."""
        nbytes = self._values[target].nbytes(self._bindings)
        if nbytes:
            self._queue.copy(self.address(target), self.address(source), nbytes)

    def outputs(self) -> list[Any]:
        """The outputs: on the device if an input was, else on the host."""
        numbers = [t.value for t in self._context.program.manifest.outputs]
        if not self._on_host:
            found = [self._on_device(n, numbers[:i]) for i, n in enumerate(numbers)]
            if self._stream is None:
                self._queue.download(())
            return found
        arrays = {
            i: array for i in set(numbers) if (array := self._host(i)) is not None
        }
        missing = [i for i in dict.fromkeys(numbers) if i not in arrays]
        read = self._queue.download([self.location(i) for i in missing])
        fresh = dict(zip(missing, read, strict=True))
        return [self._own(i, arrays, fresh) for i in numbers]

    def _own(
        self, index: int, arrays: dict[int, Array], fresh: dict[int, Array]
    ) -> Array:
        """An array that nobody else refers to: a downloaded one is handed out once."""
        if index in fresh:
            array = fresh.pop(index)
            arrays[index] = array
            return array
        return arrays[index].copy()

    def _on_device(self, index: int, earlier: Sequence[int]) -> Any:
        """An output in memory of its own on the device."""
        value = self._values[index]
        if value.dtype == np.object_:
            return self.array(index).copy()
        if value.place == "output" and index not in earlier:
            self.address(index)
            return self._outputs[index]
        result, address = self._make(value.shape(self._bindings), value.dtype)
        if nbytes := value.nbytes(self._bindings):
            self._queue.copy(address, self.address(index), nbytes)
        return result

    def close(self) -> None:
        """The run has been asked for in full, or has failed."""
        try:
            self._queue.end()
        finally:
            self._guard.__exit__(None, None, None)


def _stream_of(given: Sequence[DeviceTensor], stream: Any) -> int | None:
    """The stream to run on: the caller's, or the one its tensors are valid on."""
    if stream is not None:
        return stream_handle(stream)
    return next((one.stream for one in given if one.stream is not None), None)


def _require_device(given: Sequence[DeviceTensor], ordinal: int) -> None:
    for one in given:
        if one.ordinal not in (None, ordinal):
            raise InputError(
                f"expected inputs on device {ordinal}, got one on {one.ordinal}",
                fix="move it, or load the engine on that device",
            )
