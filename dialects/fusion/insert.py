"""`fusion.insert`: a piece written into a larger tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    VarConstraint,
    base,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.shapes import Dim, DimsAttr, dims_of, element_of


@irdl_op_definition
class InsertOp(IRDLOperation):
    """The destination with the elements from `offsets` on replaced by the piece's.

    A concatenation is a chain of them that starts from memory of any contents; in a
    kernel the result is tied to the destination and written in place.

    ```mlir
    %y = fusion.insert %x, %dest {offsets = #nn.dims<0, 64>}
        : tensor<8x32xf32>, tensor<8x96xf32>
    ```
    """

    name = "fusion.insert"

    T: ClassVar = VarConstraint("T", base(TensorType))

    piece = operand_def(TensorType)
    dest = operand_def(T)
    result = result_def(T)
    offsets = prop_def(DimsAttr)

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(Pure())
    assembly_format = "$piece `,` $dest attr-dict `:` type($piece) `,` type($dest)"

    def __init__(self, piece: SSAValue, dest: SSAValue, offsets: Sequence[Dim]) -> None:
        super().__init__(
            operands=[piece, dest],
            result_types=[dest.type],
            properties={"offsets": DimsAttr(offsets)},
        )

    def verify_(self) -> None:
        ranks = [len(dims_of(self.piece)), len(dims_of(self.dest))]
        if ranks != [len(self.offsets.data)] * 2:
            raise VerifyException(
                f"expected {len(self.offsets.data)} dims in piece and destination, "
                f"got {ranks[0]} and {ranks[1]}"
            )
        if element_of(self.piece) != element_of(self.dest):
            raise VerifyException(
                f"expected a piece of {element_of(self.dest)}, "
                f"got {element_of(self.piece)}"
            )
