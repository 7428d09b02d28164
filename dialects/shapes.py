"""Symbolic shapes in the IR: `#nn.dims`, `#nn.range`, and tensor types over them.

The algebra of dims is `stepwell.dialects.dims`; its names are re-exported here, so that
`shapes` is all that a reader of shapes needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DictionaryAttr,
    ModuleOp,
    NoneAttr,
    TensorType,
)
from xdsl.ir import Attribute, Data, SSAValue
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.errors import ShapeError

from .dims import (
    Bounds,
    Dim,
    DimExpr,
    DimRange,
    Ranges,
    bounds,
    ceildiv,
    dim_max,
    dim_min,
    divisor,
    evaluate,
    is_zero_or_more,
    may_be_equal,
    parse_dim,
    parse_dim_with,
    product,
    substitute,
    symbol,
    symbols_of,
)

__all__ = [
    "SYMBOLS_ATTRIBUTE",
    "Bounds",
    "Dim",
    "DimExpr",
    "DimRange",
    "DimsAttr",
    "RangeAttr",
    "Ranges",
    "Shape",
    "as_tensor",
    "bind_symbols",
    "bounds",
    "ceildiv",
    "dim_max",
    "dim_min",
    "dims_of",
    "divisor",
    "element_of",
    "evaluate",
    "is_static",
    "is_zero_or_more",
    "may_be_equal",
    "num_elements",
    "parse_dim",
    "parse_dim_with",
    "product",
    "ranges_of",
    "same_dims",
    "set_ranges",
    "substitute",
    "symbol",
    "symbols_of",
    "tensor_type",
    "with_dims",
    "with_element",
]

Shape: TypeAlias = Sequence[Dim]

SYMBOLS_ATTRIBUTE = "nn.symbols"
"""The module's attribute: a dictionary from symbol to `#nn.range`."""


@irdl_attr_definition
class DimsAttr(Data[tuple[Dim, ...]]):
    """A list of dims: `#nn.dims<batch, 2 * seq - 1, 768>`.

    It is the encoding of a tensor type with dynamic dims, and the form of every op
    attribute whose numbers may depend on symbols.
    """

    name = "nn.dims"

    def __init__(self, dims: Iterable[Dim]) -> None:
        super().__init__(tuple(dims))

    def get_values(self) -> tuple[Dim, ...]:
        """The dims; the accessor's name is that of `DenseArrayBase`."""
        return self.data

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Dim, ...]:
        """Read `<dim, ...>`."""
        return tuple(
            parser.parse_comma_separated_list(
                parser.Delimiter.ANGLE, lambda: parse_dim_with(parser)
            )
        )

    def print_parameter(self, printer: Printer) -> None:
        """Write `<dim, ...>`."""
        printer.print_string(f"<{', '.join(map(str, self.data))}>")


@irdl_attr_definition
class RangeAttr(Data[DimRange]):
    """What the user promises of a symbol: `#nn.range<min, max, opt, divisor>`.

    `?` stands for an unknown maximum or optimum.
    """

    name = "nn.range"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> DimRange:
        """Read `<min, max, opt, divisor>`."""
        numbers = parser.parse_comma_separated_list(
            parser.Delimiter.ANGLE,
            lambda: (
                None
                if parser.parse_optional_punctuation("?")
                else parser.parse_integer(False, False)
            ),
        )
        if len(numbers) != 4 or numbers[0] is None or numbers[3] is None:
            parser.raise_error("expected #nn.range<min, max or ?, opt or ?, divisor>")
        return DimRange(numbers[0], numbers[1], numbers[2], numbers[3])

    def print_parameter(self, printer: Printer) -> None:
        """Write `<min, max, opt, divisor>`."""
        known = self.data
        numbers = (known.min, known.max, known.opt, known.divisor)
        texts = ("?" if number is None else str(number) for number in numbers)
        printer.print_string(f"<{', '.join(texts)}>")

    def verify(self) -> None:
        """Check that the range is not empty and the divisor positive."""
        known = self.data
        if known.divisor < 1:
            raise VerifyException(f"expected a positive divisor, got {known.divisor}")
        if known.max is not None and not known.min <= known.max:
            raise VerifyException(
                f"expected min <= max, got {known.min} and {known.max}"
            )


def tensor_type(dims: Shape, element: Attribute) -> TensorType:
    """The tensor type of `dims` and `element`.

    Dynamic dims are `?` with their expressions in the encoding; a static type has none.
    """
    return _tensor_type(tuple(dims), element)


@lru_cache(maxsize=1 << 12)
def _tensor_type(dims: tuple[Dim, ...], element: Attribute) -> TensorType:
    if all(isinstance(dim, int) for dim in dims):
        return TensorType(element, [dim for dim in dims if isinstance(dim, int)])
    shape = [dim if isinstance(dim, int) else DYNAMIC_INDEX for dim in dims]
    return TensorType(element, shape, DimsAttr(dims))


def dims_of(value: Attribute | SSAValue) -> tuple[Dim, ...]:
    """The dims of a tensor type, or of a value of one.

    Raises:
        ShapeError: not a tensor, or a dynamic dim has no expression.
    """
    kind = as_tensor(value)
    if isinstance(kind.encoding, DimsAttr):
        return kind.encoding.data
    dims = tuple([size.data for size in kind.shape.data])
    if DYNAMIC_INDEX in dims:
        raise ShapeError(f"expected #nn.dims<...> for the dynamic dims, got {kind}")
    return dims


def element_of(value: Attribute | SSAValue) -> Attribute:
    """The element type of a tensor type, or of a value of one."""
    return as_tensor(value).element_type


def with_dims(kind: Attribute, dims: Shape) -> TensorType:
    """The tensor type `kind` with other dims."""
    return tensor_type(dims, element_of(kind))


def with_element(kind: Attribute, element: Attribute) -> TensorType:
    """The tensor type `kind` with another element type."""
    kind = as_tensor(kind)
    return TensorType(element, kind.shape, kind.encoding)


def num_elements(value: Attribute | SSAValue) -> Dim:
    """The number of elements."""
    return product(dims_of(value))


def is_static(value: Attribute | SSAValue) -> bool:
    """Whether every dim is a number."""
    return all(isinstance(dim, int) for dim in dims_of(value))


def same_dims(left: Attribute | SSAValue, right: Attribute | SSAValue) -> bool:
    """Whether two tensors have provably the same dims."""
    return dims_of(left) == dims_of(right)


def ranges_of(module: ModuleOp) -> dict[str, DimRange]:
    """The ranges that the module states of its symbols."""
    table = module.attributes.get(SYMBOLS_ATTRIBUTE, NoneAttr())
    if not isinstance(table, DictionaryAttr):
        return {}
    return {
        name: attr.data
        for name, attr in table.data.items()
        if isinstance(attr, RangeAttr)
    }


def set_ranges(module: ModuleOp, ranges: Mapping[str, DimRange]) -> None:
    """State the ranges of the module's symbols, replacing what it said before."""
    table = {name: RangeAttr(known) for name, known in sorted(ranges.items())}
    module.attributes[SYMBOLS_ATTRIBUTE] = DictionaryAttr(table)


def bind_symbols(
    dims: Shape, shape: Sequence[int], bindings: dict[str, int], what: str
) -> None:
    """Learn symbols from one actual shape, and check every dim that is known.

    A dim that is a bare, unbound symbol binds it. `bindings` is extended in place.

    Raises:
        ShapeError: the rank or a known dim disagrees; `what` names the tensor.
    """
    if len(dims) != len(shape):
        raise ShapeError(f"expected rank {len(dims)} of {what}, got {len(shape)}")
    for dim, size in zip(dims, shape, strict=True):
        if isinstance(dim, DimExpr) and (name := dim.as_symbol()) is not None:
            bindings.setdefault(name, size)
    for index, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        if symbols_of(dim) <= bindings.keys() and evaluate(dim, bindings) != size:
            raise ShapeError(
                f"expected {dim} = {evaluate(dim, bindings)} at dim {index} of {what}, "
                f"got {size}"
            )


def as_tensor(value: Attribute | SSAValue) -> TensorType:
    """The tensor type that `value` is or has.

    Raises:
        ShapeError: it is none.
    """
    kind = value.type if isinstance(value, SSAValue) else value
    if not isinstance(kind, TensorType):
        raise ShapeError(f"expected a tensor, got {kind}")
    return kind
