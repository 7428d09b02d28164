"""Kernels of `nn.attention`: the online softmax of FlashAttention.

A cell holds some rows of q and walks over the keys in chunks. It carries the rows'
largest score, the sum of their exponentials, and the weighted sum of values, and
rescales the sums when a chunk raises the largest score.

Source: arXiv:2205.14135, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects import math as mlir_math
from xdsl.dialects.builtin import AnyFloat, Float64Type, f32
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from stepwell.dialects.dtypes import is_bool
from stepwell.dialects.fusion import Combine, GenericOp, KernelOp
from stepwell.dialects.nn import AttentionOp
from stepwell.dialects.schedules import Schedule
from stepwell.dialects.shapes import Dim, dim_min, dims_of, element_of
from stepwell.dialects.tile import (
    CombineKind,
    DotOp,
    FuncOp,
    ReduceOp,
    TileType,
    tile_of,
)

from .emission import Accumulator, KernelProgram, scalar_constant
from .frame import Frame
from .nest import Range, cell_frame, grid_of, ragged, ranges_of, walk
from .renaming import reader_of, rename_dims

ROW, COLUMN, INNER, VALUE = "i", "j", "d", "e"
"""The dims of scores and results: rows of q, rows of k, features of q and k, of v."""

HEAD, KEY_HEAD = "h", "g"

NARROW_OPTION = "narrow"
"""The option to round weights to the type of the values, as tensor cores need it."""


def batch_dims(rank: int) -> list[str]:
    """The names of the dims before the heads, for q of `rank` dims."""
    return [f"b{n}" for n in range(rank - 3)]


@dataclass(frozen=True)
class Readers:
    """What reads q, k, v and the mask, over the dims' common names."""

    q: GenericOp
    k: GenericOp
    v: GenericOp
    mask: GenericOp | None


@dataclass(frozen=True)
class State:
    """What is carried from chunk to chunk: one row of each for a row of q."""

    largest: SSAValue
    total: SSAValue
    weighted: SSAValue

    def values(self) -> list[SSAValue]:
        """The carried values."""
        return [self.largest, self.total, self.weighted]


def attention_sizes(op: AttentionOp) -> dict[str, Dim]:
    """The size of each dim by its common name."""
    q, k, v = (dims_of(value) for value in (op.q, op.k, op.v))
    batch = dict(zip(batch_dims(len(q)), q, strict=False))
    return {
        **batch,
        HEAD: q[-3],
        ROW: q[-2],
        KEY_HEAD: k[-3],
        COLUMN: k[-2],
        INNER: q[-1],
        VALUE: v[-1],
    }


def convert_attention(kernel: KernelOp, schedule: Schedule, name: str) -> FuncOp:
    """The program of an attention kernel, with the maps before and behind it."""
    op = next(one for one in kernel.block.ops if isinstance(one, AttentionOp))
    sizes = attention_sizes(op)
    batch = batch_dims(len(dims_of(op.q)))
    readers = _readers(op, batch)
    consumers = _consumers(op, [*batch, HEAD, ROW, VALUE])
    parts = KernelProgram(kernel, grid_of(schedule, sizes), name)
    start = cell_frame(parts.program, schedule)
    flash = Flash(parts, op, readers, schedule, sizes)

    def rows(frame: Frame, carried: list[SSAValue]) -> list[SSAValue]:
        held = dict(parts.tiles)
        parts.tiles[op.result] = flash.run(frame)
        here = frame.spanning((flash.rows, flash.values))
        for consumer in consumers:
            for position, tile in enumerate(parts.compute(consumer, here)):
                parts.tiles[consumer.outputs[position]] = tile
                parts.write(consumer, position, tile, here)
        parts.tiles = held
        return []

    ranges = ranges_of(schedule, sizes, start, [*batch, HEAD, ROW])
    walk(parts.program, ranges, start, [], rows)
    return parts.program.finish()


def _readers(op: AttentionOp, batch: Sequence[str]) -> Readers:
    mask = None
    if op.mask is not None:
        mask = reader_of(op, op.mask, [*batch, HEAD, ROW, COLUMN])
    return Readers(
        reader_of(op, op.q, [*batch, HEAD, ROW, INNER]),
        reader_of(op, op.k, [*batch, KEY_HEAD, COLUMN, INNER]),
        reader_of(op, op.v, [*batch, KEY_HEAD, COLUMN, VALUE]),
        mask,
    )


def _consumers(op: AttentionOp, names: Sequence[str]) -> list[GenericOp]:
    """The maps behind the attention, over the common names of dims.

    A kernel without any stores the result as it is: then an identity is made.
    """
    block = op.parent
    assert block is not None
    maps = [use.operation for use in op.result.uses]
    found = [one for one in maps if isinstance(one, GenericOp)]
    for consumer in found:
        position = list(consumer.inputs).index(op.result)
        rename_dims(consumer, consumer.in_maps[position], names)
    if len(found) == len(maps):
        return found
    copy = reader_of(op, op.result, names)
    yielded = block.last_op
    assert yielded is not None
    for index, value in enumerate(yielded.operands):
        if value is op.result:
            yielded.operands[index] = copy.outputs[0]
    return [*found, copy]


class Flash:
    """Writes the program of one tile of rows."""

    def __init__(
        self,
        parts: KernelProgram,
        op: AttentionOp,
        readers: Readers,
        schedule: Schedule,
        sizes: dict[str, Dim],
    ) -> None:
        self.parts = parts
        self.program = parts.program
        self.op = op
        self.readers = readers
        self.sizes = sizes
        self.rows = (ROW, schedule.extent(ROW))
        self.columns = (COLUMN, schedule.extent(COLUMN))
        self.inner = (INNER, schedule.extent(INNER))
        self.values = (VALUE, schedule.extent(VALUE))
        self.narrow = bool(schedule.option(NARROW_OPTION))
        wide = isinstance(element_of(op.result), Float64Type)
        self.type: Attribute = element_of(op.result) if wide else f32

    def run(self, frame: Frame) -> SSAValue:
        """The attention of the rows of `frame`."""
        groups = self.sizes[HEAD] // self.sizes[KEY_HEAD]
        frame = frame.at({KEY_HEAD: frame.base.get(HEAD, 0) // groups})
        query = self._read(self.readers.q, frame, (self.rows, self.inner))
        count, width = self.rows[1], self.values[1]
        first = State(
            self.program.full(-math.inf, (count, 1), self.type),
            self.program.full(0.0, (count, 1), self.type),
            self.program.full(0.0, (count, width), self.type),
        )

        def chunk(here: Frame, carried: list[SSAValue]) -> list[SSAValue]:
            return self._chunk(here, query, State(*carried)).values()

        step = Range(COLUMN, 0, self._last_column(frame), self.columns[1])
        last = State(*walk(self.program, [step], frame, first.values(), chunk))
        return self._quotient(last)

    def _last_column(self, frame: Frame) -> Dim:
        """Where the columns end that some row of the frame sees."""
        if not self.op.value("causal"):
            return self.sizes[COLUMN]
        seen = frame.base.get(ROW, 0) + self.rows[1] + self._causal_offset()
        return dim_min(self.sizes[COLUMN], seen)

    def _causal_offset(self) -> Dim:
        return self.op.value("causal_offset")[0]

    def _read(
        self, reader: GenericOp, frame: Frame, axes: tuple[tuple[str, int], ...]
    ) -> SSAValue:
        """The tile of q, k or v; features past the last one are 0.

        A tensor that is read as it is gets zeros from the load.
        """
        frame = frame.spanning(axes)
        value = reader.yielded[0]
        beyond = ragged(self.sizes, frame, [INNER])
        if not beyond or isinstance(value, BlockArgument):
            return self.parts.compute(reader, frame)[0]
        zero = self.program.full(0.0, frame.extents, value.type)
        mask = Accumulator(Combine.ADD, value.type, zero, beyond)
        return self.parts.compute(reader, frame, accumulators=[mask])[0]

    def _chunk(self, frame: Frame, query: SSAValue, state: State) -> State:
        """One chunk of columns: its scores, their exponentials, the new sums."""
        keys = self._read(self.readers.k, frame, (self.inner, self.columns))
        extents = (self.rows[1], self.columns[1])
        zero = self.program.full(0.0, extents, self.type)
        raw = self.program.value(DotOp(query, keys, zero))
        scores = self._scores(raw, frame)
        peak = self.program.value(ReduceOp(CombineKind.MAX, scores, 1))
        largest, scale = self._raise_peak(state.largest, peak)
        weights = self._exponentials(scores, largest)
        summed = self.program.value(ReduceOp(CombineKind.ADD, weights, 1))
        total = self._rescale(state.total, scale, summed)
        weighted = self._rescale(state.weighted, scale, None)
        values = self._read(self.readers.v, frame, (self.columns, self.values))
        if self.narrow:
            weights = self._cast(weights, tile_of(values).element_type)
        else:
            values = self._cast(values, self.type)
        return State(
            largest, total, self.program.value(DotOp(weights, values, weighted))
        )

    def _cast(self, tile: SSAValue, element: Attribute) -> SSAValue:
        kind = tile_of(tile)
        if kind.element_type == element:
            return tile
        assert isinstance(element, AnyFloat)
        cast = arith.TruncFOp if element != self.type else arith.ExtFOp
        with self.program.map([tile], [TileType(kind.extents, element)]) as body:
            body.yielded = [self._add(cast(body.scalars[0], element))]
        return body.results[0]

    def _scores(self, raw: SSAValue, frame: Frame) -> SSAValue:
        """Scaled, capped and masked scores; -inf where a row does not see a column."""
        frame = frame.spanning((self.rows, self.columns))
        inputs = [raw]
        mask = self.readers.mask
        if mask is not None:
            inputs.append(self.parts.compute(mask, frame)[0])
        is_ragged = self.sizes[COLUMN] % self.columns[1] != 0
        axes = [0] if self.op.value("causal") else []
        axes += [1] if is_ragged or axes else []
        inputs += [self.program.positions(frame.extents, axis) for axis in axes]
        with self.program.map(inputs, [tile_of(raw)]) as body:
            scalars = iter(body.scalars)
            score = self._scaled(next(scalars))
            if mask is not None:
                score = self._masked(score, next(scalars), mask)
            places = {
                axis: frame.base.get(frame.names[axis], 0)
                + self.program.local(frame.names[axis], next(scalars))
                for axis in axes
            }
            if is_ragged:
                score = self._below(score, places[1], self.sizes[COLUMN])
            if self.op.value("causal"):
                limit = places[0] + self._causal_offset() + 1
                score = self._below(score, places[1], limit)
            body.yielded = [score]
        return body.results[0]

    def _scaled(self, score: SSAValue) -> SSAValue:
        score = self._add(arith.MulfOp(score, self._number(self.op.value("scale"))))
        cap = self.op.value("softcap")
        if cap is None:
            return score
        score = self._add(arith.DivfOp(score, self._number(cap)))
        score = self._add(mlir_math.TanhOp(score))
        return self._add(arith.MulfOp(score, self._number(cap)))

    def _masked(self, score: SSAValue, mask: SSAValue, reader: GenericOp) -> SSAValue:
        if is_bool(element_of(reader.outputs[0])):
            nothing = self._number(-math.inf)
            return self._add(arith.SelectOp(mask, score, nothing))
        if mask.type != self.type:
            mask = self._add(arith.ExtFOp(mask, self.type))
        return self._add(arith.AddfOp(score, mask))

    def _below(self, score: SSAValue, place: Dim, limit: Dim) -> SSAValue:
        """The score where `place < limit`, else -inf."""
        at, end = self.program.index(place), self.program.index(limit)
        inside = self._add(arith.CmpiOp(at, end, "slt"))
        return self._add(arith.SelectOp(inside, score, self._number(-math.inf)))

    def _raise_peak(self, old: SSAValue, peak: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The larger of two peaks, and what sums under the old one are worth now."""
        with self.program.map([old, peak], [tile_of(old)] * 2) as body:
            before, now = body.scalars
            largest = self._add(arith.MaximumfOp(before, now))
            change = self._add(arith.SubfOp(before, self._finite(largest)))
            scale = self._add(mlir_math.ExpOp(change))
            body.yielded = [largest, scale]
        return body.results[0], body.results[1]

    def _finite(self, largest: SSAValue) -> SSAValue:
        """0 instead of -inf, so that a row which sees nothing yet gives exp(-inf)."""
        nothing = self._number(-math.inf)
        empty = self._add(arith.CmpfOp(largest, nothing, "oeq"))
        return self._add(arith.SelectOp(empty, self._number(0.0), largest))

    def _exponentials(self, scores: SSAValue, largest: SSAValue) -> SSAValue:
        with self.program.map([scores, largest], [tile_of(scores)]) as body:
            score, peak = body.scalars
            change = self._add(arith.SubfOp(score, self._finite(peak)))
            body.yielded = [self._add(mlir_math.ExpOp(change))]
        return body.results[0]

    def _rescale(
        self, old: SSAValue, scale: SSAValue, added: SSAValue | None
    ) -> SSAValue:
        inputs = [old, scale, *([] if added is None else [added])]
        with self.program.map(inputs, [tile_of(old)]) as body:
            before, factor, *extras = body.scalars
            value = self._add(arith.MulfOp(before, factor))
            for extra in extras:
                value = self._add(arith.AddfOp(value, extra))
            body.yielded = [value]
        return body.results[0]

    def _quotient(self, state: State) -> SSAValue:
        """The weighted sum over the sum of weights; 0 for a row that sees nothing."""
        kind = TileType(tile_of(state.weighted).extents, element_of(self.op.result))
        with self.program.map([state.weighted, state.total], [kind]) as body:
            weighted, total = body.scalars
            value = self._add(arith.DivfOp(weighted, total))
            nothing = self._number(0.0)
            empty = self._add(arith.CmpfOp(total, nothing, "oeq"))
            value = self._add(arith.SelectOp(empty, nothing, value))
            if kind.element_type != self.type:
                value = self._add(arith.TruncFOp(value, kind.element_type))
            body.yielded = [value]
        return body.results[0]

    def _add(self, op: Operation) -> SSAValue:
        return self.program.value(op)

    def _number(self, value: float) -> SSAValue:
        return self._add(scalar_constant(value, self.type))
