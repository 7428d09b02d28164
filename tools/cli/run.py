"""`stepwell run`: run an engine once and show or save its outputs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from stepwell.runtime import load

from .console import print_table
from .options import Array, add_device, add_input_options, add_threads, inputs_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell run`."""
    parser.add_argument("engine", help="an engine file")
    add_input_options(parser)
    add_threads(parser)
    add_device(parser)
    parser.add_argument(
        "-o", "--output-dir", type=Path, help="write each output there as .npy"
    )


def execute(options: argparse.Namespace) -> int:
    """Run and print a line for each output."""
    engine = load(options.engine, options.threads, options.device)
    results = engine.run(inputs_of(engine, options))
    columns = ["output", "dtype", "shape", "min>", "mean>", "max>"]
    rows = [(name, *describe(array)) for name, array in results.items()]
    print_table("outputs", columns, rows)
    if options.output_dir is not None:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        for name, array in results.items():
            plain = re.sub(r"[^\w.-]", "_", name)
            np.save(options.output_dir / f"{plain}.npy", array, allow_pickle=False)
    return 0


def describe(array: Array) -> tuple[str, ...]:
    """dtype, shape, and the range of the values."""
    shape = "x".join(map(str, array.shape)) or "scalar"
    if array.dtype == np.object_ or array.size == 0 or array.dtype.kind == "c":
        return str(array.dtype), shape, "", "", ""
    wide = array.astype(np.float64)
    numbers = (wide.min(), wide.mean(), wide.max())
    return str(array.dtype), shape, *(f"{number:.6g}" for number in numbers)
