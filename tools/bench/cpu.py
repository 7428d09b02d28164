"""Engines on the CPU beside onnxruntime: error, latency at 1 and 2 threads, build time.

Usage: python tools/bench/cpu.py [--only NAME] [--threads 1,2] [--runs 20] [--write]

Every model runs on the same random input under both; `--write` puts the table into
docs/benchmarks/cpu.md. Latency is the median of warm calls, in alternating turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rich.progress import track

import stepwell
from stepwell.tools.bench.cases import CASES, Case, Size
from stepwell.tools.bench.model_table import setting
from stepwell.tools.cli.compare import paired_times

Feeds = dict[str, NDArray]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "cpu.md"


@dataclass(frozen=True)
class Row:
    """One model at one size: what was measured."""

    model: str
    size: str
    threads: int
    error: float
    ours_ms: float
    theirs_ms: float
    build_s: float
    kernels: int

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `COLUMNS`."""
        ratio = self.ours_ms / self.theirs_ms
        return (
            self.model,
            self.size,
            str(self.threads),
            f"{self.error:.1e}",
            f"{self.ours_ms:.2f}",
            f"{self.theirs_ms:.2f}",
            f"{ratio:.2f}",
            f"{self.build_s:.1f}",
            str(self.kernels),
        )


COLUMNS = (
    "model",
    "size",
    "threads",
    "relative error",
    "stepwell ms",
    "onnxruntime ms",
    "ratio",
    "build s",
    "kernels",
)


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """An onnxruntime session on `threads` threads, optimised as by default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )


def relative_error(ours: Sequence[NDArray], theirs: Sequence[NDArray]) -> float:
    """The largest max|a - b| / max|b|; infinite on NaN or unequal shapes.

    Infinities are right where both have the same one.
    """
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if b.size == 0:
            continue
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            difference = np.where(a64 == b64, 0.0, np.abs(a64 - b64))
        scale = np.abs(b64[np.isfinite(b64)]).max(initial=0.0) or 1.0
        error = float(difference.max() / scale)
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return worst


def measure(case: Case, threads: Sequence[int], runs: int) -> list[Row]:
    """Build one model, and compare it at each of its sizes and thread counts."""
    path = case.path()
    start = time.perf_counter()
    built = stepwell.build(path, shapes=case.shapes)
    build_s = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.stepwell"
        built.save(file)
        return [
            compare(case, size, count, build_s, runs, file)
            for count in threads
            for size in case.sizes
        ]


def compare(
    case: Case, size: Size, threads: int, build_s: float, runs: int, file: Path
) -> Row:
    """One engine beside one session, on the same inputs."""
    engine = stepwell.load(file, threads)
    peer = session(case.path(), threads)
    names = [output.name for output in peer.get_outputs()]
    feeds = case.inputs(size)
    ours = engine.run(feeds)
    theirs = [np.asarray(value) for value in peer.run(names, feeds)]
    error = relative_error([ours[name] for name in names], theirs)
    ours_s, theirs_s = paired_times(
        lambda: engine.run(feeds), lambda: peer.run(names, feeds), runs
    )
    times = (1e3 * ours_s, 1e3 * theirs_s, build_s)
    return Row(case.name, size.label, threads, error, *times, engine.kernel_count)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines)


def page(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The page of docs/benchmarks/: the table, and what it was measured with."""
    return f"""# On the CPU, beside onnxruntime

{setting("cpu.py", arguments, onnxruntime=onnxruntime.__version__)}.

Random inputs; relative error is `max|a-b| / max|b|` over the outputs; times are medians
of warm calls in alternating turns, in one process.

{table(rows)}
"""


def main(arguments: list[str]) -> int:
    """Returns 1 if a model's relative error is above its case's tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="names of the cases to run")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    threads = [int(count) for count in options.threads.split(",")]
    cases = [c for c in CASES if not options.only or c.name in options.only]
    rows: list[Row] = []
    failures: list[str] = []
    for case in track(cases, description="models"):
        measured = measure(case, threads, options.runs)
        rows += measured
        failures += [r.model for r in measured if not r.error <= case.tolerance]
    print(table(rows))
    if options.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(rows, [a for a in arguments if a != "--write"]))
    if failures:
        print("above the tolerance:", ", ".join(sorted(set(failures))))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
