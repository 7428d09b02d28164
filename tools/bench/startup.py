"""What an engine costs beside its kernels: loading, the first run, and a warm call.

Usage: python tools/bench/startup.py [--write]

Load and first run are timed in fresh processes that import only the runtime (median of
five); the overhead of a warm call is that of an engine whose one kernel adds eight
numbers. `--write` puts the table into docs/benchmarks/startup.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import onnx.parser

import stepwell
from stepwell.tools.models import model_path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "startup.md"

FRESH = """
import sys, time
import numpy as np
x = np.random.default_rng(0).standard_normal((1, 224, 224, 3), np.float32)
start = time.perf_counter()
import stepwell
engine = stepwell.load(sys.argv[1], threads=1)
loaded = time.perf_counter()
engine(x)
print(loaded - start, time.perf_counter() - loaded)
"""

TINY = """
<ir_version: 8, opset_import: ["": 18]>
tiny (float[8] x) => (float[8] y) { y = Add(x, x) }
"""


def load_and_first_run(path: Path, repeats: int = 5) -> tuple[float, float]:
    """Median seconds to import and load, and to run once, in a fresh process."""
    taken: list[list[float]] = []
    for _ in range(repeats):
        command = [sys.executable, "-c", FRESH, str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        taken.append([float(word) for word in result.stdout.split()])
    load, run = np.median(taken, axis=0)
    return float(load), float(run)


def warm_call_us(calls: int = 5000) -> float:
    """Median microseconds of a warm call whose kernel does next to nothing."""
    engine = stepwell.build(onnx.parser.parse_model(TINY), threads=1)
    x = {"x": np.arange(8, dtype=np.float32)}
    times: list[float] = []
    for _ in range(calls):
        start = time.perf_counter()
        engine.run(x)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times))


def main(arguments: list[str]) -> int:
    """Prints the table; `--write` keeps it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "open_nsfw.stepwell"
        stepwell.build(model_path("open_nsfw")).save(path)
        load, run = load_and_first_run(path)
    rows = (
        ("import stepwell and load open-nsfw", f"{1e3 * load:.0f} ms"),
        ("its first run, 1 thread", f"{1e3 * run:.0f} ms"),
        ("a warm call, everything but kernels", f"{warm_call_us():.0f} us"),
    )
    lines = ["| what | median |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    print("\n".join(lines))
    if "--write" in arguments:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        command = "Command: `python tools/bench/startup.py`"
        text = f"# Starting an engine\n\n{command}, {date.today()}.\n\n"
        PAGE.write_text(text + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
