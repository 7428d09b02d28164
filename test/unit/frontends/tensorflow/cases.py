"""Cases of ops: inputs and attributes drawn by hypothesis, TensorFlow as the judge.

A case draws inputs and attributes, and returns a function of `tf.raw_ops` with its
inputs. It is imported with its dims fixed or open, run by the reference interpreter,
and compared with TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]
Draw = Callable[[Any], Any]
Made = tuple[Callable[..., Any], Sequence[Array]]
Make = Callable[[Draw], Made]

FEW = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking would trace hundreds of functions
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Case:
    """One case.

    Args:
        ops: the ops that it compares with TensorFlow.
        make: draws its inputs, and makes the function of them.
        is_fixed: whether no dim may be open.
        is_last_fixed: whether the last dim, the channels, may not be open.
    """

    ops: tuple[str, ...]
    make: Make
    is_fixed: bool
    is_last_fixed: bool


class Cases(dict[str, Case]):
    """The cases of one file, by name."""

    def add(
        self, name: str, *more: str, fixed: bool = False, last: bool = False
    ) -> Callable[[Make], Make]:
        """Register a case of ops; the first name may be another than an op's."""

        def register(make: Make) -> Make:
            assert name not in self
            self[name] = Case((name, *more), make, fixed, last)
            return make

        return register

    def covered(self) -> set[str]:
        """The ops that occur in a case."""
        return {op for case in self.values() for op in case.ops}

    def run(self, name: str, draw: Draw, check: Any) -> None:
        """Draw a case and compare it with TensorFlow."""
        case = self[name]
        function, arrays = case.make(draw)
        is_open = not case.is_fixed and draw(st.booleans())
        is_last_open = is_open and not case.is_last_fixed
        check(function, *arrays, is_open=is_open, is_last_open=is_last_open)


def raw(name: str) -> Any:
    import tensorflow as tf

    return getattr(tf.raw_ops, name)


def floats(
    draw: Draw, shape: Sequence[int], low: float = -2.0, high: float = 2.0
) -> Array:
    seed = draw(st.integers(0, 99))
    values = np.random.default_rng(seed).uniform(low, high, tuple(shape))
    return values.astype(np.float32)


def ints(draw: Draw, shape: Sequence[int], low: int = -5, high: int = 6) -> Array:
    seed = draw(st.integers(0, 99))
    return np.random.default_rng(seed).integers(low, high, tuple(shape)).astype("i4")


def shape_of(draw: Draw, low: int = 1, high: int = 4, size: int = 5) -> list[int]:
    return draw(st.lists(st.integers(1, size), min_size=low, max_size=high))


def broadcast_pair(draw: Draw) -> tuple[list[int], list[int]]:
    """Two shapes that broadcast."""
    whole = shape_of(draw)
    other = [dim if draw(st.booleans()) else 1 for dim in whole]
    return whole, other[draw(st.integers(0, len(other) - 1)) :]
