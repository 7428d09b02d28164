"""`stepwell run`: run an engine once and show or save its outputs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stepwell.errors import OptionError
from stepwell.runtime import load
from stepwell.samples import Array
from stepwell.tools.entry import output_file

from .console import print_table
from .options import add_device, add_input_options, add_threads, inputs_of


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
        save_outputs(results, options.output_dir)
    return 0


def save_outputs(results: Mapping[str, Array], folder: Path) -> None:
    """Write each output as NAME.npy; strings as NumPy's own, which need no pickle.

    Raises:
        OptionError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot make a folder for the outputs: {error.strerror or error}",
            where=str(folder),
        ) from None
    for name, array in results.items():
        plain = re.sub(r"[^\w.-]", "_", name)
        texts = array.dtype == np.object_
        with output_file(folder / f"{plain}.npy", f"output {name!r}") as file:
            np.save(file, array.astype(np.str_) if texts else array, allow_pickle=False)


def describe(array: Array) -> tuple[str, ...]:
    """dtype, shape, and the range of the values."""
    shape = "x".join(map(str, array.shape)) or "scalar"
    if array.dtype == np.object_ or array.size == 0 or array.dtype.kind == "c":
        return str(array.dtype), shape, "", "", ""
    wide = array.astype(np.float64)
    numbers = (wide.min(), wide.mean(), wide.max())
    return str(array.dtype), shape, *(f"{number:.6g}" for number in numbers)
