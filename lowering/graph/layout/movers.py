"""Ops that any order of dims suits: they move to the order of their operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.nn.binary import BinaryOp
from stepwell.dialects.nn.unary import UnaryOp
from stepwell.dialects.shapes import Dim, dims_of, product
from stepwell.lowering.graph.matching import rank_of
from stepwell.lowering.rewriting import Outcome

from .engine import (
    Handlers,
    Twin,
    Walk,
    compose,
    inverse,
    permuted,
    permuted_type,
)


def record_transpose(op: nn.TransposeOp, walk: Walk) -> Outcome:
    """A transpose of the model is a twin already; two in a row are one.

    ```mlir
    %y = nn.transpose %x {p}        value %y, twin (%x, p)
    ```
    """
    perm = tuple(op.value("perm"))
    twin = walk.twin(op.operand)
    if twin is None:
        walk.twins[op.result] = Twin(op.operand, perm, sticky=False)
        return None
    perm = compose(twin.perm, perm)
    if perm == tuple(sorted(perm)):
        walk.replace(op, twin.source)
        return None
    back = walk.rewriter.emit(nn.TransposeOp(twin.source, perm=perm))
    walk.replace(op, back)
    walk.twins[back] = Twin(twin.source, perm, twin.sticky)
    return None


def move_elementwise(op: Operation, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.add %a, %b   ->   transpose(nn.add twin(%a), twin(%b))
    ```
    Moves if all large operands have twins of one order, or if one comes from an op
    that needs this order: then the other operand is transposed.
    """
    rank = rank_of(op.results[0])
    twins = [walk.twin(value) for value in op.operands]
    known = [twin for twin in twins if twin is not None and len(twin.perm) == rank]
    if not known:
        return None
    chosen = next((twin for twin in known if twin.sticky), known[0])
    agree = all(
        twin is not None and twin.perm == chosen.perm
        for value, twin in zip(op.operands, twins, strict=True)
        if is_large(value, rank, walk)
    )
    if not agree and not chosen.sticky:
        return "the operands are in different orders"
    operands = [walk.ordered(value, chosen.perm) for value in op.operands]
    move(op, operands, chosen, walk)
    return None


def is_large(value: SSAValue, rank: int, walk: Walk) -> bool:
    """Whether transposing `value` costs: not for constants and broadcast operands."""
    if rank_of(value) < rank or walk.rewriter.array(value) is not None:
        return False
    return sum(dim != 1 for dim in dims_of(value)) > 1


def move(
    op: Operation,
    operands: Sequence[SSAValue],
    twin: Twin,
    walk: Walk,
    **changed: Any,
) -> None:
    """Rebuild `op` over `operands` in the order of `twin`, with parameters changed."""
    definition = type(op).get_irdl_definition().properties  # type: ignore[attr-defined]
    properties = dict(op.properties)
    for name, value in changed.items():
        properties[name] = definition[name].constr.attribute(value)
    new = type(op).create(
        operands=operands,
        properties=properties,
        attributes=op.attributes,
        result_types=[permuted_type(op.results[0], twin.perm)],
    )
    walk.finish(op, new, twin.perm, twin.sticky)


def move_along_axis(op: Any, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.softmax %x {axis}   ->   transpose(nn.softmax twin(%x) {axis of the twin})
    ```
    """
    twin = walk.twin(op.operands[0])
    if twin is not None:
        axis = twin.perm[op.value("axis") % len(twin.perm)]
        move(op, [twin.source], twin, walk, axis=axis)
    return None


def move_matmul(op: nn.MatmulOp, walk: Walk) -> Outcome:
    """The rows of a product with one matrix come in any order.

    ```mlir
    nn.matmul %a, %matrix   ->   transpose(nn.matmul twin(%a), %matrix)
    ```
    """
    twin = walk.twin(op.lhs)
    if twin is None:
        return None
    last = len(twin.perm) - 1
    if rank_of(op.rhs) != 2 or twin.perm[last] != last:
        return "the columns of the left factor move, or the right one is no matrix"
    move(op, [twin.source, op.rhs], twin, walk)
    return None


def move_concat(op: nn.ConcatOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.concat %a, %b {axis}   ->   transpose(nn.concat twin(%a), twin(%b) {axis'})
    ```
    """
    twins = [walk.twin(value) for value in op.inputs]
    known = [twin for twin in twins if twin is not None]
    if not known:
        return None
    chosen = next((twin for twin in known if twin.sticky), known[0])
    agree = all(twin is not None and twin.perm == chosen.perm for twin in twins)
    if not agree and not chosen.sticky:
        return "the operands are in different orders"
    axis = chosen.perm[op.value("axis") % len(chosen.perm)]
    operands = [walk.ordered(value, chosen.perm) for value in op.inputs]
    move(op, operands, chosen, walk, axis=axis)
    return None


def move_slice(op: nn.SliceOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.slice %x {..}   ->   transpose(nn.slice twin(%x) {.. permuted})
    ```
    """
    twin = walk.twin(op.operand)
    if twin is not None:
        names = ("starts", "limits", "steps")
        changed = {name: permuted(op.value(name), twin.perm) for name in names}
        move(op, [twin.source], twin, walk, **changed)
    return None


def move_pad(op: nn.PadOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.pad %x {..}   ->   transpose(nn.pad twin(%x) {.. permuted})
    ```
    """
    twin = walk.twin(op.operand)
    if twin is not None:
        changed = {n: permuted(op.value(n), twin.perm) for n in ("low", "high")}
        move(op, [twin.source, *op.operands[1:]], twin, walk, **changed)
    return None


def move_resize(op: nn.ResizeOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.resize %x {scales}   ->   transpose(nn.resize twin(%x) {scales permuted})
    ```
    """
    twin = walk.twin(op.operand)
    if twin is None:
        return None
    if op.roi is not None or op.scale_values is not None:
        return "the scales are computed by the model"
    scales = op.value("scales")
    changed = {} if scales is None else {"scales": permuted(scales, twin.perm)}
    move(op, [twin.source], twin, walk, **changed)
    return None


def move_broadcast(op: nn.BroadcastToOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.broadcast_to %x   ->   transpose(nn.broadcast_to twin(%x))       (of one rank)
    ```
    """
    twin = walk.twin(op.operand)
    if twin is not None and rank_of(op.operand) == rank_of(op.result):
        move(op, [twin.source], twin, walk)
    return None


def move_reduce(op: nn.ReduceOp | nn.ArgReduceOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.reduce %x {axes, keepdims}   ->   transpose(nn.reduce twin(%x) {axes'})
    nn.reduce %x {axes}             ->   nn.reduce twin(%x) {axes'}
    ```
    Without `keepdims` the transpose back is of the dims that are left, often none.
    """
    twin = walk.twin(op.operand)
    if twin is None:
        return None
    rank = len(twin.perm)
    is_arg = isinstance(op, nn.ArgReduceOp)
    axes = [op.value("axis")] if is_arg else op.value("axes")
    moved = sorted(twin.perm[axis % rank] for axis in axes)
    changed = {"axis": moved[0]} if is_arg else {"axes": moved}
    if op.value("keepdims"):
        move(op, [twin.source], twin, walk, **changed)
        return None
    left = [axis for axis in twin.perm if axis not in moved]
    perm = tuple(sorted(left).index(axis) for axis in left)
    if perm == tuple(range(len(perm))):
        same = {name: op.value(name) for name in op.properties}
        new = walk.rewriter.emit(type(op)(twin.source, **{**same, **changed}))
        walk.replace(op, new)
    else:
        move(op, [twin.source], Twin(twin.source, perm, twin.sticky), walk, **changed)
    return None


def move_reshape(op: nn.ReshapeOp, walk: Walk) -> Outcome:
    """
    ```mlir
    nn.reshape %x : [N, C, H, W] -> [N, C, H*W]
    ->   transpose(nn.reshape twin(%x) : [N, H, W, C] -> [N, H*W, C])
    ```
    Dims that merge or split must be neighbours in the twin too. A sticky twin is
    transposed where they are not: a channel shuffle stays among the last dims.
    """
    twin = walk.twin(op.operand)
    if twin is None:
        return None
    groups = reshape_groups(dims_of(op.operand), dims_of(op.result))
    if groups is None:
        return "the dims do not merge and split in groups"
    if twin.sticky:
        twin = with_neighbours(twin, groups, walk)
    places = [place_group(group, twin) for group in groups]
    placed = [place for place in places if place is not None]
    if len(placed) != len(groups):
        return "dims that merge are apart in the other order"
    dims = dims_of(op.result)
    order = [axis for _, outer in sorted(placed) for axis in outer]
    source = nn.ReshapeOp(twin.source, [dims[axis] for axis in order])
    perm = inverse(order)
    if perm == tuple(range(len(perm))):
        walk.replace(op, walk.rewriter.emit(source))
    else:
        walk.finish(op, source, perm, twin.sticky)
    return None


def with_neighbours(twin: Twin, groups: Sequence[Group], walk: Walk) -> Twin:
    """A twin of the same value where the dims of each group stand together."""
    if all(place_group(group, twin) is not None for group in groups):
        return twin
    places = [[twin.perm[axis] for axis in inner] for inner, _ in groups if inner]
    order = [place for group in sorted(places, key=min) for place in group]
    source = walk.rewriter.emit(nn.TransposeOp(twin.source, order))
    perm = tuple(order.index(place) for place in twin.perm)
    return Twin(source, perm, twin.sticky)


Group = tuple[list[int], list[int]]
"""Axes of the operand, and the axes of the result that hold the same elements."""


def reshape_groups(before: Sequence[Dim], after: Sequence[Dim]) -> list[Group] | None:
    """The finest split of a reshape into groups of equal size, in order.

    Groups without axes on one side are dims of 1 that appear or vanish.
    """
    groups: list[Group] = []
    i = j = 0
    while i < len(before) or j < len(after):
        step = next_group(before[i:], after[j:])
        if step is None:
            return None
        di, dj = step
        groups.append((list(range(i, i + di)), list(range(j, j + dj))))
        i, j = i + di, j + dj
    return groups


def next_group(before: Sequence[Dim], after: Sequence[Dim]) -> tuple[int, int] | None:
    """How many leading dims of both sides have the same product."""
    if before and after and before[0] == after[0]:
        return 1, 1
    if before and before[0] == 1:
        return 1, 0
    if after and after[0] == 1:
        return 0, 1
    sizes = [
        (di, dj)
        for di in range(1, len(before) + 1)
        for dj in range(1, len(after) + 1)
        if product(before[:di]) == product(after[:dj])
    ]
    return min(sizes, key=sum) if sizes else None


def place_group(group: Group, twin: Twin) -> tuple[tuple[float, int], list[int]] | None:
    """Where the group's dims lie in the twin's source, if together and in order."""
    inner, outer = group
    if not inner:
        return (float(twin_end(twin)), outer[0]), outer
    places = [twin.perm[axis] for axis in inner]
    sizes = [dims_of(twin.source)[place] for place in places]
    wide = [place for place, size in zip(places, sizes, strict=True) if size != 1]
    if wide and wide != list(range(wide[0], wide[0] + len(wide))):
        return None
    return (float(wide[0] if wide else places[0]), outer[0] if outer else -1), outer


def twin_end(twin: Twin) -> int:
    """Behind the last axis: where new dims of 1 go."""
    return len(twin.perm)


MOVERS: Handlers = {
    nn.TransposeOp: record_transpose,
    nn.MatmulOp: move_matmul,
    nn.ConcatOp: move_concat,
    nn.SliceOp: move_slice,
    nn.PadOp: move_pad,
    nn.ResizeOp: move_resize,
    nn.BroadcastToOp: move_broadcast,
    nn.ReduceOp: move_reduce,
    nn.ArgReduceOp: move_reduce,
    nn.ReshapeOp: move_reshape,
    nn.SoftmaxOp: move_along_axis,
    nn.LogSoftmaxOp: move_along_axis,
    nn.CumulativeOp: move_along_axis,
    nn.SelectOp: move_elementwise,
    nn.CastOp: move_elementwise,
    **{
        kind: move_elementwise
        for kind in nn.Nn.operations
        if issubclass(kind, UnaryOp | BinaryOp)
    },
}
