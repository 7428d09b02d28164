"""Options that several commands share, and the arrays that they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from stepwell.errors import OptionError
from stepwell.runtime import Engine, TensorSpec
from stepwell.runtime.expressions import bare_symbol
from stepwell.samples import Array, random_inputs, typical_sizes


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """What decides on the engine that a model becomes."""
    parser.add_argument(
        "model", help="an ONNX file, a SavedModel, or a .keras, .pb or .pt2 file"
    )
    parser.add_argument(
        "--target",
        default="cpu",
        help="cpu, cpu-avx512, cpu-avx2, ...; cuda (the GPU here), sm_90a, ...",
    )
    parser.add_argument(
        "--precision", default="fp32", choices=["fp32", "tf32", "fp16", "bf16"]
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=DIMS",
        help="sizes of an input: x=1..32x3x224x224:8x3x224x224 (min..max:typical)",
    )
    add_threads(parser)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """How many threads a run may use."""
    parser.add_argument("--threads", type=int, help="threads of a run (default: all)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """What the engine runs on."""
    parser.add_argument(
        "--device",
        help="cuda, cuda:1, or emulated (a PTX interpreter); default: the target's",
    )


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Where the values of the inputs come from."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=FILE.npy",
        help="an input's value; without one it is random",
    )
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="SYMBOL=N",
        help="a symbol's value for random inputs (default: the typical one)",
    )
    parser.add_argument(
        "--seed", type=at_least(0), default=0, help="of the random inputs"
    )


def at_least(low: int) -> Callable[[str], int]:
    """The type of an option that is a whole number from `low` on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(
                f"expected a number of at least {low}, got {text!r}"
            )
        return int(text)

    return number


def amount(text: str) -> float:
    """A number of 0 or more, as the type of an option."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, got {text!r}")
    return value


def parse_shapes(texts: Sequence[str]) -> dict[str, str]:
    """`--shape` options by input name."""
    return _pairs(texts, "--shape NAME=DIMS")


def inputs_of(engine: Engine, options: argparse.Namespace) -> dict[str, Array]:
    """The inputs that the options ask for; random where they name no file.

    Raises:
        OptionError: an unknown name, or a file that is no array.
    """
    files = _pairs(options.input, "--input NAME=FILE.npy")
    names = [spec.name for spec in engine.inputs]
    for name in files:
        if name not in names:
            raise OptionError(f"expected an input of {', '.join(names)}, got {name!r}")
    given = {name: load_array(Path(path)) for name, path in files.items()}
    sizes = typical_sizes(engine) | _sizes_of(engine.inputs, given)
    for name, text in _pairs(options.size, "--size SYMBOL=N").items():
        if name not in sizes or not text.isdecimal():
            raise OptionError(
                f"expected --size SYMBOL=N, got {name}={text}",
                notes=[f"symbols: {', '.join(sorted(sizes)) or 'none'}"],
            )
        sizes[name] = int(text)
    return random_inputs(engine, sizes, options.seed) | given


def _sizes_of(
    specs: Sequence[TensorSpec], given: Mapping[str, Array]
) -> dict[str, int]:
    """Symbols as the given arrays have them; wrong ranks are left to the engine."""
    sizes: dict[str, int] = {}
    for spec in specs:
        if spec.name in given and given[spec.name].ndim == len(spec.shape):
            for dim, extent in zip(spec.shape, given[spec.name].shape, strict=True):
                if (name := bare_symbol(dim)) is not None:
                    sizes[name] = extent
    return sizes


def load_array(path: Path) -> Array:
    """The array of a .npy file. Raises `OptionError` if it is none."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise OptionError(
            f"expected a .npy file, got {str(path)!r}", notes=[str(error)]
        ) from None
    if not isinstance(array, np.ndarray):
        raise OptionError(f"expected one array in {str(path)!r}, got an archive")
    return array


def load_samples(path: Path) -> dict[str, Array]:
    """The arrays of a .npz file by name. Raises `OptionError` if it is none."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise OptionError(
            f"expected a .npz file, got {str(path)!r}", notes=[str(error)]
        ) from None


def _pairs(texts: Sequence[str], form: str) -> dict[str, str]:
    """`name=value` texts; names may hold `=` themselves."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise OptionError(f"expected {form}, got {text!r}")
        if name in pairs:
            raise OptionError(f"expected {form} once, got {name!r} twice")
        pairs[name] = value
    return pairs
