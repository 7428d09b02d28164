"""How much of each tile anyone looks at: a backward pass over a tile program.

A tile that hangs over the end of its tensor is stored only in part. What the store
drops need not be computed: for each dim of each tile value, `Demand` knows either that
all of it counts, or the bound `size - index` of the stores it ends in. That matters
where sizes are symbolic: a schedule of 48 rows then does not cost 48 rows when the
sequence has 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects import scf
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.dims import Dim


@dataclass(frozen=True)
class Bound:
    """Elements count while `index + position < size`."""

    index: SSAValue | int
    size: Dim


Bounds = tuple[Bound | None, ...]
"""Per dim of a tile: its bound, None where all of it counts."""


class Demand:
    """The bounds of all tile values of one `tile.func`."""

    def __init__(self, func: tile.FuncOp) -> None:
        self._bounds: dict[SSAValue, Bounds] = {}
        self._block(func.body.block)

    def of(self, value: SSAValue, dim: int) -> Bound | None:
        """The bound along one dim of a tile, None where all of it counts."""
        bounds = self._bounds.get(value)
        return None if bounds is None else bounds[dim]

    def _block(self, block: Block) -> None:
        for op in reversed(list(block.ops)):
            if not isinstance(op, scf.YieldOp):
                self._op(op)

    def _op(self, op: Operation) -> None:
        if isinstance(op, tile.StoreOp):
            self._store(op)
        elif isinstance(op, tile.MapOp):
            self._map(op)
        elif isinstance(op, tile.BroadcastOp):
            self._join(op.input, _shrunk(op.input, self._result(op.result)))
        elif isinstance(op, tile.ReduceOp):
            bounds = list(self._result(op.result))
            bounds[op.dim.value.data] = None
            self._join(op.input, tuple(bounds))
        elif isinstance(op, tile.DotOp):
            self._dot(op)
        elif isinstance(op, tile.TransposeOp):
            self._transpose(op)
        elif isinstance(op, scf.ForOp):
            self._for(op)
        elif isinstance(op, scf.IfOp):
            self._if(op)
        else:
            for operand in op.operands:
                self._all(operand)

    def _store(self, op: tile.StoreOp) -> None:
        dims = tile.view_of(op.view).dims
        self._join(op.tile, tuple(Bound(op.indices[d], dims[d]) for d in op.spanned))

    def _map(self, op: tile.MapOp) -> None:
        total = self._result(op.outputs[0])
        for other in op.outputs[1:]:
            total = _joined(total, self._result(other))
        for operand in op.inputs:
            self._join(operand, _shrunk(operand, total))

    def _dot(self, op: tile.DotOp) -> None:
        bounds = self._result(op.result)
        *batch, m, n = bounds
        self._join(op.lhs, (*batch, m, None))
        self._join(op.rhs, (*batch, None, n))
        self._join(op.acc, bounds)

    def _transpose(self, op: tile.TransposeOp) -> None:
        bounds = self._result(op.result)
        source: list[Bound | None] = [None] * len(bounds)
        for to, dim in enumerate(op.perm.get_values()):
            source[dim] = bounds[to]
        self._join(op.input, tuple(source))

    def _for(self, op: scf.ForOp) -> None:
        """A carried value is one value: initial, argument, yielded and result."""
        body = op.body.block
        last = body.last_op
        assert last is not None
        groups = list(
            zip(op.iter_args, body.args[1:], last.operands, op.results, strict=True)
        )
        while True:
            before = [self._carried(arg, result) for _, arg, _, result in groups]
            for (_, _, yielded, _), bounds in zip(groups, before, strict=True):
                if bounds is not None:
                    self._join(yielded, bounds)
            self._block(body)
            after = [self._carried(arg, result) for _, arg, _, result in groups]
            if after == before:
                break
        for (initial, arg, _, result), bounds in zip(groups, after, strict=True):
            if bounds is not None:
                self._bounds[arg] = self._bounds[result] = bounds
                self._join(initial, bounds)

    def _carried(self, arg: SSAValue, result: SSAValue) -> Bounds | None:
        if not isinstance(arg.type, tile.TileType):
            return None
        bounds, more = self._bounds.get(arg), self._bounds.get(result)
        if bounds is None or more is None:
            return bounds or more
        return _joined(bounds, more)

    def _if(self, op: scf.IfOp) -> None:
        for region in (op.true_region, op.false_region):
            if not region.blocks:
                continue
            last = region.block.last_op
            assert last is not None
            for value, result in zip(last.operands, op.results, strict=True):
                if isinstance(value.type, tile.TileType):
                    self._join(value, self._result(result))
            self._block(region.block)

    # ---- the lattice ----

    def _result(self, value: SSAValue) -> Bounds:
        known = self._bounds.get(value)
        return known if known is not None else _everything(value)

    def _join(self, value: SSAValue, bounds: Bounds) -> None:
        known = self._bounds.get(value)
        self._bounds[value] = bounds if known is None else _joined(known, bounds)

    def _all(self, value: SSAValue) -> None:
        if isinstance(value.type, tile.TileType):
            self._bounds[value] = _everything(value)


def _everything(value: SSAValue) -> Bounds:
    return (None,) * len(tile.tile_of(value).extents)


def _joined(a: Bounds, b: Bounds) -> Bounds:
    return tuple(x if x == y else None for x, y in zip(a, b, strict=True))


def _shrunk(operand: SSAValue, bounds: Sequence[Bound | None]) -> Bounds:
    """The bounds of an operand that repeats its dims of extent 1."""
    extents = tile.tile_of(operand).extents
    return tuple(None if n == 1 else b for n, b in zip(extents, bounds, strict=True))
