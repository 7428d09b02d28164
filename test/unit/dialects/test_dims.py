"""The algebra of dims against Python's integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.dialects.dims import (
    Dim,
    DimExpr,
    DimRange,
    bounds,
    ceildiv,
    dim_max,
    dim_min,
    divisor,
    evaluate,
    is_zero_or_more,
    may_be_equal,
    parse_dim,
    product,
    substitute,
    symbol,
    symbols_of,
)
from stepwell.errors import ShapeError

NAMES = ("batch", "seq", "unk 1")
Bindings = dict[str, int]


@dataclass(frozen=True)
class Case:
    """A dim, and the same computed on Python integers."""

    dim: Dim
    value: Callable[[Bindings], int]


def _leaf_symbol(name: str) -> Case:
    return Case(symbol(name), lambda env: env[name])


def _leaf_number(number: int) -> Case:
    return Case(number, lambda env: number)


def _combine(kind: str, a: Case, b: Case, by: int) -> Case:
    match kind:
        case "+":
            return Case(a.dim + b.dim, lambda env: a.value(env) + b.value(env))
        case "-":
            return Case(a.dim - b.dim, lambda env: a.value(env) - b.value(env))
        case "*":
            return Case(a.dim * b.dim, lambda env: a.value(env) * b.value(env))
        case "min":
            value = lambda env: min(a.value(env), b.value(env))  # noqa: E731
            return Case(dim_min(a.dim, b.dim), value)
        case "max":
            value = lambda env: max(a.value(env), b.value(env))  # noqa: E731
            return Case(dim_max(a.dim, b.dim), value)
        case "//":
            return Case(a.dim // by, lambda env: a.value(env) // by)
        case "ceildiv":
            return Case(ceildiv(a.dim, by), lambda env: -(-a.value(env) // by))
        case _:
            return Case(a.dim % by, lambda env: a.value(env) % by)


def _by_symbol(kind: str, a: Case, name: str, plus: int) -> Case:
    """A division by `name + plus`, which is positive."""
    by = symbol(name) + plus
    if kind == "//":
        return Case(a.dim // by, lambda env: a.value(env) // (env[name] + plus))
    return Case(a.dim % by, lambda env: a.value(env) % (env[name] + plus))


LEAVES = st.sampled_from(NAMES).map(_leaf_symbol) | st.integers(-9, 9).map(_leaf_number)
CASES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            _combine,
            st.sampled_from(["+", "-", "*", "min", "max", "//", "ceildiv", "%"]),
            inner,
            inner,
            st.integers(1, 12),
        )
        | st.builds(
            _by_symbol,
            st.sampled_from(["//", "%"]),
            inner,
            st.sampled_from(NAMES),
            st.integers(0, 3),
        )
    ),
    max_leaves=8,
)
BINDINGS = st.fixed_dictionaries({name: st.integers(1, 40) for name in NAMES})


@given(CASES, BINDINGS)
def test_evaluates_like_python(case: Case, env: Bindings) -> None:
    assert evaluate(case.dim, env) == case.value(env)


@given(CASES)
def test_text_reads_back(case: Case) -> None:
    assert parse_dim(str(case.dim)) == case.dim


@given(CASES, BINDINGS)
def test_bounds_hold_every_value(case: Case, env: Bindings) -> None:
    ranges = {name: DimRange(min=1, max=40) for name in NAMES}
    low, high = bounds(case.dim, ranges)
    assert low <= case.value(env) <= high
    low, high = bounds(case.dim)
    assert low <= case.value(env) <= high


@given(CASES, BINDINGS)
def test_divisor_divides_every_value(case: Case, env: Bindings) -> None:
    ranges = {name: DimRange(divisor=4) for name in NAMES}
    env = {name: 4 * size for name, size in env.items()}
    known = divisor(case.dim, ranges)
    value = case.value(env)
    assert value == 0 if known == 0 else value % known == 0


@given(CASES, CASES, BINDINGS)
def test_substitution_is_composition(case: Case, inner: Case, env: Bindings) -> None:
    replaced = substitute(case.dim, {"batch": dim_max(inner.dim, 1)})
    inside = {**env, "batch": max(inner.value(env), 1)}
    assert evaluate(replaced, env) == case.value(inside)


@given(CASES, CASES, BINDINGS)
def test_equal_dims_have_equal_values(a: Case, b: Case, env: Bindings) -> None:
    if a.dim == b.dim:
        assert hash(a.dim) == hash(b.dim)
        assert a.value(env) == b.value(env)
    if not may_be_equal(a.dim, b.dim):
        assert a.value(env) != b.value(env)


B, S = symbol("batch"), symbol("seq")


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (B * S // 2, "(batch * seq) floordiv 2"),
        (B * 4 // 2, "2 * batch"),
        (ceildiv(S, 64), "(seq + 63) floordiv 64"),
        ((S + 1) * B // (S + 1), "batch"),
        ((2 * S + 1) // 4, "seq floordiv 2"),
        ((S // 2 + 1) // 2, "(seq + 2) floordiv 4"),
        (S % 4 // 4, "0"),
        (B * S * 768 // (S * 64), "12 * batch"),
        ((4 * B + S) % 4, "seq mod 4"),
        (S % 8 % 4, "seq mod 4"),
        (B * 6 % 4, "2 * (batch mod 2)"),
        (dim_min(S, S + 3), "seq"),
        (dim_max(0, B), "batch"),
        (dim_min(S, 512, dim_min(B, 7)), "min(7, batch, seq)"),
        (-(S // 4) * B, "-batch * (seq floordiv 4)"),
        (-(S % 4), "-(seq mod 4)"),
        (3 - S, "-seq + 3"),
        (symbol("a b") * 2, '2 * "a b"'),
        (S - S + 5, "5"),
        (S // B // S, "1 floordiv batch"),
        (1 // B // 2, "0"),
        (S + -1 // B, "(-1) floordiv batch + seq"),
        (product([2, B, 3]), "6 * batch"),
    ],
)
def test_normal_form(dim: Dim, text: str) -> None:
    assert str(dim) == text


@pytest.mark.parametrize(
    ("text", "dim"),
    [
        ("batch * seq floordiv 2", B * S // 2),
        ("batch * (seq floordiv 2)", B * (S // 2)),
        ("ceildiv(seq, 64)", (S + 63) // 64),
        ("seq ceildiv 64", (S + 63) // 64),
        ("min(seq, 512) mod 8", dim_min(S, 512) % 8),
        ("1 - -batch", B + 1),
        ("42", 42),
    ],
)
def test_parses(text: str, dim: Dim) -> None:
    assert parse_dim(text) == dim


@pytest.mark.parametrize(
    "text", ["", "batch +", "batch seq", "min()", "mod(1)", "(batch", "batch, 2", "1.5"]
)
def test_refuses_what_is_no_dim(text: str) -> None:
    with pytest.raises(ShapeError, match="expected"):
        parse_dim(text)


@pytest.mark.parametrize("by", [0, -2])
def test_refuses_a_divisor_that_is_not_positive(by: int) -> None:
    with pytest.raises(ShapeError, match="expected a positive divisor"):
        _ = S // by
    with pytest.raises(ShapeError, match="expected a positive divisor"):
        _ = S % by


def test_names_the_symbols_without_a_value() -> None:
    with pytest.raises(ShapeError, match="expected a value for seq in batch"):
        evaluate(B * S, {"batch": 1})


def test_knows_its_symbols() -> None:
    assert symbols_of(dim_min(B, S // 2) * 3) == {"batch", "seq"}
    assert symbols_of(7) == frozenset()


def test_symbols_are_sizes() -> None:
    assert is_zero_or_more(B * S)
    assert not is_zero_or_more(B - 1)
    assert is_zero_or_more(B - 1, {"batch": DimRange(min=1)})


def test_a_symbol_is_only_itself() -> None:
    assert B.as_symbol() == "batch"
    assert isinstance(B + 1, DimExpr)
    assert (B * S).as_symbol() is None  # type: ignore[union-attr]
    assert (S // 2).as_symbol() is None  # type: ignore[union-attr]
