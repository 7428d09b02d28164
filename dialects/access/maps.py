"""Access maps, and what is made of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

import numpy as np

from stepwell.dialects.dims import Dim, product, substitute, symbol, symbols_of
from stepwell.dialects.quasi_affine import (
    INDIRECT,
    Extents,
    as_symbol,
    coefficient,
    evaluate_grid,
    is_indirect,
    is_within,
    simplify,
)

from .digits import collapsed, digits_of

Fill: TypeAlias = int | float


class Stride(StrEnum):
    """How the address moves when one dim advances by one."""

    BROADCAST = "broadcast"
    CONTIGUOUS = "contiguous"
    STRIDED = "strided"
    IRREGULAR = "irregular"


@dataclass(frozen=True)
class Guard:
    """The condition `0 <= expr < size`."""

    expr: Dim
    size: Dim

    def substitute(self, values: Mapping[str, Dim]) -> Guard:
        """The guard with symbols replaced."""
        return Guard(substitute(self.expr, values), substitute(self.size, values))


@dataclass(frozen=True)
class Indirect:
    """A value read from input `operand` at the element `index`."""

    operand: int
    index: tuple[Dim, ...]


@dataclass(frozen=True)
class AccessMap:
    """Sends the points of an iteration space to elements of a tensor.

    Args:
        dims: names of the iteration dims.
        results: one expression per dim of the tensor, over dims, symbols and `at$i`.
        guards: conditions under which the element is touched.
        fill: what a read gives where a guard fails; None when there are no guards or
            the map is a write.
        indirects: `at$i` is the value of `indirects[i]`.
    """

    dims: tuple[str, ...]
    results: tuple[Dim, ...]
    guards: tuple[Guard, ...] = ()
    fill: Fill | None = None
    indirects: tuple[Indirect, ...] = ()

    @staticmethod
    def identity(dims: Sequence[str]) -> AccessMap:
        """The map that reads element `dims` of a tensor of the same rank."""
        return AccessMap(tuple(dims), tuple(symbol(name) for name in dims))

    @cached_property
    def used_dims(self) -> frozenset[str]:
        """The iteration dims that the element or a guard depends on."""
        return self._symbols() & frozenset(self.dims)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The model's symbols that appear: neither dims nor indirect terms."""
        names = self._symbols() - frozenset(self.dims)
        return frozenset(name for name in names if not is_indirect(name))

    @property
    def is_identity(self) -> bool:
        """Whether the map reads element `dims`, unconditionally."""
        return not self.guards and tuple(map(as_symbol, self.results)) == self.dims

    @property
    def is_projection(self) -> bool:
        """Whether each result is a distinct dim or a constant, unconditionally."""
        names = [as_symbol(e) for e in self.results if not isinstance(e, int)]
        known = [name for name in names if name in self.dims]
        return not self.guards and len(set(known)) == len(names)

    def substitute(self, values: Mapping[str, Dim], dims: Sequence[str]) -> AccessMap:
        """The map over `dims`, with each old dim replaced by an expression."""
        return AccessMap(
            tuple(dims),
            tuple(substitute(expr, values) for expr in self.results),
            tuple(guard.substitute(values) for guard in self.guards),
            self.fill,
            tuple(
                Indirect(i.operand, tuple(substitute(e, values) for e in i.index))
                for i in self.indirects
            ),
        )

    def rename(self, names: Mapping[str, str]) -> AccessMap:
        """The map with dims renamed."""
        dims = [names.get(name, name) for name in self.dims]
        return self.substitute({k: symbol(v) for k, v in names.items()}, dims)

    def with_dims(self, dims: Sequence[str]) -> AccessMap:
        """The same map over another list of dims, which holds all used ones."""
        missing = self.used_dims - set(dims)
        if missing:
            raise ValueError(f"expected dims with {sorted(missing)}, got {list(dims)}")
        return replace(self, dims=tuple(dims))

    def compose(self, outer: AccessMap) -> AccessMap | None:
        """The map `point -> self(outer(point))`, over the dims of `outer`.

        `outer` gives one expression per dim of `self`. Reading through it first tests
        the guards of `outer`, then those of `self`; None when the two fill with
        different values.
        """
        if len(outer.results) != len(self.dims):
            raise ValueError(
                f"expected {len(self.dims)} results, got {len(outer.results)}"
            )
        if self.guards and outer.guards and not _same_fill(self.fill, outer.fill):
            return None
        offset = len(outer.indirects)
        values: dict[str, Dim] = {
            f"{INDIRECT}{i}": symbol(f"{INDIRECT}{i + offset}")
            for i in range(len(self.indirects))
        }
        values |= dict(zip(self.dims, outer.results, strict=True))
        inner = self.substitute(values, outer.dims)
        guards = dict.fromkeys((*outer.guards, *inner.guards))
        return AccessMap(
            outer.dims,
            inner.results,
            tuple(guards),
            outer.fill if outer.guards else self.fill,
            outer.indirects + inner.indirects,
        )

    def shift_operands(self, shift: Callable[[int], int]) -> AccessMap:
        """The map with the operand numbers of its indirect terms changed."""
        if not self.indirects:
            return self
        moved = tuple(Indirect(shift(i.operand), i.index) for i in self.indirects)
        return replace(self, indirects=moved)

    def simplify(self, extents: Extents) -> AccessMap:
        """The map with expressions resolved and guards that always hold dropped."""
        guards = (
            Guard(simplify(g.expr, extents), simplify(g.size, extents))
            for g in self.guards
        )
        kept = tuple(
            dict.fromkeys(g for g in guards if not is_within(g.expr, g.size, extents))
        )
        return AccessMap(
            self.dims,
            tuple(simplify(expr, extents) for expr in self.results),
            kept,
            self.fill if kept else None,
            tuple(
                Indirect(i.operand, tuple(simplify(e, extents) for e in i.index))
                for i in self.indirects
            ),
        )

    def split(self, name: str, outer: str, inner: str, factor: Dim) -> AccessMap:
        """The map with `name` replaced by `outer * factor + inner`.

        The caller keeps `outer * factor + inner` below the old extent, by a guard if
        the factor does not divide it.
        """
        position = self.dims.index(name)
        dims = (*self.dims[:position], outer, inner, *self.dims[position + 1 :])
        return self.substitute({name: symbol(outer) * factor + symbol(inner)}, dims)

    def collapse(
        self, names: Sequence[str], merged: str, extents: Extents
    ) -> AccessMap | None:
        """The map with adjacent dims `names` replaced by one, row-major.

        None unless every expression is linear in the merge, so that no `floordiv` or
        `mod` of the merged dim remains.
        """
        start = self.dims.index(names[0])
        if self.dims[start : start + len(names)] != tuple(names):
            return None
        dims = (*self.dims[:start], merged, *self.dims[start + len(names) :])
        parts = self._expressions()
        moved = [collapsed(expr, names, merged, extents) for expr in parts]
        if any(expr is None for expr in moved):
            return None
        return self._with_expressions(dims, [e for e in moved if e is not None])

    def inverse(self, extents: Extents, names: Sequence[str]) -> list[Dim] | None:
        """Each dim as an expression of the tensor's indices `names`.

        None unless the map is guard-free, direct, and reaches every dim through
        results of the form `c1 * a + c2 * b + ... + k` in mixed radix. The expressions
        hold for elements the map reaches.
        """
        if self.guards or self.indirects:
            return None
        found: dict[str, Dim] = {}
        for expr, name in zip(self.results, names, strict=True):
            digits = digits_of(expr, self.dims, extents)
            if digits is None:
                return None
            rest: Dim = symbol(name) - digits.offset
            for dim, factor in digits.factors:
                if dim in found:
                    return None
                found[dim] = rest // factor
                rest = rest % factor if factor != 1 else 0
        one = {name: 0 for name in self.dims if extents[name] == 1}
        known = {**one, **found}
        if any(name not in known for name in self.dims):
            return None
        return [known[name] for name in self.dims]

    def is_injective(self, extents: Extents) -> bool:
        """Whether different points are proved to touch different elements."""
        if self.indirects:
            return False
        seen: set[str] = set()
        for expr in self.results:
            digits = digits_of(expr, self.dims, extents)
            if digits is None:
                return False
            seen |= {name for name, _ in digits.factors}
        return all(name in seen or extents[name] == 1 for name in self.dims)

    def address(self, strides: Sequence[Dim]) -> Dim:
        """The offset of the element in units of one element."""
        total: Dim = 0
        for expr, stride in zip(self.results, strides, strict=True):
            total = total + expr * stride
        return total

    def stride_along(self, name: str, strides: Sequence[Dim]) -> Dim | None:
        """How far the address moves per step of dim `name`; None when not constant."""
        for i in self.indirects:
            if any(name in symbols_of(expr) for expr in i.index):
                return None
        split = coefficient(self.address(strides), name)
        if split is None or symbols_of(split[0]) & set(self.dims):
            return None
        return split[0]

    def classify(self, name: str, shape: Sequence[Dim]) -> Stride:
        """How dim `name` walks over a row-major tensor of `shape`."""
        stride = self.stride_along(name, row_major(shape))
        if stride is None:
            return Stride.IRREGULAR
        if stride == 0:
            return Stride.BROADCAST
        return Stride.CONTIGUOUS if stride == 1 else Stride.STRIDED

    def evaluate(
        self,
        grid: Mapping[str, np.ndarray | int],
        read: Callable[[int, tuple[np.ndarray | int, ...]], np.ndarray] | None = None,
    ) -> tuple[tuple[np.ndarray | int, ...], np.ndarray | bool]:
        """Indices per tensor dim, and where the guards hold.

        Args:
            grid: an array of index values per dim, and a number per symbol.
            read: `read(operand, index)` gives the values of an indirect operand.
        """
        values = dict(grid)
        for number, indirect in enumerate(self.indirects):
            if read is None:
                raise ValueError("expected a reader for the map's indirect terms")
            index = tuple(evaluate_grid(expr, values) for expr in indirect.index)
            values[f"{INDIRECT}{number}"] = read(indirect.operand, index)
        inside: np.ndarray | bool = True
        for guard in self.guards:
            at = evaluate_grid(guard.expr, values)
            inside = inside & (at >= 0) & (at < evaluate_grid(guard.size, values))
        return tuple(evaluate_grid(expr, values) for expr in self.results), inside

    def _expressions(self) -> list[Dim]:
        parts = list(self.results)
        for guard in self.guards:
            parts += [guard.expr, guard.size]
        for indirect in self.indirects:
            parts += indirect.index
        return parts

    def _with_expressions(self, dims: tuple[str, ...], parts: list[Dim]) -> AccessMap:
        """The map over `dims` whose `_expressions` are `parts`."""
        queue = iter(parts)
        results = tuple(next(queue) for _ in self.results)
        guards = tuple(Guard(next(queue), next(queue)) for _ in self.guards)
        indirects = tuple(
            Indirect(i.operand, tuple(next(queue) for _ in i.index))
            for i in self.indirects
        )
        return AccessMap(dims, results, guards, self.fill, indirects)

    def _symbols(self) -> frozenset[str]:
        return frozenset().union(*(symbols_of(e) for e in self._expressions()))

    def body_text(self) -> str:
        """The map without its dims: `[n, 2 * p - 1] where [2 * p - 1 < 56] else 0.0`"""
        text = _brackets(self.results)
        if self.guards:
            text += f" where {_brackets(f'{g.expr} < {g.size}' for g in self.guards)}"
            text += f" else {self.fill!r}" if self.fill is not None else ""
        if self.indirects:
            pairs = enumerate(self.indirects)
            texts = (
                f"{INDIRECT}{n} = {i.operand}{_brackets(i.index)}" for n, i in pairs
            )
            text += f" with {_brackets(texts)}"
        return text

    def __str__(self) -> str:
        return f"({', '.join(self.dims)}) -> {self.body_text()}"


def row_major(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """The strides, in elements, of a contiguous tensor of `shape`."""
    return tuple(product(shape[position + 1 :]) for position in range(len(shape)))


def _same_fill(left: Fill | None, right: Fill | None) -> bool:
    if left is None or right is None:
        return left is right
    return left == right or (math.isnan(left) and math.isnan(right))


def _brackets(parts: Iterable[object]) -> str:
    return f"[{', '.join(map(str, parts))}]"
