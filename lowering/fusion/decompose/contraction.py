"""`matmul`, `conv`, `conv_transpose`, `einsum` as a product summed over dims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.access import Guard
from stepwell.dialects.dims import Dim, ceildiv
from stepwell.dialects.dtypes import bit_width, f32, is_bool, is_float
from stepwell.dialects.fusion.structured import Combine
from stepwell.dialects.nn.base import NnOp
from stepwell.dialects.nn.contraction import split_equation
from stepwell.dialects.quasi_affine import floor_divide, modulo
from stepwell.dialects.shapes import dims_of, element_of, tensor_type

from .loops import Axis, Loops, Read, Write, broadcast_index, replace, variables
from .scalars import Scalar, Scalars


def decompose_matmul(op: NnOp) -> None:
    """`y[b.., m, n] = sum over k of a[b.., m, k] * b[b.., k, n]`."""
    loops = Loops(op)
    left, right = (dims_of(v) for v in op.operands)
    has_rows, has_columns = len(left) > 1, len(right) > 1
    out = dims_of(op.results[0])
    batch = loops.axes(out[: len(out) - has_rows - has_columns], "b")
    m = loops.axis("m", left[-2] if has_rows else 1)
    n = loops.axis("n", right[-1] if has_columns else 1)
    k = loops.axis("k", left[-1]).reduced()
    rows = [m] if has_rows else []
    columns = [n] if has_columns else []
    a = [*broadcast_index(batch, left[:-2]), *variables([*rows, k])]
    b = [*broadcast_index(batch, right[:-2]), *variables([k, *columns])]
    _contract(
        op,
        loops,
        [*batch, *rows, *columns, k],
        [*batch, *rows, *columns],
        [Read(op.operands[0], a), Read(op.operands[1], b)],
    )


def decompose_conv(op: NnOp) -> None:
    """`y[n, p.., o] = bias[o] + sum over r.., c of x[n, p * stride + r.., c] * w`"""
    loops = Loops(op)
    layout = Window(op, loops)
    groups = op.value("groups")
    x, w = op.operands[:2]
    features, depth = layout.features(w), layout.depth(w)
    g = loops.axis("g", groups)
    o = loops.axis("o", features // groups)
    c = loops.axis("c", depth).reduced()
    inputs, guards = layout.strided_input(x)
    x_read = Read(x, layout.order(inputs, g.var * depth + c.var), guards, 0)
    out = g.var * (features // groups) + o.var
    taps = [tap.reduced() for tap in layout.taps]
    w_index = (
        [*variables(taps), c.var, out]
        if layout.channels_last
        else [out, c.var, *variables(taps)]
    )
    parallel = layout.order_axes([g, o])
    _contract(
        op,
        loops,
        [*parallel, *taps, c],
        layout.order_write(g, o, features // groups),
        [x_read, Read(w, w_index)],
        bias=(op.operands[2], out) if len(op.operands) > 2 else None,
    )


def decompose_conv_transpose(op: NnOp) -> None:
    """Each output gathers the inputs whose windows cover it.

    Output `p = p1 * stride + p0` meets input `p1 + (p0 + pad) floordiv stride - r1`
    through tap `r = r1 * stride + (p0 + pad) mod stride`, so that the taps of other
    phases are never visited. Dilated ones test each tap instead.
    """
    loops = Loops(op)
    layout = Window(op, loops)
    groups = op.value("groups")
    x, w = op.operands[:2]
    per_group = dims_of(w)[-1 if layout.channels_last else 1]
    depth = dims_of(w)[-2 if layout.channels_last else 0] // groups
    g, o = loops.axis("g", groups), loops.axis("o", per_group)
    c = loops.axis("c", depth).reduced()
    phases = [_Phase.of(op, loops, layout, n) for n in range(layout.rank)]
    channel, out = g.var * depth + c.var, g.var * per_group + o.var
    taps = [phase.tap for phase in phases]
    x_read = Read(
        x,
        layout.order([phase.source for phase in phases], channel),
        [guard for phase in phases for guard in phase.guards],
        0,
    )
    w_guards = [g for phase in phases for g in phase.tap_guards]
    w_index = (
        [*taps, channel, o.var] if layout.channels_last else [channel, o.var, *taps]
    )
    places = [axis for phase in phases for axis in phase.places]
    channels = [g, o]
    parallel = (
        [layout.n, *places, *channels]
        if layout.channels_last
        else [layout.n, *channels, *places]
    )
    _contract(
        op,
        loops,
        [*parallel, *(axis for phase in phases for axis in phase.reduced), c],
        layout.order([phase.place for phase in phases], out),
        [x_read, Read(w, w_index, w_guards, 0)],
        bias=(op.operands[2], out) if len(op.operands) > 2 else None,
        guards=[g for phase in phases for g in phase.place_guards],
    )


@dataclass(frozen=True)
class _Phase:
    """One spatial dim of a transposed convolution.

    Attributes:
        places: the dims that walk over the outputs; `place` is the output's index.
        reduced: the dims that walk over the taps; `tap` is the tap's index.
        source: the input's index.
    """

    places: list[Axis]
    reduced: list[Axis]
    place: Dim
    tap: Dim
    source: Dim
    guards: list[Guard]
    tap_guards: list[Guard]
    place_guards: list[Guard]

    @staticmethod
    def of(op: NnOp, loops: Loops, layout: Window, n: int) -> _Phase:
        stride, dilation = op.value("strides")[n], op.value("dilations")[n]
        pad, size = op.value("pads")[n], layout.spatial(layout.dims_in)[n]
        place, tap = layout.places[n], layout.taps[n]
        if dilation != 1:
            reduced = tap.reduced()
            offset = place.var + pad - reduced.var * dilation
            source = offset // stride
            guards = [Guard(source, size), Guard(offset % stride, 1)]
            return _Phase(
                [place], [reduced], place.var, reduced.var, source, guards, [], []
            )
        outer = loops.axis(f"{place.name}1", ceildiv(place.size, stride))
        inner = loops.axis(f"{place.name}0", stride)
        again = loops.axis(f"{tap.name}1", ceildiv(tap.size, stride)).reduced()
        phase = modulo(inner.var + pad, stride, {inner.name: stride})
        step = floor_divide(inner.var + pad, stride, {inner.name: stride})
        at = outer.var * stride + inner.var
        source, index = outer.var + step - again.var, again.var * stride + phase
        return _Phase(
            [outer, inner],
            [again],
            at,
            index,
            source,
            [Guard(source, size)],
            [] if tap.size % stride == 0 else [Guard(index, tap.size)],
            [] if place.size % stride == 0 else [Guard(at, place.size)],
        )


def decompose_einsum(op: NnOp) -> None:
    """One dim per index letter; letters missing from the output are summed over."""
    loops = Loops(op)
    terms, output = split_equation(op.value("equation"))
    shapes = [dims_of(value) for value in op.operands]
    spelled = [_letters(t, len(s)) for t, s in zip(terms, shapes, strict=True)]
    wanted = _letters(output, len(dims_of(op.results[0])))
    sizes: dict[str, Dim] = {}
    for letters, shape in zip(spelled, shapes, strict=True):
        for letter, size in zip(letters, shape, strict=True):
            if sizes.get(letter, 1) == 1:
                sizes[letter] = size
    axes = {
        letter: loops.axis(letter if letter.islower() else f"{letter.lower()}_", size)
        for letter, size in sizes.items()
    }
    summed = [axes[x].reduced() for x in sizes if x not in wanted]
    reads = [
        Read(
            value,
            [
                0 if size == 1 else axes[letter].var
                for letter, size in zip(letters, shape, strict=True)
            ],
        )
        for value, letters, shape in zip(op.operands, spelled, shapes, strict=True)
    ]
    kept = [axes[letter] for letter in wanted]
    _contract(op, loops, [*kept, *summed], kept, reads)


def _letters(term: str, rank: int) -> list[str]:
    """The index letter of each dim; the dims of `...` are numbered from the right."""
    head, dots, tail = term.partition("...")
    if not dots:
        return list(term)
    middle = rank - len(head) - len(tail)
    return [*head, *(f"e{n}" for n in reversed(range(middle))), *tail]


class Window:
    """The dims of a convolution or pooling and how windows walk over the input."""

    def __init__(self, op: NnOp, loops: Loops, kernel: Sequence[Dim] = ()) -> None:
        self.op = op
        self.channels_last: bool = op.value("channels_last")
        self.dims_in = dims_of(op.operands[0])
        self.dims_out = dims_of(op.results[0])
        self.rank = len(self.dims_in) - 2
        self.n = loops.axis("n", self.dims_in[0])
        kernel = kernel or self._kernel(op.operands[1])
        outs = self.spatial(self.dims_out)
        self.places = [
            loops.axis(_PLACES[self.rank][i], size) for i, size in enumerate(outs)
        ]
        self.taps = [
            loops.axis(_TAPS[self.rank][i], size) for i, size in enumerate(kernel)
        ]

    def spatial(self, dims: Sequence[Dim]) -> Sequence[Dim]:
        """The spatial part of a shape in this op's dimension order."""
        return dims[1:-1] if self.channels_last else dims[2:]

    def channels(self, dims: Sequence[Dim]) -> Dim:
        """The channel count of a shape in this op's dimension order."""
        return dims[-1] if self.channels_last else dims[1]

    def features(self, w: SSAValue) -> Dim:
        """The number of output channels of a weight."""
        return dims_of(w)[-1 if self.channels_last else 0]

    def depth(self, w: SSAValue) -> Dim:
        """The number of input channels of one group of a weight."""
        return dims_of(w)[-2 if self.channels_last else 1]

    def strided_input(self, x: SSAValue) -> tuple[list[Dim], list[Guard]]:
        """Spatial indices `p * stride + r * dilation - pad`, and their guards."""
        sizes = self.spatial(dims_of(x))
        indices: list[Dim] = []
        guards: list[Guard] = []
        steps = zip(
            self.places,
            self.taps,
            sizes,
            self.op.value("strides"),
            self.op.value("dilations"),
            self.op.value("pads"),
            strict=False,
        )
        for place, tap, size, stride, dilation, pad in steps:
            index = place.var * stride + tap.var * dilation - pad
            indices.append(index)
            reach = (place.size - 1) * stride + (tap.size - 1) * dilation - pad
            if pad != 0 or not _is_below(reach, size):
                guards.append(Guard(index, size))
        return indices, guards

    def order(self, spatial: Sequence[Dim], channel: Dim) -> list[Dim]:
        """An index of a tensor in this op's dimension order."""
        if self.channels_last:
            return [self.n.var, *spatial, channel]
        return [self.n.var, channel, *spatial]

    def order_axes(self, channels: Sequence[Axis]) -> list[Axis]:
        """The parallel dims in the order of the result."""
        if self.channels_last:
            return [self.n, *self.places, *channels]
        return [self.n, *channels, *self.places]

    def order_write(self, g: Axis, o: Axis, size: Dim) -> list[Dim]:
        """The index of the result."""
        return self.order(variables(self.places), g.var * size + o.var)

    def _kernel(self, w: SSAValue) -> Sequence[Dim]:
        dims = dims_of(w)
        return dims[:-2] if self.channels_last else dims[2:]


_PLACES = {1: "p", 2: "pq", 3: "zpq"}
_TAPS = {1: "r", 2: "rs", 3: "trs"}


def accumulation_type(element: Attribute) -> Attribute:
    """The type in which products of `element` are summed: f32 for narrow floats."""
    if is_float(element) and bit_width(element) < 32:
        return f32
    return element


def _contract(
    op: NnOp,
    loops: Loops,
    space: Sequence[Axis],
    write: Sequence[Axis] | Sequence[Dim],
    reads: Sequence[Read],
    bias: tuple[SSAValue, Dim] | None = None,
    guards: Sequence[Guard] = (),
) -> None:
    """Replace `op` by a contraction, then bias and rounding where there are any."""
    result = op.results[0]
    element = element_of(result)
    wide = accumulation_type(element)
    index = [w.var if isinstance(w, Axis) else w for w in write]
    combine = Combine.OR if is_bool(element) else Combine.ADD
    total = loops.generic(
        space,
        reads,
        Write(tensor_type(dims_of(result), wide), index, combine, guards),
        _product,
    )
    if bias is not None or wide != element:
        parallel = [axis for axis in space if axis.kind == "parallel"]
        extra = [Read(bias[0], [bias[1]])] if bias is not None else []
        total = loops.generic(
            parallel,
            [Read(total, index, guards, 0), *extra],
            Write(tensor_type(dims_of(result), element), index, guards=guards),
            _sum,
        )
    replace(op, total)


def _product(s: Scalars, *factors: Scalar) -> Scalar:
    product = factors[0]
    for factor in factors[1:]:
        product = s.mul(product, factor)
    return product


def _sum(s: Scalars, *terms: Scalar) -> Scalar:
    total = terms[0]
    for term in terms[1:]:
        total = s.add(total, term)
    return total


def _is_below(value: Dim, bound: Dim) -> bool:
    gap = bound - value
    return isinstance(gap, int) and gap > 0
