"""Ops on tiles of the upper half of `tile`: what is computed, the same on every device.

A tile is a small dense array held by one program of the grid. All of its extents are
known numbers; what lies outside a tensor was given a fill value by the load and is
dropped by the store.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    NoneAttr,
    UnitAttr,
    i64,
)
from xdsl.dialects.utils import AbstractYieldOperation
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    lazy_traits_def,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser, UnresolvedOperand
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsTerminator, Pure, RecursiveMemoryEffect

from .assembly import (
    Value,
    expect,
    one,
    parse_scalar,
    print_scalar,
    scalar_attr,
    type_of_operand,
)
from .shape_rules import (
    broadcast_layout,
    expect_dim,
    expect_layout,
)
from .types import TileType, parse_tile_type, tile_of


@irdl_op_definition
class FullOp(IRDLOperation):
    """A tile whose elements all have one value.

    `result[i, ...] = value`. The value's type is the tile's element type.

    ```mlir
    %acc = tile.full 0.0 : !tile.tile<64x32xf32>
    ```
    """

    name = "tile.full"

    value = prop_def(FloatAttr | IntegerAttr)
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(self, value: float | int | FloatAttr | IntegerAttr, type: TileType):
        super().__init__(
            properties={"value": scalar_attr(value, type.element_type)},
            result_types=[type],
        )

    def verify_(self) -> None:
        got, expected = self.value.type, tile_of(self.result).element_type
        expect(got == expected, f"expected a value of type {expected}, got {got}")

    @classmethod
    def parse(cls, parser: Parser) -> FullOp:
        number = parse_scalar(parser)
        parser.parse_punctuation(":")
        return cls(number, parse_tile_type(parser))

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_scalar(printer, self.value)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)


@irdl_op_definition
class IotaOp(IRDLOperation):
    """The position along one dim: `result[..., i, ...] = i`.

    ```mlir
    %columns = tile.iota dim 1 : !tile.tile<1x64xindex>
    ```
    """

    name = "tile.iota"

    dim = prop_def(IntegerAttr[IntegerType].constr(i64))
    result = result_def(TileType)

    traits = traits_def(Pure())
    assembly_format = "`dim` $dim attr-dict `:` type($result)"

    def __init__(self, dim: int, type: TileType):
        super().__init__(properties={"dim": IntegerAttr(dim, i64)}, result_types=[type])

    def verify_(self) -> None:
        tile = tile_of(self.result)
        expect_dim(self.dim.value.data, tile)
        expect(
            isinstance(tile.element_type, IndexType | IntegerType),
            f"expected index or integer elements, got {tile.element_type}",
        )


@irdl_op_definition
class YieldOp(AbstractYieldOperation[Attribute]):
    """Ends the body of a `tile.map`: the element of each result."""

    name = "tile.yield"

    traits = lazy_traits_def(lambda: (IsTerminator(), HasParent(MapOp)))


@irdl_op_definition
class MapOp(IRDLOperation):
    """A scalar body for every element; whole elementwise chains are one op.

    The inputs have the result's rank; an extent of 1 is repeated. The body holds
    `arith` and `math` ops on scalars and may use scalars defined above it.

    `result[i, j] = body(a[i or 0, j or 0], b[i or 0, j or 0], ...)`

    ```mlir
    %y = tile.map (%a = %acc, %b = %bias) -> !tile.tile<64x32xf32> {
      %s = arith.addf %a, %b : f32
      tile.yield %s : f32
    }
    ```
    """

    name = "tile.map"

    inputs = var_operand_def(TileType)
    outputs = var_result_def(TileType)
    body = region_def("single_block")

    traits = traits_def(RecursiveMemoryEffect())

    def __init__(
        self,
        inputs: Sequence[SSAValue],
        results: Sequence[TileType] | TileType,
        body: Region | None = None,
    ):
        if isinstance(results, TileType):
            results = [results]
        if body is None:
            body = Region(Block(arg_types=[tile_of(v).element_type for v in inputs]))
        super().__init__(operands=[inputs], result_types=[results], regions=[body])

    def verify_(self) -> None:
        expect(bool(self.outputs), "expected at least one result")
        extents = tile_of(self.outputs[0]).extents
        for value in self.outputs:
            got = tile_of(value).extents
            expect(
                got == extents, f"expected results of one shape, got {extents}, {got}"
            )
        for value in self.outputs:
            expect_layout(tile_of(value), tile_of(self.outputs[0]).layout)
        for value in self.inputs:
            got = tile_of(value).extents
            expect(
                len(got) == len(extents)
                and all(g in (1, e) for g, e in zip(got, extents, strict=True)),
                f"input of shape {list(got)} does not broadcast to {list(extents)}",
            )
            layout = broadcast_layout(tile_of(value), tile_of(self.outputs[0]))
            expect_layout(tile_of(value), layout)
        self._verify_body()

    def _verify_body(self) -> None:
        expected = [tile_of(v).element_type for v in self.inputs]
        got = list(self.body.block.arg_types)
        expect(got == expected, _types_message("body arguments", expected, got))
        last = self.body.block.last_op
        expect(isinstance(last, YieldOp), "expected the body to end in tile.yield")
        assert isinstance(last, YieldOp)
        expected = [tile_of(v).element_type for v in self.outputs]
        got = list(last.arguments.types)
        expect(got == expected, _types_message("yielded values", expected, got))

    @classmethod
    def parse(cls, parser: Parser) -> MapOp:
        def binding() -> tuple[Parser.UnresolvedArgument, UnresolvedOperand]:
            argument = parser.parse_argument(expect_type=False)
            parser.parse_punctuation("=")
            return argument, parser.parse_unresolved_operand()

        bindings = parser.parse_comma_separated_list(parser.Delimiter.PAREN, binding)
        operands = [
            parser.resolve_operand(value, type_of_operand(parser, value))
            for _, value in bindings
        ]
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation("->")
        results = parser.parse_optional_comma_separated_list(
            parser.Delimiter.PAREN, lambda: parse_tile_type(parser)
        ) or [parse_tile_type(parser)]
        arguments = [
            argument.resolve(tile_of(value).element_type)
            for (argument, _), value in zip(bindings, operands, strict=True)
        ]
        body = parser.parse_region(arguments)
        op = cls(operands, results, body)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        pairs = list(zip(self.body.block.args, self.inputs, strict=True))

        def print_binding(pair: tuple[SSAValue, SSAValue]) -> None:
            printer.print_ssa_value(pair[0])
            printer.print_string(" = ")
            printer.print_ssa_value(pair[1])

        printer.print_string(" ")
        with printer.in_parens():
            printer.print_list(pairs, print_binding)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" -> ")
        if len(self.outputs) == 1:
            printer.print_attribute(self.outputs[0].type)
        else:
            with printer.in_parens():
                printer.print_list(self.outputs.types, printer.print_attribute)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)


def _types_message(
    what: str, expected: Sequence[Attribute], got: Sequence[Attribute]
) -> str:
    def text(types: Sequence[Attribute]) -> str:
        return "(" + ", ".join(map(str, types)) + ")"

    return f"expected {what} of types {text(expected)}, got {text(got)}"


@irdl_op_definition
class DotOp(IRDLOperation):
    """Matrix product added to an accumulator, on the last two dims.

    `result[.., i, j] = acc[.., i, j] + sum_k lhs[.., i, k] * rhs[.., k, j]`

    Leading dims are a batch. Narrow inputs are widened to the accumulator's type first;
    8-bit integers are read as signed unless the op says otherwise.

    ```mlir
    %d = tile.dot %a, %b, %acc : !tile.tile<64x32xf32>
    %e = tile.dot %x, %w, %sum lhs_unsigned : !tile.tile<64x32xi32>
    ```
    """

    name = "tile.dot"

    lhs = operand_def(TileType)
    rhs = operand_def(TileType)
    acc = operand_def(TileType)
    lhs_unsigned = opt_prop_def(UnitAttr)
    rhs_unsigned = opt_prop_def(UnitAttr)
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = (
        f"{one('lhs')} `,` {one('rhs')} `,` {one('acc')} (`lhs_unsigned` "
        "$lhs_unsigned^)? (`rhs_unsigned` $rhs_unsigned^)? attr-dict `:` "
        "type($result)"
    )

    def __init__(
        self,
        lhs: SSAValue,
        rhs: SSAValue,
        acc: SSAValue,
        *,
        lhs_unsigned: bool = False,
        rhs_unsigned: bool = False,
    ):
        super().__init__(
            operands=[lhs, rhs, acc],
            properties={
                "lhs_unsigned": UnitAttr() if lhs_unsigned else None,
                "rhs_unsigned": UnitAttr() if rhs_unsigned else None,
            },
            result_types=[acc.type],
        )

    def verify_(self) -> None:
        lhs, rhs, acc = (tile_of(v) for v in (self.lhs, self.rhs, self.acc))
        for tile in (lhs, rhs, acc):
            expect_layout(tile, NoneAttr())
        expect(
            self.result.type == acc,
            f"expected a result of the accumulator's type {acc}, "
            f"got {self.result.type}",
        )
        rank = len(acc.extents)
        expect(rank >= 2, f"expected tiles of rank 2 or more, got rank {rank}")
        expect(
            len(lhs.extents) == len(rhs.extents) == rank
            and lhs.extents[:-2] == rhs.extents[:-2] == acc.extents[:-2]
            and lhs.extents[-1] == rhs.extents[-2]
            and (lhs.extents[-2], rhs.extents[-1]) == acc.extents[-2:],
            "expected shapes MxK, KxN, MxN, got "
            + ", ".join(str(list(t.extents)) for t in (lhs, rhs, acc)),
        )
        expect(
            lhs.element_type == rhs.element_type,
            f"expected operands of one element type, got {lhs.element_type} and "
            f"{rhs.element_type}",
        )
