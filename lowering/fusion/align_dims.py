"""Give the dims of a kernel's structured ops common names.

An op that reads another's result walks over the same dims; here they get the producer's
names, and behind a contraction also its order. Where the reader is finer (`o` read as
`h * 64 + e`) the producer's dim is split.
"""

from __future__ import annotations

from stepwell.dialects.dims import Dim, substitute, symbol, symbols_of
from stepwell.dialects.fusion import GenericOp, KernelOp
from stepwell.dialects.fusion.structured import Iterator, StructuredOp
from stepwell.dialects.movement import tensor_dims
from stepwell.dialects.quasi_affine import as_symbol, coefficient, simplify
from stepwell.dialects.shapes import element_of, tensor_type

from .nest import Nest, is_map, structured_ops


def align_dims(kernel: KernelOp) -> None:
    """Rename, reorder and split dims so that one name is one dim."""
    sizes: dict[str, Dim] = {}
    for op in structured_ops(kernel):
        aligned = _align(op, sizes)
        sizes |= aligned.extents


def _align(op: StructuredOp, sizes: dict[str, Dim]) -> StructuredOp:
    op = _refine_producers(op)
    nest = Nest.of(op)
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
    _reorder(nest)
    return nest.build()


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
    parallel = [name for name, _, kind in producer.space if kind in _KEPT]
    tensor = tensor_dims(len(written.results))
    inverse = written.with_dims(parallel).inverse(producer.extents, tensor)
    if inverse is None:
        return {}
    at = dict(zip(tensor, nest.in_maps[position].results, strict=True))
    return {
        name: simplify(substitute(expr, at), nest.extents)
        for name, expr in zip(parallel, inverse, strict=True)
    }


_KEPT = (Iterator.PARALLEL, Iterator.SCAN, Iterator.SORT)


def _reorder(nest: Nest) -> None:
    """Walk over the dims in the order of the one contraction read."""
    for value in nest.inputs:
        producer = value.owner
        if not isinstance(producer, GenericOp) or is_map(producer):
            continue
        order = [n for n, _, kind in producer.space if kind is Iterator.PARALLEL]
        if set(order) == set(nest.names) and tuple(order) != nest.names:
            by_name = {entry[0]: entry for entry in nest.space}
            nest.reindex({}, [by_name[name] for name in order])
            return


def _refine_producers(op: StructuredOp) -> StructuredOp:
    """Split dims of reductions whose result `op` reads in finer steps."""
    nest = Nest.of(op)
    for position in range(len(nest.inputs)):
        producer = nest.inputs[position].owner
        if not isinstance(producer, GenericOp) or is_map(producer):
            continue
        if sum(1 for _ in nest.inputs[position].uses) > 1:
            continue
        finer = {
            name: digits
            for name, expr in _producer_dims(nest, position).items()
            if (digits := _digits(expr, nest)) is not None
        }
        if finer:
            _refine(producer, finer, nest, position)
    return nest.build()


def _digits(expr: Dim, nest: Nest) -> list[tuple[str, Dim]] | None:
    """The reader's dims that make up a producer's dim, the largest step first."""
    used = [name for name in nest.names if name in symbols_of(expr)]
    if len(used) < 2:
        return None
    rest: Dim = expr
    digits: list[tuple[str, Dim]] = []
    for name in used:
        split = coefficient(rest, name)
        if split is None:
            return None
        digits.append((name, split[0]))
        rest = split[1]
    digits.sort(key=lambda digit: _magnitude(digit[1]), reverse=True)
    return digits if rest == 0 else None


def _magnitude(step: Dim) -> tuple[int, int]:
    if isinstance(step, int):
        return 0, step
    return max(len(m) for m, _ in step.terms), abs(step.terms[0][1])


def _refine(
    producer: GenericOp,
    finer: dict[str, list[tuple[str, Dim]]],
    nest: Nest,
    position: int,
) -> None:
    """Let `producer` walk over the reader's dims and write one dim of each."""
    target = Nest.of(producer)
    values: dict[str, Dim] = {}
    space: list[tuple[str, Dim, Iterator]] = []
    for name, size, kind in target.space:
        if name not in finer:
            space.append((name, size, kind))
            continue
        total: Dim = 0
        for ours, step in finer[name]:
            space.append((ours, nest.extents[ours], kind))
            total = total + symbol(ours) * step
        values[name] = total
    if len({name for name, _, _ in space}) != len(space):
        return
    read = dict(_producer_dims(nest, position))
    target.reindex(values, space)
    kept = [(n, size) for n, size, kind in space if kind is Iterator.PARALLEL]
    index = tuple(symbol(name) for name, _ in kept)
    written = target.out_maps[0]
    target.out_maps = [type(written)(target.names, index)]
    element = element_of(producer.results[0])
    target.types = [tensor_type([size for _, size in kept], element)]
    ours = {name for digits in finer.values() for name, _ in digits}
    nest.in_maps[position] = type(written)(
        nest.names,
        tuple(symbol(name) if name in ours else read[name] for name, _ in kept),
    )
    nest.inputs[position] = target.build().results[0]
    nest.changed = True
