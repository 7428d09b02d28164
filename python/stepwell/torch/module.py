"""`CompiledModule`: what `compile` returns, to be used in place of the module."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from stepwell.errors import InputError
from stepwell.runtime import Engine

from .engines import EngineModule
from .program import Signature
from .reports import GraphReport, Report


class CompiledModule(torch.nn.Module):
    """A module whose graph runs in engines.

    It is called as the module was: with the same positional and keyword arguments, and
    it returns the same structure. It is for inference: its results carry no gradient.

    Args:
        graph: the calls of engines and of ops of torch, on flat values.
        signature: how those are the user's.
        structure: of the arguments and of the results, as `torch.export` has them.
        names: of the positional parameters, to take them by keyword too.
        state: the buffers that a call changes, by name.
        graph_report: what became of the ops.
    """

    def __init__(
        self,
        graph: torch.fx.GraphModule,
        signature: Signature,
        structure: tuple[pytree.TreeSpec, pytree.TreeSpec],
        names: tuple[str, ...],
        state: Mapping[str, torch.Tensor],
        graph_report: GraphReport,
    ) -> None:
        super().__init__()
        self.graph = graph
        self.signature = signature
        self.in_spec, self.out_spec = structure
        self.names = names
        self.graph_report = graph_report
        self._state: dict[str, str] = {}
        for number, (name, tensor) in enumerate(state.items()):
            self._state[name] = f"state_{number}"
            self.register_buffer(self._state[name], tensor)
        self.eval()

    @property
    def engines(self) -> list[Engine]:
        """The engines, in the order they run."""
        parts = (part for part in self.graph.children())
        return [part.engine for part in parts if isinstance(part, EngineModule)]

    @property
    def report(self) -> Report:
        """Which ops run in engines, and which in torch and why."""
        return Report([self.graph_report])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns.

        Raises:
            InputError: arguments of another structure, or that do not fit the engines.
        """
        flat = self.flatten(args, kwargs)
        values = [
            flat[source] if isinstance(source, int) else self.buffer(source)
            for source in self.signature.arguments
        ]
        with torch.no_grad():
            outputs = self.graph(*values)
            changed = len(self.signature.mutations)
            for target, value in zip(
                self.signature.mutations, outputs[:changed], strict=True
            ):
                held = flat[target] if isinstance(target, int) else self.buffer(target)
                held.copy_(value)
        return pytree.tree_unflatten(outputs[changed:], self.out_spec)

    def flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The flat values of a call's arguments."""
        args, kwargs = self.ordered(args, kwargs)
        flat, spec = pytree.tree_flatten((args, kwargs))
        if spec != self.in_spec:
            raise InputError(
                "expected arguments as the module was compiled for, got others",
                notes=[f"expected {_show(self.in_spec)}", f"got {_show(spec)}"],
            )
        return flat

    def ordered(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments by position or by keyword as they were when it was compiled."""
        count, keys = _arity(self.in_spec)
        rest = dict(kwargs)
        given = list(args)
        for name in self.names[len(args) : count]:
            if name in rest:
                given.append(rest.pop(name))
        for name, value in zip(self.names[count:], given[count:], strict=False):
            rest[name] = value
        known = {key: rest[key] for key in keys if key in rest}
        known.update({key: rest[key] for key in rest if key not in known})
        extra = given[max(count, len(self.names)) :]
        return (*given[:count], *extra), known

    @property
    def state_names(self) -> list[str]:
        """The buffers that calls change."""
        return list(self._state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the module to a file, for `stepwell.torch.load`."""
        from .files import save

        save(self, path)

    def buffer(self, name: str) -> torch.Tensor:
        """The tensor of a buffer that calls change."""
        return getattr(self, self._state[name])


def parameter_names(module: torch.nn.Module) -> tuple[str, ...]:
    """The names of the positional parameters of `forward`."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return tuple(each.name for each in parameters if each.kind in kinds)


def _arity(spec: pytree.TreeSpec) -> tuple[int, list[str]]:
    """How many positional arguments there are, and the keywords."""
    args, kwargs = spec.children()
    return args.num_children, list(kwargs.context or ())


def _show(spec: pytree.TreeSpec) -> str:
    marks = pytree.tree_unflatten(["*"] * spec.num_leaves, spec)
    return str(marks).replace("'*'", "*")
