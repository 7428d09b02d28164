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
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.utils.exceptions import DiagnosticException, ParseError

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.printing import module_text
from stepwell.dialects.provenance import location_names
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.dialects.weights import WeightStore
from stepwell.errors import OptionError, StepwellError
from stepwell.lowering.pipelines import (
    PHASES,
    PassReport,
    compile_module,
    parse_passes,
    run_passes,
)
from stepwell.tools.entry import output_file, run_command

SEPARATOR = "// -----"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 1 after an error."""
    options = parser().parse_args(argv)
    driver = Driver(options, sys.stdin, sys.stdout, sys.stderr)
    return run_command(driver.run, (DiagnosticException, ParseError))


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
    add("-t", "--translate", choices=TRANSLATIONS, help="print this instead of IR")
    add("--target", help="device: cpu, cpu-avx512, ..., set on the module")
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


def import_onnx(path: Path, context: StepwellContext) -> ModuleOp:
    """Import an ONNX file; its weights go into the context's store."""
    from stepwell.frontends.onnx import import_model

    return import_model(path, context)


FRONTENDS: Mapping[str, Callable[[Path, StepwellContext], ModuleOp]] = {
    "onnx": import_onnx,
}
"""Importers of `-f`, by name; everything else is read as IR."""


def llvm_ir(module: ModuleOp) -> str:
    """The module's `llvm` functions and globals as LLVM IR."""
    from stepwell.codegen.llvm_ir import emit_llvm_ir

    kernels = [op.clone() for op in module.ops if op.dialect_name() == "llvm"]
    if not kernels:
        raise OptionError(
            "expected a module with llvm.func, got none",
            fix="run -p convert-tile-to-llvm on the level 'tile' first",
        )
    return emit_llvm_ir(ModuleOp(kernels))


def ptx(module: ModuleOp) -> str:
    """The module's kernels of the lower half of `tile` as PTX."""
    from stepwell.codegen.cuda.objects import compile_ptx
    from stepwell.dialects import tile

    kernels = [op.clone() for op in module.ops if isinstance(op, tile.FuncOp)]
    target = Target.of(module)
    if not kernels or target.is_cpu:
        raise OptionError(
            "expected a module with a GPU as its target and kernels in it",
            fix="use --target sm_90a, and --stop-after tile for a model",
        )
    made = ModuleOp(kernels)
    target.attach(made)
    return compile_ptx(made, target)[0]


TRANSLATIONS: Mapping[str, Callable[[ModuleOp], str]] = {"llvm": llvm_ir, "ptx": ptx}
"""Printers of `-t`, by name."""


@dataclass
class Driver:
    """One run of the tool over all chunks of its input."""

    options: argparse.Namespace
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    def run(self) -> int:
        """Process every chunk; returns the exit code."""
        context = self._context()
        chunks = [
            self._process_or_diagnose(load, context) for load in self._inputs(context)
        ]
        text = f"{SEPARATOR}\n".join(chunks)
        if self.options.output is None:
            self.stdout.write(text)
            self.stdout.flush()
        else:
            with output_file(self.options.output, "the output") as file:
                file.write(text.encode())
        return 0

    def _context(self) -> StepwellContext:
        weights = self.options.weights
        context = StepwellContext(weights=WeightStore(weights))
        register_dialects(context)
        context.load_registered_dialect("builtin")
        if self.options.explain:
            context.explain = self._explain
        return context

    def _inputs(self, context: StepwellContext) -> Iterator[Callable[[], ModuleOp]]:
        name = self.options.file
        if self.options.frontend is not None:
            importer = FRONTENDS[self.options.frontend]
            yield lambda: importer(existing(name), context)
            return
        text = self._text(name)
        split = self.options.split_input_file
        for chunk in text.split(SEPARATOR) if split else (text,):
            yield lambda chunk=chunk: Parser(context, chunk, name).parse_module()

    def _text(self, name: str) -> str:
        """The input as text. Raises `OptionError` if it is none."""
        try:
            text = self.stdin.read() if name == "-" else existing(name).read_text()
        except UnicodeDecodeError:
            raise OptionError(
                f"expected IR as text, got {name!r}, which holds other bytes",
                fix="import a model with --from onnx",
            ) from None
        if not text.strip():
            raise OptionError(f"expected IR, got {name!r}, which is empty")
        return text

    def _process_or_diagnose(
        self, load: Callable[[], ModuleOp], context: StepwellContext
    ) -> str:
        if not self.options.verify_diagnostics:
            return self._process(load(), context)
        try:
            return self._process(load(), context)
        except (StepwellError, DiagnosticException, ParseError) as error:
            return f"{str(error).strip()}\n"

    def _process(self, module: ModuleOp, context: StepwellContext) -> str:
        module.verify()
        if self.options.target is not None:
            Target.parse(self.options.target).attach(module)
        if self.options.stop_after is not None:
            level = self.options.stop_after
            compile_module(module, context, stop_after=level, after=self._after)
        passes = parse_passes(self.options.passes)
        run_passes(module, context, passes, after=self._after)
        if self.options.translate is not None:
            return TRANSLATIONS[self.options.translate](module)
        module.verify()
        return self._print(module)

    def _after(self, module: ModuleOp, report: PassReport) -> None:
        if self.options.verify_each:
            module.verify()
        if self.options.timing:
            self.stderr.write(f"{report.seconds:9.4f} s  {report.name}\n")
        if self.options.print_ir_after_all:
            self.stderr.write(f"// after {report.name}\n{self._print(module)}")

    def _explain(self, op: Operation, pattern: str, reason: str) -> None:
        names = ", ".join(location_names(op)) or "?"
        self.stderr.write(f"{pattern}: {op.name} of {names}: {reason}\n")

    def _print(self, module: ModuleOp) -> str:
        options = self.options
        return module_text(
            module, locations=not options.no_locations, generic=options.generic
        )


def existing(name: str) -> Path:
    """The path `name`. Raises `OptionError` when there is no such file."""
    path = Path(name)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise OptionError(f"expected a file, got {name!r}, which {found}")
    return path


if __name__ == "__main__":
    sys.exit(main())
