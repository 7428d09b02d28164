"""How long the whole BERT-base takes from an exported program to `nn` ops.

Usage: python tools/bench/torch_import.py [--repeats 5] [--write]

The twelve layers, with random weights: torch's decomposition where one is needed, the
import with a copy of the weights, and the check of the result. `--write` puts the table
into docs/benchmarks/torch.md. Returns 1 if an import takes more than two seconds of the
processor. Needs transformers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from dataclasses import dataclass
from datetime import date

import torch

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.registry import register_dialects
from stepwell.importing import import_source
from stepwell.tools.bench import torchvision_ops
from stepwell.tools.bench.model_table import PAGES, write_section

LIMIT_S = 2.0
LAYERS = 12
VOCABULARY = 30522


@dataclass(frozen=True)
class Import:
    """The median times of one model's imports.

    Attributes:
        mode: whether batch and sequence are open.
        ops: how many operations the result has.
        wall_s: on the clock.
        cpu_s: of the processor; on a machine with other work, what counts.
    """

    mode: str
    ops: int
    wall_s: float
    cpu_s: float


def measure(mode: str, repeats: int) -> Import:
    """Export BERT-base, and import it again and again."""
    torchvision_ops.register()
    from stepwell.tools.bench.torch_cases import PAIR, Case, bert, masked
    from stepwell.tools.bench.torch_models import export

    case = Case("bert-base", lambda: bert(LAYERS, VOCABULARY), masked, PAIR)
    exported = export(case, case.make().eval(), case.inputs(2, 16), mode)
    wall, cpu, ops = [], [], 0
    for _ in range(repeats):
        context = StepwellContext()
        register_dialects(context)
        start = time.perf_counter(), time.process_time()
        module = import_source(exported, context)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
        ops = sum(1 for _ in module.walk())
    return Import(mode, ops, statistics.median(wall), statistics.median(cpu))


def section(found: list[Import], repeats: int) -> str:
    """The section of the page of PyTorch models."""
    lines = ["| shapes | ops | import s | processor s |", "|---|---|---|---|"]
    lines += [f"| {i.mode} | {i.ops} | {i.wall_s:.2f} | {i.cpu_s:.2f} |" for i in found]
    table = "\n".join(lines)
    return f"""## Import of the whole BERT-base

Command: `python tools/bench/torch_import.py`, {date.today()},
torch {torch.__version__}.

Twelve layers, 110 million weights: from the exported program to checked `nn` ops. Times
are medians of {repeats} imports, on the clock, which other work on the machine makes
longer, and of the processor.

{table}
"""


def main(arguments: list[str]) -> int:
    """Prints the table; 1 if an import takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [measure(mode, options.repeats) for mode in ("static", "dynamic")]
    text = section(found, options.repeats)
    print(text)
    if options.write:
        write_section(PAGES / "torch.md", text)
    return int(any(each.cpu_s > LIMIT_S for each in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
