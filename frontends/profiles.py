"""The sizes an engine must serve: `x=1..32x3x224x224:8x3x224x224`.

A profile gives each dim of an input as a number or a range `min..max`; what follows the
colon is the size to tune for. Every frontend and the command line read it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from stepwell.dialects.shapes import DimRange
from stepwell.errors import OptionError

DimSpec = int | DimRange | tuple[int, int] | tuple[int, int, int] | None
"""A size, a range, `(min, max)`, `(min, opt, max)`, or None to leave the dim open."""

ShapeSpec = str | Sequence[DimSpec] | int | DimRange
"""One input's profile, as text or dim by dim; or of one symbol by its name."""

Profile = tuple[int | DimRange | None, ...]

_DIM = re.compile(r"(\d+)(?:\.\.(\d+))?|(\?)")


def parse_shape_options(options: Iterable[str]) -> dict[str, Profile]:
    """Profiles from texts `name=dims`, as `--shape` of the command line gives them."""
    profiles: dict[str, Profile] = {}
    for option in options:
        name, equals, text = option.rpartition("=")
        if not equals or not name:
            raise _bad(option)
        profiles[name] = parse_shape(text)
    return profiles


def as_profiles(shapes: Mapping[str, ShapeSpec] | None) -> dict[str, Profile]:
    """Profiles by input or symbol name, from every form that `ShapeSpec` allows."""
    return {name: as_profile(spec) for name, spec in (shapes or {}).items()}


def as_profile(spec: ShapeSpec) -> Profile:
    """One profile, from text or from a sequence of dims.

    Raises:
        OptionError: it is no profile, or a range is empty.
    """
    if isinstance(spec, str):
        return parse_shape(spec)
    if isinstance(spec, int | DimRange):
        return (_as_dim(spec),)
    return tuple(_as_dim(dim) for dim in spec)


def parse_shape(text: str) -> Profile:
    """A profile from `dim x dim ... [: opt x opt ...]`; `?` leaves a dim open."""
    sizes, colon, best = text.replace(" ", "").partition(":")
    if not sizes:
        return ()
    parts = sizes.split("x")
    opts = best.split("x") if colon else [None] * len(parts)
    if len(opts) != len(parts):
        raise _bad(text)
    return tuple(
        _parse_dim(part, opt, text) for part, opt in zip(parts, opts, strict=True)
    )


def _parse_dim(part: str, opt: str | None, text: str) -> int | DimRange | None:
    match = _DIM.fullmatch(part)
    if match is None or (opt is not None and not opt.isdecimal()):
        raise _bad(text)
    if match[3]:
        return None
    low = int(match[1])
    high = int(match[2] or low)
    best = None if opt is None else int(opt)
    return low if match[2] is None else _range(low, best, high, text)


def _as_dim(dim: DimSpec) -> int | DimRange | None:
    if isinstance(dim, tuple):
        low, high = dim[0], dim[-1]
        return _range(low, dim[1] if len(dim) == 3 else None, high, str(dim))
    if isinstance(dim, int) and (isinstance(dim, bool) or dim < 0):
        raise _bad(str(dim))
    return dim


def _range(low: int, opt: int | None, high: int, text: str) -> int | DimRange:
    if low > high or (opt is not None and not low <= opt <= high):
        raise OptionError(
            f"expected min <= opt <= max, got {text!r}",
        )
    return low if low == high else DimRange(low, high, opt)


def _bad(text: str) -> OptionError:
    return OptionError(
        f"expected a shape such as 1..32x3x224x224:8x3x224x224, got {text!r}",
        notes=["each dim is a number, a range min..max, or ?; after : the best sizes"],
    )
