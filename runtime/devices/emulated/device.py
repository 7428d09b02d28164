"""The emulated device: memory, modules, launches."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stepwell.errors import OptionError

from .checker import MemoryChecker
from .machine import Launch, Machine, Wave, grid_clusters
from .memory import SHARED_LIMIT, GlobalMemory
from .parser import parse
from .registers import NUMPY_TYPES
from .syntax import Function, Variable
from .translate import Program, require, translate

WAVE_THREADS = 4096
"""Threads that run side by side, if the grid has so many."""
Triple = tuple[int, int, int]
Argument = int | float | bytes | np.generic | NDArray


def triple(extents: int | Sequence[int]) -> Triple:
    """One to three extents as (x, y, z)."""
    given = (extents,) if isinstance(extents, int) else tuple(extents)
    if not 1 <= len(given) <= 3 or min(given) < 1:
        raise OptionError(f"expected one to three positive extents, got {extents}")
    x, y, z = (*given, 1, 1)[:3]
    return x, y, z


class EmulatedDevice:
    """A GPU in NumPy.

    Args:
        seed: carry asynchronous operations out in a random order drawn from it, instead
            of oldest first.
        check: report races in shared memory and reads of memory that holds nothing.
        limit: warp instructions after which a launch is given up; None is no limit.
    """

    def __init__(
        self, *, seed: int | None = None, limit: int | None = None, check: bool = False
    ) -> None:
        shuffle = None if seed is None else random.Random(seed)
        checker = MemoryChecker() if check else None
        self.machine = Machine(
            GlobalMemory(check), shuffle=shuffle, limit=limit, checker=checker
        )

    def allocate(self, size: int) -> int:
        """Reserve `size` bytes; the pointer. Their contents are unspecified."""
        return self.machine.memory.allocate(size)

    def upload(self, array: NDArray) -> int:
        """Copy an array to the device; the pointer."""
        pointer = self.allocate(array.nbytes)
        self.machine.memory.write(pointer, array)
        return pointer

    def download(self, pointer: int, shape: Sequence[int], dtype: DTypeLike) -> NDArray:
        """A copy of an array on the device."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        return self.machine.memory.read(pointer, size).view(kind).reshape(shape)

    def load(self, ptx: str) -> Module:
        """Parse and translate PTX text."""
        return Module(self, ptx)


class Module:
    """A loaded PTX module."""

    def __init__(self, device: EmulatedDevice, ptx: str) -> None:
        self.device = device
        self.syntax = parse(ptx)
        addresses = {
            variable.name: self._place(variable)
            for variable in self.syntax.variables.values()
            if variable.space in ("global", "const")
        }
        self.program: Program = translate(self.syntax, addresses)

    def _place(self, variable: Variable) -> int:
        pointer = self.device.allocate(variable.size)
        data = np.zeros(variable.size, np.uint8)
        if variable.initial:
            values = [
                getattr(v, "value", getattr(v, "bits", 0)) for v in variable.initial
            ]
            kind = NUMPY_TYPES[f"b{NUMPY_TYPES[variable.type].itemsize * 8}"]
            bits = (1 << (8 * kind.itemsize)) - 1
            array = np.array([value & bits for value in values], kind)
            data[: array.nbytes] = array.view(np.uint8)
        self.device.machine.memory.write(pointer, data)
        return pointer

    def launch(
        self,
        entry: str,
        *,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        args: Sequence[Argument] = (),
        shared: int = 0,
        cluster: int | Sequence[int] | None = None,
    ) -> int:
        """Run a kernel to its end.

        Args:
            grid, block: extents in blocks and threads.
            args: pointers and numbers, converted to the parameters' types; `bytes` for
                parameters that are structs.
            shared: bytes of dynamic shared memory.
            cluster: blocks per cluster; the kernel's own directive if None.

        Returns:
            The number of warp instructions executed.
        """
        function = self.syntax.functions.get(entry)
        if function is None or not function.is_entry:
            names = ", ".join(f.name for f in self.syntax.functions.values())
            raise OptionError(f"expected a kernel of {names}, got {entry!r}")
        shape, blocks = triple(block), triple(grid)
        size = triple(cluster or function.directives.get("reqnctapercluster") or 1)
        used = self.program.shared_size + shared
        if used > SHARED_LIMIT:
            raise OptionError(f"expected {SHARED_LIMIT} bytes shared, got {used}")
        machine = self.device.machine
        before = machine.instructions
        require(self.program, entry)
        parameters = self._parameters(function, args)
        launch = Launch(
            self.program.layout,
            blocks,
            shape,
            size,
            parameters,
            self.program.entries[entry],
            -(-self.program.local_size // 16) * 16,
            used,
        )
        try:
            self._run(launch)
        finally:
            machine.memory.free(parameters)
        return machine.instructions - before

    def _run(self, launch: Launch) -> None:
        """Run the clusters of the grid, wave after wave."""
        clusters = grid_clusters(launch.grid, launch.cluster)
        together = max(1, WAVE_THREADS // (launch.threads * launch.blocks))
        if self.device.machine.checker is not None:
            together = 1
        wave: Wave | None = None
        for first in range(0, len(clusters), together):
            chosen = clusters[first : first + together]
            if wave is None or wave.clusters != len(chosen):
                wave = Wave(self.device.machine, launch, len(chosen))
            wave.start(chosen)
            self.device.machine.run(wave, self.program.code)

    def _parameters(self, function: Function, args: Sequence[Argument]) -> int:
        if len(args) != len(function.parameters):
            raise OptionError(
                f"{function.name}: expected {len(function.parameters)} arguments, "
                f"got {len(args)}"
            )
        data = bytearray()
        for parameter, value in zip(function.parameters, args, strict=True):
            start = -(-len(data) // parameter.alignment) * parameter.alignment
            data += bytes(start - len(data)) + _encoded(parameter, value)
        pointer = self.device.allocate(max(1, len(data)))
        self.device.machine.memory.write(pointer, bytes(data))
        return pointer


def _encoded(parameter: Variable, value: Argument) -> bytes:
    if isinstance(value, bytes):
        if len(value) != parameter.size:
            raise OptionError(
                f"{parameter.name}: expected {parameter.size} bytes, got {len(value)}"
            )
        return value
    kind = NUMPY_TYPES[parameter.type]
    if kind.kind in "iu" and isinstance(value, int):
        bits = value & ((1 << (8 * kind.itemsize)) - 1)
        return bits.to_bytes(kind.itemsize, "little")
    array = np.asarray(value)
    if kind.kind == "u" and array.dtype.kind == "f":
        kind = array.dtype if array.dtype.itemsize == kind.itemsize else np.dtype("f4")
    return array.astype(kind).tobytes()
