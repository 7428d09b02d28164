"""TensorFlow models on the CPU beside TensorFlow: error, import and build time.

Usage: python tools/bench/tensorflow_models.py [--only NAME] [--write]

Keras applications with random weights and statistics on small images, recurrent and
attention models, control flow, and basic-pitch, whose judge is its own ONNX twin. Every
model is a process of its own. `--write` puts the table into
docs/benchmarks/tensorflow.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from stepwell.tools.bench.tensorflow_cases import Case

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "tensorflow.md"
TIMEOUT_S = 900
COLUMNS = (
    "model",
    "relative error",
    "load s",
    "import s",
    "build s",
    "kernels",
    "host calls",
    "transposes",
    "ms",
    "TensorFlow ms",
    "GB",
)


@dataclass(frozen=True)
class Row:
    """One model; `failure` says why there are no numbers."""

    model: str
    error: float = float("inf")
    load_s: float = 0.0
    import_s: float = 0.0
    build_s: float = 0.0
    kernels: int = 0
    host_calls: int = 0
    transposes: int = 0
    ours_ms: float = 0.0
    theirs_ms: float = 0.0
    memory_gb: float = 0.0
    is_right: bool = False
    failure: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `COLUMNS`."""
        if self.failure:
            return (self.model, self.failure, *[""] * (len(COLUMNS) - 2))
        return (
            self.model,
            f"{self.error:.1e}",
            f"{self.load_s:.1f}",
            f"{self.import_s:.2f}",
            f"{self.build_s:.1f}",
            str(self.kernels),
            str(self.host_calls),
            str(self.transposes),
            f"{self.ours_ms:.2f}",
            f"{self.theirs_ms:.2f}",
            f"{self.memory_gb:.1f}",
        )


def measure(name: str) -> Row:
    """Build and run one model."""
    import tensorflow as tf

    import stepwell
    from stepwell.frontends.tensorflow import load
    from stepwell.tools.bench.cpu import relative_error
    from stepwell.tools.bench.tensorflow_cases import CASES

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    case = next(case for case in CASES if case.name == name)
    arrays = case.arrays()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = case.make()
        judge, judged = judge_of(case, made, arrays)
        source = made
        if case.exported:
            export(made, folder)
            source = Path(folder)
        start = time.perf_counter()
        loaded = load(source)
        load_s = time.perf_counter() - start
        stages: list[tuple[str, float]] = []
        start = time.perf_counter()
        engine = stepwell.build(
            loaded,
            threads=1,
            keep_ir=True,
            progress=lambda stage, *_: stages.append((stage, time.perf_counter())),
        )
        build_s = time.perf_counter() - start
    feeds = dict(zip([each.name for each in loaded.inputs], arrays, strict=True))
    results = engine.run(feeds)
    ours = [np.asarray(results[key]) for key in sorted(results)]
    error = relative_error(matched(ours, judged), judged)
    return Row(
        name,
        error,
        load_s,
        stages[1][1] - stages[0][1],
        build_s,
        engine.kernel_count,
        sum(engine.inspect().host_calls.values()),
        transposes_of(engine),
        median_ms(lambda: engine.run(feeds)),
        median_ms(judge),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        error <= case.tolerance,
    )


def export(model: Any, folder: str) -> None:
    """Save a Keras model, or a `tf.Module`, as a SavedModel."""
    import tensorflow as tf

    if hasattr(model, "export"):
        model.export(folder, verbose=False)
    else:
        tf.saved_model.save(model, folder)


def judge_of(
    case: Case, made: Any, arrays: Sequence[NDArray]
) -> tuple[Callable[[], Any], list[NDArray]]:
    """A call of TensorFlow itself, and its results by their names' order."""
    if case.twin:
        return twin_of(case.twin, arrays)
    import tensorflow as tf

    tensors = [tf.constant(array) for array in arrays]
    function = made if not hasattr(made, "predict") else tf.function(made)
    found = function(*tensors)
    items = (
        [found[key] for key in sorted(found)] if isinstance(found, dict) else [found]
    )
    return lambda: function(*tensors), [np.asarray(item) for item in items]


def twin_of(
    name: str, arrays: Sequence[NDArray]
) -> tuple[Callable[[], Any], list[NDArray]]:
    """A call of the ONNX twin by onnxruntime, and the twin's results in f64."""
    import onnxruntime

    from stepwell.dialects.context import StepwellContext
    from stepwell.dialects.registry import register_dialects
    from stepwell.dialects.semantics import interpret
    from stepwell.frontends.onnx import import_model
    from stepwell.tools.models import model_path

    context = StepwellContext()
    register_dialects(context)
    module = import_model(model_path(name), context)
    session = onnxruntime.InferenceSession(str(model_path(name)))
    names = [entry.name for entry in session.get_inputs()]
    feeds = dict(zip(names, arrays, strict=True))
    return lambda: session.run(None, feeds), interpret(module, arrays, context.weights)


def matched(ours: Sequence[NDArray], theirs: Sequence[NDArray]) -> list[NDArray]:
    """Our results in the order of theirs: the nearest one of the same shape."""
    left = list(ours)
    found: list[NDArray] = []
    for wanted in theirs:
        same = [each for each in left if each.shape == wanted.shape] or left
        best = min(same, key=lambda each: distance(each, wanted))
        left = [each for each in left if each is not best]
        found.append(best)
    return found


def distance(a: NDArray, b: NDArray) -> float:
    """The largest difference; infinite for unequal shapes."""
    return float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")


def transposes_of(engine: Any) -> int:
    """How many kernels do nothing but permute dims."""
    names = [launch.name for launch in engine.inspect().launches]
    return sum(name.startswith("transpose") for name in names)


def median_ms(call: Callable[[], Any], runs: int = 10) -> float:
    """The median time of warm calls in milliseconds."""
    call()
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def measure_apart(name: str) -> Row:
    """`measure` in a process of its own; what goes wrong there is in the row."""
    command = [sys.executable, __file__, "--child", name]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Row(name, failure=f"not done in {TIMEOUT_S} s")
    lines = result.stdout.strip().splitlines()
    if result.returncode == 0 and lines:
        return Row(**json.loads(lines[-1]))
    words = result.stderr.strip().splitlines()
    Console(stderr=True).print(f"[red]{name}", *words[-12:], sep="\n")
    return Row(name, failure=next(iter(reversed(words)), "no output"))


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines)


def page(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The page of docs/benchmarks/."""
    import keras
    import tensorflow as tf

    import stepwell

    command = " ".join(["python tools/bench/tensorflow_models.py", *arguments])
    right = sum(row.is_right for row in rows)
    return f"""# TensorFlow models

Command: `{command}`, {date.today()}, {platform.processor() or platform.machine()},
Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras
{keras.__version__}, stepwell {stepwell.__version__}; one thread.

Keras applications have random weights and random batch norm statistics, and run on one
small image with the batch open. The relative error is `max|a-b| / max|b|` over the
outputs, against TensorFlow. TensorFlow's own loader refuses basic-pitch's SavedModel;
its judge is its ONNX twin on the reference interpreter in f64 (onnxruntime in f32 is
1.8e-4 away from that), and the time beside it is onnxruntime's. `load s` is the tracing
of the model or the reading of the SavedModel, `import s` from there to `nn`, `build s`
from there to the engine. Transposes are kernels that only permute dims. Times are
medians of warm calls. {right} of {len(rows)} models are within 1e-4.

{markdown(rows)}
"""


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row.cells(), style="" if row.is_right else "red")
    Console(width=140).print(table)


def main(arguments: list[str]) -> int:
    """Returns 1 if a model fails or is above its tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="names of the models to run")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(asdict(measure(options.child))))
        return 0
    from stepwell.tools.bench.tensorflow_cases import CASES

    names = [case.name for case in CASES]
    wanted = [name for name in names if not options.only or name in options.only]
    rows = [measure_apart(name) for name in track(wanted, description="models")]
    show(rows)
    if options.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(rows, [a for a in arguments if a != "--write"]))
    return int(not all(row.is_right for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
