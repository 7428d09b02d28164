"""The devices that engines run on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stepwell.errors import DeviceError, OptionError
from stepwell.runtime.devices.cpu_executable import CpuExecutable
from stepwell.runtime.devices.interface import Array, Executable

if TYPE_CHECKING:
    from stepwell.runtime.devices.gpu.interface import Gpu
    from stepwell.runtime.engine_file import EngineFile

__all__ = ["CpuExecutable", "Executable", "executable_of", "open_gpu"]

_CUDA = re.compile(r"cuda(?::(\d+))?")


def executable_of(
    contents: EngineFile,
    weights: Sequence[Array],
    threads: int,
    device: str | Gpu | None = None,
) -> Executable:
    """Load an engine's code and constants on a device.

    Args:
        device: "cpu", "cuda", "cuda:1", "emulated" or a `Gpu`; by default the kind
            that the engine was built for.

    Raises:
        DeviceError: the engine is for another kind of device, or there is none.
    """
    target = contents.manifest.target
    device = target.kind if device is None else device
    if (device == "cpu") != (target.kind == "cpu"):
        raise DeviceError(
            f"expected a device for an engine of {target.name}, got {device!r}",
            fix=f"build the engine for {device!r}, or load it on "
            f"{'cpu' if target.kind == 'cpu' else 'cuda'!r}",
        )
    if device == "cpu":
        return CpuExecutable(contents, weights, threads)
    from stepwell.runtime.devices.gpu.executable import GpuExecutable

    gpu = open_gpu(device) if isinstance(device, str) else device
    return GpuExecutable(contents, weights, gpu)


def open_gpu(name: str) -> Gpu:
    """The GPU called "cuda", "cuda:1" or "emulated".

    Raises:
        OptionError: no such name.
        DeviceError, MissingExtraError: it cannot be used.
    """
    if name == "emulated":
        from stepwell.runtime.devices.emulated_gpu import EmulatedGpu

        return EmulatedGpu()
    if match := _CUDA.fullmatch(name):
        from stepwell.runtime.devices.cuda import open_cuda

        return open_cuda(int(match[1] or 0))
    raise OptionError(f"expected a device: cpu, cuda, cuda:1, emulated; got {name!r}")
