"""The two types of the upper half of `tile`: memory, and values held by a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdsl.dialects.builtin import ArrayAttr, IntAttr, NoneAttr
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.layouts import LayoutAttr
from stepwell.dialects.shapes import Dim, DimsAttr, parse_dim_with

if TYPE_CHECKING:
    from xdsl.parser import Parser


@irdl_attr_definition
class ViewType(ParametrizedAttribute, TypeAttribute):
    """Memory with logical dims: `!tile.view<56x64xf32>`.

    An argument of a `tile.func` is row-major and contiguous; `tile.access` gives the
    same memory other dims. Symbolic dims stand in brackets:
    `!tile.view<[batch, 2 * seq, 64] f32>`.
    """

    name = "tile.view"

    dims_attr: DimsAttr
    element_type: Attribute

    def __init__(self, dims: Sequence[Dim], element_type: Attribute) -> None:
        super().__init__(DimsAttr(dims), element_type)

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The logical dims: numbers or expressions over symbols."""
        return self.dims_attr.data

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<56x64xf32>` or `<[batch, 64] f32>`."""
        with parser.in_angle_brackets():
            dims = parser.parse_optional_comma_separated_list(
                parser.Delimiter.SQUARE, lambda: parse_dim_with(parser)
            )
            if dims is not None:
                return [DimsAttr(dims), parser.parse_type()]
            shape, element = parser.parse_ranked_shape()
            return [DimsAttr(shape), element]

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        static = all(isinstance(dim, int) for dim in self.dims)
        with printer.in_angle_brackets():
            if static:
                printer.print_string("".join(f"{dim}x" for dim in self.dims))
            else:
                printer.print_string(f"[{', '.join(map(str, self.dims))}] ")
            printer.print_attribute(self.element_type)


@irdl_attr_definition
class TileType(ParametrizedAttribute, TypeAttribute):
    """A dense array held by one program of the grid: `!tile.tile<128x64xf16>`.

    In the lower half of the dialect a layout says where each element is held:
    `!tile.tile<128x64xf16, #layout>`.
    """

    name = "tile.tile"

    shape: ArrayAttr[IntAttr]
    element_type: Attribute
    layout: Attribute

    def __init__(
        self,
        extents: Sequence[int],
        element_type: Attribute,
        layout: Attribute | None = None,
    ) -> None:
        super().__init__(
            ArrayAttr([IntAttr(n) for n in extents]),
            element_type,
            NoneAttr() if layout is None else layout,
        )

    @property
    def extents(self) -> tuple[int, ...]:
        """The extent of each dim."""
        return tuple(n.data for n in self.shape)

    def verify(self) -> None:
        """Every extent is positive, and a layout is of this shape."""
        if any(n < 1 for n in self.extents):
            raise VerifyException(
                f"expected positive extents, got {list(self.extents)}"
            )
        if not isinstance(self.layout, LayoutAttr):
            return
        layout = self.layout.data
        if layout.in_memory:
            raise VerifyException("expected a layout of threads, got one of memory")
        if layout.extents != self.extents:
            raise VerifyException(
                f"expected a layout of {list(self.extents)}, got one of "
                f"{list(layout.extents)}"
            )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<128x64xf16>` or `<128x64xf16, #layout>`."""
        with parser.in_angle_brackets():
            shape, element = parser.parse_ranked_shape()
            layout: Attribute = NoneAttr()
            if parser.parse_optional_punctuation(",") is not None:
                layout = parser.parse_attribute()
            return [ArrayAttr([IntAttr(n) for n in shape]), element, layout]

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        with printer.in_angle_brackets():
            printer.print_string("".join(f"{n}x" for n in self.extents))
            printer.print_attribute(self.element_type)
            if not isinstance(self.layout, NoneAttr):
                printer.print_string(", ")
                printer.print_attribute(self.layout)


def tile_of(value: SSAValue | Attribute) -> TileType:
    """The tile type of a value.

    Raises:
        VerifyException: it has another type.
    """
    kind = value.type if isinstance(value, SSAValue) else value
    if not isinstance(kind, TileType):
        raise VerifyException(f"expected a tile, got {kind}")
    return kind


def view_of(value: SSAValue | Attribute) -> ViewType:
    """The view type of a value.

    Raises:
        VerifyException: it has another type.
    """
    kind = value.type if isinstance(value, SSAValue) else value
    if not isinstance(kind, ViewType):
        raise VerifyException(f"expected a view, got {kind}")
    return kind


def parse_tile_type(parser: Parser) -> TileType:
    """Read a tile type; any other type is a parse error."""
    kind = parser.parse_type()
    if not isinstance(kind, TileType):
        parser.raise_error(f"expected a tile type, got {kind}")
    return kind
