"""Split iteration dims where a map takes them apart.

`%x[k floordiv 64, k mod 64]` over `k: 768` becomes `%x[k1, k0]` over `k1: 12, k0: 64`
when all maps stay free of `floordiv` and `mod`, so that every walk is linear.
"""

from __future__ import annotations

from stepwell.dialects.access import AccessMap
from stepwell.dialects.dims import Atom, Dim, symbol
from stepwell.dialects.fusion import KernelOp
from stepwell.dialects.quasi_affine import as_symbol, split_multiples

from .nest import Nest, structured_ops


def split_dims(kernel: KernelOp) -> None:
    """Split dims of every structured op until no map divides one evenly."""
    taken = {name for op in structured_ops(kernel) for name in op.dim_names}
    for op in structured_ops(kernel):
        nest = Nest.of(op)
        while (found := _next_split(nest)) is not None:
            _split(nest, *found, taken)
        nest.build()


def _next_split(nest: Nest) -> tuple[str, Dim] | None:
    """A dim and the extent of its inner part."""
    extents = nest.extents
    for access in (*nest.in_maps, *nest.out_maps):
        for atom in _atoms(access):
            if atom.kind not in ("floordiv", "mod"):
                continue
            name, by = as_symbol(atom.operands[0]), atom.operands[1]
            if name in extents and _divides(by, extents[name]):
                return name, by
    return None


def _split(nest: Nest, name: str, by: Dim, taken: set[str]) -> None:
    outer, inner = _fresh(f"{name}1", taken), _fresh(f"{name}0", taken)
    space = []
    for dim, size, kind in nest.space:
        if dim != name:
            space.append((dim, size, kind))
            continue
        count, _ = split_multiples(size, by)
        space += [(outer, count, kind), (inner, by, kind)]
    nest.reindex({name: symbol(outer) * by + symbol(inner)}, space)


def _fresh(base: str, taken: set[str]) -> str:
    name = base
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _divides(by: Dim, size: Dim) -> bool:
    if by == size or by == 1:
        return False
    quotient, rest = split_multiples(size, by)
    return rest == 0 and quotient != 0


def _atoms(access: AccessMap) -> list[Atom]:
    exprs = [*access.results, *(g.expr for g in access.guards)]
    exprs += [e for i in access.indirects for e in i.index]
    found: list[Atom] = []
    for expr in exprs:
        _collect(expr, found)
    return found


def _collect(expr: Dim, found: list[Atom]) -> None:
    if isinstance(expr, int):
        return
    for monomial, _ in expr.terms:
        for atom in monomial:
            found.append(atom)
            for operand in atom.operands:
                _collect(operand, found)
