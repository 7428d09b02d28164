"""Merge neighbouring dims that are walked as one.

A 1x1 convolution over `[n, p, q, c]` is a matrix product over rows `p * q`, and an
elementwise map of any rank is one long row. Where two neighbouring dims of the
iteration space are two neighbouring axes of each tensor, or no axes of it at all, both
become one; the kernel's operands and results are seen through `nn.reshape`, which moves
nothing.

```mlir
%y = fusion.kernel (%a = %x) : tensor<8x4xf32> ... { fusion.generic [i: 8, j: 4] ... }
// becomes
%0 = nn.reshape %x : tensor<8x4xf32> -> tensor<32xf32>
%1 = fusion.kernel (%a = %0) : tensor<32xf32> ... { fusion.generic [ij: 32] ... }
%y = nn.reshape %1 : tensor<32xf32> -> tensor<8x4xf32>
```

Input invariant: kernels in the forms that `fuse-generics` leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects.access import AccessAttr, AccessMap, Guard, Indirect
from stepwell.dialects.fusion import IndexOp, Iterator, KernelOp, StructuredOp
from stepwell.dialects.nn.shape import ReshapeOp
from stepwell.dialects.quasi_affine import Extents, coefficient
from stepwell.dialects.shapes import (
    Dim,
    DimsAttr,
    dims_of,
    element_of,
    substitute,
    symbol,
    symbols_of,
    tensor_type,
)
from stepwell.lowering.rewriting import stamp

SHORT = 16
"""Below this extent a guarded axis is merged with the dim inside of it; its guard then
cuts through rows of the merged dim."""

MERGEABLE = (Iterator.PARALLEL, Iterator.REDUCTION)


@dataclass(frozen=True)
class Pair:
    """Dims `outer` and `inner`, to be merged into `outer * extent + inner`."""

    outer: str
    inner: str
    extent: Dim

    @property
    def merged(self) -> str:
        """The name of the dim that replaces both."""
        return self.outer + self.inner

    def linear(self, expr: Dim) -> Dim | None:
        """`expr` over the merged dim; None unless it is linear in the merge."""
        outer = coefficient(expr, self.outer)
        if outer is None:
            return None
        inner = coefficient(outer[1], self.inner)
        if inner is None or outer[0] != inner[0] * self.extent:
            return None
        return inner[0] * symbol(self.merged) + inner[1]

    def uses(self, expr: Dim) -> bool:
        """Whether `expr` depends on one of the two."""
        return bool(symbols_of(expr) & {self.outer, self.inner})


@dataclass(frozen=True)
class Walk:
    """How one access looks after the merge.

    Attributes:
        access: the new map.
        axis: the tensor's axis that is merged with the next one; None if none is.
    """

    access: AccessMap
    axis: int | None


def walk_of(access: AccessMap, shape: Sequence[Dim], pair: Pair) -> Walk | None:
    """The access after the merge of `pair`, or None if it keeps the dims apart."""
    dims = [pair.merged if d == pair.outer else d for d in access.dims]
    dims = tuple(d for d in dims if d != pair.inner)
    if not access.used_dims & {pair.outer, pair.inner}:
        return Walk(_with_dims(access, dims), None)
    for axis in range(len(shape) - 1):
        merged = _merge_axes(access, shape, pair, axis, dims)
        if merged is not None:
            return Walk(merged, axis)
    linear = _linear(access, pair, dims)
    return None if linear is None else Walk(linear, None)


def _with_dims(access: AccessMap, dims: tuple[str, ...]) -> AccessMap:
    return AccessMap(dims, access.results, access.guards, access.fill, access.indirects)


def _merge_axes(
    access: AccessMap,
    shape: Sequence[Dim],
    pair: Pair,
    axis: int,
    dims: tuple[str, ...],
) -> AccessMap | None:
    """The map with axes `axis` and `axis + 1` merged, if the pair walks just there.

    Along the outer axis the index may be any in which the outer dim has factor 1. If it
    is guarded to lie inside the axis, the merged index is guarded alike.
    """
    high, low = access.results[axis], access.results[axis + 1]
    split = coefficient(high, pair.outer)
    is_walked = (
        low == symbol(pair.inner)
        and shape[axis + 1] == pair.extent
        and split is not None
        and split[0] == 1
        and not pair.uses(split[1])
    )
    others = [e for n, e in enumerate(access.results) if n not in (axis, axis + 1)]
    others += [e for indirect in access.indirects for e in indirect.index]
    if not is_walked or split is None or any(pair.uses(e) for e in others):
        return None
    index = split[1] * pair.extent + symbol(pair.merged)
    guards = [_merge_guard(guard, pair) for guard in access.guards]
    kept = tuple(guard for guard in guards if guard is not None)
    is_short = isinstance(pair.extent, int) and pair.extent < SHORT
    if len(kept) < len(guards) or (kept != access.guards and not is_short):
        return None
    results = (*access.results[:axis], index, *access.results[axis + 2 :])
    return AccessMap(dims, results, kept, access.fill, access.indirects)


def _merge_guard(guard: Guard, pair: Pair) -> Guard | None:
    """`a + outer < n` becomes `a * extent + merged < n * extent`."""
    if not pair.uses(guard.expr):
        return guard
    split = coefficient(guard.expr, pair.outer)
    if split is None or split[0] != 1 or pair.uses(split[1]):
        return None
    index = split[1] * pair.extent + symbol(pair.merged)
    return Guard(index, guard.size * pair.extent)


def _linear(access: AccessMap, pair: Pair, dims: tuple[str, ...]) -> AccessMap | None:
    """The map with every expression linear in the merged dim."""

    def all_of(exprs: Sequence[Dim]) -> tuple[Dim, ...] | None:
        moved = [pair.linear(e) if pair.uses(e) else e for e in exprs]
        known = tuple(e for e in moved if e is not None)
        return known if len(known) == len(moved) else None

    results = all_of(access.results)
    bounds = all_of([g.expr for g in access.guards])
    indices = [all_of(indirect.index) for indirect in access.indirects]
    if results is None or bounds is None or None in indices:
        return None
    pairs = zip(access.guards, bounds, strict=True)
    moved = zip(access.indirects, indices, strict=True)
    return AccessMap(
        dims,
        results,
        tuple(Guard(bound, guard.size) for guard, bound in pairs),
        access.fill,
        tuple(Indirect(i.operand, index) for i, index in moved if index is not None),
    )


@dataclass
class Plan:
    """The merge of one pair all through a kernel.

    Attributes:
        pair: the dims.
        walks: the new maps of each op that has the dims: inputs, then results.
        axes: for each tensor the axis that is merged with the next, or None.
    """

    pair: Pair
    walks: dict[StructuredOp, list[Walk]]
    axes: dict[SSAValue, int | None]

    def require(self, tensor: SSAValue, axis: int | None) -> bool:
        """Note what an access asks of a tensor; whether all so far agree."""
        return self.axes.setdefault(tensor, axis) == axis


def plan_merge(
    ops: Sequence[StructuredOp], pair: Pair, *, dividing: bool = False
) -> Plan | None:
    """How to merge `pair`, or None if some op keeps the dims apart.

    Args:
        dividing: whether an input that keeps them apart may be read at quotients and
            remainders of the merged dim.
    """
    plan = Plan(pair, {}, {})
    for op in ops:
        has = {pair.outer, pair.inner} & set(op.dim_names)
        if has and not _is_adjacent(op, pair):
            return None
        walks: list[Walk] = []
        accesses = [*op.in_maps, *op.out_maps]
        tensors = (*op.inputs, *op.outputs)
        for number, (tensor, access) in enumerate(zip(tensors, accesses, strict=True)):
            walk = walk_of(access, dims_of(tensor), pair) if has else None
            if has and walk is None and dividing and number < len(op.inputs):
                walk = Walk(_divided(access, pair, op.extents), None)
            if has and walk is None:
                return None
            axis = None if walk is None else walk.axis
            if not plan.require(tensor, axis):
                return None
            walks += [] if walk is None else [walk]
        if not all(plan.require(i, None) for i in _index_tensors(op)):
            return None
        # What a result is written into has the result's shape.
        pairs = zip(op.dests, op.outputs, strict=False)
        if not all(plan.require(dest, plan.axes[result]) for dest, result in pairs):
            return None
        if has:
            plan.walks[op] = walks
    return plan if plan.walks else None


def _divided(access: AccessMap, pair: Pair, extents: Extents) -> AccessMap:
    """The map with the two dims as quotient and remainder of the merged one."""
    merged = symbol(pair.merged)
    values = {pair.outer: merged // pair.extent, pair.inner: merged % pair.extent}
    dims = [pair.merged if d == pair.outer else d for d in access.dims]
    dims = [d for d in dims if d != pair.inner]
    sizes = {n: size for n, size in extents.items() if n in dims}
    sizes[pair.merged] = extents[pair.outer] * pair.extent
    return access.substitute(values, dims).simplify(sizes)


def _index_tensors(op: StructuredOp) -> list[SSAValue]:
    """The tensors that indirect terms read: their own maps stay as they are."""
    maps = (*op.in_maps, *op.out_maps)
    return [op.inputs[i.operand] for access in maps for i in access.indirects]


def _is_adjacent(op: StructuredOp, pair: Pair) -> bool:
    names, kinds = op.dim_names, op.kinds
    if pair.outer not in names or pair.inner not in names:
        return False
    at = names.index(pair.outer)
    if at + 1 >= len(names) or names[at + 1] != pair.inner:
        return False
    if kinds[at] is not kinds[at + 1] or kinds[at] not in MERGEABLE:
        return False
    indices = (i.value for i in op.block.ops if isinstance(i, IndexOp))
    return all(not pair.uses(i) or pair.linear(i) is not None for i in indices)


def collapse_kernel(kernel: KernelOp) -> None:
    """Merge all pairs of a kernel that can be merged."""
    ops = [op for op in kernel.block.ops if isinstance(op, StructuredOp)]
    if len(ops) + 1 != len(list(kernel.block.ops)):
        return
    for op in ops:
        _drop_units(op)
    refused: set[tuple[str, str]] = set()
    while (plan := _next_plan(ops, refused)) is not None:
        carry_out(plan)
    reshape_around(kernel)


def carry_out(plan: Plan) -> None:
    """Merge the plan's dims; `reshape_around` the kernel is to follow."""
    for op, walks in plan.walks.items():
        _rewrite(op, plan.pair, walks)
    for tensor, axis in plan.axes.items():
        if axis is not None:
            _merge_type(tensor, axis)


def _next_plan(
    ops: Sequence[StructuredOp], refused: set[tuple[str, str]]
) -> Plan | None:
    for op in ops:
        names, extents = op.dim_names, op.extents
        for outer, inner in pairwise(names):
            if (outer, inner) in refused:
                continue
            plan = plan_merge(ops, Pair(outer, inner, extents[inner]))
            if plan is not None:
                return plan
            refused.add((outer, inner))
    return None


def _drop_units(op: StructuredOp) -> None:
    """Take dims of one index out of the space."""
    units: dict[str, Dim] = {d: 0 for d, size in op.extents.items() if size == 1}
    special = op.dims_of_kind(Iterator.SCAN) + op.dims_of_kind(Iterator.SORT)
    units = {d: 0 for d in units if d not in special}
    kept = [entry for entry in op.space if entry[0] not in units]
    if not units or not kept:
        return
    names = [name for name, _, _ in kept]
    inputs = [access.substitute(units, names) for access in op.in_maps]
    outputs = [access.substitute(units, names) for access in op.out_maps]
    _set_space(op, kept)
    _set_maps(op, inputs, outputs)
    _substitute_indices(op, units)


def _rewrite(op: StructuredOp, pair: Pair, walks: Sequence[Walk]) -> None:
    extents = op.extents
    space: list[tuple[str, Dim, Iterator]] = []
    for name, size, kind in op.space:
        if name == pair.outer:
            space.append((pair.merged, size * extents[pair.inner], kind))
        elif name != pair.inner:
            space.append((name, size, kind))
    _set_space(op, space)
    maps = [walk.access for walk in walks]
    _set_maps(op, maps[: len(op.inputs)], maps[len(op.inputs) :])
    for inner in op.block.ops:
        if isinstance(inner, IndexOp) and pair.uses(inner.value):
            inner.properties["expression"] = StringAttr(str(pair.linear(inner.value)))


def _set_space(op: StructuredOp, space: Sequence[tuple[str, Dim, Iterator]]) -> None:
    op.properties["dims"] = ArrayAttr(StringAttr(name) for name, _, _ in space)
    op.properties["sizes"] = DimsAttr([size for _, size, _ in space])
    op.properties["iterators"] = ArrayAttr(StringAttr(kind) for _, _, kind in space)


def _set_maps(
    op: StructuredOp, inputs: Sequence[AccessMap], outputs: Sequence[AccessMap]
) -> None:
    op.properties["input_maps"] = ArrayAttr(AccessAttr(m) for m in inputs)
    op.properties["output_maps"] = ArrayAttr(AccessAttr(m) for m in outputs)


def _substitute_indices(op: StructuredOp, values: dict[str, Dim]) -> None:
    for inner in op.block.ops:
        if isinstance(inner, IndexOp):
            text = str(substitute(inner.value, values))
            inner.properties["expression"] = StringAttr(text)


def _merge_type(tensor: SSAValue, axis: int) -> None:
    shape = list(dims_of(tensor))
    shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
    kind = tensor_type(shape, element_of(tensor))
    Rewriter.replace_value_with_new_type(tensor, kind)


def reshape_around(kernel: KernelOp) -> None:
    """Give the kernel operands and results of the types that its body has now."""
    for argument in list(kernel.block.args):
        if argument.type != kernel.inputs[argument.index].type:
            _reshape_input(kernel, argument)
    for position, value in enumerate(kernel.yielded):
        if kernel.outputs[position].type != value.type:
            _reshape_output(kernel, position)


def _reshape_input(kernel: KernelOp, argument: BlockArgument) -> None:
    source = kernel.inputs[argument.index]
    reshaped = ReshapeOp(source, dims_of(argument))
    stamp(reshaped, kernel.location)
    Rewriter.insert_op(reshaped, InsertPoint.before(kernel))
    kernel.operands[argument.index] = reshaped.results[0]


def _reshape_output(kernel: KernelOp, position: int) -> None:
    old = dims_of(kernel.outputs[position])
    kind = kernel.yielded[position].type
    result = Rewriter.replace_value_with_new_type(kernel.outputs[position], kind)
    uses = list(result.uses)
    back = ReshapeOp(result, old)
    stamp(back, kernel.location)
    Rewriter.insert_op(back, InsertPoint.after(kernel))
    for use in uses:
        use.operation.operands[use.index] = back.results[0]


@dataclass(frozen=True)
class CollapseDimsPass(ModulePass):
    """Merge dims in all kernels of a module."""

    name = "collapse-dims"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite the kernels and insert reshapes around them."""
        for kernel in [one for one in op.walk() if isinstance(one, KernelOp)]:
            collapse_kernel(kernel)
