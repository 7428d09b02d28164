"""`resize` and `rotary_embedding`: maps that read a few neighbours.

The source coordinate of a resize is a rational function of the output index, so its
floor is quasi-affine and its fraction is an exact quotient of integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product as cartesian

from stepwell.dialects.access import Guard
from stepwell.dialects.dims import Dim, dim_max, dim_min
from stepwell.dialects.dtypes import f32, i64
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.quasi_affine import simplify
from stepwell.dialects.shapes import dims_of

from .loops import Axis, Loops, Read, Write, broadcast_index, replace, variables
from .movement import holds
from .reduction import result_type
from .scalars import Scalar, Scalars

RATIONAL = frozenset(
    {
        "half_pixel",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_half_pixel_for_nn",
    }
)
"""Coordinate rules that need sizes and scales only."""


def may_resize(op: NnOp) -> bool:
    """Whether the resize can be said in index arithmetic."""
    return (
        len(op.operands) == 1
        and op.value("coordinates") in RATIONAL
        and not op.value("antialias")
        and not op.value("exclude_outside")
    )


@dataclass(frozen=True)
class _Place:
    """Source coordinate `above / below` of one dim, both integer expressions."""

    above: Dim
    below: Dim

    @property
    def left(self) -> Dim:
        """The largest integer not above the coordinate."""
        return self.above // self.below

    def fraction(self, s: Scalars) -> Scalar:
        """What is left of the coordinate, in [0, 1)."""
        rest = s.cast(s.index(self.above % self.below, i64), f32)
        return s.div(rest, s.cast(_number(s, self.below), f32))


def _number(s: Scalars, expr: Dim) -> Scalar:
    return s.dim(expr, i64)


def decompose_resize(op: NnOp) -> None:
    """Nearest: one read. Linear and cubic: 2 or 4 taps per resized dim."""
    loops = Loops(op)
    x = op.operands[0]
    before, after = dims_of(x), dims_of(op.results[0])
    axes = loops.axes(after)
    extents = {axis.name: axis.size for axis in axes}
    places = [_place(op, n, axis, before[n]) for n, axis in enumerate(axes)]
    write = Write(result_type(op), variables(axes))
    if op.value("mode") == "nearest":
        index = [
            axis.var if place is None else _clip(_nearest(op, place), size, extents)
            for axis, place, size in zip(axes, places, before, strict=True)
        ]
        copy = loops.generic(axes, [Read(x, index)], write, lambda s, v: v, raw=True)
        replace(op, copy)
        return
    taps = (-1, 0, 1, 2) if op.value("mode") == "cubic" else (0, 1)
    moved = [n for n, place in enumerate(places) if place is not None]
    choices = list(cartesian(taps, repeat=len(moved)))
    reads: list[Read] = []
    for choice in choices:
        index = variables(axes)
        for n, tap in zip(moved, choice, strict=True):
            place = places[n]
            assert place is not None
            index[n] = _clip(place.left + tap, before[n], extents)
        reads.append(Read(x, index))

    def blend(s: Scalars, *values: Scalar) -> Scalar:
        weights = {n: _weights(s, op, _known(places[n])) for n in moved}
        return _mix(s, [weights[n] for n in moved], list(values))

    replace(op, loops.generic(axes, reads, write, blend))


def _known(place: _Place | None) -> _Place:
    assert place is not None
    return place


def _place(op: NnOp, n: int, axis: Axis, size: Dim) -> _Place | None:
    """The coordinate of output `axis` in a dim of `size`; None where nothing moves."""
    scales = op.value("scales")
    scale = None if scales is None else Fraction(scales[n])
    if axis.size == size and (scale is None or scale == 1):
        return None
    rule = op.value("coordinates")
    above, below = (
        (axis.size, size) if scale is None else (scale.numerator, scale.denominator)
    )
    i = axis.var
    if rule == "asymmetric":
        return _Place(i * below, above)
    if rule == "align_corners":
        return _aligned(i, axis.size, size, scale)
    if rule == "tf_half_pixel_for_nn":
        return _Place((i * 2 + 1) * below, above * 2)
    if rule == "pytorch_half_pixel" and axis.size == 1:
        return _Place(-1, 2)
    return _Place((i * 2 + 1) * below - above, above * 2)


def _aligned(i: Dim, count: Dim, size: Dim, scale: Fraction | None) -> _Place:
    """`i * (size - 1) / (scale * size - 1)`."""
    if scale is None or not isinstance(size, int):
        return _Place(0, 1) if count == 1 else _Place(i * (size - 1), count - 1)
    span = scale * size - 1
    if span == 0:
        return _Place(0, 1)
    return _Place(i * (size - 1) * span.denominator, span.numerator)


def _nearest(op: NnOp, place: _Place) -> Dim:
    above, below = place.above, place.below
    match op.value("rounding"):
        case "floor":
            return above // below
        case "ceil":
            return (above + below - 1) // below
        case "round_prefer_ceil":
            return (above * 2 + below) // (below * 2)
        case _:
            return (above * 2 + below - 1) // (below * 2)


def _clip(index: Dim, size: Dim, extents: dict[str, Dim]) -> Dim:
    return simplify(dim_min(dim_max(index, 0), size - 1), extents)


def _weights(s: Scalars, op: NnOp, place: _Place) -> list[Scalar]:
    """The weight of each tap."""
    fraction = place.fraction(s)
    if op.value("mode") == "linear":
        return [s.sub(s.like(1, fraction), fraction), fraction]
    a = op.value("cubic_coefficient")
    one, two = s.like(1, fraction), s.like(2, fraction)
    return [
        _far(s, s.add(one, fraction), a),
        _near(s, fraction, a),
        _near(s, s.sub(one, fraction), a),
        _far(s, s.sub(two, fraction), a),
    ]


def _near(s: Scalars, d: Scalar, a: float) -> Scalar:
    """`((a + 2) d - (a + 3)) d**2 + 1` (R. Keys, doi:10.1109/TASSP.1981.1163711)."""
    inner = s.sub(s.mul(s.like(a + 2, d), d), s.like(a + 3, d))
    return s.add(s.mul(s.mul(inner, d), d), s.like(1, d))


def _far(s: Scalars, d: Scalar, a: float) -> Scalar:
    """`((a d - 5 a) d + 8 a) d - 4 a`."""
    inner = s.sub(s.mul(s.like(a, d), d), s.like(5 * a, d))
    inner = s.add(s.mul(inner, d), s.like(8 * a, d))
    return s.sub(s.mul(inner, d), s.like(4 * a, d))


def _mix(
    s: Scalars, weights: Sequence[Sequence[Scalar]], values: list[Scalar]
) -> Scalar:
    """Blend along the last resized dim first."""
    if not weights:
        return values[0]
    *outer, last = weights
    count = len(last)
    blended: list[Scalar] = []
    for start in range(0, len(values), count):
        group = values[start : start + count]
        total: Scalar | None = None
        for weight, value in zip(last, group, strict=True):
            term = s.mul(s.cast(weight, value.element), value)
            total = term if total is None else s.add(total, term)
        assert total is not None
        blended.append(total)
    return _mix(s, outer, blended)


def decompose_rotary_embedding(op: NnOp) -> None:
    """Each feature with its partner, turned by the angle of its pair."""
    loops = Loops(op)
    x, cos, sin = op.operands
    shape = dims_of(x)
    half = dims_of(cos)[-1]
    axes = loops.axes(shape)
    d, extents = axes[-1].var, {axis.name: axis.size for axis in axes}
    if op.value("interleaved"):
        pair, second = d // 2, d % 2
        partner = d + 1 - second * 2
    else:
        pair, second = d % half, d // half
        partner = (d + half) % (half * 2)
    rotated = Guard(d, half * 2)
    outer = [*variables(axes[:-1])]
    angle = [*broadcast_index(axes[:-1], dims_of(cos)[:-1])]
    angle_sin = [*broadcast_index(axes[:-1], dims_of(sin)[:-1])]
    reads = [
        Read(x, [*outer, d]),
        Read(x, [*outer, simplify(partner, extents)], [rotated], 0),
        Read(cos, [*angle, simplify(pair, extents)], [rotated], 1),
        Read(sin, [*angle_sin, simplify(pair, extents)], [rotated], 0),
    ]

    def turn(s: Scalars, v: Scalar, other: Scalar, c: Scalar, sn: Scalar) -> Scalar:
        first = holds(s, [Guard(second, 1)])
        signed = s.select(first, s.neg(sn), sn)
        turned = s.add(s.mul(v, c), s.mul(other, signed))
        return s.select(holds(s, [rotated]), turned, v)

    write = Write(result_type(op), variables(axes))
    replace(op, loops.generic(axes, reads, write, turn))
