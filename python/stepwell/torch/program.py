"""The one form that graphs are compiled from, and how `torch.export` programs get it.

A `Program` is a functional graph of ATen ops. Its placeholders are weights, which
engines hold, and arguments: tensors, or sizes (`SymInt`) of `torch.compile`'s graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from stepwell.errors import UnsupportedError

if TYPE_CHECKING:
    from stepwell.frontends.torch.guards import Guard

Node = torch.fx.Node


@dataclass(frozen=True)
class SizeRange:
    """Values a size may take, and the one to tune for; None is no bound, or any."""

    min: int
    max: int | None = None
    opt: int | None = None


@dataclass(frozen=True)
class Program:
    """A functional graph, and the values of the placeholders that never change.

    Attributes:
        module: owns the graph, and the submodules of its control flow.
        weights: by the name of their placeholder.
        ranges: of the sizes, by sympy symbol.
        guards: conditions on the sizes without which the graph is another one.
    """

    module: torch.fx.GraphModule
    weights: Mapping[str, torch.Tensor]
    ranges: Mapping[Any, SizeRange]
    guards: Sequence[Guard] = ()

    @property
    def arguments(self) -> list[Node]:
        """The placeholders that a call gives, in order."""
        nodes = self.module.graph.find_nodes(op="placeholder")
        return [node for node in nodes if node.name not in self.weights]


@dataclass(frozen=True)
class Signature:
    """How the flat values of an exported module are the user's.

    Attributes:
        arguments: for each argument of the program, the buffer's name it is read from,
            or the number of the user's flat input.
        mutations: for each leading output of the program, where it is written back: to
            a buffer's name, or the number of a flat input.
        results: how many outputs follow them.
    """

    arguments: tuple[str | int, ...]
    mutations: tuple[str | int, ...]
    results: int


def program_of(exported: ExportedProgram) -> tuple[Program, Signature]:
    """The program of an exported and decomposed module.

    Buffers that the module changes are arguments; all other state is weights.

    Raises:
        UnsupportedError: the module has tokens or script objects as inputs.
    """
    from stepwell.frontends.torch.guards import guards_of

    signature = exported.graph_signature
    changed = {
        spec.target
        for spec in signature.output_specs
        if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)
    }
    state: dict[str, Any] = {**exported.state_dict, **exported.constants}
    weights: dict[str, torch.Tensor] = {}
    arguments: list[str | int] = []
    users: dict[str, int] = {}
    for spec in signature.input_specs:
        name = str(getattr(spec.arg, "name", ""))
        if spec.kind is InputKind.USER_INPUT:
            users[name] = len(users)
            arguments.append(users[name])
        elif spec.kind in (InputKind.TOKEN, InputKind.CUSTOM_OBJ):
            raise UnsupportedError(
                f"expected tensors as inputs, got {spec.kind.name.lower()} {name!r}"
            )
        elif spec.target in changed:
            arguments.append(str(spec.target))
        else:
            weights[name] = state[str(spec.target)]
    mutations = [
        users[str(spec.target)]
        if spec.kind is OutputKind.USER_INPUT_MUTATION
        else str(spec.target)
        for spec in signature.output_specs
        if spec.kind is not OutputKind.USER_OUTPUT
    ]
    results = len(signature.output_specs) - len(mutations)
    ranges = ranges_of(exported.range_constraints)
    guards = guards_of(exported)
    program = Program(exported.graph_module, weights, ranges, guards)
    return program, Signature(tuple(arguments), tuple(mutations), results)


def ranges_of(ranges: Mapping[Any, Any]) -> dict[Any, SizeRange]:
    """Ranges from torch's `ValueRanges`, by sympy symbol."""
    return {
        symbol: SizeRange(_bound(known.lower) or 0, _bound(known.upper))
        for symbol, known in ranges.items()
        if known.is_int
    }


def _bound(bound: Any) -> int | None:
    """A bound as a number; None if there is none."""
    return int(bound) if bound.is_Integer and abs(int(bound)) < 1 << 62 else None
