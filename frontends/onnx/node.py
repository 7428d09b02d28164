"""One node as its builder function sees it: inputs, attributes, and what to say of it.

Attributes are read by typed methods that note what was read: an attribute that the
builder never looked at is an unsupported one, and is reported as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import onnx
import onnx.helper
from xdsl.ir import Attribute, Block, SSAValue

from stepwell.dialects.dtypes import element_type
from stepwell.errors import ModelError
from stepwell.frontends.node import GraphImporter, GraphNode
from stepwell.frontends.values import (
    Sequence_,
    Tensor,
    Value,
)

T = TypeVar("T")


class Required:
    """The default of an attribute that must be there."""


REQUIRED: Final = Required()


class Graph(GraphImporter, Protocol):
    """What a node asks of the importer."""

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
class Node(GraphNode):
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

    def input_name(self, index: int) -> str:
        """How the model names input `index`."""
        return self.proto.input[index]

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

    def sequence(self, index: int) -> Sequence_:
        """Input `index`, a sequence."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if not isinstance(value, Sequence_):
            raise self.invalid(f"expected a sequence as input {index}, got a tensor")
        return value


def dtype_of(number: int) -> np.dtype[Any]:
    """The dtype of an ONNX element type number.

    Raises:
        ModelError: there is no such type.
    """
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"expected an ONNX element type, got {number}") from None
