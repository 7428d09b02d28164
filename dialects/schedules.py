"""`#fusion.schedule`: how a kernel is cut into cells, loops and tiles.

A schedule is data. `assign-schedules` computes one for each kernel, a person may edit
it in the printed IR, and `convert-fusion-to-tile` follows it to the letter:

```mlir
#fusion.schedule<contraction, grid = [n = 1, o = 64], loops = [p = 1, q = 14, r = 1],
                 tile = [q = 14, o = 64, c = 256]>
```

* `grid`: a grid cell covers so many indices of the dim; a dim of extent 1 that is not
  named is at index 0. The cells are numbered row-major in the order given.
* `loops`: loops inside a cell, outermost first, each with its step. A loop over a grid
  dim runs over the cell's part of it, any other loop over the whole dim. A step above
  one and equal to the tile's extent walks tiles.
* `tile`: the dims that tiles span, with their extents. Sizes that the extents do not
  divide are masked.
* `options`: whole numbers that only some anchors read.

A reduction kernel has one schedule for its grid, and each of its generics one of its
own with the loops and the tile of that generic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

Extents = tuple[tuple[str, int], ...]
"""Dim names with a number each, in order."""

_LISTS = ("grid", "loops", "tile", "options")


class Anchor(Enum):
    """What kind of kernel it is: which converter reads its schedule."""

    MAP = "map"
    REDUCTION = "reduction"
    CONTRACTION = "contraction"
    ATTENTION = "attention"
    SCAN = "scan"
    SORT = "sort"


@dataclass(frozen=True)
class Schedule:
    """The cells, loops and tiles of one kernel; see the module's text."""

    anchor: Anchor
    grid: Extents = ()
    loops: Extents = ()
    tile: Extents = ()
    options: Extents = ()

    def cell(self, dim: str) -> int | None:
        """Indices of `dim` that a grid cell covers; None if not a grid dim."""
        return dict(self.grid).get(dim)

    def step(self, dim: str) -> int | None:
        """Step of the in-cell loop over `dim`; None if there is none."""
        return dict(self.loops).get(dim)

    def extent(self, dim: str) -> int:
        """Extent of tiles along `dim`: 1 for a dim that they do not span."""
        return dict(self.tile).get(dim, 1)

    def option(self, name: str, default: int = 0) -> int:
        """The whole number that `options` holds under `name`."""
        return dict(self.options).get(name, default)

    def with_options(self, **values: int) -> Schedule:
        """The same schedule with some options added or changed."""
        merged = dict(self.options) | values
        return replace(self, options=tuple(sorted(merged.items())))


@irdl_attr_definition
class ScheduleAttr(Data[Schedule]):
    """A `Schedule` in the IR."""

    name = "fusion.schedule"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Schedule:
        """`<anchor (, list = [dim = n, ...])*>`"""
        with parser.in_angle_brackets():
            anchor = Anchor(parser.parse_keyword_in([a.value for a in Anchor]))
            lists: dict[str, Extents] = {}
            while parser.parse_optional_punctuation(",") is not None:
                key = parser.parse_keyword_in(_LISTS)
                parser.parse_punctuation("=")
                lists[key] = _parse_extents(parser)
        return Schedule(anchor, **lists)

    def print_parameter(self, printer: Printer) -> None:
        """The form that `parse_parameter` reads; empty lists are left out."""
        with printer.in_angle_brackets():
            printer.print_string(self.data.anchor.value)
            for key in _LISTS:
                extents: Extents = getattr(self.data, key)
                if extents:
                    text = ", ".join(f"{dim} = {n}" for dim, n in extents)
                    printer.print_string(f", {key} = [{text}]")


def _parse_extents(parser: AttrParser) -> Extents:
    def entry() -> tuple[str, int]:
        name = parser.parse_identifier()
        parser.parse_punctuation("=")
        number = parser.parse_integer(allow_boolean=False)
        if number < 0:
            parser.raise_error(f"expected a whole number for {name}, got {number}")
        return name, number

    entries = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, entry)
    names = [name for name, _ in entries]
    if len(set(names)) != len(names):
        parser.raise_error(f"expected each name once, got {', '.join(names)}")
    return tuple(entries)


SCHEDULE_ATTRIBUTE = "fusion.schedule"
"""The attribute of a kernel, or of a generic in a reduction kernel."""


def extents(pairs: Sequence[tuple[str, int]]) -> Extents:
    """A list of (dim, number) pairs as a schedule holds them."""
    return tuple((name, int(number)) for name, number in pairs)
