"""What a semantic function sees besides its operands: symbols, weights, regions.

A semantic function takes `(environment, op, *operands)`, one operand per slot of the
op's definition (None for an absent one), and returns one array or a tuple of them, in
any precision: the interpreter rounds each result once, to its declared type, and
checks its shape against the declared one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, TensorType
from xdsl.interpreter import Interpreter
from xdsl.ir import Attribute, Operation, Region
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    OptOperandDef,
    VarOperandDef,
)

from stepwell.dialects.dtypes import element_type, numpy_dtype
from stepwell.dialects.shapes import (
    Dim,
    bind_symbols,
    dims_of,
    element_of,
    evaluate,
    symbols_of,
)
from stepwell.dialects.weights import WeightStore
from stepwell.errors import ShapeError

Array: TypeAlias = NDArray[Any]
Semantic: TypeAlias = Callable[..., Any]
Table: TypeAlias = Mapping[type[Operation], Semantic]


@dataclass
class Environment:
    """The state of one interpretation: symbols bound so far, and the weight store."""

    weights: WeightStore = field(default_factory=WeightStore)
    symbols: dict[str, int] = field(default_factory=dict[str, int])
    interpreter: Interpreter | None = None

    def size(self, dim: Dim) -> int:
        """The value of a dim."""
        return evaluate(dim, self.symbols)

    def sizes(self, dims: Sequence[Dim]) -> tuple[int, ...]:
        """The values of dims."""
        return tuple(self.size(dim) for dim in dims)

    def shape(self, kind: Attribute) -> tuple[int, ...]:
        """The actual shape of a tensor type whose symbols are all bound."""
        return self.sizes(dims_of(kind))

    def is_bound(self, dim: Dim) -> bool:
        """Whether the dim has a value yet."""
        return symbols_of(dim) <= self.symbols.keys()

    def run(self, region: Region, arguments: Sequence[Array]) -> tuple[Array, ...]:
        """What `region` yields for `arguments`; they may bind symbols."""
        assert self.interpreter is not None
        for argument, array in zip(region.block.args, arguments, strict=True):
            self.bind(argument.type, array, "a region's argument")
        return self.interpreter.run_ssacfg_region(region, tuple(arguments))

    def bind(self, kind: Attribute, array: Array, what: str) -> None:
        """Learn symbols from an array's shape, and check shape and dtype."""
        if not isinstance(kind, TensorType):
            return
        if array.dtype != numpy_dtype(element_of(kind)):
            raise ShapeError(
                f"expected {element_of(kind)} in {what}, got {array.dtype}"
            )
        bind_symbols(dims_of(kind), array.shape, self.symbols, what)

    @contextmanager
    def scope(self):
        """Forget on exit what was bound inside: symbols of a region's own types."""
        saved = dict(self.symbols)
        try:
            yield
        finally:
            self.symbols.clear()
            self.symbols.update(saved)


def operand_slots(op: Operation, arrays: Sequence[Array]) -> list[Any]:
    """Arrays by the slots of the op's definition: None, an array, or a list."""
    if not isinstance(op, IRDLOperation):
        return list(arrays)
    definitions = op.get_irdl_definition().operands
    sizes = _segment_sizes(op, len(definitions), len(arrays))
    slots: list[Any] = []
    given = iter(arrays)
    for size, (_, definition) in zip(sizes, definitions, strict=True):
        taken = [next(given) for _ in range(size)]
        if isinstance(definition, OptOperandDef):
            slots.append(taken[0] if taken else None)
        elif isinstance(definition, VarOperandDef):
            slots.append(taken)
        else:
            slots.extend(taken)
    return slots


def _segment_sizes(op: IRDLOperation, slots: int, operands: int) -> Sequence[int]:
    name = AttrSizedOperandSegments.attribute_name
    sizes = op.properties.get(name, op.attributes.get(name))
    if isinstance(sizes, DenseArrayBase):
        return [int(size) for size in sizes.iter_values()]  # pyright: ignore
    definitions = op.get_irdl_definition().operands
    flexible = operands - slots + 1
    return [
        flexible if isinstance(definition, OptOperandDef | VarOperandDef) else 1
        for _, definition in definitions
    ]


def wide(array: Array) -> Array:
    """`array` in the precision to compute in: f64, complex128, or a native integer."""
    kind = array.dtype
    if kind.kind in "biuc" or kind == np.object_:
        return array
    if kind in _NARROW_INTEGERS:
        return array.astype(np.int32)
    return array.astype(np.float64)


_NARROW_INTEGERS = {
    np.dtype(kind)
    for kind in (ml_dtypes.int2, ml_dtypes.int4, ml_dtypes.uint2, ml_dtypes.uint4)
}


def round_to(array: Any, dtype: np.dtype[Any]) -> Array:
    """`array` rounded to `dtype`; integers keep their low bits."""
    array = np.asarray(array)
    if array.dtype == dtype:
        return array
    if dtype in _NARROW_INTEGERS and array.dtype.kind in "iu":
        return array.astype(np.int8).astype(dtype)
    return array.astype(dtype)


def is_float_array(array: Array) -> bool:
    """Whether the dtype is a real floating-point one, of any width."""
    kind = array.dtype
    return kind.kind == "f" or (
        kind.kind == "V" and kind not in _NARROW_INTEGERS and kind != np.bool_
    )


def element_name(array: Array) -> str:
    """The IR's name of an array's element type, for messages."""
    return str(element_type(array.dtype))
