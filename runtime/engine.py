"""`Engine`: a loaded engine, ready to run from any number of threads."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stepwell.errors import OptionError
from stepwell.runtime import engine_file
from stepwell.runtime.context import Context
from stepwell.runtime.devices import Executable, executable_of
from stepwell.runtime.devices.cpu import available_threads
from stepwell.runtime.devices.interface import Array
from stepwell.runtime.dtypes import dtype_of
from stepwell.runtime.engine_file import EngineFile
from stepwell.runtime.expressions import product
from stepwell.runtime.host_ops import HOST_OPS
from stepwell.runtime.inputs import TensorSpec, to_arrays
from stepwell.runtime.manifest import Manifest, TensorInfo
from stepwell.runtime.program import Program
from stepwell.runtime.summary import Summary, summarise
from stepwell.runtime.walk import launches_of, verify_host_calls

if TYPE_CHECKING:
    from stepwell.runtime.devices.gpu.interface import Gpu


class Engine:
    """A compiled model.

    ```python
    engine = stepwell.load("model.stepwell")
    y = engine(x)                      # by position; arrays that the caller owns
    results = engine.run({"x": x})     # by name, to a dict
    ```

    Calls from several threads run at once, each in a context of its own.

    Args:
        contents: what `engine_file.read` returns.
        threads: how many threads one call may use; by default what the engine was
            built with, else all processors this process may run on.
        device: "cpu", "cuda", "cuda:1", "emulated" (a PTX interpreter, for engines of
            GPUs), or an `EmulatedGpu`; by default what the engine was built for.
        start: load the code now; else at the first run, so that an engine can be built
            and saved where its device is not.

    Raises:
        EngineFileError, DeviceError: the engine does not run on this machine.
    """

    def __init__(
        self,
        contents: EngineFile,
        threads: int | None = None,
        device: str | Gpu | None = None,
        start: bool = True,
    ) -> None:
        if threads is not None and threads < 1:
            raise OptionError(f"expected at least 1 thread, got {threads}")
        manifest = contents.manifest
        verify_host_calls(manifest.program, HOST_OPS.keys())
        self._contents = contents
        self._program = Program(manifest)
        self.threads = threads or manifest.threads or available_threads()
        self._device = device
        self._loaded: Executable | None = None
        self._idle: list[Context] = []
        self._lock = threading.Lock()
        self.inputs = _specs(manifest, manifest.inputs)
        self.outputs = _specs(manifest, manifest.outputs)
        if start:
            self.start()

    def start(self) -> Executable:
        """Load the code and the constants on the device, if that was not done yet.

        Raises:
            EngineFileError, DeviceError, MissingExtraError: it cannot be done here.
        """
        with self._lock:
            if self._loaded is None:
                contents, threads = self._contents, self.threads
                loaded = executable_of(
                    contents, _weights(contents), threads, self._device
                )
                weakref.finalize(self, loaded.close)
                self._loaded = loaded
            return self._loaded

    @property
    def manifest(self) -> Manifest:
        """What the engine is: kernels, program, memory plan, target."""
        return self._contents.manifest

    @property
    def kernel_count(self) -> int:
        """How many launches one run makes, loops and branches counted once."""
        return len(launches_of(self.manifest.program))

    def inspect(self, sizes: Mapping[str, int] | None = None) -> Summary:
        """Kernels, fused ops, FLOPs, bytes, memory plan and host calls.

        Args:
            sizes: values of symbols that amounts are given for; by default the ones
                that the engine is tuned for.
        """
        return summarise(self.manifest, sizes)

    @property
    def snapshots(self) -> Mapping[str, str]:
        """IR of the steps of the compilation, if the build kept it."""
        return self._contents.snapshots

    def __call__(self, *inputs: Any, stream: Any = None, **named: Any) -> Any:
        """Run on inputs by position or by keyword.

        On a GPU, tensors of torch, CuPy or DLPack that lie there are used in place, and
        the outputs are of the same library. The call then returns before the GPU is
        done, in the order of the stream.

        Args:
            stream: the CUDA stream to run on, an object or its handle; by default the
                one that the inputs' library is at, or the engine's own.

        Returns:
            The output; a tuple of them if the model has several.

        Raises:
            InputError: inputs that do not fit the engine.
        """
        results = self._run(self._arrays(inputs, named), stream)
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, inputs: Mapping[str, Any], stream: Any = None) -> dict[str, Any]:
        """Run on inputs by name; returns the outputs by name. Else as a call.

        Raises:
            InputError: inputs that do not fit the engine.
        """
        results = self._run(self.arrays_of(inputs), stream)
        names = (spec.name for spec in self.outputs)
        return dict(zip(names, results, strict=True))

    def context(self) -> Context:
        """A context of the caller's own, with its own arena."""
        return Context(self._program, self.start())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the engine to a file, all or nothing.

        Raises:
            EngineFileError: the file cannot be written.
        """
        engine_file.write(self._contents, path)

    def to_bytes(self) -> bytes:
        """The bytes that `save` writes."""
        return engine_file.to_bytes(self._contents)

    def arrays_of(self, inputs: Mapping[str, Any]) -> list[Any]:
        """What `Context.run` takes, of inputs by name.

        Raises:
            InputError: inputs that do not fit the engine.
        """
        return self._arrays((), inputs)

    def _arrays(self, positional: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        loaded = self._loaded or self.start()
        return to_arrays(self.inputs, positional, named, loaded.takes_device_tensors)

    def _run(self, arrays: Sequence[Any], stream: Any) -> list[Any]:
        with self._lock:
            context = self._idle.pop() if self._idle else None
        context = context or self.context()
        try:
            return context.run(arrays, stream=stream)
        finally:
            with self._lock:
                self._idle.append(context)


def load(
    path: str | os.PathLike[str],
    threads: int | None = None,
    device: str | Gpu | None = None,
) -> Engine:
    """Load an engine from a file, which is checked from end to end first.

    An engine holds machine code: load only what you trust.

    Raises:
        EngineFileError: no such file, damage, another schema or target.
        DeviceError: this machine cannot run it.
    """
    return Engine(engine_file.read(path), threads, device)


def load_bytes(
    data: bytes, threads: int | None = None, device: str | Gpu | None = None
) -> Engine:
    """Load an engine from memory. Raises what `load` raises."""
    return Engine(engine_file.from_bytes(data), threads, device)


def _specs(manifest: Manifest, tensors: Sequence[TensorInfo]) -> list[TensorSpec]:
    specs: list[TensorSpec] = []
    for tensor in tensors:
        value = manifest.values[tensor.value]
        specs.append(
            TensorSpec(tensor.name, dtype_of(value.dtype), value.dims, manifest.symbols)
        )
    return specs


def _weights(contents: EngineFile) -> list[Array]:
    """The constants as read-only views of the weight blob."""
    manifest = contents.manifest
    arrays: list[Array] = [np.zeros(0, np.uint8)] * len(manifest.weights)
    for value in manifest.values:
        if value.place != "weight":
            continue
        weight = manifest.weights[value.index]
        shape = tuple(int(dim) for dim in value.dims)
        if weight.strings is not None:
            arrays[value.index] = np.array(weight.strings, object).reshape(shape)
            continue
        data = contents.weights[weight.offset : weight.offset + weight.nbytes]
        array = data.view(dtype_of(value.dtype))[: product(shape)].reshape(shape)
        arrays[value.index] = array
    return arrays
