"""Where the time of a build for a GPU goes, and what a kernel costs.

    python tools/bench/gpu_compile.py                       # ResNet-50 and MiniLM
    python tools/bench/gpu_compile.py densenet --target sm_80 --precision fp32

CPU seconds of this process and of the assembler, which other processes disturb less
than a clock; what runs beside something else in a build runs in turn here. Nothing is
read from the cache of machine code.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from xdsl.dialects.builtin import ModuleOp

from stepwell import builder
from stepwell.codegen.cuda import objects
from stepwell.lowering import pipelines
from stepwell.tools.bench.cases import CASES, Case

MODELS = ("light resnet50", "MiniLM")

BEFORE: Sequence[tuple[Any, str, str]] = (
    (builder, "import_source", "import"),
    (pipelines, "parse_passes", "load passes"),
    (pipelines, "run_passes", "passes"),
    (ModuleOp, "verify", "verify"),
)
"""Stages above the code of kernels: where each is entered, and its name."""

CODE: Sequence[tuple[Any, str, str]] = (
    (objects.ConvertTileToNvvmPass, "apply", "tile to nvvm"),
    (objects.ConvertNvvmToLlvmPass, "apply", "nvvm to llvm"),
    (objects, "llvm_ir_of", "LLVM IR"),
    (objects, "ptx_of", "PTX"),
    (objects, "assemble", "assemble"),
)
"""What a kernel's code costs."""


def cpu_seconds() -> float:
    """CPU time of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Stages:
    """CPU time by stage; a stage inside of another one counts for itself only."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = [0.0]

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Time a block."""
        start = cpu_seconds()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = cpu_seconds() - start
            self.seconds[name] += spent - self._inner.pop()
            self._inner[-1] += spent

    @contextmanager
    def watch(self, owner: Any, attribute: str, name: str) -> Generator[None]:
        """Time all calls of a function."""
        function: Callable[..., Any] = getattr(owner, attribute)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        with patch.object(owner, attribute, timed):
            yield


class InTurn(Executor):
    """Runs what it is given at once: CPU time is then that of the stage."""

    def __init__(self, workers: int) -> None:
        del workers  # there is none

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """The result, which is there."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def measure(case: Case, target: str, precision: str) -> tuple[int, Stages]:
    """Build one model; the number of its kernels, and the times."""
    stages = Stages()
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(patch.dict(os.environ, XDG_CACHE_HOME=cache))
        stack.enter_context(patch.object(objects, "ThreadPoolExecutor", InTurn))
        for owner, attribute, name in (*BEFORE, *CODE):
            stack.enter_context(stages.watch(owner, attribute, name))
        stack.enter_context(stages.stage("other"))
        built = builder.compile_to_file(case.path(), target, precision, case.shapes)
    return len(built.manifest.kernels), stages


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS, help="parts of names")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--precision", default="fp16")
    options = parser.parse_args(arguments)
    names = [name for _, _, name in (*BEFORE, *CODE)] + ["other"]
    print(f"| model | kernels | {' | '.join(names)} | total | code, ms a kernel |")
    print("|---" * (len(names) + 4) + "|")
    for case in CASES:
        if not any(part in case.name for part in options.models):
            continue
        kernels, stages = measure(case, options.target, options.precision)
        cells = " | ".join(f"{stages.seconds[name]:.2f}" for name in names)
        code = sum(stages.seconds[name] for _, _, name in CODE)
        total = sum(stages.seconds.values())
        print(
            f"| {case.name} | {kernels} | {cells} | {total:.2f} | "
            f"{1000 * code / max(1, kernels):.0f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
