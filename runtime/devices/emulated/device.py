"""The emulated device: memory, modules, launches."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stepwell.errors import ModelError, OptionError

from .checker import MemoryChecker
from .machine import Launch, Machine, Wave, grid_clusters
from .memory import RESERVED, SHARED_LIMIT, GlobalMemory
from .parser import parse
from .provenance import Provenance
from .registers import NUMPY_TYPES
from .statistics import Statistics
from .syntax import Float, Function, Integer, Operand, Symbol, Variable
from .translate import (
    Program,
    narrowest_access,
    product_rows,
    require,
    translate,
)

WAVE_THREADS = 4096
"""Threads that run side by side, if the grid has so many."""
WORKSPACE = 64
"""Bytes that a cooperative launch gives the barrier of its grid."""
MOST_THREADS = 1024
"""Threads of a block."""
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

    Memory that is copied or read must be allocated: MemoryFault otherwise.

    Args:
        seed: carry asynchronous operations out in a random order drawn from it, instead
            of oldest first.
        check: report races, missing fences and waits, leaks, and reads of memory that
            holds nothing.
        limit: warp instructions after which a launch is given up; None is no limit.
        sink: takes what kernels print; standard output if None.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        limit: int | None = None,
        check: bool = False,
        sink: Callable[[str], object] | None = None,
    ) -> None:
        shuffle = None if seed is None else random.Random(seed)
        checker = MemoryChecker() if check else None
        self.machine = Machine(
            GlobalMemory(check),
            shuffle=shuffle,
            limit=limit,
            checker=checker,
            sink=sink or sys.stdout.write,
        )

    def allocate(self, size: int) -> int:
        """Reserve `size` bytes; the pointer. Their contents are unspecified."""
        return self.machine.memory.allocate(size)

    def free(self, pointer: int) -> None:
        """Give memory back; a later access to it is a fault."""
        self.machine.memory.free(pointer)

    def write(self, pointer: int, array: NDArray) -> None:
        """Copy an array to memory that is allocated."""
        self.machine.memory.write(pointer, array)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes within the device."""
        self.machine.memory.copy(target, source, size)

    def fill(self, pointer: int, size: int, byte: int = 0) -> None:
        """Set bytes, as `cuMemsetD8` does."""
        self.machine.memory.fill(pointer, size, byte)

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
        self.provenance = Provenance.of(ptx)
        self._grid_barrier = "%envreg" in ptx
        self._reserved = RESERVED if "%reserved_smem" in ptx else 0
        placed = [
            variable
            for variable in self.syntax.variables.values()
            if variable.space in ("global", "const")
        ]
        addresses = {v.name: device.allocate(v.size) for v in placed}
        self.program: Program = translate(self.syntax, addresses)
        for variable in placed:
            self._fill(variable, addresses[variable.name])

    def _fill(self, variable: Variable, pointer: int) -> None:
        """Write a variable's initial values: numbers, or addresses of others."""
        data = np.zeros(variable.size, np.uint8)
        if variable.initial:
            kind = NUMPY_TYPES[variable.type]
            bits = np.dtype(f"u{kind.itemsize}")
            values = [self._bits(v, kind) for v in variable.initial]
            array = np.array(values, np.uint64).astype(bits)
            data[: array.nbytes] = array.view(np.uint8)
        self.device.machine.memory.write(pointer, data)

    def _bits(self, value: Operand, kind: np.dtype) -> int:
        if isinstance(value, Symbol):
            found = self.program.addresses.get(value.name)
            if found is None:
                raise ModelError(f"variable {value.name} is not declared")
            return found[1] + value.offset
        if isinstance(value, Float):
            if value.width == 8 * kind.itemsize:
                return value.bits
            number = np.array(value.bits, f"u{value.width // 8}")
            narrow = number.view(f"f{value.width // 8}").astype(kind)
            return int(narrow.view(f"u{kind.itemsize}"))
        if isinstance(value, Integer):
            return value.value & ((1 << (8 * kind.itemsize)) - 1)
        raise ModelError(f"expected a number or an address, got {value}")

    def launch(
        self,
        entry: str,
        *,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        args: Sequence[Argument] = (),
        shared: int = 0,
        cluster: int | Sequence[int] | None = None,
        statistics: Statistics | None = None,
    ) -> int:
        """Run a kernel to its end.

        Args:
            grid, block: extents in blocks and threads.
            args: pointers and numbers, converted to the parameters' types; `bytes` for
                parameters that are structs.
            shared: bytes of dynamic shared memory.
            cluster: blocks per cluster; the kernel's own directive if None.
            statistics: gets counts of instructions and of memory traffic by line.

        Returns:
            The number of warp instructions executed.

        Raises:
            OptionError: there is no such kernel, it takes other arguments, or a GPU
                does not launch blocks of these extents.
        """
        function = self._kernel(entry)
        extents = _extents(function, grid, block, cluster)
        used = self._shared_bytes(shared)
        require(self.program, entry)
        machine = self.device.machine
        before = machine.instructions
        parameters = self._parameters(function, args)
        workspace = self._workspace(math.prod((*extents.grid, *extents.block)))
        launch = self._launch(entry, extents, parameters, workspace, used, shared)
        machine.statistics = statistics
        if statistics is not None:
            statistics.provenance = self.provenance
        try:
            self._run(launch)
        finally:
            machine.statistics = None
            machine.memory.free(parameters)
            if workspace:
                machine.memory.free(workspace)
        return machine.instructions - before

    def _kernel(self, entry: str) -> Function:
        function = self.syntax.functions.get(entry)
        if function is None or not function.is_entry:
            kernels = [f.name for f in self.syntax.functions.values() if f.is_entry]
            names = ", ".join(kernels) or "a module that has some"
            raise OptionError(f"expected a kernel of {names}, got {entry!r}")
        return function

    def _shared_bytes(self, dynamic: int) -> int:
        """The bytes of shared memory of a block: the module's own and the launch's."""
        used = self.program.shared_size + dynamic + self._reserved
        if dynamic < 0 or used > SHARED_LIMIT:
            raise OptionError(
                f"expected 0 to {SHARED_LIMIT} bytes shared, got {used}, "
                f"of them {dynamic} dynamic"
            )
        return used

    def _launch(
        self,
        entry: str,
        extents: Extents,
        parameters: int,
        workspace: int,
        shared: int,
        dynamic: int,
    ) -> Launch:
        """What all blocks share; see `Launch`."""
        granule, product_rows = self._for_checker(entry)
        return Launch(
            self.program.layout,
            extents.grid,
            extents.block,
            extents.cluster,
            parameters,
            self.program.entries[entry],
            local=-(-self.program.local_size // 16) * 16,
            shared=shared,
            stack=self.program.stack_row,
            granule=granule,
            product_rows=product_rows,
            provenance=self.provenance,
            dynamic=dynamic,
            workspace=workspace,
            in_clusters=extents.in_clusters,
        )

    def _workspace(self, threads: int) -> int:
        """Memory for a barrier of the grid, if all of it runs at once; the pointer."""
        if not self._grid_barrier or threads > WAVE_THREADS:
            return 0
        return self.device.upload(np.zeros(WORKSPACE, np.uint8))

    def _for_checker(self, entry: str) -> tuple[int, frozenset[int]]:
        """What a launch tells the checker: the granule of memory, and registers."""
        if self.device.machine.checker is None:
            return 4, frozenset()
        return narrowest_access(self.syntax), product_rows(self.program, entry)

    def _run(self, launch: Launch) -> None:
        """Run the clusters of the grid, wave after wave."""
        clusters = grid_clusters(launch.grid, launch.cluster)
        together = max(1, WAVE_THREADS // (launch.threads * launch.blocks))
        if self.device.machine.checker is not None:
            self.device.machine.checker.launch(launch)
        wave: Wave | None = None
        for first in range(0, len(clusters), together):
            chosen = clusters[first : first + together]
            if wave is None or wave.clusters != len(chosen):
                wave = Wave(self.device.machine, launch, len(chosen))
            wave.start(chosen, first)
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


@dataclass(frozen=True)
class Extents:
    """Blocks of the grid, threads of a block, blocks of a cluster.

    `in_clusters` says whether clusters were asked for, of one block too.
    """

    grid: Triple
    block: Triple
    cluster: Triple
    in_clusters: bool


def _extents(
    function: Function,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    cluster: int | Sequence[int] | None,
) -> Extents:
    """What a launch asks for, if a GPU does it."""
    asked = cluster or function.directives.get("reqnctapercluster")
    extents = Extents(triple(grid), triple(block), triple(asked or 1), bool(asked))
    if math.prod(extents.block) > MOST_THREADS:
        raise OptionError(
            f"expected {MOST_THREADS} threads a block, got {extents.block}"
        )
    each = zip(extents.grid, extents.cluster, strict=True)
    if any(blocks % size for blocks, size in each):
        raise OptionError(
            f"expected a grid of whole clusters {extents.cluster}, got {extents.grid}"
        )
    return extents


def _encoded(parameter: Variable, value: Argument) -> bytes:
    if isinstance(value, bytes):
        if len(value) != parameter.size:
            raise OptionError(
                f"{parameter.name}: expected {parameter.size} bytes, got {len(value)}"
            )
        return value
    kind = NUMPY_TYPES[parameter.type]
    if kind.kind in "iu" and isinstance(value, int):
        bits = 8 * kind.itemsize
        if not -(1 << bits - 1) <= value < 1 << bits:
            raise OptionError(f"{parameter.name}: {value} does not fit {bits} bits")
        return (value & ((1 << bits) - 1)).to_bytes(kind.itemsize, "little")
    array = np.asarray(value)
    if kind.kind in "iu" and array.dtype.kind == "f":
        if not parameter.type.startswith("b"):
            raise OptionError(
                f"{parameter.name}: expected an integer for .{parameter.type}, "
                f"got {value}"
            )
        kind = array.dtype if array.dtype.itemsize == kind.itemsize else np.dtype("f4")
    return array.astype(kind).tobytes()
