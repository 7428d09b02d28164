"""Values of a run in the host's own memory: what the CPU computes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stepwell.errors import DeviceError, InputError

from .interface import Array, Slots

if TYPE_CHECKING:
    from stepwell.runtime.plan import Plan

ALIGNMENT = 64
"""Of slots: a cache line, and the widest vector."""


class HostBuffer:
    """Aligned memory that grows when asked for more; growing loses the contents."""

    def __init__(self) -> None:
        self._memory: Array = np.zeros(0, np.uint8)
        self.nbytes = 0
        self.address = 0

    def reserve(self, nbytes: int) -> int:
        """The address of at least `nbytes` bytes. Raises `DeviceError` if there are
        none left."""
        if nbytes > self.nbytes or not self.address:
            try:
                self._memory = np.empty(nbytes + ALIGNMENT, np.uint8)
            except (MemoryError, ValueError) as error:
                raise DeviceError(
                    f"cannot allocate {nbytes} B for the arena", notes=[str(error)]
                ) from None
            start = self._memory.ctypes.data
            self.address = start + -start % ALIGNMENT
            self.nbytes = nbytes
        return self.address

    def view(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The memory from `address` on, as an array."""
        offset = address - self._memory.ctypes.data
        return np.ndarray(shape, dtype, self._memory.data, offset)


class HostValues:
    """The values of one run: arrays, or views of the arena."""

    def __init__(
        self,
        context: Slots,
        plan: Plan,
        inputs: Sequence[Array],
        bindings: dict[str, int],
        weights: Sequence[Array],
    ) -> None:
        self._context, self._plan, self._bindings = context, plan, bindings
        self._weights, self._values = weights, context.program.values
        tensors = context.program.manifest.inputs
        self._arrays: dict[int, Array] = {
            tensor.value: array for tensor, array in zip(tensors, inputs, strict=True)
        }

    def array(self, index: int) -> Array:
        """The array of a value; in the arena, a view that later steps overwrite."""
        array = self._arrays.get(index)
        if array is not None:
            return array
        value = self._values[index]
        if value.place == "weight":
            return self._weights[value.index]
        shape = value.shape(self._bindings)
        if value.place == "slot":
            address = self.address(index)
            buffer: Any = self._context.slot_buffer(value.index)
            return buffer.view(address, shape, value.dtype)
        if value.place == "alias":
            return alias_of(self.array(value.index), value, self._bindings)
        if value.place == "output":
            self._arrays[index] = array = np.empty(shape, value.dtype)
            return array
        raise InputError(f"expected value {index} to be computed before it is used")

    def address(self, index: int) -> int:
        """The address of a value."""
        value = self._values[index]
        if value.place == "slot":
            return self._context.slot_address(self._plan, value.index, self._bindings)
        if value.place == "alias":
            source = self._values[value.index]
            start = value.offset(self._bindings) * source.dtype.itemsize
            return self.address(value.index) + start
        return self.array(index).ctypes.data

    def take(self, index: int) -> Array:
        """A copy of a value."""
        return self.array(index).copy()

    def stack(self, taken: Sequence[Array]) -> Array:
        """Arrays along a new first dim."""
        return np.stack(taken)

    def keep(self, index: int, array: Array) -> None:
        """Make `array` the value `index`."""
        if self._values[index].place == "host":
            self._arrays[index] = array
        else:
            np.copyto(self.array(index), array)

    def copy(self, source: int, target: int) -> None:
        """Copy the contents of one value into another."""
        np.copyto(self.array(target), self.array(source))

    def outputs(self) -> list[Array]:
        """The outputs: arrays that nobody else refers to."""
        results: list[Array] = []
        for tensor in self._context.program.manifest.outputs:
            array = self.array(tensor.value)
            is_own = self._values[tensor.value].place in ("output", "host")
            is_own = is_own and not any(array is other for other in results)
            results.append(array if is_own else array.copy())
        return results

    def close(self) -> None:
        """Nothing to give back."""


def alias_of(source: Array, value: Any, bindings: dict[str, int]) -> Array:
    """The view of `source` that a value in the place "alias" is."""
    start = value.offset(bindings) * source.dtype.itemsize
    stop = start + value.nbytes(bindings)
    flat = source.reshape(-1).view(np.uint8)[start:stop]
    return flat.view(value.dtype).reshape(value.shape(bindings))
