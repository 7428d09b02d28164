"""Asynchronous copies between global and shared memory.

PTX ISA: "Data movement and conversion: asynchronous copy", tensor copies and im2col.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    IndexType,
    IntegerAttr,
    IntegerType,
    UnitAttr,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.layouts import LayoutAttr

from .assembly import expect, parse_indices, parse_value, print_indices
from .device_types import SharedType, SlotType, shared_of
from .memory import TransferOp, split_indices, storage_type
from .tensor_map import TensorMapType, WindowAttr
from .types import TileType


def map_of(value: SSAValue | Attribute) -> TensorMapType:
    """The tensor map type of a value.

    Raises:
        VerifyException: it has another type.
    """
    kind = value.type if isinstance(value, SSAValue) else value
    if not isinstance(kind, TensorMapType):
        raise VerifyException(f"expected a tensor map, got {kind}")
    return kind


class _TensorCopyOp(IRDLOperation):
    """What loads and stores through a tensor map share."""

    tensor = operand_def(TensorMapType)
    tile = operand_def(SharedType)
    offsets = var_operand_def(IndexType)
    static_offsets = prop_def(DenseArrayBase.constr(i64))

    @property
    def indices(self) -> tuple[SSAValue | int, ...]:
        """The index along each dim of the tensor, numbers where they are known."""
        return _mixed(self.static_offsets, self.offsets)

    def verify_copy(self) -> None:
        """The indices fit the tensor, the tile the map's."""
        kind, tile = map_of(self.tensor), shared_of(self.tile)
        rank = len(kind.dims)
        expect(
            len(self.indices) == rank,
            f"expected {rank} indices, got {len(self.indices)}",
        )
        expect(
            (tile.extents, tile.element_type, tile.layout.base)
            == (kind.tile.extents, kind.element_type, kind.tile.layout.base),
            f"expected the map's tile {kind.tile}, got {tile}",
        )


def _mixed(
    static: DenseArrayBase[IntegerType], dynamic: Sequence[SSAValue]
) -> tuple[SSAValue | int, ...]:
    values = iter(dynamic)
    return tuple(
        next(values) if offset == DYNAMIC_INDEX else offset
        for offset in static.get_values()
    )


@irdl_op_definition
class TmaLoadOp(_TensorCopyOp):
    """Copies a tile from a tensor into a slot's shared memory, by one thread.

    Elements outside the tensor become 0. With a window (im2col), the indices are those
    of the first output pixel's window start and `offset` is the place in the window.
    With `multicast`, every block of the cluster gets the tile, at the same address.

    ```mlir
    tile.tma_load %a[%row, %k] to %tile in %slot
    tile.tma_load %x[%n, %h, %w, %c] offset [%r, %s] to %tile in %slot
    ```
    """

    name = "tile.tma_load"

    slot = operand_def(SlotType)
    window_offsets = var_operand_def(IndexType)
    static_window_offsets = prop_def(DenseArrayBase.constr(i64))
    multicast = opt_prop_def(UnitAttr)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    def __init__(
        self,
        tensor: SSAValue,
        indices: Sequence[SSAValue | int],
        tile: SSAValue,
        slot: SSAValue,
        *,
        offset: Sequence[SSAValue | int] = (),
        multicast: bool = False,
    ):
        static, dynamic = split_indices(indices)
        static_offset, dynamic_offset = split_indices(offset)
        super().__init__(
            operands=[slot, dynamic_offset, tensor, tile, dynamic],
            properties={
                "static_offsets": static,
                "static_window_offsets": static_offset,
                "multicast": UnitAttr() if multicast else None,
            },
        )

    @property
    def offset(self) -> tuple[SSAValue | int, ...]:
        """The place in the window, per spatial dim."""
        return _mixed(self.static_window_offsets, self.window_offsets)

    @property
    def bytes(self) -> int:
        """What arrives at this block's barrier for one block's copy."""
        return shared_of(self.tile).bytes

    def verify_(self) -> None:
        self.verify_copy()
        window = map_of(self.tensor).window
        expected = window.rank if isinstance(window, WindowAttr) else 0
        expect(
            len(self.offset) == expected,
            f"expected {expected} window offsets, got {len(self.offset)}",
        )

    @classmethod
    def parse(cls, parser: Parser) -> TmaLoadOp:
        tensor = parse_value(parser)
        indices = parse_indices(parser)
        offset: list[SSAValue | int] = []
        if parser.parse_optional_keyword("offset"):
            offset = parse_indices(parser)
        parser.parse_keyword("to")
        tile = parse_value(parser)
        parser.parse_keyword("in")
        slot = parse_value(parser)
        multicast = parser.parse_optional_keyword("multicast") is not None
        op = cls(tensor, indices, tile, slot, offset=offset, multicast=multicast)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.tensor)
        print_indices(printer, self.indices)
        if self.offset:
            printer.print_string(" offset ")
            print_indices(printer, self.offset)
        printer.print_string(" to ")
        printer.print_ssa_value(self.tile)
        printer.print_string(" in ")
        printer.print_ssa_value(self.slot)
        if self.multicast is not None:
            printer.print_string(" multicast")
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class TmaStoreOp(_TensorCopyOp):
    """Copies a tile from shared memory to a tensor, by one thread, as one group.

    Elements outside the tensor are dropped; with `accumulate` they are added.

    ```mlir
    tile.tma_store %tile to %c[%row, %column]
    ```
    """

    name = "tile.tma_store"

    accumulate = opt_prop_def(UnitAttr)

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    def __init__(
        self,
        tile: SSAValue,
        tensor: SSAValue,
        indices: Sequence[SSAValue | int],
        *,
        accumulate: bool = False,
    ):
        static, dynamic = split_indices(indices)
        super().__init__(
            operands=[tensor, tile, dynamic],
            properties={
                "static_offsets": static,
                "accumulate": UnitAttr() if accumulate else None,
            },
        )

    def verify_(self) -> None:
        self.verify_copy()
        expect(not map_of(self.tensor).is_im2col, "TMA cannot store through a window")

    @classmethod
    def parse(cls, parser: Parser) -> TmaStoreOp:
        tile = parse_value(parser)
        parser.parse_keyword("to")
        tensor = parse_value(parser)
        indices = parse_indices(parser)
        accumulate = parser.parse_optional_keyword("accumulate") is not None
        op = cls(tile, tensor, indices, accumulate=accumulate)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.tile)
        printer.print_string(" to ")
        printer.print_ssa_value(self.tensor)
        print_indices(printer, self.indices)
        if self.accumulate is not None:
            printer.print_string(" accumulate")
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class TmaStoreWaitOp(IRDLOperation):
    """Waits until at most `pending` stores of this thread still read shared memory.

    `cp.async.bulk.wait_group.read`.

    ```mlir
    tile.tma_store_wait 0
    ```
    """

    name = "tile.tma_store_wait"

    pending = prop_def(IntegerAttr[IntegerType].constr(i64))

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$pending attr-dict"

    def __init__(self, pending: int):
        super().__init__(properties={"pending": IntegerAttr(pending, i64)})


@irdl_op_definition
class AsyncLoadOp(TransferOp):
    """`cp.async`: copies a tile from a view into shared memory, by all threads.

    A thread copies the elements that a `tile.load` in `layout` would give it. Outside
    the view's sizes and where a guard fails it writes 0.

    ```mlir
    tile.async_load %x[%i, %k] over [0, 1] to %s layout #tile.layout<...>
    ```
    """

    name = "tile.async_load"

    target = operand_def(SharedType)
    layout = opt_prop_def(LayoutAttr)

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    def __init__(
        self,
        view: SSAValue,
        indices: Sequence[SSAValue | int],
        over: Sequence[int],
        target: SSAValue,
        layout: LayoutAttr | None = None,
    ):
        static, dynamic = split_indices(indices)
        super().__init__(
            operands=[target, view, dynamic],
            properties={
                "static_offsets": static,
                "over": DenseArrayBase.from_list(i64, list(over)),
                "layout": layout,
            },
        )

    def verify_(self) -> None:
        shared = shared_of(self.target)
        element = storage_type(shared.element_type)
        # The type checks that the layout is one of such a tile.
        self.verify_transfer(TileType(shared.extents, element, self.layout))

    @classmethod
    def parse(cls, parser: Parser) -> AsyncLoadOp:
        view = parse_value(parser)
        indices = parse_indices(parser)
        parser.parse_keyword("over")
        over = parser.parse_comma_separated_list(
            parser.Delimiter.SQUARE, parser.parse_integer
        )
        parser.parse_keyword("to")
        target, layout = parse_value(parser), None
        if parser.parse_optional_keyword("layout"):
            layout = parser.parse_attribute()
            if not isinstance(layout, LayoutAttr):
                parser.raise_error(f"expected a layout, got {layout}")
        op = cls(view, indices, over, target, layout)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.view)
        print_indices(printer, self.indices)
        printer.print_string(f" over {list(self.spanned)} to ")
        printer.print_ssa_value(self.target)
        if self.layout is not None:
            printer.print_string(" layout ")
            printer.print_attribute(self.layout)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class AsyncCommitOp(IRDLOperation):
    """Ends a group of `tile.async_load`s of this thread: `cp.async.commit_group`."""

    name = "tile.async_commit"

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "attr-dict"


@irdl_op_definition
class AsyncWaitOp(IRDLOperation):
    """Waits until at most `pending` groups of this thread are not done.

    `cp.async.wait_group`; other threads see the data after a barrier.
    """

    name = "tile.async_wait"

    pending = prop_def(IntegerAttr[IntegerType].constr(i64))

    traits = traits_def(MemoryWriteEffect())
    assembly_format = "$pending attr-dict"

    def __init__(self, pending: int):
        super().__init__(properties={"pending": IntegerAttr(pending, i64)})
