"""`stepwell.build(..., tolerance=...)`: engines tried until one is within the bound.

The graph is imported and simplified once; every engine is made of a copy of it: one in
FP32, one in which precision is an input, and those that are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import ModuleOp, StringAttr, UnitAttr
from xdsl.ir import Operation

from stepwell.accuracy import Bound, Simulation, meet
from stepwell.comparison import Array, worst_error
from stepwell.dialects.target import Target
from stepwell.errors import DeviceError, EngineFileError, MissingExtraError
from stepwell.lowering.graph.convert_precision import ATTRIBUTE, EXACT_PRODUCTS, REASON
from stepwell.lowering.graph.simulate_precision import UNIT
from stepwell.lowering.pipelines import Phase, phases_of
from stepwell.runtime import Engine
from stepwell.runtime.engine_file import EngineFile
from stepwell.runtime.manifest import Accuracy
from stepwell.samples import random_inputs, typical_sizes

if TYPE_CHECKING:
    from stepwell.builder import Build
    from stepwell.dialects.context import StepwellContext

RANDOM_SAMPLES = 4
"""Sets of random inputs, where none are given."""

Sample = Mapping[str, Array]


@dataclass
class BoundedBuild:
    """One build with a bound.

    Args:
        build: lowers and writes, and tells of progress.
        context: what the module's constants are in.
        target: what the engine is for.
        device: what the caller means to run it on; None is the target's own.
    """

    build: Build
    context: StepwellContext
    target: Target
    device: str | None
    bound: Bound

    def run(self, module: ModuleOp) -> EngineFile:
        """The engine of an imported module, with its errors in the manifest."""
        prepare, _ = split(self.target)
        self.build.lower(module, self.context, self.target, [prepare])
        judge, exact = self.exact(module)
        samples = self.samples(exact)
        wanted = [exact.run(sample) for sample in samples]
        simulation, places = self.simulation(module, samples)
        tried: list[tuple[float, dict[int, float], EngineFile]] = []

        def trial(raised: Sequence[int]) -> float:
            marks = {places[unit]: simulation.alone[unit] for unit in raised}
            contents = self.engine(marked(module, marks), judge, is_extra=bool(tried))
            engine = Engine(contents, device=self.device_of(judge))
            got = (engine.run(sample) for sample in samples)
            tried.append((worst_of(got, wanted), marks, contents))
            return tried[-1][0]

        meet(self.bound, simulation, trial)
        error, marks, contents = tried[-1]
        if judge is not self.target:
            contents = self.engine(marked(module, marks), self.target)
        accuracy = Accuracy(
            self.bound.tolerance,
            len(samples),
            simulation.before,
            error,
            self.device_of(judge) or judge.name,
            len(marks),
        )
        return replace(contents, manifest=replace(contents.manifest, accuracy=accuracy))

    def engine(
        self, module: ModuleOp, target: Target, is_extra: bool = True
    ) -> EngineFile:
        """Finish a prepared module, which is lowered in place.

        Args:
            is_extra: progress does not count on it yet.
        """
        _, phases = split(target)
        if is_extra:
            self.build.expect(sum(len(phase.passes) for phase in phases) + 1)
        return self.build.finish(module, self.context, target, phases)

    def device_of(self, judge: Target) -> str | None:
        """What an engine that is judged runs on."""
        return self.device if judge is self.target else None

    def exact(self, module: ModuleOp) -> tuple[Target, Engine]:
        """Where engines are judged, and the FP32 engine there: on the target's device,
        or on the CPU if that is not here."""
        host = replace(Target.parse("cpu"), threads=self.target.threads)
        for judge in (self.target, host):
            copy = module.clone()
            copy.attributes[ATTRIBUTE] = StringAttr("fp32")
            engine = Engine(
                self.engine(copy, judge), device=self.device_of(judge), start=False
            )
            try:
                engine.start()
            except (DeviceError, EngineFileError, MissingExtraError):
                if judge is host or self.device is not None:
                    raise
            else:
                return judge, engine
        raise AssertionError("the host runs engines for the host")

    def samples(self, engine: Engine) -> list[Sample]:
        """What the bound is judged on."""
        if self.bound.samples is not None:
            return [
                {name: np.asarray(value) for name, value in sample.items()}
                for sample in self.bound.samples
            ]
        sizes = typical_sizes(engine)
        return [random_inputs(engine, sizes, seed) for seed in range(RANDOM_SAMPLES)]

    def simulation(
        self, module: ModuleOp, samples: Sequence[Sample]
    ) -> tuple[Simulation, list[int]]:
        """The engine in which precision is an input, and where in the module's walk the
        first op of each unit is."""
        host = replace(Target.parse("cpu"), threads=self.target.threads)
        copy = module.clone()
        places = {op: place for place, op in enumerate(copy.walk())}
        simulate = Phase("simulate", "nn", ("simulate-precision",))
        self.build.expect(len(simulate.passes))
        self.build.lower(copy, self.context, host, [simulate])
        units = sorted(
            (int(number.data), places[op])
            for op in places
            if isinstance(number := op.attributes.get(UNIT), StringAttr)
        )
        copy.attributes[ATTRIBUTE] = StringAttr("fp32")  # what is left is not converted
        engine = Engine(self.engine(copy, host))
        self.build.expect(len(units))
        found = Simulation(engine, len(units), samples, self.build.stage)
        return found, [place for _, place in units]


def split(target: Target) -> tuple[Phase, list[Phase]]:
    """The way to a target: up to where precision is decided, and from there on."""
    graph, *rest = phases_of(target)
    at = graph.passes.index("convert-precision")
    prepare = Phase("prepare", graph.level, graph.passes[:at])
    return prepare, [replace(graph, passes=graph.passes[at:]), *rest]


def marked(module: ModuleOp, marks: Mapping[int, float]) -> ModuleOp:
    """A copy in which ops, by their places in its walk, are to stay in f32.

    Args:
        marks: the error that each makes alone in the lower precision.
    """
    copy = module.clone()
    copy.attributes[EXACT_PRODUCTS] = UnitAttr()
    ops: list[Operation] = list(copy.walk())
    for place, error in marks.items():
        reason = f"alone it makes an error of {error:.1e}"
        ops[place].attributes[REASON] = StringAttr(reason)
    return copy


def worst_of(got: Iterable[Sample], wanted: Iterable[Sample]) -> float:
    """The worst error of all outputs on all samples."""
    return max(worst_error(a, b) for a, b in zip(got, wanted, strict=True))
