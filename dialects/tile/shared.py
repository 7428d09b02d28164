"""Tiles in shared memory: allocating, viewing, moving to registers and back."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DYNAMIC_INDEX, DenseArrayBase, IndexType, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    MemoryAllocEffect,
    MemoryReadEffect,
    MemoryWriteEffect,
    Pure,
)
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import (
    Conversion,
    LayoutAttr,
    MatrixAccess,
    TileLayout,
    classify,
    matrix_access,
)

from .assembly import Value, expect, one, parse_indices, parse_value, print_indices
from .device_types import SharedType, shared_of
from .memory import split_indices
from .types import TileType, tile_of


def layout_of(value: SSAValue) -> TileLayout:
    """The layout of a distributed tile.

    Raises:
        VerifyException: the tile has none.
    """
    layout = tile_of(value).layout
    if not isinstance(layout, LayoutAttr):
        raise VerifyException(f"expected a tile with a layout, got {value.type}")
    return layout.data


@irdl_op_definition
class SharedAllocOp(IRDLOperation):
    """Shared memory for one tile; inside a role, for each of its groups.

    ```mlir
    %s = tile.shared_alloc : !tile.shared<64x64xf16, #sw>
    ```
    """

    name = "tile.shared_alloc"

    result = result_def(SharedType)

    traits = traits_def(MemoryAllocEffect())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, type: SharedType):
        super().__init__(result_types=[type])


@irdl_op_definition
class SharedTransposeOp(IRDLOperation):
    """The same memory with its two dims exchanged: only the layout changes.

    ```mlir
    %bt = tile.shared_transpose %b : !tile.shared<64x256xf16, #swt>
    ```
    """

    name = "tile.shared_transpose"

    source = operand_def(SharedType)
    result = result_def(SharedType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = f"{one('source')} attr-dict `:` type($result)"

    def __init__(self, source: SSAValue):
        super().__init__(operands=[source], result_types=[_transposed(source)])

    def verify_(self) -> None:
        expected = _transposed(self.source)
        expect(
            self.result.type == expected, f"expected {expected}, got {self.result.type}"
        )


def _transposed(source: SSAValue) -> SharedType:
    kind = shared_of(source)
    if len(kind.extents) != 2:
        raise VerifyException(f"expected a tile of rank 2, got {kind}")
    layout = kind.layout.permute([1, 0])
    return SharedType(tuple(reversed(kind.extents)), kind.element_type, layout)


@irdl_op_definition
class SharedSliceOp(IRDLOperation):
    """A part of a tile in shared memory; the layout stays that of the whole.

    Offsets are multiples of the part's extents, and of the swizzle's 8 rows.

    ```mlir
    %mine = tile.shared_slice %a[%row, 0] : !tile.shared<64x64xf16, #sw>
    ```
    """

    name = "tile.shared_slice"

    source = operand_def(SharedType)
    offsets = var_operand_def(IndexType)
    static_offsets = prop_def(DenseArrayBase.constr(i64))
    result = result_def(SharedType)

    traits = traits_def(Pure())

    def __init__(
        self, source: SSAValue, indices: Sequence[SSAValue | int], type: SharedType
    ):
        static, dynamic = split_indices(indices)
        super().__init__(
            operands=[source, dynamic],
            properties={"static_offsets": static},
            result_types=[type],
        )

    @property
    def indices(self) -> tuple[SSAValue | int, ...]:
        """The offset along each dim, numbers where they are known."""
        dynamic = iter(self.offsets)
        return tuple(
            next(dynamic) if offset == DYNAMIC_INDEX else offset
            for offset in self.static_offsets.get_values()
        )

    def verify_(self) -> None:
        source, result = shared_of(self.source), shared_of(self.result)
        expect(
            source.element_type == result.element_type
            and source.layout == result.layout,
            lambda: (
                f"expected the element type and the layout of {source}, got {result}"
            ),
        )
        rank = len(source.extents)
        expect(
            len(self.indices) == rank == len(result.extents),
            f"expected {rank} offsets, got {len(self.indices)}",
        )
        for index, part, whole, unit in zip(
            self.indices,
            result.extents,
            source.extents,
            source.layout.base_extents,
            strict=True,
        ):
            expect(
                whole % part == 0 and (part % unit == 0 or whole == part),
                f"a part of {part} does not divide {whole} into blocks of {unit}",
            )
            if isinstance(index, int):
                expect(
                    index % part == 0 and index + part <= whole,
                    f"part {part} at {index} is not a whole part of {whole}",
                )

    @classmethod
    def parse(cls, parser: Parser) -> SharedSliceOp:
        source = parse_value(parser)
        indices = parse_indices(parser)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        op = cls(source, indices, shared_of(parser.parse_type()))
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        print_indices(printer, self.indices)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)


def _expect_same_tile(tile: TileType, shared: SharedType) -> None:
    if (tile.shape, tile.element_type) != (shared.shape, shared.element_type):
        raise VerifyException(f"expected a tile like {shared}, got {tile}")


@irdl_op_definition
class SharedLoadOp(IRDLOperation):
    """Reads a tile from shared memory into the registers its layout names.

    `ldmatrix` where the two layouts allow it, else vector loads as wide as they allow.

    ```mlir
    %x = tile.shared_load %s : !tile.tile<64x64xf16, #acc>
    ```
    """

    name = "tile.shared_load"

    source = operand_def(SharedType)
    result = result_def(TileType)

    traits = traits_def(MemoryReadEffect())
    custom_directives = (Value,)
    assembly_format = f"{one('source')} attr-dict `:` type($result)"

    def __init__(self, source: SSAValue, type: TileType):
        super().__init__(operands=[source], result_types=[type])

    def verify_(self) -> None:
        layout_of(self.result)
        _expect_same_tile(tile_of(self.result), shared_of(self.source))

    @property
    def matrix(self) -> MatrixAccess | None:
        """The `ldmatrix` that does it, or None."""
        kind = shared_of(self.source)
        bits = bit_width(kind.element_type)
        return matrix_access(layout_of(self.result), kind.layout, bits)


@irdl_op_definition
class SharedStoreOp(IRDLOperation):
    """Writes a tile from registers into shared memory.

    `stmatrix` where the two layouts allow it, else vector stores as wide as they allow.
    A copy engine sees it only after `tile.fence_async`.

    ```mlir
    tile.shared_store %x, %s
    ```
    """

    name = "tile.shared_store"

    tile = operand_def(TileType)
    target = operand_def(SharedType)

    traits = traits_def(MemoryWriteEffect())
    custom_directives = (Value,)
    assembly_format = f"{one('tile')} `,` {one('target')} attr-dict"

    def __init__(self, tile: SSAValue, target: SSAValue):
        super().__init__(operands=[tile, target])

    def verify_(self) -> None:
        layout_of(self.tile)
        _expect_same_tile(tile_of(self.tile), shared_of(self.target))

    @property
    def matrix(self) -> MatrixAccess | None:
        """The `stmatrix` that does it, or None."""
        kind = shared_of(self.target)
        bits = bit_width(kind.element_type)
        return matrix_access(layout_of(self.tile), kind.layout, bits)


@irdl_op_definition
class FenceAsyncOp(IRDLOperation):
    """Makes this thread's writes to shared memory visible to TMA and wgmma.

    `fence.proxy.async.shared::cta`; PTX ISA, "membar/fence".
    """

    name = "tile.fence_async"

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict"


@irdl_op_definition
class ConvertLayoutOp(IRDLOperation):
    """The same tile held by other registers and threads.

    How elements travel follows from the two layouts: a renaming of registers, shuffles
    in a warp, or a trip through shared memory (`op.conversion`).

    ```mlir
    %p16 = tile.convert_layout %p : !tile.tile<64x128xf16, #a>
    ```
    """

    name = "tile.convert_layout"

    input = operand_def(TileType)
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = f"{one('input')} attr-dict `:` type($result)"

    def __init__(self, input: SSAValue, layout: TileLayout | LayoutAttr):
        kind = tile_of(input)
        attr = layout if isinstance(layout, LayoutAttr) else LayoutAttr(layout)
        result = TileType(kind.extents, kind.element_type, attr)
        super().__init__(operands=[input], result_types=[result])

    @property
    def conversion(self) -> Conversion:
        """How elements travel."""
        return classify(layout_of(self.input), layout_of(self.result))

    def verify_(self) -> None:
        source, result = tile_of(self.input), tile_of(self.result)
        if (source.shape, source.element_type) != (result.shape, result.element_type):
            raise VerifyException(f"expected a tile like {source}, got {result}")
        try:
            _ = self.conversion
        except ValueError as error:
            raise VerifyException(str(error)) from None
