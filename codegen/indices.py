"""Index values as dim expressions, and their emission as integer arithmetic.

Every index of a tile program (program ids, loop counters, `arith` on `index`) is kept
as a `Dim` over *leaf* symbols: the model's symbols, and one symbol per counter, whose
extent is known. So addresses and guards are simplified by the algebra of
`stepwell.dialects.quasi_affine` before any instruction is made, and `is_within` proves
most bounds checks away.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, IntegerType, i64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_builder import Builder, Value
from stepwell.dialects.dims import (
    Atom,
    Dim,
    DimExpr,
    ceildiv,
    dim_max,
    dim_min,
    symbol,
    symbols_of,
)
from stepwell.dialects.quasi_affine import (
    INDIRECT,
    Extents,
    is_indirect,
    is_non_negative,
    is_within,
    simplify,
)
from stepwell.errors import ShapeError


class IndexSpace:
    """The leaves in scope, what is known of them, and the code already emitted."""

    def __init__(self, builder: Builder, type_: IntegerType = i64) -> None:
        self.b = builder
        self.type = type_
        self.extents: dict[str, Dim] = {}
        self.leaves: dict[str, Value] = {}
        self._values: dict[SSAValue, Dim] = {}
        self._scopes: list[dict[str, object]] = [{}]
        self._count = 0
        self._depths: dict[str, int] = {}
        self._loops: list[tuple[Operation, int]] = []

    # ---- leaves ----

    def leaf(self, prefix: str, value: SSAValue, extent: Dim | None) -> Dim:
        """A symbol for an index value with `0 <= value < extent`.

        Without an extent nothing is known of the value, not even its sign.
        """
        name = f"{prefix}${self.fresh()}"
        if extent is None:
            name = f"{INDIRECT}{name}"
        else:
            self.extents[name] = extent
        self.leaves[name] = value
        self._depths[name] = len(self._loops)
        return symbol(name)

    def fresh(self) -> int:
        """A number never given before."""
        self._count += 1
        return self._count

    def model_symbol(self, name: str, value: SSAValue) -> None:
        """A symbol of the model, with its value."""
        self.leaves[name] = value

    def bind(self, value: SSAValue, dim: Dim) -> None:
        """Say what an index value of the tile program is."""
        self._values[value] = dim

    def knows(self, value: SSAValue) -> bool:
        """Whether a value was bound."""
        return value in self._values

    def of(self, value: SSAValue | int) -> Dim:
        """The expression of an index value of the tile program."""
        return value if isinstance(value, int) else self._values[value]

    @contextmanager
    def scope(self) -> Generator[None]:
        """Code emitted inside is forgotten at the end: it need not dominate."""
        self._scopes.append({})
        yield
        self._scopes.pop()

    @contextmanager
    def loop(self, entry: Operation) -> Generator[None]:
        """The scope of a loop's body; `entry` is the branch that enters the loop."""
        self._loops.append((entry, len(self._scopes)))
        with self.scope():
            yield
        self._loops.pop()

    def depth(self, exprs: Iterable[Dim]) -> int:
        """How many of the open loops some expressions depend on."""
        names = set[str]().union(*(symbols_of(e) for e in exprs))
        return max((self._depths.get(name, 0) for name in names), default=0)

    @property
    def loops(self) -> int:
        """How many loops are open."""
        return len(self._loops)

    @contextmanager
    def outside(self, depth: int) -> Generator[None]:
        """Code in front of the loop number `depth`, counted from the outermost."""
        entry, scopes = self._loops[depth]
        kept, loops = self._scopes, self._loops
        self._scopes, self._loops = kept[:scopes], loops[:depth]
        with self.b.before(entry):
            yield
        self._scopes, self._loops = kept, loops

    def keep(self, key: str, value: object) -> None:
        """Keep what dominates all that follows in this scope."""
        self._scopes[-1][key] = value

    def recall(self, key: str) -> object | None:
        """What was kept under `key` in this or an enclosing scope."""
        for scope in reversed(self._scopes):
            found = scope.get(key)
            if found is not None:
                return found
        return None

    def remember(self, key: str, value: Value) -> None:
        """`keep`, of an index value."""
        self._scopes[-1][key] = value

    def remembered(self, key: str) -> Value | None:
        """`recall`, of an index value."""
        found = self.recall(key)
        assert found is None or isinstance(found, (int, SSAValue))
        return found

    # ---- proofs ----

    def simplify(self, expr: Dim, more: Extents | None = None) -> Dim:
        """`expr` with what the extents decide resolved."""
        return simplify(expr, self._extents(expr, more))

    def is_within(self, expr: Dim, size: Dim, more: Extents | None = None) -> bool:
        """Whether `0 <= expr < size` is proved."""
        return is_within(expr, size, self._extents(expr, more))

    def is_non_negative(self, expr: Dim) -> bool:
        """Whether `expr >= 0` is proved."""
        return is_non_negative(expr, self._extents(expr, None))

    def _extents(self, expr: Dim, more: Extents | None) -> Extents:
        names = symbols_of(expr)
        known = {n: self.extents[n] for n in names if n in self.extents}
        if more:
            known.update((n, more[n]) for n in names if n in more)
        return known

    # ---- emission ----

    def emit(self, expr: Dim) -> Value:
        """The value of `expr` at the insertion point."""
        if isinstance(expr, int):
            return expr
        key = expr.text
        known = self.remembered(key)
        if known is None:
            known = self._sum(expr)
            self.remember(key, known)
        return known

    def value(self, expr: Dim) -> SSAValue:
        """`emit`, as an SSA value even where it is a number."""
        return self.b.value(self.emit(expr), self.type)

    def pointer(self, base: SSAValue, address: Dim, element: Attribute) -> SSAValue:
        """`base` plus `address` elements; what is not constant of it is shared."""
        constant, dynamic = split_constant(address)
        if dynamic != 0:
            key = f"ptr {id(base)} {element} {dynamic}"
            known = self.remembered(key)
            if known is None:
                known = self.b.gep(base, self.emit(dynamic), element)
                self.remember(key, known)
            assert isinstance(known, SSAValue)
            base = known
        return self.b.gep(base, constant, element)

    def _sum(self, expr: DimExpr) -> Value:
        total: Value = 0
        for monomial, factor in expr.terms:
            if not monomial:
                term: Value = factor
            else:
                term = self._atom(monomial[0])
                for atom in monomial[1:]:
                    term = self.b.mul(term, self._atom(atom))
                if factor == -1:
                    total = self.b.ibin("sub", total, term)
                    continue
                term = self.b.mul(term, factor)
            total = self.b.add(total, term)
        return total

    def _atom(self, atom: Atom) -> Value:
        if atom.kind is None:
            return self.leaves[atom.symbol]
        known = self.remembered(atom.text)
        if known is not None:
            return known
        if atom.kind in ("min", "max"):
            made = self.emit(atom.operands[0])
            for other in atom.operands[1:]:
                made = self._extremum(atom.kind, made, self.emit(other))
        else:
            made = self._division(atom.kind, *atom.operands)
        self.remember(atom.text, made)
        return made

    def _extremum(self, kind: str, a: Value, b: Value) -> Value:
        name = f"llvm.s{kind}.i{self.type.width.data}"
        values = (self.b.value(a, self.type), self.b.value(b, self.type))
        return self.b.intrinsic(name, values, self.type)

    def _division(self, kind: str, dividend: Dim, by: Dim) -> Value:
        a, c = self.emit(dividend), self.emit(by)
        if isinstance(c, SSAValue):
            # Never divide by a zero size, whatever the caller passes.
            c = self._extremum("max", c, 1)
        op = "udiv" if kind == "floordiv" else "urem"
        if self.is_non_negative(dividend):
            return self.b.ibin(op, a, c)
        values = (self.b.value(v, self.type) for v in (a, c))
        return floor_division(self.b, kind, *values)


def split_constant(expr: Dim) -> tuple[int, Dim]:
    """`(constant, rest)` with `expr == constant + rest`."""
    if isinstance(expr, int):
        return expr, 0
    for monomial, factor in expr.terms:
        if not monomial:
            return factor, expr - factor
    return 0, expr


def _floordiv(a: Dim, b: Dim) -> Dim:
    return a // b


def _mod(a: Dim, b: Dim) -> Dim:
    return a % b


_DIM_RULES: dict[type[Operation], Callable[[Dim, Dim], Dim]] = {
    arith.AddiOp: lambda a, b: a + b,
    arith.SubiOp: lambda a, b: a - b,
    arith.MuliOp: lambda a, b: a * b,
    arith.FloorDivSIOp: _floordiv,
    arith.DivUIOp: _floordiv,
    arith.DivSIOp: _floordiv,
    arith.RemUIOp: _mod,
    arith.RemSIOp: _mod,
    arith.CeilDivSIOp: ceildiv,
    arith.CeilDivUIOp: ceildiv,
    arith.MinSIOp: dim_min,
    arith.MinUIOp: dim_min,
    arith.MaxSIOp: dim_max,
    arith.MaxUIOp: dim_max,
}
_TOWARDS_ZERO = (arith.DivSIOp, arith.RemSIOp, arith.DivUIOp, arith.RemUIOp)
_SIGN_MATTERS = (arith.MinSIOp, arith.MinUIOp, arith.MaxSIOp, arith.MaxUIOp)


def index_expression(space: IndexSpace, op: Operation) -> Dim | None:
    """What an `arith` op on index values computes, None where no expression says it."""
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, IntegerAttr)
        return op.value.value.data
    rule = _DIM_RULES.get(type(op))
    if rule is None or len(op.operands) != 2:
        return None
    a, b = (space.of(v) for v in op.operands)
    if isinstance(op, _TOWARDS_ZERO) and not space.is_non_negative(a):
        return None
    unknown = any(is_indirect(n) for n in symbols_of(a) | symbols_of(b))
    if isinstance(op, _SIGN_MATTERS) and unknown:
        return None
    try:
        return rule(a, b)
    except ShapeError:
        return None


def floor_division(b: Builder, kind: str, a: SSAValue, c: SSAValue) -> SSAValue:
    """`floordiv` or `mod` of any `a` by a positive `c`, for scalars and vectors."""
    zero = b.constant(0, a.type)
    rest = b.binary("srem", a, c)
    negative = b.icmp("slt", rest, zero)
    if kind == "mod":
        return b.select(negative, b.binary("add", rest, c), rest)
    quotient = b.binary("sdiv", a, c)
    one = b.constant(1, a.type)
    return b.select(negative, b.binary("sub", quotient, one), quotient)
