"""Inputs for an engine that nobody has given any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stepwell.runtime import Engine
from stepwell.runtime.expressions import bare_symbol, parse
from stepwell.runtime.manifest import SymbolRange

Array = np.ndarray[Any, Any]

LIKELY_SIZE = 64
"""The size tried for a dim of which nothing is known."""

RANDOM_INTEGERS = 2
"""Random integer inputs are 0 or 1: they may be indices, or a mask."""


def typical_sizes(engine: Engine) -> dict[str, int]:
    """A value for each symbol of the inputs: the one that the engine is tuned for, or
    within its range 1 for a first dim (a batch) and `LIKELY_SIZE` for others."""
    sizes: dict[str, int] = {}
    for spec in engine.inputs:
        for axis, dim in enumerate(spec.shape):
            if (name := bare_symbol(dim)) is not None and name not in sizes:
                known = spec.ranges.get(name, SymbolRange(min=1))
                likely = known.opt or (LIKELY_SIZE if axis else 1)
                sizes[name] = within(known, likely)
    return sizes


def within(known: SymbolRange, size: int) -> int:
    """The nearest size in a range and of its divisor; at least 1 where that is in."""
    step, high = known.divisor, known.max
    low = -(-max(known.min, 1) // step) * step
    size = max(low, size // step * step)
    return size if high is None else min(size, high // step * step)


def random_inputs(
    engine: Engine, sizes: Mapping[str, int], seed: int
) -> dict[str, Array]:
    """Normal floats, small integers, coin-toss booleans."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for spec in engine.inputs:
        shape = tuple(parse(dim)(sizes) for dim in spec.shape)
        arrays[spec.name] = _random(rng, shape, spec.dtype)
    return arrays


def _random(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0, RANDOM_INTEGERS, shape).astype(dtype)
    if dtype.kind == "c":
        parts = rng.standard_normal((2, *shape))
        return (parts[0] + 1j * parts[1]).astype(dtype)
    if dtype == np.object_:
        return np.full(shape, "text", object)
    return rng.standard_normal(shape).astype(dtype)
