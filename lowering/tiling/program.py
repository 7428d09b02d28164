"""The builder of one `tile.func`: index arithmetic, loops and maps.

Indices are dim expressions (`stepwell.dialects.shapes`) over the model's symbols and
over *locals*: names that the builder gives to program ids and loop counters. So index
arithmetic is normalised before it becomes ops, and equal indices become one op.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from xdsl.builder import Builder
from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import IRDLOperation
from xdsl.rewriter import InsertPoint

from stepwell.dialects.dims import Atom
from stepwell.dialects.shapes import (
    Dim,
    DimExpr,
    ceildiv,
    is_zero_or_more,
    symbol,
    symbols_of,
)
from stepwell.dialects.tile import (
    DimOp,
    FullOp,
    FuncOp,
    IotaOp,
    MapOp,
    ReturnOp,
    TileType,
    YieldOp,
)


@dataclass
class Loop:
    """A loop under construction.

    Attributes:
        index: where a round stands.
        carried: the carried values as a round sees them.
        yielded: the next carried values; the body sets them.
        results: the carried values after the loop.
    """

    index: Dim
    carried: list[SSAValue]
    yielded: list[SSAValue] = field(default_factory=list[SSAValue])
    results: list[SSAValue] = field(default_factory=list[SSAValue])


@dataclass
class MapBody:
    """The body of a map under construction; it sets what it yields."""

    scalars: list[SSAValue]
    yielded: list[SSAValue] = field(default_factory=list[SSAValue])
    results: list[SSAValue] = field(default_factory=list[SSAValue])


class Program:
    """Builds the body of `func`; ops go where `builder` stands."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[Attribute],
        grid: Sequence[Dim],
        symbols: Sequence[str],
    ) -> None:
        self.func = FuncOp(name, arguments, grid, symbols)
        self.builder = Builder(InsertPoint.at_end(self.func.body.block))
        self._scopes: list[dict[Hashable, SSAValue]] = [{}]
        self._locals: dict[str, SSAValue] = {}
        self._last_outermost: Operation | None = None
        self.cells = [self.local("cell", value) for value in self.func.program_ids]

    def finish(self) -> FuncOp:
        """End the function and return it."""
        self.insert(ReturnOp())
        return self.func

    def insert(self, op: Operation) -> Operation:
        """Add an op."""
        return self.builder.insert(op)

    def value(self, op: Operation) -> SSAValue:
        """Add an op and give its first result."""
        return self.builder.insert(op).results[0]

    def once(
        self, key: Hashable, make: Callable[..., IRDLOperation], *args: Any
    ) -> SSAValue:
        """The result of an earlier equal op that is visible here, or of a new one."""
        for scope in reversed(self._scopes):
            if key in scope:
                return scope[key]
        result = self.value(make(*args))
        self._scopes[-1][key] = result
        return result

    def outermost(
        self, key: Hashable, make: Callable[..., IRDLOperation], *args: Any
    ) -> SSAValue:
        """The same for ops that depend on no loop: they stand before everything."""
        known = self._scopes[0]
        if key not in known:
            op = make(*args)
            last = self._last_outermost
            block = self.func.body.block
            if last is None:
                point = InsertPoint.at_start(block)
            else:
                point = InsertPoint.after(last)
            at_end = self.builder.insertion_point
            Builder(point).insert(op)
            if at_end.block is block and at_end.insert_before is None:
                self.builder.insertion_point = InsertPoint.at_end(block)
            self._last_outermost = op
            known[key] = op.results[0]
        return known[key]

    def local(self, name: str, value: SSAValue) -> Dim:
        """A dim that stands for `value` in index expressions."""
        key = f"{name}${len(self._locals)}"
        self._locals[key] = value
        if value.name_hint is None:
            value.name_hint = name
        return symbol(key)

    # Index arithmetic.

    def index(self, expr: Dim) -> SSAValue:
        """The value of an index expression."""
        if isinstance(expr, int):
            return self.outermost(("constant", expr), _index_constant, expr)
        if not symbols_of(expr) & self._locals.keys():
            return self.outermost(("dim", expr), DimOp, expr)
        name = expr.as_symbol()
        if name is not None:
            return self._locals[name]
        for scope in reversed(self._scopes):
            if expr in scope:
                return scope[expr]
        result = self._scopes[-1][expr] = self._sum(expr)
        return result

    def offset(self, expr: Dim) -> SSAValue | int:
        """An index for a load or a store: a number stays a number."""
        return expr if isinstance(expr, int) else self.index(expr)

    def _sum(self, expr: DimExpr) -> SSAValue:
        invariant: Dim = 0
        total: SSAValue | None = None
        for monomial, factor in expr.terms:
            term: Dim = DimExpr(((monomial, factor),)) if monomial else factor
            if not symbols_of(term) & self._locals.keys():
                invariant = invariant + term
                continue
            value = self._product(monomial, factor)
            total = value if total is None else self._binary("add", total, value)
        assert total is not None
        if invariant == 0:
            return total
        return self._binary("add", total, self.index(invariant))

    def _product(self, atoms: Sequence[Atom], factor: int) -> SSAValue:
        total: SSAValue | None = None
        for atom in atoms:
            value = self._atom(atom)
            total = value if total is None else self._binary("mul", total, value)
        assert total is not None
        if factor == 1:
            return total
        return self._binary("mul", total, self.index(factor))

    def _atom(self, atom: Atom) -> SSAValue:
        if atom.kind is None:
            known = self._locals.get(atom.symbol)
            return self.index(symbol(atom.symbol)) if known is None else known
        if atom.kind == "mod" and not is_zero_or_more(atom.operands[0]):
            dividend, by = atom.operands
            return self.index(dividend - (dividend // by) * by)
        total, *operands = (self.index(operand) for operand in atom.operands)
        for operand in operands:
            total = self._binary(atom.kind, total, operand)
        return total

    def _binary(self, kind: str, left: SSAValue, right: SSAValue) -> SSAValue:
        return self.once((kind, left, right), _INDEX_OPS[kind], left, right)

    # Control.

    @contextmanager
    def loop(
        self,
        name: str,
        start: Dim,
        stop: Dim,
        step: int,
        carried: Sequence[SSAValue] = (),
    ) -> Generator[Loop]:
        """A loop over `range(start, stop, step)`; the counter counts rounds.

        A loop of at most one round, from a known place to a known end, is no loop: its
        body stands where it is.
        """
        rounds = ceildiv(stop - start, step)
        if rounds == 1:
            single = Loop(start, list(carried), list(carried))
            yield single
            single.results = single.yielded
            return
        block = Block(arg_types=[IndexType(), *(value.type for value in carried)])
        zero, end, one = (self.index(bound) for bound in (0, rounds, 1))
        op = scf.ForOp(zero, end, one, list(carried), Region(block))
        self.insert(op)
        counter = self.local(name, block.args[0])
        loop = Loop(start + counter * step, list(block.args[1:]))
        with self._inside(block):
            yield loop
            self.insert(scf.YieldOp(*loop.yielded))
        loop.results = list(op.results)

    @contextmanager
    def map(
        self, inputs: Sequence[SSAValue], results: Sequence[TileType]
    ) -> Generator[MapBody]:
        """A `tile.map` on `inputs`; the body sets what it yields."""
        op = MapOp(inputs, list(results))
        self.insert(op)
        body = MapBody(list(op.body.block.args))
        with self._inside(op.body.block):
            yield body
            self.insert(YieldOp(*body.yielded))
        body.results = list(op.outputs)

    @contextmanager
    def _inside(self, block: Block) -> Generator[None]:
        outer = self.builder.insertion_point
        self.builder.insertion_point = InsertPoint.at_end(block)
        self._scopes.append({})
        yield
        self._scopes.pop()
        self.builder.insertion_point = outer

    # Tiles.

    def full(
        self, value: float, extents: Sequence[int], element: Attribute
    ) -> SSAValue:
        """A tile of one value."""
        kind = TileType(extents, element)
        return self.outermost(("full", kind, repr(value)), FullOp, value, kind)

    def positions(self, extents: Sequence[int], axis: int) -> SSAValue:
        """The positions 0, 1, ... along `axis`, with extent 1 along the others."""
        shape = [n if d == axis else 1 for d, n in enumerate(extents)]
        kind = TileType(shape, IndexType())
        return self.outermost(("positions", axis, kind), IotaOp, axis, kind)


def _index_constant(value: int) -> arith.ConstantOp:
    return arith.ConstantOp.from_int_and_width(value, IndexType())


_INDEX_OPS: Mapping[str, Callable[..., IRDLOperation]] = {
    "add": arith.AddiOp,
    "mul": arith.MuliOp,
    "floordiv": arith.FloorDivSIOp,
    "mod": arith.RemSIOp,
    "min": arith.MinSIOp,
    "max": arith.MaxSIOp,
}
