"""Every kernel of the models as machine code for GPUs: registers, memory, spills, sins.

    python tools/bench/gpu_code.py                           # all models
    python tools/bench/gpu_code.py MiniLM --targets sm_80 --precisions fp16
    python tools/bench/gpu_code.py --results code.json --write page.md

Needs no GPU: `ptxas` or nvJitLink assembles. With `--results` what is done is kept, and
the next call goes on from there. The exit code is 1 if a kernel has no machine code, or
if one that a model spends its time in spills or has a sin (`codegen/cuda/sass.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.codegen.cuda.cubin import assemble_with_log, nvidia_tool, resources
from stepwell.codegen.cuda.objects import KernelCode, compile_ptx, joined
from stepwell.codegen.cuda.sass import disassemble, sins_of
from stepwell.codegen.engine_writer import LaunchSummary
from stepwell.dialects import engine, tile
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dims import parse_dim
from stepwell.dialects.provenance import location_names
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.errors import StepwellError
from stepwell.importing import import_source
from stepwell.lowering.pipelines import PassReport, compile_module
from stepwell.lowering.tiling.estimate import estimate, tuned_ranges
from stepwell.summaries import summaries_of
from stepwell.tools.bench.cases import CASES

ASSEMBLED = 16
"""Kernels that are handed to the assembler together."""

FLOPS_PER_BYTE = 100
"""How many operations take the time of one byte, between those of TF32 and of FP16."""

HOT = 0.03
"""The share of a model's estimated time from which a kernel is hot."""


@dataclass(frozen=True)
class Row:
    """One kernel.

    Attributes:
        share: of the model's time, as a roofline estimates it.
        sins: how often each occurs.
    """

    name: str
    share: float
    warps: int
    registers: int
    shared: int
    spills: int
    on_tensor_cores: bool
    sins: Mapping[str, int]

    @property
    def is_hot(self) -> bool:
        """Whether the model spends its time here."""
        return self.share >= HOT

    @property
    def faults(self) -> str:
        """What is wrong with it, or nothing."""
        spills = {"bytes of spills": self.spills} if self.spills else {}
        found = (spills | dict(self.sins)).items()
        return ", ".join(f"{count} {name}" for name, count in found)


@dataclass
class Report:
    """The kernels of one model for one target."""

    model: str
    target: str
    precision: str
    rows: list[Row] = field(default_factory=list[Row])
    failures: list[str] = field(default_factory=list[str])

    @property
    def is_good(self) -> bool:
        """Whether all kernels have machine code, the hot ones without faults."""
        hot = any(row.is_hot and row.faults for row in self.rows)
        return not hot and not self.failures

    def line(self) -> str:
        """A row of the table of models."""
        rows = self.rows
        faults = Counter(name for row in rows for name in row.sins)
        return (
            f"| {self.model} | {len(rows)} | {len(self.failures)} | "
            f"{sum(row.on_tensor_cores for row in rows)} | "
            f"{max((row.registers for row in rows), default=0)} | "
            f"{max((row.shared for row in rows), default=0)} | "
            f"{sum(row.spills > 0 for row in rows)} | "
            f"{', '.join(f'{n} {name}' for name, n in sorted(faults.items()))} |"
        )


HEAD = (
    "| model | kernels | failed | on tensor cores | most registers | "
    "most shared bytes | kernels that spill | kernels with sins |\n" + "|---" * 8 + "|"
)


@dataclass(frozen=True)
class Lowered:
    """The kernels of a model in the lower half of `tile`, and their shares of time."""

    module: ModuleOp
    shares: Mapping[str, float]


def lowered(
    model: Any, shapes: Mapping[str, str] | None, target: Target, precision: str
) -> Lowered:
    """Lower a model as a build does."""
    context = StepwellContext()
    register_dialects(context)
    module = import_source(model, context, shapes)
    module.attributes["stepwell.precision"] = StringAttr(precision)
    summaries: dict[tuple[str, ...], LaunchSummary] = {}

    def after(module: ModuleOp, report: PassReport) -> None:
        if report.name == "form-kernels":
            summaries.update(summaries_of(module))

    compile_module(module, context, target, stop_after="tile", after=after)
    return Lowered(module, _shares(module, summaries))


def _shares(
    module: ModuleOp, summaries: Mapping[tuple[str, ...], LaunchSummary]
) -> Mapping[str, float]:
    """The share of each function in the time of all launches."""
    ranges = tuned_ranges(module)
    costs: Counter[str] = Counter()
    for op in module.walk():
        if not isinstance(op, engine.LaunchOp):
            continue
        summary = summaries.get(location_names(op), LaunchSummary(""))
        flops, size = (
            estimate(parse_dim(e) if isinstance(e, str) else e, ranges)
            for e in (summary.flops, summary.nbytes)
        )
        costs[op.kernel.root_reference.data] += max(size, flops // FLOPS_PER_BYTE)
    total = max(1, costs.total())
    return {name: cost / total for name, cost in costs.items()}


def compiled(
    module: ModuleOp, target: Target, failures: list[str]
) -> Iterator[tuple[str, KernelCode]]:
    """The PTX of each kernel; for those without one a line is added to `failures`."""
    for func in list(module.body.block.ops):
        if not isinstance(func, tile.FuncOp):
            continue
        func.detach()
        one = ModuleOp([func])
        target.attach(one)
        try:
            ptx, kernels = compile_ptx(one, target)
        except StepwellError as error:
            failures.append(f"{func.sym_name.data}: {error.summary}")
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
    report = Report(name, target.name, precision)
    try:
        found = lowered(model, shapes, target, precision)
    except StepwellError as error:
        report.failures.append(f"{name}: {error.summary}")
        return report
    ready = list(compiled(found.module, target, report.failures))
    for start in range(0, len(ready), ASSEMBLED):
        part = ready[start : start + ASSEMBLED]
        report.rows += _assembled(part, target, found.shares)
    return report


def _assembled(
    part: Sequence[tuple[str, KernelCode]],
    target: Target,
    shares: Mapping[str, float],
) -> Iterator[Row]:
    cubin, log = assemble_with_log(joined([ptx for ptx, _ in part]), target)
    taken = resources(log)
    sass = disassemble(cubin, log) if nvidia_tool("nvdisasm") else {}
    for _, code in part:
        own = taken[code.symbol]
        yield Row(
            code.name,
            shares.get(code.name, 0.0),
            code.warps,
            own.registers,
            code.shared_bytes,
            own.spills,
            code.symbol in sass and sass[code.symbol].on_tensor_cores,
            sins_of(sass[code.symbol]) if code.symbol in sass else {},
        )


def page(reports: Sequence[Report]) -> str:
    """The page: models for each target and precision, hot kernels, faults."""
    variants = list(dict.fromkeys((r.target, r.precision) for r in reports))
    tables = [
        line
        for variant in variants
        for line in (
            f"\n## {variant[0]}, {variant[1]}\n",
            HEAD,
            *(r.line() for r in reports if (r.target, r.precision) == variant),
        )
    ]
    heads = [" ".join(variant) for variant in variants]
    return "\n".join(
        [
            _INTRODUCTION.format(percent=round(100 * HOT)),
            *tables,
            _HOT_KERNELS,
            f"| model | kernel | share | {' | '.join(heads)} |",
            "|---" * (3 + len(heads)) + "|",
            *_hot_lines(reports, variants),
            _FAULTS,
            *(_fault_lines(reports) or ["None."]),
            "",
        ]
    )


_INTRODUCTION = """\
# Kernels as machine code for GPUs

Written by `python tools/bench/gpu_code.py --write`, without a GPU: registers of a
thread and spills as the assembler reports them, dynamic shared memory of a block, and
the sins that `codegen/cuda/sass.py` finds in the disassembled code. A kernel is hot if
a roofline gives it {percent} % of its model's time."""

_HOT_KERNELS = """
## Hot kernels

Registers of a thread and shared bytes of a block; the share is the largest of the row.
"""

_FAULTS = """
## Kernels that spill or have sins
"""


def _hot_lines(
    reports: Sequence[Report], variants: Sequence[tuple[str, str]]
) -> Iterator[str]:
    """A line for each kernel that is hot in some variant, a column for each variant."""
    table: dict[tuple[str, str], dict[tuple[str, str], Row]] = {}
    for report in reports:
        for row in report.rows:
            if row.is_hot:
                cells = table.setdefault((report.model, row.name), {})
                cells[report.target, report.precision] = row
    models = list(dict.fromkeys(report.model for report in reports))
    for model in models:
        for (owner, name), cells in table.items():
            if owner != model:
                continue
            share = max(row.share for row in cells.values())
            texts = [
                f"{cells[v].registers}, {cells[v].shared}" if v in cells else ""
                for v in variants
            ]
            yield f"| {model} | {name} | {share:.0%} | {' | '.join(texts)} |"


def _fault_lines(reports: Sequence[Report]) -> Sequence[str]:
    lines = [
        f"| {r.model} | {row.name} | {r.target} {r.precision} | {row.share:.0%} | "
        f"{row.faults} |"
        for r in reports
        for row in r.rows
        if row.faults
    ]
    head = ["| model | kernel | target | share | what |", "|---|---|---|---|---|"]
    return [*head, *lines] if lines else []


class Results:
    """The reports so far, kept in a file if there is one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        known: list[dict[str, Any]] = []
        if path is not None and path.exists():
            known = json.loads(path.read_text())
        self.reports = [
            Report(rows=[Row(**row) for row in one.pop("rows")], **one) for one in known
        ]

    def find(self, model: str, target: str, precision: str) -> Report | None:
        """The report of an earlier call."""
        key = (model, target, precision)
        matching = (r for r in self.reports if (r.model, r.target, r.precision) == key)
        return next(matching, None)

    def add(self, report: Report) -> None:
        """Keep one more."""
        self.reports.append(report)
        if self.path is not None:
            self.path.write_text(json.dumps([asdict(one) for one in self.reports]))


def main(arguments: Sequence[str]) -> int:
    """Print the table of models, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="parts of names")
    parser.add_argument("--targets", nargs="+", default=["sm_80", "sm_90a"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "fp16"])
    parser.add_argument("--results", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args(arguments)
    results = Results(options.results)
    reports: list[Report] = []
    for target in options.targets:
        for precision in options.precisions:
            print(f"\n{target}, {precision}\n\n{HEAD}")
            for case in CASES:
                if options.models and not any(m in case.name for m in options.models):
                    continue
                report = results.find(case.name, target, precision)
                if report is None:
                    report = examine(
                        case.name,
                        case.path(),
                        case.shapes,
                        Target.parse(target),
                        precision,
                    )
                    results.add(report)
                reports.append(report)
                print(report.line(), flush=True)
                for failure in report.failures:
                    print(failure, file=sys.stderr)
    if options.write is not None:
        options.write.write_text(page(reports))
    return 0 if all(report.is_good for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
