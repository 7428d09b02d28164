"""Matrix products on tensor cores, in the shapes of the hardware."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float8E4M3FNType,
    Float8E5M2Type,
    Float16Type,
    Float32Type,
    IntegerAttr,
    IntegerType,
    UnitAttr,
    i1,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import (
    LANE,
    LayoutAttr,
    TileLayout,
    WgmmaDescriptor,
    mma_a,
    mma_b,
    mma_c,
    wgmma_a,
    wgmma_descriptor,
)

from .assembly import (
    OptionalValue,
    Value,
    Values,
    at_most_one,
    expect,
    many,
    one,
    parse_value,
)
from .device_types import AccumulatorType, SharedType, shared_of
from .shape_rules import expect_type
from .shared import layout_of
from .types import TileType, tile_of

_F32_SUMS = (
    Float16Type(),
    BFloat16Type(),
    Float32Type(),
    Float8E4M3FNType(),
    Float8E5M2Type(),
)
"""Elements whose products are summed in f32; f32 itself is read as TF32."""


def accumulator_type_of(value: SSAValue) -> AccumulatorType:
    """The accumulator type of a value.

    Raises:
        VerifyException: it has another type.
    """
    if not isinstance(value.type, AccumulatorType):
        raise VerifyException(f"expected an accumulator, got {value.type}")
    return value.type


def is_multiplied(element: Attribute, total: Attribute) -> bool:
    """Whether tensor cores sum products of `element` in `total`."""
    integers = isinstance(element, IntegerType) and element.width.data == 8
    return (
        (isinstance(total, Float32Type) and element in _F32_SUMS)
        or (isinstance(total, Float16Type) and element == Float16Type())
        or (total == IntegerType(32) and integers)
    )


def expect_sum_type(element: Attribute, total: Attribute) -> None:
    """Products of `element` may be summed in `total`."""
    expect(
        is_multiplied(element, total),
        f"tensor cores do not sum products of {element} in {total}",
    )


@irdl_op_definition
class AccumulatorOp(IRDLOperation):
    """An accumulator that starts from a tile, or from no value yet.

    The first product must not read one that has no value.

    ```mlir
    %acc = tile.accumulator : !tile.accumulator<64x256xf32>
    %acc = tile.accumulator %scaled : !tile.accumulator<64x128xf32>
    ```
    """

    name = "tile.accumulator"

    initial = opt_operand_def(TileType)
    result = result_def(AccumulatorType)

    traits = traits_def(Pure())
    custom_directives = (OptionalValue,)
    assembly_format = f"({at_most_one('initial')}^)? attr-dict `:` type($result)"

    def __init__(self, type: AccumulatorType, initial: SSAValue | None = None):
        super().__init__(operands=[initial], result_types=[type])

    def verify_(self) -> None:
        if self.initial is not None:
            expected = accumulator_type_of(self.result).drained()
            expect(
                self.initial.type == expected,
                f"expected a tile {expected}, got {self.initial.type}",
            )


@irdl_op_definition
class WgmmaOp(IRDLOperation):
    """Issues a warpgroup's product of a k-block, as one group, and does not wait.

    `result = lhs * rhs + acc`. The left side is 64 x K in shared memory or in the
    registers of `#tile.layout<wgmma_a(K)>`, the right side K x N in shared memory.
    Without an accumulator, or where `accumulate` is false, the sum starts at 0.
    Descriptors and the transpose bit follow from the layouts.

    PTX ISA: "wgmma.mma_async".

    ```mlir
    %1 = tile.wgmma %a, %b : !tile.accumulator<64x128xf32>
    %2 = tile.wgmma %a, %b, %0 accumulate %again : !tile.accumulator<64x256xf32>
    ```
    """

    name = "tile.wgmma"

    lhs = operand_def()
    rhs = operand_def(SharedType)
    acc = opt_operand_def(AccumulatorType)
    accumulate = opt_operand_def(i1)
    result = result_def(AccumulatorType)

    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    traits = traits_def(MemoryReadEffect())

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        acc: SSAValue | None,
        type: AccumulatorType,
        *,
        accumulate: SSAValue | None = None,
    ):
        super().__init__(operands=[lhs, rhs, acc, accumulate], result_types=[type])

    @property
    def lhs_descriptor(self) -> WgmmaDescriptor | None:
        """How the hardware reads the left side; None if it is in registers."""
        if not isinstance(self.lhs.type, SharedType):
            return None
        kind, (_, depth) = self.lhs.type, self.lhs.type.extents
        return wgmma_descriptor(kind.layout, bit_width(kind.element_type), 1, depth, 64)

    @property
    def rhs_descriptor(self) -> WgmmaDescriptor:
        """How the hardware reads the right side."""
        kind = shared_of(self.rhs)
        depth, columns = kind.extents
        bits = bit_width(kind.element_type)
        return wgmma_descriptor(kind.layout, bits, 0, depth, columns)

    def verify_(self) -> None:
        rhs, total = shared_of(self.rhs), accumulator_type_of(self.result)
        expect(
            self.acc is None or self.acc.type == total,
            f"expected an accumulator of type {total}",
        )
        expect(
            self.accumulate is None or self.acc is not None,
            "expected an accumulator to go with 'accumulate'",
        )
        if not isinstance(self.lhs.type, SharedType | TileType):
            raise VerifyException(f"expected a tile, got {self.lhs.type}")
        lhs, element = self.lhs.type.extents, self.lhs.type.element_type
        expect(
            len(lhs) == len(rhs.extents) == 2
            and lhs[1] == rhs.extents[0]
            and (lhs[0], rhs.extents[1]) == total.extents,
            f"expected shapes 64xK, KxN, 64xN, got {list(lhs)}, "
            f"{list(rhs.extents)}, {list(total.extents)}",
        )
        expect(
            element == rhs.element_type,
            f"expected operands of one element type, got {element} and "
            f"{rhs.element_type}",
        )
        expect_sum_type(element, total.element_type)
        self._verify_layouts(lhs[1], element)

    def _verify_layouts(self, depth: int, element: Attribute) -> None:
        try:
            if isinstance(self.lhs.type, TileType):
                expected = wgmma_a(depth, bit_width(element))
                expect(
                    layout_of(self.lhs) == expected,
                    f"expected the left side in {LayoutAttr(expected)}, got "
                    f"{self.lhs.type.layout}",
                )
            _ = self.lhs_descriptor, self.rhs_descriptor
        except ValueError as error:
            raise VerifyException(str(error)) from None

    @classmethod
    def parse(cls, parser: Parser) -> WgmmaOp:
        lhs = parse_value(parser)
        parser.parse_punctuation(",")
        rhs = parse_value(parser)
        acc, accumulate = None, None
        if parser.parse_optional_punctuation(","):
            acc = parse_value(parser)
        if parser.parse_optional_keyword("accumulate"):
            accumulate = parse_value(parser)
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        kind = parser.parse_type()
        if not isinstance(kind, AccumulatorType):
            parser.raise_error(f"expected an accumulator type, got {kind}")
        op = cls(lhs, rhs, acc, kind, accumulate=accumulate)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        operands = [self.lhs, self.rhs, *([self.acc] if self.acc is not None else [])]
        printer.print_string(" ")
        printer.print_list(operands, printer.print_ssa_value)
        if self.accumulate is not None:
            printer.print_string(" accumulate ")
            printer.print_ssa_value(self.accumulate)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)


@irdl_op_definition
class WgmmaWaitOp(IRDLOperation):
    """Waits until at most `pending` groups are in flight; finished ones become tiles.

    The tiles stand below the wait, whatever is computed from them.

    PTX ISA: "wgmma.wait_group".

    ```mlir
    tile.wgmma_wait 1
    %c = tile.wgmma_wait 0, %acc : !tile.tile<64x256xf32, #acc>
    ```
    """

    name = "tile.wgmma_wait"

    pending = prop_def(IntegerAttr[IntegerType].constr(i64))
    accumulators = var_operand_def(AccumulatorType)
    tiles = var_result_def(TileType)

    traits = traits_def(MemoryWriteEffect())
    custom_directives = (Values,)
    assembly_format = (
        f"$pending (`,` {many('accumulators')}^ `:` type($tiles))? attr-dict"
    )

    def __init__(self, pending: int, accumulators: Sequence[SSAValue] = ()):
        tiles = [accumulator_type_of(value).drained() for value in accumulators]
        super().__init__(
            operands=[accumulators],
            properties={"pending": IntegerAttr(pending, i64)},
            result_types=[tiles],
        )

    def verify_(self) -> None:
        expected = [accumulator_type_of(value).drained() for value in self.accumulators]
        expect(
            list(self.tiles.types) == expected,
            f"expected tiles {', '.join(map(str, expected))}",
        )
        pending = self.pending.value.data
        expect(pending >= 0, f"expected at least 0 groups in flight, got {pending}")
        for value in self.accumulators:
            self._verify_finished(value, pending)

    def _verify_finished(self, value: SSAValue, pending: int) -> None:
        """A group is done only if at least `pending` were issued after it."""
        if (
            not isinstance(value.owner, WgmmaOp)
            or value.owner.parent is not self.parent
        ):
            expect(
                pending == 0,
                "an accumulator from outside of the block needs tile.wgmma_wait 0",
            )
            return
        later, op = 0, value.owner.next_op
        while op is not None and op is not self:
            later += isinstance(op, WgmmaOp)
            op = op.next_op
        expect(
            later >= pending,
            f"{pending} groups may be in flight, and only {later} came after the one "
            "that is read",
        )


@irdl_op_definition
class MmaOp(IRDLOperation):
    """A product of register fragments, warp by warp.

    `result = lhs * rhs + acc` of tiles MxK, KxN, MxN whose layouts are made of the
    fragments of `mma.sync.m16n8`. f32 is read as TF32; with `split` it is the sum of
    three products of high and low parts, which loses only what f32 loses. 8-bit
    integers are read as signed unless the op says otherwise. PTX ISA: "mma".

    ```mlir
    %d = tile.mma %a, %b, %c : !tile.tile<16x8xf32, #c>
    %e = tile.mma %x, %w, %sum split : !tile.tile<64x32xf32, #c>
    ```
    """

    name = "tile.mma"

    lhs = operand_def(TileType)
    rhs = operand_def(TileType)
    acc = operand_def(TileType)
    split = opt_prop_def(UnitAttr)
    lhs_unsigned = opt_prop_def(UnitAttr)
    rhs_unsigned = opt_prop_def(UnitAttr)
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = (
        f"{one('lhs')} `,` {one('rhs')} `,` {one('acc')} (`split` $split^)? "
        "(`lhs_unsigned` $lhs_unsigned^)? (`rhs_unsigned` $rhs_unsigned^)? attr-dict "
        "`:` type($result)"
    )

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        acc: SSAValue,
        *,
        split: bool = False,
        lhs_unsigned: bool = False,
        rhs_unsigned: bool = False,
    ):
        flags = {
            "split": split,
            "lhs_unsigned": lhs_unsigned,
            "rhs_unsigned": rhs_unsigned,
        }
        super().__init__(
            operands=[lhs, rhs, acc],
            properties={k: UnitAttr() if on else None for k, on in flags.items()},
            result_types=[acc.type],
        )

    def verify_(self) -> None:
        lhs, rhs, acc = (tile_of(v) for v in (self.lhs, self.rhs, self.acc))
        expect_type(self.result, acc)
        expect(
            len(lhs.extents) == len(rhs.extents) == len(acc.extents) == 2
            and lhs.extents[1] == rhs.extents[0]
            and (lhs.extents[0], rhs.extents[1]) == acc.extents,
            "expected shapes MxK, KxN, MxN, got "
            + ", ".join(str(list(t.extents)) for t in (lhs, rhs, acc)),
        )
        expect(
            lhs.element_type == rhs.element_type,
            f"expected operands of one element type, got {lhs.element_type} and "
            f"{rhs.element_type}",
        )
        expect_sum_type(lhs.element_type, acc.element_type)
        expect(
            self.split is None or isinstance(lhs.element_type, Float32Type),
            f"only products of f32 are split, got {lhs.element_type}",
        )
        bits = bit_width(lhs.element_type)
        k = 256 // bits
        _expect_fragment(self.lhs, mma_a(16, k, bits))
        _expect_fragment(self.rhs, mma_b(k, 8, bits))
        _expect_fragment(self.acc, mma_c(16, 8))


def _expect_fragment(value: SSAValue, fragment: TileLayout) -> None:
    """The tile's layout is the fragment, times registers and warps."""
    rest = layout_of(value).base.divide_left(fragment.base)
    if rest is None or rest.bases.get(LANE, ()):
        raise VerifyException(
            f"{tile_of(value).layout} is not made of {LayoutAttr(fragment)}"
        )
