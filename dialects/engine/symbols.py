"""Symbols of sizes: read from values, and checked."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    ArrayAttr,
    IntegerType,
    StringAttr,
    TensorType,
)
from xdsl.ir import SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
)
from xdsl.utils.exceptions import VerifyException

from .places import ANY_TENSOR

PREDICATES = ("eq", "ne", "lt", "le", "gt", "ge", "divides")
"""What `engine.assert` can say of two dim expressions."""


@irdl_op_definition
class ReadScalarOp(IRDLOperation):
    """Bind symbols to the values of an integer tensor, in order.

    Each value must lie in its symbol's range (`nn.symbols`); the run fails otherwise.

    ```mlir
    engine.read_scalar %n as ["count"] : tensor<i64>
    engine.read_scalar %shape as ["rows", "columns"] : tensor<2xi64>
    ```
    """

    name = "engine.read_scalar"
    source = operand_def(ANY_TENSOR)
    symbols = prop_def(ArrayAttr[StringAttr])
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source `as` $symbols attr-dict `:` type($source)"

    def __init__(self, source: SSAValue, *symbols: str) -> None:
        names = ArrayAttr([StringAttr(symbol) for symbol in symbols])
        super().__init__(operands=[source], properties={"symbols": names})

    def verify_(self) -> None:
        type_ = self.source.type
        assert isinstance(type_, TensorType)
        count = 1
        for extent in type_.get_shape():
            count *= extent
        is_integer = isinstance(type_.get_element_type(), IntegerType)
        if count != len(self.symbols) or not is_integer:
            raise VerifyException(
                f"expected a tensor of {len(self.symbols)} integers, got {type_}"
            )


@irdl_op_definition
class AssertOp(IRDLOperation):
    """Check a fact about dims, once for each new shape.

    `"a" divides "b"` says that `b` is a multiple of `a`.

    ```mlir
    engine.assert "batch * seq" "eq" "rows" message "MatMul 'qk': rows differ"
    ```
    """

    name = "engine.assert"
    lhs = prop_def(StringAttr)
    predicate = prop_def(StringAttr)
    rhs = prop_def(StringAttr)
    message = prop_def(StringAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$lhs $predicate $rhs `message` $message attr-dict"

    def __init__(self, lhs: str, predicate: str, rhs: str, message: str) -> None:
        super().__init__(
            properties={
                "lhs": StringAttr(lhs),
                "predicate": StringAttr(predicate),
                "rhs": StringAttr(rhs),
                "message": StringAttr(message),
            }
        )

    def verify_(self) -> None:
        if self.predicate.data not in PREDICATES:
            raise VerifyException(
                f"expected a predicate of {', '.join(PREDICATES)}, "
                f"got {self.predicate.data!r}"
            )
