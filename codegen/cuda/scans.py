"""`tile.scan`: prefixes by the bits of the coordinate, the lowest first.

For each bit, blocks meet in pairs: the upper one's prefixes get the lower one's total,
and both get the total of the two. Where the bit is one of the register, both are in one
thread; of the lane, one shuffle away; of the warp, in shared memory. Prefixes within a
thread and those that come from other threads are kept apart until the end, so that a
shuffle serves all registers of a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from xdsl.dialects.builtin import i8
from xdsl.ir import Operation, SSAValue

from stepwell.codegen.llvm_types import element_of
from stepwell.codegen.scalars.elements import from_bytes, scratch_type, to_bytes
from stepwell.codegen.scalars.folds import Fold
from stepwell.dialects import tile
from stepwell.dialects.dtypes import bit_width
from stepwell.dialects.layouts import TileLayout
from stepwell.errors import CompileError

from .kernel import Kernel
from .registers import CARRIERS, Registers, scalars_of
from .shuffles import from_partner


@dataclass(frozen=True)
class Step:
    """One bit of the coordinate.

    Attributes:
        partner: for each register, the one whose coordinate differs in the bit; empty
            where a bit of the thread makes the difference.
        upper: for each register, whether it has the bit.
        thread: the bit of the thread's index.
    """

    partner: tuple[int, ...] = ()
    upper: tuple[bool, ...] = ()
    thread: int = 0


@lru_cache(maxsize=1024)
def steps_along(
    layout: TileLayout, dim: int
) -> tuple[tuple[Step, ...], list[list[int]]]:
    """The steps through the base of a layout, and the registers of each repeat.

    Raises:
        CompileError: a thread moves along this dim and another one at once.
    """
    width, extent = layout.base_extents[dim], layout.extents[dim]
    coordinates = np.stack(layout.coordinates)
    threads = coordinates.transpose(0, 1, 3, 2).reshape(*coordinates.shape[:2], -1)
    rows = {threads[:, r].tobytes(): r for r in reversed(range(layout.registers))}
    steps: list[Step] = []
    for bit in range(width.bit_length() - 1):
        steps.append(_step(threads, rows, dim, 1 << bit))
    blocks: list[list[int]] = [[] for _ in range(extent // width)]
    for register in range(layout.registers):
        blocks[int(threads[dim, register, 0]) // width].append(register)
    return tuple(steps), blocks


def _step(threads: np.ndarray, rows: dict[bytes, int], dim: int, value: int) -> Step:
    flipped = threads.copy()
    flipped[dim] ^= value
    found = [rows.get(flipped[:, r].tobytes()) for r in range(threads.shape[1])]
    if None not in found:
        upper = tuple(bool(threads[dim, r, 0] & value) for r in range(len(found)))
        return Step(tuple(r for r in found if r is not None), upper)
    index = np.arange(threads.shape[2])
    for bit in range(len(index).bit_length() - 1):
        if np.array_equal(threads[:, :, index ^ (1 << bit)], flipped):
            return Step(thread=bit)
    raise CompileError(
        "expected a layout whose threads move along one dim at a time",
        fix="convert the layout in front of the op",
    )


def scan(k: Kernel, op: Operation) -> None:
    """`tile.scan`."""
    assert isinstance(op, tile.ScanOp)
    held = k.registers(op.input)
    fold = Fold(k.b, op.kind.data, held.kind.element_type, CARRIERS)
    state = _Scan(k, op, fold, reverse=op.reverse is not None)
    values = [fold.widen(value) for value in scalars_of(k.b, held)]
    steps, blocks = steps_along(held.layout, op.dim.value.data)
    results = state.run(values, steps, blocks, exclusive=op.exclusive is not None)
    narrowed = tuple(fold.narrow(value) for value in results)
    k.bind(op.result, Registers(held.kind, narrowed))


class _Scan:
    """Per register: the prefix inside of the thread, that from others, the total."""

    def __init__(self, k: Kernel, op: Operation, fold: Fold, *, reverse: bool) -> None:
        self.k, self.op, self.fold, self.reverse = k, op, fold, reverse
        self.zero = fold.identity(1)
        self._known: dict[tuple[object, ...], SSAValue] = {}
        self._scratch: SSAValue | None = None

    def combine(self, a: SSAValue, c: SSAValue) -> SSAValue:
        """`a` folded with `c`, once for equal arguments."""
        if a is self.zero or c is self.zero:
            return c if a is self.zero else a
        return self._once(("fold", a, c), lambda: self.fold.combine(a, c))

    def _once(self, key: tuple[object, ...], make: Callable[[], SSAValue]) -> SSAValue:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = make()
        return known

    def run(
        self,
        values: list[SSAValue],
        steps: tuple[Step, ...],
        blocks: list[list[int]],
        *,
        exclusive: bool,
    ) -> list[SSAValue]:
        """All prefixes."""
        count = len(values)
        self.inner, self.outer = [self.zero] * count, [self.zero] * count
        self.totals, crossed = list(values), False
        for step in steps:
            if step.partner:
                self._in_thread(step, crossed=crossed)
            else:
                self._across(step)
                crossed = True
        self._over_blocks(blocks)
        results: list[SSAValue] = []
        for value, inner, outer in zip(values, self.inner, self.outer, strict=True):
            own = inner if exclusive else self.combine(inner, value)
            results.append(self.combine(outer, own))
        return results

    def _in_thread(self, step: Step, *, crossed: bool) -> None:
        before = list(self.totals)
        prefixes = self.outer if crossed else self.inner
        for register, partner in enumerate(step.partner):
            mine, other = before[register], before[partner]
            if step.upper[register] != self.reverse:
                prefixes[register] = self.combine(other, prefixes[register])
                self.totals[register] = self.combine(other, mine)
            else:
                self.totals[register] = self.combine(mine, other)

    def _across(self, step: Step) -> None:
        """A bit of the thread: all registers with one total need it from there once."""
        b = self.k.b
        has = "eq" if self.reverse else "ne"
        mask = self.k.arith("and", self.k.group.thread, 1 << step.thread)
        upper = b.icmp(has, mask, self.k.number(0))
        others = self._others(step)
        for register, mine in enumerate(list(self.totals)):
            other, before = others[mine], self.outer[register]
            self.outer[register] = self._once(
                ("select", step.thread, other, before),
                lambda other=other, before=before: b.select(
                    upper, self.combine(other, before), before
                ),
            )
            self.totals[register] = self.combine(mine, other)

    def _others(self, step: Step) -> dict[SSAValue, SSAValue]:
        """The totals of the thread that differs in the bit, for each total here."""
        mine = list(dict.fromkeys(self.totals))
        if step.thread < 5:
            return {v: from_partner(self.k, v, 1 << step.thread) for v in mine}
        return dict(
            zip(mine, self._through_memory(mine, 1 << step.thread), strict=True)
        )

    def _through_memory(self, mine: list[SSAValue], mask: int) -> list[SSAValue]:
        k, b = self.k, self.k.b
        storage = scratch_type(element_of(mine[0].type))
        size, threads = max(bit_width(storage) // 8, 1), 32 * k.group.warps
        start = self._memory()
        partner = k.arith("xor", k.group.thread, mask)
        places = [
            b.gep(start, k.arith("mul", t, size), i8) for t in (k.group.thread, partner)
        ]
        for number, value in enumerate(mine):
            stored = to_bytes(b, value, value.type)
            b.store(stored, k.offset(places[0], number * threads * size), size)
        k.group_barrier()
        found: list[SSAValue] = []
        for number, value in enumerate(mine):
            at = k.offset(places[1], number * threads * size)
            found.append(from_bytes(b, b.load(at, storage, size), value.type))
        return found

    def _memory(self) -> SSAValue:
        """The scratch of the op, free to be written."""
        if self._scratch is None:
            self._scratch = self.k.scratch(self.op)
        else:
            self.k.group_barrier()
        return self._scratch

    def _over_blocks(self, blocks: list[list[int]]) -> None:
        """Repeats of the layout along the dim, one after the other."""
        carried: dict[int, SSAValue] = {}
        for block in reversed(blocks) if self.reverse else blocks:
            for row, register in enumerate(block):
                before = carried.get(row, self.zero)
                self.outer[register] = self.combine(before, self.outer[register])
                carried[row] = self.combine(before, self.totals[register])


Rule = Callable[[Kernel, Operation], None]

RULES: dict[type[Operation], Rule] = {tile.ScanOp: scan}
"""The rules of this file."""
