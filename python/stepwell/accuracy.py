"""Which ops a lower precision may not have, for outputs to stay within a bound.

The error that one op makes in a lower precision is not known beforehand, and measuring
it takes a build. So one engine is built in which the precision of each unit of the
graph is an input (`simulate-precision`): the error of any choice is then one run. Units
are raised to f32 in the order of the errors that each makes alone, the fewest that it
takes, found by bisection; then the engine itself is built and measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stepwell.comparison import Array, worst_error
from stepwell.errors import AccuracyError, OptionError
from stepwell.lowering.graph.simulate_precision import SWITCHES
from stepwell.runtime import Engine

MARGIN = 2.0
"""How far below the bound the search aims: inputs other than the samples err more."""

HARDEST = 2
"""Samples on which the error of each unit alone is measured."""

BUILDS = 4
"""Engines that are built and measured at most, the last with every unit in f32."""

Tick = Callable[[str], None]
"""Called as a step begins."""


@dataclass(frozen=True)
class Bound:
    """How far outputs may be from those in FP32, and where that is judged.

    Args:
        tolerance: of max|a - b| / max|b|, the largest of all outputs.
        samples: sets of inputs by name; by default random ones.

    Raises:
        OptionError: the tolerance is not above 0, or there are no samples.
    """

    tolerance: float
    samples: Sequence[Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < float("inf"):
            raise OptionError(f"expected a tolerance above 0, got {self.tolerance}")
        if self.samples is not None and len(self.samples) == 0:
            raise OptionError("expected at least one set of samples, got none")


class Simulation:
    """An engine in which the precision of each unit is an input.

    Args:
        engine: built behind `simulate-precision`.
        units: how many switches it has.
        tick: called before the error of each unit alone.
    """

    def __init__(
        self,
        engine: Engine,
        units: int,
        samples: Sequence[Mapping[str, Array]],
        tick: Tick = lambda _: None,
    ) -> None:
        self._engine, self._samples, self._tick = engine, samples, tick
        self.units = units
        self._wanted = [self._run(sample, ()) for sample in samples]

    def _run(
        self, sample: Mapping[str, Array], narrow: Collection[int]
    ) -> dict[str, Array]:
        switches = np.zeros(max(1, self.units), np.bool_)
        switches[list(narrow)] = True
        return self._engine.run({**sample, SWITCHES: switches})

    def _error(self, number: int, narrow: Collection[int]) -> float:
        """The error on one sample."""
        return worst_error(
            self._run(self._samples[number], narrow), self._wanted[number]
        )

    @cached_property
    def _all(self) -> list[float]:
        """On each sample, the error with all units in the lower precision."""
        units = range(self.units)
        return [self._error(i, units) for i in range(len(self._samples))]

    @property
    def before(self) -> float:
        """The error with all units in the lower precision."""
        return max(self._all)

    @cached_property
    def _hardest(self) -> list[int]:
        """The samples, those first that suffer most."""
        return sorted(range(len(self._all)), key=lambda i: -self._all[i])

    def fits(self, narrow: Collection[int], goal: float) -> bool:
        """Whether the error is at most `goal` with these units in the lower precision.

        What breaks it is mostly seen on the first samples.
        """
        return all(self._error(i, narrow) <= goal for i in self._hardest)

    @cached_property
    def alone(self) -> list[float]:
        """The error that each unit makes alone, on the samples that suffer most."""
        samples, found = self._hardest[:HARDEST], list[float]()
        for unit in range(self.units):
            self._tick(f"error of op {unit + 1} of {self.units}")
            found.append(max(self._error(i, (unit,)) for i in samples))
        return found

    def fewest(self, goal: float) -> tuple[int, ...]:
        """The units to raise for an error of at most `goal`, worst first.

        The error is taken to fall with every unit that is raised; what is returned was
        measured, or is all of them.
        """
        if self.before <= goal:
            return ()
        order = sorted(range(self.units), key=lambda unit: -self.alone[unit])
        low, high = 0, self.units
        while high - low > 1:
            middle = (low + high) // 2
            if self.fits(order[middle:], goal):
                high = middle
            else:
                low = middle
        return tuple(order[:high])


def meet(
    bound: Bound, simulation: Simulation, trial: Callable[[Sequence[int]], float]
) -> None:
    """Try engines until one is within the bound.

    Args:
        trial: builds an engine with these units raised; its error.

    Raises:
        AccuracyError: with every unit in f32 it is not either.
    """
    goal = bound.tolerance / MARGIN
    for build in range(BUILDS):
        last = build == BUILDS - 1
        raised = tuple(range(simulation.units)) if last else simulation.fewest(goal)
        error = trial(raised)
        if error <= bound.tolerance:
            return
        if len(raised) == simulation.units:
            raise AccuracyError(
                f"expected a relative error of at most {bound.tolerance:.1e}, got "
                f"{error:.1e} with every op that can be raised in f32",
                notes=["what is left is rounded by the model itself, or overflows"],
                fix="allow more, or judge the model by its task",
            )
        goal *= min(0.5, bound.tolerance / error / MARGIN)
