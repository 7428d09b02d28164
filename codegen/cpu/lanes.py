"""Expressions and conditions that differ from lane to lane of a piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xdsl.dialects.builtin import i1, i32, i64
from xdsl.ir import SSAValue

from stepwell.codegen.indices import IndexSpace, floor_division
from stepwell.codegen.llvm_builder import Builder
from stepwell.dialects.dims import Atom, Dim, DimExpr, symbols_of
from stepwell.dialects.quasi_affine import coefficient, is_indirect

LANE = "lane$"
"""The symbol that stands for a lane's number."""


@dataclass(frozen=True)
class Lanes:
    """The lanes of a piece.

    Attributes:
        space: computes what is the same in all lanes.
        count: how many there are.
        vectors: symbols whose values differ from lane to lane, beside `LANE`.
    """

    space: IndexSpace
    count: int
    vectors: Mapping[str, SSAValue]

    @property
    def b(self) -> Builder:
        """The builder of the function."""
        return self.space.b

    def differ(self, expr: Dim) -> bool:
        """Whether an expression may have different values in different lanes."""
        names = symbols_of(expr)
        return (self.count > 1 and LANE in names) or bool(names & self.vectors.keys())

    def values(self, expr: Dim) -> SSAValue:
        """The values of an expression, lane by lane."""
        b = self.b
        total: SSAValue | None = None
        uniform: Dim = 0
        for monomial, factor in () if isinstance(expr, int) else expr.terms:
            term_expr = DimExpr(((monomial, factor),)) if monomial else factor
            if not self.differ(term_expr):
                uniform = uniform + term_expr
                continue
            term = self._atom(monomial[0])
            for atom in monomial[1:]:
                term = b.binary("mul", term, self._atom(atom))
            if factor != 1:
                term = b.binary("mul", term, b.constant(factor, term.type))
            total = term if total is None else b.binary("add", total, term)
        if isinstance(expr, int):
            uniform = expr
        if total is None:
            return b.splat(self.space.value(uniform), self.count)
        if uniform == 0:
            return total
        return b.binary("add", total, b.splat(self.space.value(uniform), self.count))

    def _atom(self, atom: Atom) -> SSAValue:
        b = self.b
        if atom.kind is None:
            if atom.symbol == LANE:
                return b.iota(self.count)
            if atom.symbol in self.vectors:
                return self.vectors[atom.symbol]
            return b.splat(b.value(self.space.leaves[atom.symbol]), self.count)
        parts = [self.values(operand) for operand in atom.operands]
        if atom.kind in ("min", "max"):
            name = f"llvm.s{atom.kind}.v{self.count}i64"
            total = parts[0]
            for other in parts[1:]:
                total = b.intrinsic(name, (total, other), total.type)
            return total
        dividend, divisor = parts
        of, by = atom.operands
        if symbols_of(by):
            name, one = f"llvm.smax.v{self.count}i64", b.constant(1, divisor.type)
            divisor = b.intrinsic(name, (divisor, one), divisor.type)
        known = not any(is_indirect(name) for name in symbols_of(of))
        if known and self.space.is_within(of, 2**62, {LANE: self.count}):
            op = "udiv" if atom.kind == "floordiv" else "urem"
            return b.binary(op, dividend, divisor)
        return floor_division(b, atom.kind, dividend, divisor)

    def guard(self, at: Dim, size: Dim) -> SSAValue:
        """In which lanes `0 <= at < size` holds, of sizes that are not negative."""
        space = self.space
        if symbols_of(at) & self.vectors.keys():
            return self._below(at, size)
        key = f"guard {at} < {size} x{self.count}"
        known = space.remembered(key)
        if known is None:
            split = coefficient(at, LANE)
            if split and split[0] == 1 and space.is_non_negative(split[1]):
                known = self._first(space.emit(size - split[1]))
            else:
                known = self._below(at, size)
            space.remember(key, known)
        assert isinstance(known, SSAValue)
        return known

    def _below(self, at: Dim, size: Dim) -> SSAValue:
        # One unsigned comparison tests both ends.
        limit = self.b.splat(self.space.value(size), self.count)
        return self.b.icmp("ult", self.values(at), limit)

    def _first(self, count: int | SSAValue) -> SSAValue:
        """The mask of the first `count` lanes; none when it is negative."""
        b = self.b
        if isinstance(count, int):
            return b.constants([int(i < count) for i in range(self.count)], i1)
        clamped = b.intrinsic(
            "llvm.smin.i64", (count, b.constant(self.count, i64)), i64
        )
        narrow = b.splat(b.cast("trunc", clamped, i32), self.count)
        return b.icmp("slt", b.iota(self.count, i32), narrow)
