"""One execution context: an arena, and the plans of recent shapes. A context runs one
inference at a time; an engine has many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.runtime.devices.interface import Buffer, Executable
from stepwell.runtime.interpreter import Observer, interpret
from stepwell.runtime.plan import Plan
from stepwell.runtime.program import Program, bind_shape, check_ranges

MAX_PLANS = 32


class Context:
    """Runs a program. Not thread-safe: use one context a thread.

    `moves` counts how often a slot of late size got other memory.

    Args:
        executable: the program's code on its device; contexts of one engine share it.
    """

    def __init__(self, program: Program, executable: Executable) -> None:
        self.program, self.moves = program, 0
        self._workspace = executable.workspace()
        self._arena = self._workspace.buffer()
        self._late_slots: dict[int, Buffer] = {}
        self._plans: OrderedDict[tuple[tuple[int, ...], ...], Plan] = OrderedDict()

    @property
    def arena_bytes(self) -> int:
        """The bytes of memory that the context holds."""
        return self._arena.nbytes + sum(b.nbytes for b in self._late_slots.values())

    def run(
        self,
        inputs: Sequence[Any],
        observe: Observer | None = None,
        stream: Any = None,
    ) -> list[Any]:
        """Run once on contiguous arrays of the right dtypes and ranks.

        The results are the caller's: no later run changes them. With `observe`, every
        launch runs by itself and is reported with its time. `stream` is the handle of
        the CUDA stream to run on; by default the context's own.

        Raises:
            InputError: shapes that do not fit the engine, or each other.
        """
        plan = self._plan(tuple([array.shape for array in inputs]))
        bindings = dict(plan.bindings)
        values = self._workspace.values(self, plan, inputs, bindings, stream)
        try:
            return interpret(self, plan, values, bindings, observe)
        finally:
            values.close()

    def plan_for(self, shapes: Sequence[tuple[int, ...]]) -> Plan:
        """The plan of these input shapes."""
        return self._plan(tuple(shapes))

    def _plan(self, shapes: tuple[tuple[int, ...], ...]) -> Plan:
        plan = self._plans.get(shapes)
        if plan is not None:
            self._plans.move_to_end(shapes)
            return plan
        plan = Plan(self.program, self._bind(shapes), self._workspace)
        if plan.arena.nbytes > self._arena.nbytes or not self._arena.address:
            self._arena.reserve(plan.arena.nbytes)
            self._plans.clear()  # their tables point into the old arena
        self._plans[shapes] = plan
        if len(self._plans) > MAX_PLANS:
            self._plans.popitem(last=False)
        return plan

    def _bind(self, shapes: tuple[tuple[int, ...], ...]) -> dict[str, int]:
        """The early symbols for these shapes; all of them are checked."""
        manifest = self.program.manifest
        values = self.program.range_of(manifest.inputs)
        bindings: dict[str, int] = {}
        for value, shape in zip(values, shapes, strict=True):
            for name, extent in zip(value.bare, shape, strict=True):
                if name is not None:
                    bindings.setdefault(name, extent)
        check_ranges(manifest, bindings, sorted(self.program.early))
        for tensor, value, shape in zip(manifest.inputs, values, shapes, strict=True):
            bind_shape(value, shape, bindings, (), f"input {tensor.name!r}")
        return bindings

    def slot_address(self, plan: Plan, slot: int, bindings: Mapping[str, int]) -> int:
        """Where a slot starts; one of late size grows when it has to."""
        if (offset := plan.arena.offsets.get(slot)) is not None:
            return self._arena.address + offset
        buffer = self._late_slots.get(slot)
        if buffer is None:
            buffer = self._late_slots[slot] = self._workspace.buffer()
        if (nbytes := self.program.slots[slot](bindings)) > buffer.nbytes:
            self.moves += 1
        return buffer.reserve(max(nbytes, 1))

    def slot_buffer(self, slot: int) -> Buffer:
        """The memory that a slot lies in."""
        return self._late_slots.get(slot, self._arena)
