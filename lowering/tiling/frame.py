"""Where a tile stands in the iteration space of a kernel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from stepwell.dialects.schedules import Extents
from stepwell.dialects.shapes import Dim


@dataclass(frozen=True)
class Frame:
    """The points of an iteration space that one tile covers.

    A dim's name means the same throughout a kernel, so one frame serves all of its ops.

    Attributes:
        base: the index of the tile's first point along each dim: an expression over
            program ids, loop counters and symbols. A dim that is not named stands at 0.
        axes: the dims along which the tile extends, with its extents, in the order of
            the tile's own dims.
    """

    base: Mapping[str, Dim]
    axes: Extents

    @property
    def extents(self) -> tuple[int, ...]:
        """The extents of the tile."""
        return tuple(extent for _, extent in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """The dims that the tile spans."""
        return tuple(name for name, _ in self.axes)

    def extents_over(self, dims: Collection[str]) -> tuple[int, ...]:
        """The extents, with 1 for each axis that is not in `dims`."""
        return tuple(n if name in dims else 1 for name, n in self.axes)

    def at(self, base: Mapping[str, Dim]) -> Frame:
        """The frame moved to other indices along some dims."""
        return Frame({**self.base, **base}, self.axes)

    def spanning(self, axes: Extents) -> Frame:
        """The frame with other axes."""
        return Frame(self.base, axes)
