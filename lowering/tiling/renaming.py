"""Structured ops over other names of dims, where several must agree."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects.access import AccessAttr, AccessMap
from stepwell.dialects.fusion import GenericOp, IndexOp, Iterator, YieldOp
from stepwell.dialects.quasi_affine import as_symbol
from stepwell.dialects.shapes import Dim, dims_of, substitute, symbol
from stepwell.errors import CompileError


def reader_of(before: Operation, value: SSAValue, names: Sequence[str]) -> GenericOp:
    """A map over dims `names` whose result is `value`, for one reader alone.

    A copy of the map that makes `value`, or else a new map that reads it. A value of
    fewer dims than `names` broadcasts.
    """
    shape = dims_of(value)
    own = names[len(names) - len(shape) :]
    owner = value.owner
    if isinstance(owner, GenericOp):
        copy = owner.clone()
        Rewriter.insert_op(copy, InsertPoint.before(before))
        position = list[SSAValue](owner.results).index(value)
        rename_dims(copy, copy.out_maps[position], own)
        _drop_units(copy)
        return copy
    sizes = dict(zip(own, shape, strict=True))
    space = [(name, size, Iterator.PARALLEL) for name, size in sizes.items()]
    access = AccessMap.identity(own)
    made = GenericOp(space, [value], [access], [access], [value.type])
    made.block.add_op(YieldOp(made.block.args[0]))
    Rewriter.insert_op(
        made,
        InsertPoint.after(before)
        if value.owner is before
        else InsertPoint.before(before),
    )
    made.location = before.location
    _drop_units(made)
    return made


def _drop_units(op: GenericOp) -> None:
    """Read at 0 along dims of one index: the reader may be wider and broadcast it."""
    units: dict[str, Dim] = {d: 0 for d, size in op.extents.items() if size == 1}
    maps = [access.substitute(units, access.dims) for access in op.in_maps]
    op.properties["input_maps"] = ArrayAttr(AccessAttr(m) for m in maps)


def rename_dims(op: GenericOp, access: AccessMap, names: Sequence[str]) -> None:
    """Call the dim that `access` has as its n-th result `names[n]`, all through `op`.

    Raises:
        CompileError: a result is neither a dim nor a constant.
    """
    renamed: dict[str, str] = {}
    for expr, name in zip(access.results, names, strict=True):
        old = as_symbol(expr)
        if old is None and not isinstance(expr, int):
            raise CompileError(
                f"expected a map that moves whole dims beside attention, got {access}",
                where=str(op.location),
            )
        if old is not None:
            renamed[old] = name
    used = set(renamed.values())
    for old in op.dim_names:
        if old not in renamed:
            renamed[old] = f"{old}_" if old in used else old
    _apply(op, renamed)


def _apply(op: GenericOp, renamed: dict[str, str]) -> None:
    values: dict[str, Dim] = {old: symbol(new) for old, new in renamed.items()}
    op.properties["dims"] = ArrayAttr(StringAttr(renamed[n]) for n in op.dim_names)
    for key, maps in (("input_maps", op.in_maps), ("output_maps", op.out_maps)):
        op.properties[key] = ArrayAttr(AccessAttr(m.rename(renamed)) for m in maps)
    for inner in op.block.ops:
        if isinstance(inner, IndexOp):
            text = str(substitute(inner.value, values))
            inner.properties["expression"] = StringAttr(text)
