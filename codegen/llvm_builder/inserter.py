"""Appends ops to a function, and keeps its constants in the entry block."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import IntegerType, SymbolRefAttr, VectorType, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.codegen.llvm_types import PTR
from stepwell.dialects import llvm

from .attributes import constant_attribute, dense

Value: TypeAlias = int | SSAValue

_OPS: dict[str, type[Operation]] = {
    op.name.removeprefix("llvm."): op for op in llvm.LLVM.operations
}


class Inserter:
    """Appends ops to the current block of one `llvm.func`."""

    def __init__(self, func: xllvm.FuncOp) -> None:
        self.func = func
        self.region: Region = func.body
        self.entry = func.body.blocks[0]
        self.block: Block = self.entry
        self.location = func.location
        self.anchor: Operation | None = None
        self.index_type: IntegerType = i64
        self._constants: dict[tuple[object, ...], SSAValue] = {}

    def insert(
        self,
        op: type[Operation],
        operands: Sequence[SSAValue],
        result: Attribute | None = None,
        properties: dict[str, Attribute] | None = None,
        successors: Sequence[Block] = (),
        attributes: dict[str, Attribute] | None = None,
    ) -> Operation:
        """Append an op, created without its constructor."""
        made = op.create(
            operands=operands,
            result_types=() if result is None else (result,),
            properties=properties or {},
            attributes=attributes or {},
            successors=successors,
            location=self.location,
        )
        if self.anchor is None:
            self.block.add_op(made)
        else:
            self.block.insert_op_before(made, self.anchor)
        return made

    @contextmanager
    def before(self, anchor: Operation) -> Generator[None]:
        """Straight-line code in front of an op that was emitted before."""
        block = anchor.parent_block()
        assert block is not None
        kept = self.block, self.anchor
        self.block, self.anchor = block, anchor
        yield
        self.block, self.anchor = kept

    def make(
        self,
        name: str,
        operands: Sequence[SSAValue],
        result: Attribute,
        properties: dict[str, Attribute] | None = None,
    ) -> SSAValue:
        """Append `llvm.<name>` and give its result."""
        return self.insert(_OPS[name], operands, result, properties).results[0]

    def constant(self, value: float, type_: Attribute) -> SSAValue:
        """A constant of a scalar type, or the splat of one; one op per function."""
        key = (repr(value), type_)
        known = self._constants.get(key)
        if known is None:
            op = xllvm.ConstantOp.create(
                properties={"value": constant_attribute(value, type_)},
                result_types=(type_,),
            )
            known = self._put_in_entry(key, op)
        return known

    def constants(self, values: Sequence[float], element: Attribute) -> SSAValue:
        """A vector of given lanes."""
        key = (tuple(values), element)
        known = self._constants.get(key)
        if known is None:
            type_ = VectorType(element, [len(values)])
            attr = dense(type_, values)
            op = xllvm.ConstantOp.create(
                properties={"value": attr}, result_types=(type_,)
            )
            known = self._put_in_entry(key, op)
        return known

    def poison(self, type_: Attribute) -> SSAValue:
        """A value nobody looks at."""
        key = ("poison", type_)
        known = self._constants.get(key)
        if known is None:
            op = llvm.PoisonOp.create(result_types=(type_,))
            known = self._put_in_entry(key, op)
        return known

    def null(self) -> SSAValue:
        """The null pointer."""
        key = ("null", PTR)
        known = self._constants.get(key)
        if known is None:
            known = self._put_in_entry(key, xllvm.ZeroOp.create(result_types=(PTR,)))
        return known

    def address_of(self, name: str) -> SSAValue:
        """The address of a global or function."""
        key = ("address", name)
        known = self._constants.get(key)
        if known is None:
            op = xllvm.AddressOfOp.create(
                properties={"global_name": SymbolRefAttr(name)}, result_types=(PTR,)
            )
            known = self._put_in_entry(key, op)
        return known

    def _put_in_entry(self, key: tuple[object, ...], op: Operation) -> SSAValue:
        first = self.entry.first_op
        if first is None:
            self.entry.add_op(op)
        else:
            self.entry.insert_op_before(op, first)
        self._constants[key] = op.results[0]
        return op.results[0]

    def value(self, value: Value, type_: Attribute | None = None) -> SSAValue:
        """A Python int as a constant, by default an index; an SSA value as it is."""
        if isinstance(value, SSAValue):
            return value
        return self.constant(value, type_ or self.index_type)
