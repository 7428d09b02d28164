"""Questions about the scalar bodies of structured ops."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

from xdsl.ir import BlockArgument, Operation, SSAValue

from stepwell.dialects.fusion import DimOp, IndexOp, KernelOp, StructuredOp
from stepwell.dialects.shapes import dims_of, symbols_of


def kernel_symbols(kernel: KernelOp) -> list[str]:
    """The model's symbols that the program of a kernel depends on, sorted."""
    names: set[str] = set()
    for value in (*kernel.inputs, *kernel.outputs):
        names = names.union(*map(symbols_of, dims_of(value)))
    for op in kernel.block.ops:
        if isinstance(op, StructuredOp):
            names = names.union(*map(symbols_of, op.dim_sizes))
            names = names.union(*(m.symbols for m in (*op.in_maps, *op.out_maps)))
            names |= _symbols_of_body(op)
    return sorted(names)


def _symbols_of_body(op: StructuredOp) -> set[str]:
    inner = [i.value for i in op.block.ops if isinstance(i, DimOp | IndexOp)]
    return set[str]().union(*map(symbols_of, inner)) - set(op.dim_names)


def needed_values(
    op: StructuredOp, roots: Sequence[SSAValue], held: Collection[SSAValue] = ()
) -> set[SSAValue]:
    """The values of the body that the roots depend on, themselves included.

    What only `held` values depend on is left out.
    """
    needed = set(roots)
    for inner in reversed(list(op.block.ops)):
        if any(r in needed and r not in held for r in inner.results):
            for nested in inner.walk():
                needed.update(nested.operands)
    return needed


def index_dims(needed: Collection[SSAValue]) -> set[str]:
    """The dims whose index the needed scalars ask for."""
    owners = (value.owner for value in needed)
    return {
        name
        for owner in owners
        if isinstance(owner, IndexOp)
        for name in symbols_of(owner.value)
    }


def scalar_key(op: StructuredOp, value: SSAValue) -> Hashable:
    """What a scalar is: equal keys in bodies over one frame are equal values."""
    if isinstance(value, BlockArgument):
        return (op.inputs[value.index], op.in_maps[value.index].body_text())
    owner = value.owner
    assert isinstance(owner, Operation)
    operands = tuple(scalar_key(op, operand) for operand in owner.operands)
    properties = tuple(sorted((k, str(v)) for k, v in owner.properties.items()))
    return (owner.name, properties, operands, value.type)
