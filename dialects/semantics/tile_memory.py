"""Memory of tile programs on NumPy arrays: strict tensors, and views of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from stepwell.dialects.access import AccessMap
from stepwell.dialects.tile import CombineKind
from stepwell.errors import CompileError

from .scalars import Array

Index: TypeAlias = tuple[Array | int, ...]

UFUNCS: dict[CombineKind, np.ufunc] = {
    CombineKind.ADD: np.add,
    CombineKind.MUL: np.multiply,
    CombineKind.MAX: np.maximum,
    CombineKind.MIN: np.minimum,
    CombineKind.AND: np.bitwise_and,
    CombineKind.OR: np.bitwise_or,
}
"""How NumPy combines two values."""


@dataclass
class Memory:
    """An argument's array, and which cell last wrote each element."""

    name: str
    array: Array
    owners: Array | None = None

    def read(self, index: Index, mask: Array, cell: int) -> Array:
        """The elements where `mask` holds, anything elsewhere."""
        at = self._checked(index, mask, "read")
        if self.owners is not None:
            owners = self.owners[at]
            if np.any(mask & (owners >= 0) & (owners != cell)):
                self._fail("a cell reads an element that another cell writes")
        return self.array[at]

    def write(
        self,
        index: Index,
        values: Array,
        mask: Array,
        cell: int,
        kind: CombineKind | None,
    ) -> None:
        """Write, or combine with what is there, where `mask` holds."""
        at = tuple(i[mask] for i in self._checked(index, mask, "write"))
        values = values[mask]
        if not at:  # a tensor without dims: at most one element is written
            values = values.reshape(-1)[-1:].reshape(()) if values.size else self.array
        if kind is not None:
            UFUNCS[kind].at(self.array, at, values)
            return
        if self.owners is not None:
            self._check_owners(at, values, cell)
            self.owners[at] = cell
        self.array[at] = values
        if self.owners is not None and not _same(self.array[at], values):
            self._fail("a store gives one element two different values")

    def _check_owners(self, at: tuple[Array, ...], values: Array, cell: int) -> None:
        assert self.owners is not None
        owners = self.owners[at]
        foreign = (owners >= 0) & (owners != cell)
        if not _same(self.array[at][foreign], values[foreign]):
            self._fail("two cells write different values to one element")

    def _checked(self, index: Index, mask: Array, verb: str) -> tuple[Array, ...]:
        at: list[Array] = []
        for dim, (position, size) in enumerate(
            zip(index, self.array.shape, strict=True)
        ):
            position = np.broadcast_to(np.asarray(position), mask.shape)
            outside = mask & ((position < 0) | (position >= size))
            if np.any(outside):
                first = position[outside].flat[0]
                self._fail(
                    f"{verb} at index {first} of dim {dim}, whose size is {size}"
                )
            at.append(np.clip(position, 0, max(size - 1, 0)))
        return tuple(at)

    def _fail(self, summary: str) -> None:
        raise CompileError(f"tile program is wrong: {summary}", where=self.name)


def _same(left: Array, right: Array) -> bool:
    return left.tobytes() == right.tobytes()


@dataclass(frozen=True)
class View:
    """Memory under logical dims, at run time."""

    sizes: tuple[int, ...]
    memory: Memory
    access: AccessMap | None = None
    source: View | None = None
    indices: tuple[View, ...] = ()
    symbols: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def fill(self) -> float | int:
        """What a load gives outside the sizes, unless it says otherwise."""
        fill = None if self.access is None else self.access.fill
        return 0 if fill is None else fill

    def inside(self, index: Index) -> Array:
        """Where an index is within the sizes."""
        result: Array = np.asarray(True)
        for position, size in zip(index, self.sizes, strict=True):
            result = result & (np.asarray(position) >= 0) & (position < size)
        return result

    def read(self, index: Index, mask: Array, cell: int) -> Array:
        """The elements where `mask` holds and all guards do, else the fill value."""
        if self.access is None or self.source is None:
            return self.memory.read(index, mask, cell)
        place, guard = self._map(index, mask, cell)
        values = self.source.read(place, mask & guard, cell)
        return np.where(guard, values, np.asarray(self.fill).astype(values.dtype))

    def locate(self, index: Index, mask: Array, cell: int) -> tuple[Index, Array]:
        """The place in memory, and where it may be written."""
        if self.access is None or self.source is None:
            return index, mask
        place, guard = self._map(index, mask, cell)
        return self.source.locate(place, mask & guard, cell)

    def _map(self, index: Index, mask: Array, cell: int) -> tuple[Index, Array]:
        assert self.access is not None
        clipped = [
            np.clip(position, 0, max(size - 1, 0))
            for position, size in zip(index, self.sizes, strict=True)
        ]
        grid: dict[str, Any] = dict(self.symbols)
        grid |= zip(self.access.dims, clipped, strict=True)

        def read(operand: int, at: Index) -> Array:
            view = self.indices[operand]
            return view.read(at, mask & view.inside(at), cell).astype(np.int64)

        place, guard = self.access.evaluate(grid, read)
        return place, np.broadcast_to(np.asarray(guard), mask.shape)
