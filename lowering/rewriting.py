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

import numpy as np
from xdsl.builder import InsertOpInvT
from xdsl.context import Context
from xdsl.dialects.builtin import LocationAttr, ModuleOp, UnknownLoc
from xdsl.ir import Operation, Region, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriterListener
from xdsl.rewriter import InsertPoint
from xdsl.rewriter import Rewriter as IRRewriter
from xdsl.transforms.dead_code_elimination import is_trivially_dead
from xdsl.utils.worklist import Worklist

from stepwell.dialects.context import Explain, StepwellContext, weights_of
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.nn import ConstantOp, constant_value, make_constant
from stepwell.dialects.provenance import fuse_locations
from stepwell.dialects.shapes import element_of
from stepwell.dialects.weights import WeightStore
from stepwell.errors import CompileError

from .constants import constant_scalar

Outcome = str | None
"""`None`, or why a pattern that recognised the op declined to rewrite it."""


class Rewriter(PatternRewriter):
    """xDSL's rewriter, with locations and constants: no new op is without a source."""

    def __init__(self, op: Operation, weights: WeightStore) -> None:
        super().__init__(op)
        self.op = op
        self.location: LocationAttr = op.location
        self.weights = weights

    def absorb(self, *ops: Operation) -> None:
        """Count `ops` among what the next new ops replace.

        They stand in the order from the matched op up to its producers; their names
        come in the order of the data.
        """
        locations = (op.location for op in reversed(ops))
        self.location = fuse_locations(*locations, self.location)

    def absorb_down_to(self, *stops: SSAValue) -> None:
        """Count all ops between the matched one and `stops` among what is replaced.

        Every path up from the matched op must end in one of `stops` or a constant.
        """
        between = dict[Operation, None]()
        pending = [self.op]
        while pending:
            for operand in pending.pop(0).operands:
                owner = operand.owner
                if operand in stops or owner in between:
                    continue
                if isinstance(owner, Operation) and not isinstance(owner, ConstantOp):
                    between[owner] = None
                    pending.append(owner)
        self.absorb(*between)

    def insert(
        self, op: InsertOpInvT, insertion_point: InsertPoint | None = None
    ) -> InsertOpInvT:
        """Insert `op` (one or several) and stamp those without a location."""
        for new in (op,) if isinstance(op, Operation) else op:
            stamp(new, self.location)
        return super().insert(op, insertion_point)

    def emit(self, op: Operation) -> SSAValue:
        """Insert `op` before the matched one and return its first result."""
        return self.insert(op).results[0]

    def constant(self, array: Any, like: SSAValue | None = None) -> SSAValue:
        """A constant, with the element type of `like` if that is given."""
        dtype = None if like is None else numpy_dtype(element_of(like))
        return self.emit(make_constant(np.asarray(array, dtype), self.weights))

    def array(self, value: SSAValue) -> np.ndarray[Any, Any] | None:
        """What `value` holds, read-only, if it is a constant."""
        return constant_value(value, self.weights)

    def scalar(self, value: SSAValue) -> Any:
        """The one number that all elements of a constant equal, else `None`."""
        return constant_scalar(value, self.weights)

    def replace_with(self, new: SSAValue | Operation) -> None:
        """Replace the matched op, which has one result, by a value or a new op.

        The result keeps its type: users were checked against it.
        """
        old = self.op.results[0]
        value = self.emit(new) if isinstance(new, Operation) else new
        if value.type != old.type and value.first_use is None:
            value = IRRewriter.replace_value_with_new_type(value, old.type)
        self.replace(self.op, (), [value])


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
        weights: where large constants are read and put.
        explain: where reasons of declined patterns go.
    """

    def __init__(
        self,
        patterns: Iterable[Pattern],
        weights: WeightStore,
        explain: Explain | None = None,
    ) -> None:
        self.weights = weights
        self.explain = explain
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
        rewriter = Rewriter(op, self.weights)
        rewriter.extend_from_listener(self._listener)
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
    driver = GreedyDriver(patterns, weights_of(context), explain_of(context))
    return driver.run(module.body)


def explain_of(context: Context) -> Explain | None:
    """Where the reasons of declined patterns go, if anybody asked for them."""
    return context.explain if isinstance(context, StepwellContext) else None
