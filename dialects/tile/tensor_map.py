"""Types of tensor maps: what a copy engine reads and writes of a tensor at once."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DenseArrayBase,
    IntegerType,
    NoneAttr,
    i64,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import (
    CopyBox,
    copy_box,
)
from stepwell.dialects.shapes import Dim, DimsAttr, parse_dim_with

from .device_types import SharedType


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
