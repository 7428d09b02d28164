"""Reductions, normalisations and softmax as generics over shared outer dims."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdsl.dialects import math
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.dims import Dim, product
from stepwell.dialects.dtypes import (
    bit_width,
    is_bool,
    is_float,
    is_unsigned,
)
from stepwell.dialects.fusion.structured import Combine
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.nn.inference import normalise_axis
from stepwell.dialects.shapes import dims_of, element_of, tensor_type

from .contraction import accumulation_type
from .loops import Axis, Loops, Read, Write, broadcast_index, replace, variables
from .scalars import Scalar, Scalars

KINDS: dict[str, Combine] = {
    "sum": Combine.ADD,
    "mean": Combine.ADD,
    "max": Combine.MAX,
    "min": Combine.MIN,
    "prod": Combine.MUL,
    "any": Combine.OR,
    "all": Combine.AND,
}


@dataclass(frozen=True)
class Rows:
    """A tensor seen as outer dims times dims to reduce over.

    The statistics of a row are tensors over the outer dims alone.
    """

    loops: Loops
    axes: Sequence[Axis]
    reduced: frozenset[int]

    @staticmethod
    def of(loops: Loops, shape: Sequence[Dim], reduced: Sequence[int]) -> Rows:
        """The rows of a tensor of `shape`."""
        gone = frozenset(normalise_axis(axis, len(shape)) for axis in reduced)
        return Rows(loops, loops.axes(shape), gone)

    @property
    def outer(self) -> list[Axis]:
        """The dims that stay."""
        return [axis for n, axis in enumerate(self.axes) if n not in self.reduced]

    @property
    def inner(self) -> list[Axis]:
        """The dims reduced over."""
        return [axis for n, axis in enumerate(self.axes) if n in self.reduced]

    @property
    def space(self) -> list[Axis]:
        """All dims, in order, with their kinds for a reduction."""
        return [
            axis.reduced() if n in self.reduced else axis
            for n, axis in enumerate(self.axes)
        ]

    @property
    def count(self) -> Dim:
        """The number of elements of a row."""
        return product(axis.size for axis in self.inner)

    def statistic(
        self,
        reads: Sequence[Read],
        element: Attribute,
        combine: Combine,
        body: Callable[..., Scalar],
    ) -> Read:
        """Reduce each row to one number; how to read it back."""
        shape = [axis.size for axis in self.outer]
        index = variables(self.outer)
        value = self.loops.generic(
            self.space, reads, Write(tensor_type(shape, element), index, combine), body
        )
        return Read(value, index)

    def finish(self, statistic: Read, body: Callable[..., Scalar]) -> Read:
        """Compute on each row's number; how to read it back."""
        shape = [axis.size for axis in self.outer]
        index = variables(self.outer)
        kind = tensor_type(shape, element_of(statistic.value))
        value = self.loops.generic(self.outer, [statistic], Write(kind, index), body)
        return Read(value, index)

    def read(self, value: SSAValue) -> Read:
        """Read a tensor that broadcasts to the rows."""
        return Read(value, broadcast_index(self.axes, dims_of(value)))


def decompose_reduce(op: NnOp) -> None:
    """One reduction, and for `mean` (or a narrow result) a map behind it."""
    loops = Loops(op)
    x, result = op.operands[0], op.results[0]
    rows = Rows.of(loops, dims_of(x), op.value("axes"))
    kind, element = op.value("kind"), element_of(x)
    wide = accumulation_type(element)
    index = _kept_index(rows, bool(op.value("keepdims")))
    shape = dims_of(result)
    total = loops.generic(
        rows.space,
        [rows.read(x)],
        Write(tensor_type(shape, wide), index, KINDS[kind]),
        lambda s, v: v,
    )
    if kind == "mean" or wide != element:
        count = rows.count if kind == "mean" else 1
        total = loops.generic(
            rows.outer,
            [Read(total, index)],
            Write(tensor_type(shape, element), index),
            lambda s, v: mean_of(s, v, count),
        )
    replace(op, total)


def _kept_index(rows: Rows, keepdims: bool) -> list[Dim]:
    if not keepdims:
        return variables(rows.outer)
    return [0 if n in rows.reduced else a.var for n, a in enumerate(rows.axes)]


def mean_of(s: Scalars, total: Scalar, count: Dim) -> Scalar:
    """`total / count`."""
    if count == 1:
        return total
    return s.div(total, s.dim(count, total.element))


def decompose_arg_reduce(op: NnOp) -> None:
    """The extremum of each row, then the smallest (largest) index that has it.

    NaN counts as the extremum, as in NumPy.
    """
    loops = Loops(op)
    x, result = op.operands[0], op.results[0]
    rows = Rows.of(loops, dims_of(x), [op.value("axis")])
    element = element_of(x)
    wide = accumulation_type(element)
    is_max = op.value("kind") == "max"
    best = rows.statistic(
        [rows.read(x)], wide, Combine.MAX if is_max else Combine.MIN, lambda s, v: v
    )
    last = bool(op.value("select_last"))
    out = element_of(result)
    (along,) = rows.inner

    def place(s: Scalars, v: Scalar, extremum: Scalar) -> Scalar:
        here = s.compare("eq", v, extremum)
        if is_float(v.element):
            both = s.bit_and(s.is_nan(v), s.is_nan(extremum))
            here = s.bit_or(here, both)
        nowhere = s.constant(-1, out) if last else s.dim(along.size, out)
        return s.select(here, s.index(along.var, out), nowhere)

    index = _kept_index(rows, bool(op.value("keepdims")))
    value = loops.generic(
        rows.space,
        [rows.read(x), best],
        Write(result_type(op), index, Combine.MAX if last else Combine.MIN),
        place,
    )
    replace(op, value)


def decompose_softmax(op: NnOp) -> None:
    """`e**(x - max) / sum of e**(x - max)`, or its logarithm."""
    loops = Loops(op)
    x = op.operands[0]
    rows = Rows.of(loops, dims_of(x), [op.value("axis")])
    wide = accumulation_type(element_of(x))
    top = rows.statistic([rows.read(x)], wide, Combine.MAX, lambda s, v: v)
    total = rows.statistic(
        [rows.read(x), top],
        wide,
        Combine.ADD,
        lambda s, v, m: s.math(math.ExpOp, s.sub(v, m)),
    )

    def share(s: Scalars, v: Scalar, m: Scalar, t: Scalar) -> Scalar:
        if op.name == "nn.log_softmax":
            return s.sub(s.sub(v, m), s.math(math.LogOp, t))
        return s.div(s.math(math.ExpOp, s.sub(v, m)), t)

    value = loops.generic(
        rows.axes,
        [rows.read(x), top, total],
        Write(result_type(op), variables(rows.axes)),
        share,
    )
    replace(op, value)


@dataclass(frozen=True)
class Affine:
    """The scale and the bias of a normalisation, where there are any."""

    scale: Read | None
    bias: Read | None

    @staticmethod
    def of(op: NnOp, read: Callable[[SSAValue], Read]) -> Affine:
        """Those of an op, each read by `read`."""
        found = (getattr(op, name, None) for name in ("scale", "bias"))
        scale, bias = (None if value is None else read(value) for value in found)
        return Affine(scale, bias)

    @property
    def reads(self) -> list[Read]:
        """The ones there are."""
        return [read for read in (self.scale, self.bias) if read is not None]

    def apply(self, s: Scalars, y: Scalar, given: Sequence[Scalar]) -> Scalar:
        """`y * scale + bias`, with the scalars of `reads`."""
        queue = [s.cast(scalar, y.element) for scalar in given]
        if self.scale is not None:
            y = s.mul(y, queue.pop(0))
        return y if self.bias is None else s.add(y, queue.pop(0))


def normalise(
    op: NnOp,
    rows: Rows,
    x: Read,
    affine: Affine,
    write: Write,
    *,
    centred: bool = True,
) -> None:
    """Replace `op` by statistics of its rows and a map that applies them."""
    wide = accumulation_type(element_of(x.value))
    epsilon, count = op.value("epsilon"), rows.count
    mean: list[Read] = []
    if centred:
        total = rows.statistic([x], wide, Combine.ADD, lambda s, v: v)
        mean = [rows.finish(total, lambda s, t: mean_of(s, t, count))]

    def deviation(s: Scalars, v: Scalar, *m: Scalar) -> Scalar:
        return s.sub(v, m[0]) if m else v

    def square(s: Scalars, v: Scalar, *m: Scalar) -> Scalar:
        d = deviation(s, v, *m)
        return s.mul(d, d)

    def reciprocal_root(s: Scalars, t: Scalar) -> Scalar:
        spread = s.add(mean_of(s, t, count), s.like(epsilon, t))
        return s.div(s.like(1, t), s.math(math.SqrtOp, spread))

    squares = rows.statistic([x, *mean], wide, Combine.ADD, square)
    scale = rows.finish(squares, reciprocal_root)

    def apply(s: Scalars, v: Scalar, *rest: Scalar) -> Scalar:
        means, (factor, *parameters) = rest[: len(mean)], rest[len(mean) :]
        y = s.mul(deviation(s, v, *means), factor)
        return affine.apply(s, y, parameters)

    reads = [x, *mean, scale, *affine.reads]
    value = rows.loops.generic(rows.axes, reads, write, apply)
    replace(op, value)


def decompose_layer_norm(op: NnOp) -> None:
    """`layer_norm` and `rms_norm`: rows are the dims from `axis` on."""
    loops = Loops(op)
    x = op.operands[0]
    shape = dims_of(x)
    first = normalise_axis(op.value("axis"), len(shape))
    rows = Rows.of(loops, shape, range(first, len(shape)))
    affine = Affine.of(op, rows.read)
    write = Write(result_type(op), variables(rows.axes))
    centred = op.name == "nn.layer_norm"
    normalise(op, rows, rows.read(x), affine, write, centred=centred)


def decompose_group_norm(op: NnOp) -> None:
    """`instance_norm` and `group_norm`: rows are the channels of a group and space."""
    loops = Loops(op)
    x = op.operands[0]
    shape = dims_of(x)
    is_last = bool(op.properties.get("channels_last") and op.value("channels_last"))
    channel = len(shape) - 1 if is_last else 1
    channels = shape[channel]
    groups = channels if op.name == "nn.instance_norm" else op.value("groups")
    depth = channels // groups
    spatial = [n for n in range(1, len(shape)) if n != channel]
    n, g, c = (
        loops.axis("n", shape[0]),
        loops.axis("g", groups),
        loops.axis("c", depth),
    )
    places = [loops.axis(f"p{i}", shape[i]) for i in spatial]
    order = [n, g, *places, c] if is_last else [n, g, c, *places]
    rows = Rows(loops, order, frozenset(range(2, len(order))))
    at = g.var * depth + c.var
    index = [n.var, *variables(places), at] if is_last else [
        n.var, at, *variables(places)
    ]  # fmt: skip
    per_group = op.name == "nn.group_norm" and any(
        dims_of(v)[0] == groups != channels for v in op.operands[1:]
    )
    affine = Affine.of(op, lambda v: Read(v, [g.var if per_group else at]))
    normalise(op, rows, Read(x, index), affine, Write(result_type(op), index))


def decompose_batch_norm(op: NnOp) -> None:
    """`(x - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + bias[c]`."""
    loops = Loops(op)
    x, *vectors = op.operands
    shape = dims_of(x)
    axes = loops.axes(shape)
    channel = len(shape) - 1 if op.value("channels_last") else min(1, len(shape) - 1)
    epsilon = op.value("epsilon")

    def apply(
        s: Scalars, v: Scalar, scale: Scalar, bias: Scalar, mean: Scalar, var: Scalar
    ) -> Scalar:
        spread = s.math(math.SqrtOp, s.add(var, s.like(epsilon, var)))
        unit = s.div(s.sub(v, mean), spread)
        return s.add(s.mul(unit, scale), bias)

    reads = [Read(vector, [axes[channel].var]) for vector in vectors]
    value = loops.generic(
        axes,
        [Read(x, variables(axes)), *reads],
        Write(result_type(op), variables(axes)),
        apply,
    )
    replace(op, value)


def result_type(op: NnOp) -> TensorType:
    """The type of the only result."""
    kind = op.results[0].type
    assert isinstance(kind, TensorType)
    return kind


def lowest(element: Attribute, *, largest: bool = False) -> float:
    """The number of a type that no other is below (above)."""
    if is_float(element):
        return pymath.inf if largest else -pymath.inf
    if is_bool(element):
        return int(largest)
    width = bit_width(element)
    if is_unsigned(element):
        return (1 << width) - 1 if largest else 0
    return (1 << (width - 1)) - 1 if largest else -(1 << (width - 1))
