"""Every kernel of the models as machine code for GPUs: registers, memory, spills.

    python tools/bench/gpu_code.py                           # all models, FP32
    python tools/bench/gpu_code.py MiniLM --targets sm_80 --precision fp16
    python tools/bench/gpu_code.py --write docs/benchmarks/gpu-kernels.md

Needs no GPU: nvJitLink assembles. The exit code is 1 if a kernel has no machine code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.codegen.cuda.cubin import Resources, resources
from stepwell.codegen.cuda.objects import KernelCode, compile_ptx, joined
from stepwell.dialects import tile
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.errors import StepwellError
from stepwell.importing import import_source
from stepwell.lowering.pipelines import (
    parse_passes,
    phases_of,
    phases_until,
    run_passes,
)
from stepwell.tools.bench.cases import CASES

ASSEMBLED = 16
"""Kernels that are handed to the assembler together."""


@dataclass(frozen=True)
class Row:
    """One kernel for one target."""

    name: str
    shared: int
    warps: int
    taken: Resources


@dataclass
class Report:
    """The kernels of one model for one target."""

    model: str
    target: str
    rows: list[Row] = field(default_factory=list[Row])
    failures: list[str] = field(default_factory=list[str])

    def line(self) -> str:
        """A row of the table of models."""
        registers = max((r.taken.registers for r in self.rows), default=0)
        shared = max((r.shared for r in self.rows), default=0)
        spilled = sum(r.taken.spills > 0 for r in self.rows)
        return (
            f"| {self.model} | {self.target} | {len(self.rows)} | "
            f"{len(self.failures)} | {registers} | {shared} | {spilled} |"
        )


HEAD = (
    "| model | target | kernels | failed | most registers | most shared bytes | "
    "kernels that spill |\n|---|---|---|---|---|---|---|"
)


def lowered(
    model: Any, shapes: Mapping[str, str] | None, target: Target, precision: str
) -> ModuleOp:
    """The model down to kernels of the lower half of `tile`."""
    context = StepwellContext()
    register_dialects(context)
    module = import_source(model, context, shapes)
    module.attributes["stepwell.precision"] = StringAttr(precision)
    target.attach(module)
    for phase in phases_until("tile", phases_of(target)):
        run_passes(module, context, parse_passes(",".join(phase.passes)))
    return module


def compiled(
    module: ModuleOp, target: Target, report: Report
) -> Iterator[tuple[str, KernelCode]]:
    """The PTX of each kernel; kernels without one are counted."""
    for func in list(module.body.block.ops):
        if not isinstance(func, tile.FuncOp):
            continue
        func.detach()
        one = ModuleOp([func])
        target.attach(one)
        try:
            ptx, kernels = compile_ptx(one, target)
        except StepwellError as error:
            report.failures.append(f"{func.sym_name.data}: {error.summary}")
            continue
        yield ptx, next(iter(kernels.values()))


def examine(
    name: str,
    model: Any,
    shapes: Mapping[str, str] | None,
    target: Target,
    precision: str,
) -> Report:
    """All kernels of a model."""
    report = Report(name, target.name)
    try:
        module = lowered(model, shapes, target, precision)
    except StepwellError as error:
        report.failures.append(f"{name}: {error.summary}")
        return report
    ready = list(compiled(module, target, report))
    for start in range(0, len(ready), ASSEMBLED):
        part = ready[start : start + ASSEMBLED]
        taken = resources(joined([ptx for ptx, _ in part]), target)
        report.rows += [
            Row(code.name, code.shared_bytes, code.warps, taken[code.symbol])
            for _, code in part
        ]
    return report


def page(reports: Sequence[Report], precision: str) -> str:
    """The page of the tables."""
    lines = [
        "# Kernels as machine code for GPUs",
        "",
        "Written by `python tools/bench/gpu_code.py --write`, without a GPU: registers "
        "of a thread and spills as the assembler reports them, dynamic shared memory "
        f"of a block. Precision {precision}.",
        "",
        HEAD,
        *(report.line() for report in reports),
        "",
        "## Kernels",
        "",
        "| model | kernel | target | warps | registers | shared bytes | spills |",
        "|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        lines += [
            f"| {report.model} | {row.name} | {report.target} | {row.warps} | "
            f"{row.taken.registers} | {row.shared} | {row.taken.spills} |"
            for row in report.rows
        ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Print the table of models, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="parts of names")
    parser.add_argument("--targets", nargs="+", default=["sm_80", "sm_90a"])
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    reports: list[Report] = []
    print(HEAD)
    for case in CASES:
        if options.models and not any(part in case.name for part in options.models):
            continue
        for name in options.targets:
            target = Target.parse(name)
            reports.append(
                examine(case.name, case.path(), case.shapes, target, options.precision)
            )
            print(reports[-1].line(), flush=True)
            print("\n".join(reports[-1].failures), end="", file=sys.stderr)
            if options.write is not None:
                options.write.write_text(page(reports, options.precision))
    return 1 if any(report.failures for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
