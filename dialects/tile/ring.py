"""Rings: the pipeline between warps that load tiles and warps that use them.

A ring has stages; a *cursor* is a stage with the phase of its barriers and runs along
as an SSA value, so that a persistent kernel carries it from one output tile into the
next. For each stage the producer acquires, copies and commits; the consumer waits, uses
and releases. Initialising the barriers is part of `tile.ring`, whose fence and block
barrier come before the first role.

PTX ISA: "Asynchronous barriers: mbarrier".
"""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr, IntegerType, i1, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    prop_def,
    result_def,
    traits_def,
    var_result_def,
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

from .assembly import Value, expect, one, parse_value
from .device_types import CursorType, RingType, SlotType, StagingType


def ring_of(value: SSAValue) -> RingType:
    """The ring type of a value.

    Raises:
        VerifyException: it has another type.
    """
    if not isinstance(value.type, RingType):
        raise VerifyException(f"expected a ring, got {value.type}")
    return value.type


def _expect_cursor(cursor: SSAValue, stages: int) -> None:
    expect(
        cursor.type == CursorType(stages),
        f"expected a cursor over {stages} stages, got {cursor.type}",
    )


@irdl_op_definition
class RingOp(IRDLOperation):
    """Allocates a ring and initialises its barriers.

    A full barrier takes one arrival and the bytes of a stage; an empty barrier one
    arrival from each of `consumers` warps.

    ```mlir
    %ring = tile.ring consumers 8 : !tile.ring<4, !tile.shared<128x64xf16, #sw>>
    ```
    """

    name = "tile.ring"

    consumers = prop_def(IntegerAttr[IntegerType].constr(i64))
    result = result_def(RingType)

    traits = traits_def(MemoryAllocEffect())
    assembly_format = "`consumers` $consumers attr-dict `:` type($result)"

    def __init__(self, consumers: int, type: RingType):
        super().__init__(
            properties={"consumers": IntegerAttr(consumers, i64)}, result_types=[type]
        )

    def verify_(self) -> None:
        got = self.consumers.value.data
        expect(got >= 1, f"expected at least one consuming warp, got {got}")


@irdl_op_definition
class CursorOp(IRDLOperation):
    """The first stage, in its first phase.

    ```mlir
    %c = tile.cursor : !tile.cursor<4>
    ```
    """

    name = "tile.cursor"

    result = result_def(CursorType)

    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, stages: int):
        super().__init__(result_types=[CursorType(stages)])


@irdl_op_definition
class AdvanceOp(IRDLOperation):
    """The next stage; past the last one the first, in the other phase.

    ```mlir
    %next = tile.advance %c : !tile.cursor<4>
    ```
    """

    name = "tile.advance"

    cursor = operand_def(CursorType)
    result = result_def(CursorType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = f"{one('cursor')} attr-dict `:` type($result)"

    def __init__(self, cursor: SSAValue):
        super().__init__(operands=[cursor], result_types=[cursor.type])

    def verify_(self) -> None:
        expect(
            self.cursor.type == self.result.type,
            f"expected {self.cursor.type}, got {self.result.type}",
        )


class _StageOp(IRDLOperation):
    """An op on the stage of a ring at a cursor: `%ring[%cursor]`."""

    ring = operand_def(RingType)
    cursor = operand_def(CursorType)

    def verify_stage(self) -> None:
        """The cursor walks over as many stages as the ring has."""
        _expect_cursor(self.cursor, ring_of(self.ring).stages)


def _parse_stage(parser: Parser) -> tuple[SSAValue, SSAValue]:
    ring = parse_value(parser)
    parser.parse_punctuation("[")
    cursor = parse_value(parser)
    parser.parse_punctuation("]")
    return ring, cursor


def _print_stage(printer: Printer, ring: SSAValue, cursor: SSAValue) -> None:
    printer.print_string(" ")
    printer.print_ssa_value(ring)
    printer.print_string("[")
    printer.print_ssa_value(cursor)
    printer.print_string("]")


def _tile_types(ring: SSAValue) -> list[Attribute]:
    return list(ring_of(ring).tiles)


@irdl_op_definition
class AcquireOp(_StageOp):
    """The producer waits until a stage is empty, and announces what will arrive.

    `expect` is the number of bytes that the copies into the slot bring, which must be
    exactly what they move: too few is a hang, too many a torn tile.

    ```mlir
    %slot, %a, %b = tile.acquire %ring[%c] expect 49152
    ```
    """

    name = "tile.acquire"

    bytes = prop_def(IntegerAttr[IntegerType].constr(i64))
    slot = result_def(SlotType)
    tiles = var_result_def()

    traits = traits_def(MemoryWriteEffect())

    def __init__(self, ring: SSAValue, cursor: SSAValue, bytes: int):
        super().__init__(
            operands=[ring, cursor],
            properties={"bytes": IntegerAttr(bytes, i64)},
            result_types=[SlotType(), _tile_types(ring)],
        )

    def verify_(self) -> None:
        self.verify_stage()
        expect(
            list(self.tiles.types) == _tile_types(self.ring),
            "expected one result per tile of a stage",
        )
        commits = [use.operation for use in self.slot.uses]
        commits = [op for op in commits if isinstance(op, CommitOp)]
        expect(
            len(commits) == 1 and commits[0].parent is self.parent,
            f"expected one tile.commit of the slot beside it, got {len(commits)}",
        )

    @classmethod
    def parse(cls, parser: Parser) -> AcquireOp:
        ring, cursor = _parse_stage(parser)
        parser.parse_keyword("expect")
        op = cls(ring, cursor, parser.parse_integer())
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        _print_stage(printer, self.ring, self.cursor)
        printer.print_string(f" expect {self.bytes.value.data}")
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class CommitOp(IRDLOperation):
    """The producer has issued all copies into the slot; they signal when they are done.

    ```mlir
    tile.commit %slot
    ```
    """

    name = "tile.commit"

    slot = operand_def(SlotType)

    traits = traits_def(MemoryWriteEffect())
    custom_directives = (Value,)
    assembly_format = f"{one('slot')} attr-dict"

    def __init__(self, slot: SSAValue):
        super().__init__(operands=[slot])


@irdl_op_definition
class WaitOp(_StageOp):
    """The consumer waits until a stage is full, and may then read its tiles.

    ```mlir
    %a, %b = tile.wait %ring[%c]
    ```
    """

    name = "tile.wait"

    tiles = var_result_def()

    traits = traits_def(MemoryReadEffect())

    def __init__(self, ring: SSAValue, cursor: SSAValue):
        super().__init__(operands=[ring, cursor], result_types=[_tile_types(ring)])

    def verify_(self) -> None:
        self.verify_stage()
        expect(
            list(self.tiles.types) == _tile_types(self.ring),
            "expected one result per tile of a stage",
        )

    @classmethod
    def parse(cls, parser: Parser) -> WaitOp:
        op = cls(*_parse_stage(parser))
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        _print_stage(printer, self.ring, self.cursor)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class ReleaseOp(_StageOp):
    """The consumer no longer reads a stage; one lane of each warp says so.

    With a condition, only where it holds.

    ```mlir
    tile.release %ring[%previous] if %not_first
    ```
    """

    name = "tile.release"

    condition = opt_operand_def(i1)

    traits = traits_def(MemoryWriteEffect())

    def __init__(
        self, ring: SSAValue, cursor: SSAValue, condition: SSAValue | None = None
    ):
        super().__init__(operands=[condition, ring, cursor])

    def verify_(self) -> None:
        self.verify_stage()

    @classmethod
    def parse(cls, parser: Parser) -> ReleaseOp:
        ring, cursor = _parse_stage(parser)
        condition = parse_value(parser) if parser.parse_optional_keyword("if") else None
        op = cls(ring, cursor, condition)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        _print_stage(printer, self.ring, self.cursor)
        if self.condition is not None:
            printer.print_string(" if ")
            printer.print_ssa_value(self.condition)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class StagingOp(IRDLOperation):
    """Allocates buffers for results that TMA stores; inside a role, for each group.

    ```mlir
    %out = tile.staging : !tile.staging<2, !tile.shared<64x64xf16, #sw>>
    ```
    """

    name = "tile.staging"

    result = result_def(StagingType)

    traits = traits_def(MemoryAllocEffect())
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, type: StagingType):
        super().__init__(result_types=[type])


@irdl_op_definition
class StageOp(IRDLOperation):
    """Waits until the stores out of a buffer are done, and gives the buffer.

    The storing thread waits for all but the last `buffers - 1` stores, then the group
    meets at its barrier: the distance of reuse belongs to the staging's type.

    ```mlir
    %s = tile.stage %out[%c]
    ```
    """

    name = "tile.stage"

    staging = operand_def(StagingType)
    cursor = operand_def(CursorType)
    tile = result_def()

    traits = traits_def(MemoryWriteEffect())

    def __init__(self, staging: SSAValue, cursor: SSAValue):
        kind = staging.type
        if not isinstance(kind, StagingType):
            raise VerifyException(f"expected a staging, got {kind}")
        super().__init__(operands=[staging, cursor], result_types=[kind.tiles[0]])

    def verify_(self) -> None:
        kind = self.staging.type
        assert isinstance(kind, StagingType)
        _expect_cursor(self.cursor, kind.stages)
        expect(
            len(kind.tiles) == 1 and self.tile.type == kind.tiles[0],
            f"expected the one tile of {kind}, got {self.tile.type}",
        )

    @classmethod
    def parse(cls, parser: Parser) -> StageOp:
        op = cls(*_parse_stage(parser))
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        _print_stage(printer, self.staging, self.cursor)
        printer.print_op_attributes(self.attributes)


def copies_into(slot: SSAValue) -> list[Operation]:
    """The ops that copy into a slot."""
    return [
        use.operation for use in slot.uses if not isinstance(use.operation, CommitOp)
    ]
