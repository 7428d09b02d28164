"""Ops that move the elements of a tile and change none."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import (
    DenseArrayBase,
    NoneAttr,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.layouts import LayoutAttr, register_sources, replicated

from .assembly import (
    Value,
    expect,
    one,
)
from .shape_rules import (
    broadcast_layout,
    expect_layout,
    expect_same_element,
    expect_type,
    permuted,
)
from .types import TileType, tile_of


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
    assembly_format = f"{one('input')} $perm attr-dict `:` type($result)"

    def __init__(self, input: SSAValue, perm: Sequence[int]):
        super().__init__(
            operands=[input],
            properties={"perm": DenseArrayBase.from_list(i64, list(perm))},
            result_types=[permuted(tile_of(input), perm)],
        )

    def verify_(self) -> None:
        tile, perm = tile_of(self.input), self.perm.get_values()
        expect(
            sorted(perm) == list(range(len(tile.extents))),
            f"expected a permutation of 0..{len(tile.extents) - 1}, got {list(perm)}",
        )
        expect_type(self.result, permuted(tile, perm))


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
    assembly_format = f"{one('input')} attr-dict `:` type($result)"

    def __init__(self, input: SSAValue, type: TileType):
        super().__init__(operands=[input], result_types=[type])

    def verify_(self) -> None:
        source, result = tile_of(self.input), tile_of(self.result)
        expect_same_element(source, result)
        expect(
            len(source.extents) == len(result.extents)
            and all(
                s in (1, r) for s, r in zip(source.extents, result.extents, strict=True)
            ),
            f"shape {list(source.extents)} does not broadcast to "
            f"{list(result.extents)}",
        )
        expect_layout(source, broadcast_layout(source, result))


@irdl_op_definition
class ReshapeOp(IRDLOperation):
    """The same elements in row-major order under another shape.

    With layouts, any two: elements travel as for `tile.convert_layout`.

    ```mlir
    %r = tile.reshape %x : !tile.tile<8x8x32xf32>
    ```
    """

    name = "tile.reshape"

    input = operand_def(TileType)
    result = result_def(TileType)

    traits = traits_def(Pure())
    custom_directives = (Value,)
    assembly_format = f"{one('input')} attr-dict `:` type($result)"

    def __init__(
        self,
        input: SSAValue,
        extents: Sequence[int],
        layout: Attribute | None = None,
    ):
        type = TileType(extents, tile_of(input).element_type, layout)
        super().__init__(operands=[input], result_types=[type])

    def verify_(self) -> None:
        source, result = tile_of(self.input), tile_of(self.result)
        expect_same_element(source, result)
        if not isinstance(source.layout, LayoutAttr):
            expect_layout(result, NoneAttr())
        elif not isinstance(result.layout, LayoutAttr):
            raise VerifyException(f"expected a result with a layout, got {result}")
        got, expected = prod(result.extents), prod(source.extents)
        expect(got == expected, f"expected {expected} elements, got {got}")


@irdl_op_definition
class ExtractOp(IRDLOperation):
    """A part of a tile at fixed offsets; as a scalar when the result is one.

    Each thread holds of the part what it held of the whole; of a scalar, all do.

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
    assembly_format = f"{one('input')} $offsets attr-dict `:` type($result)"

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
                expect_layout(result, NoneAttr())
            return
        whole = source.layout.data
        scalar = replicated(len(source.extents), whole.lanes, whole.warps)
        part = result.layout if isinstance(result, TileType) else LayoutAttr(scalar)
        if not isinstance(part, LayoutAttr):
            raise VerifyException(f"expected a part with a layout, got {result}")
        try:
            register_sources(source.layout.data, part.data, self.offsets.get_values())
        except ValueError as error:
            raise VerifyException(
                f"a part in {part} is not where {source.layout} holds it: {error}"
            ) from None
