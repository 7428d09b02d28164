"""An engine on a GPU: modules, constants, and segments bound for the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stepwell.errors import DeviceError
from stepwell.runtime.devices.interface import (
    Array,
    BoundLaunch,
    LaunchObserver,
    SegmentSpec,
    Slots,
)
from stepwell.runtime.manifest import Kernel, TensorMap
from stepwell.runtime.program import read_expression

from .buffer import GpuBuffer
from .interface import Gpu, GpuCode, GpuLaunch, MapRequest, Queue, fits_integer
from .values import GpuValues

if TYPE_CHECKING:
    from stepwell.runtime.engine_file import EngineFile
    from stepwell.runtime.plan import Plan

ALIGNMENT = 256
"""Of slots, as of the driver's own allocations; tensor maps need 16, vectors 16."""
MAX_BLOCKS = 2**31 - 1


class GpuExecutable:
    """Kernels and constants in the memory of a GPU.

    Args:
        weights: the constants on the host, by their number.
    """

    takes_device_tensors = True

    def __init__(
        self, contents: EngineFile, weights: Sequence[Array], gpu: Gpu
    ) -> None:
        manifest = contents.manifest
        self.gpu, self.weights = gpu, weights
        self.kernels = manifest.kernels
        self._offsets = [weight.offset for weight in manifest.weights]
        self._memory = GpuBuffer(gpu, "the engine's weights")
        with gpu.activate():
            self.functions = gpu.load(_code(contents)) if manifest.code else []
            self._base = self._upload(contents.weights)

    def _upload(self, blob: Array) -> int:
        if blob.nbytes == 0:
            return 0
        base = self._memory.reserve(blob.nbytes)
        queue = self.gpu.queue()
        queue.begin(None)
        queue.upload(self, base, blob)
        queue.download(())
        queue.end()
        return base

    def weight_address(self, index: int) -> int:
        """Where constant `index` is."""
        return self._base + self._offsets[index]

    def launch(self, one: BoundLaunch) -> GpuLaunch:
        """A launch as the driver takes it, with its tensor maps encoded."""
        kernel = self.kernels[one.kernel]
        views: list[int | bytes] = list(one.addresses)
        for tensor_map in kernel.maps:
            request = _request(tensor_map, one.addresses[tensor_map.view], one.sizes)
            views[tensor_map.view] = self.gpu.encode(request)
        _check_sizes(kernel, one)
        return GpuLaunch(
            self.functions[one.kernel],
            one.cells,
            kernel.threads,
            kernel.shared,
            kernel.cluster,
            tuple(views),
            tuple(one.integers),
        )

    def workspace(self) -> GpuWorkspace:
        """Memory, stream and segments for a new context."""
        with self.gpu.activate():
            return GpuWorkspace(self)

    def close(self) -> None:
        """Give the memory of the constants back."""
        self._memory.release()
        with self.gpu.activate():
            self.functions.clear()


def _code(contents: EngineFile) -> GpuCode:
    manifest = contents.manifest
    code = manifest.code
    assert code is not None
    return GpuCode(
        manifest.target.name,
        contents.code[code.object],
        contents.code[code.fallback].decode(errors="replace") if code.fallback else "",
        tuple(kernel.symbol for kernel in manifest.kernels),
        tuple(kernel.shared for kernel in manifest.kernels),
    )


class GpuWorkspace:
    """What one context has on a GPU: a queue, and buffers by what they hold."""

    alignment = ALIGNMENT

    def __init__(self, executable: GpuExecutable) -> None:
        self.executable, self.gpu = executable, executable.gpu
        self.queue: Queue = self.gpu.queue()
        self._buffers: dict[object, GpuBuffer] = {}
        self.spare: dict[int, list[GpuBuffer]] = {}

    def buffer(self) -> GpuBuffer:
        """An empty buffer."""
        return GpuBuffer(self.gpu, "a context's arena")

    def room(self, key: object, nbytes: int) -> int:
        """The address of memory that is kept for `key` from run to run."""
        buffer = self._buffers.get(key)
        if buffer is None:
            buffer = self._buffers[key] = self.buffer()
        return buffer.reserve(nbytes)

    def bind(self, spec: SegmentSpec) -> GpuSegment:
        """Prepare a segment."""
        return GpuSegment(self, spec)

    def values(
        self,
        context: Slots,
        plan: Plan,
        inputs: Sequence[Any],
        bindings: dict[str, int],
        stream: Any,
    ) -> GpuValues:
        """The values of a run on these inputs."""
        return GpuValues(self, context, plan, inputs, bindings, stream)


class GpuSegment:
    """The launches of a segment; when a value moves, those on it are made anew.

    Attributes:
        launches: those whose grid is not empty.
    """

    def __init__(self, workspace: GpuWorkspace, spec: SegmentSpec) -> None:
        self.workspace = workspace
        self.launches = [one for one in spec.launches if one.cells > 0]
        number = {id(one): i for i, one in enumerate(self.launches)}
        self._numbers = [i for i, one in enumerate(spec.launches) if id(one) in number]
        self._dynamic = [
            (
                value,
                [
                    (number[id(spec.launches[i])], at)
                    for i, at in places
                    if id(spec.launches[i]) in number
                ],
            )
            for value, places in spec.dynamic.items()
        ]
        self._recording: Any = None

    def run(self, values: GpuValues) -> None:
        """Run all launches, at the values' present addresses."""
        if self.launches:
            self._recorded(values).run()

    def run_observed(self, values: GpuValues, observe: LaunchObserver) -> None:
        """Run launch by launch."""
        if self.launches:
            numbers = self._numbers
            self._recorded(values).run_observed(
                lambda index, *time: observe(numbers[index], *time)
            )

    def point(self, values: GpuValues) -> set[int]:
        """Give all launches the values' present addresses; returns those that moved."""
        moved: set[int] = set()
        for value, places in self._dynamic:
            address = values.address(value)
            for launch, at in places:
                addresses = self.launches[launch].addresses
                if addresses[at] != address:
                    addresses[at] = address
                    moved.add(launch)
        return moved

    def _recorded(self, values: GpuValues) -> Any:
        """The recording, with every moving value where it is now."""
        moved, launch = self.point(values), self.workspace.executable.launch
        if self._recording is None:
            self._recording = self.workspace.queue.record(
                [launch(one) for one in self.launches]
            )
        else:
            for number in sorted(moved):
                self._recording.replace(number, launch(self.launches[number]))
        return self._recording


def _request(one: TensorMap, address: int, sizes: Mapping[str, int]) -> MapRequest:
    def known(texts: Sequence[int | str]) -> tuple[int, ...]:
        return tuple(read_expression(text)(sizes) for text in texts)

    return MapRequest(
        one.element,
        address,
        known(one.dims),
        known(one.strides),
        one.box,
        one.swizzle,
        known(one.lower),
        known(one.upper),
        one.steps,
    )


def _check_sizes(kernel: Kernel, one: BoundLaunch) -> None:
    too_large = [n for n in (*one.integers, one.cells) if not fits_integer(n)]
    if too_large:
        raise DeviceError(
            f"expected sizes below 2^31 of kernel {kernel.symbol!r}, got {too_large[0]}"
        )
