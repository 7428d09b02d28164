"""The numbers of values, and where each of them lies."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import engine
from stepwell.dialects.dtypes import numpy_dtype
from stepwell.dialects.shapes import dims_of, element_of
from stepwell.errors import CompileError
from stepwell.runtime.manifest import Expr, Value

from .attributes import exprs
from .host import slot_of


class Values:
    """Numbers values in the order in which they are met."""

    def __init__(self) -> None:
        self.table: list[Value] = []
        self.numbers: dict[SSAValue, int] = {}

    def __contains__(self, value: SSAValue) -> bool:
        return value in self.numbers

    def add(self, value: SSAValue, place: str, index: int = 0, offset: Expr = 0) -> int:
        """Number a value."""
        self.numbers[value] = len(self.table)
        dtype = str(numpy_dtype(element_of(value)))
        self.table.append(Value(dtype, exprs(dims_of(value)), place, index, offset))
        return self.numbers[value]

    def number(self, value: SSAValue) -> int:
        """The number of a value that an earlier op made."""
        return self.numbers[value]

    def all(self, values: Sequence[SSAValue]) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(self.number(value) for value in values)

    def results(self, op: Operation) -> tuple[int, ...]:
        """Number the results of an op that makes arrays on the host."""
        return tuple(self.add(result, "host") for result in op.results)

    def slotted(self, result: SSAValue) -> None:
        """Number a result with memory of its own."""
        if result in self.numbers:
            return
        slot = slot_of(result)
        if slot is None or slot == engine.OUTPUT_SLOT:
            raise CompileError(
                "expected a slot for every result; run plan-memory first",
                where=str(result.owner),
            )
        self.add(result, "slot", slot)
