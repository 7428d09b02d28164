"""Types of the lower half of `tile`: shared tiles, rings, tensor maps, accumulators."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    IntAttr,
    IntegerType,
    NoneAttr,
    i64,
)
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import (
    CopyBox,
    LayoutAttr,
    TileLayout,
    copy_box,
    wgmma_accumulator,
)
from stepwell.dialects.shapes import Dim, DimsAttr, parse_dim_with

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
class WindowAttr(ParametrizedAttribute):
    """The filter window of an im2col tensor map over `[n, spatial..., c]`.

    `#tile.window<kernel = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1],
    dilations = [1, 1]>`, with pads low then high as in ONNX. The corners of the
    bounding box, and the walk, follow: CUDA driver API, `cuTensorMapEncodeIm2col`.
    """

    name = "tile.window"

    kernel: DenseArrayBase[IntegerType]
    strides: DenseArrayBase[IntegerType]
    pads: DenseArrayBase[IntegerType]
    dilations: DenseArrayBase[IntegerType]

    def __init__(
        self,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
    ) -> None:
        super().__init__(
            *(
                DenseArrayBase.from_list(i64, list(v))
                for v in (kernel, strides, pads, dilations)
            )
        )

    @property
    def rank(self) -> int:
        """The number of spatial dims."""
        return len(self.kernel.get_values())

    def verify(self) -> None:
        """One number per spatial dim, two pads."""
        rank = self.rank
        got = [len(v.get_values()) for v in (self.strides, self.pads, self.dilations)]
        if not 1 <= rank <= 3 or got != [rank, 2 * rank, rank]:
            raise VerifyException(
                f"expected strides, pads, dilations of {rank}, {2 * rank}, {rank} "
                f"numbers for a kernel of {rank}, got {got}"
            )
        if any(not 1 <= s <= 8 for s in self.strides.get_values()):
            raise VerifyException(
                f"TMA walks strides of 1 to 8, got {list(self.strides.get_values())}"
            )

    def lower_corner(self) -> tuple[int, ...]:
        """Where the first window starts, per spatial dim."""
        return tuple(-p for p in self.pads.get_values()[: self.rank])

    def upper_corner(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How far beyond the last pixel the last window's start is, per spatial dim."""
        corner: list[int] = []
        low, high = (
            self.pads.get_values()[: self.rank],
            self.pads.get_values()[self.rank :],
        )
        for d, size in enumerate(sizes):
            reach = (self.kernel.get_values()[d] - 1) * self.dilations.get_values()[d]
            stride = self.strides.get_values()[d]
            outputs = (size + low[d] + high[d] - reach - 1) // stride + 1
            corner.append((outputs - 1) * stride - low[d] - (size - 1))
        return tuple(corner)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """Read the four lists by name."""
        lists: list[Attribute] = []
        with parser.in_angle_brackets():
            for position, key in enumerate(("kernel", "strides", "pads", "dilations")):
                if position:
                    parser.parse_punctuation(",")
                parser.parse_keyword(key)
                parser.parse_punctuation("=")
                values = parser.parse_comma_separated_list(
                    parser.Delimiter.SQUARE, parser.parse_integer
                )
                lists.append(DenseArrayBase.from_list(i64, values))
        return lists

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        fields = {
            "kernel": self.kernel,
            "strides": self.strides,
            "pads": self.pads,
            "dilations": self.dilations,
        }
        text = ", ".join(f"{k} = {list(v.get_values())}" for k, v in fields.items())
        printer.print_string(f"<{text}>")


@irdl_attr_definition
class TensorMapType(ParametrizedAttribute, TypeAttribute):
    """A TMA descriptor passed to the kernel, of a row-major tensor and the tiles moved.

    `!tile.tensor_map<4096x3072xf16 over [0, 1], !tile.shared<128x64xf16, #sw>>`: a tile
    spans the tensor's dims in `over`, and is one long in all others. The host encodes
    it from this type alone: box, swizzle and strides follow. With a `#tile.window` tile
    rows are output pixels and columns channels (im2col).
    """

    name = "tile.tensor_map"

    dims_attr: DimsAttr
    element_type: Attribute
    over_attr: DenseArrayBase[IntegerType]
    tile: SharedType
    window: Attribute

    def __init__(
        self,
        dims: Sequence[Dim],
        over: Sequence[int],
        tile: SharedType,
        window: WindowAttr | None = None,
    ) -> None:
        super().__init__(
            DimsAttr(dims),
            tile.element_type,
            DenseArrayBase.from_list(i64, list(over)),
            tile,
            NoneAttr() if window is None else window,
        )

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The dims of the tensor in global memory."""
        return self.dims_attr.data

    @property
    def over(self) -> tuple[int, ...]:
        """The dims that a tile spans."""
        return tuple(self.over_attr.get_values())

    @property
    def is_im2col(self) -> bool:
        """Whether rows of a tile are output pixels of a window."""
        return isinstance(self.window, WindowAttr)

    def boxes(self, tile: SharedType) -> CopyBox:
        """The copies that move `tile`, which may be a part of the map's tile."""
        rows, columns = tile.extents
        return copy_box(tile.layout, bit_width(self.element_type), (rows, columns))

    def verify(self) -> None:
        """What the hardware can do: PTX ISA, "Tensor copy"."""
        rank, over = len(self.dims), self.over
        if not 1 <= rank <= 5:
            raise VerifyException(f"TMA moves tensors of rank 1 to 5, got {rank}")
        if len(over) != 2 or not 0 <= over[0] < over[1] == rank - 1:
            raise VerifyException(
                f"expected a tile over one dim and the last one, got {list(over)}"
            )
        if self.element_type != self.tile.element_type:
            raise VerifyException(
                f"expected tiles of {self.element_type}, got {self.tile.element_type}"
            )
        self._verify_strides()
        if isinstance(self.window, WindowAttr) and rank != self.window.rank + 2:
            raise VerifyException(
                f"expected a tensor of rank {self.window.rank + 2} for the window, got "
                f"{rank}"
            )
        try:
            self.boxes(self.tile)
        except ValueError as error:
            raise VerifyException(str(error)) from None

    def _verify_strides(self) -> None:
        row = self.dims[-1] * bit_width(self.element_type)
        if len(self.dims) > 1 and row % 128 != 0:
            raise VerifyException(
                f"TMA needs rows of a multiple of 16 bytes, got {self.dims[-1]} of "
                f"{self.element_type}"
            )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """`<4096x64xf16 over [0, 1], tile>`, and a window at the end."""
        with parser.in_angle_brackets():
            dims = parser.parse_optional_comma_separated_list(
                parser.Delimiter.SQUARE, lambda: parse_dim_with(parser)
            )
            if dims is None:
                dims, element = parser.parse_ranked_shape()
            else:
                element = parser.parse_type()
            parser.parse_keyword("over")
            over = parser.parse_comma_separated_list(
                parser.Delimiter.SQUARE, parser.parse_integer
            )
            parser.parse_punctuation(",")
            tile = parser.parse_type()
            window: Attribute = NoneAttr()
            if parser.parse_optional_punctuation(",") is not None:
                window = parser.parse_attribute()
        return [
            DimsAttr(dims),
            element,
            DenseArrayBase.from_list(i64, over),
            tile,
            window,
        ]

    def print_parameters(self, printer: Printer) -> None:
        """The form that `parse_parameters` reads."""
        static = all(isinstance(dim, int) for dim in self.dims)
        with printer.in_angle_brackets():
            if static:
                printer.print_string("".join(f"{dim}x" for dim in self.dims))
            else:
                printer.print_string(f"[{', '.join(map(str, self.dims))}] ")
            printer.print_attribute(self.element_type)
            printer.print_string(f" over {list(self.over)}, ")
            printer.print_attribute(self.tile)
            if self.is_im2col:
                printer.print_string(", ")
                printer.print_attribute(self.window)


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
