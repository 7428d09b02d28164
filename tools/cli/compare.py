"""`stepwell compare`: a model under Stepwell and onnxruntime, on the same inputs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np

from stepwell import build
from stepwell.comparison import error_of
from stepwell.errors import MissingExtraError, ModelError
from stepwell.runtime import Engine
from stepwell.runtime.manifest import SymbolRange
from stepwell.samples import Array, random_inputs, typical_sizes, within

from .console import print_facts, print_table, progress_bar
from .options import (
    add_build_options,
    add_device,
    add_input_options,
    amount,
    at_least,
    inputs_of,
    parse_shapes,
)

TURNS = 2
REST_SECONDS = 0.05
LARGER = 3
"""Dynamic dims are tried at up to this many times their typical size."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell compare`."""
    add_build_options(parser)
    add_device(parser)
    add_input_options(parser)
    parser.add_argument("--against", default="onnxruntime", choices=["onnxruntime"])
    parser.add_argument(
        "--tolerance", type=amount, default=1e-4, help="relative error allowed"
    )
    parser.add_argument(
        "--runs", type=at_least(1), default=20, help="timed runs of each"
    )


def execute(options: argparse.Namespace) -> int:
    """Compare at one size, or three if dims are dynamic; 1 if beyond tolerance."""
    model = Path(options.model)
    with progress_bar(f"build {model.name}", options.quiet) as bar:
        engine = build(
            model,
            target=options.target,
            precision=options.precision,
            shapes=parse_shapes(options.shape),
            threads=options.threads,
            progress=bar.callback,
            device=options.device,
        )
    reference = Reference(model, engine.threads)
    if options.input or options.size:
        trials = [inputs_of(engine, options)]
    else:
        trials = [
            random_inputs(engine, sizes, options.seed) for sizes in three_sizes(engine)
        ]
    errors = [trial(engine, reference, one, options.runs) for one in trials]
    judged = [error for error in errors if error is not None]
    if not judged:
        raise ModelError("onnxruntime could not run the model at any size")
    worst = max(judged)
    fits = worst <= options.tolerance
    print(
        f"relative error {worst:.2e}, "
        f"{'within' if fits else 'BEYOND'} the tolerance of {options.tolerance:.0e}"
    )
    return 0 if fits else 1


def trial(
    engine: Engine, reference: Reference, inputs: Mapping[str, Array], runs: int
) -> float | None:
    """Run both on one set of inputs and print a table; returns the worst error, or None
    if onnxruntime refuses the inputs."""
    shapes = ", ".join(f"{n} {'x'.join(map(str, a.shape))}" for n, a in inputs.items())
    try:
        theirs = reference.run(inputs)
    except ModelError as error:
        print(f"{shapes}: skipped: {error}")
        return None
    ours = engine.run(inputs)
    errors = [error_of(name, ours[name], array) for name, array in theirs.items()]
    mine, other = paired_times(
        lambda: engine.run(inputs), lambda: reference.run(inputs), runs
    )
    for name in [n for n, array in theirs.items() if has_nan(array)]:
        print(f"onnxruntime's own output {name!r} has NaN: other inputs would say more")
    rows = [(e.name, f"{e.absolute:.3g}", f"{e.relative:.3g}") for e in errors]
    print_table(shapes, ["output", "max error>", "relative error>"], rows)
    print_facts(
        [
            ("stepwell", f"{1e3 * mine:.3f} ms"),
            ("onnxruntime", f"{1e3 * other:.3f} ms"),
            ("ratio", f"{mine / other:.2f} of onnxruntime's time"),
        ]
    )
    return max((error.relative for error in errors), default=0.0)


def has_nan(array: Array) -> bool:
    """Whether some element is NaN."""
    return array.dtype.kind in "fc" and bool(np.isnan(array).any())


def three_sizes(engine: Engine) -> list[dict[str, int]]:
    """The typical sizes; with dynamic dims, larger ones and the ranges' ends too."""
    usual = typical_sizes(engine)
    if not usual:
        return [usual]
    ranges: dict[str, SymbolRange] = {}
    for spec in engine.inputs:
        ranges.update(spec.ranges)
    low, high = dict(usual), dict(usual)
    for name, value in usual.items():
        known = ranges.get(name, SymbolRange(min=1))
        # Without a range, small sizes may be too small for the model to mean anything.
        low[name] = within(known, 1 if known.max is not None else value * 2)
        high[name] = within(known, value * LARGER)
    return [
        dict(one) for one in {tuple(s.items()): s for s in (low, usual, high)}.values()
    ]


def paired_times(
    first: Callable[[], object], second: Callable[[], object], runs: int
) -> tuple[float, float]:
    """Median seconds of two calls, in turns of several calls, so that noise hits both.

    Between the turns the threads of one come to rest: they spin for a while in wait for
    more work, and would slow the other down.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for call, taken in zip((first, second), times, strict=True):
            sleep(REST_SECONDS)
            call()
            for _ in range(-(-runs // TURNS)):
                start = perf_counter()
                call()
                taken.append(perf_counter() - start)
    return float(np.median(times[0])), float(np.median(times[1]))


class Reference:
    """The model under onnxruntime."""

    def __init__(self, model: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError(
                "comparing needs onnxruntime, which is not installed",
                fix="pip install 'stepwell[demo]'",
            ) from None
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no documented base
            raise ModelError(
                "onnxruntime cannot load the model",
                notes=[str(error).splitlines()[0]],
                where=str(model),
            ) from None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        try:
            results = self._session.run(names, dict(inputs))
        except Exception as error:
            raise ModelError(
                "onnxruntime cannot run the model",
                notes=[str(error).splitlines()[0]],
            ) from None
        return {
            name: np.asarray(value) for name, value in zip(names, results, strict=True)
        }
