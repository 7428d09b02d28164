import contextlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from stepwell.dialects.dims import (
    Dim,
    ceildiv,
    dim_max,
    dim_min,
    evaluate,
    symbol,
)
from stepwell.errors import EngineFileError, InputError
from stepwell.runtime.expressions import MAX_DEPTH, bare_symbol, parse

NAMES = ["batch", "seq", "a.b", "unk__1", "Height (px)", 'quo"ted\\']


def combine(children: st.SearchStrategy[Dim]) -> st.SearchStrategy[Dim]:
    positive = st.integers(1, 9)
    return st.one_of(
        st.builds(lambda a, b: a + b, children, children),
        st.builds(lambda a, b: a - b, children, children),
        st.builds(lambda a, b: a * b, children, children),
        st.builds(lambda a, b: a // b, children, positive),
        st.builds(lambda a, b: a % b, children, positive),
        st.builds(ceildiv, children, positive),
        st.builds(dim_min, children, children),
        st.builds(dim_max, children, children),
    )


DIMS = st.recursive(
    st.one_of(st.integers(0, 99), st.sampled_from([symbol(n) for n in NAMES])),
    combine,
    max_leaves=8,
)


@given(DIMS, st.lists(st.integers(0, 50), min_size=6, max_size=6))
def test_agrees_with_the_compilers_algebra(dim: Dim, sizes: list[int]) -> None:
    bindings = dict(zip(NAMES, sizes, strict=True))
    text = dim if isinstance(dim, int) else str(dim)
    assert parse(text)(bindings) == evaluate(dim, bindings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7 floordiv 2", 3),
        ("-7 floordiv 2", -4),
        ("ceildiv(n, 4)", 3),
        ("n ceildiv 4", 3),
        ("n mod 4", 2),
        ("2 * (n + 1) - n", 12),
        ("min(n, 4, 7)", 4),
        ("max(n, 4)", 10),
        ('"n"', 10),
    ],
)
def test_values(text: str, expected: int) -> None:
    assert parse(text)({"n": 10}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n +",
        "(n",
        "n)",
        "n n",
        "min",
        "floordiv(n)",
        "n ** 2",
        "__import__('os')",
        "n; n",
        "9" * 30,
        "(" * (MAX_DEPTH + 5) + "n" + ")" * (MAX_DEPTH + 5),
        "n + " * 10_000 + "n",
    ],
)
def test_bad_texts_are_refused(text: str) -> None:
    with pytest.raises(EngineFileError):
        parse(text)


@given(st.text(alphabet='ab01+-*() ,"\\minfloordv', max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(EngineFileError):
        parse(text)


def test_a_long_flat_sum_is_no_recursion() -> None:
    assert parse(" + ".join(["n"] * 2000))({"n": 1}) == 2000


def test_values_are_bounded() -> None:
    huge = " * ".join(["n"] * 20)
    with pytest.raises(InputError, match="below 2"):
        parse(huge)({"n": 2**20})
    with pytest.raises(InputError, match="positive divisor"):
        parse("4 floordiv n")({"n": 0})
    with pytest.raises(InputError, match="value of the symbol 'n'"):
        parse("n")({})


def test_bare_symbols() -> None:
    assert bare_symbol("batch") == "batch"
    assert bare_symbol('"two words"') == "two words"
    assert bare_symbol("2 * batch") is None
    assert bare_symbol("3") is None
    assert bare_symbol(3) is None
