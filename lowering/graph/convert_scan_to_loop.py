"""Run scans as counted loops that read and stack one row a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import nn
from stepwell.dialects.shapes import dims_of
from stepwell.lowering.rewriting import Outcome, Rewriter, apply_patterns, pattern

from .loops import Emitter, counted_down, counted_loop, reversed_along, row_at
from .matching import rank_of


@pattern(nn.ScanOp)
def convert_scan_to_loop(op: nn.ScanOp, rewriter: Rewriter) -> Outcome:
    """
    ```mlir
    nn.scan %state, %x {^bb0(%s, %row)}
    ->   nn.loop %n, %state {^bb0(%i, %s): %row = nn.gather %x, %i}
    ```
    Reversed inputs are read from the end; outputs are moved or reversed behind it.
    """
    axes = [
        axis % rank_of(x)
        for axis, x in zip(op.value("input_axes"), op.inputs, strict=True)
    ]
    steps = dims_of(op.inputs[0])[axes[0]]
    states = len(op.initial)
    source = op.body.block

    def body(
        emitter: Emitter, index: SSAValue, carried: Sequence[SSAValue]
    ) -> tuple[list[SSAValue], list[SSAValue]]:
        rows: list[SSAValue] = []
        for x, axis, backwards in zip(
            op.inputs, axes, op.value("reverse_inputs"), strict=True
        ):
            at = counted_down(emitter, index, steps) if backwards else index
            rows.append(row_at(emitter, x, at, axis))
        for argument, value in zip(source.args, [*carried, *rows], strict=True):
            argument.replace_all_uses_with(value)
        *ops, end = list(source.ops)
        results = list(end.operands)
        end.detach()
        end.erase()
        for inner in ops:
            inner.detach()
            emitter.block.add_op(inner)
        return results[:states], results[states:]

    loop = counted_loop(steps, list(op.initial), body, rewriter)
    results: list[SSAValue] = list(loop.results[:states])
    places = zip(
        loop.results[states:],
        op.value("output_axes"),
        op.value("reverse_outputs"),
        strict=True,
    )
    for value, axis, backwards in places:
        if backwards:
            value = reversed_along(value, 0, rewriter)
        rank = rank_of(value)
        order = list(range(1, rank))
        order.insert(axis % rank, 0)
        is_moved = order != list(range(rank))
        results.append(
            rewriter.emit(nn.TransposeOp(value, order)) if is_moved else value
        )
    rewriter.replace(op, (), results)
    return None


@dataclass(frozen=True)
class ConvertScanToLoopPass(ModulePass):
    """Replace every `nn.scan` by an `nn.loop`: the engine knows one kind of loop."""

    name = "convert-scan-to-loop"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert from the outermost scan inwards."""
        apply_patterns(op, [convert_scan_to_loop], ctx)
