"""`stepwell explain`: why a kernel is one launch, what is in it, and its schedule."""

from __future__ import annotations

import argparse

from stepwell.errors import OptionError
from stepwell.runtime import engine_file
from stepwell.runtime.summary import LaunchInfo, Summary, summarise

from .console import print_facts
from .inspect import amount, dims_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell explain`."""
    parser.add_argument("engine", help="an engine file")
    parser.add_argument("kernel", help="a kernel's name or source node, or part of one")


def execute(options: argparse.Namespace) -> int:
    """Print each kernel that the name fits."""
    summary = summarise(engine_file.read(options.engine).manifest)
    for index, launch in enumerate(find(summary, options.kernel)):
        if index:
            print()
        print_launch(launch)
    return 0


def find(summary: Summary, text: str) -> list[LaunchInfo]:
    """Launches of this name or node; else those whose name holds the text.

    Raises:
        OptionError: there is none.
    """
    launches = summary.launches
    exact = [one for one in launches if text == one.name or text in one.nodes]
    found = exact or [one for one in launches if text in one.name]
    if not found:
        names = [one.name for one in launches]
        raise OptionError(
            f"expected a kernel of the engine, got {text!r}",
            notes=[f"kernels: {', '.join(names[:20])}{' ...' * (len(names) > 20)}"],
        )
    return found


def print_launch(launch: LaunchInfo) -> None:
    """One launch: what it computes, how, and where fusion stopped."""
    print_facts(
        [
            ("kernel", launch.name),
            ("nodes", ", ".join(launch.nodes) or "?"),
            ("ops", ", ".join(launch.ops) or "?"),
            ("grid", dims_text(launch.grid)),
            ("schedule", launch.schedule or "?"),
            ("work", amount(launch.flops, "FLOP")),
            ("traffic", amount(launch.nbytes, "B")),
        ]
    )
    print("not fused with its neighbours because:")
    for reason in launch.reasons or ("it has none left, or all were fused",):
        print(f"  - {reason}")
