"""`stepwell check`: name everything in a model that is not supported."""

from __future__ import annotations

import argparse
from pathlib import Path

from .console import print_table
from .options import parse_shapes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell check`."""
    parser.add_argument("model", help="an ONNX file, a SavedModel, or a .keras file")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=DIMS")


def execute(options: argparse.Namespace) -> int:
    """Print the ops and the issues; 1 if there are issues."""
    from stepwell.importing import check_source

    report = check_source(Path(options.model), parse_shapes(options.shape))
    if not options.quiet and report.ops:
        rows = sorted(report.ops.items(), key=lambda item: (-item[1], item[0]))
        print_table(f"ops of {report.model}", ["op", "nodes>"], rows)
    if report.is_supported:
        print(report)
        return 0
    raise report.error()
