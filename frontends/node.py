"""A node as the builder functions of every frontend see its inputs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import Dim, DimRange, bounds, product
from stepwell.errors import ModelError, UnsupportedError
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.contents import demand, materialise, origins
from stepwell.frontends.inputs import sanitise
from stepwell.frontends.values import (
    Contents,
    Tensor,
    as_dim_array,
    is_symbolic,
)


class GraphImporter(Protocol):
    """What a node of any frontend asks of its importer."""

    builder: GraphBuilder
    shape_inputs: set[str]

    def bind_symbols(self, tensor: Tensor, stem: str) -> Contents | None:
        """Symbols for the elements of a small integer tensor, bound at run time."""
        ...


class GraphNode(ABC):
    """What the nodes of all frontends share: inputs, and what to say of them."""

    name: str
    inputs: tuple[Any, ...]
    importer: Any  # a `GraphImporter` with what the frontend adds

    @property
    @abstractmethod
    def op_type(self) -> str:
        """The op's type, such as `Conv`."""

    @abstractmethod
    def input_name(self, index: int) -> str:
        """How the model names input `index`."""

    @property
    def builder(self) -> GraphBuilder:
        """The function under construction."""
        return self.importer.builder

    @property
    def label(self) -> str:
        """How messages name the node."""
        return f"node {self.name!r} ({self.op_type})"

    def unsupported(self, what: str, fix: str | None = None) -> UnsupportedError:
        """The error that says that `what` of this node is not supported."""
        return UnsupportedError(what, where=self.label, fix=fix)

    def invalid(self, what: str) -> ModelError:
        """The error that says that the model breaks its format's rules at this node."""
        return ModelError(what, where=self.label)

    # Inputs

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int) -> Tensor:
        """Input `index`, a tensor."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise self.invalid(f"expected input {index}, got none")
        if not isinstance(value, Tensor):
            raise self.invalid(f"expected a tensor as input {index}, got {value!r:.40}")
        return value

    def x(self, index: int = 0) -> SSAValue:
        """The SSA value of input `index`."""
        return materialise(self.tensor(index), self.builder)

    def optional(self, index: int) -> SSAValue | None:
        """The SSA value of input `index`, or None where it is not given."""
        return self.x(index) if self.has(index) else None

    def all_x(self) -> list[SSAValue]:
        """The SSA values of all inputs."""
        return [self.x(index) for index in range(len(self.inputs))]

    def dims(self, index: int = 0) -> tuple[Dim, ...]:
        """The shape of input `index`."""
        return self.tensor(index).dims

    def rank(self, index: int = 0) -> int:
        """The rank of input `index`."""
        return len(self.tensor(index).dims)

    def element_of(self, index: int = 0) -> Attribute:
        """The element type of input `index`."""
        return self.tensor(index).element

    def numpy_dtype(self, index: int = 0) -> np.dtype[Any]:
        """The dtype of input `index`."""
        return numpy_dtype(self.tensor(index).element)

    # Inputs whose contents must be known at import

    def known(self, index: int) -> Contents | None:
        """The contents of input `index`, plain or symbolic, or None."""
        return demand(self.tensor(index), symbols=True)

    def known_now(self, index: int) -> Contents | None:
        """The plain contents of input `index` if they are known without asking."""
        contents = demand(self.tensor(index), symbols=False)
        return None if contents is None or is_symbolic(contents) else contents

    def constant(self, index: int) -> Contents:
        """The contents of input `index`, which must be plain.

        Raises:
            UnsupportedError: they are not known at import.
        """
        contents = self.known_now(index)
        if contents is None:
            raise self.unknown(index)
        return contents

    def constants(self, *indices: int) -> list[Contents | None]:
        """The contents of several inputs that must be plain; None for omitted ones.

        Raises:
            UnsupportedError: one is not known at import; all such are noted.
        """
        given = [index for index in indices if self.has(index)]
        unknown = [index for index in given if self.known_now(index) is None]
        errors = [self.unknown(index) for index in unknown]
        if errors:
            raise errors[0]
        return [self.known_now(i) if i in given else None for i in indices]

    def sizes(self, index: int) -> tuple[Dim, ...]:
        """The elements of a 1-D (or 0-d) integer input as dims.

        Elements that are computed at run time become symbols there.

        Raises:
            UnsupportedError: there is no telling how many elements there are.
        """
        contents = self.known(index)
        if contents is None:
            contents = self.importer.bind_symbols(self.tensor(index), self.name)
        if contents is None or contents.dtype.kind not in "Oiu":
            raise self.unknown(index)
        return tuple(as_dim_array(contents).reshape(-1))

    @property
    def symbol_stem(self) -> str:
        """The node's name as the start of a symbol's name."""
        return sanitise(self.name)

    def open_size(self) -> Dim:
        """A new symbol for a size that data decides, without bound."""
        name = self.builder.fresh_name(f"{self.symbol_stem}_size")
        return self.builder.symbol(name, DimRange())

    def fresh_size(self, limits: Sequence[Dim]) -> Dim:
        """A new symbol for a size that data decides: at most `limits` multiplied."""
        high = bounds(product(limits), self.builder.ranges)[1]
        known = DimRange(max=None if math.isinf(high) else int(high))
        name = self.builder.fresh_name(f"{self.symbol_stem}_size")
        return self.builder.symbol(name, known)

    def unknown(self, index: int) -> UnsupportedError:
        """The error for an input that must be known at import but is computed."""
        tensor = self.tensor(index)
        name = self.input_name(index)
        self.importer.shape_inputs |= origins(tensor)
        return self.unsupported(
            f"input {name!r} of {self.op_type} must be known when the model is built",
            fix="make it a constant of the model, or fix the graph input it comes from",
        )
