"""Control flow: branches and loops with regions. Regions may use outer values."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute, Region
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
from xdsl.traits import (
    IsTerminator,
    Pure,
    RecursiveMemoryEffect,
)
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.dtypes import is_bool
from stepwell.dialects.shapes import element_of, num_elements, tensor_type

from .base import NnOp, Value, may_be_same_type, param


@irdl_op_definition
class YieldOp(IRDLOperation):
    """The values a region hands back.

    ```mlir
    nn.yield %a, %b : tensor<4xf32>, tensor<i64>
    ```

    Source: MLIR's `scf.yield`.
    """

    name = "nn.yield"

    arguments = var_operand_def()

    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "attr-dict ($arguments^ `:` type($arguments))?"

    def __init__(self, *arguments: Value) -> None:
        super().__init__(operands=[arguments])


class RegionOp(NnOp):
    """An op with regions; it prints in the generic syntax, its types are given."""

    assembly_format = None
    traits = traits_def(RecursiveMemoryEffect())

    def infer_result_types(self) -> Sequence[Attribute]:
        """The types it was given."""
        return [result.type for result in self.results]


def yielded(region: Region) -> tuple[Attribute, ...]:
    """The types of what a region of one block yields.

    Raises:
        VerifyException: it does not end in `nn.yield`.
    """
    last = region.block.last_op
    if not isinstance(last, YieldOp):
        raise VerifyException("expected a region that ends in nn.yield")
    return tuple(last.operand_types)


@irdl_op_definition
class IfOp(RegionOp):
    """The results of one of two regions, chosen by a scalar condition.

    ```mlir
    %y = "nn.if"(%c) ({
      nn.yield %a : tensor<4xf32>
    }, {
      nn.yield %b : tensor<4xf32>
    }) : (tensor<i1>) -> tensor<4xf32>
    ```

    Source: ONNX If.
    """

    name = "nn.if"

    condition = operand_def(TensorType)
    outputs = var_result_def()
    then_region = region_def("single_block")
    else_region = region_def("single_block")

    def __init__(
        self,
        condition: Value,
        result_types: Sequence[Attribute],
        then_region: Region,
        else_region: Region,
    ) -> None:
        super().__init__(
            condition, result_types=[result_types], regions=[then_region, else_region]
        )

    def verify_(self) -> None:
        """Check the condition, and that both regions yield the results' types."""
        if not is_bool(element_of(self.condition)) or num_elements(self.condition) != 1:
            raise VerifyException(f"expected one i1, got {self.condition.type}")
        for region in (self.then_region, self.else_region):
            _check_types("results of nn.if", self.result_types, yielded(region))


@irdl_op_definition
class LoopOp(RegionOp):
    """A region repeated while a condition holds, at most `trip_count` times.

    The region takes the iteration (a scalar of `i64`) and the carried values; it
    yields whether to go on, the next carried values, and one element of each scan
    output. Results: the carried values after the last iteration, then the scan
    outputs stacked along a new dim 0. Absent operands do not bound.

    ```mlir
    %y = "nn.loop"(%n, %c, %x) <{operandSegmentSizes = array<i32: 1, 1, 1>}> ({
    ^bb0(%i: tensor<i64>, %a: tensor<4xf32>):
      %b = nn.add %a, %a : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
      nn.yield %c, %b : tensor<i1>, tensor<4xf32>
    }) : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> tensor<4xf32>
    ```

    Source: ONNX Loop.
    """

    name = "nn.loop"

    trip_count = opt_operand_def(TensorType)
    condition = opt_operand_def(TensorType)
    initial = var_operand_def()
    outputs = var_result_def()
    body = region_def("single_block")

    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())

    def __init__(
        self,
        trip_count: Value | None,
        condition: Value | None,
        initial: Sequence[Value],
        result_types: Sequence[Attribute],
        body: Region,
    ) -> None:
        super().__init__(
            trip_count,
            condition,
            initial,
            result_types=[result_types],
            regions=[body],
        )

    def verify_(self) -> None:
        """Check the region's arguments and what it yields."""
        carried = len(self.initial)
        arguments = [arg.type for arg in self.body.block.args]
        if len(arguments) != carried + 1 or arguments[0] != tensor_type((), i64):
            raise VerifyException(
                f"expected the iteration and {carried} carried values as arguments of "
                f"nn.loop's region, got {len(arguments)}"
            )
        types = yielded(self.body)
        if not types or not is_bool(element_of(types[0])):
            raise VerifyException("expected nn.loop's region to yield i1 first")
        _check_elements(
            "carried values of nn.loop", arguments[1:], types[1 : carried + 1]
        )
        if len(types) - 1 != len(self.results):
            raise VerifyException(
                f"expected {len(types) - 1} results of nn.loop, got {len(self.results)}"
            )


@irdl_op_definition
class ScanOp(RegionOp):
    """A region run over the elements of sequences, with state.

    The region takes the states, then one slice of each scan input; it yields the next
    states, then one slice of each scan output. `input_axes` and `output_axes` name the
    sequence dims; `reverse_inputs`, `reverse_outputs` (0 or 1 each) run backwards.
    Results: the last states, then the stacked outputs.

    ```mlir
    %s, %y = "nn.scan"(%zero, %x) <{operandSegmentSizes = array<i32: 1, 1>,
        input_axes = array<i64: 0>, output_axes = array<i64: 0>,
        reverse_inputs = array<i64: 0>, reverse_outputs = array<i64: 0>}> ({
    ^bb0(%a: tensor<2xf32>, %b: tensor<2xf32>):
      %c = nn.add %a, %b : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
      nn.yield %c, %c : tensor<2xf32>, tensor<2xf32>
    }) : (tensor<2xf32>, tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>)
    ```

    Source: ONNX Scan.
    """

    name = "nn.scan"

    initial = var_operand_def()
    inputs = var_operand_def()
    outputs = var_result_def()
    body = region_def("single_block")
    input_axes = param("ints")
    output_axes = param("ints")
    reverse_inputs = param("ints")
    reverse_outputs = param("ints")

    irdl_options = (AttrSizedOperandSegments(as_property=True), ParsePropInAttrDict())

    def __init__(
        self,
        initial: Sequence[Value],
        inputs: Sequence[Value],
        result_types: Sequence[Attribute],
        body: Region,
        *,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
        reverse_inputs: Sequence[int] | None = None,
        reverse_outputs: Sequence[int] | None = None,
    ) -> None:
        zeros, out_zeros = [0] * len(inputs), [0] * (len(result_types) - len(initial))
        super().__init__(
            initial,
            inputs,
            result_types=[result_types],
            regions=[body],
            input_axes=zeros if input_axes is None else input_axes,
            output_axes=out_zeros if output_axes is None else output_axes,
            reverse_inputs=zeros if reverse_inputs is None else reverse_inputs,
            reverse_outputs=out_zeros if reverse_outputs is None else reverse_outputs,
        )

    def verify_(self) -> None:
        """Check the region's arguments and what it yields."""
        states, inputs = len(self.initial), len(self.inputs)
        arguments = [arg.type for arg in self.body.block.args]
        if len(arguments) != states + inputs or not inputs:
            raise VerifyException(
                f"expected {states} states and {inputs} slices as arguments of "
                f"nn.scan's region, got {len(arguments)}"
            )
        types = yielded(self.body)
        if len(types) != len(self.results):
            raise VerifyException(
                f"expected nn.scan's region to yield {len(self.results)} values, "
                f"got {len(types)}"
            )
        _check_elements("states of nn.scan", arguments[:states], types[:states])


def _check_types(
    what: str, expected: Sequence[Attribute], got: Sequence[Attribute]
) -> None:
    if len(expected) != len(got):
        raise VerifyException(f"expected {len(expected)} {what}, got {len(got)}")
    for left, right in zip(expected, got, strict=True):
        if not may_be_same_type(left, right):
            raise VerifyException(f"expected {what} of type {left}, got {right}")


def _check_elements(
    what: str, expected: Sequence[Attribute], got: Sequence[Attribute]
) -> None:
    if len(expected) != len(got):
        raise VerifyException(f"expected {len(expected)} {what}, got {len(got)}")
    for left, right in zip(expected, got, strict=True):
        if element_of(left) != element_of(right):
            raise VerifyException(f"expected {what} of type {left}, got {right}")
