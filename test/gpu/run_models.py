"""Every model of the benchmarks on a GPU, against onnxruntime in FP32.

Usage: python test/gpu/run_models.py [--only NAME] [--precision fp32,fp16]
           [--device cuda|emulated|cpu] [--target sm_90a] [--jobs 4] [--timeout 300]
           [--first-size] [--bound] [--write]

Each model and precision is built and run in a process of its own, so that a crash or a
hang costs one row. The relative error of an output is max|a-b| / max|b|, the worst over
all outputs and sizes; FP32 must stay below the case's tolerance (1e-4), FP16 and BF16
below 2e-2. Where onnxruntime cannot run a model, the engine of the CPU judges. With
`--bound`, a model that misses this in FP16 or BF16 gets one more row: built with that
tolerance, on samples other than those that the row is judged on. Returns 1 if a model
failed; one that is not in `.models/` is skipped, and said so. `--write` keeps
docs/benchmarks/gpu-models.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import stepwell
from stepwell.comparison import error_of
from stepwell.errors import StepwellError
from stepwell.runtime import load_bytes
from stepwell.tools.bench.cases import CASES, Case, Size
from stepwell.tools.models import CACHE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "gpu-models.md"
TOLERANCES = {"fp32": None, "tf32": 2e-2, "fp16": 2e-2, "bf16": 2e-2}
"""None: the case's own."""
RUNS = 20
SAMPLES = 12
"""Sets of inputs that a bound is judged on, over all sizes."""


@dataclass(frozen=True)
class Row:
    """What was seen of one model in one precision.

    Attributes:
        verdict: "pass", "FAIL" or "skipped".
        error: the worst relative error.
        us: the median of warm calls from NumPy to NumPy, at the first size.
        kernel_us: the kernels' own times in it, added up.
        kept: ops that were left in f32.
        is_bounded: the build was given the tolerance.
    """

    model: str
    precision: str
    verdict: str
    note: str = ""
    error: float = float("inf")
    build_s: float = 0.0
    kernels: int = 0
    host_calls: int = 0
    us: float = 0.0
    kernel_us: float = 0.0
    kept: int = 0
    is_bounded: bool = False

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        precision = f"{self.precision}, bounded" if self.is_bounded else self.precision
        if self.verdict == "skipped":
            return (self.model, precision, "skipped", self.note, *[""] * 7)
        return (
            self.model,
            precision,
            self.verdict,
            self.note,
            str(self.kept),
            f"{self.error:.1e}",
            f"{self.build_s:.1f}",
            str(self.kernels),
            str(self.host_calls),
            f"{self.us:.0f}",
            f"{self.kernel_us:.0f}",
        )


COLUMNS = (
    "model",
    "precision",
    "result",
    "note",
    "kept in f32",
    "relative error",
    "build s",
    "kernels",
    "host calls",
    "us a call",
    "of it kernels",
)


def reference(case: Case) -> Any:
    """A function from inputs to outputs by name: onnxruntime, or our CPU engine."""
    try:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(case.path()), settings, providers=["CPUExecutionProvider"]
        )
    except Exception:  # onnxruntime is missing, or refuses the model
        return stepwell.build(case.path(), shapes=case.shapes).run
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def built(case: Case, precision: str, options: argparse.Namespace) -> Any:
    """The engine; with `--bound`, within the tolerance on samples."""
    bound: dict[str, Any] = {}
    if options.bound:
        sizes = sizes_of(case, options)
        seeds = range(1, 1 + SAMPLES // len(sizes))  # the row's own inputs have 0
        samples = [case.inputs(size, seed) for size in sizes for seed in seeds]
        bound = {"tolerance": TOLERANCES[precision], "samples": samples}
        bound["threads"] = max(1, (os.cpu_count() or 1) // options.jobs)
        bound["device"] = options.device
    return stepwell.build(
        case.path(),
        target=options.target,
        precision=precision,
        shapes=case.shapes,
        **bound,
    )


def sizes_of(case: Case, options: argparse.Namespace) -> Sequence[Size]:
    """The sizes that the model is run at."""
    return case.sizes[:1] if options.first_size else case.sizes


def measure(case: Case, precision: str, options: argparse.Namespace) -> Row:
    """Build the model, compare it at its sizes, and time it at the first."""
    start = time.perf_counter()
    engine = built(case, precision, options)
    build_s = time.perf_counter() - start
    engine = load_bytes(engine.to_bytes(), device=options.device)
    judge = reference(case)
    errors: list[tuple[float, str]] = []
    for size in sizes_of(case, options):
        feeds = case.inputs(size)
        ours, theirs = engine.run(feeds), judge(feeds)
        again = engine.run(feeds)
        for name, wanted in theirs.items():
            error = error_of(name, ours[name], np.asarray(wanted)).relative
            if not np.array_equal(ours[name], again[name]):
                error = float("inf")
            errors.append((error, f"{name} at {size.label}"))
    worst, where = max(errors)
    tolerance = TOLERANCES[precision] or case.tolerance
    notes = list(engine.inspect().host_calls)
    if worst > tolerance:
        notes.append(f"worst: {where}")
    if (found := engine.manifest.accuracy) is not None:
        notes.append(f"{found.after:.1e} on its samples, by {found.device}")
    feeds = case.inputs(case.sizes[0])
    us, kernel_us = times_of(engine, feeds) if options.device == "cuda" else (0.0, 0.0)
    return Row(
        case.name,
        precision,
        "pass" if worst <= tolerance else "FAIL",
        ", ".join(notes),
        worst,
        build_s,
        engine.kernel_count,
        sum(engine.inspect().host_calls.values()),
        us,
        kernel_us,
        len(engine.manifest.kept_in_f32),
        options.bound,
    )


def times_of(engine: Any, feeds: dict[str, Any]) -> tuple[float, float]:
    """Microseconds of a warm call, and of its kernels."""
    from stepwell.runtime.profiler import profile

    seconds: list[float] = []
    for _ in range(RUNS):
        start = time.perf_counter()
        engine.run(feeds)
        seconds.append(time.perf_counter() - start)
    kernels = sum(one.seconds for one in profile(engine, feeds, runs=3))
    return 1e6 * float(np.median(seconds)), 1e6 * kernels


def child(options: argparse.Namespace) -> int:
    """Measure one model in this process, and print the row as JSON."""
    (case,) = [one for one in CASES if one.name == options.only[0]]
    try:
        row = measure(case, options.precision, options)
    except StepwellError as error:
        text = " / ".join(str(error).splitlines())[:300]
        row = Row(case.name, options.precision, "FAIL", text, is_bounded=options.bound)
    print("\nROW " + json.dumps(asdict(row)))
    return 0


def rows_of(case: Case, precision: str, options: argparse.Namespace) -> list[Row]:
    """The row of one model, and the bounded one if it is wanted."""
    rows = [in_a_process(case, precision, options, False)]
    wants_bound = options.bound and precision in ("fp16", "bf16")
    if wants_bound and rows[0].verdict == "FAIL":
        rows.append(in_a_process(case, precision, options, True))
    return rows


def in_a_process(
    case: Case, precision: str, options: argparse.Namespace, bound: bool
) -> Row:
    """One row; what its process dies of is its note."""
    if missing(case):
        return Row(case.name, precision, "skipped", "not in .models/")
    command = [sys.executable, __file__, "--child", "--only", case.name]
    command += ["--precision", precision, "--target", options.target]
    command += ["--device", options.device, "--jobs", str(options.jobs)]
    command += ["--first-size"] if options.first_size else []
    command += ["--bound"] if bound else []
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=options.timeout
        )
    except subprocess.TimeoutExpired:
        note = f"not done in {options.timeout} s"
        return Row(case.name, precision, "FAIL", note, is_bounded=bound)
    rows = [line[4:] for line in found.stdout.splitlines() if line.startswith("ROW ")]
    if rows:
        return Row(**json.loads(rows[-1]))
    lines = [line for line in found.stderr.splitlines() if line.strip()]
    note = f"exit {found.returncode}: {lines[-1][:300] if lines else ''}"
    return Row(case.name, precision, "FAIL", note, is_bounded=bound)


def missing(case: Case) -> bool:
    """Whether the model would have to be fetched."""
    closure = case.path.__closure__ or ()
    names = [cell.cell_contents for cell in closure]
    is_light = case.name.startswith("light ")
    return not is_light and not (CACHE / f"{names[0]}.onnx").exists()


def table(rows: Iterable[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines)


def page(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The page of docs/benchmarks/."""
    import torch

    where = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    command = " ".join(["python test/gpu/run_models.py", *arguments])
    return f"""# Models on a GPU, against onnxruntime

Command: `{command}`, {date.today()}, {where}, stepwell {stepwell.__version__}. The
relative error is max|a-b| / max|b| against onnxruntime on the CPU in FP32, the worst
over all outputs and sizes; two runs must give equal bits. Times are of a warm call from
NumPy to NumPy at the first size, and of its kernels by events.

A row "bounded" is of a build with `tolerance=2e-2`, which leaves as few ops in f32 as
it takes; it follows the row of the plain build, which missed this. The build looks at
samples of other seeds than the row is judged on. The INT8 models quantize as they run,
so that a last bit that differs moves a number by a whole step: how far onnxruntime is
from itself then is told in [int8.md](int8.md).

{table(rows)}
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="part of a model's name")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--target", default="cuda")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--jobs", type=int, default=4, help="processes at once")
    parser.add_argument("--timeout", type=float, default=300, help="of a model, in s")
    parser.add_argument("--first-size", action="store_true")
    parser.add_argument("--bound", action="store_true", help="retry with a tolerance")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Returns 1 if a model failed."""
    options = parse(arguments)
    if options.child:
        return child(options)
    wanted = options.only or [""]
    cases = [c for c in CASES if any(w.lower() in c.name.lower() for w in wanted)]
    pairs = [(c, p) for p in options.precision.split(",") for c in cases]
    rows, failed = list[Row](), False
    with ThreadPoolExecutor(options.jobs) as pool:
        for found in pool.map(lambda pair: rows_of(pair[0], pair[1], options), pairs):
            rows += found
            failed |= found[-1].verdict == "FAIL"
            for row in found:
                print(*row.cells(), sep="  ", flush=True)
            if options.write:
                PAGE.write_text(page(rows, [a for a in arguments if a != "--write"]))
    print(table(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
