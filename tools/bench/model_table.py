"""What the tables of frameworks' models share: rows, processes of their own, pages.

A script makes a `Row` with a column per number, and measures one run when it is called
with `--child` and the run's key. `Bench.run` calls it once for each key.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import Field, asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from stepwell import __version__

PAGES = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
TIMEOUT_S = 900

Key = tuple[str, ...]


def column(title: str, spec: str = "", default: Any = 0, is_key: bool = False) -> Any:
    """A field of a row that is a column of the table.

    Args:
        title: the head of the column.
        spec: how to format a value.
        default: the value of a run that failed.
        is_key: whether the field tells runs of one model apart.
    """
    return field(
        default=default, metadata={"title": title, "spec": spec, "is_key": is_key}
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run of a model. Kinds of tables add their columns.

    Attributes:
        failure: why there are no numbers, or empty.
        is_right: whether the results are within the tolerance.
    """

    model: str = field(metadata={"title": "model", "spec": "", "is_key": True})
    failure: str = ""
    is_right: bool = False

    @property
    def key(self) -> Key:
        """What tells this run from others: the model, and more if the table has it."""
        return tuple(
            getattr(self, f.name) for f in columns(type(self)) if f.metadata["is_key"]
        )

    def cells(self) -> tuple[str, ...]:
        """The row as text, a cell for each column."""
        shown = columns(type(self))
        if self.failure:
            left = len(shown) - len(self.key) - 1
            return (*self.key, self.failure, *[""] * left)
        return tuple(format(getattr(self, f.name), f.metadata["spec"]) for f in shown)


R = TypeVar("R", bound=Row)


def columns(kind: type[Row]) -> list[Field[Any]]:
    """The fields that are columns, in their order."""
    return [f for f in fields(kind) if "title" in f.metadata]


@dataclass(frozen=True)
class Bench(Generic[R]):
    """A script that measures one run in a process of its own.

    Attributes:
        script: its path; `--child KEY...` makes it print one row as JSON.
        kind: the class of its rows.
        options: further arguments of every run.
    """

    script: str
    kind: type[R]
    options: tuple[str, ...] = ()

    def run(
        self,
        keys: Sequence[Key],
        options: argparse.Namespace,
        page: Path,
        text: Callable[[Sequence[R]], str],
    ) -> int:
        """Measure and show a row for each key, and put `text` of them into the page if
        `options` (of `parser_of`) say so; 1 if a row is not right."""
        rows = self.measure_all(keys, options.jobs, options.resume)
        show(rows)
        if options.write:
            write_section(page, text(rows))
        return int(not all(row.is_right for row in rows))

    def measure_all(
        self, keys: Sequence[Key], jobs: int = 1, kept: Path | None = None
    ) -> list[R]:
        """A row for each key, `jobs` at a time.

        Rows are added to the file `kept`, and those that it has are not measured again,
        unless they failed.
        """
        known = {row.key: row for row in self.read(kept)}

        def measure(key: Key) -> R:
            if key in known and not known[key].failure:
                return known[key]
            row = self.measure(key)
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
            return row

        with ThreadPoolExecutor(jobs) as pool:
            rows = pool.map(measure, keys)
            return list(track(rows, description="models", total=len(keys)))

    def measure(self, key: Key) -> R:
        """One row; what goes wrong in the process is its failure."""
        command = [sys.executable, self.script, "--child", *key, *self.options]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return self.failed(key, f"not done in {TIMEOUT_S} s")
        lines = result.stdout.strip().splitlines()
        if result.returncode == 0 and lines:
            return self.kind(**json.loads(lines[-1]))
        words = result.stderr.strip().splitlines()
        Console(stderr=True).print(f"[red]{' '.join(key)}", *words[-12:], sep="\n")
        return self.failed(key, next(iter(reversed(words)), "no output"))

    def failed(self, key: Key, reason: str) -> R:
        """The row of a run without numbers."""
        names = [f.name for f in columns(self.kind) if f.metadata["is_key"]]
        named: dict[str, Any] = dict(zip(names, key, strict=True))
        return self.kind(**named, failure=reason)

    def read(self, path: Path | None) -> Iterable[R]:
        """The rows of an earlier run, in the order in which they were measured."""
        if path is None or not path.exists():
            return []
        return [self.kind(**json.loads(line)) for line in path.read_text().splitlines()]


def tell(row: Row) -> int:
    """Print what a process of its own has measured; `Bench` reads it."""
    print(json.dumps(asdict(row)))
    return 0


def setting(script: str, arguments: Sequence[str], **versions: str) -> str:
    """How numbers were made: the command, the day, the machine, the versions."""
    named = {"Python": platform.python_version(), **versions, "stepwell": __version__}
    parts = [
        f"Command: `{' '.join(['python', f'tools/bench/{script}', *arguments])}`",
        str(date.today()),
        platform.processor() or platform.machine(),
        *(f"{name} {version}" for name, version in named.items()),
    ]
    return textwrap.fill(
        ", ".join(parts), 88, break_on_hyphens=False, break_long_words=False
    )


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    titles = [f.metadata["title"] for f in columns(type(rows[0]))]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines)


def write_section(page: Path, text: str) -> None:
    """Put a section into a page, in the place of the one with the same heading."""
    parts = re.split(r"(?m)^(?=#)", page.read_text() if page.exists() else "")
    sections = {part.partition("\n")[0]: part.strip() for part in parts if part}
    sections[text.partition("\n")[0]] = text.strip()
    page.write_text("\n\n".join(sections.values()) + "\n")


def told(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that say how to measure, which pages leave out."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--write", action="store_true")
    for name in ("--jobs", "--resume"):
        parser.add_argument(name)
    return parser.parse_known_args(arguments)[1]


def show(rows: Sequence[Row]) -> None:
    """Print the table, red where a run failed or is not right."""
    table = Table(*(f.metadata["title"] for f in columns(type(rows[0]))))
    for row in rows:
        table.add_row(*row.cells(), style="" if row.is_right else "red")
    Console(width=140).print(table)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options that all these scripts have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", help="names of the models to run")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--resume", type=Path, help="the file that keeps the rows")
    parser.add_argument("--write", action="store_true", help="write the page")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    return parser


def chosen(names: Sequence[str], only: Sequence[str] | None) -> list[str]:
    """The names that `--only` leaves; ends the script if it has others."""
    unknown = sorted(set(only or ()) - set(names))
    if unknown:
        sys.exit(f"no model {', '.join(unknown)}; there are {', '.join(names)}")
    return [name for name in names if not only or name in only]


def median_ms(
    call: Callable[[], Any], finish: Callable[[], Any] = lambda: None, runs: int = 10
) -> float:
    """The median time of warm calls in milliseconds; `finish` waits for their end."""
    call()
    finish()
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        finish()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def peak_gb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
