"""One NVIDIA GPU."""

from __future__ import annotations

import re
import threading
from typing import Any

from stepwell.errors import DeviceError
from stepwell.runtime.devices.gpu.interface import GpuCode, MapRequest

from .driver import driver_errors, import_driver
from .queue import CudaQueue
from .tensor_maps import encode_map

_TARGET = re.compile(r"sm_(\d+)([af]?)")


class CudaGpu:
    """A GPU by its number; its primary context is shared with torch and CuPy.

    Raises:
        MissingExtraError: PyCUDA or cuda-bindings is not installed.
        DeviceError: there is no driver, or no such GPU.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.pycuda, self.bindings = import_driver()
        count = self.pycuda.Device.count()
        if ordinal >= count:
            raise DeviceError(f"expected a GPU of number {ordinal}, found {count} GPUs")
        self.ordinal = ordinal
        device = self.pycuda.Device(ordinal)
        self.name = f"{device.name()} (cuda:{ordinal})"
        self.capability: tuple[int, int] = device.compute_capability()
        self._context = device.retain_primary_context()
        self._active = _Active(self.pycuda, self._context)
        self._held: dict[int, Any] = {}

    def activate(self) -> _Active:
        """Make the primary context current on this thread."""
        return self._active

    def allocate(self, nbytes: int, what: str) -> int:
        """Memory of the GPU."""
        try:
            memory = self.pycuda.mem_alloc(nbytes)
        except self.pycuda.MemoryError:
            free, total = self.pycuda.mem_get_info()
            raise DeviceError(
                f"out of memory on {self.name}: cannot allocate {nbytes} B for {what}",
                notes=[f"{free} B of {total} B are free"],
                fix="use smaller inputs, or free memory that other contexts hold",
            ) from None
        except self.pycuda.Error as error:
            raise DeviceError(
                f"cannot allocate {nbytes} B for {what}", notes=[str(error)]
            ) from None
        self._held[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """Give memory back, after all work on it."""
        memory = self._held.pop(address)
        with driver_errors(self.pycuda, "give memory back"):
            memory.free()

    def load(self, code: GpuCode) -> list[Any]:
        """The functions, from the cubin, or compiled by the driver from PTX."""
        use_cubin = runs_cubin(code.target, self.capability) and bool(code.cubin)
        if not use_cubin and not runs_ptx(code.target, self.capability):
            major, minor = self.capability
            raise DeviceError(
                f"expected a GPU for {code.target}, got {self.name} of compute "
                f"capability {major}.{minor}",
                notes=[f"the engine holds kernels for {code.target}"],
                fix=f"build the engine for {own_target(self.capability)!r}",
            )
        image = code.cubin if use_cubin else code.ptx.encode() + b"\0"
        with driver_errors(self.pycuda, "load the engine's kernels"):
            module = self.pycuda.module_from_buffer(image)
            functions = [module.get_function(entry) for entry in code.entries]
            attribute = self.pycuda.function_attribute
            for function, shared in zip(functions, code.shared, strict=True):
                if shared:
                    limit = attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
                    function.set_attribute(limit, shared)
                # Loads it now: the driver would else do so in the midst of a capture.
                function.get_attribute(attribute.NUM_REGS)
        return functions

    def encode(self, request: MapRequest) -> bytes:
        """The driver's tensor map."""
        return encode_map(self.bindings, request)

    def queue(self) -> CudaQueue:
        """A stream of its own, for a new context."""
        return CudaQueue(self.pycuda, self.bindings, self.activate())


class _Active:
    """Makes a context current for a stretch of one thread; stretches nest."""

    def __init__(self, pycuda: Any, context: Any) -> None:
        self._push, self._pop = context.push, pycuda.Context.pop
        self._thread = threading.local()

    def __enter__(self) -> None:
        depth = getattr(self._thread, "depth", 0)
        if depth == 0:
            self._push()
        self._thread.depth = depth + 1

    def __exit__(self, *_: object) -> None:
        self._thread.depth -= 1
        if self._thread.depth == 0:
            self._pop()


def parse_target(name: str) -> tuple[tuple[int, int], str]:
    """The compute capability and the suffix of a target such as "sm_90a"."""
    match = _TARGET.fullmatch(name)
    if match is None:
        raise DeviceError(f"expected a target such as sm_90a, got {name!r}")
    number = int(match[1])
    return (number // 10, number % 10), match[2]


def runs_cubin(target: str, capability: tuple[int, int]) -> bool:
    """Whether machine code for `target` runs on a GPU: of the same major number and no
    newer; with "a", of exactly this one (CUDA C++ programming guide, "Binary
    Compatibility")."""
    wanted, suffix = parse_target(target)
    if suffix == "a":
        return wanted == capability
    return wanted[0] == capability[0] and wanted[1] <= capability[1]


def runs_ptx(target: str, capability: tuple[int, int]) -> bool:
    """Whether the driver can compile PTX for `target` for a GPU: one no older; with
    "a" for the same alone, with "f" for its family ("PTX Compatibility")."""
    wanted, suffix = parse_target(target)
    return runs_cubin(target, capability) if suffix else wanted <= capability


def own_target(capability: tuple[int, int]) -> str:
    """The name of the target that suits a GPU best."""
    major, minor = capability
    return f"sm_{major}{minor}{'a' if major >= 9 else ''}"
