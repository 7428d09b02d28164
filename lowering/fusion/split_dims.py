"""Split iteration dims where a map takes them apart.

`%x[k floordiv 64, k mod 64]` over `k: 768` becomes `%x[k1, k0]` over `k1: 12, k0: 64`
in all ops of the kernel, so that every walk is linear.
"""

from __future__ import annotations

from collections.abc import Iterator as Iter
from collections.abc import Set

from xdsl.ir import SSAValue

from stepwell.dialects.access import AccessMap
from stepwell.dialects.dims import Atom, Dim, symbol
from stepwell.dialects.fusion import KernelOp, YieldOp
from stepwell.dialects.fusion.structured import StructuredOp
from stepwell.dialects.quasi_affine import as_symbol, split_multiples

from .nest import Nest, structured_ops


def split_dims(kernel: KernelOp) -> bool:
    """Split dims throughout the kernel until no map divides one evenly.

    What feeds an op that stays whole (attention) keeps the dims that op knows. Returns
    whether there was a dim to split.
    """
    nests = [Nest.of(op) for op in structured_ops(kernel) if not _feeds_whole_op(op)]
    if _first_split(nests) is None:
        return False
    while (found := _first_split(nests)) is not None:
        name, by = found
        taken = {other for nest in nests for other in nest.names}
        for nest in nests:
            if name in nest.extents:
                split_dim(nest, name, by, taken)
    results: dict[SSAValue, SSAValue] = {}
    for nest in nests:
        nest.inputs = [results.get(value, value) for value in nest.inputs]
        old = list(nest.op.results)
        results |= dict(zip(old, nest.build().results, strict=True))
    return True


def next_split(nest: Nest, *maps: AccessMap) -> tuple[str, Dim] | None:
    """A dim that one of `maps` divides evenly, and the extent of its inner part."""
    extents = nest.extents
    for access in maps:
        for atom in _atoms(access):
            if atom.kind not in ("floordiv", "mod"):
                continue
            name, by = as_symbol(atom.operands[0]), atom.operands[1]
            if name in extents and _divides(by, extents[name]):
                return name, by
    return None


def split_dim(nest: Nest, name: str, by: Dim, taken: Set[str]) -> None:
    """Replace dim `name` by an outer and an inner one of extent `by`."""
    outer, inner = _fresh(f"{name}1", taken), _fresh(f"{name}0", taken)
    space = []
    for dim, size, kind in nest.space:
        if dim != name:
            space.append((dim, size, kind))
            continue
        count, _ = split_multiples(size, by)
        space += [(outer, count, kind), (inner, by, kind)]
    nest.reindex({name: symbol(outer) * by + symbol(inner)}, space)


def _feeds_whole_op(op: StructuredOp) -> bool:
    users = (use.operation for result in op.results for use in result.uses)
    return any(not isinstance(user, StructuredOp | YieldOp) for user in users)


def _first_split(nests: list[Nest]) -> tuple[str, Dim] | None:
    found = (next_split(nest, *nest.in_maps, *nest.out_maps) for nest in nests)
    return next((split for split in found if split is not None), None)


def _fresh(base: str, taken: Set[str]) -> str:
    while base in taken:
        base += "_"
    return base


def _divides(by: Dim, size: Dim) -> bool:
    if by in (size, 1):
        return False
    quotient, rest = split_multiples(size, by)
    return rest == 0 and quotient != 0


def _atoms(access: AccessMap) -> Iter[Atom]:
    for expr in access.results:
        yield from _atoms_of(expr)
    for guard in access.guards:
        yield from _atoms_of(guard.expr)
    for indirect in access.indirects:
        for expr in indirect.index:
            yield from _atoms_of(expr)


def _atoms_of(expr: Dim) -> Iter[Atom]:
    if isinstance(expr, int):
        return
    for monomial, _ in expr.terms:
        for atom in monomial:
            yield atom
            for operand in atom.operands:
                yield from _atoms_of(operand)
