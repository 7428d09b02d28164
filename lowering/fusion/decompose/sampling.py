"""`resize` and `rotary_embedding`: maps that read a few neighbours.

The source coordinate of a resize is a rational function of the output index, so its
floor is quasi-affine and its fraction is an exact quotient of integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product as cartesian
from math import floor

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
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_half_pixel_for_nn",
    }
)
"""Coordinate rules that need sizes and scales only."""


def may_resize(op: NnOp) -> bool:
    """Whether the resize can be said in index arithmetic."""
    if len(op.operands) != 1 or op.value("coordinates") not in RATIONAL:
        return False
    sizes = zip(dims_of(op.operands[0]), dims_of(op.results[0]), strict=True)
    shrinks = (_shrink(op, n, *pair) for n, pair in enumerate(sizes))
    return all(shrink is not None and shrink * MAX_TAPS >= 2 for shrink in shrinks)


def _shrink(op: NnOp, n: int, before: Dim, after: Dim) -> Fraction | None:
    """How much narrower than the input's the output's grid is, up to 1.

    None where an antialiasing filter would need the number and the sizes are symbolic.
    """
    if not op.value("antialias") or before == after:
        return Fraction(1)
    scales = op.value("scales")
    if scales is not None:
        return min(Fraction(1), Fraction(scales[n]))
    if isinstance(before, int) and isinstance(after, int):
        return min(Fraction(1), Fraction(after, before))
    return None


MAX_TAPS = 16
"""The most taps per dim of a widened filter that are worth a kernel."""


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
    filters = {
        n: _Filter(op, place, before[n], _shrink(op, n, before[n], after[n]))
        for n, place in enumerate(places)
        if place is not None
    }
    choices = list(cartesian(*(filters[n].taps for n in filters)))
    reads: list[Read] = []
    for choice in choices:
        index = variables(axes)
        for n, tap in zip(filters, choice, strict=True):
            index[n] = _clip(filters[n].place.left + tap, before[n], extents)
        reads.append(Read(x, index))

    def blend(s: Scalars, *values: Scalar) -> Scalar:
        return _mix(s, [one.weights(s) for one in filters.values()], list(values))

    replace(op, loops.generic(axes, reads, write, blend))


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
    centre = above * size - axis.size * below if "symmetric" in rule else 0
    return _Place((i * 2 + 1) * below - above + centre, above * 2)


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


@dataclass(frozen=True)
class _Filter:
    """The taps around the places of one dim and their weights.

    An antialiasing filter is wider by `1 / shrink`. Its weights, and those of a filter
    that leaves out what lies outside, are divided by their sum.
    """

    op: NnOp
    place: _Place
    size: Dim
    shrink: Fraction | None

    @property
    def taps(self) -> range:
        """The taps' offsets from the element left of the place."""
        assert self.shrink is not None
        reach = 2 if self.op.value("mode") == "cubic" else 1
        first = floor(-reach / self.shrink) + 1
        return range(first, 2 - first)

    def weights(self, s: Scalars) -> list[Scalar]:
        """The weight of each tap."""
        fraction = self.place.fraction(s)
        found = [self._weight(s, fraction, tap) for tap in self.taps]
        if self.op.value("exclude_outside"):
            found = [
                self._inside(s, w, tap) for w, tap in zip(found, self.taps, strict=True)
            ]
        if not (self.op.value("antialias") or self.op.value("exclude_outside")):
            return found
        total = found[0]
        for weight in found[1:]:
            total = s.add(total, weight)
        return [s.div(weight, total) for weight in found]

    def _weight(self, s: Scalars, fraction: Scalar, tap: int) -> Scalar:
        assert self.shrink is not None
        distance = s.abs(s.sub(fraction, s.like(tap, fraction)))
        if self.shrink != 1:
            distance = s.mul(distance, s.like(float(self.shrink), distance))
        one, zero = s.like(1, distance), s.like(0, distance)
        if self.op.value("mode") == "linear":
            return s.maximum(s.sub(one, distance), zero)
        a = self.op.value("cubic_coefficient")
        outer = s.compare("lt", distance, s.like(2, distance))
        far = s.select(outer, _far(s, distance, a), zero)
        return s.select(s.compare("le", distance, one), _near(s, distance, a), far)

    def _inside(self, s: Scalars, weight: Scalar, tap: int) -> Scalar:
        guard = Guard(self.place.left + tap, self.size)
        return s.select(holds(s, [guard]), weight, s.like(0, weight))


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
