"""PyTorch models beside torch itself: relative error, import and build time.

Usage: python tools/bench/torch_models.py [--only NAME] [--mode MODE] [--write]
           [--target cpu|cuda] [--jobs 1] [--resume FILE]

Each model is exported and built twice: for one size, and with the dims that it can
change left open; then it runs at other sizes too. Every build is a process of its own.
torch on the CPU judges. `--resume` keeps the rows in a file, one line of JSON each, and
measures only those that it lacks. `--write` puts the table into
docs/benchmarks/torch.md (for another target torch-TARGET.md). Needs transformers,
torchvision and timm.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "torch.md"
MODES = ("static", "dynamic")
TIMEOUT_S = 900
COLUMNS = (
    "model",
    "shapes",
    "relative error",
    "export s",
    "import s",
    "build s",
    "kernels",
    "host calls",
    "ms",
    "torch ms",
    "GB",
)


@dataclass(frozen=True)
class Row:
    """One model in one mode; `failure` says why there are no numbers."""

    model: str
    mode: str
    error: float = float("inf")
    export_s: float = 0.0
    import_s: float = 0.0
    build_s: float = 0.0
    kernels: int = 0
    host_calls: int = 0
    ours_ms: float = 0.0
    theirs_ms: float = 0.0
    memory_gb: float = 0.0
    is_right: bool = False
    failure: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `COLUMNS`."""
        if self.failure:
            return (self.model, self.mode, self.failure, *[""] * (len(COLUMNS) - 3))
        return (
            self.model,
            self.mode,
            f"{self.error:.1e}",
            f"{self.export_s:.1f}",
            f"{self.import_s:.2f}",
            f"{self.build_s:.1f}",
            str(self.kernels),
            str(self.host_calls),
            f"{self.ours_ms:.2f}",
            f"{self.theirs_ms:.2f}",
            f"{self.memory_gb:.1f}",
        )


def measure(name: str, mode: str, target: str) -> Row:
    """Export, build and run one model."""
    import torch

    import stepwell
    from stepwell.tools.bench.cpu import relative_error

    torch.manual_seed(0)
    torch.set_num_threads(1)
    case = next(case for case in cases() if case.name == name)
    sizes = case.sizes if mode == "dynamic" else case.sizes[:1]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        runs = [case.inputs(*size) for size in sizes]
        module = settled(case.make(), runs[0])
        expected = [flatten(copy.deepcopy(module)(*inputs)) for inputs in runs]
        start = time.perf_counter()
        exported = export(case, module, runs[0], mode)
        export_s = time.perf_counter() - start
        stages: list[tuple[str, float]] = []
        start = time.perf_counter()
        engine = stepwell.build(
            exported,
            shapes=ranges(case, exported, runs) if mode == "dynamic" else None,
            target=target,
            threads=1,
            progress=lambda stage, *_: stages.append((stage, time.perf_counter())),
        )
        build_s = time.perf_counter() - start
        device = "cpu" if target == "cpu" else "cuda"
        runs = [[x.to(device) for x in inputs] for inputs in runs]
        module = module.to(device)
        results = [flatten(engine(*inputs)) for inputs in runs]
        error = max(map(relative_error, results, expected))
        ours = median_ms(lambda: engine(*runs[0]), device)
        theirs = median_ms(lambda: module(*runs[0]), device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    summary = engine.inspect()
    return Row(
        name,
        mode,
        error,
        export_s,
        stages[1][1] - stages[0][1],
        build_s,
        engine.kernel_count,
        sum(summary.host_calls.values()),
        ours,
        theirs,
        peak,
        error <= case.tolerance,
    )


def settled(module: Any, inputs: Sequence[Any]) -> Any:
    """The module for inference, its batch normalisations having seen the inputs once.

    With the statistics that they are made with, signals die out in deep networks, and
    nothing but biases would be compared.
    """
    import torch

    norms = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    parts = [part for part in module.modules() if isinstance(part, norms)]
    module.eval()
    for part in parts:
        part.momentum = 1.0
        part.train()
    if parts:
        module(*inputs)
    return module.eval()


def cases() -> Sequence[Any]:
    """The models. Importing transformers imports torchvision, if there is one."""
    import stepwell.tools.bench.torchvision_ops  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from stepwell.tools.bench.torch_cases import CASES

    return CASES


def export(case: Any, module: Any, inputs: Sequence[Any], mode: str) -> Any:
    """The exported program, with open dims if the mode says so."""
    import torch

    from stepwell.frontends.torch import export_module

    shapes = torch.export.ShapesCollection()
    if mode == "dynamic":
        for tensor, axes in zip(inputs, case.axes, strict=True):
            shapes[tensor] = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    dynamic = shapes if len(shapes) else None
    return export_module(module, inputs, None, dynamic)


def ranges(case: Any, exported: Any, runs: Sequence[Any]) -> dict[str, Any]:
    """The range of each open dim over the runs, by the name of its symbol."""
    names = exported.graph_signature.user_inputs
    found: dict[str, Any] = {}
    for index, (name, axes) in enumerate(zip(names, case.axes, strict=True)):
        for axis in axes:
            sizes = [inputs[index].shape[axis] for inputs in runs]
            found[f"{name}_{axis}"] = [(min(sizes), sizes[0], 2 * max(sizes))]
    return found


def flatten(outputs: Any) -> list[np.ndarray[Any, Any]]:
    """Tensors, arrays and tuples of them as a list of arrays."""
    if isinstance(outputs, list | tuple):
        return [array for output in outputs for array in flatten(output)]
    if isinstance(outputs, dict):
        return flatten(list(outputs.values()))
    return [np.asarray(getattr(outputs, "cpu", lambda: outputs)())]


def median_ms(call: Any, device: str, runs: int = 10) -> float:
    """The median time of warm calls in milliseconds."""
    import torch

    def finish() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    call()
    finish()
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        finish()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def measure_apart(name: str, mode: str, target: str) -> Row:
    """`measure` in a process of its own; what goes wrong there is in the row."""
    command = [sys.executable, __file__, "--child", name]
    command += ["--mode", mode, "--target", target]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Row(name, mode, failure=f"not done in {TIMEOUT_S} s")
    lines = result.stdout.strip().splitlines()
    if result.returncode == 0 and lines:
        return Row(**json.loads(lines[-1]))
    words = result.stderr.strip().splitlines()
    Console(stderr=True).print(f"[red]{name} {mode}", *words[-12:], sep="\n")
    return Row(name, mode, failure=next(iter(reversed(words)), "no output"))


def read_rows(path: Path | None) -> dict[tuple[str, str], Row]:
    """The rows of an earlier run, by model and mode; the last one of each counts."""
    if path is None or not path.exists():
        return {}
    rows = [Row(**json.loads(line)) for line in path.read_text().splitlines()]
    return {(row.model, row.mode): row for row in rows}


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines)


def page(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The page of docs/benchmarks/."""
    import torch
    import transformers

    import stepwell

    command = " ".join(["python tools/bench/torch_models.py", *arguments])
    right = sum(row.is_right for row in rows)
    return f"""# PyTorch models

Command: `{command}`, {date.today()}, {platform.processor() or platform.machine()},
Python {platform.python_version()}, torch {torch.__version__}, transformers
{transformers.__version__}, stepwell {stepwell.__version__}; one thread.

Random weights, but for MiniLM; transformers are cut to two layers, images are small.
Each model is exported by `torch.export` twice: for one size, and with its batch (and
sequence, where it has one) open; that one also runs at two other sizes. The relative
error is the largest `max|a-b| / max|b|` over outputs and sizes, against torch eager.
`import s` is from the exported program to `nn`, `build s` all of `stepwell.build`.
Times are medians of warm calls at the first size. {right} of {len(rows)} rows are
within 1e-4.

{markdown(rows)}
"""


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(*COLUMNS)
    for row in rows:
        style = "" if row.is_right else "red"
        table.add_row(*row.cells(), style=style)
    Console(width=140).print(table)


def main(arguments: list[str]) -> int:
    """Returns 1 if a model fails or is above its tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="names of the models to run")
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    modes = options.mode or MODES
    if options.child:
        print(json.dumps(asdict(measure(options.child, modes[0], options.target))))
        return 0
    names = [case.name for case in cases()]
    wanted = [name for name in names if not options.only or name in options.only]
    runs = [(name, mode, options.target) for name in wanted for mode in modes]
    known = read_rows(options.resume)

    def measured(run: tuple[str, str, str]) -> Row:
        if run[:2] in known:
            return known[run[:2]]
        row = measure_apart(*run)
        if options.resume is not None:
            with options.resume.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        return row

    with ThreadPoolExecutor(options.jobs) as pool:
        found = pool.map(measured, runs)
        rows = list(track(found, description="models", total=len(runs)))
    show(rows)
    if options.write:
        name = "torch" if options.target == "cpu" else f"torch-{options.target}"
        path = PAGE.with_stem(name)
        path.write_text(page(rows, [a for a in arguments if a != "--write"]))
    return int(not all(row.is_right for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
