"""The `llvm` dialect: xDSL's, with the ops and the vector forms it lacks.

Names, operands and syntax are upstream MLIR's. xDSL 0.74 restricts `llvm.fcmp` and
`llvm.select` to scalars and has no `fptosi`, `fptoui`, `uitofp`, `extractelement`,
`freeze`, `addrspacecast` or `mlir.poison`; this module supplies them.
"""

from __future__ import annotations

from typing import ClassVar

from xdsl.dialects import llvm as xdsl_llvm
from xdsl.dialects.builtin import (
    I1,
    AnyFloatConstr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    VectorType,
    i1,
    i64,
)
from xdsl.dialects.llvm import FastMathAttr, FCmpPredicateFlag, GenericCastOp
from xdsl.ir import Attribute, Dialect, Operation, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    ParsePropInAttrDict,
    VarConstraint,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import NoMemoryEffect, Pure
from xdsl.utils.exceptions import VerifyException

UNROLL = "llvm.unroll"
"""Attribute of the branch that closes a loop: how often to unroll it, 1 for not."""


def i1_like(type_: Attribute) -> Attribute:
    """`i1` for a scalar type, `vector<nxi1>` for a vector of n lanes."""
    return VectorType(i1, type_.shape) if isinstance(type_, VectorType) else i1


@irdl_op_definition
class FCmpOp(IRDLOperation):
    """Compare floats, lane by lane: `llvm.fcmp "olt" %a, %b : vector<16xf32>`."""

    name = "llvm.fcmp"
    T: ClassVar = VarConstraint("T", AnyFloatConstr | VectorType.constr(AnyFloatConstr))

    lhs = operand_def(T)
    rhs = operand_def(T)
    predicate = prop_def(IntegerAttr)
    fastmathFlags = prop_def(FastMathAttr, default_value=FastMathAttr(None))
    res = result_def()
    traits = traits_def(Pure())

    def __init__(self, lhs: SSAValue, rhs: SSAValue, predicate: str) -> None:
        flag = FCmpPredicateFlag(predicate).to_int()
        super().__init__(
            operands=[lhs, rhs],
            properties={"predicate": IntegerAttr(flag, i64)},
            result_types=[i1_like(lhs.type)],
        )

    def verify_(self) -> None:
        if self.res.type != i1_like(self.lhs.type):
            raise VerifyException(
                f"expected a result of type {i1_like(self.lhs.type)}, "
                f"got {self.res.type}"
            )

    @classmethod
    def parse(cls, parser: Parser) -> FCmpOp:
        predicate = parser.parse_str_literal()
        lhs = parser.parse_unresolved_operand()
        parser.parse_characters(",")
        rhs = parser.parse_unresolved_operand()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_characters(":")
        type_ = parser.parse_type()
        a, b = parser.resolve_operands([lhs, rhs], [type_, type_], parser.pos)
        op = cls(a, b, predicate)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        flag = FCmpPredicateFlag.from_int(self.predicate.value.data)
        printer.print_string(f' "{flag}" ')
        printer.print_ssa_value(self.lhs)
        printer.print_string(", ")
        printer.print_ssa_value(self.rhs)
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.lhs.type)


@irdl_op_definition
class SelectOp(IRDLOperation):
    """Choose by a condition, an `i1` or one per lane:
    `llvm.select %c, %a, %b : vector<16xi1>, vector<16xf32>`."""

    name = "llvm.select"
    T: ClassVar = VarConstraint("T", AnyAttr())

    cond = operand_def(I1 | VectorType[I1])
    lhs = operand_def(T)
    rhs = operand_def(T)
    fastmathFlags = prop_def(FastMathAttr, default_value=FastMathAttr(None))
    res = result_def(T)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$cond `,` $lhs `,` $rhs attr-dict `:` type($cond) `,` type($res)"

    def __init__(self, cond: SSAValue, lhs: SSAValue, rhs: SSAValue) -> None:
        super().__init__(operands=[cond, lhs, rhs], result_types=[lhs.type])


@irdl_op_definition
class ExtractElementOp(IRDLOperation):
    """One lane of a vector: `llvm.extractelement %v[%i : i32] : vector<16xf32>`."""

    name = "llvm.extractelement"

    vector = operand_def(VectorType)
    position = operand_def(IntegerType)
    res = result_def()
    traits = traits_def(NoMemoryEffect())

    def __init__(self, vector: SSAValue, position: SSAValue) -> None:
        assert isinstance(vector.type, VectorType)
        super().__init__(
            operands=[vector, position], result_types=[vector.type.element_type]
        )

    @classmethod
    def parse(cls, parser: Parser) -> ExtractElementOp:
        vector = parser.parse_unresolved_operand()
        parser.parse_punctuation("[")
        position = parser.parse_unresolved_operand()
        parser.parse_punctuation(":")
        index_type = parser.parse_type()
        parser.parse_punctuation("]")
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        type_ = parser.parse_type()
        op = cls(
            parser.resolve_operand(vector, type_),
            parser.resolve_operand(position, index_type),
        )
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.vector)
        printer.print_string("[")
        printer.print_ssa_value(self.position)
        printer.print_string(" : ")
        printer.print_attribute(self.position.type)
        printer.print_string("]")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.vector.type)


@irdl_op_definition
class PoisonOp(IRDLOperation):
    """A value nobody may depend on: `llvm.mlir.poison : vector<16xf32>`."""

    name = "llvm.mlir.poison"
    assembly_format = "attr-dict `:` type($res)"
    res = result_def()
    traits = traits_def(NoMemoryEffect())


@irdl_op_definition
class FreezeOp(IRDLOperation):
    """`val`, or some fixed value where `val` is poison."""

    name = "llvm.freeze"
    T: ClassVar = VarConstraint("T", AnyAttr())
    assembly_format = "$val attr-dict `:` type($val)"
    val = operand_def(T)
    res = result_def(T)
    traits = traits_def(NoMemoryEffect())


@irdl_op_definition
class UIToFPOp(GenericCastOp):
    """Unsigned integer to float, rounded to nearest even."""

    name = "llvm.uitofp"


@irdl_op_definition
class FPToSIOp(GenericCastOp):
    """Float to signed integer towards zero; poison when it does not fit."""

    name = "llvm.fptosi"


@irdl_op_definition
class FPToUIOp(GenericCastOp):
    """Float to unsigned integer towards zero; poison when it does not fit."""

    name = "llvm.fptoui"


@irdl_op_definition
class AddrSpaceCastOp(GenericCastOp):
    """A pointer of one address space as a pointer of another."""

    name = "llvm.addrspacecast"


@irdl_op_definition
class AtomicRMWOp(IRDLOperation):
    """Read, combine and write memory at once; gives the old value:
    `llvm.atomicrmw xchg %p, %v acquire : !llvm.ptr, i32`."""

    name = "llvm.atomicrmw"

    ptr = operand_def(xdsl_llvm.LLVMPointerType)
    val = operand_def()
    bin_op = prop_def(StringAttr)
    ordering = prop_def(StringAttr)
    res = result_def()

    def __init__(
        self, ptr: SSAValue, val: SSAValue, bin_op: str, ordering: str
    ) -> None:
        super().__init__(
            operands=[ptr, val],
            properties={
                "bin_op": StringAttr(bin_op),
                "ordering": StringAttr(ordering),
            },
            result_types=[val.type],
        )

    @classmethod
    def parse(cls, parser: Parser) -> AtomicRMWOp:
        bin_op = parser.parse_identifier()
        ptr = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        val = parser.parse_unresolved_operand()
        ordering = parser.parse_identifier()
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        types = [parser.parse_type()]
        parser.parse_punctuation(",")
        types.append(parser.parse_type())
        a, b = parser.resolve_operands([ptr, val], types, parser.pos)
        op = cls(a, b, bin_op, ordering)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.bin_op.data} ")
        printer.print_ssa_value(self.ptr)
        printer.print_string(", ")
        printer.print_ssa_value(self.val)
        printer.print_string(f" {self.ordering.data}")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.ptr.type)
        printer.print_string(", ")
        printer.print_attribute(self.val.type)


_OURS: list[type[Operation]] = [
    AddrSpaceCastOp,
    AtomicRMWOp,
    ExtractElementOp,
    FCmpOp,
    FPToSIOp,
    FPToUIOp,
    FreezeOp,
    PoisonOp,
    SelectOp,
    UIToFPOp,
]
_NAMES = {op.name for op in _OURS}

LLVM = Dialect(
    "llvm",
    [op for op in xdsl_llvm.LLVM.operations if op.name not in _NAMES] + _OURS,
    list(xdsl_llvm.LLVM.attributes),
)
