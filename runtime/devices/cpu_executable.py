"""An engine on the CPU: its segments as tables of launches for the thread pool."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .cpu import (
    WORDS_PER_LAUNCH,
    CpuCode,
    ThreadPool,
    Words,
    no_segments,
)
from .host_memory import ALIGNMENT, HostBuffer, HostValues
from .interface import Array, LaunchObserver, SegmentSpec, Slots

if TYPE_CHECKING:
    from stepwell.runtime.engine_file import EngineFile
    from stepwell.runtime.plan import Plan

PARALLEL_WORK = 1_000_000
"""FLOPs or bytes from which a segment is run by all threads: one thread does as much in
the 20 us or so that it takes to wake another."""
PARALLEL_WORK_OF_A_LAUNCH = 50_000
"""The same on the average of its launches: threads meet behind each of them."""


class CpuExecutable:
    """Kernels in executable memory, and the threads that run them.

    Args:
        weights: the constants, by their number.
        threads: how many threads a run may use.
    """

    takes_device_tensors = False

    def __init__(
        self, contents: EngineFile, weights: Sequence[Array], threads: int
    ) -> None:
        manifest = contents.manifest
        code = _load(contents)
        self.weights = weights
        self.kernels = tuple(
            code.address(kernel.symbol) if code else 0 for kernel in manifest.kernels
        )
        function = code.segment_function() if code else no_segments
        self.pool = ThreadPool(function, threads)
        self.close = self.pool.close

    def workspace(self) -> CpuExecutable:
        """The CPU's memory is everyone's: contexts share it all."""
        return self

    alignment = ALIGNMENT

    def buffer(self) -> HostBuffer:
        """An empty buffer."""
        return HostBuffer()

    def bind(self, spec: SegmentSpec) -> CpuSegment:
        """The tables of a segment."""
        return CpuSegment(self, spec)

    def values(
        self,
        context: Slots,
        plan: Plan,
        inputs: Sequence[Array],
        bindings: dict[str, int],
        stream: Any,
    ) -> HostValues:
        """The values of a run on these inputs."""
        return HostValues(context, plan, inputs, bindings, self.weights)


class CpuSegment:
    """Three words for each launch, and the words of all arguments.

    `dynamic` are values with the positions of their addresses among the words.
    """

    def __init__(self, executable: CpuExecutable, spec: SegmentSpec) -> None:
        launches = spec.launches
        flat = [word for one in launches for word in (*one.addresses, *one.integers)]
        starts = _starts([len(one.addresses) + len(one.integers) for one in launches])
        self._words: Words = np.array([*flat, 0], np.int64)
        base = self._words.ctypes.data
        self._launches: Words = np.array(
            [
                (executable.kernels[one.kernel], base + 8 * start, one.cells)
                for one, start in zip(launches, starts, strict=True)
            ],
            np.int64,
        ).reshape(-1, WORDS_PER_LAUNCH)
        self._address, self._count = self._launches.ctypes.data, len(launches)
        self._dynamic = tuple(
            (value, tuple(starts[launch] + at for launch, at in places))
            for value, places in spec.dynamic.items()
        )
        least = max(PARALLEL_WORK, self._count * PARALLEL_WORK_OF_A_LAUNCH)
        many = any(one.cells > 1 for one in launches)
        self._is_large = many and spec.work >= least
        self._run = executable.pool.run

    def run(self, values: HostValues) -> None:
        """Run all launches."""
        self._point(values)
        self._run(self._address, self._count, self._is_large)

    def run_observed(self, values: HostValues, observe: LaunchObserver) -> None:
        """Run launch by launch."""
        self._point(values)
        for index in range(self._count):
            start = perf_counter()
            address = self._address + 8 * WORDS_PER_LAUNCH * index
            self._run(address, 1, self._is_large)
            observe(index, start, perf_counter() - start)

    def _point(self, values: HostValues) -> None:
        words = self._words
        for value, positions in self._dynamic:
            address = values.address(value)
            for position in positions:
                words[position] = address


def _starts(lengths: Sequence[int]) -> list[int]:
    """Where each of several runs of words starts."""
    starts = [0]
    for length in lengths[:-1]:
        starts.append(starts[-1] + length)
    return starts[: len(lengths)]


def _load(contents: EngineFile) -> CpuCode | None:
    """The kernels in executable memory; None if there are none."""
    target, code = contents.manifest.target, contents.manifest.code
    if code is None:
        return None
    return CpuCode(
        contents.code[code.object],
        contents.code[code.fallback] if code.fallback else None,
        target.triple,
        target.features,
    )
