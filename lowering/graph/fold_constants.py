"""Compute at build time what depends on constants only."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.traits import is_side_effect_free

from stepwell.dialects import nn
from stepwell.dialects.context import Explain, weights_of
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.semantics import fold_op, has_semantics
from stepwell.dialects.semantics.environment import Array
from stepwell.dialects.shapes import element_of, is_static, num_elements
from stepwell.dialects.weights import WeightStore
from stepwell.errors import ShapeError
from stepwell.lowering.rewriting import explain_of

from .dce import erase_dead_ops


@dataclass
class Folder:
    """The values known so far; only those that other ops read become constants."""

    weights: WeightStore
    limit: int
    explain: Explain | None
    known: dict[SSAValue, Array] = field(default_factory=dict[SSAValue, Array])

    def fold_block(self, block: Block) -> None:
        """Evaluate the ops of `block` and of the blocks inside it."""
        for op in list(block.ops):
            for region in op.regions:
                for nested in region.blocks:
                    self.fold_block(nested)
            if self.can_fold(op):
                self.evaluate(op)
        for op in list(block.ops):
            self.materialize(op)

    def can_fold(self, op: Operation) -> bool:
        """Whether `op` is pure, has constant operands, and is worth folding."""
        if isinstance(op, nn.ConstantOp) or op.regions or not op.results:
            return False
        if not is_side_effect_free(op) or not has_semantics(op):
            return False
        if any(self.value(operand) is None for operand in op.operands):
            return False
        return all(is_static(result) for result in op.results) and self.is_small(op)

    def is_small(self, op: Operation) -> bool:
        """Whether the results take no more memory than the operands, or the limit."""
        size = sum(byte_size(result) for result in op.results)
        operands = {value: byte_size(value) for value in op.operands}
        if size <= max(self.limit, sum(operands.values())) or is_weight(op):
            return True
        if self.explain is not None:
            self.explain(op, "fold-constants", f"the result would take {size} bytes")
        return False

    def value(self, value: SSAValue) -> Array | None:
        """What `value` holds, if it is known."""
        if value not in self.known:
            array = nn.constant_value(value, self.weights)
            if array is None:
                return None
            self.known[value] = array
        return self.known[value]

    def evaluate(self, op: Operation) -> None:
        """Remember the results of `op`; one that depends on symbols stays an op."""
        arrays = [self.known[operand] for operand in op.operands]
        try:
            results = fold_op(op, arrays, self.weights)
        except ShapeError as error:
            if self.explain is not None:
                self.explain(op, "fold-constants", error.summary)
            return
        self.known.update(zip(op.results, results, strict=True))

    def materialize(self, op: Operation) -> None:
        """Make constants of the known results of `op` that an unfolded op reads."""
        if isinstance(op, nn.ConstantOp):
            return
        for result in op.results:
            if result not in self.known:
                continue
            if not all(self.is_folded(use.operation) for use in result.uses):
                array = self.known[result]
                constant = nn.make_constant(array, self.weights, op.location)
                constant.result.name_hint = result.name_hint
                Rewriter.insert_op(constant, InsertPoint.before(op))
                result.replace_all_uses_with(constant.result)

    def is_folded(self, op: Operation) -> bool:
        """Whether the results of `op` are all known."""
        return bool(op.results) and all(result in self.known for result in op.results)


def is_weight(op: Operation) -> bool:
    """Whether all users of `op` multiply by it: a model's weights are that large.

    Transposes and reshapes on the way are looked through.
    """
    uses = [use for result in op.results for use in result.uses]
    return bool(uses) and all(
        is_weight(use.operation)
        if isinstance(use.operation, nn.TransposeOp | nn.ReshapeOp)
        else isinstance(use.operation, nn.ConvOp | nn.ConvTransposeOp | nn.MatmulOp)
        and use.index == 1
        for use in uses
    )


def byte_size(value: SSAValue) -> int:
    """Bytes of a static tensor; 0 for another value."""
    count = num_elements(value)
    itemsize = numpy_dtype(element_of(value)).itemsize
    return count * itemsize if isinstance(count, int) else 0


@dataclass(frozen=True)
class FoldConstantsPass(ModulePass):
    """Constant folding through the reference interpreter.

    An op is folded if its results take no more bytes than its operands, or than
    `limit`, or if they are weights: folding never makes a model much larger. New large
    constants go to the weight store; intermediate ones are never written.
    """

    name = "fold-constants"

    limit: int = 1 << 16

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Fold in one forward walk, then erase what became dead."""
        folder = Folder(weights_of(ctx), self.limit, explain_of(ctx))
        for block in op.body.blocks:
            folder.fold_block(block)
        erase_dead_ops(op.body)
