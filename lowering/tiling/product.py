"""What a contraction multiplies: its two factors, and the role of each dim."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.ir import BlockArgument, Operation, SSAValue

from stepwell.dialects.fusion import Combine, GenericOp, IndexOp, Iterator
from stepwell.dialects.shapes import symbols_of

Dims = tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """One side of the product.

    Attributes:
        value: the scalar of the body that is multiplied.
        dims: the iteration dims that it depends on.
    """

    value: SSAValue
    dims: frozenset[str]


@dataclass(frozen=True)
class Product:
    """`sum over k of lhs[batch, m, k] * rhs[batch, k, n]`.

    Attributes:
        op: the generic.
        lhs: the factor that depends on `m`.
        rhs: the factor that depends on `n`: it holds the result's contiguous dim.
        batch, m, n: the parallel dims of both factors, of `lhs`, of `rhs` only; dims
            of one index are none of them.
        k: the reduction dims.
    """

    op: GenericOp
    lhs: Factor
    rhs: Factor
    batch: Dims
    m: Dims
    n: Dims
    k: Dims

    @property
    def shared_k(self) -> Dims:
        """The reduction dims that both factors depend on: a dot may run over one."""
        return tuple(d for d in self.k if d in self.lhs.dims and d in self.rhs.dims)

    @property
    def is_dot(self) -> bool:
        """Whether it has a column and an inner dim; rows may be a single one."""
        sizes = self.op.extents
        columns = any(sizes[d] != 1 for d in self.n)
        return columns and any(sizes[d] != 1 for d in self.shared_k)


def product_of(op: GenericOp) -> Product | None:
    """The product that `op` sums up; None if it is no sum of products."""
    if len(op.outputs) != 1 or op.combines != (Combine.ADD,):
        return None
    k = op.dims_of_kind(Iterator.REDUCTION)
    root = op.yielded[0].owner
    if not k or op.dests or not isinstance(root, arith.MulfOp | arith.MuliOp):
        return None
    lhs, rhs = (Factor(v, _dims_of(op, v)) for v in (root.lhs, root.rhs))
    sizes = op.extents
    parallel = [d for d in op.dims_of_kind(Iterator.PARALLEL) if sizes[d] != 1]
    if _last_dim(op) in lhs.dims and _last_dim(op) not in rhs.dims:
        lhs, rhs = rhs, lhs
    return Product(
        op,
        lhs,
        rhs,
        tuple(d for d in parallel if (d in lhs.dims) == (d in rhs.dims)),
        tuple(d for d in parallel if d in lhs.dims - rhs.dims),
        tuple(d for d in parallel if d in rhs.dims - lhs.dims),
        k,
    )


def _last_dim(op: GenericOp) -> str | None:
    """The dim along which the result is contiguous."""
    access = op.out_maps[0]
    for expr in reversed(access.results):
        names = symbols_of(expr) & set(op.dim_names)
        names = {name for name in names if op.extents[name] != 1}
        if names:
            return max(names, key=op.dim_names.index)
    return None


def _dims_of(op: GenericOp, root: SSAValue) -> frozenset[str]:
    """The iteration dims that a scalar of the body depends on."""
    names: set[str] = set()
    pending, seen = [root], {root}
    while pending:
        value = pending.pop()
        if isinstance(value, BlockArgument):
            names |= op.in_maps[value.index].used_dims
            continue
        if isinstance(value.owner, IndexOp):
            names |= symbols_of(value.owner.value) & set(op.dim_names)
        assert isinstance(value.owner, Operation)
        for operand in value.owner.operands:
            if operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return frozenset(names)
