"""Linear layouts over F2: which element each (register, lane, warp) holds.

A layout is a matrix over the field of two elements. Its columns, the *bases*, say where
the powers of two of each input go: with `lane = [[0, 2], [0, 4], [1, 0], ...]` lane 1
holds column 2, lane 2 column 4, lane 4 row 1, and lane 7 the XOR of the three. So all
distributed and all swizzled memory layouts are one kind of object, and the questions a
code generator asks are linear algebra.

Source: "Linear Layouts: Robust Code Generation of Efficient Tensor Computation Using
F2" (arXiv 2505.23819) and Triton's `LinearLayout`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

import numpy as np

Basis: TypeAlias = tuple[int, ...]
"""A power of two of an input: the coordinates it moves, one per output."""

Array: TypeAlias = np.ndarray[Any, Any]


def log2(size: int) -> int:
    """The exponent of a power of two; `ValueError` for any other number."""
    if size < 1 or size & (size - 1):
        raise ValueError(f"expected a power of two, got {size}")
    return size.bit_length() - 1


@dataclass(frozen=True)
class LinearLayout:
    """A linear map from named inputs to named outputs, all of power-of-two sizes.

    Args:
        inputs: the name of each input with its bases, least significant bit first.
        outputs: the name of each output with its size.
    """

    inputs: tuple[tuple[str, tuple[Basis, ...]], ...]
    outputs: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        for name, size in self.outputs:
            if size < 1 or size & (size - 1):
                raise ValueError(f"expected a power of two for {name}, got {size}")
        for name, bases in self.inputs:
            for basis in bases:
                if len(basis) != len(self.outputs) or any(
                    not 0 <= b < n
                    for b, (_, n) in zip(basis, self.outputs, strict=False)
                ):
                    raise ValueError(
                        f"basis {list(basis)} of {name} is not inside "
                        f"{[n for _, n in self.outputs]}"
                    )

    @staticmethod
    def of(
        inputs: Mapping[str, Sequence[Sequence[int]]], outputs: Mapping[str, int]
    ) -> LinearLayout:
        """A layout from plain lists."""
        return LinearLayout(
            tuple((n, tuple(tuple(b) for b in bases)) for n, bases in inputs.items()),
            tuple(outputs.items()),
        )

    @staticmethod
    def identity(size: int, source: str, target: str) -> LinearLayout:
        """`target = source` for `size` values."""
        bases = tuple((1 << bit,) for bit in range(log2(size)))
        return LinearLayout(((source, bases),), ((target, size),))

    @staticmethod
    def zeros(size: int, source: str, target: str) -> LinearLayout:
        """All `size` values of `source` hold element 0: a broadcast."""
        return LinearLayout(((source, ((0,),) * log2(size)),), ((target, 1),))

    @cached_property
    def input_sizes(self) -> dict[str, int]:
        """The number of values of each input."""
        return {name: 1 << len(bases) for name, bases in self.inputs}

    @cached_property
    def output_sizes(self) -> dict[str, int]:
        """The number of values of each output."""
        return dict(self.outputs)

    @cached_property
    def bases(self) -> dict[str, tuple[Basis, ...]]:
        """The bases of each input, least significant bit first."""
        return dict(self.inputs)

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """All bases in order, each with its coordinates packed into one number."""
        return tuple(self._pack(b) for _, bases in self.inputs for b in bases)

    @property
    def size(self) -> int:
        """The number of elements of the output space."""
        return prod(n for _, n in self.outputs)

    def apply(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The coordinates of inputs; numbers or integer arrays that broadcast."""
        result: list[Any] = [0] * len(self.outputs)
        for name, bases in self.inputs:
            for bit, basis in enumerate(bases):
                on = (values[name] >> bit) & 1
                result = [r ^ (on * b) for r, b in zip(result, basis, strict=True)]
        return tuple(result)

    def rank(self) -> int:
        """The dimension of the image."""
        return len(_echelon(self.columns))

    @property
    def is_surjective(self) -> bool:
        """Whether every element is held somewhere."""
        return self.rank() == log2(self.size)

    @property
    def is_injective(self) -> bool:
        """Whether no element is held twice."""
        return self.rank() == len(self.columns)

    def free_bits(self) -> dict[str, int]:
        """Per input, the mask of bits that do not change the element: a broadcast.

        Bits are taken greedily, the first ones of the first inputs as significant.
        """
        seen: list[int] = []
        masks: dict[str, int] = {}
        for name, bases in self.inputs:
            masks[name] = 0
            for bit, basis in enumerate(bases):
                reduced = _reduce(self._pack(basis), seen)
                if reduced == 0:
                    masks[name] |= 1 << bit
                else:
                    seen = _echelon([*seen, reduced])
        return masks

    def then(self, outer: LinearLayout) -> LinearLayout:
        """The composition: this layout, then `outer`, whose inputs are our outputs."""
        if set(outer.input_sizes) != set(self.output_sizes):
            raise ValueError(
                f"expected inputs {sorted(self.output_sizes)}, "
                f"got {sorted(outer.input_sizes)}"
            )
        names = [name for name, _ in self.outputs]
        inputs = tuple(
            (
                name,
                tuple(
                    outer.apply(dict(zip(names, basis, strict=True))) for basis in bases
                ),
            )
            for name, bases in self.inputs
        )
        return LinearLayout(inputs, outer.outputs)

    def times(self, other: LinearLayout) -> LinearLayout:
        """The product: `self` on the low bits of inputs and outputs, then `other`."""
        outputs = dict(self.outputs)
        shift = {name: outputs.get(name, 1) for name, _ in other.outputs}
        for name, size in other.outputs:
            outputs[name] = outputs.get(name, 1) * size
        names = list(outputs)
        inputs: dict[str, list[Basis]] = {}
        for layout, scale in ((self, {}), (other, shift)):
            for name, bases in layout.inputs:
                moved = [layout._spread(b, names, scale) for b in bases]
                inputs.setdefault(name, []).extend(moved)
        return LinearLayout.of(inputs, outputs)

    def divide_left(self, tile: LinearLayout) -> LinearLayout | None:
        """The layout `q` with `tile.times(q) == self`, or None."""
        return self._divide(tile, low=True)

    def divide_right(self, tile: LinearLayout) -> LinearLayout | None:
        """The layout `q` with `q.times(tile) == self`, or None."""
        return self._divide(tile, low=False)

    def inverse(self) -> LinearLayout:
        """A layout from elements to inputs that this one undoes.

        Of several holders of an element it picks the one whose free bits are zero.

        Raises:
            ValueError: some element is held nowhere.
        """
        if not self.is_surjective:
            raise ValueError("expected a surjective layout")
        solver = _Solver(self.columns)
        inputs: list[tuple[str, tuple[Basis, ...]]] = []
        for position, (name, size) in enumerate(self.outputs):
            bases: list[Basis] = []
            for bit in range(log2(size)):
                unit = [0] * len(self.outputs)
                unit[position] = 1 << bit
                bases.append(self._unpack_inputs(solver.solve(self._pack(unit))))
            inputs.append((name, tuple(bases)))
        return LinearLayout(tuple(inputs), tuple(self.input_sizes.items()))

    def reorder_outputs(self, names: Sequence[str]) -> LinearLayout:
        """The same layout with its outputs in another order."""
        order = [[n for n, _ in self.outputs].index(name) for name in names]
        inputs = tuple(
            (name, tuple(tuple(b[i] for i in order) for b in bases))
            for name, bases in self.inputs
        )
        return LinearLayout(inputs, tuple(self.outputs[i] for i in order))

    def rename_outputs(self, names: Mapping[str, str]) -> LinearLayout:
        """The same layout with its outputs renamed."""
        outputs = tuple((names.get(n, n), size) for n, size in self.outputs)
        return LinearLayout(self.inputs, outputs)

    def collapse_output(self, name: str) -> LinearLayout:
        """The layout with one output forgotten: its size becomes 1."""
        at = [n for n, _ in self.outputs].index(name)
        inputs = tuple(
            (n, tuple(tuple(0 if i == at else v for i, v in enumerate(b)) for b in bs))
            for n, bs in self.inputs
        )
        outputs = tuple((n, 1 if n == name else size) for n, size in self.outputs)
        return LinearLayout(inputs, outputs)

    def _pack(self, basis: Sequence[int]) -> int:
        packed, shift = 0, 0
        for value, (_, size) in zip(basis, self.outputs, strict=True):
            packed |= value << shift
            shift += log2(size)
        return packed

    def _unpack_inputs(self, combination: int) -> Basis:
        values: list[int] = []
        for _, bases in self.inputs:
            values.append(combination & ((1 << len(bases)) - 1))
            combination >>= len(bases)
        return tuple(values)

    def _spread(
        self, basis: Basis, names: Sequence[str], scale: Mapping[str, int]
    ) -> Basis:
        moved = {
            name: value * scale.get(name, 1)
            for value, (name, _) in zip(basis, self.outputs, strict=True)
        }
        return tuple(moved.get(name, 0) for name in names)

    def _divide(self, tile: LinearLayout, *, low: bool) -> LinearLayout | None:
        for name, size in (*tile.output_sizes.items(),):
            if self.output_sizes.get(name, 0) % size:
                return None
        outputs = {
            name: size // tile.output_sizes.get(name, 1) for name, size in self.outputs
        }
        scale = {name: tile.output_sizes.get(name, 1) if low else 1 for name in outputs}
        inputs: dict[str, list[Basis]] = {}
        for name, bases in self.inputs:
            count = len(tile.bases.get(name, ()))
            if count > len(bases):
                return None
            rest = bases[count:] if low else bases[: len(bases) - count]
            inputs[name] = [
                tuple(v // scale[n] for v, (n, _) in zip(b, self.outputs, strict=True))
                for b in rest
            ]
        try:
            quotient = LinearLayout.of(inputs, outputs)
        except ValueError:
            return None
        product = tile.times(quotient) if low else quotient.times(tile)
        return quotient if product.same_map(self) else None

    def same_map(self, other: LinearLayout) -> bool:
        """Equality that ignores the order of inputs and outputs and empty inputs."""
        names = [name for name, _ in self.outputs]
        if dict(self.outputs) != dict(other.outputs):
            return False
        aligned = other.reorder_outputs(names)
        mine = {n: b for n, b in self.inputs if b}
        return mine == {n: b for n, b in aligned.inputs if b}


class _Solver:
    """Writes vectors as XORs of given columns."""

    def __init__(self, columns: Sequence[int]) -> None:
        self._pivots: dict[int, tuple[int, int]] = {}
        for position, column in enumerate(columns):
            vector, combination = self._reduce(column, 1 << position)
            if vector:
                self._pivots[vector.bit_length()] = (vector, combination)

    def solve(self, vector: int) -> int:
        """The mask of columns whose XOR is `vector`."""
        rest, combination = self._reduce(vector, 0)
        if rest:
            raise ValueError("expected a vector in the span of the columns")
        return combination

    def _reduce(self, vector: int, combination: int) -> tuple[int, int]:
        while vector and vector.bit_length() in self._pivots:
            pivot, made_of = self._pivots[vector.bit_length()]
            vector ^= pivot
            combination ^= made_of
        return vector, combination


def _reduce(vector: int, rows: Sequence[int]) -> int:
    for row in rows:
        vector = min(vector, vector ^ row)
    return vector


def _echelon(columns: Sequence[int]) -> list[int]:
    """Independent vectors of the same span, largest first."""
    rows: list[int] = []
    for column in columns:
        reduced = _reduce(column, rows)
        if reduced:
            rows = sorted([*rows, reduced], reverse=True)
    return rows
