"""From a program to `func.func @main`: symbols, arguments, the graph, results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy
import torch
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.dtypes import i64
from stepwell.dialects.shapes import DimExpr, DimRange
from stepwell.errors import OptionError
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.profiles import Profile
from stepwell.frontends.report import Report

from .guards import Guard
from .importer import CallIssue, GraphImporter, Weight
from .program import Input, Program
from .symbols import Relation, Symbols
from .tensors import element_of_dtype


class Assembler:
    """Imports one program.

    With `weights` false, to check it, its weights become arguments (none is read) and
    errors in calls are issues.
    """

    def __init__(
        self,
        program: Program,
        context: StepwellContext,
        profiles: Mapping[str, Profile],
        *,
        weights: bool = True,
    ) -> None:
        self.program = program
        self.name = program.name
        self.profiles = profiles
        self.weights = weights
        self.builder = GraphBuilder(context)
        self.symbols = Symbols(self.builder, program.ranges)
        self.importer = GraphImporter(self.builder, self.symbols, strict=weights)

    def run(self) -> ModuleOp:
        """The module.

        Raises:
            UnsupportedError: lists all that is not supported.
            OptionError: a profile does not fit the program.
        """
        self.check_profiles()
        with self.builder.inside(self.builder.entry):
            values = self.import_graph()
            if self.importer.issues:
                raise self.report().error()
            results: dict[str, SSAValue] = {}
            for name, value in zip(self.program.outputs, values, strict=True):
                if name is not None and value is not None:
                    with self.builder.at(name):
                        results[name] = self.result(value)
        return self.builder.finish(list(results), list(results.values()))

    def check(self) -> list[CallIssue]:
        """All that is not supported."""
        with self.builder.inside(self.builder.entry):
            self.import_graph()
        return self.importer.issues

    def report(self) -> Report:
        """The issues found so far."""
        importer = self.importer
        return Report(self.name, dict(importer.ops), tuple(importer.issues))

    def import_graph(self) -> list[Any]:
        """The values of the outputs."""
        self.define_symbols()
        inputs = [self.argument(entry) for entry in self.program.inputs]
        with self.builder.at("guards"):
            for guard in self.program.guards:
                self.check_guard(guard)
        return self.importer.import_graph(self.program.module, inputs)

    # Inputs

    def define_symbols(self) -> None:
        """Name every symbol that is the size of an input, or that follows from one."""
        derived: list[tuple[torch.SymInt, str]] = []
        for entry in self.program.inputs:
            fake = entry.node.meta.get("val")
            if not entry.is_input or not isinstance(fake, torch.Tensor):
                continue
            profile = self.profiles.get(entry.name)
            for axis, size in enumerate(fake.shape):
                if not isinstance(size, torch.SymInt):
                    continue
                label = f"{entry.name}_{axis}"
                if isinstance(size.node.expr, sympy.Symbol):
                    wanted = None if profile is None else profile[axis]
                    self.define(size, label, wanted)
                else:
                    derived.append((size, label))
        for size, label in derived:
            self.symbols.define_derived(size.node.expr, label)

    def define(
        self, size: torch.SymInt, label: str, wanted: int | DimRange | None
    ) -> None:
        """Name the symbol that is a size, unless it has a name."""
        expression = size.node.expr
        if self.symbols.is_known(expression):
            return
        name = given_name(size, expression) or label
        if wanted is None and name in self.profiles:
            (wanted,) = self.profiles[name]
        known = self.symbols.range_of(expression)
        require_within(f"{name!r}", known, wanted)
        if wanted is None:
            wanted = tuned_for(known, size.node.hint)
        self.symbols.define(expression, name, wanted)

    def argument(self, entry: Input) -> Any:
        """What a placeholder stands for."""
        fake = entry.node.meta.get("val")
        if isinstance(entry.value, Weight) and self.weights:
            return entry.value
        if not entry.is_input and not isinstance(entry.value, Weight):
            return entry.value
        if isinstance(fake, torch.SymInt):
            return self.size_argument(entry, fake)
        if not isinstance(fake, torch.Tensor):
            return fake
        dims = self.symbols.dims(fake.shape)
        element = element_of_dtype(fake.dtype)
        return self.builder.argument(entry.name, dims, element)

    def size_argument(self, entry: Input, size: torch.SymInt) -> Any:
        """A placeholder that is a size: known from a tensor, or an argument."""
        expression = size.node.expr
        if isinstance(expression, sympy.Symbol) and not self.symbols.is_known(
            expression
        ):
            dim = self.symbols.define(expression, entry.name)
            assert isinstance(dim, DimExpr)
            value = self.builder.argument(entry.name, (), i64)
            self.builder.read_symbols(value, [str(dim.as_symbol())])
            return dim
        return self.symbols.dim(size)

    def check_guard(self, guard: Guard) -> None:
        """A check of a condition on sizes, unless their ranges decide it."""
        wanted = (guard.condition,) if guard.is_plain else guard.pins
        if not all(map(self.symbols.is_known, guard.condition.free_symbols)):
            return
        for test in map(self.symbols.truth, wanted):
            if test is False:
                raise OptionError(f"expected other shapes: {guard}")
            if isinstance(test, Relation):
                test.expect(str(guard))

    # Outputs

    def result(self, value: Any) -> SSAValue:
        """An output of the graph as a tensor."""
        value = self.importer.read(value)
        if isinstance(value, SSAValue):
            return value
        if isinstance(value, int | DimExpr) and not isinstance(value, bool):
            return self.builder.dim_value(value)
        if isinstance(value, Relation):
            sides = map(self.builder.dim_value, (value.left, value.right))
            return nn.CompareOp(*sides, predicate=value.predicate).results[0]
        assert isinstance(value, bool | float)
        return self.builder.constant(np.array(value))

    # Profiles

    def check_profiles(self) -> None:
        """Refuse profiles of what the program does not have."""
        inputs = {
            entry.name: fake.shape
            for entry in self.program.inputs
            if isinstance(fake := entry.node.meta.get("val"), torch.Tensor)
            and entry.is_input
        }
        names = set(inputs)
        for name, shape in inputs.items():
            for axis, size in enumerate(shape):
                if isinstance(size, torch.SymInt):
                    names.add(given_name(size, size.node.expr) or f"{name}_{axis}")
        for name, profile in self.profiles.items():
            if name not in names:
                raise OptionError(
                    f"the model has no input {name!r}",
                    notes=[f"its inputs: {', '.join(inputs)}"],
                )
            shape = inputs.get(name)
            rank = 1 if shape is None else len(shape)
            if len(profile) != rank:
                raise OptionError(
                    f"expected {rank} dims of {name!r}, got {len(profile)}: {profile}"
                )
            for axis, size in enumerate(shape or ()):
                if not isinstance(size, torch.SymInt):
                    require_within(f"dim {axis} of {name!r}", size, profile[axis])


def require_within(
    what: str, known: int | DimRange, wanted: int | DimRange | None
) -> None:
    """Refuse sizes that the program was not exported for."""
    if wanted is None:
        return
    low, high = _ends(wanted)
    least, most = _ends(known)
    if low < least or high > most:
        upper = "" if most == math.inf else most
        given = known if isinstance(known, int) else f"{least}..{upper}"
        raise OptionError(
            f"{what} is {given} in the exported program, got {wanted}",
            fix="export it with other dynamic_shapes",
        )


def _ends(known: int | DimRange) -> tuple[float, float]:
    if isinstance(known, int):
        return known, known
    return known.min, math.inf if known.max is None else known.max


def tuned_for(known: DimRange, example: int | None) -> DimRange:
    """A range whose best size is the example's, if that lies inside."""
    if example is None or not known.min <= example <= (known.max or example):
        return known
    return DimRange(known.min, known.max, example, known.divisor)


def given_name(size: torch.SymInt, symbol: Any) -> str | None:
    """The name of the `torch.export.Dim` that a symbol was made for."""
    environment = size.node.shape_env
    if environment is None:
        return None
    sources = getattr(environment, "var_to_sources", {}).get(symbol, [])
    names = getattr(environment, "source_name_to_debug_name", {})
    given = (names.get(_text(source)) for source in sources)
    return next((name for name in given if name), None)


def _text(source: Any) -> str:
    name: Any = source.name
    return str(name() if callable(name) else name)
