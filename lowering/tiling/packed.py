"""Reads of packed tensors: `w[o floordiv 64, r, s, c, o mod 64]` becomes affine.

Along an axis whose tiles never cross a multiple of the factor, `o` is split into
`o1 * 64 + o0`: then `o floordiv 64` is `o1`, one number for the whole tile, and
`o mod 64` is `o0`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from stepwell.dialects.access import AccessMap, Guard
from stepwell.dialects.dims import Atom
from stepwell.dialects.quasi_affine import as_symbol
from stepwell.dialects.schedules import Extents
from stepwell.dialects.shapes import (
    Dim,
    Shape,
    ceildiv,
    divisor,
    symbol,
    symbols_of,
)


@dataclass(frozen=True)
class Split:
    """A dim replaced by `outer * factor + inner`."""

    dim: str
    factor: int

    @property
    def outer(self) -> str:
        """The name of the dim that counts whole factors."""
        return f"{self.dim}1"

    @property
    def inner(self) -> str:
        """The name of the dim inside one factor."""
        return f"{self.dim}0"


def find_split(
    access: AccessMap, axes: Extents, base: Mapping[str, Dim]
) -> Split | None:
    """A split of an axis that removes a floordiv or mod from `access`, if any."""
    for name, extent in axes:
        for factor in sorted(_factors(access, name)):
            whole = factor % extent == 0 and divisor(base[name]) % extent == 0
            if whole or (base[name] == 0 and extent <= factor):
                return Split(name, factor)
    return None


def apply_split(
    access: AccessMap, split: Split, sizes: Mapping[str, Dim], shape: Shape
) -> tuple[AccessMap, dict[str, Dim]]:
    """The map and the sizes of its dims after the split.

    Points past the old size fail a guard, unless a tensor of `shape` holds them as
    padding.
    """
    size = sizes[split.dim]
    counts = {split.outer: ceildiv(size, split.factor), split.inner: split.factor}
    extents = {**sizes, **counts}
    result = access.split(split.dim, split.outer, split.inner, split.factor)
    result = result.simplify(extents)
    held = dict(zip(map(as_symbol, result.results), shape, strict=True))
    padded = all(held.get(name) == count for name, count in counts.items())
    if size % split.factor != 0 and not padded:
        whole = symbol(split.outer) * split.factor + symbol(split.inner)
        guards = (*result.guards, Guard(whole, size))
        fill = 0 if result.fill is None else result.fill
        result = replace(result, guards=guards, fill=fill)
    return result, extents


def _factors(access: AccessMap, name: str) -> set[int]:
    expressions = [*access.results, *(guard.expr for guard in access.guards)]
    return {
        by
        for expr in expressions
        for atom in _atoms(expr)
        if atom.kind in ("floordiv", "mod")
        and isinstance(by := atom.operands[1], int)
        and name in symbols_of(atom.operands[0])
    }


def _atoms(expr: Dim) -> Iterator[Atom]:
    if isinstance(expr, int):
        return
    for monomial, _ in expr.terms:
        for atom in monomial:
            yield atom
            for operand in atom.operands:
                yield from _atoms(operand)
