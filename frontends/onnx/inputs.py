"""Graph inputs: their dims as symbols, narrowed by the user's profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx

from stepwell.dialects.shapes import Dim, DimRange
from stepwell.errors import OptionError, UnsupportedError
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.profiles import Profile

OPEN_DIM = DimRange(min=1)
"""What is known of a dim that nobody gave a range for."""


def input_dims(
    entry: onnx.ValueInfoProto, builder: GraphBuilder, profiles: Mapping[str, Profile]
) -> list[Dim]:
    """The dims of a graph input, as numbers and symbols.

    A named dim becomes a symbol of that name, an unnamed dynamic one a symbol named
    after input and axis. A profile of the input, or of a symbol, fixes or ranges it.

    Raises:
        UnsupportedError: the rank is not known.
        OptionError: a profile contradicts the model.
    """
    kind = entry.type.tensor_type
    profile = profiles.get(entry.name)
    if not kind.HasField("shape"):
        if profile is None:
            raise UnsupportedError(
                f"input {entry.name!r} has no rank",
                fix=f"give its shape: shapes={{{entry.name!r}: ...}}",
            )
        declared: Sequence[onnx.TensorShapeProto.Dimension] = [
            onnx.TensorShapeProto.Dimension() for _ in profile
        ]
    else:
        declared = kind.shape.dim
    if profile is not None and len(profile) != len(declared):
        raise OptionError(
            f"expected {len(declared)} dims of input {entry.name!r}, "
            f"got {len(profile)}: {profile}"
        )
    return [
        _dim(
            entry.name, axis, dim, profile[axis] if profile else None, builder, profiles
        )
        for axis, dim in enumerate(declared)
    ]


def _dim(
    name: str,
    axis: int,
    dim: onnx.TensorShapeProto.Dimension,
    wanted: int | DimRange | None,
    builder: GraphBuilder,
    profiles: Mapping[str, Profile],
) -> Dim:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        _check(name, axis, dim.dim_value, wanted)
        return dim.dim_value
    label = dim.dim_param if is_name(dim.dim_param) else f"{name}_{axis}"
    symbol = sanitise(label)
    if wanted is None and dim.dim_param in profiles:
        (wanted,) = profiles[dim.dim_param]
    if isinstance(wanted, int):
        return wanted
    return builder.symbol(symbol, wanted or OPEN_DIM)


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
