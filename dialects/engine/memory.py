"""Tensors that no kernel makes: other views of memory, room, copies."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    I64,
    DenseArrayBase,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import NoMemoryEffect
from xdsl.utils.exceptions import VerifyException

from .places import ANY_TENSOR, verify_slots


@irdl_op_definition
class AliasOp(IRDLOperation):
    """See a contiguous tensor's memory under another shape or element type, for free.

    `offset` is a dim expression in elements of the operand, zero if absent; with it the
    result may be smaller than the operand (a slice of the outermost dim).

    ```mlir
    %v = engine.alias %x : tensor<2x3xf32> -> tensor<6xf32>
    ```
    """

    name = "engine.alias"
    source = operand_def(ANY_TENSOR)
    offset = opt_prop_def(StringAttr)
    output = result_def(ANY_TENSOR)
    traits = traits_def(NoMemoryEffect())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict `:` type($source) `->` type($output)"

    def __init__(
        self, source: SSAValue, result_type: Attribute, offset: str | None = None
    ) -> None:
        super().__init__(
            operands=[source],
            result_types=[result_type],
            properties={"offset": StringAttr(offset) if offset is not None else None},
        )

    def verify_(self) -> None:
        source, output = self.source.type, self.output.type
        have, want = _static_bits(source), _static_bits(output)
        if have is None or want is None:
            return
        if want > have or (self.offset is None and want != have):
            raise VerifyException(
                f"expected a view of the {have // 8} bytes of {source}, "
                f"got {want // 8} bytes of {output}"
            )


def _static_bits(type_: Attribute) -> int | None:
    """Bits a tensor takes in memory, where a bool takes a byte; None if dynamic."""
    assert isinstance(type_, TensorType)
    element = type_.get_element_type()
    width = getattr(element, "bitwidth", None)
    if width is None or not type_.has_static_shape():
        return None
    count = 1
    for extent in type_.get_shape():
        count *= extent
    return count * max(width, 8)


@irdl_op_definition
class EmptyOp(IRDLOperation):
    """Memory with unspecified contents, for results that are written piece by piece.

    ```mlir
    %e = engine.empty : tensor<2x8xf32>
    ```
    """

    name = "engine.empty"
    slots = opt_prop_def(DenseArrayBase[I64])
    output = result_def(ANY_TENSOR)
    traits = traits_def(NoMemoryEffect())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict `:` type($output)"

    def __init__(self, result_type: Attribute) -> None:
        super().__init__(result_types=[result_type])

    def verify_(self) -> None:
        verify_slots(self.slots, 1)


@irdl_op_definition
class CopyOp(IRDLOperation):
    """A copy of a tensor in memory of its own.

    ```mlir
    %c = engine.copy %x : tensor<2x8xf32>
    ```
    """

    name = "engine.copy"
    source = operand_def(ANY_TENSOR)
    slots = opt_prop_def(DenseArrayBase[I64])
    output = result_def(ANY_TENSOR)
    traits = traits_def(NoMemoryEffect())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict `:` type($source) `->` type($output)"

    def __init__(self, source: SSAValue, result_type: Attribute | None = None) -> None:
        super().__init__(operands=[source], result_types=[result_type or source.type])

    def verify_(self) -> None:
        verify_slots(self.slots, 1)
        source, output = self.source.type, self.output.type
        assert isinstance(source, TensorType)
        assert isinstance(output, TensorType)
        if source.get_element_type() != output.get_element_type():
            raise VerifyException(
                f"expected a copy of the element type of {source}, got {output}"
            )
