"""Ops that combine or order the elements along one dim of a tile."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    IntegerAttr,
    IntegerType,
    UnitAttr,
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
    var_result_def,
)
from xdsl.traits import Pure

from .assembly import (
    Value,
    Values,
    expect,
    many,
    one,
)
from .attrs import CombineKind, CombineKindAttr
from .shape_rules import (
    expect_dim,
    expect_layout,
    expect_type,
    reduced_type,
)
from .types import TileType, tile_of


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
    assembly_format = f"$kind {one('input')} `dim` $dim attr-dict `:` type($result)"

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
        expect_dim(dim, tile)
        expect_type(self.result, reduced_type(tile, dim))


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
        f"$kind {one('input')} `dim` $dim (`last` $last^)? attr-dict `:` "
        "type($value) `,` type($index)"
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
        expect_dim(dim, tile)
        expect(
            self.kind.data in (CombineKind.MAX, CombineKind.MIN),
            f"expected kind max or min, got {self.kind.data}",
        )
        expect_type(self.value, reduced_type(tile, dim))
        expect(
            tile_of(self.index).extents == tile_of(self.value).extents,
            "expected both results to have one shape",
        )
        expect_layout(tile_of(self.index), tile_of(self.value).layout)


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
        f"$kind {one('input')} `dim` $dim (`exclusive` $exclusive^)? (`reverse` "
        "$reverse^)? attr-dict `:` type($result)"
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
        expect_dim(self.dim.value.data, tile)
        expect_type(self.result, tile)


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
        f"{many('inputs')} `dim` $dim (`descending` $descending^)? attr-dict `:` "
        "type($outputs)"
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
        expect_dim(self.dim.value.data, keys)
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
