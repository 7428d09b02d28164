"""The runtime on a GPU: copies, streams, contexts, pointers, errors, profiles.

Usage: python test/gpu/runtime_checks.py [--only NAME] [--write]

Needs a GPU, `stepwell[cuda-run]`, and torch with CUDA for the checks of zero copy and
of streams. Runs an engine of one kernel in PTX (handmade.py), so that nothing but the
runtime is judged. Prints one line for each check; returns 1 if one failed. `--write`
keeps docs/benchmarks/gpu-runtime.md.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from handmade import make_copy_engine, make_gpu_engine, twice

from stepwell.errors import DeviceError, InputError
from stepwell.runtime import Engine
from stepwell.runtime.devices.cuda import open_cuda
from stepwell.runtime.profiler import chrome_trace, observe_run, profile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "gpu-runtime.md"
LONGEST = 60
"""Seconds after which a check is given up, with a traceback of all threads."""
LONG_NAP = 200_000_000
"""Clock cycles: about a tenth of a second."""


def engine(**changes: Any) -> Engine:
    """The handmade engine, for this GPU."""
    return Engine(make_gpu_engine("sm_80", **changes), device="cuda")


def expect(condition: object, message: str) -> None:
    """Raises AssertionError unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def arrays_in_and_out() -> str:
    """NumPy in, NumPy out, at many sizes; results are the caller's."""
    e = engine()
    kept: list[tuple[Any, Any]] = []
    for n in (1, 63, 64, 65, 1000, 1, 1_000_000, 63, 40_000_000):
        x = np.random.default_rng(n).standard_normal(n).astype(np.float32)
        kept.append((e(x), twice(x)))
    for ours, wanted in kept:
        np.testing.assert_allclose(ours, wanted, rtol=1e-6)
    return f"{len(kept)} sizes"


def torch_without_copies() -> str:
    """Torch tensors in and out, in place; memory grows by the outputs alone."""
    e = engine()
    x = torch.randn(64_000_000, device="cuda")
    e(x)
    torch.cuda.synchronize()
    before = torch.cuda.mem_get_info()[0]
    y = e(x)
    torch.cuda.synchronize()
    grown = before - torch.cuda.mem_get_info()[0]
    expect(isinstance(y, torch.Tensor) and y.is_cuda, f"got {type(y)}")
    torch.testing.assert_close(y, 2 * (2 * x + 3) + 3)
    expect(grown <= y.nbytes + (8 << 20), f"grew by {grown} B")
    return f"grew by {grown >> 20} MiB for an output of {y.nbytes >> 20} MiB"


def moving_pointers() -> str:
    """Many tensors in turn, one engine: each launch reads its own."""
    e = engine()
    xs = [torch.full((5000,), float(i), device="cuda") for i in range(7)]
    ys = [(i, e(xs[i % 7])) for i in range(100)]
    for i, y in ys:
        expect(bool((y == 4 * (i % 7) + 9).all()), f"call {i} read another tensor")
    return "7 tensors, 100 calls under way at once"


def the_callers_stream() -> str:
    """On a side stream that is late, the engine waits for that stream alone."""
    e = engine()
    x = torch.zeros(1000, device="cuda")
    e(x)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(LONG_NAP)
        x.fill_(5.0)
        start = time.perf_counter()
        y = e(x)
        asked = time.perf_counter() - start
    is_late = not side.query()
    side.synchronize()
    expect(bool((y == 29).all()), "the engine did not wait for its stream")
    expect(is_late, f"the call waited for the GPU: {asked:.4f} s")
    z = e(x, stream=side)
    side.synchronize()
    expect(bool((z == 29).all()), "wrong on the stream that was given")
    return f"asked in {1e6 * asked:.0f} us, while the stream slept"


def streams_in_turn() -> str:
    """One context on two streams: the second run waits for the first."""
    e = engine()
    context = e.context()
    from stepwell.runtime.inputs import to_arrays

    xs = [torch.full((1_000_000,), float(i), device="cuda") for i in range(4)]
    torch.cuda.synchronize()
    streams, results = [torch.cuda.Stream() for _ in range(2)], []
    for i in range(40):
        with torch.cuda.stream(streams[i % 2]):
            if i % 5 == 0:
                torch.cuda._sleep(LONG_NAP // 50)
            inputs = to_arrays(e.inputs, (xs[i % 4],), {}, True)
            results.append((i, context.run(inputs)[0]))
    torch.cuda.synchronize()
    for i, y in results:
        expect(bool((y == 4 * (i % 4) + 9).all()), f"run {i} was overwritten")
    return "40 runs on 2 streams, one arena"


def several_contexts() -> str:
    """Threads at once, half of them with torch tensors on their own streams."""
    e = engine()
    failures: list[str] = []

    def work(number: int) -> None:
        try:
            stream = torch.cuda.Stream()
            for i in range(50):
                n = 1000 * (number + 1) + i
                if number % 2:
                    x = np.full(n, i, np.float32)
                    good = bool((e(x) == 4 * i + 9).all())
                else:
                    with torch.cuda.stream(stream):
                        y = e(torch.full((n,), float(i), device="cuda"))
                        good = bool((y == 4 * i + 9).all())
                if not good:
                    failures.append(f"thread {number}, run {i}")
        except Exception as error:  # a thread's error would be lost
            failures.append(f"thread {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, "; ".join(failures[:5]))
    return "6 threads, 50 runs each"


def array_interface() -> str:
    """`__cuda_array_interface__` and DLPack in; torch wraps what comes out."""

    class Interface:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor
            self.__cuda_array_interface__ = tensor.__cuda_array_interface__

    class Capsule:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def __dlpack__(self, stream: Any = None) -> Any:
            return self.tensor.__dlpack__(stream=stream)

        def __dlpack_device__(self) -> Any:
            return self.tensor.__dlpack_device__()

    e, x = engine(), torch.arange(1000.0, device="cuda")
    for wrap in (Interface, Capsule):
        y = torch.as_tensor(e(wrap(x)), device="cuda")
        torch.testing.assert_close(y, 4 * x + 9)
    return "both"


def tensor_maps() -> str:
    """A kernel that reads by TMA: at once, where the input moves, where it is timed."""
    if open_cuda().capability != (9, 0):
        return "no GPU of compute capability 9.0: not checked"
    for map_at in (1, 0):
        e = Engine(make_copy_engine(map_at=map_at), device="cuda")
        for i in range(3):
            x = torch.full((800, 16), float(i), device="cuda")
            expect(torch.equal(e(x), x), f"call {i} is wrong, map at {map_at}")
    times = profile(e, {"x": np.ones((800, 16), np.float32)}, runs=2)
    expect(torch.equal(e(x), x), "wrong after the profile")
    return f"{1e6 * times[0].seconds:.1f} us"


def cupy_arrays() -> str:
    """CuPy in, CuPy out, on CuPy's current stream."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed: not checked"
    e, x = engine(), cupy.arange(1000, dtype=cupy.float32)
    y = e(x)
    expect(isinstance(y, cupy.ndarray), f"got {type(y)}")
    expect(bool((y == 4 * x + 9).all()), "wrong on the default stream")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        z = e(x + 1)
        stream.synchronize()
        expect(bool((z == 4 * x + 13).all()), "wrong on a stream of its own")
    return "default stream and another"


def out_of_memory() -> str:
    """An arena beyond the GPU's memory is a DeviceError, and the engine lives on."""
    e = engine(slots=("4 * n * 1000000",))
    try:
        e(np.zeros(1_000_000, np.float32))
    except DeviceError as error:
        message = error.summary
    else:
        raise AssertionError("no error")
    expect("out of memory" in message, message)
    return message


def the_wrong_gpu() -> str:
    """An engine for another GPU says what it holds and what the GPU is."""
    try:
        Engine(make_gpu_engine("sm_120a"), device="cuda")
    except DeviceError as error:
        message = error.summary
    else:
        raise AssertionError("no error")
    expect("sm_120a" in message, message)
    try:
        Engine(make_gpu_engine("sm_80"), device="cuda:77")
    except DeviceError as error:
        return f"{message}; {error.summary}"
    raise AssertionError("no error")


def a_foreign_target() -> str:
    """PTX for an older GPU is compiled by the driver; for this one exactly, too."""
    major, minor = open_cuda().capability
    x = np.arange(5, dtype=np.float32)
    for target in ("sm_80", f"sm_{major}{minor}a" if major >= 9 else "sm_80"):
        made = make_gpu_engine(target)
        np.testing.assert_array_equal(Engine(made)(x), twice(x))
    return f"sm_80 and this one, {major}.{minor}"


def bad_inputs() -> str:
    """What does not fit is an InputError, on the device too."""
    e = engine()
    for bad in (
        torch.zeros(4, 4, device="cuda"),
        torch.zeros(4, device="cuda", dtype=torch.float16),
    ):
        try:
            e(bad)
        except InputError:
            continue
        raise AssertionError(f"took {bad.shape} {bad.dtype}")
    strided = torch.arange(20.0, device="cuda")[::2]
    torch.testing.assert_close(e(strided), 4 * strided + 9)
    return "rank, dtype; strided tensors are made contiguous"


def times_of_kernels() -> str:
    """Each launch has a time, and the times add up to about a run's."""
    e = engine()
    x = np.zeros(50_000_000, np.float32)
    times = profile(e, {"x": x}, runs=3)
    expect([one.launch.name for one in times] == ["first", "last"], str(times))
    expect(all(5e-6 < one.seconds < 1e-2 for one in times), str(times))
    return ", ".join(f"{one.launch.name} {1e6 * one.seconds:.1f} us" for one in times)


def trace_of_a_run() -> str:
    """A Chrome trace has an event a launch, none before the one before it is done."""
    runs = observe_run(engine(), {"x": np.zeros(1_000_000, np.float32)}, 3)
    trace = json.loads(json.dumps(chrome_trace(runs, "gpu")))
    kernels = [one for one in trace["traceEvents"] if one["ph"] == "X"]
    expect([k["name"] for k in kernels] == ["first", "last"] * 3, str(kernels))
    ends = [k["ts"] + k["dur"] for k in kernels]
    begins = [k["ts"] for k in kernels[1:]]
    in_order = all(a <= b + 0.1 for a, b in zip(ends[:-1], begins, strict=True))
    expect(in_order and all(k["dur"] > 0 for k in kernels), str(kernels))
    return f"{len(kernels)} events in {ends[-1]:.0f} us"


def no_leaks() -> str:
    """Engines, contexts and graphs give their memory back."""
    x = np.zeros(20_000_000, np.float32)
    engine()(x)
    gc.collect()
    before = torch.cuda.mem_get_info()[0]
    for _ in range(10):
        engine()(x)
    gc.collect()
    lost = before - torch.cuda.mem_get_info()[0]
    expect(lost < (64 << 20), f"lost {lost} B")
    return f"{lost >> 20} MiB after 10 engines"


def latency() -> str:
    """Warm calls of two tiny kernels."""
    e = engine()
    x, y = np.zeros(64, np.float32), torch.zeros(64, device="cuda")
    with open_cuda().activate():
        pass

    def us(call: Callable[[], object], finish: Callable[[], object]) -> float:
        for _ in range(50):
            call()
        finish()
        start = time.perf_counter()
        for _ in range(1000):
            call()
        finish()
        return 1e3 * (time.perf_counter() - start)

    whole = us(lambda: e(x), lambda: None)
    asked = us(lambda: e(y), torch.cuda.synchronize)
    eager = us(lambda: torch.add(torch.add(y, 1), 1), torch.cuda.synchronize)
    return (
        f"NumPy to NumPy {whole:.1f} us, torch to torch {asked:.1f} us a call; two "
        f"torch kernels {eager:.1f} us"
    )


def a_faulting_kernel() -> str:
    """A fault of the GPU is a DeviceError. In a process of its own: it poisons it."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import handmade, numpy as np\n"
        "from stepwell.errors import DeviceError\n"
        "from stepwell.runtime import Engine\n"
        "import re\n"
        "handmade.PTX = handmade.PTX.replace('add.s64 %rd3, %rd3, %rd4',\n"
        "    'add.s64 %rd3, %rd4, 64')\n"
        "e = Engine(handmade.make_gpu_engine('sm_80'), device='cuda')\n"
        "try: e(np.zeros(100, np.float32))\n"
        "except DeviceError as error: print('DeviceError', error)\n"
    )
    folder = str(Path(__file__).parent)
    found = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60
    )
    expect("DeviceError" in found.stdout, found.stdout + found.stderr[-800:])
    return " ".join(found.stdout.split())


CHECKS = (
    arrays_in_and_out,
    torch_without_copies,
    moving_pointers,
    the_callers_stream,
    streams_in_turn,
    several_contexts,
    array_interface,
    cupy_arrays,
    tensor_maps,
    out_of_memory,
    the_wrong_gpu,
    a_foreign_target,
    bad_inputs,
    times_of_kernels,
    trace_of_a_run,
    latency,
    a_faulting_kernel,
    no_leaks,
)


def main(arguments: list[str]) -> int:
    """Returns 1 if a check failed."""
    faulthandler.enable()
    torch.zeros(1, device="cuda")
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    rows: list[tuple[str, str, str]] = []
    for check in CHECKS:
        if only not in check.__name__:
            continue
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            rows.append((check.__name__, "pass", check()))
        except Exception as error:  # one check's failure must not hide the others'
            traceback.print_exc(limit=-6)
            rows.append((check.__name__, "FAIL", f"{type(error).__name__}: {error}"))
        print(*rows[-1], sep="  ", flush=True)
    faulthandler.cancel_dump_traceback_later()
    if "--write" in arguments:
        lines = [f"| {n.replace('_', ' ')} | {v} | {t} |" for n, v, t in rows]
        PAGE.write_text(
            "# The runtime on a GPU\n\nCommand: `python test/gpu/runtime_checks.py`, "
            f"{date.today()}, {torch.cuda.get_device_name()}, "
            f"CUDA {torch.version.cuda}.\n\n"
            "| check | result | measured |\n|---|---|---|\n" + "\n".join(lines) + "\n"
        )
    return int(any(verdict == "FAIL" for _, verdict, _ in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
