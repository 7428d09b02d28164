"""What a planned module says of its host function."""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import OpResult, SSAValue

from stepwell.dialects import engine
from stepwell.dialects.shapes import DimsAttr
from stepwell.errors import CompileError
from stepwell.runtime.manifest import Expr

from .attributes import exprs


def main_of(module: ModuleOp) -> FuncOp:
    """The host function.

    Raises:
        CompileError: there is none.
    """
    for op in module.ops:
        if isinstance(op, FuncOp) and op.sym_name.data == "main":
            return op
    raise CompileError("expected a function @main in the module")


def names_of(main: FuncOp, group: str, what: str, count: int) -> list[str]:
    """The `nn.name`s of the arguments or results of a function."""
    attributes = main.properties.get(group)
    names: list[str] = []
    for index in range(count):
        entry = attributes.data[index] if isinstance(attributes, ArrayAttr) else None
        name = entry.data.get("nn.name") if isinstance(entry, DictionaryAttr) else None
        named = isinstance(name, StringAttr)
        names.append(name.data if named else f"{what}_{index}")
    return names


def slots_of(main: FuncOp) -> tuple[Expr, ...]:
    """The sizes of the slots of the memory plan.

    Raises:
        CompileError: there is no plan.
    """
    sizes = main.attributes.get(engine.SLOTS_ATTRIBUTE)
    if not isinstance(sizes, DimsAttr):
        raise CompileError(
            "expected a memory plan of @main", fix="run plan-memory first"
        )
    return exprs(sizes.data)


def root_of(value: SSAValue) -> SSAValue:
    """The value whose memory `value` lies in."""
    while isinstance(value, OpResult):
        op = value.op
        if isinstance(op, engine.AliasOp):
            value = op.source
        elif isinstance(op, engine.LaunchOp) and value.index in op.tied_operands:
            value = op.inputs[op.tied_operands[value.index]]
        else:
            break
    return value


def slot_of(value: SSAValue) -> int | None:
    """The slot that the plan has given a result; None for what has none of its own."""
    op = value.owner
    if not isinstance(op, engine.LaunchOp | engine.EmptyOp | engine.CopyOp):
        return None
    if op.slots is None or not isinstance(value, OpResult):
        return None
    return int(op.slots.get_values()[value.index])
