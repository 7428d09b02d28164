"""Refine every type to what its op infers from its operands."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from stepwell.dialects import nn
from stepwell.dialects.provenance import location_names
from stepwell.dialects.shapes import Dim, dims_of, with_dims
from stepwell.errors import CompileError, ShapeError


def refine_block(block: Block) -> None:
    """Refine the results of the ops in `block`, producers first."""
    for op in block.ops:
        for region in op.regions:
            for nested in region.blocks:
                refine_block(nested)
        for index, kind in enumerate(inferred(op)):
            result = op.results[index]
            if (finer := refined(result.type, kind)) != result.type:
                Rewriter.replace_value_with_new_type(result, finer)
        if isinstance(op, FuncOp):
            refine_signature(op)


def inferred(op: Operation) -> list[Attribute]:
    """The result types of `op` by its own rule; of a branch, by what it yields."""
    if isinstance(op, nn.IfOp):
        sides = [nn.yielded(region) for region in op.regions]
        pairs = zip(*sides, strict=True)
        return [
            left if left == right else op_type
            for (left, right), op_type in zip(pairs, op.result_types, strict=True)
        ]
    try:
        return nn.infer_types(op)
    except ShapeError as error:
        raise CompileError(
            f"{op.name}: {error.summary}",
            notes=error.notes,
            where=", ".join(location_names(op)) or None,
        ) from None


def refined(old: Attribute, new: Attribute) -> Attribute:
    """`new` where it says more than `old`: a number says more than an expression."""
    if old == new or not isinstance(old, TensorType) or not isinstance(new, TensorType):
        return new
    pairs = zip(dims_of(old), dims_of(new), strict=True)
    return with_dims(new, [finer_dim(left, right) for left, right in pairs])


def finer_dim(old: Dim, new: Dim) -> Dim:
    """A number if either is one."""
    return old if isinstance(old, int) else new


def refine_signature(function: FuncOp) -> None:
    """Let the function's type say what it returns now."""
    last = function.body.blocks[-1].last_op if function.body.blocks else None
    if isinstance(last, ReturnOp):
        function.function_type = FunctionType.from_lists(
            list(function.function_type.inputs), [v.type for v in last.arguments]
        )


@dataclass(frozen=True)
class InferShapesPass(ModulePass):
    """Type inference over the whole module, in one walk."""

    name = "infer-shapes"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Refine all types; raise `CompileError` where operands do not fit together."""
        for block in op.body.blocks:
            refine_block(block)
