"""Check at run time what types only take to be equal: open dims that must agree."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import nn
from stepwell.dialects.nn.inference import Agreement, undecided_agreements
from stepwell.dialects.provenance import location_names
from stepwell.dialects.shapes import dims_of, is_static, symbols_of


@dataclass
class Asserter:
    """One function on its way: where its assertions go, and which there are."""

    entry: Block
    entry_symbols: set[str] = field(default_factory=set[str])

    def visit(self, block: Block, known: set[Agreement]) -> None:
        """Assert what the ops of a block need; `known` was asserted before it."""
        for op in list(block.ops):
            for region in op.regions:
                for nested in region.blocks:
                    self.visit(nested, set(known))
            for left, right, what in agreements(op):
                if (left, right, "") not in known:
                    known.add((left, right, ""))
                    self.assert_equal(op, (left, right, what))

    def assert_equal(self, op: Operation, agreement: Agreement) -> None:
        """Assert before `op`, or on entry if the sizes are known there."""
        left, right, what = agreement
        where = ", ".join(location_names(op)) or op.name
        message = f"{where}: {what} must be equal"
        new = nn.AssertDimsOp(left=(left,), right=(right,), message=message)
        new.location = op.location
        is_known = symbols_of(left) | symbols_of(right) <= self.entry_symbols
        point = InsertPoint.at_start(self.entry) if is_known else InsertPoint.before(op)
        Rewriter.insert_op(new, point)


def agreements(op: Operation) -> list[Agreement]:
    """The dims that the type rule of `op` takes to be equal without proof."""
    is_open = isinstance(op, nn.NnOp) and not all(map(is_static, op.operands))
    if not is_open or op.regions:
        return []
    with undecided_agreements() as found:
        nn.infer_types(op)
    return found


@dataclass(frozen=True)
class AssertDimsPass(ModulePass):
    """Dims that have to be equal and are not proved to be: one assertion each.

    A kernel reads its operands by the sizes of one of them. `x + y` of `tensor<?xf32>`
    with sizes `n` and `m` reads outside of `y` if `m < n`.

    Input: the level `nn` with inferred types.
    Output: the same, with `nn.assert_dims`, which later passes may prove and drop.
    """

    name = "assert-dims"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Add the assertions of every function."""
        for function in op.ops:
            if isinstance(function, FuncOp) and function.body.blocks:
                block = function.body.block
                symbols = {
                    name
                    for argument in block.args
                    for dim in dims_of(argument)
                    for name in symbols_of(dim)
                }
                Asserter(block, symbols).visit(block, set())
