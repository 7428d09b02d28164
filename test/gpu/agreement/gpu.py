"""Forms on a GPU, in a process of their own: a kernel may hang it or break its context.

Needs cuda-bindings, and a GPU that runs sm_90a.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .form import Form, Map
from .values import Array

FAULT = "the kernel ended with"
"""How the message of a fault begins."""
SECONDS = 10
"""For one kernel, its compilation included."""
ALTOGETHER = 480
"""Seconds after which the rest of the forms is left out."""


class GpuError(Exception):
    """A call of the driver failed."""


class Broken(GpuError):
    """The context is of no use any more."""


def run_forms(forms: Sequence[Form], log: Callable[[str], None]) -> Iterator[Any]:
    """The outcome of each form in order: an array, or a message.

    A worker that takes too long, or whose context breaks, is replaced.
    """
    worker: _Worker | None = _Worker()
    started = time.monotonic()
    for form in forms:
        if worker is None or time.monotonic() - started > ALTOGETHER:
            yield "not run: out of time, or no context any more"
            continue
        outcome, usable = worker.run(form)
        if not usable:
            log(f"new context after {form.family}/{form.name}: {outcome}")
            worker.stop()
            worker = _restarted(log)
        yield outcome
    if worker is not None:
        worker.stop()


def _restarted(log: Callable[[str], None]) -> _Worker | None:
    """A new worker; None if the GPU gives no context any more."""
    try:
        return _Worker()
    except GpuError as error:
        log(str(error))
        return None


class _Worker:
    """A process with a context."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        answer = self._pipe.recv() if self._pipe.poll(120) else "no answer"
        if answer != "ready":
            raise GpuError(f"expected a Hopper GPU and cuda-bindings: {answer}")

    def run(self, form: Form) -> tuple[Array | str, bool]:
        """The outcome, and whether the worker can go on."""
        try:
            self._pipe.send(form)
            if not self._pipe.poll(SECONDS):
                return f"no result within {SECONDS} seconds", False
            return self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return "the process ended", False

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join(20)


def _serve(pipe: Connection) -> None:
    try:
        driver = Driver()
    except Exception as error:  # no package, no driver, no GPU: told to the parent
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("ready")
    while True:
        form = pipe.recv()
        try:
            pipe.send((driver.run(form), True))
        except Broken as error:
            pipe.send((str(error), False))
        except GpuError as error:
            pipe.send((str(error), True))


class Driver:
    """The CUDA driver, on device 0."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._cuda = driver
        self._call(driver.cuInit, 0)
        device = self._call(driver.cuDeviceGet, 0)
        context = self._call(driver.cuDevicePrimaryCtxRetain, device)
        self._call(driver.cuCtxSetCurrent, context)

    @staticmethod
    def _call(function: Callable[..., Any], *args: Any) -> Any:
        code, *rest = function(*args)
        if int(code) != 0:
            raise GpuError(f"{function.__name__}: {code.name}")
        return rest[0] if rest else None

    def run(self, form: Form) -> Array:
        """The output's contents after the kernel."""
        cuda = self._cuda
        module = self._call(cuda.cuModuleLoadData, form.ptx.encode() + b"\0")
        kernel = self._call(cuda.cuModuleGetFunction, module, b"k")
        arrays = [np.ascontiguousarray(a) for a in (*form.inputs, form.output)]
        pointers = [self._call(cuda.cuMemAlloc, max(a.nbytes, 16)) for a in arrays]
        for pointer, array in zip(pointers, arrays, strict=True):
            size = array.nbytes
            self._call(cuda.cuMemcpyHtoD, pointer, array.ctypes.data, size)
        maps = [self._map(one, int(pointers[one.buffer])) for one in form.maps]
        if form.shared:
            limit = cuda.CUfunction_attribute
            key = limit.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call(cuda.cuFuncSetAttribute, kernel, key, form.shared)
        values = [ctypes.c_uint64(int(pointer)) for pointer in pointers]
        places = [int(one.getPtr()) for one in maps]
        places += [ctypes.addressof(value) for value in values]
        parameters = (ctypes.c_void_p * len(places))(*places)
        sizes = (form.blocks, 1, 1, form.threads, 1, 1, form.shared)
        address = ctypes.addressof(parameters)
        self._call(cuda.cuLaunchKernel, kernel, *sizes, 0, address, 0)
        (code,) = cuda.cuCtxSynchronize()
        if int(code) != 0:
            raise Broken(f"{FAULT} {code.name}")
        result = np.empty_like(arrays[-1])
        self._call(cuda.cuMemcpyDtoH, result.ctypes.data, pointers[-1], result.nbytes)
        for pointer in pointers:
            self._call(cuda.cuMemFree, pointer)
        self._call(cuda.cuModuleUnload, module)
        return result

    def _map(self, one: Map, pointer: int) -> Any:
        cuda = self._cuda
        element = getattr(
            cuda.CUtensorMapDataType,
            f"CU_TENSOR_MAP_DATA_TYPE_{one.element.upper()}",
        )
        wide, narrow = cuda.cuuint64_t, cuda.cuuint32_t
        steps = one.steps or (1,) * len(one.dims)
        shape = (
            *(element, len(one.dims), pointer),
            [wide(extent) for extent in one.dims],
            [wide(stride) for stride in one.strides or (0,)],
        )
        tail = (
            [narrow(step) for step in steps],
            cuda.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            getattr(
                cuda.CUtensorMapSwizzle,
                f"CU_TENSOR_MAP_SWIZZLE_{one.swizzle.upper()}",
            ),
            cuda.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_NONE,
            cuda.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
            if one.oob_fill == "nan"
            else cuda.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
        if one.pixels == 0:
            box = [narrow(extent) for extent in one.box]
            return self._call(cuda.cuTensorMapEncodeTiled, *shape, box, *tail)
        corners = (list(one.lower), list(one.upper), one.channels, one.pixels)
        return self._call(cuda.cuTensorMapEncodeIm2col, *shape, *corners, *tail)
