"""Fields of structs: how fragments of several registers are one value."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import llvm as xllvm
from xdsl.dialects.builtin import DenseArrayBase, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_builder import Builder


def field(b: Builder, value: SSAValue, index: int, kind: Attribute) -> SSAValue:
    """Field `index`, of type `kind`, of a struct."""
    position = DenseArrayBase.from_list(i64, [index])
    return b.make("extractvalue", (value,), kind, {"position": position})


def fields(b: Builder, value: SSAValue) -> list[SSAValue]:
    """All fields of a struct."""
    assert isinstance(value.type, xllvm.LLVMStructType)
    return [field(b, value, i, kind) for i, kind in enumerate(value.type.types.data)]


def struct(b: Builder, values: Sequence[SSAValue]) -> SSAValue:
    """Values as one struct."""
    kind = xllvm.LLVMStructType.from_type_list([v.type for v in values])
    result = b.poison(kind)
    for index, value in enumerate(values):
        position = DenseArrayBase.from_list(i64, [index])
        result = b.make("insertvalue", (result, value), kind, {"position": position})
    return result
