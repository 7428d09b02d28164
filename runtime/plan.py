"""What one shape of the inputs fixes: arena offsets, grids, tables of arguments.

A `Plan` is made once per shape and kept in an LRU by its context. Segments that depend
on late symbols are bound again for each new set of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stepwell.errors import EngineFileError

from .devices.cpu import WORDS_PER_LAUNCH, Words
from .expressions import Expression, product
from .program import LinkedSegment, LinkedValue, Program

SLOT_ALIGNMENT = 64
PARALLEL_WORK = 1_000_000
"""FLOPs or bytes from which a segment is run by all threads: one thread does as much in
the 20 us or so that it takes to wake another."""
PARALLEL_WORK_OF_A_LAUNCH = 50_000
"""The same on the average of its launches: threads meet behind each of them."""
MAX_LATE_BINDINGS = 64

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class BoundSegment:
    """A segment as the device takes it.

    Attributes:
        launches: three words for each launch; `words` holds their arguments.
        address: of `launches`.
        dynamic: values with the positions in `words` of their addresses.
        is_large: whether several threads are worth waking.
    """

    launches: Words
    words: Words
    address: int
    count: int
    dynamic: tuple[tuple[int, tuple[int, ...]], ...]
    is_large: bool

    def address_of(self, launch: int) -> int:
        """The address of one launch."""
        return self.address + 8 * WORDS_PER_LAUNCH * launch


@dataclass(frozen=True)
class ArenaLayout:
    """Offsets of the slots whose sizes are known from the input shapes."""

    offsets: dict[int, int]
    nbytes: int

    @staticmethod
    def of(program: Program, bindings: Mapping[str, int]) -> ArenaLayout:
        """Lay out the slots one behind the other, each aligned to 64 bytes."""
        offsets: dict[int, int] = {}
        end = 0
        for slot, size in enumerate(program.slots):
            if size.symbols <= bindings.keys():
                offsets[slot] = end
                end += -(-max(size(bindings), 0) // SLOT_ALIGNMENT) * SLOT_ALIGNMENT
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
        self, program: Program, bindings: dict[str, int], kernels: tuple[int, ...]
    ) -> None:
        self.program = program
        self.bindings = bindings
        check_places(program, bindings)
        self.arena = ArenaLayout.of(program, bindings)
        self._kernels = kernels
        self._segments: dict[tuple[int, ...], BoundSegment] = {}

    def segment(
        self,
        segment: LinkedSegment,
        bindings: Mapping[str, int],
        address: Callable[[int], int],
        moves: int,
    ) -> BoundSegment:
        """The segment's tables for these symbols.

        `address` gives the address of a value in the arena or among the weights; it
        changes for late segments when `moves` does.
        """
        late = segment.late
        key = (segment.number, moves, *(bindings[n] for n in late)) if late else None
        key = key or (segment.number,)
        bound = self._segments.get(key)
        if bound is None:
            bound = bind_segment(
                self.program, segment, bindings, address, self._kernels
            )
            self._segments[key] = bound
            if len(self._segments) > MAX_LATE_BINDINGS + len(self.program.segments):
                self._segments.pop(next(iter(self._segments)))
        return bound


def bind_segment(
    program: Program,
    segment: LinkedSegment,
    bindings: Mapping[str, int],
    address: Callable[[int], int],
    kernels: tuple[int, ...],
) -> BoundSegment:
    """Compute the grids and fill in the arguments of every launch of a segment."""
    count, sizes = len(segment.launches), Sizes(bindings)
    launches = np.zeros((count, WORDS_PER_LAUNCH), np.int64)
    words = np.zeros(
        sum(len(one.views) + len(one.integers) for one in segment.launches) + 1,
        np.int64,
    )
    start, at = words.ctypes.data, 0
    dynamic: dict[int, list[int]] = {}
    table = program.manifest.kernels
    for row, launch in zip(launches, segment.launches, strict=True):
        row[1] = start + 8 * at
        for value in launch.views:
            if value in segment.dynamic:
                dynamic.setdefault(value, []).append(at)
            else:
                words[at] = address(value)
            at += 1
        integers = [sizes.required(integer) for integer in launch.integers]
        words[at : at + len(integers)] = integers
        at += len(integers)
        names = table[launch.kernel].symbols
        row[0] = kernels[launch.kernel]
        row[2] = cells(program.grids[launch.kernel], names, integers, sizes, bindings)
    positions = tuple((value, tuple(found)) for value, found in dynamic.items())
    is_large = count > 0 and launches[:, 2].max() > 1
    least = max(PARALLEL_WORK, count * PARALLEL_WORK_OF_A_LAUNCH)
    is_large = is_large and _work(segment, sizes) >= least
    address_ = launches.ctypes.data
    return BoundSegment(launches, words, address_, count, positions, is_large)


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
    """Operations or bytes of all launches, whichever is more; at least the threshold
    if some is not known."""
    total = 0
    for launch in segment.launches:
        total += max(sizes.of(one) or 0 for one in launch.work) or PARALLEL_WORK
    return total
