"""Types of the lower half of `tile`: shared tiles, rings, tensor maps, accumulators."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import (
    ArrayAttr,
    IntAttr,
)
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import (
    LayoutAttr,
    TileLayout,
    wgmma_accumulator,
)

from .types import TileType

STAGE_ALIGNMENT = 1024
"""Bytes that stages start at a multiple of: the 128-byte swizzle repeats after 1024."""

BARRIER_BYTES = 8
"""Size of an mbarrier object."""


@irdl_attr_definition
class SharedType(ParametrizedAttribute, TypeAttribute):
    """A tile in shared memory: `!tile.shared<128x64xf16, #layout>`.

    The layout is of the allocation; a part of it has smaller extents and the same
    layout, from which all strides and descriptors follow.
    """

    name = "tile.shared"

    shape: ArrayAttr[IntAttr]
    element_type: Attribute
    layout_attr: LayoutAttr

    def __init__(
        self,
        extents: Sequence[int],
        element_type: Attribute,
        layout: TileLayout | LayoutAttr,
    ) -> None:
        attr = layout if isinstance(layout, LayoutAttr) else LayoutAttr(layout)
        super().__init__(ArrayAttr([IntAttr(n) for n in extents]), element_type, attr)

    @property
    def extents(self) -> tuple[int, ...]:
        """The extent of each dim."""
        return tuple(n.data for n in self.shape)

    @property
    def layout(self) -> TileLayout:
        """The layout of the allocation."""
        return self.layout_attr.data

    @property
    def bytes(self) -> int:
        """The size of the tile itself."""
        return prod(self.extents) * bit_width(self.element_type) // 8

    def verify(self) -> None:
        """The layout is one of memory and holds the tile."""
        layout = self.layout
        if not layout.in_memory:
            raise VerifyException(
                f"expected a layout of memory, got {self.layout_attr}"
            )
        if len(layout.extents) != len(self.extents) or any(
            n > m for n, m in zip(self.extents, layout.extents, strict=True)
        ):
            raise VerifyException(
                f"tile {list(self.extents)} is not inside its layout's "
                f"{list(layout.extents)}"
            )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<128x64xf16, #layout>`."""
        with parser.in_angle_brackets():
            shape, element = parser.parse_ranked_shape()
            parser.parse_punctuation(",")
            layout = parser.parse_attribute()
            return [ArrayAttr([IntAttr(n) for n in shape]), element, layout]

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        with printer.in_angle_brackets():
            printer.print_string("".join(f"{n}x" for n in self.extents))
            printer.print_attribute(self.element_type)
            printer.print_string(", ")
            printer.print_attribute(self.layout_attr)


class _StagedType(ParametrizedAttribute, TypeAttribute):
    """What rings share: a number of stages, each of the same tiles."""

    stages_attr: IntAttr
    tiles_attr: ArrayAttr[SharedType]

    def __init__(self, stages: int, tiles: Sequence[SharedType]) -> None:
        super().__init__(IntAttr(stages), ArrayAttr(tiles))

    @property
    def stages(self) -> int:
        """The number of stages."""
        return self.stages_attr.data

    @property
    def tiles(self) -> tuple[SharedType, ...]:
        """The tiles of one stage."""
        return self.tiles_attr.data

    @property
    def data_bytes(self) -> int:
        """The size of all stages, each tile aligned."""
        aligned = [-(-t.bytes // STAGE_ALIGNMENT) * STAGE_ALIGNMENT for t in self.tiles]
        return self.stages * sum(aligned)

    def verify(self) -> None:
        """At least one stage of at least one whole tile."""
        if self.stages < 1 or not self.tiles:
            raise VerifyException("expected at least one stage and one tile")
        for tile in self.tiles:
            if tile.extents != tile.layout.extents:
                raise VerifyException(
                    f"expected whole allocations in a ring, got a part: {tile}"
                )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<4, tile, tile>`."""
        with parser.in_angle_brackets():
            stages = parser.parse_integer()
            tiles: list[Attribute] = []
            while parser.parse_optional_punctuation(",") is not None:
                tiles.append(parser.parse_type())
            return [IntAttr(stages), ArrayAttr(tiles)]

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        with printer.in_angle_brackets():
            printer.print_string(str(self.stages))
            for tile in self.tiles:
                printer.print_string(", ")
                printer.print_attribute(tile)


@irdl_attr_definition
class RingType(_StagedType):
    """Stages of shared tiles between producers and consumers: `!tile.ring<4, a, b>`.

    Each stage has a *full* barrier, which counts arrived bytes, and an *empty* one,
    which counts the consumers' warps.
    """

    name = "tile.ring"

    def __init__(self, stages: int, tiles: Sequence[SharedType]) -> None:
        super().__init__(stages, tiles)

    @property
    def bytes(self) -> int:
        """Shared memory of the tiles and the barriers."""
        return self.data_bytes + 2 * self.stages * BARRIER_BYTES


@irdl_attr_definition
class StagingType(_StagedType):
    """Buffers that results wait in until TMA has stored them: `!tile.staging<2, t>`.

    A buffer is reused after as many stores as there are buffers, whatever tile they
    belong to: the cursor runs on.
    """

    name = "tile.staging"

    def __init__(self, stages: int, tiles: Sequence[SharedType]) -> None:
        super().__init__(stages, tiles)

    @property
    def bytes(self) -> int:
        """Shared memory of the buffers."""
        return self.data_bytes


@irdl_attr_definition
class SlotType(ParametrizedAttribute, TypeAttribute):
    """One stage of a ring that a producer holds: copies into it signal its barrier."""

    name = "tile.slot"


@irdl_attr_definition
class CursorType(ParametrizedAttribute, TypeAttribute):
    """A place in a ring: a stage and the phase of its barriers, `!tile.cursor<4>`."""

    name = "tile.cursor"

    stages_attr: IntAttr

    def __init__(self, stages: int) -> None:
        super().__init__(IntAttr(stages))

    @property
    def stages(self) -> int:
        """The number of stages it walks over."""
        return self.stages_attr.data

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<4>`."""
        with parser.in_angle_brackets():
            return [IntAttr(parser.parse_integer())]

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        with printer.in_angle_brackets():
            printer.print_string(str(self.stages))


@irdl_attr_definition
class AccumulatorType(ParametrizedAttribute, TypeAttribute):
    """Registers that `wgmma` may still be writing: `!tile.accumulator<64x256xf32>`.

    Only `tile.wgmma_wait` makes a readable tile of it.
    """

    name = "tile.accumulator"

    shape: ArrayAttr[IntAttr]
    element_type: Attribute

    def __init__(self, extents: Sequence[int], element_type: Attribute) -> None:
        super().__init__(ArrayAttr([IntAttr(n) for n in extents]), element_type)

    @property
    def extents(self) -> tuple[int, ...]:
        """Rows and columns."""
        return tuple(n.data for n in self.shape)

    @property
    def registers(self) -> int:
        """32-bit registers of each thread."""
        return wgmma_accumulator(self.extents[1]).registers

    def drained(self) -> TileType:
        """The tile that the accumulator becomes."""
        layout = LayoutAttr(wgmma_accumulator(self.extents[1]))
        return TileType(self.extents, self.element_type, layout)

    def verify(self) -> None:
        """The shapes of `wgmma`: 64 rows, 8 to 256 columns in steps of 8."""
        if len(self.extents) != 2 or self.extents[0] != 64:
            raise VerifyException(
                f"wgmma accumulates 64 rows, got {list(self.extents)}"
            )
        columns = self.extents[1]
        if columns % 8 or not 8 <= columns <= 256:
            raise VerifyException(
                f"wgmma accumulates 8 to 256 columns in steps of 8, got {columns}"
            )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<64x256xf32>`."""
        with parser.in_angle_brackets():
            shape, element = parser.parse_ranked_shape()
            return [ArrayAttr([IntAttr(n) for n in shape]), element]

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        with printer.in_angle_brackets():
            printer.print_string("".join(f"{n}x" for n in self.extents))
            printer.print_attribute(self.element_type)


def shared_of(value: SSAValue | Attribute) -> SharedType:
    """The shared tile type of a value.

    Raises:
        VerifyException: it has another type.
    """
    kind = value.type if isinstance(value, SSAValue) else value
    if not isinstance(kind, SharedType):
        raise VerifyException(f"expected a tile in shared memory, got {kind}")
    return kind
