"""Every kernel of a set of models on its way to a GPU: how many there are, what fails.

    python tools/bench/gpu_kernels.py                    # all models
    python tools/bench/gpu_kernels.py onnx               # all ONNX node tests
    python tools/bench/gpu_kernels.py minilm open_nsfw --target sm_80 --precision fp16

Needs no GPU. For each model: kernels, those that got layouts and verify, how many ops
they have, the time of `assign-layouts` per kernel, and the reasons of failures.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.dialects import tile
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.dialects.target import Target
from stepwell.importing import import_source
from stepwell.lowering.pipelines import (
    Phase,
    parse_passes,
    phases_of,
    phases_until,
    run_passes,
)
from stepwell.lowering.tiling.assign_layouts import Assignment, is_upper
from stepwell.tools.bench.cases import CASES

LAST = "assign-layouts"


@dataclass
class Report:
    """What became of the kernels of one model."""

    name: str
    kernels: int = 0
    good: int = 0
    ops: int = 0
    seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter[str])

    def fail(self, error: BaseException) -> None:
        """Count a failure under its first line and where it was raised."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).strip().splitlines() or [""]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        self.failures[f"{type(error).__name__}: {text[0][:110]} ({place})"] += 1

    def add(self, other: Report) -> None:
        """Count what another report counts."""
        self.kernels += other.kernels
        self.good += other.good
        self.ops += other.ops
        self.seconds += other.seconds
        self.failures.update(other.failures)

    def row(self) -> str:
        """A line of the table."""
        each = 1000 * self.seconds / max(1, self.kernels)
        return (
            f"| {self.name} | {self.kernels} | {self.good} | {self.ops} | {each:.1f} |"
        )


def passes_before(target: Target, level: str, name: str) -> Iterator[Phase]:
    """The phases of the road down to the pass `name`, which is left out."""
    for phase in phases_until(level, phases_of(target)):
        names = [one.partition("{")[0] for one in phase.passes]
        cut = names.index(name) if name in names else len(names)
        yield Phase(phase.name, phase.level, phase.passes[:cut])


def assign_all(module: ModuleOp, report: Report, splits: bool) -> None:
    """Assign the layouts of every function, and verify each by itself."""
    for func in list(module.body.block.ops):
        if not isinstance(func, tile.FuncOp) or not is_upper(func):
            continue
        report.kernels += 1
        start = time.perf_counter()
        try:
            Assignment(func, splits=splits).run()
            report.seconds += time.perf_counter() - start
            func.verify()
        except Exception as error:
            report.fail(error)
        else:
            report.good += 1
            report.ops += sum(1 for _ in func.walk())


def examine(
    name: str,
    model: Any,
    target: Target,
    precision: str,
    shapes: Mapping[str, str] | None = None,
) -> Report:
    """Lower one model down to layouts."""
    report = Report(name)
    context = StepwellContext()
    register_dialects(context)
    try:
        module = import_source(model, context, shapes)
        module.attributes["stepwell.precision"] = StringAttr(precision)
        target.attach(module)
        for phase in passes_before(target, "tile", LAST):
            run_passes(module, context, parse_passes(",".join(phase.passes)))
    except Exception as error:
        report.fail(error)
        return report
    assign_all(module, report, precision == "fp32")
    return report


def node_tests() -> Iterator[tuple[str, Any, Mapping[str, str]]]:
    """The models of ONNX's node tests."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in load_model_tests(kind="node"):
            yield case.name, case.model, {}


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit code says whether everything went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="parts of names, or 'onnx'")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args(arguments)
    target = Target.parse(options.target)
    is_suite = options.models == ["onnx"]
    total = Report("total")
    print("| model | kernels | with layouts | ops | ms a kernel |")
    print("|---|---|---|---|---|")
    models = node_tests() if is_suite else _cases(options.models)
    for name, model, shapes in models:
        report = examine(name, model, target, options.precision, shapes)
        total.add(report)
        if not is_suite:
            print(report.row(), flush=True)
        for reason in report.failures:
            print(f"{name}: {reason}", file=sys.stderr)
    print(total.row())
    for reason, count in total.failures.most_common():
        print(f"{count:5d}  {reason}")
    return 1 if total.failures else 0


def _cases(names: Sequence[str]) -> Iterator[tuple[str, Any, Mapping[str, str]]]:
    for case in CASES:
        if not names or any(part in case.name for part in names):
            yield case.name, case.path(), case.shapes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
