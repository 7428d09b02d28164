"""`fusion.kernel`: a region that will be exactly one launch."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, StringAttr, i64
from xdsl.dialects.utils import AbstractYieldOperation
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

REASONS = "fusion.reasons"
"""Attribute of a kernel: why its neighbours did not join it, as an array of strings."""


@irdl_op_definition
class YieldOp(AbstractYieldOperation[Attribute]):
    """The results of a kernel (tensors) or of a structured op's body (scalars).

    ```mlir
    fusion.yield %m : f32
    ```
    """

    name = "fusion.yield"
    traits = traits_def(IsTerminator(), Pure())


@irdl_op_definition
class KernelOp(IRDLOperation):
    """A region of tensor ops that will be exactly one launch, isolated from above.

    `ties` lists pairs `[result, operand]`: the kernel writes that result into the
    operand's memory, and leaves the elements it does not write as they were.

    ```mlir
    %y = fusion.kernel "conv_relu__stem" (%a = %x, %b = %w)
        : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32> {
      %0 = nn.conv %a, %b {...}
      %1 = nn.relu %0
      fusion.yield %1
    }
    ```
    """

    name = "fusion.kernel"

    inputs = var_operand_def()
    outputs = var_result_def()
    kernel_name = prop_def(StringAttr)
    schedule = opt_prop_def(Attribute)
    ties = opt_prop_def(ArrayAttr)
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), Pure())

    def __init__(
        self,
        kernel_name: str,
        inputs: Sequence[SSAValue],
        result_types: Sequence[Attribute],
        body: Region | None = None,
        *,
        reasons: Sequence[str] = (),
        ties: Sequence[tuple[int, int]] = (),
        schedule: Attribute | None = None,
    ) -> None:
        if body is None:
            body = Region(Block(arg_types=[value.type for value in inputs]))
        super().__init__(
            operands=[inputs],
            result_types=[result_types],
            properties={
                "kernel_name": StringAttr(kernel_name),
                "schedule": schedule,
                "ties": ties_attr(ties) if ties else None,
            },
            regions=[body],
        )
        if reasons:
            self.attributes[REASONS] = ArrayAttr(StringAttr(r) for r in reasons)

    @property
    def block(self) -> Block:
        """The only block of the body; its arguments stand for the inputs."""
        return self.body.block

    @property
    def yielded(self) -> tuple[SSAValue, ...]:
        """The values inside the body that become the results."""
        terminator = self.block.last_op
        assert isinstance(terminator, YieldOp)
        return tuple(terminator.operands)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why neighbours were not fused into this kernel, one sentence each."""
        attr = self.attributes.get(REASONS)
        if not isinstance(attr, ArrayAttr):
            return ()
        return tuple(r.data for r in attr if isinstance(r, StringAttr))

    @property
    def tied(self) -> tuple[tuple[int, int], ...]:
        """The pairs (result, operand) that share memory."""
        if self.ties is None:
            return ()
        pairs = (pair for pair in self.ties if isinstance(pair, DenseArrayBase))
        return tuple((int(p.get_values()[0]), int(p.get_values()[1])) for p in pairs)

    def input_of(self, argument: BlockArgument) -> SSAValue:
        """The outer value that a block argument of the body stands for."""
        return self.inputs[argument.index]

    def verify_(self) -> None:
        args = self.block.args
        if [a.type for a in args] != [v.type for v in self.inputs]:
            raise VerifyException(
                "expected one block argument per input, of the same type"
            )
        last = self.block.last_op
        if not isinstance(last, YieldOp):
            raise VerifyException("expected the body to end in fusion.yield")
        if [v.type for v in last.operands] != [r.type for r in self.outputs]:
            raise VerifyException(
                "expected fusion.yield to yield the kernel's result types"
            )
        for result, operand in self.tied:
            if not (result < len(self.outputs) and operand < len(self.inputs)):
                raise VerifyException(f"tie [{result}, {operand}] is out of range")
            if self.outputs[result].type != self.inputs[operand].type:
                raise VerifyException(
                    f"tied result {result} and input {operand} differ in type"
                )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_string_literal(self.kernel_name.data)
        printer.print_string(" (")
        pairs = zip(self.block.args, self.inputs, strict=True)
        printer.print_list(pairs, lambda pair: _print_binding(printer, *pair))
        printer.print_string(")")
        if self.ties is not None:
            printer.print_string(" ties ")
            printer.print_list(
                self.tied, lambda p: printer.print_string(f"[{p[0]}, {p[1]}]")
            )
        if self.schedule is not None:
            printer.print_string(" schedule ")
            printer.print_attribute(self.schedule)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" : ")
        # Not print_operation_type, which would put the location before the region.
        printer.print_function_type(self.operand_types, self.result_types)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> KernelOp:
        kernel_name = parser.parse_str_literal()
        bindings = parser.parse_comma_separated_list(
            parser.Delimiter.PAREN, lambda: _parse_binding(parser)
        )
        ties: list[tuple[int, int]] = []
        if parser.parse_optional_keyword("ties"):
            ties = parser.parse_comma_separated_list(
                parser.Delimiter.NONE, lambda: _parse_tie(parser)
            )
        schedule = None
        if parser.parse_optional_keyword("schedule"):
            schedule = parser.parse_attribute()
        attributes = parser.parse_optional_attr_dict_with_keyword()
        parser.parse_punctuation(":")
        position = parser.pos
        signature = parser.parse_function_type()
        inputs = parser.resolve_operands(
            [outer for _, outer in bindings], signature.inputs.data, position
        )
        arguments = [
            argument.resolve(value.type)
            for (argument, _), value in zip(bindings, inputs, strict=True)
        ]
        body = parser.parse_region(arguments)
        op = cls(
            kernel_name,
            inputs,
            signature.outputs.data,
            body,
            ties=ties,
            schedule=schedule,
        )
        if attributes is not None:
            op.attributes |= attributes.data
        return op


def ties_attr(ties: Sequence[tuple[int, int]]) -> ArrayAttr[DenseArrayBase]:
    """`[[result, operand], ...]` as an attribute."""
    return ArrayAttr(DenseArrayBase.from_list(i64, list(pair)) for pair in ties)


def enclosing_kernel(op: Operation) -> KernelOp | None:
    """The kernel an op stands in, or None."""
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, KernelOp):
        parent = parent.parent_op()
    return parent


def _print_binding(printer: Printer, argument: BlockArgument, outer: SSAValue) -> None:
    printer.print_ssa_value(argument)
    printer.print_string(" = ")
    printer.print_ssa_value(outer)


def _parse_binding(parser: Parser):
    argument = parser.parse_argument(expect_type=False)
    parser.parse_punctuation("=")
    return argument, parser.parse_unresolved_operand()


def _parse_tie(parser: Parser) -> tuple[int, int]:
    result, operand = parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, parser.parse_integer
    )
    return result, operand
