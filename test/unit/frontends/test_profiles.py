"""Profiles: one grammar for the command line and the Python API."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.dialects.shapes import DimRange
from stepwell.errors import OptionError
from stepwell.frontends.profiles import as_profiles, parse_shape, parse_shape_options


def test_a_profile_has_ranges_and_best_sizes() -> None:
    options = parse_shape_options(["x=1..32x3x224x224:8x3x224x224", "y=?x7"])
    assert options["x"] == (DimRange(1, 32, 8), 3, 224, 224)
    assert options["y"] == (None, 7)


def test_a_name_may_contain_an_equals_sign_and_colons() -> None:
    assert parse_shape_options(["a=b:0=1..2"]) == {"a=b:0": (DimRange(1, 2),)}


def test_sequences_mean_the_same_as_text() -> None:
    given_as = {"x": [(1, 8, 32), 3, (4, 5), None], "batch": (1, 4), "n": "1..4"}
    assert as_profiles({"x": given_as["x"]})["x"] == (
        DimRange(1, 32, 8),
        3,
        DimRange(4, 5),
        None,
    )
    assert as_profiles({"n": "1..4"})["n"] == (DimRange(1, 4),)


def test_a_scalar_has_no_dims() -> None:
    assert parse_shape("") == ()


@pytest.mark.parametrize(
    "text", ["1..x3", "-1", "axb", "3:x", "2x3:4", "5..2", "1..4:9", "1...4", "1.5"]
)
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="expected"):
        parse_shape(text)


@pytest.mark.parametrize("option", ["", "x", "=3"])
def test_an_option_without_a_name_is_refused(option: str) -> None:
    with pytest.raises(OptionError, match="expected a shape such as"):
        parse_shape_options([option])


@given(st.text(max_size=12))
def test_any_text_is_a_profile_or_an_option_error(text: str) -> None:
    with suppress(OptionError):
        assert isinstance(parse_shape(text), tuple)
