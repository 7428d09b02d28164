"""What one shape of the inputs fixes: arena offsets, grids, tables of arguments.

A `Plan` is made once per shape and kept in an LRU by its context. Segments that depend
on late symbols are bound again for each new set of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stepwell.errors import EngineFileError
from stepwell.runtime.devices.interface import (
    BoundLaunch,
    BoundSegment,
    SegmentSpec,
    Workspace,
)
from stepwell.runtime.expressions import Expression, product
from stepwell.runtime.program import LinkedSegment, LinkedValue, Program

UNKNOWN_WORK = 1_000_000
"""FLOPs or bytes that a launch counts for whose work is not known."""
MAX_LATE_BINDINGS = 64


@dataclass(frozen=True)
class ArenaLayout:
    """Offsets of the slots whose sizes are known from the input shapes."""

    offsets: dict[int, int]
    nbytes: int

    @staticmethod
    def of(
        program: Program, bindings: Mapping[str, int], alignment: int
    ) -> ArenaLayout:
        """Lay out the slots one behind the other, each aligned."""
        offsets: dict[int, int] = {}
        end = 0
        for slot, size in enumerate(program.slots):
            if size.symbols <= bindings.keys():
                offsets[slot] = end
                end += -(-max(size(bindings), 0) // alignment) * alignment
        return ArenaLayout(offsets, end)


def check_places(program: Program, bindings: Mapping[str, int]) -> None:
    """Check that every tensor of known size fits into its slot, and every view into
    what it is a view of.

    Raises:
        EngineFileError: one does not: the engine's memory plan is wrong.
    """
    sizes = Sizes(bindings)
    for index, value in enumerate(program.values):
        unit = 1
        if value.place == "slot":
            room = sizes.of(program.slots[value.index])
        elif value.place == "alias":
            source = program.values[value.index]
            room, unit = sizes.nbytes(source), source.dtype.itemsize
        else:
            continue
        start, nbytes = sizes.of(value.offset), sizes.nbytes(value)
        if room is None or start is None or nbytes is None:
            continue
        if start < 0 or start * unit + nbytes > room:
            raise EngineFileError(
                f"expected value {index} within the {room} B of its {value.place}"
            )


class Sizes:
    """Values of expressions for one set of symbols, each computed once."""

    def __init__(self, bindings: Mapping[str, int]) -> None:
        self._bindings = bindings
        self._known: dict[int, int | None] = {}

    def of(self, expression: Expression) -> int | None:
        """The value; None if it depends on other symbols."""
        # Expressions are shared, and live as long as the program: see read_expression.
        key = id(expression)
        if key not in self._known:
            is_known = expression.symbols <= self._bindings.keys()
            self._known[key] = expression(self._bindings) if is_known else None
        return self._known[key]

    def required(self, expression: Expression) -> int:
        """The value. Raises `InputError` if it depends on other symbols."""
        value = self.of(expression)
        return expression(self._bindings) if value is None else value

    def nbytes(self, value: LinkedValue) -> int | None:
        """The bytes of a tensor; None if a dim is not known."""
        count = value.dtype.itemsize
        for dim in value.dims:
            extent = self.of(dim)
            if extent is None:
                return None
            count *= extent
        return count


class Plan:
    """Everything about one shape that does not change from run to run.

    Attributes:
        bindings: the early symbols.
    """

    def __init__(
        self, program: Program, bindings: dict[str, int], workspace: Workspace
    ) -> None:
        self.program = program
        self.bindings = bindings
        check_places(program, bindings)
        self.arena = ArenaLayout.of(program, bindings, workspace.alignment)
        self._workspace = workspace
        self._segments: dict[tuple[int, ...], BoundSegment] = {}

    def segment(
        self,
        segment: LinkedSegment,
        bindings: Mapping[str, int],
        address: Callable[[int], int],
        moves: int,
    ) -> BoundSegment:
        """The segment, prepared for these symbols.

        `address` gives the address of a value in the arena or among the weights; it
        changes for late segments when `moves` does.
        """
        late = segment.late
        key = (segment.number, moves, *(bindings[n] for n in late)) if late else None
        key = key or (segment.number,)
        bound = self._segments.get(key)
        if bound is None:
            spec = bind_segment(self.program, segment, bindings, address)
            bound = self._workspace.bind(spec)
            self._segments[key] = bound
            if len(self._segments) > MAX_LATE_BINDINGS + len(self.program.segments):
                self._segments.pop(next(iter(self._segments)))
        return bound


def bind_segment(
    program: Program,
    segment: LinkedSegment,
    bindings: Mapping[str, int],
    address: Callable[[int], int],
) -> SegmentSpec:
    """Compute the grids and the arguments of every launch of a segment."""
    sizes, table = Sizes(bindings), program.manifest.kernels
    launches: list[BoundLaunch] = []
    dynamic: dict[int, list[tuple[int, int]]] = {}
    for number, launch in enumerate(segment.launches):
        addresses = [0 if v in segment.dynamic else address(v) for v in launch.views]
        for at, value in enumerate(launch.views):
            if value in segment.dynamic:
                dynamic.setdefault(value, []).append((number, at))
        integers = [sizes.required(integer) for integer in launch.integers]
        names = table[launch.kernel].symbols
        count = cells(program.grids[launch.kernel], names, integers, sizes, bindings)
        launches.append(
            BoundLaunch(launch.kernel, launch.views, addresses, integers, names, count)
        )
    return SegmentSpec(launches, dynamic, _work(segment, sizes))


def cells(
    grid: Sequence[Expression],
    names: Sequence[str],
    integers: Sequence[int],
    sizes: Sizes,
    bindings: Mapping[str, int],
) -> int:
    """The cells of a grid whose extents are expressions of the kernel's symbols.

    Most kernels call them what the engine does; then their values are shared.
    """
    own = dict(zip(names, integers, strict=True))
    if all(bindings.get(name) == value for name, value in own.items()):
        extents = [sizes.required(extent) for extent in grid]
    else:
        extents = [extent(own) for extent in grid]
    return product(max(extent, 0) for extent in extents)


def _work(segment: LinkedSegment, sizes: Sizes) -> int:
    """Operations or bytes of all launches, whichever is more."""
    total = 0
    for launch in segment.launches:
        total += max(sizes.of(one) or 0 for one in launch.work) or UNKNOWN_WORK
    return total
