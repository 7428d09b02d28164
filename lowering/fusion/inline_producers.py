"""Inline maps into the structured ops that read them.

```
%0 = generic [i] ins(%x[i + 1]) outs(set [i]) { exp }
%1 = generic [j, k] ins(%0[2 * j], %y[j, k]) outs(set [j, k]) { add }
```
becomes
```
%1 = generic [j, k] ins(%x[2 * j + 1], %y[j, k]) outs(set [j, k]) { exp, add }
```
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
)
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.access import AccessMap, Fill, Guard, Indirect
from stepwell.dialects.dims import Dim, substitute, symbols_of
from stepwell.dialects.fusion import DimOp, GenericOp, IndexOp, KernelOp
from stepwell.dialects.movement import tensor_dims
from stepwell.dialects.quasi_affine import as_symbol, is_indirect, simplify

from .nest import Nest, is_map, structured_ops


def inline_producers(kernel: KernelOp) -> None:
    """Inline every map of the kernel into its readers, first to last."""
    for op in structured_ops(kernel):
        nest = Nest.of(op)
        while (found := _next_inlinable(nest)) is not None:
            _inline(nest, *found)
        nest.prune()
        nest.build()
    _erase_unused(kernel)


def _erase_unused(kernel: KernelOp) -> None:
    for op in reversed(structured_ops(kernel)):
        if all(result.first_use is None for result in op.results):
            op.detach()
            op.erase()


@dataclass(frozen=True)
class _Plan:
    """How one input is replaced by its producer's code.

    Attributes:
        producer: the map that makes the input.
        result: which of its results.
        at: each dim of the producer as an expression of the consumer's dims.
        guards: where the producer's value counts; elsewhere it is `fill`.
    """

    producer: GenericOp
    result: int
    at: dict[str, Dim]
    guards: tuple[Guard, ...]
    fill: Fill | None


def _next_inlinable(nest: Nest) -> tuple[int, _Plan] | None:
    for position in range(len(nest.inputs)):
        plan = _plan(nest, position)
        if plan is not None:
            return position, plan
    return None


def _plan(nest: Nest, position: int) -> _Plan | None:
    producer = nest.inputs[position].owner
    if not isinstance(producer, GenericOp) or not is_map(producer):
        return None
    access = nest.in_maps[position]
    result = producer.results.index(nest.inputs[position])
    at = _producer_dims(producer, result, access, nest)
    if at is None or _is_row_statistic(producer, at, nest):
        return None
    if position in nest.index_operands() and not _is_plain_copy(producer):
        return None
    indirect = any(is_indirect(n) for expr in at.values() for n in symbols_of(expr))
    counts = any(isinstance(op, IndexOp) for op in producer.block.ops)
    guarded = any(is_indirect(n) for g in access.guards for n in symbols_of(g.expr))
    if (indirect and counts) or guarded:
        return None
    return _Plan(producer, result, at, access.guards, access.fill)


def _producer_dims(
    producer: GenericOp, result: int, access: AccessMap, nest: Nest
) -> dict[str, Dim] | None:
    written = producer.out_maps[result]
    if written.is_projection:
        at = zip(map(as_symbol, written.results), access.results, strict=True)
        found = {name: expr for name, expr in at if name is not None}
        if len(found) == len(producer.dim_names):
            return found
    names = tensor_dims(len(access.results))
    inverse = written.inverse(producer.extents, names)
    if inverse is None:
        return None
    values = dict(zip(names, access.results, strict=True))
    return {
        name: simplify(substitute(expr, values), nest.extents)
        for name, expr in zip(producer.dim_names, inverse, strict=True)
    }


def _is_row_statistic(producer: GenericOp, at: dict[str, Dim], nest: Nest) -> bool:
    """Whether the producer finishes a reduction for rows that the consumer walks along.

    Inlined, a mean or a reciprocal root would be computed once per element.
    """
    from_reduction = any(
        isinstance(value.owner, Operation) and not is_map(value.owner)
        for value in producer.inputs
    )
    used = frozenset().union(*(symbols_of(expr) for expr in at.values()))
    walks_along = any(name not in used for name in nest.names)
    return from_reduction and walks_along


def _is_plain_copy(producer: GenericOp) -> bool:
    """Whether the body yields its only scalar and the read is direct."""
    return (
        len(producer.inputs) == 1
        and producer.yielded[0] is producer.block.args[0]
        and not producer.in_maps[0].guards
        and not producer.in_maps[0].indirects
    )


def _inline(nest: Nest, position: int, plan: _Plan) -> None:
    producer, access = plan.producer, nest.in_maps[position]
    is_copy = (
        len(producer.inputs) == 1
        and producer.yielded[plan.result] is producer.block.args[0]
    )
    nest.make_room(position, len(producer.inputs))
    access = access.shift_operands(nest.after_room(position, len(producer.inputs)))
    outer = AccessMap(
        access.dims,
        tuple(plan.at[name] for name in producer.dim_names),
        access.guards,
        access.fill,
        access.indirects,
    )
    keeps_fill = is_copy and _compose(producer, 0, outer, position) is not None
    scalars: dict[SSAValue, SSAValue] = {}
    for number, argument in enumerate(producer.block.args):
        inner = producer.in_maps[number]
        fill = outer.fill if keeps_fill else (inner.fill if inner.guards else 0)
        through = replace(outer, fill=fill if outer.guards else None)
        composed = _compose(producer, number, through, position)
        assert composed is not None
        made = nest.add_input(
            producer.inputs[number],
            composed.simplify(nest.extents),
            position + number,
        )
        made.name_hint = argument.name_hint
        scalars[argument] = made
    value = _clone_body(nest, plan, scalars)
    if plan.guards and not keeps_fill:
        value = _select_inside(nest, plan, value)
    old = position + len(producer.inputs)
    nest.block.args[old].replace_all_uses_with(value)
    if old in nest.index_operands():
        _redirect(nest, old, plan, position)
    nest.remove_inputs([old])


def _compose(
    producer: GenericOp, number: int, outer: AccessMap, base: int
) -> AccessMap | None:
    inner = producer.in_maps[number].shift_operands(lambda k: base + k)
    return inner.compose(outer)


def _redirect(nest: Nest, position: int, plan: _Plan, base: int) -> None:
    """Let indirect terms that read a copy read its source."""
    producer = plan.producer
    names = tensor_dims(len(producer.out_maps[plan.result].results))
    inverse = producer.out_maps[plan.result].inverse(producer.extents, names)
    assert inverse is not None
    source = producer.in_maps[0]

    def change(indirect: Indirect) -> Indirect:
        if indirect.operand != position:
            return indirect
        values = dict(zip(names, indirect.index, strict=True))
        at = [substitute(expr, values) for expr in inverse]
        dims = dict(zip(producer.dim_names, at, strict=True))
        index = (substitute(expr, dims) for expr in source.results)
        return Indirect(base, tuple(simplify(e, nest.extents) for e in index))

    nest.map_indirects(change)


def _clone_body(nest: Nest, plan: _Plan, scalars: dict[SSAValue, SSAValue]) -> SSAValue:
    """Bring the producer's scalar ops to the front of the consumer's body.

    A producer with no other reader is emptied and left to `_erase_unused`.
    """
    first = nest.block.first_op
    assert first is not None
    yielded = plan.producer.yielded[plan.result]
    if _may_empty(plan.producer):
        return _move_body(plan.producer, first, scalars)
    for op in plan.producer.block.ops:
        if op is plan.producer.block.last_op:
            break
        copy = op.clone(scalars)
        copy.location = op.location
        if isinstance(op, IndexOp):
            moved = simplify(substitute(op.value, plan.at), nest.extents)
            copy = _index_like(op, moved)
            scalars[op.result] = copy.results[0]
        nest.block.insert_op_before(copy, first)
    return scalars[yielded]


def _may_empty(producer: GenericOp) -> bool:
    return (
        len(producer.results) == 1
        and producer.results[0].has_one_use()
        and not any(isinstance(op, IndexOp) for op in producer.block.ops)
    )


def _move_body(
    producer: GenericOp, before: Operation, scalars: dict[SSAValue, SSAValue]
) -> SSAValue:
    """Move all ops but the terminator; they read the consumer's scalars then."""
    block, target = producer.block, before.parent
    assert target is not None
    (yielded,) = producer.yielded
    for argument, scalar in scalars.items():
        argument.replace_all_uses_with(scalar)
    for op in list(block.ops):
        if op is not block.last_op:
            op.detach()
            target.insert_op_before(op, before)
    return scalars.get(yielded, yielded)


def _index_like(op: IndexOp, value: Dim) -> Operation:
    if isinstance(value, int):
        made: Operation = arith.ConstantOp(IntegerAttr(value, IndexType()))
    elif any(True for _ in symbols_of(value)):
        made = IndexOp(value)
    else:
        made = DimOp(value)
    made.location = op.location
    return made


def _select_inside(nest: Nest, plan: _Plan, value: SSAValue) -> SSAValue:
    """`value` where the guards hold, else their fill."""
    first = _first_use_after(nest, value)
    location = plan.producer.location
    assert plan.fill is not None

    def emit(op: Operation) -> SSAValue:
        op.location = location
        nest.block.insert_op_before(op, first)
        return op.results[0]

    inside: SSAValue | None = None
    for guard in plan.guards:
        for test in _tests(guard, nest, emit):
            inside = test if inside is None else emit(arith.AndIOp(inside, test))
    assert inside is not None
    fill = emit(arith.ConstantOp(_number(plan.fill, value.type)))
    return emit(arith.SelectOp(inside, value, fill))


def _first_use_after(nest: Nest, value: SSAValue) -> Operation:
    """Where code that needs `value`, and nothing later, may stand."""
    owner = value.owner
    after = owner.next_op if isinstance(owner, Operation) else nest.block.first_op
    assert after is not None
    return after


def _tests(
    guard: Guard, nest: Nest, emit: Callable[[Operation], SSAValue]
) -> list[SSAValue]:
    def number(expr: Dim) -> SSAValue:
        if isinstance(expr, int):
            return emit(arith.ConstantOp(IntegerAttr(expr, IndexType())))
        over_dims = symbols_of(expr) & set(nest.names)
        return emit(IndexOp(expr) if over_dims else DimOp(expr))

    at, size = number(guard.expr), number(guard.size)
    zero = number(0)
    return [
        emit(arith.CmpiOp(at, zero, "sge")),
        emit(arith.CmpiOp(at, size, "slt")),
    ]


def _number(
    fill: Fill, kind: Attribute
) -> FloatAttr[AnyFloat] | IntegerAttr[IntegerType]:
    if isinstance(kind, AnyFloat):
        return FloatAttr(float(fill), kind)
    assert isinstance(kind, IntegerType)
    return IntegerAttr(int(fill), kind)
