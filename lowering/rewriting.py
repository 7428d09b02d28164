"""The greedy pattern driver of all graph passes.

A pattern is a function of one op and a rewriter. It checks its guards first and mutates
last; its docstring shows the IR before and after. It returns `None` when it rewrote or
when the op is none of its business, and a reason when it recognised the op and still
declined: the reason is kept when an explanation was asked for.

Every op that a pattern makes gets the location of what it replaces: the matched op's,
fused with those of the ops named in `Rewriter.absorb`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.builder import InsertOpInvT
from xdsl.context import Context
from xdsl.dialects.builtin import LocationAttr, ModuleOp, UnknownLoc
from xdsl.ir import Operation, Region, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriterListener
from xdsl.rewriter import InsertPoint
from xdsl.transforms.dead_code_elimination import is_trivially_dead
from xdsl.utils.worklist import Worklist

from stepwell.dialects.context import Explain, StepwellContext
from stepwell.dialects.provenance import fuse_locations
from stepwell.errors import CompileError

Outcome = str | None
"""`None`, or why a pattern that recognised the op declined to rewrite it."""


class Rewriter(PatternRewriter):
    """xDSL's rewriter, with locations: no new op is left without a source."""

    location: LocationAttr = UnknownLoc()

    def absorb(self, *ops: Operation) -> None:
        """Count `ops` among what the next new ops replace."""
        self.location = fuse_locations(self.location, *(op.location for op in ops))

    def insert(
        self, op: InsertOpInvT, insertion_point: InsertPoint | None = None
    ) -> InsertOpInvT:
        """Insert `op` (one or several) and stamp those without a location."""
        for new in (op,) if isinstance(op, Operation) else op:
            stamp(new, self.location)
        return super().insert(op, insertion_point)


def stamp(op: Operation, location: LocationAttr) -> None:
    """Give `location` to `op` and the ops inside it that have none of their own."""
    for inner in op.walk() if op.regions else (op,):
        if isinstance(inner.location, UnknownLoc):
            inner.location = location


@dataclass(frozen=True)
class Pattern:
    """A rewrite rooted at ops of the exact types `roots`."""

    roots: tuple[type[Operation], ...]
    rewrite: Callable[[Any, Rewriter], Outcome]

    @property
    def name(self) -> str:
        """The function's name, with dashes."""
        return self.rewrite.__name__.replace("_", "-")


def pattern(
    *roots: type[Operation],
) -> Callable[[Callable[[Any, Rewriter], Outcome]], Pattern]:
    """Make a function a `Pattern` rooted at ops of types `roots`."""
    return lambda function: Pattern(roots, function)


class GreedyDriver:
    """Applies patterns until none fires, and erases ops whose results lost all uses.

    Only ops of the patterns' root types are visited, so a pass costs what it looks at.

    Args:
        patterns: tried in order at each op.
        explain: where reasons of declined patterns go.
    """

    def __init__(
        self, patterns: Iterable[Pattern], explain: Explain | None = None
    ) -> None:
        self.explain = explain
        self.changed = False
        self._table: dict[type[Operation], list[Pattern]] = {}
        for one in patterns:
            for root in one.roots:
                self._table.setdefault(root, []).append(one)
        self._worklist = Worklist()
        self._listener = PatternRewriterListener(
            operation_insertion_handler=[self._push],
            operation_removal_handler=[self._removed],
            operation_modification_handler=[self._push],
            operation_replacement_handler=[self._replaced],
        )

    def run(self, region: Region) -> bool:
        """Rewrite everything inside `region` to a fixed point; say whether it changed.

        Raises `CompileError` when the patterns undo one another forever.
        """
        changed = False
        for _ in range(MAX_SWEEPS):
            if not self._sweep(region):
                return changed
            changed = True
        raise CompileError(
            f"patterns did not settle after {MAX_SWEEPS} sweeps over the module"
        )

    def _sweep(self, region: Region) -> bool:
        roots = [op for op in region.walk() if type(op) in self._table]
        for op in reversed(roots):
            self._worklist.push(op)
        budget = MAX_REWRITES_PER_OP * (len(roots) + 100)
        changed = False
        while self._worklist:
            if self._visit(self._worklist.pop()):
                changed = True
                budget -= 1
                if budget == 0:
                    raise CompileError("patterns rewrite one another without end")
        return changed

    def _visit(self, op: Operation) -> bool:
        if op.parent is None:
            return False
        rewriter = Rewriter(op)
        rewriter.extend_from_listener(self._listener)
        rewriter.location = op.location
        if is_trivially_dead(op):
            rewriter.erase(op)
            return True
        for one in self._table.get(type(op), ()):
            reason = one.rewrite(op, rewriter)
            if rewriter.has_done_action:
                return True
            if reason is not None and self.explain is not None:
                self.explain(op, one.name, reason)
        return False

    def _push(self, op: Operation) -> None:
        if type(op) in self._table:
            self._worklist.push(op)

    def _removed(self, op: Operation) -> None:
        for operand in op.operands:
            owner = operand.owner
            last = all(use.operation is op for use in operand.uses)
            if last and isinstance(owner, Operation):
                self._worklist.push(owner)
        for inner in op.walk():
            self._worklist.remove(inner)

    def _replaced(self, op: Operation, values: Sequence[SSAValue | None]) -> None:
        for result in op.results:
            for use in result.uses:
                self._push(use.operation)


MAX_SWEEPS = 64
MAX_REWRITES_PER_OP = 64


def apply_patterns(
    module: ModuleOp, patterns: Iterable[Pattern], context: Context
) -> bool:
    """Run `patterns` over `module` to a fixed point; say whether anything changed.

    Reasons of declined patterns go to `context.explain` when the context has one.
    """
    explain = context.explain if isinstance(context, StepwellContext) else None
    return GreedyDriver(patterns, explain).run(module.body)
