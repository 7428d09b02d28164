"""How many grid cells a kernel is cut into, and along which dims."""

from __future__ import annotations

from stepwell.dialects.schedules import Extents
from stepwell.dialects.shapes import Dim
from stepwell.dialects.target import Target

CELL_SECONDS = 80e-6
"""Work that a grid cell should hold: some hundred times what it costs to fetch one."""

CELLS_PER_THREAD = 4
"""Cells that each thread should get, so that an uneven last round costs little."""

CLOCK = 2.5e9
"""Cycles per second of a server core under vector load."""

ROUND_UP = 1.5
"""How much more than its share a cell may get so that all cells are equal."""


class Cutter:
    """Cuts dims into cells, outermost first, until there are as many as wanted.

    Along a dim of known size a cell is a share of the whole. Along a symbolic one it is
    as much as `CELL_SECONDS` allow, so that larger sizes become more cells.
    """

    def __init__(self, cycles: float, target: Target) -> None:
        self._left = wanted_cells(cycles, target)
        self._cycles = cycles
        self._threads = target.threads
        self._grid: dict[str, int] = {}

    @property
    def grid(self) -> Extents:
        """The cells so far."""
        return tuple(self._grid.items())

    @property
    def left(self) -> int:
        """How many parts each of the cells so far should still be cut into."""
        return self._left

    def each(self, dim: str, estimated: int) -> None:
        """Give every index of a dim a cell of its own."""
        self._set(dim, estimated, 1)

    def take(self, dim: str, estimated: int, extent: int) -> None:
        """Cut a dim into cells of a given extent."""
        self._set(dim, estimated, extent)

    def cut(self, dim: str, size: Dim, estimated: int, unit: int = 1) -> None:
        """Cut a dim into cells of whole units, if there is need."""
        share = divide(estimated, self._left, unit) if self._left > 1 else None
        if not isinstance(size, int):
            per_unit = self._cycles / max(1, -(-estimated // unit))
            most = max(1, round(CELL_SECONDS * CLOCK / per_unit)) * unit
            if self._threads > 1:
                self._set(dim, estimated, most if share is None else min(share, most))
        elif share is not None and estimated > unit:
            self._set(dim, estimated, share)

    def _set(self, dim: str, estimated: int, extent: int) -> None:
        cells = -(-estimated // extent)
        self._grid[dim] = extent
        self._left = round(self._left / cells)
        self._cycles /= cells


def wanted_cells(cycles: float, target: Target) -> int:
    """The number of cells to cut work of `cycles` (of one core) into.

    One if it is not worth waking another thread; otherwise enough for each thread to
    get several.
    """
    seconds = cycles / CLOCK
    if target.threads == 1 or seconds < CELL_SECONDS / 16:
        return 1
    few = min(CELLS_PER_THREAD, 1 + round(seconds / (CELL_SECONDS / 16)))
    return max(round(seconds / CELL_SECONDS), few * target.threads)


def divide(size: int, parts: int, unit: int = 1) -> int:
    """The extent, in whole units, of each of at most `parts` pieces of `size`.

    A little more if all pieces are equal then.
    """
    units = -(-size // unit)
    least = max(1, -(-units // max(1, parts)))
    if size % unit == 0:
        for extent in range(least, int(least * ROUND_UP) + 1):
            if units % extent == 0:
                return extent * unit
    return least * unit
