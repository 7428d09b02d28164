"""Give the dims of a kernel's structured ops common names.

A map behind a contraction is made to walk over the contraction's own parallel dims:

```
%0 = generic [m, n, reduction k] ... outs(add [m, n])
%1 = generic [i, j] ins(%0[j, i], %b[j, i]) outs(set [i, j])
```
becomes
```
%1 = generic [m, n] ins(%0[m, n], %b[m, n]) outs(set [n, m])
```
Any other reader of a result takes over the names of the producer's dims.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.dialects.access import AccessMap, Guard
from stepwell.dialects.dims import Dim, substitute, symbol
from stepwell.dialects.fusion import GenericOp, KernelOp
from stepwell.dialects.fusion.structured import Iterator, StructuredOp
from stepwell.dialects.movement import tensor_dims
from stepwell.dialects.quasi_affine import as_symbol, simplify

from .nest import Nest, is_final_map, is_map, structured_ops
from .split_dims import next_split, split_dim

KEPT = (Iterator.PARALLEL, Iterator.SCAN, Iterator.SORT)


def align_dims(kernel: KernelOp) -> None:
    """Rename and rebase so that one name is one dim."""
    sizes: dict[str, Dim] = {}
    for op in structured_ops(kernel):
        nest = Nest.of(op)
        if not _rebase(nest):
            _rename(nest, sizes)
        sizes |= nest.build().extents


def _rebase(nest: Nest) -> bool:
    """Walk over the dims of the one contraction that a map reads, if it reads one."""
    if not is_final_map(nest.op):
        return False
    for position, value in enumerate(nest.inputs):
        producer = value.owner
        if isinstance(producer, GenericOp) and not is_map(producer):
            return _rebase_on(nest, position, producer)
    return False


def _rebase_on(nest: Nest, position: int, producer: GenericOp) -> bool:
    while (found := next_split(nest, nest.in_maps[position])) is not None:
        split_dim(nest, *found, set(nest.names) | set(producer.dim_names))
    access = nest.in_maps[position]
    tensor = tensor_dims(len(access.results))
    inverse = access.inverse(nest.extents, tensor)
    if inverse is None:
        return False
    written = producer.out_maps[0]
    space = [entry for entry in producer.space if entry[2] is Iterator.PARALLEL]
    extents = {name: size for name, size, _ in space}
    at = dict(zip(tensor, written.results, strict=True))
    values = {
        name: simplify(substitute(expr, at), extents)
        for name, expr in zip(nest.names, inverse, strict=True)
    }
    nest.reindex(values, space)
    if written.guards:
        _guard_all(nest, written.guards)
    return True


def _guard_all(nest: Nest, guards: tuple[Guard, ...]) -> None:
    """Touch nothing where the producer writes nothing."""

    def over(access: AccessMap, fill: int | None) -> AccessMap:
        both = tuple(dict.fromkeys((*access.guards, *guards)))
        known = access.fill if access.guards else fill
        return AccessMap(access.dims, access.results, both, known, access.indirects)

    nest.in_maps = [over(access, 0) for access in nest.in_maps]
    nest.out_maps = [over(access, None) for access in nest.out_maps]


def _rename(nest: Nest, sizes: Mapping[str, Dim]) -> None:
    names = _shared_names(nest)
    taken = set(names.values())
    for name, size, _ in nest.space:
        if name in names:
            continue
        new = name
        while new in taken or sizes.get(new, size) != size:
            new += "_"
        names[name] = new
        taken.add(new)
    if any(old != new for old, new in names.items()):
        space = [(names[name], size, kind) for name, size, kind in nest.space]
        nest.reindex({old: symbol(new) for old, new in names.items()}, space)


def _shared_names(nest: Nest) -> dict[str, str]:
    """The reader's dims that are dims of the kernel's ops it reads, by their names."""
    names: dict[str, str] = {}
    for position in range(len(nest.inputs)):
        for theirs, expr in _producer_dims(nest, position).items():
            ours = as_symbol(expr)
            if ours in nest.extents and theirs not in names.values():
                names.setdefault(ours, theirs)
    return names


def _producer_dims(nest: Nest, position: int) -> dict[str, Dim]:
    """Each dim that the producer of an input writes by, over the reader's dims."""
    producer = nest.inputs[position].owner
    if not isinstance(producer, StructuredOp):
        return {}
    written = producer.out_maps[producer.results.index(nest.inputs[position])]
    kept = [name for name, _, kind in producer.space if kind in KEPT]
    tensor = tensor_dims(len(written.results))
    inverse = written.with_dims(kept).inverse(producer.extents, tensor)
    if inverse is None:
        return {}
    at = dict(zip(tensor, nest.in_maps[position].results, strict=True))
    return {
        name: simplify(substitute(expr, at), nest.extents)
        for name, expr in zip(kept, inverse, strict=True)
    }
