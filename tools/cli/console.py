"""Tables and progress bars, through rich."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

from stepwell.errors import MissingExtraError
from stepwell.runtime.manifest import Accuracy

try:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table
except ImportError:
    raise MissingExtraError(
        "the command line needs rich, which is not installed",
        fix="pip install 'stepwell[compile]'",
    ) from None

MIN_WIDTH = 100


def console() -> Console:
    """Standard output; tables are not squeezed when it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(width=200, highlight=False)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """A table; columns whose title ends in `>` are set to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        right = column.endswith(">")
        table.add_column(column.removesuffix(">"), justify="right" if right else "left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console().print(table)


def print_facts(facts: Sequence[tuple[str, Any]]) -> None:
    """Names and values, one pair a line."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        print(f"{name:<{width}}  {value}")


def accuracy_facts(found: Accuracy) -> list[tuple[str, Any]]:
    """What a build with a tolerance found."""
    return [
        ("error", f"{found.after:.1e} of {found.tolerance:.1e} allowed"),
        ("without f32", f"{found.before:.1e}, in a simulation"),
        ("raised to f32", f"{found.raised} ops"),
        ("judged", f"on {found.samples} sets of inputs, on {found.device}"),
    ]


class Bar:
    """A progress bar of a build; `callback` goes into `stepwell.build`."""

    def __init__(self, progress: Progress | None, task: Any) -> None:
        self._progress, self._task = progress, task

    def callback(self, stage: str, done: int, total: int) -> None:
        """Show that a stage begins."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total, stage=stage)


@contextmanager
def progress_bar(description: str, quiet: bool) -> Generator[Bar]:
    """A bar on standard error for as long as the block runs; nothing if `quiet`."""
    if quiet:
        yield Bar(None, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[stage]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None, stage="")
        yield Bar(progress, task)


def with_unit(value: float, unit: str) -> str:
    """A number with a metric prefix: `1.5 GFLOP`, `30.0 kB`."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 1000:
            whole = prefix == "" and value == int(value)
            return f"{value:.0f} {unit}" if whole else f"{value:.1f} {prefix}{unit}"
        value /= 1000
    return f"{value:.1f} T{unit}"
