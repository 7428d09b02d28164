"""`stepwell-emulate`: run a kernel of a PTX file with no GPU.

    stepwell-emulate kernel.ptx --entry saxpy --grid 4 --block 256 \\
        --arg 2.0f --arg x.npy --arg zeros:f4:1024 --arg 1024 --output 2=y.npy

Runs with the checker unless `--no-check`; a finding is an error.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepwell.errors import OptionError
from stepwell.runtime.devices.emulated import EmulatedDevice, Statistics
from stepwell.tools.entry import output_file, run_command

Number = int | float


@dataclass(frozen=True)
class Buffer:
    """An array argument: its pointer is passed, and it is shown after the run."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="stepwell-emulate", description="Run a PTX kernel with no GPU."
    )
    parser.add_argument("ptx", type=Path, help="a file of PTX text")
    parser.add_argument("--entry", required=True, help="the kernel's name")
    parser.add_argument("--grid", type=extents, default=(1,), help="blocks: x[,y[,z]]")
    parser.add_argument("--block", type=extents, default=(32,), help="threads")
    parser.add_argument("--cluster", type=extents, help="blocks of a cluster")
    parser.add_argument("--shared", type=int, default=0, help="dynamic shared bytes")
    parser.add_argument(
        "--arg",
        action="append",
        default=[],
        help="an integer, a float (2.0f), a file x.npy, or zeros:DTYPE:SHAPE",
    )
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="INDEX=FILE",
        help="keep an array argument, after the run, as .npy",
    )
    parser.add_argument("--no-check", action="store_true", help="run unchecked")
    parser.add_argument(
        "--statistics",
        action="store_true",
        help="show the instruction mix, bank conflicts and sectors by line",
    )
    parser.add_argument("--seed", type=int, help="complete copies in random order")
    parser.add_argument("--limit", type=int, help="warp instructions to give up after")
    return parser


def extents(text: str) -> tuple[int, ...]:
    """`8`, `8,4,1` or `8x4x1`. Raises ValueError for anything else."""
    return tuple(int(part) for part in text.replace("x", ",").split(","))


def loaded(text: str) -> NDArray:
    """The array of a .npy file. Raises OptionError if it cannot be read."""
    if not Path(text).is_file():
        raise OptionError(f"expected a file, got {text}")
    try:
        return np.load(text, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise OptionError(f"expected an array in {text}: {error}") from None


def ptx_of(path: Path) -> str:
    """The text of a file. Raises OptionError if it is none."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        raise OptionError(f"expected a file of PTX text, got {path}") from None


def argument(device: EmulatedDevice, text: str) -> Number | Buffer:
    """A number, or an array that is uploaded. Raises OptionError if it is neither."""
    if text.startswith("zeros:"):
        return _zeros(device, text)
    if text.endswith(".npy"):
        return _uploaded(device, loaded(text))
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return float(text.rstrip("f"))
    except ValueError:
        raise OptionError(
            f"expected a number, a .npy file or zeros:DTYPE:SHAPE, got {text!r}"
        ) from None


def _zeros(device: EmulatedDevice, text: str) -> Buffer:
    try:
        _, dtype, shape = text.split(":")
        return _uploaded(device, np.zeros(extents(shape), dtype))
    except (ValueError, TypeError):
        raise OptionError(f"expected zeros:DTYPE:SHAPE, got {text!r}") from None


def _uploaded(device: EmulatedDevice, array: NDArray) -> Buffer:
    return Buffer(device.upload(array), array.shape, array.dtype)


def outputs(texts: Sequence[str], given: Sequence[Number | Buffer]) -> dict[int, Path]:
    """`INDEX=FILE` options. Raises OptionError where the argument is no array."""
    found: dict[int, Path] = {}
    for text in texts:
        index, _, path = text.partition("=")
        number = int(index) if index.isdecimal() else -1
        if not path or not 0 <= number < len(given):
            raise OptionError(f"expected INDEX=FILE of an argument, got {text!r}")
        if not isinstance(given[number], Buffer):
            raise OptionError(f"expected argument {number} to be an array")
        found[number] = Path(path)
    return found


def execute(options: argparse.Namespace) -> int:
    """Load, launch, show every array argument."""
    device = EmulatedDevice(
        seed=options.seed, limit=options.limit, check=not options.no_check
    )
    ptx = ptx_of(options.ptx)
    given = [argument(device, text) for text in options.arg]
    kept = outputs(options.output, given)
    module = device.load(ptx)
    statistics = Statistics() if options.statistics else None
    started = time.perf_counter()
    count = module.launch(
        options.entry,
        grid=options.grid,
        block=options.block,
        cluster=options.cluster,
        shared=options.shared,
        args=[one.pointer if isinstance(one, Buffer) else one for one in given],
        statistics=statistics,
    )
    elapsed = time.perf_counter() - started
    print(f"{count} warp instructions, {count / elapsed:,.0f} a second")
    if statistics is not None:
        print(statistics.report())
    for index, one in enumerate(given):
        if isinstance(one, Buffer):
            array = device.download(one.pointer, one.shape, one.dtype)
            text = np.array2string(array, threshold=16, edgeitems=4)
            print(f"argument {index}: {text}")
            if index in kept:
                with output_file(kept[index], f"argument {index}") as file:
                    np.save(file, array, allow_pickle=False)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 and a message for errors and findings of the checker."""
    options = argument_parser().parse_args(arguments)
    return run_command(lambda: execute(options))


if __name__ == "__main__":
    sys.exit(main())
