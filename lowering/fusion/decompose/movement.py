"""Ops that only move data: a copy through an access map."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, TensorType
from xdsl.ir import SSAValue

from stepwell.dialects.access import AccessMap, Fill, Guard, Indirect
from stepwell.dialects.dims import Dim, symbol
from stepwell.dialects.fusion import InsertOp
from stepwell.dialects.movement import (
    broadcast_map,
    pad_map,
    reshape_map,
    slice_map,
    transpose_map,
)
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.nn.constant import ConstantOp
from stepwell.dialects.nn.inference import normalise_axis
from stepwell.dialects.quasi_affine import INDIRECT
from stepwell.dialects.shapes import dims_of, element_of

from .loops import Axis, Loops, Read, Write, replace, variables
from .reduction import result_type
from .scalars import Scalar, Scalars


def scalar_constant(value: SSAValue | None) -> Fill | None:
    """The number of a constant with one element; None for anything else."""
    if value is None or not isinstance(value.owner, ConstantOp):
        return None
    data = value.owner.value_attr
    if not isinstance(data, DenseIntOrFPElementsAttr):
        return None
    return data.get_values()[0]


def decompose_movement(op: NnOp) -> None:
    """`reshape`, `transpose`, `broadcast_to`, `slice`: one map each."""
    source = op.operands[0]
    _copy_through(op, [source], _map_of(op))


def _map_of(op: NnOp) -> AccessMap:
    before, after = dims_of(op.operands[0]), dims_of(op.results[0])
    match op.name:
        case "nn.reshape":
            return reshape_map(before, after)
        case "nn.transpose":
            return transpose_map(op.value("perm"))
        case "nn.broadcast_to":
            return broadcast_map(before, after)
        case "nn.slice":
            return slice_map(op.value("starts"), op.value("steps"))
        case _:
            raise AssertionError(op.name)


def decompose_pad(op: NnOp) -> None:
    """A guarded read; a fill that is no constant is read and selected."""
    source = op.operands[0]
    shape = dims_of(source)
    fill = op.operands[1] if len(op.operands) > 1 else None
    known = 0 if fill is None else scalar_constant(fill)
    low, high, mode = op.value("low"), op.value("high"), op.value("mode")
    access = pad_map(shape, low, 0 if known is None else known, mode, high)
    if known is not None or mode != "constant":
        _copy_through(op, [source], access)
        return
    assert fill is not None
    loops = Loops(op)
    axes = loops.axes(dims_of(op.results[0]))
    placed = _over(access, axes)

    def choose(s: Scalars, inside: Scalar, outside: Scalar) -> Scalar:
        return s.select(holds(s, placed.guards), inside, outside)

    value = loops.generic(
        axes,
        [_read(source, placed), Read(fill, [0] * len(dims_of(fill)))],
        Write(result_type(op), variables(axes)),
        choose,
        raw=True,
    )
    replace(op, value)


def holds(s: Scalars, guards: Sequence[Guard]) -> Scalar:
    """Whether all guards hold, as i1."""
    from stepwell.dialects.dtypes import i1, i64

    result = s.constant(1, i1)
    for guard in guards:
        at, size = s.index(guard.expr, i64), s.dim(guard.size, i64)
        result = s.bit_and(result, s.compare("ge", at, s.constant(0, i64)))
        result = s.bit_and(result, s.compare("lt", at, size))
    return result


def decompose_gather(op: NnOp) -> None:
    """`y[a.., i.., b..] = x[a.., indices[i..], b..]`."""
    loops = Loops(op)
    source, indices = op.operands
    shape = dims_of(source)
    axis = normalise_axis(op.value("axis"), len(shape))
    depth = len(dims_of(indices))
    axes = loops.axes(dims_of(op.results[0]))
    at = Indirect(1, tuple(variables(axes[axis : axis + depth])))
    index = [
        *variables(axes[:axis]),
        symbol(f"{INDIRECT}0") % shape[axis],
        *variables(axes[axis + depth :]),
    ]
    _indexed_copy(op, loops, axes, index, [at])


def decompose_gather_elements(op: NnOp) -> None:
    """`y[i, j] = x[indices[i, j], j]` for axis 0."""
    loops = Loops(op)
    shape = dims_of(op.operands[0])
    axis = normalise_axis(op.value("axis"), len(shape))
    axes = loops.axes(dims_of(op.results[0]))
    index = variables(axes)
    at = Indirect(1, tuple(index))
    index[axis] = symbol(f"{INDIRECT}0") % shape[axis]
    _indexed_copy(op, loops, axes, index, [at])


def decompose_gather_nd(op: NnOp) -> None:
    """`y[b.., i.., rest..] = x[b.., indices[b.., i.., :].., rest..]`."""
    loops = Loops(op)
    source, indices = op.operands
    shape, batch = dims_of(source), op.value("batch_dims")
    outer = len(dims_of(indices)) - 1
    depth = dims_of(indices)[-1]
    assert isinstance(depth, int)
    axes = loops.axes(dims_of(op.results[0]))
    where = variables(axes[:outer])
    ats = [Indirect(1, (*where, k)) for k in range(depth)]
    index = [
        *variables(axes[:batch]),
        *(symbol(f"{INDIRECT}{k}") % shape[batch + k] for k in range(depth)),
        *variables(axes[outer:]),
    ]
    _indexed_copy(op, loops, axes, index, ats)


def decompose_reverse_sequence(op: NnOp) -> None:
    """`y[t] = x[length - 1 - t if t < length else t]` along time."""
    loops = Loops(op)
    source, lengths = op.operands
    axes = loops.axes(dims_of(source))
    rank = len(axes)
    time = normalise_axis(op.value("time_axis"), rank)
    batch = normalise_axis(op.value("batch_axis"), rank)
    size = axes[time].size
    turned = symbol(f"{INDIRECT}0") - 1 - axes[time].var
    index, back = variables(axes), variables(axes)
    back[time] = turned % size
    at = Indirect(2, (axes[batch].var,))

    def choose(s: Scalars, plain: Scalar, reverse: Scalar, length: Scalar) -> Scalar:
        place = s.index(axes[time].var, length.element)
        return s.select(s.compare("lt", place, length), reverse, plain)

    reads = [
        Read(source, index),
        Read(source, back, indirects=[at]),
        Read(lengths, [axes[batch].var]),
    ]
    write = Write(result_type(op), variables(axes))
    replace(op, loops.generic(axes, reads, write, choose, raw=True))


def decompose_concat(op: NnOp) -> None:
    """Each point reads all pieces, guarded, and selects its own."""
    loops = Loops(op)
    axes = loops.axes(dims_of(op.results[0]))
    axis = normalise_axis(op.value("axis"), len(axes))
    reads: list[Read] = []
    guards: list[Guard] = []
    offset: Dim = 0
    for value in op.operands:
        index = variables(axes)
        index[axis] = index[axis] - offset
        size = dims_of(value)[axis]
        guards.append(Guard(index[axis], size))
        reads.append(Read(value, index, [guards[-1]], 0))
        offset = offset + size

    def choose(s: Scalars, *pieces: Scalar) -> Scalar:
        result = pieces[-1]
        for piece, guard in reversed(list(zip(pieces, guards, strict=True))[:-1]):
            result = s.select(holds(s, [guard]), piece, result)
        return result

    write = Write(result_type(op), variables(axes))
    replace(op, loops.generic(axes, reads, write, choose, raw=True))


def decompose_insert(op: InsertOp) -> None:
    """A map that writes at an offset, into the destination."""
    loops = Loops(op)
    axes = loops.axes(dims_of(op.piece))
    index = [
        var + offset
        for var, offset in zip(variables(axes), op.offsets.data, strict=True)
    ]
    kind = op.result.type
    assert isinstance(kind, TensorType)
    write = Write(kind, index, into=op.dest)
    read = Read(op.piece, variables(axes))
    replace(op, loops.generic(axes, [read], write, lambda s, v: v, raw=True))


def decompose_constant(op: NnOp) -> None:
    """A constant with one element, as a generic without reads."""
    loops = Loops(op)
    number = scalar_constant(op.results[0])
    assert number is not None
    axes = loops.axes(dims_of(op.results[0]))
    element = element_of(op.results[0])
    value = loops.generic(
        axes,
        [],
        Write(result_type(op), variables(axes)),
        lambda s: s.constant(number, element),
        raw=True,
    )
    replace(op, value)


def decompose_iota(op: NnOp) -> None:
    """`iota` and `dim_value`: numbers made of indices and sizes."""
    loops = Loops(op)
    axes = loops.axes(dims_of(op.results[0]))
    element = element_of(op.results[0])
    if op.name == "nn.iota":
        along = axes[normalise_axis(op.value("axis"), len(axes))].var
        body = lambda s: s.index(along, element)  # noqa: E731
    else:
        body = lambda s: s.dim(op.value("dim")[0], element)  # noqa: E731
    write = Write(result_type(op), variables(axes))
    replace(op, loops.generic(axes, [], write, body))


def _copy_through(op: NnOp, sources: Sequence[SSAValue], access: AccessMap) -> None:
    loops = Loops(op)
    axes = loops.axes(dims_of(op.results[0]))
    value = loops.generic(
        axes,
        [_read(sources[0], _over(access, axes))],
        Write(result_type(op), variables(axes)),
        lambda s, v: v,
        raw=True,
    )
    replace(op, value)


def _indexed_copy(
    op: NnOp,
    loops: Loops,
    axes: Sequence[Axis],
    index: Sequence[Dim],
    ats: Sequence[Indirect],
) -> None:
    source, indices = op.operands
    value = loops.generic(
        axes,
        [Read(source, index, indirects=ats), Read(indices, ats[0].index)],
        Write(result_type(op), variables(axes)),
        lambda s, v, at: v,
        raw=True,
    )
    replace(op, value)


def _over(access: AccessMap, axes: Sequence[Axis]) -> AccessMap:
    """A map over tensor dims `t0, t1, ...` as one over the axes."""
    values = dict(zip(access.dims, variables(axes), strict=True))
    return access.substitute(values, [axis.name for axis in axes])


def _read(value: SSAValue, access: AccessMap) -> Read:
    return Read(value, access.results, access.guards, access.fill, access.indirects)
