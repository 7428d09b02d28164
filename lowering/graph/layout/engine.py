"""Values with a permuted twin, and the walk that rewrites their users.

A *twin* of a value is another value that holds the same elements with its dims in
another order: `value == transpose(twin.source, twin.perm)`. An op whose operands have
twins of one order is computed on the sources instead, and its result gets a twin in
turn; the transpose back is made but stays unused when all users move too. One forward
walk so carries every transpose down to where it cancels or is really needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.context import Explain
from stepwell.dialects.shapes import dims_of, element_of, tensor_type
from stepwell.dialects.weights import WeightStore
from stepwell.lowering.graph.dce import erase_dead_ops
from stepwell.lowering.rewriting import Outcome, Rewriter

Perm = tuple[int, ...]


@dataclass(frozen=True)
class Twin:
    """`value == transpose(source, perm)`.

    A sticky twin comes from an op that computes in this order for speed; one that is
    not comes from a transpose in the model, which is only worth moving if it cancels.
    """

    source: SSAValue
    perm: Perm
    sticky: bool


Handler = Callable[[Any, "Walk"], Outcome]
"""Moves an op if it can; returns why it declined, or `None`."""
Handlers = Mapping[type[Operation], Handler]


def inverse(perm: Sequence[int]) -> Perm:
    """The permutation that undoes `perm`."""
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def compose(first: Sequence[int], second: Sequence[int]) -> Perm:
    """The permutation of `transpose(transpose(x, first), second)`."""
    return tuple(first[axis] for axis in second)


def to_first(rank: int) -> Perm:
    """From channels last to channels first."""
    return (0, rank - 1, *range(1, rank - 1))


@dataclass
class Walk:
    """One forward walk over a module.

    `handlers` maps op types to functions that may call `finish` to move the op; a
    handler that declines returns a reason or `None`.
    """

    handlers: Handlers
    weights: WeightStore
    explain: Explain | None = None
    twins: dict[SSAValue, Twin] = field(default_factory=dict[SSAValue, Twin])
    rewriter: Rewriter = field(init=False)

    def run(self, module: ModuleOp) -> None:
        """Walk the module, then erase the transposes that nobody needs."""
        for block in module.body.blocks:
            self.visit(block)
        erase_dead_ops(module.body)

    def visit(self, block: Block) -> None:
        """Walk `block` and the blocks inside it."""
        for op in list(block.ops):
            for region in op.regions:
                for nested in region.blocks:
                    self.visit(nested)
            handler = self.handlers.get(type(op))
            if handler is None:
                continue
            self.rewriter = Rewriter(op, self.weights)
            reason = handler(op, self)
            if reason is not None and self.explain is not None:
                self.explain(op, handler.__name__.replace("_", "-"), reason)

    def twin(self, value: SSAValue) -> Twin | None:
        """The twin of `value`, if it has one."""
        return self.twins.get(value)

    def ordered(self, value: SSAValue, perm: Perm) -> SSAValue:
        """`value` as the source of a twin with `perm`: reused, or transposed now.

        A value of lower rank broadcasts: it is first given leading dims of 1.
        """
        if all(dim == 1 for dim in dims_of(value)):
            return value
        order = inverse(perm)
        if (array := self.rewriter.array(value)) is not None:
            array = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            return self.rewriter.constant(array.transpose(order))
        if (twin := self.twin(value)) is not None:
            if twin.perm == perm:
                return twin.source
            if len(twin.perm) == len(perm):
                value, order = twin.source, compose(twin.perm, order)
        if len(dims_of(value)) < len(perm):
            missing = len(perm) - len(dims_of(value))
            dims = (*[1] * missing, *dims_of(value))
            value = self.rewriter.emit(nn.ReshapeOp(value, dims))
        if order == tuple(sorted(order)):
            return value
        return self.rewriter.emit(nn.TransposeOp(value, perm=order))

    def finish(self, op: Operation, new: Operation, perm: Perm, sticky: bool) -> None:
        """Replace the one result of `op` by `new`'s, whose dims are in twin order."""
        source = self.rewriter.emit(new)
        back = self.rewriter.emit(nn.TransposeOp(source, perm=perm))
        self.replace(op, back)
        self.twins[back] = Twin(source, perm, sticky)

    def replace(self, op: Operation, value: SSAValue) -> None:
        """Replace the one result of `op` by `value` and erase the op."""
        old = op.results[0]
        value.name_hint = value.name_hint or old.name_hint
        old.replace_all_uses_with(value)
        op.detach()
        op.erase()


def permuted_type(value: SSAValue, perm: Perm) -> Any:
    """The type of the source of a twin of `value` with `perm`."""
    dims = dims_of(value)
    return tensor_type([dims[axis] for axis in inverse(perm)], element_of(value))


def permuted(items: Sequence[Any], perm: Perm) -> list[Any]:
    """Per-dim parameters of an op, in the order of the twin's source."""
    return [items[axis] for axis in inverse(perm)]
