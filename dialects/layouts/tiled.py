"""Layouts of tiles: a linear base times a repeat per dim.

F2 has power-of-two extents, but good tiles are 192, 96 and 48 wide, or 6 rows high. So
a tile's layout is a linear base repeated a whole number of times along each dim: 64x192
is 64x64 three times. Repeats are in registers (or in memory), never in lanes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from .linear import Array, Basis, LinearLayout, log2

REGISTER, LANE, WARP, BLOCK, OFFSET = "register", "lane", "warp", "block", "offset"
"""The inputs: of a distributed tile the first four, of a tile in memory the last."""


def dim_name(dim: int) -> str:
    """The output of a linear layout that is tile dim `dim`."""
    return f"dim{dim}"


@dataclass(frozen=True)
class TileLayout:
    """Where each element of a tile is held.

    Args:
        base: from (register, lane, warp, block), or from the offset in elements for
            tiles in memory, to `dim0, dim1, ...`.
        repeat: how often the base stands along each dim.
        order: the dims that repeat, fastest first; empty if that is their own order.
    """

    base: LinearLayout
    repeat: tuple[int, ...]
    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        repeated = [d for d, n in enumerate(self.repeat) if n > 1]
        order = [d for d in self.order if d in repeated]
        if order and sorted(order) != repeated:
            raise ValueError(f"expected an order of {repeated}, got {order}")
        object.__setattr__(self, "order", () if order == repeated else tuple(order))
        names = tuple(dim_name(d) for d in range(len(self.repeat)))
        if tuple(n for n, _ in self.base.outputs) != names:
            raise ValueError(f"expected outputs {list(names)}")
        if any(n < 1 for n in self.repeat):
            raise ValueError(f"expected positive repeats, got {list(self.repeat)}")
        kinds = {name for name, _ in self.base.inputs}
        if kinds - {OFFSET} and kinds - {REGISTER, LANE, WARP, BLOCK}:
            raise ValueError(f"expected inputs of one kind, got {sorted(kinds)}")

    @staticmethod
    def of(
        inputs: Mapping[str, Sequence[Sequence[int]]],
        sizes: Sequence[int],
        repeat: Sequence[int] | None = None,
        order: Sequence[int] = (),
    ) -> TileLayout:
        """A layout from plain lists."""
        outputs = {dim_name(d): n for d, n in enumerate(sizes)}
        base = LinearLayout.of(inputs, outputs)
        return TileLayout(base, tuple(repeat or [1] * len(sizes)), tuple(order))

    @property
    def base_extents(self) -> tuple[int, ...]:
        """The extents of the base."""
        return tuple(n for _, n in self.base.outputs)

    @property
    def extents(self) -> tuple[int, ...]:
        """The extents of the tile."""
        return tuple(n * r for n, r in zip(self.base_extents, self.repeat, strict=True))

    @property
    def in_memory(self) -> bool:
        """Whether this is a layout of memory rather than of threads."""
        return OFFSET in self.base.input_sizes

    @property
    def registers(self) -> int:
        """The number of elements that one thread holds."""
        return self.base.input_sizes.get(REGISTER, 1) * prod(self.repeat)

    @property
    def lanes(self) -> int:
        """The number of lanes of a warp."""
        return self.base.input_sizes.get(LANE, 1)

    @property
    def warps(self) -> int:
        """The number of warps that hold the tile."""
        return self.base.input_sizes.get(WARP, 1)

    @cached_property
    def coordinates(self) -> tuple[Array, ...]:
        """The coordinates along each dim, of shape `[registers, lanes, warps]`.

        For a tile in memory: of shape `[elements]`, by offset.
        """
        sizes = self.base.input_sizes
        if self.in_memory:
            count = sizes[OFFSET]
            offset = np.arange(count * prod(self.repeat))
            coords = self.base.apply({OFFSET: offset % count})
            return self._add_repeats(coords, offset // count)
        count = sizes.get(REGISTER, 1)
        register = np.arange(self.registers)[:, None, None]
        values: dict[str, Any] = dict.fromkeys(sizes, 0)
        values |= {
            REGISTER: register % count,
            LANE: np.arange(self.lanes)[None, :, None],
            WARP: np.arange(self.warps)[None, None, :],
        }
        coords = self.base.apply(values)
        shape = (self.registers, self.lanes, self.warps)
        return tuple(
            np.broadcast_to(c, shape)
            for c in self._add_repeats(coords, register // count)
        )

    @property
    def _repeat_order(self) -> Sequence[int]:
        return self.order or range(len(self.repeat))

    def _add_repeats(self, coords: Sequence[Any], index: Any) -> tuple[Any, ...]:
        result = list(coords)
        for dim in self._repeat_order:
            result[dim] = (
                result[dim] + index % self.repeat[dim] * self.base_extents[dim]
            )
            index = index // self.repeat[dim]
        return tuple(result)

    def offset_of(self, coordinates: Sequence[Any]) -> Any:
        """The offset, in elements, of coordinates of a tile in memory."""
        if not self.in_memory:
            raise ValueError("expected a layout of memory")
        outer, scale = 0, 1
        for dim in self._repeat_order:
            outer = outer + coordinates[dim] // self.base_extents[dim] * scale
            scale *= self.repeat[dim]
        pairs = zip(coordinates, self.base_extents, strict=True)
        inner = [c % size for c, size in pairs]
        names = [name for name, _ in self.base.outputs]
        (offset,) = self._memory_inverse.apply(dict(zip(names, inner, strict=True)))
        return offset + outer * self.base.input_sizes[OFFSET]

    @cached_property
    def _memory_inverse(self) -> LinearLayout:
        return self.base.inverse()

    def permute(self, perm: Sequence[int]) -> TileLayout:
        """The layout of the transposed tile: dim `d` is the old dim `perm[d]`."""
        names = [dim_name(p) for p in perm]
        base = self.base.reorder_outputs(names).rename_outputs(
            {name: dim_name(d) for d, name in enumerate(names)}
        )
        order = tuple(list(perm).index(d) for d in self._repeat_order)
        return TileLayout(base, tuple(self.repeat[p] for p in perm), order)

    def slice(self, dim: int) -> TileLayout:
        """The layout of one row or column: `dim` has extent 1.

        A thread holds it once, where it held several elements along `dim`.
        """
        base = self.base.collapse_output(dim_name(dim))
        names = [name for name, _ in base.outputs]
        kept: list[Basis] = []
        for basis in base.bases.get(REGISTER, ()):
            grown = LinearLayout.of({REGISTER: [*kept, basis]}, dict(base.outputs))
            if grown.is_injective:
                kept.append(basis)
        inputs = {**base.bases, REGISTER: tuple(kept)}
        repeat = tuple(1 if d == dim else r for d, r in enumerate(self.repeat))
        outputs = {n: base.output_sizes[n] for n in names}
        order = tuple(d for d in self.order if d != dim)
        return TileLayout(LinearLayout.of(inputs, outputs), repeat, order)

    def lift(self, sizes: Sequence[int]) -> LinearLayout:
        """A linear layout of `sizes`: the base with parts of its repeats as bits.

        Raises:
            ValueError: a size is not the base's times a power of two that divides the
                repeat.
        """
        inner = OFFSET if self.in_memory else REGISTER
        extra: list[Basis] = []
        for dim, (size, base, repeat) in enumerate(
            zip(sizes, self.base_extents, self.repeat, strict=True)
        ):
            factor = size // base
            if size % base or repeat % factor:
                raise ValueError(f"cannot lift {base} times {repeat} to {size}")
            for bit in range(log2(factor)):
                unit = [0] * len(sizes)
                unit[dim] = base << bit
                extra.append(tuple(unit))
        inputs = dict(self.base.bases)
        inputs[inner] = (*inputs.get(inner, ()), *extra)
        return LinearLayout.of(inputs, {dim_name(d): n for d, n in enumerate(sizes)})
