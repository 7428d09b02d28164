"""The interpreter of the host program: its steps, one after the other."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from stepwell.errors import InputError
from stepwell.runtime.devices.interface import Array, Kept, Slots, Values
from stepwell.runtime.host_ops import HOST_OPS
from stepwell.runtime.manifest import (
    Assert,
    Block,
    Copy,
    HostCall,
    If,
    Launch,
    Loop,
    ReadScalar,
    Segment,
    Step,
)
from stepwell.runtime.plan import Plan
from stepwell.runtime.program import bind_shape, check_ranges, read_expression

Observer: TypeAlias = Callable[[Launch | HostCall, float, float], None]
"""Told of a launch or a host call, when it began and how long it took, in seconds."""

COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "divides": lambda left, right: left > 0 and right % left == 0,
}


def interpret(
    context: Slots,
    plan: Plan,
    values: Values,
    bindings: dict[str, int],
    observe: Observer | None = None,
) -> list[Any]:
    """Run the program once on these values; returns the outputs.

    Args:
        bindings: the symbols; those that the run finds out are added.
        observe: is told of every launch, each of which then runs by itself.
    """
    run = _Run(context, plan, values, bindings, observe)
    run.block(context.program.manifest.program)
    return values.outputs()


def with_absent(
    arrays: Sequence[Array], segments: Sequence[int] | None
) -> list[Array | None]:
    """The operands of an op, None for each optional one whose segment is 0."""
    if segments is None:
        return list(arrays)
    present = iter(arrays)
    return [next(present) if size else None for size in segments]


class _Run:
    """One inference, with what it has found out so far."""

    def __init__(
        self,
        context: Slots,
        plan: Plan,
        values: Values,
        bindings: dict[str, int],
        observe: Observer | None,
    ) -> None:
        self.context, self.plan, self.observe = context, plan, observe
        self.memory, self.bindings = values, bindings
        self.program = context.program
        self.values = context.program.values
        self.array = values.array

    def keep(self, index: int, array: Kept, what: str) -> None:
        """Make `array` the value `index`, binding the symbols that it defines."""
        value, names = self.values[index], self.program.defines.get(index, ())
        if array.dtype != value.dtype:
            raise InputError(f"expected {value.dtype} of {what}, got {array.dtype}")
        bind_shape(value, array.shape, self.bindings, names, what)
        check_ranges(self.program.manifest, self.bindings, names)
        self.memory.keep(index, array)

    def block(self, block: Block) -> None:
        for step in block.steps:
            self.step(step)

    def step(self, step: Step) -> None:
        match step:
            case Segment():
                self.segment(step)
            case HostCall():
                self.host_call(step)
            case If():
                taken = bool(self.array(step.condition).item())
                block = step.then_block if taken else step.else_block
                self.block(block)
                for index, source in zip(step.outputs, block.yields, strict=True):
                    self.keep(index, self.memory.take(source), "a branch's result")
            case Loop():
                self.loop(step)
            case ReadScalar():
                found = self.array(step.value).reshape(-1).tolist()
                self.bindings.update(zip(step.symbols, found, strict=True))
                check_ranges(self.program.manifest, self.bindings, step.symbols)
            case Assert():
                self.check(step)
            case Copy():
                self.memory.copy(step.source, step.target)

    def segment(self, step: Segment) -> None:
        segment, moves = self.program.segments[id(step)], self.context.moves
        memory, observe = self.memory, self.observe
        bound = self.plan.segment(segment, self.bindings, memory.address, moves)
        if observe is None:
            bound.run(memory)
            return
        launches = step.launches
        bound.run_observed(memory, lambda i, *time: observe(launches[i], *time))

    def host_call(self, step: HostCall) -> None:
        start = perf_counter()
        self.call(step)
        if self.observe is not None:
            self.observe(step, start, perf_counter() - start)

    def call(self, step: HostCall) -> None:
        inputs = [self.array(index) for index in step.inputs]
        config = {name: self.resolve(item) for name, item in step.config.items()}
        operands = with_absent(inputs, config.pop("segments", None))
        try:
            with np.errstate(all="ignore"):  # overflow gives infinity, as in kernels
                results = HOST_OPS[step.name](*operands, **config)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{step.name!r} cannot take its operands",
                notes=[f"{type(error).__name__}: {error}"],
            ) from error
        for index, array in zip(step.outputs, results, strict=True):
            if array.base is not None or any(array is one for one in inputs):
                array = array.copy()
            self.keep(index, np.asarray(array, order="C"), f"result of {step.name!r}")

    def resolve(self, item: Any) -> Any:
        """A config value, with `{"dims": [...]}` evaluated."""
        if isinstance(item, dict) and item.keys() == {"dims"}:
            return [read_expression(text)(self.bindings) for text in item["dims"]]
        return item

    def check(self, step: Assert) -> None:
        lhs = read_expression(step.lhs)(self.bindings)
        rhs = read_expression(step.rhs)(self.bindings)
        if not COMPARE[step.predicate](lhs, rhs):
            raise InputError(
                step.message,
                notes=[
                    f"expected {step.lhs} {step.predicate} {step.rhs}, "
                    f"got {lhs} and {rhs}"
                ],
            )

    def loop(self, step: Loop) -> None:
        trips = 2**63 - 1 if step.trips is None else int(self.array(step.trips).item())
        going = step.condition is None or bool(self.array(step.condition).item())
        take = self.memory.take
        carried = [take(index) for index in step.inits]
        scans: list[list[Kept]] = [[] for _ in step.outputs[len(carried) :]]
        round_ = 0
        while going and round_ < trips:
            state = [np.asarray(round_, np.int64), *carried]
            for index, array in zip(step.arguments, state, strict=True):
                self.keep(index, array, "a loop's argument")
            self.block(step.body)
            condition, *yields = step.body.yields
            going = bool(self.array(condition).item())
            values = [take(index) for index in yields]
            carried = values[: len(carried)]
            for scan, array in zip(scans, values[len(carried) :], strict=True):
                scan.append(array)
            round_ += 1
        finals = step.outputs[: len(carried)]
        for index, array in zip(finals, carried, strict=True):
            self.keep(index, array, "a loop's result")
        yields = step.body.yields[1 + len(carried) :]
        for index, source, scan in zip(
            step.outputs[len(carried) :], yields, scans, strict=True
        ):
            self.keep(index, self.stack(index, source, scan), "a loop's result")

    def stack(self, index: int, source: int, scan: list[Kept]) -> Kept:
        """Scanned values along a new first dim; of no rounds, an empty array."""
        if scan:
            return self.memory.stack(scan)
        dims = self.values[source].dims
        known = [dim.symbols <= self.bindings.keys() for dim in dims]
        shape = [
            dim(self.bindings) if ok else 0 for dim, ok in zip(dims, known, strict=True)
        ]
        return np.zeros((0, *shape), self.values[index].dtype)
