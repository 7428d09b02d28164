"""Cells and loops: how a schedule walks an iteration space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from stepwell.dialects.schedules import Schedule
from stepwell.dialects.shapes import Dim, ceildiv, dim_min

from .frame import Frame
from .program import Program

Body = Callable[[Frame, list[SSAValue]], list[SSAValue]]
"""Emits one round: gets its frame and the carried values, gives the next ones."""


@dataclass(frozen=True)
class Range:
    """A loop over `range(start, stop, step)` of a dim."""

    dim: str
    start: Dim
    stop: Dim
    step: int


def grid_of(schedule: Schedule, sizes: Mapping[str, Dim]) -> list[Dim]:
    """The size of each grid dim; at least one grid dim."""
    return [ceildiv(sizes[dim], extent) for dim, extent in schedule.grid] or [1]


def cell_frame(program: Program, schedule: Schedule) -> Frame:
    """The frame at the first point of the program's cell."""
    pairs = zip(schedule.grid, program.cells, strict=False)
    base = {dim: cell * extent for (dim, extent), cell in pairs}
    return Frame(base, schedule.tile)


def ranges_of(
    schedule: Schedule,
    sizes: Mapping[str, Dim],
    frame: Frame,
    dims: Sequence[str],
) -> list[Range]:
    """The loops over `dims` that cover the cell, outermost first.

    They come in the schedule's order; a dim that it leaves out gets the innermost loop,
    with its tile's extent as step.
    """
    named = [(dim, step) for dim, step in schedule.loops if dim in dims]
    rest = [(dim, schedule.extent(dim)) for dim in dims if schedule.step(dim) is None]
    ranges = [_range_of(schedule, sizes, frame, *pair) for pair in (*named, *rest)]
    return [one for one in ranges if one is not None]


def _range_of(
    schedule: Schedule, sizes: Mapping[str, Dim], frame: Frame, dim: str, step: int
) -> Range | None:
    size, cell = sizes[dim], schedule.cell(dim)
    if cell is None:
        return Range(dim, 0, size, step)
    if cell <= step:
        return None
    start = frame.base[dim]
    if size % cell == 0:
        return Range(dim, start, start + cell, step)
    return Range(dim, start, dim_min(start + cell, size), step)


def walk(
    program: Program,
    ranges: Sequence[Range],
    frame: Frame,
    carried: Sequence[SSAValue],
    body: Body,
) -> list[SSAValue]:
    """Nest the loops of `ranges` around `body`; the carried values at the end."""
    if not ranges:
        return body(frame, list(carried))
    first, *inner = ranges
    bounds = (first.start, first.stop, first.step)
    with program.loop(first.dim, *bounds, carried) as loop:
        here = frame.at({first.dim: loop.index})
        loop.yielded = walk(program, inner, here, loop.carried, body)
    return loop.results


def walk_flat(
    program: Program,
    ranges: Sequence[Range],
    frame: Frame,
    carried: Sequence[SSAValue],
    body: Body,
) -> list[SSAValue]:
    """The same rounds in one loop: its counter is taken apart.

    So what a round loads can be fetched while earlier rounds run, across the ends of
    all loops.
    """
    rounds = [ceildiv(one.stop - one.start, one.step) for one in ranges]
    inner: list[tuple[Range, Dim, Dim]] = []
    total: Dim = 1
    for one, count in zip(reversed(ranges), reversed(rounds), strict=True):
        inner.append((one, total, count))
        total = total * count
    name = "".join(one.dim for one in ranges)
    with program.loop(name, 0, total, 1, carried) as loop:
        here = {
            one.dim: one.start + loop.index // below % count * one.step
            for one, below, count in inner[:-1]
        }
        one, below, _ = inner[-1]
        here[one.dim] = one.start + loop.index // below * one.step
        loop.yielded = body(frame.at(here), loop.carried)
    return loop.results


def ragged(
    sizes: Mapping[str, Dim], frame: Frame, dims: Sequence[str]
) -> tuple[str, ...]:
    """Those of `dims` whose tiles may reach past the size."""
    axes = dict(frame.axes)
    return tuple(d for d in dims if d in axes and sizes[d] % axes[d] != 0)
