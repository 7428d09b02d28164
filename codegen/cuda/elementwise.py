"""Rules of ops that work register by register: constants, positions, maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_types import lanes_of, vector
from stepwell.dialects import tile
from stepwell.dialects.layouts import TileLayout, register_sources

from .kernel import Kernel, llvm_type
from .positions import positions
from .registers import Registers, layout_of, pack, take, usual_lanes


def full(k: Kernel, op: Operation) -> None:
    """The same constant in every register."""
    assert isinstance(op, tile.FullOp)
    attr, kind = op.value, tile.tile_of(op.result)
    assert isinstance(attr, FloatAttr | IntegerAttr)
    lanes = usual_lanes(kind)
    carrier = vector(llvm_type(kind.element_type), lanes)
    piece = k.b.constant(attr.value.data, carrier)
    k.bind(op.result, Registers(kind, (piece,) * (layout_of(kind).registers // lanes)))


def iota(k: Kernel, op: Operation) -> None:
    """The position along one dim."""
    assert isinstance(op, tile.IotaOp)
    kind = tile.tile_of(op.result)
    k.bind(op.result, coordinate_tile(k, kind, op.dim.value.data))


def coordinate_tile(k: Kernel, kind: tile.TileType, dim: int) -> Registers:
    """The coordinate along `dim` of each element, as integers of the tile's type."""
    carrier = llvm_type(kind.element_type)
    places = positions(k, layout_of(kind), dim)
    lanes = usual_lanes(kind)
    pieces: list[SSAValue] = []
    for start in range(0, len(places), lanes):
        group = places[start : start + lanes]
        steps = [place - group[0] for place in group]
        base = resize_index(k, k.space.value(group[0]), carrier)
        if lanes > 1 and all(isinstance(step, int) for step in steps):
            numbers = [step for step in steps if isinstance(step, int)]
            offsets = k.b.constants(numbers, carrier)
            pieces.append(k.b.binary("add", k.b.splat(base, lanes), offsets))
        elif lanes > 1:
            each = [resize_index(k, k.space.value(place), carrier) for place in group]
            pieces.append(pack(k.b, each))
        else:
            pieces.append(base)
    return Registers(kind, tuple(pieces))


def resize_index(k: Kernel, value: SSAValue, carrier: Attribute) -> SSAValue:
    """An index, never negative, as another integer type."""
    own = value.type
    assert isinstance(own, IntegerType) and isinstance(carrier, IntegerType)
    name = "zext" if carrier.width.data > own.width.data else "trunc"
    return k.b.cast(name, value, carrier)


@lru_cache(maxsize=4096)
def _sources(source: TileLayout, target: TileLayout) -> tuple[int, ...]:
    return tuple(register_sources(source, target))


def sources_of(held: Registers, layout: TileLayout) -> tuple[int, ...] | None:
    """The register of `held` that each register of `layout` repeats; None: its own."""
    if held.layout == layout:
        return None
    return _sources(held.layout, layout)


def map_op(k: Kernel, op: Operation) -> None:
    """The body, piece by piece; a broadcast input is the register it repeats."""
    assert isinstance(op, tile.MapOp)
    kinds = [tile.tile_of(value) for value in op.outputs]
    layout, lanes = layout_of(kinds[0]), usual_lanes(kinds[0])
    inputs = [k.registers(value) for value in op.inputs]
    sources = [sources_of(held, layout) for held in inputs]
    columns: list[list[SSAValue]] = [[] for _ in kinds]
    for start in range(0, layout.registers, lanes):
        args = [
            _piece(k, held, source, start, lanes)
            for held, source in zip(inputs, sources, strict=True)
        ]
        results = k.scalars.run(op.body.block, args, lanes, k.scalar)
        for column, value in zip(columns, results, strict=True):
            column.append(value)
    for value, kind, column in zip(op.outputs, kinds, columns, strict=True):
        k.bind(value, Registers(kind, tuple(column)))


def _piece(
    k: Kernel, held: Registers, sources: Sequence[int] | None, start: int, lanes: int
) -> SSAValue:
    """The registers of one piece; a scalar where all are one register."""
    indices = range(start, start + lanes)
    if sources is not None:
        indices = sources[start : start + lanes]
    if len(set(indices)) == 1:
        indices = indices[:1]
    return take(k.b, held, indices)


def broadcast(k: Kernel, op: Operation) -> None:
    """Registers of the smaller tile, repeated."""
    assert isinstance(op, tile.BroadcastOp)
    held, kind = k.registers(op.input), tile.tile_of(op.result)
    layout, lanes = layout_of(kind), usual_lanes(kind)
    sources = sources_of(held, layout)
    pieces: list[SSAValue] = []
    for start in range(0, layout.registers, lanes):
        piece = _piece(k, held, sources, start, lanes)
        pieces.append(
            piece if lanes_of(piece.type) == lanes else k.b.splat(piece, lanes)
        )
    k.bind(op.result, Registers(kind, tuple(pieces)))


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {
    tile.FullOp: full,
    tile.IotaOp: iota,
    tile.MapOp: map_op,
    tile.BroadcastOp: broadcast,
}
"""The rules of this file."""
