"""Dim expressions: the normal form and its operators.

Every operation returns the normal form. A `DimExpr` is a polynomial with integer
coefficients over atoms; an atom is a symbol or a `floordiv`, `mod`, `min` or `max` of
dims (`ceildiv(a, b)` is `(a + b - 1) floordiv b`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, reduce
from typing import Literal, TypeAlias

from stepwell.errors import ShapeError

from .bounds import REMEMBERED, bounds, is_zero_or_more

AtomKind: TypeAlias = Literal["floordiv", "mod", "min", "max"]


@dataclass(frozen=True)
class Atom:
    """A symbol (`kind` is None), or a function of dims that is not a polynomial.

    `text` is the printed form; normal forms print uniquely, so it is also the identity.
    """

    text: str
    kind: AtomKind | None = field(default=None, compare=False)
    operands: tuple[Dim, ...] = field(default=(), compare=False)
    symbol: str = field(default="", compare=False)


Monomial: TypeAlias = tuple[Atom, ...]
"""A product of atoms, sorted by text, repeated for powers; empty for the constant."""


Terms: TypeAlias = dict[Monomial, int]


@dataclass(frozen=True, eq=False)
class DimExpr:
    """A dim that is not a constant. Immutable; made by `symbol` and by operators."""

    terms: tuple[tuple[Monomial, int], ...]

    @cached_property
    def text(self) -> str:
        """The canonical printed form; `parse_dim` reads it back."""
        parts = [_print_term(monomial, factor) for monomial, factor in self.terms]
        return parts[0] + "".join(
            f" - {part[1:]}" if part.startswith("-") else f" + {part}"
            for part in parts[1:]
        )

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The names of the symbols in it."""
        names: set[str] = set()
        for atom in atoms_of(self):
            if atom.kind is None:
                names.add(atom.symbol)
            for operand in atom.operands:
                if isinstance(operand, DimExpr):
                    names |= operand.symbols
        return frozenset(names)

    def as_symbol(self) -> str | None:
        """The symbol's name, if the dim is one symbol and nothing else."""
        monomial, factor = self.terms[0]
        if len(self.terms) != 1 or factor != 1 or len(monomial) != 1:
            return None
        return monomial[0].symbol or None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"DimExpr({self.text})"

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DimExpr) and self.text == other.text

    def __add__(self, other: Dim) -> Dim:
        return _add(self, other, 1)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return _multiply(self, -1)

    def __sub__(self, other: Dim) -> Dim:
        return _add(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _add(other, self, -1)

    def __mul__(self, other: Dim) -> Dim:
        return _multiply(self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return _floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return _floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return _mod(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return _mod(other, self)


Dim: TypeAlias = int | DimExpr


def symbol(name: str) -> DimExpr:
    """The dim that is the symbol `name`."""
    is_word = name.replace(".", "_").replace("$", "_").isidentifier()
    is_reserved = name in {"floordiv", "ceildiv", "mod", "min", "max"}
    text = name if is_word and name.isascii() and not is_reserved else _quote(name)
    return DimExpr((((Atom(text, symbol=name),), 1),))


def ceildiv(dividend: Dim, divisor: Dim) -> Dim:
    """`dividend / divisor` rounded up."""
    return _floordiv(dividend + divisor - 1, divisor)


def dim_min(*dims: Dim) -> Dim:
    """The smallest of `dims`."""
    return _extremum("min", dims)


def dim_max(*dims: Dim) -> Dim:
    """The largest of `dims`."""
    return _extremum("max", dims)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of `dims`; 1 when there are none."""
    return reduce(lambda left, right: left * right, dims, 1)


FUNCTIONS: dict[str, Callable[..., Dim]] = {
    "floordiv": lambda *dims: _floordiv(*dims),
    "ceildiv": lambda *dims: ceildiv(*dims),
    "mod": lambda *dims: _mod(*dims),
    "min": dim_min,
    "max": dim_max,
}
"""The functions of dims, by name."""


def _quote(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _print_term(monomial: Monomial, factor: int) -> str:
    if not monomial:
        return str(factor)
    is_alone = factor in (1, -1) and len(monomial) == 1
    texts = [
        f"({atom.text})"
        if atom.kind in ("floordiv", "mod") and not is_alone
        else atom.text
        for atom in monomial
    ]
    if factor == -1:
        return "-" + " * ".join(
            [
                f"({texts[0]})"
                if monomial[0].kind in ("floordiv", "mod") and is_alone
                else texts[0],
                *texts[1:],
            ]
        )
    return " * ".join(texts if factor == 1 else [str(factor), *texts])


def _print_operand(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim) if dim >= 0 else f"({dim})"
    is_plain = (
        len(dim.terms) == 1
        and dim.terms[0][1] == 1
        and len(dim.terms[0][0]) == 1
        and dim.terms[0][0][0].kind not in ("floordiv", "mod")
    )
    return str(dim) if is_plain else f"({dim})"


def _terms(dim: Dim) -> Terms:
    if isinstance(dim, int):
        return {(): dim} if dim else {}
    return dict(dim.terms)


def _from_terms(terms: Terms) -> Dim:
    kept = [(monomial, factor) for monomial, factor in terms.items() if factor]
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    kept.sort(key=lambda term: (-len(term[0]), [atom.text for atom in term[0]]))
    return DimExpr(tuple(kept))


def atoms_of(dim: Dim) -> Iterable[Atom]:
    """The atoms of a dim, once per occurrence."""
    if isinstance(dim, int):
        return ()
    return (atom for monomial, _ in dim.terms for atom in monomial)


def _apply(kind: AtomKind, operands: tuple[Dim, ...]) -> DimExpr:
    if kind in ("min", "max"):
        text = f"{kind}({', '.join(map(str, operands))})"
    else:
        text = f" {kind} ".join(map(_print_operand, operands))
    return DimExpr((((Atom(text, kind, operands),), 1),))


@lru_cache(maxsize=REMEMBERED)
def _add(left: Dim, right: Dim, sign: int) -> Dim:
    terms = _terms(left)
    for monomial, factor in _terms(right).items():
        terms[monomial] = terms.get(monomial, 0) + sign * factor
    return _from_terms(terms)


@lru_cache(maxsize=REMEMBERED)
def _multiply(left: Dim, right: Dim) -> Dim:
    terms: Terms = {}
    for left_atoms, left_factor in _terms(left).items():
        for right_atoms, right_factor in _terms(right).items():
            atoms = sorted((*left_atoms, *right_atoms), key=lambda atom: atom.text)
            monomial = tuple(atoms)
            terms[monomial] = terms.get(monomial, 0) + left_factor * right_factor
    return _from_terms(terms)


def require_positive(value: Dim) -> None:
    """Raise `ShapeError` if a divisor is a constant that is not positive."""
    if isinstance(value, int) and value <= 0:
        raise ShapeError(f"expected a positive divisor, got {value}")


@lru_cache(maxsize=REMEMBERED)
def _floordiv(dividend: Dim, by: Dim) -> Dim:
    require_positive(by)
    if isinstance(dividend, int) and isinstance(by, int):
        return dividend // by
    quotient, rest = _divide_terms(dividend, by)
    if rest == 0 or by == 1:
        return quotient
    smaller = _cancel(rest, by, floor=True)
    if smaller != (rest, by):
        return quotient + _floordiv(*smaller)
    if (merged := _merge_floordiv(rest, by)) is not None:
        return quotient + _floordiv(*merged)
    low, high = bounds(rest)
    if isinstance(by, int) and low // by == high // by and math.isfinite(low):
        return quotient + int(low // by)
    if low >= 0 and bounds(by - 1 - rest)[0] >= 0:
        return quotient
    return quotient + _apply("floordiv", (rest, by))


@lru_cache(maxsize=REMEMBERED)
def _mod(dividend: Dim, by: Dim) -> Dim:
    require_positive(by)
    if isinstance(dividend, int) and isinstance(by, int):
        return dividend % by
    _, rest = _divide_terms(_drop_inner_mod(dividend, by), by)
    if rest == 0 or by == 1:
        return 0
    smaller, smaller_by = _cancel(rest, by, floor=False)
    if smaller_by != by:
        scale, _ = _divide_terms(by, smaller_by)
        return scale * _mod(smaller, smaller_by)
    if bounds(rest)[0] >= 0 and bounds(by - 1 - rest)[0] >= 0:
        return rest
    return _apply("mod", (rest, by))


def _divide_terms(dividend: Dim, by: Dim) -> tuple[Dim, Dim]:
    """`(quotient, rest)` with `dividend == quotient * by + rest`.

    Term by term when `by` is one term (coefficients of the rest lie in [0, by)); by
    exact long division otherwise, all or nothing.
    """
    by_terms = list(_terms(by).items())
    if len(by_terms) != 1:
        exact = _divide_exactly(dividend, by)
        return (0, dividend) if exact is None else (exact, 0)
    by_atoms, by_factor = by_terms[0]
    quotient: Terms = {}
    rest: Terms = {}
    for monomial, factor in _terms(dividend).items():
        reduced = _remove_atoms(monomial, by_atoms)
        if reduced is None:
            rest[monomial] = factor
            continue
        whole, remainder = divmod(factor, by_factor)
        quotient[reduced], rest[monomial] = whole, remainder
    return _from_terms(quotient), _from_terms(rest)


def _divide_exactly(dividend: Dim, by: Dim) -> Dim | None:
    """Polynomial long division, or None if there is a remainder."""
    lead_atoms, lead_factor = next(iter(_terms(by).items()))
    quotient: Dim = 0
    rest = dividend
    for _ in range(32):
        if rest == 0:
            return quotient
        atoms, factor = next(iter(_terms(rest).items()))
        reduced = _remove_atoms(atoms, lead_atoms)
        if reduced is None or factor % lead_factor:
            return None
        step = _from_terms({reduced: factor // lead_factor})
        quotient, rest = quotient + step, rest - step * by
    return None


def _remove_atoms(monomial: Monomial, atoms: Monomial) -> Monomial | None:
    left = list(monomial)
    for atom in atoms:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)


def _cancel(rest: Dim, by: Dim, *, floor: bool) -> tuple[Dim, Dim]:
    """Divide both by their common atoms and integer factor.

    With `floor`, a constant of `rest` that is no multiple of the factor is rounded
    down: `(2a + 1) floordiv 4` is `a floordiv 2`.
    """
    terms = {**_terms(rest)}
    constant = terms.pop((), 0) if floor else 0
    everything = [*terms.items(), *_terms(by).items()]
    factor = math.gcd(*(factor for _, factor in everything))
    common: list[Atom] = []
    if not constant:
        for atom in everything[0][0]:
            trial = (*common, atom)
            if all(_remove_atoms(m, trial) is not None for m, _ in everything):
                common.append(atom)

    def shrink(these: Terms) -> Dim:
        return _from_terms(
            {
                _remove_atoms(monomial, tuple(common)) or (): value // factor
                for monomial, value in these.items()
            }
        )

    return shrink(terms) + constant // factor, shrink(_terms(by))


def _merge_floordiv(rest: Dim, by: Dim) -> tuple[Dim, Dim] | None:
    """`(x floordiv a + k) floordiv b` is `(x + k a) floordiv (a b)`."""
    terms = _terms(rest)
    constant = terms.pop((), 0)
    if len(terms) != 1:
        return None
    (monomial, factor), *_ = terms.items()
    if factor != 1 or len(monomial) != 1 or monomial[0].kind != "floordiv":
        return None
    inner, inner_by = monomial[0].operands
    return inner + constant * inner_by, inner_by * by


def _drop_inner_mod(dividend: Dim, by: Dim) -> Dim:
    """`(x mod (k b)) mod b` is `x mod b`."""
    total: Dim = 0
    for monomial, factor in _terms(dividend).items():
        values: list[Dim] = []
        for atom in monomial:
            if atom.kind == "mod" and _divide_terms(atom.operands[1], by)[1] == 0:
                values.append(atom.operands[0])
            else:
                values.append(DimExpr((((atom,), 1),)))
        total = total + factor * product(values)
    return total


def _extremum(kind: Literal["min", "max"], dims: Sequence[Dim]) -> Dim:
    if not dims:
        raise ShapeError(f"expected at least one operand of {kind}, got none")
    flat: list[Dim] = []
    for dim in dims:
        nested = None if isinstance(dim, int) else _as_call(dim, kind)
        flat.extend((dim,) if nested is None else nested)
    kept: list[Dim] = []
    for dim in flat:
        if any(_wins(kind, other, dim) for other in kept):
            continue
        kept = [other for other in kept if not _wins(kind, dim, other)] + [dim]
    if len(kept) == 1:
        return kept[0]
    return _apply(kind, tuple(sorted(kept, key=str)))


def _as_call(dim: DimExpr, kind: AtomKind) -> tuple[Dim, ...] | None:
    monomial, factor = dim.terms[0]
    is_call = len(dim.terms) == 1 and factor == 1 and len(monomial) == 1
    return monomial[0].operands if is_call and monomial[0].kind == kind else None


def _wins(kind: Literal["min", "max"], left: Dim, right: Dim) -> bool:
    return is_zero_or_more(right - left if kind == "min" else left - right)
