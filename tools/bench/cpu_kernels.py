"""Speed of the CPU micro-kernel: GFLOP/s of packed matrix products by register tile.

    python tools/bench/cpu_kernels.py 196 512 1024

Times are CPU time of one thread, the best of many interleaved runs, because other
processes disturb a clock more than they disturb the work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from xdsl.context import Context
from xdsl.parser import Parser

from stepwell.codegen.cpu.jit import LoadedKernel
from stepwell.dialects import tile
from stepwell.dialects.registry import register_dialects

TILES = ((6, 64), (8, 48), (9, 48), (12, 32), (14, 32))
ROUNDS = 40


def program(m: int, k: int, n: int, rows: int, columns: int) -> str:
    """`y = x @ w`, w packed in panels of `columns`; a cell is one panel."""
    panels, blocks = -(-n // columns), -(-m // rows)
    return f"""
tile.func @matmul(%x: !tile.view<{m}x{k}xf32>,
    %w: !tile.view<{panels}x{k}x{columns}xf32>,
    %y: !tile.view<{m}x{panels * columns}xf32>) grid (%j = {panels}) {{
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %blocks = arith.constant {blocks} : index
  %rows = arith.constant {rows} : index
  %columns = arith.constant {columns} : index
  %start = tile.full 0.0 : !tile.tile<{rows}x{columns}xf32>
  scf.for %i = %zero to %blocks step %one {{
    %p = arith.muli %i, %rows : index
    %q = arith.muli %j, %columns : index
    %a = tile.load %x[%p, 0] over [0, 1] : !tile.tile<{rows}x{k}xf32>
    %b = tile.load %w[%j, 0, 0] over [1, 2] : !tile.tile<{k}x{columns}xf32>
    %d = tile.dot %a, %b, %start : !tile.tile<{rows}x{columns}xf32>
    tile.store %d, %y[%p, %q] over [0, 1]
  }}
  tile.return
}}"""


class Case:
    """One register tile on one problem, compiled, with its arrays."""

    def __init__(self, m: int, k: int, n: int, rows: int, columns: int) -> None:
        context = Context()
        register_dialects(context)
        text = program(m, k, n, rows, columns)
        (func,) = Parser(context, text).parse_module().ops
        assert isinstance(func, tile.FuncOp)
        self.name = f"{rows}x{columns}"
        self.flops = 2 * m * k * n
        self.kernel = LoadedKernel(func)
        rng = np.random.default_rng(0)
        panels = -(-n // columns)
        self.arrays = [
            rng.standard_normal(shape).astype(np.float32)
            for shape in ((m, k), (panels, k, columns), (m, panels * columns))
        ]
        self.words = self.kernel.words(self.arrays, {})
        self.best = float("inf")

    def check(self) -> float:
        """The largest error relative to NumPy's product."""
        self.run()
        x, w, y = self.arrays
        want = x @ w.transpose(1, 0, 2).reshape(x.shape[1], -1)
        return float(np.abs(y - want).max() / np.abs(want).max())

    def run(self) -> None:
        """One timed run."""
        start = time.thread_time()
        self.kernel.kernel(self.words.ctypes.data, 0, self.kernel.cells({}))
        self.best = min(self.best, time.thread_time() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line per register tile."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("m", 196), ("k", 256), ("n", 256)):
        parser.add_argument(name, type=int, nargs="?", default=default)
    options = parser.parse_args(arguments)
    sizes = options.m, options.k, options.n
    cases = [Case(*sizes, rows, columns) for rows, columns in TILES]
    for case in cases:
        error = case.check()
        assert error < 1e-5, f"{case.name}: relative error {error}"
    for _ in range(ROUNDS):
        for case in cases:
            case.run()
    for case in cases:
        print(f"{case.name:>6} {case.flops / case.best / 1e9:6.0f} GFLOP/s")


if __name__ == "__main__":
    main()
