"""Replace an op by an earlier equal one."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation
from xdsl.passes import ModulePass
from xdsl.traits import (
    ConstantLike,
    IsolatedFromAbove,
    IsTerminator,
    is_side_effect_free,
)

from stepwell.dialects.provenance import fuse_locations

Known = dict[Hashable, Operation]


def key_of(op: Operation) -> Hashable:
    """What two ops must share to compute the same: all but their location."""
    return (
        op.name,
        tuple(op.operands),
        tuple(op.result_types),
        tuple(sorted(op.properties.items())),
        tuple(sorted(op.attributes.items())),
    )


def is_candidate(op: Operation) -> bool:
    """Pure ops without regions; two draws of random numbers stay two."""
    return not op.regions and not op.has_trait(IsTerminator) and is_side_effect_free(op)


def merge(op: Operation, earlier: Operation) -> None:
    """Let `earlier` serve the users of `op`, and name both sources."""
    for result, replacement in zip(op.results, earlier.results, strict=True):
        result.replace_all_uses_with(replacement)
    if not op.has_trait(ConstantLike):
        earlier.location = fuse_locations(earlier.location, op.location)
    op.detach()
    op.erase()


def deduplicate(block: Block, known: Known) -> None:
    """Merge equal ops of `block`; `known` holds those of the blocks around it."""
    for op in list(block.ops):
        if is_candidate(op):
            earlier = known.setdefault(key_of(op), op)
            if earlier is not op:
                merge(op, earlier)
            continue
        inner = {} if op.has_trait(IsolatedFromAbove) else known
        for region in op.regions:
            for nested in region.blocks:
                deduplicate(nested, dict(inner))


@dataclass(frozen=True)
class CsePass(ModulePass):
    """Common subexpression elimination.

    An op in a nested region may be served by one outside of it, not the other way.
    """

    name = "cse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Merge equal ops in one forward walk."""
        for block in op.body.blocks:
            deduplicate(block, {})
