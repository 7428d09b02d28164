"""`StridedSlice`: Python's indexing as five masks over begin, end and strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np

from stepwell.dialects.shapes import Dim
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.values import as_dim_array

Bound: TypeAlias = Dim | None


@dataclass(frozen=True)
class Part:
    """One dim of a slice: a range `begin:end:step`, or one index (`end` unused)."""

    begin: Bound
    end: Bound
    step: int
    is_index: bool = False


Entry: TypeAlias = Part | EllipsisType | None
"""A dim's part, `...`, or None for a new dim."""


@dataclass(frozen=True)
class SliceSpec:
    """The entries between the brackets of `x[...]`, in order."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, node: Node, begin: Any, end: Any, strides: Any) -> SliceSpec:
        """The slice that a node's masks and inputs describe."""
        masks = {
            name: int(node.attribute(f"{name}_mask"))
            for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
        }
        rows = zip(
            as_dim_array(np.asarray(begin)),
            as_dim_array(np.asarray(end)),
            np.asarray(strides).tolist(),
            strict=True,
        )
        entries: list[Entry] = []
        for i, (first, last, step) in enumerate(rows):
            bit = 1 << i
            if masks["ellipsis"] & bit:
                entries.append(...)
            elif masks["new_axis"] & bit:
                entries.append(None)
            elif masks["shrink_axis"] & bit:
                entries.append(Part(first, None, 1, is_index=True))
            else:
                low = None if masks["begin"] & bit else first
                high = None if masks["end"] & bit else last
                entries.append(Part(low, high, step))
        return cls(tuple(entries))

    def index(self, rank: int) -> tuple[Any, ...]:
        """The index as NumPy takes it; its bounds must be plain numbers."""
        del rank
        return tuple(
            entry
            if not isinstance(entry, Part)
            else entry.begin
            if entry.is_index
            else slice(entry.begin, entry.end, entry.step)
            for entry in self.entries
        )

    def per_dim(self, rank: int) -> list[Part | None]:
        """The parts with `...` written out: one per dim of x, and None for new dims."""
        taken = sum(isinstance(entry, Part) for entry in self.entries)
        whole = [Part(None, None, 1)] * (rank - taken)
        entries: list[Part | None] = []
        has_ellipsis = False
        for entry in self.entries:
            if isinstance(entry, EllipsisType):
                entries += whole
                has_ellipsis = True
            else:
                entries.append(entry)
        return entries if has_ellipsis else [*entries, *whole]


def kept_dims(parts: Sequence[Part | None], sizes: Sequence[Dim]) -> list[Dim]:
    """The dims of the result, from the sizes of the sliced dims of x."""
    left = list(sizes)
    dims: list[Dim] = []
    for part in parts:
        if part is None:
            dims.append(1)
            continue
        size = left.pop(0)
        if not part.is_index:
            dims.append(size)
    return dims
