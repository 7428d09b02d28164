"""How a load or store walks memory: strides, and runs that one vector access moves.

A run of `g` elements along a dim of the tile is one access if they are consecutive in
memory, start at a multiple of `g`, and are inside or outside of the view together. Both
the choice of layouts and that of instructions ask here, so they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from xdsl.dialects import arith, scf
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import BlockArgument, SSAValue

from stepwell.dialects.access import AccessMap, row_major
from stepwell.dialects.dims import Atom, Dim

from .function import DimOp
from .memory import AccessOp, TransferOp
from .types import view_of

LONGEST = 16
"""The longest run that is looked for, in elements: 16 bytes of 8-bit elements."""


@dataclass(frozen=True)
class Walk:
    """How the elements of a tile lie in memory.

    Attributes:
        strides: elements of memory per step along each dim of the tile; None where that
            is not one number.
        dim: the dim of the tile that is contiguous in memory, or None.
        run: elements along `dim` that one access may move, a power of two.
    """

    strides: tuple[int | None, ...]
    dim: int | None
    run: int


def walk_of(op: TransferOp) -> Walk:
    """How `op` walks memory."""
    access, shape = memory_map(op)
    spanned = [access.dims[d] for d in op.spanned]
    strides = row_major(shape)
    steps = [_stride(access, name, strides) for name in spanned]
    divisors = {
        name: divisor_of_index(index)
        for name, index in zip(access.dims, op.indices, strict=True)
    }
    sizes = dict(zip(access.dims, view_of(op.view).dims, strict=True))
    best = Walk(tuple(steps), None, 1)
    for position, name in enumerate(spanned):
        others = {**divisors, **{n: 1 for n in spanned if n != name}}
        run = _run(access, strides, name, others, sizes[name])
        if run > best.run or (steps[position] == 1 and best.dim is None):
            best = Walk(tuple(steps), position, run)
    return best


def memory_map(op: TransferOp) -> tuple[AccessMap, tuple[Dim, ...]]:
    """The map from the view's dims to the memory behind it, and that memory's dims."""
    owner = op.view.owner
    if isinstance(owner, AccessOp):
        return owner.access, view_of(owner.source).dims
    dims = view_of(op.view).dims
    return AccessMap.identity([f"d{n}" for n in range(len(dims))]), dims


def divisor_of_index(index: SSAValue | int) -> int:
    """A number that divides an index; 0 if the index is 0."""
    return abs(index) if isinstance(index, int) else divisor_of(index)


def divisor_of(value: SSAValue) -> int:
    """A number that divides a computed index, whatever its operands are."""
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return abs(owner.value.value.data)
    if isinstance(owner, arith.AddiOp | arith.SubiOp):
        return gcd(divisor_of(owner.lhs), divisor_of(owner.rhs))
    if isinstance(owner, arith.MuliOp):
        return divisor_of(owner.lhs) * divisor_of(owner.rhs)
    if isinstance(owner, arith.RemSIOp | arith.RemUIOp):
        return gcd(divisor_of(owner.lhs), divisor_of(owner.rhs))
    if isinstance(owner, arith.FloorDivSIOp | arith.DivUIOp | arith.DivSIOp):
        high, by = divisor_of(owner.lhs), _constant(owner.rhs)
        return high // by if by and high % by == 0 else 1
    if isinstance(owner, DimOp):
        return divisor_of_dim(owner.dim, {})
    if isinstance(value, BlockArgument) and value.index == 0:
        loop = value.owner.parent_op()
        if isinstance(loop, scf.ForOp):
            return gcd(divisor_of(loop.lb), divisor_of(loop.step))
    return 1


def _constant(value: SSAValue) -> int | None:
    owner = value.owner
    if isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr):
        return owner.value.value.data
    return None


def divisor_of_dim(expr: Dim, divisors: Mapping[str, int]) -> int:
    """A number that divides `expr`, given divisors of some symbols; 0 for 0."""
    if isinstance(expr, int):
        return abs(expr)
    total = 0
    for monomial, factor in expr.terms:
        part = abs(factor)
        for atom in monomial:
            part *= _divisor_of_atom(atom, divisors)
        total = gcd(total, part)
    return total


def _divisor_of_atom(atom: Atom, divisors: Mapping[str, int]) -> int:
    if atom.kind is None:
        return divisors.get(atom.symbol, 1)
    parts = [divisor_of_dim(operand, divisors) for operand in atom.operands]
    if atom.kind in ("floordiv", "ceildiv"):
        by = atom.operands[1]
        exact = isinstance(by, int) and by > 0 and parts[0] % by == 0
        return parts[0] // by if exact and isinstance(by, int) else 1
    return gcd(*parts)


def _stride(access: AccessMap, name: str, strides: tuple[Dim, ...]) -> int | None:
    step = access.stride_along(name, strides)
    return step if isinstance(step, int) else None


def _run(
    access: AccessMap,
    strides: tuple[Dim, ...],
    name: str,
    divisors: Mapping[str, int],
    size: Dim,
) -> int:
    run = LONGEST
    while run > 1:
        here = {**divisors, name: gcd(divisors.get(name, 0), run)}
        if _is_run(access, strides, name, here, size, run):
            return run
        run //= 2
    return 1


def _is_run(
    access: AccessMap,
    strides: tuple[Dim, ...],
    name: str,
    divisors: Mapping[str, int],
    size: Dim,
    run: int,
) -> bool:
    """Whether groups of `run` along `name` are consecutive, aligned and whole."""
    if divisors[name] % run or divisor_of_dim(size, {}) % run:
        return False
    for indirect in access.indirects:
        if any(_step(e, name, divisors, run) != 0 for e in indirect.index):
            return False
    total = 0
    for expr, stride in zip(access.results, strides, strict=True):
        step = _step(expr, name, divisors, run)
        if step is None or (step and not isinstance(stride, int)):
            return False
        total += step * stride if isinstance(stride, int) else 0
    if total != 1 or divisor_of_dim(access.address(strides), divisors) % run:
        return False
    for guard in access.guards:
        step = _step(guard.expr, name, divisors, run)
        whole = divisor_of_dim(guard.expr, divisors) % run == 0
        whole &= divisor_of_dim(guard.size, divisors) % run == 0
        if step != 0 and not (step == 1 and whole):
            return False
    return True


def _step(expr: Dim, name: str, divisors: Mapping[str, int], run: int) -> int | None:
    """How far `expr` moves per step of `name` inside a group; None if not evenly."""
    if isinstance(expr, int):
        return 0
    total = 0
    for monomial, factor in expr.terms:
        moves = [_step_of_atom(atom, name, divisors, run) for atom in monomial]
        if any(move is None for move in moves):
            return None
        moving = [move for move in moves if move]
        if moving and len(monomial) > 1:
            return None
        total += factor * sum(moving)
    return total


def _step_of_atom(
    atom: Atom, name: str, divisors: Mapping[str, int], run: int
) -> int | None:
    if atom.kind is None:
        return int(atom.symbol == name)
    steps = [_step(operand, name, divisors, run) for operand in atom.operands]
    if all(step == 0 for step in steps):
        return 0
    if atom.kind not in ("floordiv", "mod") or steps != [1, 0]:
        return None
    dividend, by = atom.operands
    whole = isinstance(by, int) and by % run == 0
    if not whole or divisor_of_dim(dividend, divisors) % run:
        return None
    return 0 if atom.kind == "floordiv" else 1
