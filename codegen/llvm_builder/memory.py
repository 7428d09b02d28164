"""Addresses, loads and stores."""

from __future__ import annotations

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import IntegerAttr, VectorType, i64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.llvm_types import PTR

from .attributes import access, gep, string
from .inserter import Inserter, Value

RELAXED, RELEASE = 2, 5
"""Orderings of atomic accesses."""


class Memory(Inserter):
    """What reads and writes memory."""

    def gep(self, base: SSAValue, index: Value, element: Attribute) -> SSAValue:
        """`base + index * sizeof(element)`."""
        if isinstance(index, int):
            if index == 0:
                return base
            if not -(2**31) < index < 2**31:
                return self.gep(base, self.constant(index, i64), element)
            indices, operands = (index,), (base,)
        else:
            indices, operands = (xllvm.GEP_USE_SSA_VAL,), (base, index)
        type_ = base.type
        if isinstance(index, SSAValue) and isinstance(index.type, VectorType):
            type_ = VectorType(PTR, index.type.shape)
        return self.make("getelementptr", operands, type_, gep(indices, element))

    def load(self, pointer: SSAValue, type_: Attribute, align: int) -> SSAValue:
        """Read memory."""
        return self.make("load", (pointer,), type_, access(align))

    def load_relaxed(self, pointer: SSAValue, type_: Attribute, align: int) -> SSAValue:
        """Read memory that others may be writing."""
        return self.make("load", (pointer,), type_, access(align, RELAXED))

    def store(self, value: SSAValue, pointer: SSAValue, align: int) -> None:
        """Write memory."""
        self.insert(xllvm.StoreOp, (value, pointer), None, access(align))

    def store_release(self, value: SSAValue, pointer: SSAValue, align: int) -> None:
        """Write memory after all that was written before."""
        self.insert(xllvm.StoreOp, (value, pointer), None, access(align, RELEASE))

    def exchange(self, pointer: SSAValue, value: SSAValue) -> SSAValue:
        """Write memory and give the old value, before all that comes after."""
        properties: dict[str, Attribute] = {
            "bin_op": string("xchg"),
            "ordering": string("acquire"),
        }
        return self.make("atomicrmw", (pointer, value), value.type, properties)

    def alloca(self, element: Attribute, count: int, align: int = 64) -> SSAValue:
        """Stack memory, made once on entry of the function."""
        size = self.constant(count, i64)
        op = xllvm.AllocaOp.create(
            operands=(size,),
            properties={"alignment": IntegerAttr(align, 64), "elem_type": element},
            result_types=(PTR,),
            location=self.location,
        )
        assert isinstance(size.owner, Operation)
        self.entry.insert_op_after(op, size.owner)
        return op.results[0]
