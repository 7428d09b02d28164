"""`stepwell bench`: latency percentiles, throughput, and times of single kernels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from stepwell.runtime import Engine, load
from stepwell.runtime.expressions import bare_symbol, parse
from stepwell.runtime.profiler import chrome_trace, observe_run, profile
from stepwell.samples import Array
from stepwell.tools.entry import output_file

from .console import print_facts, print_table, with_unit
from .options import (
    add_device,
    add_input_options,
    add_threads,
    amount,
    at_least,
    inputs_of,
)

PERCENTILES = (50, 90, 99)
TRACED_RUNS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell bench`."""
    parser.add_argument("engine", help="an engine file")
    add_input_options(parser)
    add_threads(parser)
    add_device(parser)
    parser.add_argument(
        "--runs", type=at_least(1), default=100, help="timed runs at most"
    )
    parser.add_argument("--seconds", type=amount, default=10.0, help="time at most")
    parser.add_argument(
        "--profile", action="store_true", help="times of single kernels"
    )
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="write a trace of the kernels, as JSON that Perfetto opens",
    )


def execute(options: argparse.Namespace) -> int:
    """Measure and print."""
    engine = load(options.engine, options.threads, options.device)
    inputs = inputs_of(engine, options)
    times = measure(lambda: engine.run(inputs), options.runs, options.seconds)
    milliseconds = 1e3 * times
    facts = [
        (f"p{percent}", f"{np.percentile(milliseconds, percent):.3f} ms")
        for percent in PERCENTILES
    ]
    facts += [
        ("mean", f"{milliseconds.mean():.3f} ms"),
        ("fastest", f"{milliseconds.min():.3f} ms"),
        ("throughput", f"{1 / times.mean():.1f} runs/s"),
        ("runs", len(times)),
        ("threads", engine.threads)
        if engine.manifest.target.kind == "cpu"
        else ("device", options.device or "cuda"),
    ]
    print_facts(facts)
    if options.profile:
        print_profile(engine, inputs)
    if options.trace is not None:
        write_trace(engine, inputs, options.trace)
    return 0


def write_trace(engine: Engine, inputs: dict[str, Array], path: Path) -> None:
    """Write the events of a few runs to a file.

    Raises:
        OptionError: it cannot be written.
    """
    runs = observe_run(engine, inputs, TRACED_RUNS)
    trace = chrome_trace(runs, engine.manifest.target.name)
    with output_file(path, "the trace") as file:
        file.write(json.dumps(trace).encode())


def measure(call: Callable[[], object], runs: int, seconds: float) -> Array:
    """The time of each warm call, in seconds; at least one."""
    call()
    call()
    times: list[float] = []
    begin = perf_counter()
    while not times or (len(times) < runs and perf_counter() - begin < seconds):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return np.array(times)


def print_profile(engine: Engine, inputs: dict[str, Array]) -> None:
    """A table of kernels, the slowest first."""
    times = sorted(profile(engine, inputs), key=lambda one: -one.seconds)
    total = sum(one.seconds for one in times) or 1.0
    sizes = sizes_of(engine, inputs)
    rows: list[tuple[str, ...]] = []
    for one in times:
        flops, nbytes = (
            work_of(one.launch.flops, sizes),
            work_of(one.launch.nbytes, sizes),
        )
        seconds = max(one.seconds, 1e-9)
        rows.append(
            (
                one.launch.name,
                f"{1e6 * one.seconds:.1f}",
                f"{100 * one.seconds / total:.1f}",
                ""
                if flops is None
                else with_unit(one.calls * flops / seconds, "FLOP/s"),
                ""
                if nbytes is None
                else with_unit(one.calls * nbytes / seconds, "B/s"),
            )
        )
    print_table("kernels", ["kernel", "us>", "%>", "work>", "memory>"], rows)


def sizes_of(engine: Engine, inputs: dict[str, Array]) -> dict[str, int]:
    """The engine's symbols for these inputs."""
    sizes: dict[str, int] = {}
    for spec in engine.inputs:
        for dim, extent in zip(spec.shape, inputs[spec.name].shape, strict=True):
            if (name := bare_symbol(dim)) is not None:
                sizes[name] = extent
    return sizes


def work_of(text: int | str, sizes: dict[str, int]) -> int | None:
    """An amount of work; None if it depends on what the run finds out."""
    expression = parse(text)
    return expression(sizes) if expression.symbols <= sizes.keys() else None
