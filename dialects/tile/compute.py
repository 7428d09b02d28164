"""Ops on tiles of the upper half of `tile`: what is computed, the same on every device.

A tile is a small dense array held by one program of the grid. All of its extents are
known numbers; what lies outside a tensor was given a fill value by the load and is
dropped by the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import (
    DenseArrayBase,
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
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.layouts import LayoutAttr, register_sources

from .assembly import (
    Value,
    Values,
    expect,
    parse_scalar,
    print_scalar,
    scalar_attr,
    type_of_operand,
)
from .attrs import CombineKind, CombineKindAttr
from .types import TileType, parse_tile_type, tile_of


def _expect_dim(dim: int, tile: TileType) -> None:
    rank = len(tile.extents)
    expect(0 <= dim < rank, f"expected a dim in [0, {rank}), got {dim}")


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
        _expect_dim(self.dim.value.data, tile)
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
            _expect_layout(tile_of(value), tile_of(self.outputs[0]).layout)
        for value in self.inputs:
            got = tile_of(value).extents
            expect(
                len(got) == len(extents)
                and all(g in (1, e) for g, e in zip(got, extents, strict=True)),
                f"input of shape {list(got)} does not broadcast to {list(extents)}",
            )
            layout = _broadcast_layout(tile_of(value), tile_of(self.outputs[0]))
            _expect_layout(tile_of(value), layout)
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
        "custom<Value>($lhs, type($lhs)) `,` custom<Value>($rhs, type($rhs)) `,` custom<Value>($acc, type($acc))"
        " (`lhs_unsigned` $lhs_unsigned^)? (`rhs_unsigned` $rhs_unsigned^)? attr-dict `:` type($result)"
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
            _expect_layout(tile, NoneAttr())
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


@irdl_op_definition
class ReduceOp(IRDLOperation):
    """A reduction along one dim, which stays with extent 1.

    `result[i, 0] = fold(kind, input[i, :])`

    ```mlir
    %m = tile.reduce max %s dim 1 : !tile.tile<64x1xf32>
    ```
    """

    name = "tile.reduce"

    kind = prop_def(CombineKindAttr)
    input = operand_def(TileType)
    dim = prop_def(IntegerAttr[IntegerType].constr(i64))
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = "$kind custom<Value>($input, type($input)) `dim` $dim attr-dict `:` type($result)"

    def __init__(self, kind: CombineKind | str, input: SSAValue, dim: int):
        super().__init__(
            operands=[input],
            properties={
                "kind": CombineKindAttr(CombineKind(kind)),
                "dim": IntegerAttr(dim, i64),
            },
            result_types=[reduced_type(tile_of(input), dim)],
        )

    def verify_(self) -> None:
        tile, dim = tile_of(self.input), self.dim.value.data
        _expect_dim(dim, tile)
        _expect_type(self.result, reduced_type(tile, dim))


@irdl_op_definition
class ArgReduceOp(IRDLOperation):
    """The extreme element along one dim and its position there.

    The first position wins a tie, the last with `last`. NaN wins over all numbers.

    ```mlir
    %v, %i = tile.arg_reduce max %x dim 1
        : !tile.tile<64x1xf32>, !tile.tile<64x1xi64>
    ```
    """

    name = "tile.arg_reduce"

    kind = prop_def(CombineKindAttr)
    input = operand_def(TileType)
    dim = prop_def(IntegerAttr[IntegerType].constr(i64))
    last = opt_prop_def(UnitAttr)
    value = result_def(TileType)
    index = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = (
        "$kind custom<Value>($input, type($input)) `dim` $dim (`last` $last^)? attr-dict "
        "`:` type($value) `,` type($index)"
    )

    def __init__(
        self,
        kind: CombineKind | str,
        input: SSAValue,
        dim: int,
        index_type: Attribute = i64,
        last: bool = False,
    ):
        value = reduced_type(tile_of(input), dim)
        super().__init__(
            operands=[input],
            properties={
                "kind": CombineKindAttr(CombineKind(kind)),
                "dim": IntegerAttr(dim, i64),
                "last": UnitAttr() if last else None,
            },
            result_types=[value, TileType(value.extents, index_type, value.layout)],
        )

    def verify_(self) -> None:
        tile, dim = tile_of(self.input), self.dim.value.data
        _expect_dim(dim, tile)
        expect(
            self.kind.data in (CombineKind.MAX, CombineKind.MIN),
            f"expected kind max or min, got {self.kind.data}",
        )
        _expect_type(self.value, reduced_type(tile, dim))
        expect(
            tile_of(self.index).extents == tile_of(self.value).extents,
            "expected both results to have one shape",
        )
        _expect_layout(tile_of(self.index), tile_of(self.value).layout)


@irdl_op_definition
class ScanOp(IRDLOperation):
    """All prefixes of a fold along one dim.

    `result[i, j] = fold(kind, input[i, 0..j])`; `exclusive` leaves out element j,
    `reverse` folds from the end.

    ```mlir
    %c = tile.scan add %x dim 1 : !tile.tile<8x64xf32>
    ```
    """

    name = "tile.scan"

    kind = prop_def(CombineKindAttr)
    input = operand_def(TileType)
    dim = prop_def(IntegerAttr[IntegerType].constr(i64))
    exclusive = opt_prop_def(UnitAttr)
    reverse = opt_prop_def(UnitAttr)
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = (
        "$kind custom<Value>($input, type($input)) `dim` $dim (`exclusive` $exclusive^)? "
        "(`reverse` $reverse^)? attr-dict `:` type($result)"
    )

    def __init__(
        self,
        kind: CombineKind | str,
        input: SSAValue,
        dim: int,
        *,
        exclusive: bool = False,
        reverse: bool = False,
    ):
        super().__init__(
            operands=[input],
            properties={
                "kind": CombineKindAttr(CombineKind(kind)),
                "dim": IntegerAttr(dim, i64),
                "exclusive": UnitAttr() if exclusive else None,
                "reverse": UnitAttr() if reverse else None,
            },
            result_types=[input.type],
        )

    def verify_(self) -> None:
        tile = tile_of(self.input)
        _expect_dim(self.dim.value.data, tile)
        _expect_type(self.result, tile)


@irdl_op_definition
class SortOp(IRDLOperation):
    """Sorts along one dim by the keys; the payloads move with them.

    Stable: equal keys keep their order. NaN counts as the greatest number, so it ends
    last, or first with `descending`.

    ```mlir
    %k, %v = tile.sort %keys, %values dim 1 descending
        : !tile.tile<1x64xf32>, !tile.tile<1x64xi64>
    ```
    """

    name = "tile.sort"

    inputs = var_operand_def(TileType)
    dim = prop_def(IntegerAttr[IntegerType].constr(i64))
    descending = opt_prop_def(UnitAttr)
    outputs = var_result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Values,)
    assembly_format = (
        "custom<Values>($inputs, type($inputs)) `dim` $dim (`descending` $descending^)? attr-dict "
        "`:` type($outputs)"
    )

    def __init__(
        self, inputs: Sequence[SSAValue], dim: int, *, descending: bool = False
    ):
        super().__init__(
            operands=[inputs],
            properties={
                "dim": IntegerAttr(dim, i64),
                "descending": UnitAttr() if descending else None,
            },
            result_types=[[v.type for v in inputs]],
        )

    def verify_(self) -> None:
        expect(bool(self.inputs), "expected at least the keys")
        keys = tile_of(self.inputs[0])
        _expect_dim(self.dim.value.data, keys)
        expect(
            list(self.outputs.types) == list(self.inputs.types),
            "expected the results to have the types of the inputs",
        )
        for value in self.inputs:
            got = tile_of(value).extents
            expect(
                got == keys.extents,
                f"expected payloads of the keys' shape {list(keys.extents)}, "
                f"got {list(got)}",
            )


@irdl_op_definition
class TransposeOp(IRDLOperation):
    """Permutes the dims: `result` dim d is `input` dim `perm[d]`.

    ```mlir
    %t = tile.transpose %x [1, 0] : !tile.tile<32x64xf32>
    ```
    """

    name = "tile.transpose"

    input = operand_def(TileType)
    perm = prop_def(DenseArrayBase.constr(i64))
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = (
        "custom<Value>($input, type($input)) $perm attr-dict `:` type($result)"
    )

    def __init__(self, input: SSAValue, perm: Sequence[int]):
        super().__init__(
            operands=[input],
            properties={"perm": DenseArrayBase.from_list(i64, list(perm))},
            result_types=[_permuted(tile_of(input), perm)],
        )

    def verify_(self) -> None:
        tile, perm = tile_of(self.input), self.perm.get_values()
        expect(
            sorted(perm) == list(range(len(tile.extents))),
            f"expected a permutation of 0..{len(tile.extents) - 1}, got {list(perm)}",
        )
        _expect_type(self.result, _permuted(tile, perm))


@irdl_op_definition
class BroadcastOp(IRDLOperation):
    """Repeats the dims of extent 1.

    ```mlir
    %b = tile.broadcast %m : !tile.tile<64x32xf32>
    ```
    """

    name = "tile.broadcast"

    input = operand_def(TileType)
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = "custom<Value>($input, type($input)) attr-dict `:` type($result)"

    def __init__(self, input: SSAValue, type: TileType):
        super().__init__(operands=[input], result_types=[type])

    def verify_(self) -> None:
        source, result = tile_of(self.input), tile_of(self.result)
        _expect_same_element(source, result)
        expect(
            len(source.extents) == len(result.extents)
            and all(
                s in (1, r) for s, r in zip(source.extents, result.extents, strict=True)
            ),
            f"shape {list(source.extents)} does not broadcast to "
            f"{list(result.extents)}",
        )
        _expect_layout(source, _broadcast_layout(source, result))


@irdl_op_definition
class ReshapeOp(IRDLOperation):
    """The same elements in row-major order under another shape.

    ```mlir
    %r = tile.reshape %x : !tile.tile<8x8x32xf32>
    ```
    """

    name = "tile.reshape"

    input = operand_def(TileType)
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = "custom<Value>($input, type($input)) attr-dict `:` type($result)"

    def __init__(self, input: SSAValue, extents: Sequence[int]):
        type = TileType(extents, tile_of(input).element_type)
        super().__init__(operands=[input], result_types=[type])

    def verify_(self) -> None:
        source, result = tile_of(self.input), tile_of(self.result)
        _expect_same_element(source, result)
        _expect_layout(source, NoneAttr())
        _expect_layout(result, NoneAttr())
        got, expected = prod(result.extents), prod(source.extents)
        expect(got == expected, f"expected {expected} elements, got {got}")


@irdl_op_definition
class ExtractOp(IRDLOperation):
    """A part of a tile at fixed offsets; as a scalar when the result is one.

    `result[i, j] = input[offsets[0] + i, offsets[1] + j]`

    ```mlir
    %last = tile.extract %scan [0, 63] : !tile.tile<8x1xf32>
    %row = tile.extract %ids [0] : i64
    ```
    """

    name = "tile.extract"

    input = operand_def(TileType)
    offsets = prop_def(DenseArrayBase.constr(i64))
    result = result_def()

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = (
        "custom<Value>($input, type($input)) $offsets attr-dict `:` type($result)"
    )

    def __init__(self, input: SSAValue, offsets: Sequence[int], type: Attribute):
        super().__init__(
            operands=[input],
            properties={"offsets": DenseArrayBase.from_list(i64, list(offsets))},
            result_types=[type],
        )

    def verify_(self) -> None:
        tile, offsets = tile_of(self.input), self.offsets.get_values()
        extents, element = [1] * len(tile.extents), self.result.type
        if isinstance(element, TileType):
            extents, element = list(element.extents), element.element_type
        expect(
            element == tile.element_type,
            f"expected elements of type {tile.element_type}, got {element}",
        )
        expect(
            len(offsets) == len(extents) == len(tile.extents)
            and all(
                o >= 0 and o + e <= n
                for o, e, n in zip(offsets, extents, tile.extents, strict=True)
            ),
            f"part {extents} at {list(offsets)} is not inside {list(tile.extents)}",
        )
        self._verify_layout()

    def _verify_layout(self) -> None:
        """Each thread holds of the part what it held of the whole."""
        source, result = tile_of(self.input), self.result.type
        if not isinstance(source.layout, LayoutAttr):
            if isinstance(result, TileType):
                _expect_layout(result, NoneAttr())
            return
        part = result.layout if isinstance(result, TileType) else None
        if not isinstance(part, LayoutAttr):
            raise VerifyException(f"expected a part with a layout, got {result}")
        try:
            register_sources(source.layout.data, part.data, self.offsets.get_values())
        except ValueError as error:
            raise VerifyException(
                f"a part in {part} is not where {source.layout} holds it: {error}"
            ) from None


def reduced_type(tile: TileType, dim: int) -> TileType:
    """The tile type with extent 1 in `dim`; a layout is sliced."""
    extents = [1 if d == dim else n for d, n in enumerate(tile.extents)]
    layout = tile.layout
    if isinstance(layout, LayoutAttr):
        layout = LayoutAttr(layout.data.slice(dim))
    return TileType(extents, tile.element_type, layout)


def _broadcast_layout(source: TileType, result: TileType) -> Attribute:
    """The layout `source` needs so that each thread holds what it repeats."""
    if not isinstance(result.layout, LayoutAttr):
        return NoneAttr()
    layout = result.layout.data
    for dim, (got, extent) in enumerate(
        zip(source.extents, result.extents, strict=True)
    ):
        if got == 1 and extent != 1:
            layout = layout.slice(dim)
    return LayoutAttr(layout)


def _expect_layout(got: TileType, expected: Attribute) -> None:
    expect(
        got.layout == expected,
        f"expected the layout {expected}, got {got.layout}"
        if not isinstance(expected, NoneAttr)
        else f"expected a tile without layout, got {got}",
    )


def _permuted(tile: TileType, perm: Sequence[int]) -> TileType:
    layout = tile.layout
    if isinstance(layout, LayoutAttr):
        layout = LayoutAttr(layout.data.permute(perm))
    return TileType([tile.extents[p] for p in perm], tile.element_type, layout)


def _expect_same_element(source: TileType, result: TileType) -> None:
    expected, got = source.element_type, result.element_type
    expect(expected == got, f"expected elements of type {expected}, got {got}")


def _expect_type(value: SSAValue, expected: TileType) -> None:
    expect(
        value.type == expected,
        f"expected a result of type {expected}, got {value.type}",
    )
