"""One execution context: an arena, the plans of recent shapes, and the interpreter of
the host program. A context runs one inference at a time; an engine has many.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from stepwell.errors import DeviceError, InputError

from .devices.cpu import ThreadPool
from .host_ops import HOST_OPS
from .manifest import (
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
from .plan import SLOT_ALIGNMENT, Array, Plan
from .program import Program, bind_shape, check_ranges, read_expression

MAX_PLANS = 32

Observer: TypeAlias = Callable[[Launch, float], None]
"""Told of a launch and the seconds it took."""

COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "divides": lambda left, right: left > 0 and right % left == 0,
}


class Buffer:
    """Aligned memory that grows when asked for more; growing loses the contents."""

    def __init__(self) -> None:
        self._memory: Array = np.zeros(0, np.uint8)
        self.nbytes = 0
        self.address = 0

    def reserve(self, nbytes: int) -> int:
        """The address of at least `nbytes` bytes. Raises `DeviceError` if there are
        none left."""
        if nbytes > self.nbytes or not self.address:
            try:
                self._memory = np.empty(nbytes + SLOT_ALIGNMENT, np.uint8)
            except (MemoryError, ValueError) as error:
                raise DeviceError(
                    f"cannot allocate {nbytes} B for the arena", notes=[str(error)]
                ) from None
            start = self._memory.ctypes.data
            self.address = start + -start % SLOT_ALIGNMENT
            self.nbytes = nbytes
        return self.address

    def view(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The memory from `address` on, as an array."""
        offset = address - self._memory.ctypes.data
        return np.ndarray(shape, dtype, self._memory.data, offset)


def with_absent(
    arrays: Sequence[Array], segments: Sequence[int] | None
) -> list[Array | None]:
    """The operands of an op, None for each optional one whose segment is 0."""
    if segments is None:
        return list(arrays)
    present = iter(arrays)
    return [next(present) if size else None for size in segments]


class Context:
    """Runs a program. Not thread-safe: use one context a thread.

    `moves` counts how often a slot of late size got other memory.

    Args:
        kernels: addresses of the manifest's kernels.
        weights: the constants, by their number.
        pool: runs segments; contexts of one engine share it.
    """

    def __init__(
        self,
        program: Program,
        kernels: tuple[int, ...],
        weights: Sequence[Array],
        pool: ThreadPool,
    ) -> None:
        self.program, self.pool, self.moves = program, pool, 0
        self._kernels, self._weights = kernels, weights
        self._arena = Buffer()
        self._late_slots: dict[int, Buffer] = {}
        self._plans: OrderedDict[tuple[tuple[int, ...], ...], Plan] = OrderedDict()

    @property
    def arena_bytes(self) -> int:
        """The bytes of memory that the context holds."""
        return self._arena.nbytes + sum(b.nbytes for b in self._late_slots.values())

    def run(
        self, inputs: Sequence[Array], observe: Observer | None = None
    ) -> list[Array]:
        """Run once on contiguous arrays of the right dtypes and ranks.

        The results are the caller's: no later run changes them. With `observe`, every
        launch runs by itself and is reported with its time in seconds.

        Raises:
            InputError: shapes that do not fit the engine, or each other.
        """
        plan = self._plan(tuple([array.shape for array in inputs]))
        return _Run(self, plan, inputs, observe).outputs()

    def plan_for(self, shapes: Sequence[tuple[int, ...]]) -> Plan:
        """The plan of these input shapes."""
        return self._plan(tuple(shapes))

    def _plan(self, shapes: tuple[tuple[int, ...], ...]) -> Plan:
        plan = self._plans.get(shapes)
        if plan is not None:
            self._plans.move_to_end(shapes)
            return plan
        plan = Plan(self.program, self._bind(shapes), self._kernels)
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

    def weight(self, index: int) -> Array:
        """Constant `index`."""
        return self._weights[index]

    def slot_address(self, plan: Plan, slot: int, bindings: Mapping[str, int]) -> int:
        """Where a slot starts; one of late size grows when it has to."""
        if (offset := plan.arena.offsets.get(slot)) is not None:
            return self._arena.address + offset
        buffer = self._late_slots.setdefault(slot, Buffer())
        if (nbytes := self.program.slots[slot](bindings)) > buffer.nbytes:
            self.moves += 1
        return buffer.reserve(max(nbytes, 1))

    def slot_view(
        self, slot: int, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Array:
        """The memory of a slot as an array."""
        return self._late_slots.get(slot, self._arena).view(address, shape, dtype)


class _Run:
    """One inference: the values of late symbols, and the arrays outside the arena."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        inputs: Sequence[Array],
        observe: Observer | None,
    ) -> None:
        self.observe = observe
        self.context, self.plan, self.program = context, plan, context.program
        self.values = context.program.values
        self.bindings = dict(plan.bindings)
        tensors = context.program.manifest.inputs
        self.arrays: dict[int, Array] = {
            tensor.value: array for tensor, array in zip(tensors, inputs, strict=True)
        }

    def outputs(self) -> list[Array]:
        """Run the program; returns arrays that nobody else refers to."""
        manifest = self.program.manifest
        self.block(manifest.program)
        results: list[Array] = []
        for tensor in manifest.outputs:
            array = self.array(tensor.value)
            is_own = self.values[tensor.value].place in ("output", "host")
            is_own = is_own and not any(array is other for other in results)
            results.append(array if is_own else array.copy())
        return results

    def array(self, index: int) -> Array:
        """The array of a value; in the arena, a view that later steps overwrite."""
        array = self.arrays.get(index)
        if array is not None:
            return array
        value = self.values[index]
        if value.place == "weight":
            return self.context.weight(value.index)
        shape = value.shape(self.bindings)
        if value.place == "slot":
            address = self.address(index)
            return self.context.slot_view(value.index, address, shape, value.dtype)
        if value.place == "alias":
            flat = self.array(value.index).reshape(-1)
            start = (
                value.offset(self.bindings) * self.values[value.index].dtype.itemsize
            )
            stop = start + value.nbytes(self.bindings)
            return flat.view(np.uint8)[start:stop].view(value.dtype).reshape(shape)
        if value.place == "output":
            self.arrays[index] = array = np.empty(shape, value.dtype)
            return array
        raise InputError(f"expected value {index} to be computed before it is used")

    def address(self, index: int) -> int:
        """The address of a value."""
        value = self.values[index]
        if value.place == "slot":
            return self.context.slot_address(self.plan, value.index, self.bindings)
        if value.place == "alias":
            source = self.values[value.index]
            start = value.offset(self.bindings) * source.dtype.itemsize
            return self.address(value.index) + start
        return self.array(index).ctypes.data

    def keep(self, index: int, array: Array, what: str) -> None:
        """Make `array` the value `index`, binding the symbols that it defines."""
        value, names = self.values[index], self.program.defines.get(index, ())
        if array.dtype != value.dtype:
            raise InputError(f"expected {value.dtype} of {what}, got {array.dtype}")
        bind_shape(value, array.shape, self.bindings, names, what)
        check_ranges(self.program.manifest, self.bindings, names)
        if value.place == "host":
            self.arrays[index] = array
        else:
            np.copyto(self.array(index), array)

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
                    self.keep(index, self.array(source).copy(), "a branch's result")
            case Loop():
                self.loop(step)
            case ReadScalar():
                found = self.array(step.value).reshape(-1).tolist()
                self.bindings.update(zip(step.symbols, found, strict=True))
                check_ranges(self.program.manifest, self.bindings, step.symbols)
            case Assert():
                self.check(step)
            case Copy():
                np.copyto(self.array(step.target), self.array(step.source))

    def segment(self, step: Segment) -> None:
        segment = self.program.segments[id(step)]
        moves = self.context.moves
        bound = self.plan.segment(segment, self.bindings, self.address, moves)
        words = bound.words
        for value, positions in bound.dynamic:
            address = self.address(value)
            for position in positions:
                words[position] = address
        if self.observe is None:
            self.context.pool.run(bound.address, bound.count, bound.is_large)
            return
        for index, launch in enumerate(step.launches):
            start = perf_counter()
            self.context.pool.run(bound.address_of(index), 1, bound.is_large)
            self.observe(launch, perf_counter() - start)

    def host_call(self, step: HostCall) -> None:
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
        carried = [self.array(index).copy() for index in step.inits]
        scans: list[list[Array]] = [[] for _ in step.outputs[len(carried) :]]
        round_ = 0
        while going and round_ < trips:
            state = [np.asarray(round_, np.int64), *carried]
            for index, array in zip(step.arguments, state, strict=True):
                self.keep(index, array, "a loop's argument")
            self.block(step.body)
            condition, *values = (self.array(index) for index in step.body.yields)
            going = bool(condition.item())
            values = [array.copy() for array in values]
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

    def stack(self, index: int, source: int, scan: list[Array]) -> Array:
        """Scanned values along a new first dim; of no rounds, an empty array."""
        if scan:
            return np.stack(scan)
        dims = self.values[source].dims
        known = [dim.symbols <= self.bindings.keys() for dim in dims]
        shape = [
            dim(self.bindings) if ok else 0 for dim, ok in zip(dims, known, strict=True)
        ]
        return np.zeros((0, *shape), self.values[index].dtype)
