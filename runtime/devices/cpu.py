"""The CPU: load an engine's code, and run its segments on a pool of threads.

The object file holds the kernels, `void kernel(ptr args, i64 begin, i64 end)`, and
`stepwell_segment(ptr launches, i64 count, ptr barrier, i64 thread, i64 threads)`, which
every thread of a segment calls with its own number. A launch is three 64-bit words: the
kernel, its arguments, and the number of its grid cells.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from llvmlite import binding

from stepwell.errors import DeviceError, EngineFileError

SEGMENT = "stepwell_segment"
WORDS_PER_LAUNCH = 3
BARRIER_BYTES = 1024

Words: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
SegmentFunction: TypeAlias = Callable[[int, int, int, int, int], None]

_MAIN = threading.main_thread().ident
# Python's own pthread_sigmask makes sets of all signals, 7 us a pair; this costs 1 us.
_set_mask = ctypes.CDLL(None).pthread_sigmask
_set_mask.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p]
_INTERRUPT = (1 << (signal.SIGINT - 1)).to_bytes(128, "little")  # a sigset_t
_BEFORE = ctypes.create_string_buffer(128)  # of the main thread alone


def available_threads() -> int:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CpuCode:
    """Kernels in executable memory; functions are found by name.

    Args:
        data: an object file.
        fallback: the same as LLVM IR, for processors that the object does not suit.
        triple: LLVM's name of the platform of the object.
        features: LLVM's names of the CPU features that the object needs.

    Raises:
        DeviceError: this processor cannot run the object, and there is no LLVM IR.
    """

    def __init__(
        self, data: bytes, fallback: bytes | None, triple: str, features: Sequence[str]
    ) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = _target_machine()
        if missing := missing_features(triple, features):
            if fallback is None:
                raise DeviceError(
                    f"expected a processor with {', '.join(missing)}",
                    fix="build the engine on this machine, or for 'cpu-baseline'",
                )
            data = _compile_cached(fallback, machine)
        self._jit = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        self._jit.add_object_file(binding.ObjectFileRef.from_data(data))
        self._jit.finalize_object()

    def address(self, name: str) -> int:
        """The address of a function. Raises `EngineFileError` if there is none."""
        if address := self._jit.get_function_address(name):
            return int(address)
        raise EngineFileError(f"expected a function {name!r} in the engine's code")

    def segment_function(self) -> SegmentFunction:
        """The driver that runs the launches of a segment."""
        prototype = ctypes.CFUNCTYPE(
            None,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_int64,
        )
        function = prototype(self.address(SEGMENT))
        # A worker may still be on its way out of a segment when the engine goes: the
        # code must live as long as anything that calls it.
        setattr(function, "code", self._jit)  # noqa: B010 - ctypes has no such field
        return function


def _target_machine() -> Any:
    features = binding.get_host_cpu_features().flatten()
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=features,
        opt=3,
        reloc="static",
        codemodel="large",
    )


def missing_features(triple: str, features: Sequence[str]) -> list[str]:
    """What an object for this platform and these features needs, and is not here."""
    if triple and triple.split("-")[0] != binding.get_process_triple().split("-")[0]:
        return [triple]
    have = binding.get_host_cpu_features()
    return [feature for feature in features if not have.get(feature, False)]


def cache_folder() -> Path:
    """Where objects compiled on this machine are kept; after the XDG base folders."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stepwell" / "objects"


def _compile_cached(text: bytes, machine: Any) -> bytes:
    key = hashlib.sha256(text)
    key.update(f"{binding.get_host_cpu_name()} {platform.machine()} ".encode())
    key.update(binding.get_host_cpu_features().flatten().encode())
    path = cache_folder() / f"{key.hexdigest()}.o"
    with suppress(OSError):
        data, digest = path.read_bytes(), path.with_suffix(".sha256").read_text()
        if hashlib.sha256(data).hexdigest() == digest:
            return data
    try:
        module = binding.parse_assembly(text.decode())
        module.verify()
    except (RuntimeError, UnicodeDecodeError) as error:
        raise EngineFileError(
            "cannot read the engine's LLVM IR", notes=[str(error)]
        ) from None
    module.triple = binding.get_process_triple()
    data = machine.emit_object(module)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path.with_suffix(".sha256"), hashlib.sha256(data).hexdigest().encode())
        _replace(path, data)
    return data


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def no_segments(*_: int) -> None:
    """The driver of an engine without kernels."""


class ThreadPool:
    """Runs one segment at a time on `threads` threads, the caller's among them.

    While it is busy, another caller's segment runs on that caller's thread alone: with
    many contexts at work the processors are busy anyhow, and spinning at barriers
    against each other would only slow them down.
    """

    def __init__(self, function: SegmentFunction, threads: int) -> None:
        self.threads = threads
        self._function = function
        self._busy = threading.Lock()
        self._solo = threading.local()
        self._shared = _Barrier()
        self._workers: list[_Worker] = []
        self._process = 0

    def run(self, launches: int, count: int, is_large: bool = True) -> None:
        """Run `count` launches at the address `launches`; returns when all are done.

        Unless they are large, the caller's thread runs them alone.
        """
        alone = self.threads == 1 or not is_large
        if alone or not self._busy.acquire(blocking=False):
            self._function(launches, count, self._own_barrier(), 0, 1)
            return
        try:
            if self._process != os.getpid():
                self._start()
            if threading.get_ident() == _MAIN:
                self._run_undisturbed(launches, count)
            else:
                self._run_together(launches, count)
        finally:
            self._busy.release()

    def _run_together(self, launches: int, count: int) -> None:
        for worker in self._workers:
            worker.post(launches, count)
        self._function(launches, count, self._shared.address, 0, self.threads)

    def _run_undisturbed(self, launches: int, count: int) -> None:
        """Hold Ctrl-C back: an exception between waking the workers and joining them
        would leave them waiting at the barrier."""
        _set_mask(signal.SIG_BLOCK, _INTERRUPT, _BEFORE)
        try:
            self._run_together(launches, count)
        finally:
            _set_mask(signal.SIG_SETMASK, _BEFORE, None)

    def close(self) -> None:
        """End the pool's threads."""
        with self._busy:
            for worker in self._workers:
                worker.stop()
            self._workers, self._process = [], 0

    def _start(self) -> None:
        """Start the workers; in a forked child those of the parent do not exist."""
        self._process, self._shared = os.getpid(), _Barrier()
        self._workers = [
            _Worker(self._function, self._shared, number, self.threads)
            for number in range(1, self.threads)
        ]

    def _own_barrier(self) -> int:
        barrier = getattr(self._solo, "barrier", None)
        if barrier is None:
            barrier = self._solo.barrier = _Barrier()
        return barrier.address


class _Barrier:
    """Zeroed memory that the threads of a segment meet at, on its own cache lines."""

    def __init__(self) -> None:
        self._memory = np.zeros(BARRIER_BYTES + 128, np.uint8)
        start = self._memory.ctypes.data
        self.address = start + -start % 128


class _Worker:
    """A thread that waits for segments and takes part in them as `number`."""

    def __init__(
        self, function: SegmentFunction, barrier: _Barrier, number: int, threads: int
    ) -> None:
        self._function, self._barrier = function, barrier
        self._number, self._threads = number, threads
        self._wake = threading.Lock()
        self._wake.acquire()
        self._job: tuple[int, int] | None = None
        name = f"stepwell-{number}"
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def post(self, launches: int, count: int) -> None:
        self._job = (launches, count)
        self._wake.release()

    def stop(self) -> None:
        self._job = None
        self._wake.release()

    def _loop(self) -> None:
        barrier, number, threads = self._barrier.address, self._number, self._threads
        _set_mask(signal.SIG_BLOCK, _INTERRUPT, None)
        while True:
            self._wake.acquire()
            if self._job is None:
                return
            launches, count = self._job
            self._function(launches, count, barrier, number, threads)
