"""Counts ONNX's test cases that pass, by op, into `docs/benchmarks/conformance.md`.

python tools/bench/conformance.py                # engine and interpreter
python tools/bench/conformance.py reference      # the interpreter only
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import onnx
from rich.console import Console
from rich.progress import track

from stepwell import __version__
from stepwell.tools.bench.onnx_cases import (
    KINDS,
    ROOT,
    Outcome,
    cases,
    load_excludes,
    run_quietly,
)

PAGE = ROOT / "docs" / "benchmarks" / "conformance.md"
COMMAND = "python tools/bench/conformance.py"
EXECUTORS = {"engine": "the engine on `cpu`", "reference": "the reference interpreter"}
STATUSES = ("passed", "failed", "unsupported", "excluded")

Outcomes = Mapping[str, Sequence[Outcome]]


def load(executor: str) -> None:
    """Generate the cases once per process."""
    _STATE[executor] = (list(cases(KINDS)), load_excludes(executor))


def run_one(executor: str, index: int) -> Outcome:
    """One case, in a process that has loaded them."""
    everything, excludes = _STATE[executor]
    return run_quietly(*everything[index], executor, excludes)


_STATE: dict[str, tuple[list[tuple[str, Any]], dict[str, str]]] = {}
"""What each worker process has loaded."""


def measure(executor: str, console: Console) -> tuple[list[Outcome], float]:
    """The outcomes of all cases, run by two processes, and the seconds they took."""
    count = sum(1 for _ in cases(KINDS))
    start = time.perf_counter()
    with ProcessPoolExecutor(2, initializer=load, initargs=(executor,)) as pool:
        running = pool.map(partial(run_one, executor), range(count), chunksize=20)
        outcomes = list(track(running, executor, count, console=console))
    return outcomes, time.perf_counter() - start


def summary(measured: Mapping[str, tuple[list[Outcome], float]]) -> list[str]:
    """One row per executor and kind of case."""
    lines = [
        f"| executor | cases | {' | '.join(STATUSES)} | of | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for executor, (outcomes, seconds) in measured.items():
        for kind in (*KINDS, "all"):
            chosen = [each for each in outcomes if kind in (each.kind, "all")]
            counts = Counter(each.status for each in chosen)
            cells = " | ".join(str(counts[status]) for status in STATUSES)
            spent = sum(each.seconds for each in chosen)
            lines.append(
                f"| {EXECUTORS[executor]} | {kind} | {cells} | {len(chosen)} | "
                f"{seconds if kind == 'all' else spent:.0f} |"
            )
    return lines


def by_op(measured: Mapping[str, tuple[list[Outcome], float]]) -> list[str]:
    """One row per op: cases that pass, of those not excluded."""
    table: dict[str, dict[str, Counter[str]]] = defaultdict(
        lambda: defaultdict(Counter)
    )
    for executor, (outcomes, _) in measured.items():
        for each in outcomes:
            table[each.op][executor][each.status] += 1
    names = list(measured)
    lines = [
        f"| op | {' | '.join(EXECUTORS[name] for name in names)} | excluded |",
        f"|---|{'---|' * len(names)}---|",
    ]
    for op in sorted(table):
        cells = [ratio(table[op][name]) for name in names]
        left_out = max(table[op][name]["excluded"] for name in names)
        lines.append(f"| {op} | {' | '.join(cells)} | {left_out or ''} |")
    return lines


def ratio(counts: Counter[str]) -> str:
    """`12 of 14`."""
    total = sum(counts.values()) - counts["excluded"]
    return f"{counts['passed']} of {total}" if total else ""


def reasons(measured: Mapping[str, tuple[list[Outcome], float]]) -> list[str]:
    """The reasons of what is left out, with their counts."""
    lines: list[str] = []
    for executor, (outcomes, _) in measured.items():
        counts = Counter(e.reason for e in outcomes if e.status == "excluded")
        for reason, count in sorted(counts.items()):
            lines.append(f"* {EXECUTORS[executor]}, {count}: {reason}")
    return lines


def page(measured: Mapping[str, tuple[list[Outcome], float]]) -> str:
    """The whole page."""
    return "\n".join(
        [
            "# ONNX conformance",
            "",
            f"What becomes of the test cases that ship with onnx {onnx.__version__}, "
            f"with Stepwell {__version__}. A case passes if every output has the "
            "expected type and shape and is within the case's own tolerance; one that "
            "is excluded has a reason in `test/conformance/excludes.toml`. Written by",
            "",
            "```console",
            f"$ {COMMAND}",
            "```",
            "",
            *summary(measured),
            "",
            "## By op",
            "",
            "Cases that pass, of those not excluded, by the op they are about. Cases "
            "made of ONNX's function bodies count together.",
            "",
            *by_op(measured),
            "",
            "## Left out",
            "",
            *reasons(measured),
            "",
        ]
    )


def main(arguments: Sequence[str]) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("executor", nargs="?", choices=EXECUTORS, help="one alone")
    only = parser.parse_args(arguments).executor
    chosen = [only] if only else list(EXECUTORS)
    console = Console()
    measured = {executor: measure(executor, console) for executor in chosen}
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(measured))
    console.print("\n".join(summary(measured)), f"\nwritten to {PAGE}")


if __name__ == "__main__":
    main(sys.argv[1:])
