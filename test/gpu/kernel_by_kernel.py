"""Two engines of one model, kernel by kernel on equal inputs.

Finds the kernel that is wrong when a whole network is: every launch of an engine is
followed by the same launch of a judge, an engine of the same model for the same GPU
whose kernels are computed in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stepwell.runtime import Engine
from stepwell.runtime.context import Context
from stepwell.runtime.devices.gpu.executable import (
    GpuExecutable,
    GpuSegment,
    GpuWorkspace,
)
from stepwell.runtime.devices.gpu.interface import Download
from stepwell.runtime.devices.gpu.values import GpuValues
from stepwell.runtime.devices.interface import BoundLaunch, SegmentSpec
from stepwell.runtime.expressions import product
from stepwell.runtime.program import Program, read_expression


@dataclass(frozen=True)
class Compared:
    """One launch of both engines.

    Attributes:
        kernel: its name in the PTX.
        maps: how many of its arguments are tensor maps.
        error: max|a-b| / max|b| of what it wrote; infinite on NaN.
        repeats: whether two launches on the same inputs gave the same bits.
    """

    kernel: str
    maps: int
    error: float
    repeats: bool


Report = Callable[[Compared], None]


def compare_kernels(
    engine: Engine, judge: Engine, inputs: Mapping[str, Any]
) -> list[Compared]:
    """Run `engine` once, each launch of it before the judge's of the same name.

    What the judge wrote stays, so that one wrong kernel does not spoil the next.

    Args:
        engine, judge: both on the same device.

    Raises:
        ValueError: the engines are not made of the same kernels.
    """
    found: list[Compared] = []
    executable, other = engine.start(), judge.start()
    assert isinstance(executable, GpuExecutable) and isinstance(other, GpuExecutable)
    watched = _Watched(executable, other, found.append)
    Context(Program(engine.manifest), watched).run(engine.arrays_of(inputs))
    return found


def relative_error(ours: Any, theirs: Any) -> float:
    """max|a-b| / max|b|; infinite where one is NaN and the other is not."""
    a, b = np.asarray(ours).astype(np.float64), np.asarray(theirs).astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        difference = np.where(same, 0.0, np.abs(a - b))
    scale = np.abs(b[np.isfinite(b)]).max(initial=0.0) or 1.0
    worst = float(difference.max(initial=0.0) / scale)
    return worst if np.isfinite(worst) else float("inf")


@dataclass(frozen=True)
class _Watched:
    """An engine on a GPU whose contexts run launch by launch beside a judge."""

    executable: GpuExecutable
    judge: GpuExecutable
    report: Report
    takes_device_tensors = True

    def workspace(self) -> GpuWorkspace:
        with self.executable.gpu.activate():
            return _Workspace(self)

    def close(self) -> None:
        self.executable.close()


class _Workspace(GpuWorkspace):
    def __init__(self, watched: _Watched) -> None:
        super().__init__(watched.executable)
        self.watched = watched

    def bind(self, spec: SegmentSpec) -> GpuSegment:
        return _Segment(self, spec, self.watched)


class _Segment(GpuSegment):
    """Runs a segment's launches one by one, each of them three times."""

    def __init__(
        self, workspace: GpuWorkspace, spec: SegmentSpec, watched: _Watched
    ) -> None:
        super().__init__(workspace, spec)
        self._executable, self._judge = watched.executable, watched.judge
        self._report = watched.report
        self._kernels = {one.symbol: i for i, one in enumerate(self._judge.kernels)}

    def run(self, values: GpuValues) -> None:
        self.point(values)
        for one in self.launches:
            self._compare(one, values)

    def _compare(self, one: BoundLaunch, values: GpuValues) -> None:
        kernel, second = self._executable.kernels[one.kernel], self._counterpart(one)
        memory = {at.address: at for at in map(values.location, one.values)}
        before = self._read(memory)
        found = [self._run(self._executable, one, memory)]
        self._write(before)
        found.append(self._run(self._executable, one, memory))
        self._write(before)
        wanted = self._run(self._judge, second, memory)
        self._report(
            Compared(
                kernel.symbol,
                len(kernel.maps),
                max(relative_error(found[0][a], wanted[a]) for a in memory),
                all(found[0][a].tobytes() == found[1][a].tobytes() for a in memory),
            )
        )

    def _counterpart(self, one: BoundLaunch) -> BoundLaunch:
        """The judge's launch on the same memory."""
        kernel = self._executable.kernels[one.kernel]
        number = self._kernels.get(kernel.symbol)
        if number is None or self._judge.kernels[number].views != kernel.views:
            raise ValueError(f"expected {kernel.symbol!r} in both engines")
        other, sizes = self._judge.kernels[number], one.sizes
        cells = product(read_expression(extent)(sizes) for extent in other.grid)
        integers = [sizes[name] for name in other.symbols]
        return replace(
            one, kernel=number, integers=integers, symbols=other.symbols, cells=cells
        )

    def _run(
        self,
        executable: GpuExecutable,
        one: BoundLaunch,
        memory: Mapping[int, Download],
    ) -> dict[int, Any]:
        recording = self.workspace.queue.record([executable.launch(one)])
        recording.run()
        return self._read(memory)

    def _read(self, memory: Mapping[int, Download]) -> dict[int, Any]:
        arrays = self.workspace.queue.download(list(memory.values()))
        return dict(zip(memory, arrays, strict=True))

    def _write(self, contents: Mapping[int, Any]) -> None:
        for address, array in contents.items():
            if array.nbytes:
                self.workspace.queue.upload(address, address, array)
