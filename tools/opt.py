"""`stepwell-opt`: read IR, run passes, print IR.

    stepwell-opt model.onnx -f onnx --stop-after fusion
    stepwell-opt graph.mlir -p 'canonicalize,fold-constants{limit=4096}'

All state is in the IR, so `-p 'a,b'` prints what `-p a | -p b` prints. Large constants
are references into a weight store: pass `--weights DIR` to keep it between runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.passes import ModulePass
from xdsl.printer import Printer
from xdsl.utils.exceptions import DiagnosticException, ParseError

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.errors import OptionError, StepwellError
from stepwell.lowering.pipelines import (
    PASSES,
    PHASES,
    PassReport,
    parse_passes,
    phases_until,
    run_passes,
)

SEPARATOR = "// -----"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 1 after an error."""
    options = parser().parse_args(argv)
    try:
        return Driver(options, sys.stdin, sys.stdout, sys.stderr).run()
    except StepwellError as error:
        print(f"error: {error}", file=sys.stderr)
    except (DiagnosticException, ParseError) as error:
        print(f"error: {str(error).strip()}", file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()
    return 1


def parser() -> argparse.ArgumentParser:
    """The argument parser; a flag stands here only if it does something."""
    result = argparse.ArgumentParser("stepwell-opt", description=__doc__)
    result.formatter_class = argparse.RawDescriptionHelpFormatter
    add = result.add_argument
    add("file", nargs="?", default="-", help="IR or model; '-' is standard input")
    add("-f", "--from", dest="frontend", choices=FRONTENDS, help="format of FILE")
    add("-p", "--passes", default="", help="passes, 'a,b{option=1}'")
    add(
        "--stop-after",
        metavar="LEVEL",
        choices=[phase.level for phase in PHASES],
        help="run the standard pipeline down to LEVEL",
    )
    add("--weights", type=Path, metavar="DIR", help="where large constants live")
    add("-o", "--output", type=Path, help="write here, not to standard output")
    add("--split-input-file", action="store_true", help=f"chunks between {SEPARATOR}")
    add("--verify-diagnostics", action="store_true", help="print errors, exit with 0")
    add("--verify-each", action="store_true", help="verify the IR after every pass")
    add("--print-ir-after-all", action="store_true", help="to standard error")
    add("--timing", action="store_true", help="seconds of each pass, standard error")
    add("--explain", action="store_true", help="why patterns declined, standard error")
    add("--generic", action="store_true", help="print ops in MLIR's generic form")
    add("--no-locations", action="store_true", help="leave out loc(...)")
    return result
