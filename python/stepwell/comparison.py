"""How far the outputs of an engine are from those of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class OutputError:
    """How far one output is from the other's.

    Attributes:
        absolute: max|a - b|.
        relative: max|a - b| / max|b|; infinite for NaN, for an infinity that is not in
            both, or for another shape or dtype.
    """

    name: str
    absolute: float
    relative: float


def error_of(name: str, ours: Array, theirs: Array) -> OutputError:
    """The distance of two arrays. NaN is never near anything, not even NaN: an output
    of it proves nothing. Infinities must be in the same places."""
    infinite = OutputError(name, float("inf"), float("inf"))
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return infinite
    if theirs.dtype == np.object_ or theirs.dtype == np.bool_:
        same = bool((ours == theirs).all())
        return OutputError(name, 0.0, 0.0) if same else infinite
    kind = np.complex128 if theirs.dtype.kind == "c" else np.float64
    a, b = ours.astype(kind), theirs.astype(kind)
    finite = np.isfinite(b)
    if np.isnan(a).any() or np.isnan(b).any():
        return infinite
    if not np.array_equal(np.isfinite(a), finite):
        return infinite
    if not np.array_equal(a[~finite], b[~finite]):
        return infinite
    if not finite.any():
        return OutputError(name, 0.0, 0.0)
    absolute = float(np.abs(a[finite] - b[finite]).max())
    scale = float(np.abs(b[finite]).max())
    relative = absolute / scale if scale else (0.0 if absolute == 0 else float("inf"))
    return OutputError(name, absolute, relative)


def worst_error(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
    """The largest relative error of all outputs."""
    errors = [error_of(name, ours[name], array) for name, array in theirs.items()]
    return max((one.relative for one in errors), default=0.0)
