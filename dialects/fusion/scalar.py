"""Scalar ops of a structured op's body that know where the body stands."""

from __future__ import annotations

from xdsl.dialects.builtin import IndexType, StringAttr
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.shapes import Dim, parse_dim, symbols_of


class _ExpressionOp(IRDLOperation):
    """An op whose value is an expression, printed as a string literal."""

    expression = prop_def(StringAttr)
    result = result_def(IndexType)

    traits = traits_def(Pure())

    def __init__(self, expression: Dim | str) -> None:
        super().__init__(
            properties={"expression": StringAttr(str(expression))},
            result_types=[IndexType()],
        )

    @property
    def value(self) -> Dim:
        """The expression, over iteration dims and symbols."""
        return parse_dim(self.expression.data)

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_string_literal(self.expression.data)
        printer.print_op_attributes(self.attributes)

    @classmethod
    def parse(cls, parser: Parser):
        op = cls(parser.parse_str_literal())
        op.attributes |= parser.parse_optional_attr_dict()
        return op


@irdl_op_definition
class IndexOp(_ExpressionOp):
    """A quasi-affine expression of the iteration dims of the op around it.

    ```mlir
    %q = fusion.index "q * 2 - 1"
    ```
    """

    name = "fusion.index"

    def verify_(self) -> None:
        from .structured import StructuredOp

        parent = self.parent_op()
        if not isinstance(parent, StructuredOp):
            raise VerifyException("expected to stand in a structured op of fusion")
        if not symbols_of(self.value) & set(parent.dim_names):
            raise VerifyException(
                f"'{self.expression.data}' names no iteration dim of "
                f"[{', '.join(parent.dim_names)}]; use fusion.dim for sizes"
            )


@irdl_op_definition
class DimOp(_ExpressionOp):
    """A dim expression of the model's symbols.

    ```mlir
    %n = fusion.dim "batch * seq"
    ```
    """

    name = "fusion.dim"
