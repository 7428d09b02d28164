"""`make demo`: a trained OCR model from ONNX to engines that read text from a picture.

Usage: python tools/demo.py [PICTURE]   (without one, it draws a picture of its own)
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import stepwell
from stepwell.tools.models import model_path
from stepwell.tools.ocr import (
    Network,
    detector_input,
    draw_text,
    find_boxes,
    line_input,
    read_text,
)

THREADS = 2
LINES = (
    "Stepwell walks a model down the stairs",
    "nn, fusion, tile, llvm, engine",
    "464 nodes of ONNX, read on a CPU",
)
SHAPES = {
    "ocr_det": {"x": "1x3x32..1280x32..1280:1x3x224x640"},
    "ocr_rec": {"x": "1x3x48x48..2048:1x3x48x480"},
}


@dataclass(frozen=True)
class Peers:
    """One network under both runtimes, with the time its build took, in seconds."""

    engine: stepwell.Engine
    session: onnxruntime.InferenceSession
    build_seconds: float

    def ours(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The engine's answer."""
        return self.engine(x)

    def theirs(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """onnxruntime's answer."""
        return np.asarray(self.session.run(None, {"x": x})[0])


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options)


def build(name: str, progress: Progress) -> Peers:
    """Build one network's engine, with a bar over the compiler's steps."""
    path = model_path(name)
    bar = progress.add_task(f"build {name}", total=None, step="")

    def report(step: str, done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total, step=step)

    start = time.perf_counter()
    engine = stepwell.build(path, shapes=SHAPES[name], threads=THREADS, progress=report)
    seconds = time.perf_counter() - start
    return Peers(engine, _session(path), seconds)


def median_ms(network: Network, x: NDArray[np.float32], runs: int = 20) -> float:
    """Median time of a warm call, in milliseconds."""
    network(x)
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        network(x)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def relative_error(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """max|a - b| / max|b|; infinite when anything is NaN."""
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    return error if np.isfinite(error) else float("inf")


def comparison(rows: list[tuple[str, Peers, NDArray[np.float32]]]) -> Table:
    """The final table: shape, times, and how far the two runtimes' answers differ."""
    table = Table(title=f"Stepwell beside onnxruntime, {THREADS} threads")
    columns = ("network", "input", "build s", "stepwell ms", "onnxruntime ms")
    for column in (*columns, "relative error"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name, peers, x in rows:
        table.add_row(
            name,
            "x".join(map(str, x.shape)),
            f"{peers.build_seconds:.1f}",
            f"{median_ms(peers.ours, x):.1f}",
            f"{median_ms(peers.theirs, x):.1f}",
            f"{relative_error(peers.ours(x), peers.theirs(x)):.1e}",
        )
    return table


def characters(path: Path) -> list[str]:
    """The recogniser's alphabet, kept in its model's metadata."""
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return metadata["character"].splitlines()


def main(arguments: list[str]) -> int:
    """Returns 0 when both runtimes read the same text."""
    console = Console()
    picture = Image.open(arguments[0]) if arguments else draw_text(LINES)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[step]}")) as progress:
        detect, recognise = [build(name, progress) for name in SHAPES]
    alphabet = characters(model_path("ocr_rec"))
    ours = read_text(picture, detect.ours, recognise.ours, alphabet)
    theirs = read_text(picture, detect.theirs, recognise.theirs, alphabet)
    for line in ours:
        console.print(f"  [bold]{line}[/bold]")
    page = detector_input(picture)
    box = find_boxes(detect.ours(page), picture.size)[0]
    rows = [
        ("ocr_det", detect, page),
        ("ocr_rec", recognise, line_input(picture, box)),
    ]
    console.print(comparison(rows))
    same = ours == theirs
    console.print("Both read the same text." if same else "The texts differ!")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
