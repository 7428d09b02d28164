"""Running sums, sorts, and stores at computed places."""

from __future__ import annotations

from xdsl.dialects.builtin import UnitAttr

from stepwell.dialects.access import Indirect
from stepwell.dialects.dims import Dim, symbol
from stepwell.dialects.fusion import GenericOp, ScanOp, SortOp
from stepwell.dialects.fusion.structured import Combine, Iterator
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.nn.inference import normalise_axis
from stepwell.dialects.quasi_affine import INDIRECT
from stepwell.dialects.shapes import dims_of, element_of, tensor_type

from .contraction import accumulation_type
from .loops import Axis, Loops, Read, Write, replace, variables
from .reduction import result_type

REDUCTIONS = {
    "none": Combine.SET,
    "add": Combine.ADD,
    "mul": Combine.MUL,
    "max": Combine.MAX,
    "min": Combine.MIN,
}


def decompose_cumulative(op: NnOp) -> None:
    """A scan; from the end with maps that run backwards."""
    loops = Loops(op)
    x = op.operands[0]
    shape = dims_of(x)
    axes, axis = _axes_with(loops, op, Iterator.SCAN)
    index = variables(axes)
    if op.value("reverse"):
        index[axis] = shape[axis] - 1 - axes[axis].var
    element = element_of(x)
    wide = accumulation_type(element)
    kind = Combine.ADD if op.value("kind") == "sum" else Combine.MUL
    exclusive = UnitAttr() if op.value("exclusive") else None
    (total,) = loops.structured(
        ScanOp,
        axes,
        [Read(x, index)],
        [Write(tensor_type(shape, wide), index, kind)],
        lambda s, v: v,
        properties={"exclusive": exclusive},
    )
    if wide != element:
        axes = loops.axes(shape)
        read, write = Read(total, variables(axes)), variables(axes)
        rounded = Write(result_type(op), write)
        total = loops.generic(axes, [read], rounded, lambda s, v: v)
    replace(op, total)


def decompose_sort(op: NnOp) -> None:
    """`sort` and `topk`: a sort whose results may be shorter."""
    loops = Loops(op)
    axes, _ = _axes_with(loops, op, Iterator.SORT)
    index = variables(axes)
    down = op.value("descending" if op.name == "nn.sort" else "largest")
    writes = [Write(r.type, index) for r in op.results]  # pyright: ignore
    values = loops.structured(
        SortOp,
        axes,
        [Read(op.operands[0], index)],
        writes,
        lambda s, v: v,
        raw=True,
        properties={"descending": UnitAttr() if down else None},
    )
    replace(op, *values)


def _axes_with(loops: Loops, op: NnOp, kind: Iterator) -> tuple[list[Axis], int]:
    shape = dims_of(op.operands[0])
    axis = normalise_axis(op.value("axis"), len(shape))
    axes = loops.axes(shape)
    axes[axis] = Axis(axes[axis].name, shape[axis], kind)
    return axes, axis


def decompose_scatter_elements(op: NnOp) -> None:
    """`y[indices[i, j], j] = updates[i, j]` for axis 0, into the first operand."""
    loops = Loops(op)
    data, indices, updates = op.operands
    shape = dims_of(data)
    axis = normalise_axis(op.value("axis"), len(shape))
    axes = loops.axes(dims_of(indices))
    index = variables(axes)
    target = list(index)
    target[axis] = symbol(f"{INDIRECT}0") % shape[axis]
    at = Indirect(1, tuple(index))
    _scatter(op, loops, axes, Read(updates, index), Read(indices, index), target, [at])


def decompose_scatter_nd(op: NnOp) -> None:
    """`y[tuple of indices[i.., :]] = updates[i..]`, into the first operand."""
    loops = Loops(op)
    data, indices, updates = op.operands
    shape = dims_of(data)
    axes = loops.axes(dims_of(updates))
    depth = dims_of(indices)[-1]
    assert isinstance(depth, int)
    outer = len(dims_of(indices)) - 1
    where = variables(axes[:outer])
    ats = [Indirect(1, (*where, k)) for k in range(depth)]
    target: list[Dim] = [
        *(symbol(f"{INDIRECT}{k}") % shape[k] for k in range(depth)),
        *variables(axes[outer:]),
    ]
    read = Read(updates, variables(axes))
    _scatter(op, loops, axes, read, Read(indices, (*where, 0)), target, ats)


def _scatter(
    op: NnOp,
    loops: Loops,
    axes: list[Axis],
    updates: Read,
    indices: Read,
    target: list[Dim],
    ats: list[Indirect],
) -> None:
    write = Write(
        result_type(op),
        target,
        REDUCTIONS[op.value("reduction")],
        indirects=ats,
        into=op.operands[0],
    )
    raw = op.value("reduction") == "none"
    values = loops.structured(
        GenericOp, axes, [updates, indices], [write], lambda s, v, at: v, raw=raw
    )
    replace(op, *values)
