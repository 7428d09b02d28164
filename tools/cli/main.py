"""The entry point: arguments, logging, and what becomes of errors."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from stepwell import __version__
from stepwell.tools.entry import run_command

from . import bench, build, check, compare, explain, inspect, run

COMMANDS = (build, check, run, bench, inspect, compare, explain)
"""One module a command; each has `add_arguments(parser)` and `execute(options)`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(argv)
    _set_up_logging(options)
    return run_command(lambda: options.execute(options))


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; an option stands there only if it does something."""
    result = argparse.ArgumentParser(
        "stepwell", description="Compile trained models to engines, and run them."
    )
    result.add_argument("--version", action="version", version=__version__)
    commands = result.add_subparsers(metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-q", "--quiet", action="store_true", help="no progress bars")
    common.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").splitlines()[0].partition(": ")[2]
        entry = commands.add_parser(
            name, parents=[common], help=summary, description=summary
        )
        command.add_arguments(entry)
        entry.set_defaults(execute=command.execute)
    return result


def _set_up_logging(options: argparse.Namespace) -> None:
    level = logging.DEBUG if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s", force=True)
