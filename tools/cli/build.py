"""`stepwell build`: compile a model to an engine file."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

from stepwell import build
from stepwell.errors import OptionError

from .console import accuracy_facts, print_facts, progress_bar, with_unit
from .options import add_build_options, amount, load_samples, parse_shapes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell build`."""
    add_build_options(parser)
    parser.add_argument("-o", "--output", type=Path, help="default: MODEL.stepwell")
    parser.add_argument(
        "--tolerance",
        type=amount,
        help="relative error beside FP32 that fp16 or bf16 may have: as few ops as it "
        "takes stay in f32",
    )
    parser.add_argument(
        "--samples",
        action="append",
        type=Path,
        metavar="FILE.npz",
        help="inputs by name that the tolerance is judged on; may be given several "
        "times (default: random ones)",
    )
    parser.add_argument(
        "--keep-ir", action="store_true", help="keep the IR of each level in the engine"
    )


def execute(options: argparse.Namespace) -> int:
    """Build and save."""
    model = Path(options.model)
    output = options.output or model.with_suffix(".stepwell").name
    output = Path(output)
    if not output.parent.is_dir():
        raise OptionError(f"expected an existing folder for {str(output)!r}")
    if output.is_dir():
        raise OptionError(f"expected a file to write, got the folder {str(output)!r}")
    start = perf_counter()
    with progress_bar(f"build {model.name}", options.quiet) as bar:
        engine = build(
            model,
            target=options.target,
            precision=options.precision,
            shapes=parse_shapes(options.shape),
            threads=options.threads,
            keep_ir=options.keep_ir,
            progress=bar.callback,
            tolerance=options.tolerance,
            samples=options.samples and [load_samples(p) for p in options.samples],
        )
    engine.save(output)
    accuracy = engine.manifest.accuracy
    if not options.quiet:
        print_facts(
            [
                ("engine", output),
                ("size", with_unit(output.stat().st_size, "B")),
                ("kernels", engine.kernel_count),
                *([] if accuracy is None else accuracy_facts(accuracy)),
                ("time", f"{perf_counter() - start:.1f} s"),
            ]
        )
    return 0
