"""Builds `func.func @main` of `nn` ops: what the importers of all frameworks share.

Inside `builder.block(...)` ops are inserted as they are made. Constants and sizes of
inputs go to the top of the function, so that they are made once and hold in every
region. `builder.at(name)` gives ops their location.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from xdsl.builder import ImplicitBuilder
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    LocationAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.dialects import nn
from stepwell.dialects.context import StepwellContext
from stepwell.dialects.provenance import has_location, name_location
from stepwell.dialects.shapes import (
    Dim,
    DimRange,
    Shape,
    set_ranges,
    symbol,
    symbols_of,
    tensor_type,
)


class GraphBuilder:
    """One function under construction.

    `ranges` holds what is known of each symbol; `entry_symbols` those that have a value
    when the function is entered.
    """

    def __init__(self, context: StepwellContext) -> None:
        self.context = context
        self.entry = Block()
        self.ranges: dict[str, DimRange] = {}
        self.entry_symbols: set[str] = set()
        self._blocks = [self.entry]
        self._argument_attributes: list[dict[str, Attribute]] = []
        self._prologue = Block()
        self._cache: dict[object, SSAValue] = {}

    def argument(self, name: str, dims: Shape, element: Attribute) -> SSAValue:
        """A new argument of the function; its symbols are known on entry."""
        self._argument_attributes.append({"nn.name": StringAttr(name)})
        for dim in dims:
            self.entry_symbols |= symbols_of(dim)
        kind = tensor_type(dims, element)
        return self.entry.insert_arg(kind, len(self.entry.args))

    def read_symbols(self, values: SSAValue, names: Sequence[str]) -> None:
        """Make the elements of an integer tensor the values of symbols.

        For an argument that happens on entry, else where the builder stands.
        """
        if not self.is_argument(values):
            nn.BindSymbolsOp(values, symbols=names)
            return
        with ImplicitBuilder(self._prologue):
            nn.BindSymbolsOp(values, symbols=names)
        self.entry_symbols |= set(names)

    def symbol(self, name: str, known: DimRange | None = None) -> Dim:
        """The symbol `name`, its range narrowed by `known` (at least 1 by default)."""
        known = known or DimRange(min=1)
        self.ranges[name] = _intersect(self.ranges.get(name, known), known)
        return symbol(name)

    def fresh_name(self, stem: str) -> str:
        """A symbol's name that is not taken: `stem`, or `stem_2`, `stem_3`, ..."""
        name, count = stem, 1
        while name in self.ranges:
            count += 1
            name = f"{stem}_{count}"
        return name

    @property
    def is_at_top(self) -> bool:
        """Whether ops are inserted into the function itself, not a nested region."""
        return self._blocks[-1] is self.entry

    def is_argument(self, value: SSAValue) -> bool:
        """Whether `value` is an argument of the function."""
        return value.owner is self.entry

    @contextmanager
    def inside(self, block: Block) -> Generator[None]:
        """Insert the ops made inside at the end of `block`."""
        self._blocks.append(block)
        try:
            with ImplicitBuilder(block):
                yield
        finally:
            self._blocks.pop()

    @contextmanager
    def at(self, name: str) -> Generator[None]:
        """Give the ops made inside the location `name`, unless they have one."""
        marks = [(block, block.last_op) for block in (self._blocks[-1], self._prologue)]
        yield
        location = name_location(name)
        for block, last in marks:
            op = block.first_op if last is None else last.next_op
            while op is not None:
                _locate(op, location)
                op = op.next_op

    def constant(self, array: np.ndarray[Any, Any]) -> SSAValue:
        """A constant at the top of the function; small equal ones are one op."""
        key: object = object()
        if array.nbytes <= 64 and array.dtype != object:
            key = (array.dtype.name, array.shape, array.tobytes())
        return self._at_entry(
            key, lambda: nn.make_constant(array, self.context.weights)
        )

    def dim_value(self, dim: Dim) -> SSAValue:
        """A dim as a 0-d `i64` tensor."""
        if isinstance(dim, int):
            return self.constant(np.array(dim, np.int64))
        if symbols_of(dim) <= self.entry_symbols:
            return self._at_entry(dim, lambda: nn.DimValueOp(dim))
        return nn.DimValueOp(dim).results[0]

    def _at_entry(self, key: object, make: Callable[[], Operation]) -> SSAValue:
        """The result of an op at the top of the function, made once for `key`."""
        if key not in self._cache:
            with ImplicitBuilder(self._prologue):
                self._cache[key] = make().results[0]
        return self._cache[key]

    def finish(self, names: Sequence[str], results: Sequence[SSAValue]) -> ModuleOp:
        """The module, with `@main` returning `results` under `names`."""
        with ImplicitBuilder(self.entry):
            ReturnOp(*results)
        first = self.entry.first_op
        assert first is not None
        for op in list(self._prologue.ops):
            op.detach()
            self.entry.insert_op_before(op, first)
        kind = FunctionType.from_lists(
            [argument.type for argument in self.entry.args],
            [result.type for result in results],
        )
        function = FuncOp(
            "main",
            kind,
            Region(self.entry),
            arg_attrs=ArrayAttr(map(DictionaryAttr, self._argument_attributes)),
            res_attrs=ArrayAttr(
                DictionaryAttr({"nn.name": StringAttr(name)}) for name in names
            ),
        )
        module = ModuleOp([function])
        if self.ranges:
            set_ranges(module, self.ranges)
        return module


def _locate(op: Operation, location: LocationAttr) -> None:
    for nested in op.walk():
        if not has_location(nested):
            nested.location = location


def _intersect(left: DimRange, right: DimRange) -> DimRange:
    """The range of a symbol that two tensors share."""
    highs = [known.max for known in (left, right) if known.max is not None]
    return DimRange(
        max(left.min, right.min),
        min(highs, default=None),
        right.opt if left.opt is None else left.opt,
        max(left.divisor, right.divisor),
    )
