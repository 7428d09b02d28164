"""Times of single kernels: the program, run launch by launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .inputs import to_arrays
from .manifest import Launch

if TYPE_CHECKING:
    from .engine import Engine


@dataclass(frozen=True)
class KernelTime:
    """One launch of the program.

    Attributes:
        calls: how often it ran in one inference (more than once in a loop).
        seconds: the median of its time in one inference, all calls together.
    """

    launch: Launch
    calls: int
    seconds: float


def profile(
    engine: Engine, inputs: Mapping[str, Any], runs: int = 10
) -> list[KernelTime]:
    """The time of each launch, in the order of the program.

    Each launch runs by itself, with the caller's clock around it: the sum is larger
    than the time of an undisturbed run.
    """
    arrays = to_arrays(engine.inputs, (), inputs)
    context = engine.context()
    context.run(arrays)
    rounds: list[dict[int, tuple[Launch, int, float]]] = []
    for _ in range(runs):
        found: dict[int, tuple[Launch, int, float]] = {}

        def observe(
            launch: Launch,
            start: float,
            seconds: float,
            found: dict[int, tuple[Launch, int, float]] = found,
        ) -> None:
            _, calls, total = found.get(id(launch), (launch, 0, 0.0))
            found[id(launch)] = (launch, calls + 1, total + seconds)

        context.run(arrays, observe)
        rounds.append(found)
    return _medians(rounds)


def _medians(
    rounds: Sequence[Mapping[int, tuple[Launch, int, float]]],
) -> list[KernelTime]:
    last = rounds[-1] if rounds else {}
    times: list[KernelTime] = []
    for key, (launch, calls, _) in last.items():
        seconds = [found[key][2] for found in rounds if key in found]
        times.append(KernelTime(launch, calls, float(np.median(seconds))))
    return times
