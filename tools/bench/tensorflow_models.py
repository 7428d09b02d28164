"""TensorFlow models on the CPU beside TensorFlow: error, import and build time.

Usage: python tools/bench/tensorflow_models.py [--only NAME] [--write]
           [--jobs 1] [--resume FILE]

Keras applications with random weights and statistics on small images, recurrent and
attention models, control flow, and basic-pitch, whose judge is its own ONNX twin. Every
model is a process of its own. `--resume` keeps the rows in a file, one line of JSON
each, and measures only those that it lacks. `--write` puts the table into
docs/benchmarks/tensorflow.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stepwell.tools.bench.model_table import (
    PAGES,
    Bench,
    Row,
    chosen,
    column,
    markdown,
    median_ms,
    parser_of,
    peak_gb,
    setting,
    tell,
    told,
)

if TYPE_CHECKING:
    from stepwell.tools.bench.tensorflow_cases import Case

PAGE = PAGES / "tensorflow.md"


@dataclass(frozen=True, kw_only=True)
class TensorFlowRow(Row):
    """One model."""

    error: float = column("relative error", ".1e", float("inf"))
    load_s: float = column("load s", ".1f")
    import_s: float = column("import s", ".2f")
    build_s: float = column("build s", ".1f")
    kernels: int = column("kernels")
    host_calls: int = column("host calls")
    transposes: int = column("transposes")
    ours_ms: float = column("ms", ".2f")
    theirs_ms: float = column("TensorFlow ms", ".2f")
    memory_gb: float = column("GB", ".1f")


def measure(name: str) -> TensorFlowRow:
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
    return TensorFlowRow(
        model=name,
        error=error,
        load_s=load_s,
        import_s=stages[1][1] - stages[0][1],
        build_s=build_s,
        kernels=engine.kernel_count,
        host_calls=sum(engine.inspect().host_calls.values()),
        transposes=transposes_of(engine),
        ours_ms=median_ms(lambda: engine.run(feeds)),
        theirs_ms=median_ms(judge),
        memory_gb=peak_gb(),
        is_right=error <= case.tolerance,
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
    is_keras = hasattr(made, "predict")
    function = tf.function(made) if is_keras else made
    given = [tensors] if is_keras and len(tensors) > 1 else tensors
    found = function(*given)
    items = (
        [found[key] for key in sorted(found)] if isinstance(found, dict) else [found]
    )
    return lambda: function(*given), [np.asarray(item) for item in items]


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


def page(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The page of docs/benchmarks/."""
    import keras
    import tensorflow as tf

    versions = {"TensorFlow": tf.__version__, "Keras": keras.__version__}
    right = sum(row.is_right for row in rows)
    return f"""# TensorFlow models

{setting("tensorflow_models.py", arguments, **versions)}; one thread.

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


def main(arguments: list[str]) -> int:
    """Returns 1 if a model fails or is above its tolerance."""
    options = parser_of(__doc__).parse_args(arguments)
    if options.child:
        return tell(measure(*options.child))
    from stepwell.tools.bench.tensorflow_cases import CASES

    wanted = chosen([case.name for case in CASES], options.only)
    bench = Bench(__file__, TensorFlowRow)
    keys = [(name,) for name in wanted]
    return bench.run(keys, options, PAGE, lambda rows: page(rows, told(arguments)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
