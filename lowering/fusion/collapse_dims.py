"""Merge dims that nothing in a kernel tells apart.

```
fusion.generic [n: 2, p: 7, q: 7, c: 64] ins(%x[n, p, q, c], %b[c]) outs([n, p, q, c])
```
walks over 98 rows of 64: `n, p, q` become one dim, and so do the tensors' dims that
they index. Outside the kernel a tensor is seen under its merged shape through
`nn.reshape`, which costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import BlockArgument, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects.access import AccessMap
from stepwell.dialects.dims import Dim, product, symbol, symbols_of
from stepwell.dialects.fusion import IndexOp, KernelOp, YieldOp
from stepwell.dialects.nn.constant import ConstantOp
from stepwell.dialects.nn.shape import ReshapeOp
from stepwell.dialects.quasi_affine import as_symbol
from stepwell.dialects.shapes import dims_of, element_of, tensor_type

from .nest import Nest, structured_ops


def collapse_dims(kernel: KernelOp) -> KernelOp:
    """Merge dims of a kernel of structured ops; the kernel in its place."""
    if len(structured_ops(kernel)) + 1 != len(list(kernel.block.ops)):
        return kernel
    collapse = _Collapse.of(kernel)
    changed = False
    while (pair := collapse.next_pair()) is not None:
        collapse.merge(*pair)
        changed = True
    return collapse.build() if changed else kernel


@dataclass(frozen=True)
class _Access:
    """One tensor of one op, and how it is walked; `slot` finds it again."""

    nest: Nest
    value: SSAValue
    access: AccessMap
    is_output: bool
    position: int


@dataclass
class _Collapse:
    """A kernel's ops taken apart, and the shapes its tensors have by now."""

    kernel: KernelOp
    nests: list[Nest]
    shapes: dict[SSAValue, list[Dim]]
    refused: set[tuple[str, str]]

    @staticmethod
    def of(kernel: KernelOp) -> _Collapse:
        """Take the kernel apart."""
        nests = [Nest.of(op) for op in structured_ops(kernel)]
        values = [*kernel.block.args, *(r for n in nests for r in n.op.results)]
        shapes = {value: list(dims_of(value)) for value in values}
        return _Collapse(kernel, nests, shapes, set())

    def next_pair(self) -> tuple[str, str] | None:
        """Two neighbouring dims that may be merged, the innermost first."""
        for nest in self.nests:
            for left, right in reversed(list(zip(nest.names, nest.names[1:]))):
                if (left, right) in self.refused:
                    continue
                if self._may_merge(left, right):
                    return left, right
                self.refused.add((left, right))
        return None

    def merge(self, left: str, right: str) -> None:
        """Replace the two dims by one, in ops, maps and tensors."""
        merged = f"{left}_{right}"
        ranges = self._ranges(left, right)
        assert ranges is not None
        for nest in self.nests:
            if left not in nest.names:
                continue
            inputs = [
                _merged_map(m, left, right, merged, ranges.get(v))
                for v, m in zip(nest.inputs, nest.in_maps, strict=True)
            ]
            outputs = [
                _merged_map(m, left, right, merged, ranges.get(v))
                for v, m in zip(nest.op.results, nest.out_maps, strict=True)
            ]
            nest.space = _merged_space(nest, left, right, merged)
            nest.in_maps, nest.out_maps = inputs, outputs
            nest.changed = True
        for value, (first, last) in ranges.items():
            shape = self.shapes[value]
            shape[first : last + 1] = [product(shape[first : last + 1])]
        self.refused = {pair for pair in self.refused if not {left, right} & set(pair)}

    def build(self) -> KernelOp:
        """The kernel over merged tensors, with reshapes around it."""
        kernel = self.kernel
        inner: dict[SSAValue, SSAValue] = {}
        outer: list[SSAValue] = []
        for argument, value in zip(
            list(kernel.block.args), list(kernel.inputs), strict=True
        ):
            shape = self.shapes[argument]
            outer.append(_seen_as(value, shape, kernel))
            inner[argument] = _retyped(argument, shape)
        for nest in self.nests:
            nest.inputs = [inner.get(v, v) for v in nest.inputs]
            nest.dests = [inner.get(v, v) for v in nest.dests]
            old = list(nest.op.results)
            nest.types = [
                tensor_type(self.shapes[v], element_of(v)) for v in nest.op.results
            ]
            nest.changed = True
            inner |= dict(zip(old, nest.build().results, strict=True))
        return _rebuilt(kernel, outer)

    def _accesses(self) -> list[_Access]:
        found: list[_Access] = []
        for nest in self.nests:
            pairs = zip(nest.inputs, nest.in_maps, strict=True)
            found += [_Access(nest, v, m, False, n) for n, (v, m) in enumerate(pairs)]
            for n, (v, m) in enumerate(zip(nest.op.results, nest.out_maps)):
                found.append(_Access(nest, v, m, True, n))
                if nest.dests:
                    found.append(_Access(nest, nest.dests[n], m, True, n))
        return found

    def _may_merge(self, left: str, right: str) -> bool:
        for nest in self.nests:
            names = nest.names
            if (left in names) != (right in names):
                return False
            if left not in names:
                continue
            at = names.index(left)
            if names[at + 1 : at + 2] != (right,):
                return False
            if nest.space[at][2] is not nest.space[at + 1][2] or nest.space[at][
                2
            ] not in ("parallel", "reduction"):
                return False
            if _indexes(nest) & {left, right}:
                return False
        return self._ranges(left, right) is not None

    def _ranges(self, left: str, right: str) -> dict[SSAValue, tuple[int, int]] | None:
        """The tensor dims to merge per tensor, or None when some access forbids it."""
        ranges: dict[SSAValue, tuple[int, int]] = {}
        whole: set[SSAValue] = set()
        for one in self._accesses():
            extent = one.nest.extents.get(right, 1)
            found = _range_of(one.access, left, right, self.shapes[one.value], extent)
            if found is None:
                return None
            if found == ():
                whole.add(one.value)
            elif ranges.setdefault(one.value, found) != found:
                return None
        return None if whole & ranges.keys() else ranges


def _range_of(
    access: AccessMap, left: str, right: str, shape: Sequence[Dim], extent: Dim
) -> tuple[int, int] | tuple[()] | None:
    """The tensor dims that the two dims index alone; `()` when neither is used."""
    names = {left, right}
    if not access.used_dims & names:
        return ()
    users = [n for n, e in enumerate(access.results) if symbols_of(e) & names]
    if len(users) != 2 or [as_symbol(access.results[n]) for n in users] != [
        left,
        right,
    ]:
        return None
    others = [g.expr for g in access.guards]
    others += [e for i in access.indirects for e in i.index]
    if any(symbols_of(expr) & names for expr in others):
        return None
    first, last = users
    if any(size != 1 for size in shape[first + 1 : last]):
        return None
    return (first, last) if shape[last] == extent else None


def _merged_map(
    access: AccessMap,
    left: str,
    right: str,
    merged: str,
    found: tuple[int, int] | None,
) -> AccessMap:
    dims = _replaced(access.dims, left, right, merged)
    if found is None:
        return replace(access, dims=dims)
    first, last = found
    results = (
        *access.results[:first],
        symbol(merged),
        *access.results[last + 1 :],
    )
    return replace(access, dims=dims, results=results)


def _replaced(
    dims: tuple[str, ...], left: str, right: str, merged: str
) -> tuple[str, ...]:
    return tuple(merged if d == left else d for d in dims if d != right)


def _merged_space(nest: Nest, left: str, right: str, merged: str):  # pyright: ignore
    extents = nest.extents
    return [
        (merged, extents[left] * extents[right], kind)
        if name == left
        else (name, size, kind)
        for name, size, kind in nest.space
        if name != right
    ]


def _indexes(nest: Nest) -> frozenset[str]:
    """The dims whose values the body computes with."""
    found = (symbols_of(o.value) for o in nest.block.ops if isinstance(o, IndexOp))
    return frozenset().union(*found)


def _retyped(argument: BlockArgument, shape: Sequence[Dim]) -> SSAValue:
    if tuple(shape) == dims_of(argument):
        return argument
    kind = tensor_type(shape, element_of(argument))
    return Rewriter.replace_value_with_new_type(argument, kind)


def _seen_as(value: SSAValue, shape: Sequence[Dim], kernel: KernelOp) -> SSAValue:
    """`value` under another shape: a reshape, what it reshapes, or a constant."""
    if tuple(shape) == dims_of(value):
        return value
    source = value.owner
    if isinstance(source, ReshapeOp) and dims_of(source.operand) == tuple(shape):
        return source.operand
    op: Operation
    if isinstance(source, ConstantOp) and not isinstance(
        source.value_attr, DenseIntOrFPElementsAttr
    ):
        kind = tensor_type(shape, element_of(value))
        op = ConstantOp(source.value_attr, kind)
        op.location = source.location
    else:
        op = ReshapeOp(value, shape)
        op.location = kernel.location
    Rewriter.insert_op(op, InsertPoint.before(kernel))
    op.results[0].name_hint = value.name_hint
    return op.results[0]


def _rebuilt(kernel: KernelOp, inputs: Sequence[SSAValue]) -> KernelOp:
    last = kernel.block.last_op
    assert isinstance(last, YieldOp)
    made = KernelOp(
        kernel.kernel_name.data,
        inputs,
        [value.type for value in last.operands],
        Region(kernel.body.detach_block(0)),
        ties=kernel.tied,
        schedule=kernel.schedule,
    )
    made.attributes.update(kernel.attributes)
    made.location = kernel.location
    Rewriter.insert_op(made, InsertPoint.before(kernel))
    for old, new in zip(list(kernel.results), made.results, strict=True):
        new.name_hint = old.name_hint
        seen: SSAValue = new
        if old.type != new.type:
            shape = ReshapeOp(new, dims_of(old))
            shape.location = kernel.location
            Rewriter.insert_op(shape, InsertPoint.before(kernel))
            seen = shape.result
        old.replace_all_uses_with(seen)
    Rewriter.erase_op(kernel)
    return made
