"""Views of memory, and the loads and stores between views and tiles."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    DenseArrayBase,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    Signedness,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure

from stepwell.dialects.access import AccessAttr, AccessMap
from stepwell.dialects.shapes import Dim, symbol

from .assembly import (
    Value,
    Values,
    expect,
    many,
    one,
    parse_indices,
    parse_scalar,
    parse_value,
    print_indices,
    print_scalar,
    scalar_attr,
)
from .attrs import CombineKind, CombineKindAttr
from .function import expect_known_symbols
from .types import TileType, ViewType, parse_tile_type, tile_of, view_of


def storage_type(element: Attribute) -> Attribute:
    """The element type of tiles of a view: unsigned integers are signless in tiles.

    The op that reads one says how it is meant: `arith.divui`, `arith.uitofp`.
    """
    if (
        isinstance(element, IntegerType)
        and element.signedness.data is not Signedness.SIGNLESS
    ):
        return IntegerType(element.width.data)
    return element


@irdl_op_definition
class AccessOp(IRDLOperation):
    """The same memory under other logical dims: an iteration space over a tensor.

    Element `i` of the result is element `map(i)` of the source. Where a guard of the
    map fails, a load gives the map's fill value and a store does nothing. Indirect
    terms of the map read the integer views `indices`.

    ```mlir
    %xv = tile.access %x map<(n, p, c, r) -> (n, p + r - 1, c)>
        : !tile.view<1x56x64x3xf32>
    ```
    """

    name = "tile.access"

    source = operand_def(ViewType)
    indices = var_operand_def(ViewType)
    map = prop_def(AccessAttr)
    result = result_def(ViewType)

    traits = traits_def(Pure())
    custom_directives = (Value, Values)
    assembly_format = (
        f"{one('source')} (`indices` `(` {many('indices')}^ `)`)? `map` `` "
        "$map attr-dict `:` type($result)"
    )

    def __init__(
        self,
        source: SSAValue,
        access: AccessMap | AccessAttr,
        sizes: Sequence[Dim],
        indices: Sequence[SSAValue] = (),
    ) -> None:
        attr = access if isinstance(access, AccessAttr) else AccessAttr(access)
        super().__init__(
            operands=[source, indices],
            properties={"map": attr},
            result_types=[ViewType(sizes, view_of(source).element_type)],
        )

    @property
    def access(self) -> AccessMap:
        """The access map."""
        return self.map.data

    def verify_(self) -> None:
        source, result, access = (
            view_of(self.source),
            view_of(self.result),
            self.access,
        )
        expect(
            source.element_type == result.element_type,
            lambda: (
                f"expected elements of type {source.element_type}, got "
                f"{result.element_type}"
            ),
        )
        expect(
            len(access.dims) == len(result.dims),
            lambda: (
                f"map has {len(access.dims)} dims, expected {len(result.dims)} for "
                f"{result}"
            ),
        )
        expect(
            len(access.results) == len(source.dims),
            lambda: (
                f"map has {len(access.results)} results, expected "
                f"{len(source.dims)} for {source}"
            ),
        )
        symbols = [symbol(name) for name in sorted(access.symbols)]
        expect_known_symbols(self, [*symbols, *result.dims])
        for indirect in access.indirects:
            expect(
                indirect.operand < len(self.indices),
                f"map reads index view {indirect.operand}, but there are "
                f"{len(self.indices)}",
            )


class TransferOp(IRDLOperation):
    """What loads and stores share: a place in a view and the dims that a tile spans."""

    view = operand_def(ViewType)
    offsets = var_operand_def(IndexType)
    static_offsets = prop_def(DenseArrayBase.constr(i64))
    over = prop_def(DenseArrayBase.constr(i64))

    @property
    def indices(self) -> tuple[SSAValue | int, ...]:
        """The index along each dim of the view, numbers where they are known."""
        dynamic = iter(self.offsets)
        return tuple(
            next(dynamic) if offset == DYNAMIC_INDEX else offset
            for offset in self.static_offsets.get_values()
        )

    @property
    def spanned(self) -> tuple[int, ...]:
        """For each dim of the tile, the dim of the view that it spans."""
        return tuple(self.over.get_values())

    def verify_transfer(self, tile: TileType) -> None:
        """Check the indices and the spanned dims against the view and the tile."""
        view = view_of(self.view)
        rank = len(view.dims)
        offsets = self.static_offsets.get_values()
        dynamic = sum(offset == DYNAMIC_INDEX for offset in offsets)
        expect(
            len(offsets) == rank and dynamic == len(self.offsets),
            f"expected {rank} indices, got {len(offsets)}",
        )
        spanned = self.spanned
        expect(
            len(set(spanned)) == len(spanned) and all(0 <= d < rank for d in spanned),
            f"expected distinct dims of the view in [0, {rank}), got {list(spanned)}",
        )
        expect(
            len(spanned) == len(tile.extents),
            lambda: f"expected one view dim per dim of {tile}, got {list(spanned)}",
        )
        expected = storage_type(view.element_type)
        expect(
            tile.element_type == expected,
            lambda: (
                f"expected tile elements of type {expected}, got {tile.element_type}"
            ),
        )


@irdl_op_definition
class LoadOp(TransferOp):
    """Reads a tile from a view.

    `result[i, j] = view[index + i * e(over[0]) + j * e(over[1])]`, where `e(d)` is one
    step along view dim `d`. Outside the view's sizes it is `fill`, by default the fill
    value of the view's access map, or 0.

    ```mlir
    %a = tile.load %x[%n, %p, 0] over [1, 2] : !tile.tile<14x64xf32>
    %m = tile.load %x[%n, %p, 0] over [1, 2] fill -1.0 : !tile.tile<14x64xf32>
    ```
    """

    name = "tile.load"

    fill = opt_prop_def(FloatAttr | IntegerAttr)
    result = result_def(TileType)

    traits = traits_def(MemoryReadEffect())

    def __init__(
        self,
        view: SSAValue,
        indices: Sequence[SSAValue | int],
        over: Sequence[int],
        type: TileType,
        fill: float | int | FloatAttr | IntegerAttr | None = None,
    ) -> None:
        static, dynamic = split_indices(indices)
        super().__init__(
            operands=[view, dynamic],
            properties={
                "static_offsets": static,
                "over": DenseArrayBase.from_list(i64, list(over)),
                "fill": None if fill is None else scalar_attr(fill, type.element_type),
            },
            result_types=[type],
        )

    def verify_(self) -> None:
        tile = tile_of(self.result)
        self.verify_transfer(tile)
        if self.fill is not None:
            expect(
                self.fill.type == tile.element_type,
                f"expected a fill value of type {tile.element_type}, got "
                f"{self.fill.type}",
            )

    @classmethod
    def parse(cls, parser: Parser) -> LoadOp:
        view = parse_value(parser)
        indices = parse_indices(parser)
        over = _parse_over(parser)
        fill = parse_scalar(parser) if parser.parse_optional_keyword("fill") else None
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        op = cls(view, indices, over, parse_tile_type(parser), fill)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.view)
        print_indices(printer, self.indices)
        printer.print_string(f" over {list(self.spanned)}")
        if self.fill is not None:
            printer.print_string(" fill ")
            print_scalar(printer, self.fill)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)


@irdl_op_definition
class StoreOp(TransferOp):
    """Writes a tile into a view; elements outside its sizes or guards are dropped.

    With `accumulate` the element becomes `combine(old, new)`; cells may then meet in
    one element.

    ```mlir
    tile.store %y, %yv[%n, %p, 0] over [1, 2]
    tile.store %y, %yv[%n, %p, 0] over [1, 2] accumulate add
    ```
    """

    name = "tile.store"

    tile = operand_def(TileType)
    accumulate = opt_prop_def(CombineKindAttr)

    traits = traits_def(MemoryWriteEffect())

    def __init__(
        self,
        tile: SSAValue,
        view: SSAValue,
        indices: Sequence[SSAValue | int],
        over: Sequence[int],
        accumulate: CombineKind | str | None = None,
    ) -> None:
        static, dynamic = split_indices(indices)
        kind = None if accumulate is None else CombineKindAttr(CombineKind(accumulate))
        super().__init__(
            operands=[tile, view, dynamic],
            properties={
                "static_offsets": static,
                "over": DenseArrayBase.from_list(i64, list(over)),
                "accumulate": kind,
            },
        )

    def verify_(self) -> None:
        self.verify_transfer(tile_of(self.tile))

    @classmethod
    def parse(cls, parser: Parser) -> StoreOp:
        tile = parse_value(parser)
        parser.parse_punctuation(",")
        view = parse_value(parser)
        indices = parse_indices(parser)
        over = _parse_over(parser)
        kind = None
        if parser.parse_optional_keyword("accumulate"):
            kind = parser.parse_str_enum(CombineKind)
        op = cls(tile, view, indices, over, kind)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.tile)
        printer.print_string(", ")
        printer.print_ssa_value(self.view)
        print_indices(printer, self.indices)
        printer.print_string(f" over {list(self.spanned)}")
        if self.accumulate is not None:
            printer.print_string(f" accumulate {self.accumulate.data}")
        printer.print_op_attributes(self.attributes)


def split_indices(
    indices: Sequence[SSAValue | int],
) -> tuple[DenseArrayBase, list[SSAValue]]:
    """Known numbers with a marker for the others, and the others."""
    static = [i if isinstance(i, int) else DYNAMIC_INDEX for i in indices]
    dynamic = [i for i in indices if not isinstance(i, int)]
    return DenseArrayBase.from_list(i64, static), dynamic


def _parse_over(parser: Parser) -> list[int]:
    parser.parse_keyword("over")
    return parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, parser.parse_integer
    )
