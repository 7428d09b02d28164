"""What the importers of graphs of nodes share: their state, and how errors are told.

Issues are collected, so that a user sees all of them at once; what a node that is not
supported would have made is `POISON`, and what depends on it too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.context import StepwellContext
from stepwell.errors import ModelError, StepwellError, UnsupportedError
from stepwell.frontends.binding import VALUE_LIMIT, bind_symbols, static_count
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.contents import materialise
from stepwell.frontends.inputs import input_dims
from stepwell.frontends.node import GraphNode
from stepwell.frontends.profiles import Profile
from stepwell.frontends.report import Issue, Report
from stepwell.frontends.values import Contents, Tensor

_T = TypeVar("_T")


class Poison:
    """Stands for the outputs of a node that could not be imported."""


POISON = Poison()


class UnsupportedParts(UnsupportedError):
    """Something inside of a node is not supported, and is noted as an issue already."""


class NodeImporter:
    """Imports one model. Issues are collected; all other errors end the import.

    Args:
        name: the model's name.
        context: large constants go to its weight store.
        profiles: sizes or ranges by input or symbol.
    """

    def __init__(
        self, name: str, context: StepwellContext, profiles: Mapping[str, Profile]
    ) -> None:
        self.name = name
        self.builder = GraphBuilder(context)
        self.profiles = profiles
        self.issues: list[Issue] = []
        self.ops: Counter[str] = Counter()
        self.shape_inputs: set[str] = set()

    def report(self) -> Report:
        """The issues found so far."""
        return Report(self.name, dict(self.ops), tuple(self.issues))

    def argument(
        self, name: str, declared: Sequence[int | str | None] | None, element: Attribute
    ) -> Tensor:
        """An input of the model: an argument of the function."""
        dims = input_dims(name, declared, self.builder, self.profiles)
        argument = self.builder.argument(name, dims, element)
        tensor = Tensor(tuple(dims), element, argument)
        if static_count(tensor) <= VALUE_LIMIT:
            tensor.origin = name
        tensor.recipe = lambda symbols: (
            self.bind_symbols(tensor, name) if symbols else None
        )
        return tensor

    def bind_symbols(self, tensor: Tensor, stem: str) -> Contents | None:
        """Symbols for the elements of a small integer tensor, bound at run time."""
        return bind_symbols(tensor, stem, self.builder, self.shape_inputs)

    def ssa(self, tensor: Tensor) -> SSAValue:
        """The SSA value of a tensor."""
        return materialise(tensor, self.builder)

    def forget(self, block: Block) -> None:
        """Drop the ops of a region that is imported anew."""
        for op in reversed(list(block.ops)):
            op.detach()
            op.erase(safe_erase=False)

    def attempt(self, node: GraphNode, op: str, build: Callable[[], _T]) -> _T | None:
        """What `build` makes of a node, or None: then it is noted why not.

        Raises:
            ModelError: the model is not sound there.
        """
        try:
            with self.builder.at(node.name):
                return build()
        except UnsupportedParts:
            return None
        except UnsupportedError as error:
            self.issues.append(Issue(node.name, op, error.summary, error.fix))
            return None
        except StepwellError as error:
            raise with_node(error, node) from None
        except RecursionError:
            raise
        except Exception as error:
            raise ModelError(
                f"cannot import {node.label}",
                notes=[f"{type(error).__name__}: {error}".splitlines()[0]],
                where=node.label,
            ) from error


def with_node(error: StepwellError, node: GraphNode) -> StepwellError:
    """The same error, saying at which node."""
    if error.where is not None:
        return error
    return type(error)(
        error.summary, notes=error.notes, where=node.label, fix=error.fix
    )


def guarded(function: Callable[[], _T], name: str) -> _T:
    """Call `function`; what it did not expect of the model `name` is a `ModelError`."""
    try:
        return function()
    except StepwellError:
        raise
    except RecursionError:
        raise ModelError(f"{name}: the model is nested too deeply") from None
    except Exception as error:
        raise ModelError(
            f"{name}: cannot import the model",
            notes=[f"{type(error).__name__}: {error}".splitlines()[0]],
        ) from error


class Runnable(Protocol):
    """An importer of a whole model."""

    name: str

    def run(self) -> ModuleOp:
        """The module."""
        ...


class Checkable(Runnable, Protocol):
    """An importer that keeps what it finds unsupported."""

    issues: list[Issue]
    ops: Counter[str]

    def report(self) -> Report:
        """The issues found so far."""
        ...


def imported(importer: Runnable) -> ModuleOp:
    """The verified module of a model.

    Raises:
        ModelError: the model is not sound.
        UnsupportedError: lists everything in it that is not supported.
    """
    module = guarded(importer.run, importer.name)
    try:
        module.verify()
    except VerifyException as error:
        raise ModelError(
            f"{importer.name}: the model is not consistent",
            notes=str(error).strip().splitlines()[-1:],
        ) from None
    return module


def checked(importer: Checkable) -> Report:
    """Everything of a model that is not supported, found in one pass.

    Raises:
        ModelError: the model is not sound.
    """
    try:
        guarded(importer.run, importer.name)
    except UnsupportedError as error:
        if not importer.issues:
            issue = Issue(importer.name, "model", error.summary, error.fix)
            return Report(importer.name, dict(importer.ops), (issue,))
    return importer.report()
