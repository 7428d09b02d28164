"""Graph inputs: their dims as symbols, narrowed by the user's profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stepwell.dialects.shapes import Dim, DimRange
from stepwell.errors import OptionError, UnsupportedError
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.profiles import Profile

OPEN_DIM = DimRange(min=1)
"""What is known of a dim that nobody gave a range for."""


def input_dims(
    name: str,
    declared: Sequence[int | str | None] | None,
    builder: GraphBuilder,
    profiles: Mapping[str, Profile],
) -> list[Dim]:
    """The dims of a graph input, as numbers and symbols.

    Args:
        name: the input's name.
        declared: its dims in the model: a size, the name of one, or None for an
            unnamed dynamic one; None as a whole if the rank is not known.
        builder: gets the symbols. A named dim becomes a symbol of that name, an
            unnamed dynamic one a symbol named after input and axis.
        profiles: sizes or ranges by the name of an input or of a symbol.

    Raises:
        UnsupportedError: the rank is not known.
        OptionError: a profile contradicts the model.
    """
    profile = profiles.get(name)
    if declared is None:
        if profile is None:
            raise UnsupportedError(
                f"input {name!r} has no rank",
                fix=f"give its shape: shapes={{{name!r}: ...}}",
            )
        declared = [None] * len(profile)
    if profile is not None and len(profile) != len(declared):
        raise OptionError(
            f"expected {len(declared)} dims of input {name!r}, "
            f"got {len(profile)}: {profile}"
        )
    wanted = profile or [None] * len(declared)
    return [
        _dim(name, axis, dim, wanted[axis], builder, profiles)
        for axis, dim in enumerate(declared)
    ]


def _dim(
    name: str,
    axis: int,
    dim: int | str | None,
    wanted: int | DimRange | None,
    builder: GraphBuilder,
    profiles: Mapping[str, Profile],
) -> Dim:
    if isinstance(dim, int):
        _check(name, axis, dim, wanted)
        return dim
    if wanted is None and dim is not None and dim in profiles:
        (wanted,) = profiles[dim]
    if isinstance(wanted, int):
        return wanted
    label = dim if dim and is_name(dim) else f"{name}_{axis}"
    return builder.symbol(sanitise(label), wanted or OPEN_DIM)


def _check(name: str, axis: int, size: int, wanted: int | DimRange | None) -> None:
    fits = wanted is None or wanted == size
    if isinstance(wanted, DimRange):
        fits = wanted.min <= size and (wanted.max is None or size <= wanted.max)
    if not fits:
        raise OptionError(
            f"dim {axis} of input {name!r} is {size} in the model, got {wanted}"
        )


def is_name(text: str) -> bool:
    """Whether a `dim_param` names a size; exporters also write `?` or `-1`."""
    return any(character.isalpha() for character in text)


def sanitise(text: str) -> str:
    """A symbol's name: letters, digits and underscores, not starting with a digit."""
    word = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "dim"
    return f"d{word}" if word[0].isdigit() else word
