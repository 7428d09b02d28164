"""Branches and loops of the host program."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    TensorType,
    i1,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsTerminator
from xdsl.utils.exceptions import VerifyException

from .places import ANY_TENSOR


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Hand values from a region to its `engine.if` or `engine.loop`."""

    name = "engine.yield"
    values = var_operand_def(ANY_TENSOR)
    traits = traits_def(IsTerminator())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, *values: SSAValue) -> None:
        super().__init__(operands=[values])


def _yield_of(region: Region, op: Operation) -> YieldOp:
    terminator = region.block.last_op
    if not isinstance(terminator, YieldOp):
        raise VerifyException(f"expected {op.name} to end its region in engine.yield")
    return terminator


def _is_boolean(value: SSAValue) -> bool:
    type_ = value.type
    return (
        isinstance(type_, TensorType)
        and type_.get_element_type() == i1
        and all(extent == 1 for extent in type_.get_shape())
    )


@irdl_op_definition
class IfOp(IRDLOperation):
    """Run one of two regions. The regions see the values around them.

    A yielded value's shape may differ between the regions; symbols of a result type
    that are unknown before are bound by the actual shape.

    ```mlir
    %y = engine.if %c : tensor<i1> -> tensor<4xf32> {
      engine.yield %a : tensor<4xf32>
    } else {
      engine.yield %b : tensor<4xf32>
    }
    ```
    """

    name = "engine.if"
    condition = operand_def(ANY_TENSOR)
    outputs = var_result_def(ANY_TENSOR)
    then_region = region_def("single_block")
    else_region = region_def("single_block")
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = (
        "$condition attr-dict `:` type($condition) (`->` type($outputs)^)? "
        "$then_region `else` $else_region"
    )

    def __init__(
        self,
        condition: SSAValue,
        result_types: Sequence[Attribute],
        then_region: Region,
        else_region: Region,
    ) -> None:
        super().__init__(
            operands=[condition],
            result_types=[result_types],
            regions=[then_region, else_region],
        )

    def verify_(self) -> None:
        if not _is_boolean(self.condition):
            raise VerifyException(
                f"expected a condition of one i1, got {self.condition.type}"
            )
        for region in (self.then_region, self.else_region):
            count = len(_yield_of(region, self).values)
            if count != len(self.outputs):
                raise VerifyException(
                    f"expected each region to yield {len(self.outputs)} values, "
                    f"got {count}"
                )


@irdl_op_definition
class LoopOp(IRDLOperation):
    """Repeat a region, with the meaning of ONNX Loop.

    The region's arguments are the iteration number (`tensor<i64>`) and the carried
    values, which start as `inits`. It yields whether to go on, the next carried values,
    and any number of scanned values. The results are the last carried values, then each
    scanned value stacked along a new first dim. It stops after `trips` rounds (if
    given) or when the condition (if given, or yielded) is false.

    ```mlir
    %last = engine.loop trips(%n : tensor<i64>) carry(%x : tensor<4xf32>)
        -> tensor<4xf32> {
    ^bb0(%i: tensor<i64>, %a: tensor<4xf32>):
      engine.yield %c, %a : tensor<i1>, tensor<4xf32>
    }
    ```
    """

    name = "engine.loop"
    trips = opt_operand_def(ANY_TENSOR)
    condition = opt_operand_def(ANY_TENSOR)
    inits = var_operand_def(ANY_TENSOR)
    outputs = var_result_def(ANY_TENSOR)
    body = region_def("single_block")
    irdl_options = (
        ParsePropInAttrDict(),
        AttrSizedOperandSegments(as_property=True),
    )
    assembly_format = (
        "(`trips` `(` $trips^ `:` type($trips) `)`)? "
        "(`while` `(` $condition^ `:` type($condition) `)`)? "
        "(`carry` `(` $inits^ `:` type($inits) `)`)? "
        "attr-dict (`->` type($outputs)^)? $body"
    )

    def __init__(
        self,
        trips: SSAValue | None,
        condition: SSAValue | None,
        inits: Sequence[SSAValue],
        result_types: Sequence[Attribute],
        body: Region | Block,
    ) -> None:
        super().__init__(
            operands=[trips, condition, inits],
            result_types=[result_types],
            regions=[body if isinstance(body, Region) else Region(body)],
        )

    @property
    def scanned(self) -> int:
        """How many results are stacks of scanned values."""
        return len(self.outputs) - len(self.inits)

    def verify_(self) -> None:
        if self.condition is not None and not _is_boolean(self.condition):
            raise VerifyException(
                f"expected a condition of one i1, got {self.condition.type}"
            )
        arguments, carried = self.body.block.args, len(self.inits)
        if len(arguments) != 1 + carried:
            raise VerifyException(
                f"expected region arguments for the iteration and {carried} carried "
                f"values, got {len(arguments)}"
            )
        if len(self.outputs) < carried:
            raise VerifyException(
                f"expected at least {carried} results, got {len(self.outputs)}"
            )
        values = _yield_of(self.body, self).values
        if len(values) != 1 + len(self.outputs):
            raise VerifyException(
                f"expected the region to yield a condition and {len(self.outputs)} "
                f"values, got {len(values)} in all"
            )
        if not _is_boolean(values[0]):
            raise VerifyException(
                f"expected to yield a condition of one i1 first, got {values[0].type}"
            )
