"""One node as its builder function sees it: inputs, attributes, and what to say of it.

Attributes are read by typed methods that note what was read: an attribute that the
builder never looked at is an unsupported one, and is reported as such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np
import onnx
import onnx.helper
from xdsl.ir import Attribute, Block, SSAValue

from stepwell.dialects.dtypes import element_type, numpy_dtype
from stepwell.dialects.shapes import Dim, DimRange, bounds, product
from stepwell.errors import ModelError, UnsupportedError
from stepwell.frontends.contents import demand, materialise, origins
from stepwell.frontends.inputs import sanitise
from stepwell.frontends.values import (
    Contents,
    Sequence_,
    Tensor,
    Value,
    as_dim_array,
    is_symbolic,
)

if TYPE_CHECKING:
    from stepwell.frontends.builder import GraphBuilder

T = TypeVar("T")


class Required:
    """The default of an attribute that must be there."""


REQUIRED: Final = Required()


class Graph(Protocol):
    """What a node asks of the importer."""

    builder: GraphBuilder
    shape_inputs: set[str]

    def bind_symbols(self, tensor: Tensor, stem: str) -> Contents | None:
        """Symbols for the elements of a small integer tensor, bound at run time."""
        ...

    def read_constant(
        self, node: Node, name: str | None = None, default: Any = None
    ) -> np.ndarray[Any, Any]:
        """The array of a tensor attribute; of a Constant's attributes if no name."""
        ...

    def import_inline(
        self, graph: onnx.GraphProto, inputs: Mapping[str, Value]
    ) -> list[Value]:
        """The outputs of a nested graph, imported where the builder stands."""
        ...

    def ssa(self, tensor: Tensor) -> SSAValue:
        """The SSA value of a tensor."""
        ...

    def is_true(self, condition: SSAValue) -> bool:
        """Whether a value is the constant true."""
        ...

    def forget(self, block: Block) -> None:
        """Drop the ops of a region that is imported anew."""
        ...


@dataclass(eq=False)
class Node:
    """A node of the graph, with its inputs resolved.

    `version` is the first opset in which the op reads as it does in this model.
    """

    proto: onnx.NodeProto
    name: str
    version: int
    inputs: tuple[Value | None, ...]
    importer: Graph
    read: set[str] = field(default_factory=set[str])

    @property
    def op_type(self) -> str:
        """The op's type, such as `Conv`."""
        return self.proto.op_type

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs; empty for those nobody wants."""
        return list(self.proto.output)

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
        """The error that says that the model breaks ONNX's rules at this node."""
        return ModelError(what, where=self.label)

    # Attributes

    def attribute(self, name: str, default: Any = REQUIRED) -> Any:
        """The attribute's Python value; text is decoded."""
        self.read.add(name)
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        if isinstance(default, Required):
            raise self.invalid(f"expected an attribute {name!r}, got none")
        return default

    def int(self, name: str, default: int | Required = REQUIRED) -> int:
        """An integer attribute."""
        return self._typed(name, default, int)

    def float(self, name: str, default: float | Required = REQUIRED) -> float:
        """A float attribute."""
        return float(self._typed(name, default, (int, float)))

    def string(self, name: str, default: str | Required = REQUIRED) -> str:
        """A text attribute."""
        return self._typed(name, default, str)

    def ints(self, name: str, default: T | Required = REQUIRED) -> list[int] | T:
        """A list of integers."""
        value = self.attribute(name, default)
        return value if value is default else [int(item) for item in value]

    def floats(self, name: str, default: T | Required = REQUIRED) -> list[float] | T:
        """A list of floats."""
        value = self.attribute(name, default)
        return value if value is default else [float(item) for item in value]

    def strings(self, name: str, default: T | Required = REQUIRED) -> list[str] | T:
        """A list of texts."""
        value = self.attribute(name, default)
        return value if value is default else [item.decode() for item in value]

    def texts(self, name: str) -> str | list[str]:
        """A text or list of texts."""
        held = self.attribute(name)
        return held if isinstance(held, str) else self.strings(name)

    def has_attribute(self, name: str) -> bool:
        """Whether the node gives this attribute."""
        self.read.add(name)
        return any(attribute.name == name for attribute in self.proto.attribute)

    def element(self, name: str, default: int | Required = REQUIRED) -> Attribute:
        """The element type that an attribute names by ONNX's number."""
        return element_type(self.dtype(name, default))

    def dtype(self, name: str, default: int | Required = REQUIRED) -> np.dtype[Any]:
        """The dtype that an attribute names by ONNX's number."""
        return dtype_of(self.int(name, default))

    def _typed(self, name: str, default: Any, kind: Any) -> Any:
        value = self.attribute(name, default)
        if value is not default and not isinstance(value, kind):
            raise self.invalid(
                f"expected attribute {name!r} of another type, got {value!r:.40}"
            )
        return value

    # Inputs

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int) -> Tensor:
        """Input `index`, a tensor."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise self.invalid(f"expected input {index}, got none")
        if isinstance(value, Sequence_):
            raise self.invalid(f"expected a tensor as input {index}, got a sequence")
        return value

    def sequence(self, index: int) -> Sequence_:
        """Input `index`, a sequence."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if not isinstance(value, Sequence_):
            raise self.invalid(f"expected a sequence as input {index}, got a tensor")
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
        name = self.proto.input[index]
        self.importer.shape_inputs |= origins(tensor)
        return self.unsupported(
            f"input {name!r} of {self.op_type} must be known when the model is built",
            fix="make it a constant of the model, or fix the graph input it comes from",
        )


def dtype_of(number: int) -> np.dtype[Any]:
    """The dtype of an ONNX element type number.

    Raises:
        ModelError: there is no such type.
    """
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"expected an ONNX element type, got {number}") from None
