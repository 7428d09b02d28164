"""One node as its builder function sees it: inputs, attributes, and what to say of it.

Attributes are read by methods that note what was read: an attribute that differs from
its default and that the builder never looked at is reported as unsupported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from tensorflow.python.framework import dtypes, tensor_util
from xdsl.ir import Attribute, Block, SSAValue

from stepwell.dialects.dtypes import element_type
from stepwell.dialects.shapes import Dim
from stepwell.errors import ModelError, ShapeError
from stepwell.frontends.node import GraphImporter, GraphNode
from stepwell.frontends.tensorflow.graph import Body, op_def, output_count
from stepwell.frontends.tensorflow.protos import AttrValue, NodeDef
from stepwell.frontends.values import Tensor

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(eq=False)
class Resource:
    """The handle of a variable, which is frozen: it stands for its value."""

    name: str
    value: Tensor


@dataclass(eq=False)
class TensorList:
    """A `TensorList` of known length: its elements stacked along a new first dim.

    Args:
        length: how many elements there are.
        dims: the shape of an element as far as it is known.
        element: the element type.
        stack: the elements; None if none was set yet.
    """

    length: Dim
    dims: tuple[Dim | None, ...] | None
    element: Attribute
    stack: Tensor | None = None


@dataclass(eq=False)
class ComplexTensor:
    """Complex numbers, as floats with a last dim of 2: real and imaginary part."""

    parts: Tensor


Item: TypeAlias = Tensor | Resource | TensorList | ComplexTensor
"""What an output of a node stands for."""


class Graph(GraphImporter, Protocol):
    """What a node asks of the importer."""

    def function(self, name: str) -> Body:
        """The body of a function."""
        ...

    def call(self, body: Body, arguments: Sequence[Item], prefix: str) -> list[Item]:
        """The results of a function, imported where the builder stands."""
        ...

    def ssa(self, tensor: Tensor) -> SSAValue:
        """The SSA value of a tensor."""
        ...

    def forget(self, block: Block) -> None:
        """Drop the ops of a region that is imported anew."""
        ...


@dataclass(eq=False)
class Node(GraphNode):
    """A node of the graph, with its inputs resolved."""

    proto: NodeDef
    name: str
    inputs: tuple[Item, ...]
    importer: Graph
    read: set[str] = field(default_factory=set[str])

    @property
    def op_type(self) -> str:
        """The op's type, such as `Conv2D`."""
        return self.proto.op

    @property
    def output_count(self) -> int:
        """How many outputs the node has."""
        return output_count(self.proto)

    def input_name(self, index: int) -> str:
        """How the model names input `index`."""
        return self.proto.input[index]

    # Attributes

    def attribute(self, name: str) -> Any:
        """The attribute's Python value, or its default.

        Raises:
            ModelError: the node lacks an attribute without a default.
        """
        self.read.add(name)
        if name in self.proto.attr:
            return to_python(self.proto.attr[name])
        for entry in op_def(self.op_type).attr:
            if entry.name == name and entry.HasField("default_value"):
                return to_python(entry.default_value)
        raise self.invalid(f"expected an attribute {name!r}, got none")

    def element(self, name: str) -> Attribute:
        """The element type that an attribute names.

        Raises:
            UnsupportedError: the IR has no such type.
        """
        number = self.attribute(name)
        try:
            return element_type(dtype_of(number))
        except (ShapeError, ModelError):
            what = f"element type {dtypes.as_dtype(number).name}"
            raise self.unsupported(what) from None

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype that an attribute names."""
        return dtype_of(self.attribute(name))

    def unread(self, ignored: Sequence[str]) -> list[str]:
        """Attributes that say something and that nobody looked at."""
        definition = op_def(self.op_type)
        defaults = {
            entry.name: entry.default_value
            for entry in definition.attr
            if entry.HasField("default_value")
        }
        counts = {each.number_attr for each in definition.input_arg}
        counts |= {each.number_attr for each in definition.output_arg}
        return sorted(
            name
            for name, value in self.proto.attr.items()
            if name not in self.read | counts
            and name not in ignored
            and not name.startswith("_")
            and value.WhichOneof("value") not in (None, "type")
            and not is_types(value)
            and defaults.get(name) != value
        )

    # Inputs

    def resource(self, index: int = 0) -> Resource:
        """Input `index`, the handle of a variable."""
        value = self.inputs[index]
        if not isinstance(value, Resource):
            raise self.unsupported("a resource other than a frozen variable")
        return value

    def tensor(self, index: int) -> Tensor:
        """Input `index`, a tensor of numbers that are not complex."""
        match self.inputs[index] if index < len(self.inputs) else None:
            case ComplexTensor():
                raise self.unsupported(f"{self.op_type} of complex numbers")
            case TensorList():
                raise self.unsupported(f"{self.op_type} of a list of tensors")
            case _:
                return super().tensor(index)

    def complex_x(self, index: int = 0) -> SSAValue:
        """The parts of input `index`, complex numbers."""
        found = self.inputs[index]
        if not isinstance(found, ComplexTensor):
            raise self.unsupported("complex numbers that no supported op makes")
        return self.importer.ssa(found.parts)

    def tensor_list(self, index: int = 0) -> TensorList:
        """Input `index`, a list of tensors."""
        value = self.inputs[index]
        if not isinstance(value, TensorList):
            raise self.unsupported("a variant other than a list of tensors")
        return value

    def axis(self, index: int, rank: int) -> int:
        """A constant axis among the inputs, counted from the front."""
        return int(self.constant(index).item()) % max(rank, 1)

    def axes(self, index: int, rank: int) -> list[int]:
        """Constant axes among the inputs, counted from the front."""
        found = self.constant(index).reshape(-1).tolist()
        return sorted({int(axis) % max(rank, 1) for axis in found})


def to_python(value: AttrValue) -> Any:
    """An attribute's value: text decoded, lists as lists, tensors as arrays."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return []
        case "s":
            return text_of(value.s)
        case "tensor":
            return tensor_util.MakeNdarray(value.tensor)
        case "shape":
            return shape_dims(value.shape)
        case "list":
            return list_of(value.list)
        case _:
            return getattr(value, kind)


def text_of(data: bytes) -> str | bytes:
    """Bytes as text, unless they are none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def shape_dims(shape: Any) -> list[int] | None:
    """The dims of a shape, -1 for unknown ones; None if the rank is not known."""
    return None if shape.unknown_rank else [dim.size for dim in shape.dim]


def list_of(value: Any) -> list[Any]:
    """The elements of a list attribute."""
    for field_, elements in value.ListFields():
        if field_.name == "shape":
            return [shape_dims(each) for each in elements]
        return [text_of(e) if isinstance(e, bytes) else e for e in elements]
    return []


def is_types(value: AttrValue) -> bool:
    """Whether an attribute is a list of types."""
    return value.WhichOneof("value") == "list" and bool(value.list.type)


def dtype_of(number: int) -> np.dtype[Any]:
    """The dtype of a TensorFlow type number.

    Raises:
        ModelError: NumPy has no such type.
    """
    kind = dtypes.as_dtype(number)
    if kind.is_quantized or kind in (dtypes.resource, dtypes.variant, dtypes.string):
        raise ModelError(f"expected an element type, got {kind.name}")
    return np.dtype(kind.as_numpy_dtype)
