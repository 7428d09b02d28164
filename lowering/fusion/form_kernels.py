"""Partition the graph into kernels.

Input invariant: `nn` ops in blocks. Output: each op that a kernel can hold stands in a
`fusion.kernel`, one launch each; constants, reshapes of what is in memory, control flow
and host work stay outside. A kernel's `fusion.reasons` say what did not join it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects.engine import CopyOp
from stepwell.dialects.fusion import KernelOp, YieldOp
from stepwell.dialects.provenance import fused_location

from .decompose.elementwise import nn_names
from .insert_pieces import insert_pieces
from .names import kernel_name
from .partition import Partitioner, Unit
from .roles import Role

BARRIERS = nn_names(
    "bind_symbols nonzero unique compress non_max_suppression if loop scan"
)
"""Ops after which a symbol may have its value: no kernel reaches across them."""


@dataclass(frozen=True)
class FormKernelsPass(ModulePass):
    """Put the ops of every block into kernels."""

    name = "form-kernels"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite all blocks, the innermost first."""
        blocks = [
            block
            for inner in op.walk(reverse=True)
            for region in inner.regions
            for block in region.blocks
            if not isinstance(inner, ModuleOp | KernelOp)
        ]
        for block in blocks:
            form_kernels_in(block)


def form_kernels_in(block: Block) -> None:
    """Replace the ops of one block by kernels."""
    insert_pieces(block)
    for stretch in _stretches(block):
        members = set(stretch)
        live = [
            result
            for op in stretch
            for result in op.results
            if any(
                _outermost(use.operation, block) not in members | {None}
                for use in result.uses
            )
        ]
        end = stretch[-1].next_op
        units = Partitioner(stretch).run(live)
        for unit in units:
            _emit(unit, block, end)
        _erase_dead(stretch)


def _stretches(block: Block) -> list[list[Operation]]:
    """The ops of the block up to its terminator, cut behind each barrier."""
    found: list[list[Operation]] = [[]]
    for op in block.ops:
        if op is block.last_op:
            break
        found[-1].append(op)
        if op.name in BARRIERS:
            found.append([])
    return [stretch for stretch in found if stretch]


def _outermost(op: Operation, block: Block) -> Operation | None:
    """The op of `block` that `op` is, or stands in; None for a detached op."""
    current: Operation | None = op
    while current is not None and current.parent is not block:
        current = current.parent_op()
    return current


def _emit(unit: Unit, block: Block, end: Operation | None) -> None:
    """Move or outline a unit to the end of the stretch."""
    if unit.role is Role.SCATTER:
        _place(_copy_target(unit), block, end)
    if unit.is_kernel:
        _place(outline(unit), block, end)
        return
    (op,) = unit.ops
    op.detach()
    _place(op, block, end)


def _copy_target(unit: Unit) -> CopyOp:
    """A copy of the tensor that a scatter writes into."""
    (op,) = unit.ops
    copy = CopyOp(op.operands[0])
    copy.location = op.location
    op.operands[0] = copy.output
    return copy


def _place(op: Operation, block: Block, end: Operation | None) -> None:
    if end is None:
        block.add_op(op)
    else:
        block.insert_op_before(op, end)


def outline(unit: Unit) -> KernelOp:
    """The kernel of a unit; users of the unit's ops use its results from now on."""
    members = [*unit.pulled, *unit.ops]
    inside = {result for op in members for result in op.results}
    inputs = list(
        dict.fromkeys(
            value for op in members for value in op.operands if value not in inside
        )
    )
    own = set(unit.ops)
    outputs = [
        result
        for op in unit.ops
        for result in op.results
        if any(use.operation not in own for use in result.uses)
    ]
    kernel = KernelOp(
        kernel_name(unit.ops),
        inputs,
        [value.type for value in outputs],
        reasons=unit.reasons,
        ties=_ties(unit, inputs, outputs),
    )
    kernel.location = fused_location(*unit.ops)
    _fill(kernel, members, inputs, outputs)
    for old, new in zip(outputs, kernel.results, strict=True):
        new.name_hint = old.name_hint
        old.replace_uses_with_if(new, lambda use: use.operation not in own)
    return kernel


def _ties(
    unit: Unit, inputs: Sequence[SSAValue], outputs: Sequence[SSAValue]
) -> list[tuple[int, int]]:
    """The results that are written into an input's memory."""
    last = unit.ops[-1]
    if unit.role not in (Role.SCATTER, Role.INSERT):
        return []
    dest = last.operands[0 if unit.role is Role.SCATTER else 1]
    return [(outputs.index(last.results[0]), inputs.index(dest))]


def _fill(
    kernel: KernelOp,
    members: Sequence[Operation],
    inputs: Sequence[SSAValue],
    outputs: Sequence[SSAValue],
) -> None:
    """Clone `members` into the kernel's body."""
    values: dict[SSAValue, SSAValue] = dict(zip(inputs, kernel.block.args, strict=True))
    for outer, inner in values.items():
        inner.name_hint = outer.name_hint
    for op in members:
        copy = op.clone(values)
        copy.location = op.location
        kernel.block.add_op(copy)
    kernel.block.add_op(YieldOp(*(values[value] for value in outputs)))


def _erase_dead(ops: Iterable[Operation]) -> None:
    """Erase what now stands in kernels: ops without users, the last ones first."""
    for op in reversed(list(ops)):
        if op.results and op.parent is not None:
            if any(result.first_use is not None for result in op.results):
                continue
            is_ours = op.name.startswith(("nn.", "fusion.insert"))
            if is_ours and not op.regions:
                op.detach()
                op.erase()
