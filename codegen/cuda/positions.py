"""Where in a tile the registers of a thread stand, as index expressions.

A coordinate is a linear function over F2 of (register, lane, warp). What depends on the
thread is emitted once and becomes a leaf of the index space, whose multiple and bound
are known; what a register adds is a number. So the algebra of dims decides which
addresses are consecutive, aligned and inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects.dims import Dim, DimExpr
from stepwell.dialects.layouts import LANE, REGISTER, WARP, TileLayout

from .bits import Linear, emit_linear, linear_of
from .kernel import Kernel


@dataclass(frozen=True)
class Coordinate:
    """One dim of a layout: functions of the thread, and per register which one it is.

    Register r is at `threads[which[r]](thread) + add[r]`.
    """

    threads: tuple[Linear, ...]
    which: tuple[int, ...]
    add: tuple[int, ...]


@lru_cache(maxsize=4096)
def coordinates_of(layout: TileLayout) -> tuple[Coordinate, ...]:
    """The coordinates of a layout, dim by dim."""
    return tuple(_coordinate(c) for c in layout.coordinates)


def _coordinate(values: np.ndarray) -> Coordinate:
    tables = np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(len(values), -1)
    starts = tables.min(axis=1)
    threads: list[Linear] = []
    known: dict[bytes, int] = {}
    which: list[int] = []
    for table, start in zip(tables, starts, strict=True):
        moved = table - start
        key = moved.tobytes()
        if key not in known:
            known[key] = len(threads)
            threads.append(linear_of(moved))
        which.append(known[key])
    return Coordinate(tuple(threads), tuple(which), tuple(int(s) for s in starts))


def positions(k: Kernel, layout: TileLayout, dim: int) -> list[Dim]:
    """The coordinate along `dim` of every register of this thread."""
    known = coordinates_of(layout)[dim]
    parts = [_thread_part(k, function) for function in known.threads]
    return [parts[w] + add for w, add in zip(known.which, known.add, strict=True)]


def _thread_part(k: Kernel, function: Linear) -> Dim:
    """A function of the thread as `unit * leaf`."""
    bases = [basis for basis in (function.start, *function.bases) if basis]
    if not bases:
        return 0
    unit = min(basis & -basis for basis in bases)
    key = f"thread {id(k.group)} {function}"
    known = k.space.recall(key)
    if known is None:
        reduced = Linear(
            function.start // unit, tuple(basis // unit for basis in function.bases)
        )
        value = emit_linear(k.b, reduced, k.group.thread)
        extent = int(reduced.table().max()) + 1
        known = k.space.leaf("t", value, extent)
        k.space.keep(key, known)
    assert isinstance(known, int | DimExpr)
    return unit * known


@lru_cache(maxsize=4096)
def holders(layout: TileLayout) -> tuple[tuple[int, ...], int]:
    """Who stands for an element that several hold: registers, and a mask of threads.

    Each element is held once by the listed registers of the threads whose index has no
    bit of the mask.
    """
    free = layout.base.free_bits()
    mask = free.get(LANE, 0) | free.get(WARP, 0) << (layout.lanes.bit_length() - 1)
    count = layout.base.input_sizes.get(REGISTER, 1)
    spare = free.get(REGISTER, 0)
    own = tuple(r for r in range(layout.registers) if not (r % count) & spare)
    return own, mask


def is_holder(k: Kernel, layout: TileLayout) -> SSAValue | None:
    """Whether this thread stands for what it holds; None where all do."""
    _, mask = holders(layout)
    if mask == 0:
        return None
    key = f"holder {id(k.group)} {mask}"
    known = k.space.recall(key)
    if known is None:
        known = k.b.icmp("eq", k.arith("and", k.group.thread, mask), k.number(0))
        k.space.keep(key, known)
    assert isinstance(known, SSAValue)
    return known
