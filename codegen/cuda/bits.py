"""Functions of a thread's index that are linear over F2, as instructions.

Coordinates and swizzled addresses are such functions of the lane and the warp. They are
found from a table of all their values, and checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue

from stepwell.codegen.llvm_builder import Builder

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Linear:
    """`start ^ bases[0] * bit0 ^ bases[1] * bit1 ...` of an index."""

    start: int
    bases: tuple[int, ...]

    def table(self) -> Array:
        """All values."""
        index = np.arange(1 << len(self.bases))
        result = np.full(index.shape, self.start)
        for bit, basis in enumerate(self.bases):
            result = result ^ ((index >> bit & 1) * basis)
        return result


def linear_of(values: Array) -> Linear:
    """The linear function with these values.

    Raises:
        ValueError: there is none.
    """
    count = int(values.size).bit_length() - 1
    start = int(values[0])
    found = Linear(start, tuple(int(values[1 << b]) ^ start for b in range(count)))
    if not np.array_equal(found.table(), values):
        raise ValueError("expected addresses that are linear in the thread's index")
    return found


@dataclass(frozen=True)
class Steps:
    """A family of tables: the first one, and how each other differs from it."""

    first: Linear
    xors: tuple[int | None, ...]
    adds: tuple[int | None, ...]


def steps_of(tables: Array) -> Steps:
    """The first row as a linear function, the others as a constant away from it.

    Raises:
        ValueError: they are not.
    """
    xors, adds = _constants(tables ^ tables[0]), _constants(tables - tables[0])
    if any(x is None and a is None for x, a in zip(xors, adds, strict=True)):
        raise ValueError("expected accesses a constant apart in all threads")
    return Steps(linear_of(tables[0]), xors, adds)


def _constants(rows: Array) -> tuple[int | None, ...]:
    """The number that each row consists of, if it is one."""
    same = np.all(rows == rows[:, :1], axis=1).tolist()
    starts = rows[:, 0].tolist()
    return tuple(
        n if is_same else None for n, is_same in zip(starts, same, strict=True)
    )


def emit_linear(b: Builder, function: Linear, index: SSAValue) -> SSAValue:
    """The function of an i32 index."""
    result = b.constant(function.start, i32)
    bit = 0
    while bit < len(function.bases):
        run = _run(function.bases, bit)
        basis = function.bases[bit]
        if basis:
            part = _field(b, index, bit, run)
            part = b.binary("mul", part, b.constant(basis, i32))
            zero = bit == 0 and function.start == 0
            result = part if zero else b.binary("xor", result, part)
        bit += run
    return result


def emit_step(b: Builder, steps: Steps, base: SSAValue, number: int) -> SSAValue:
    """The value of the table `number`, from that of the first."""
    change, name = steps.adds[number], "add"
    if change is None:
        change, name = steps.xors[number], "xor"
    assert change is not None
    return b.binary(name, base, b.constant(change, i32)) if change else base


def _field(b: Builder, index: SSAValue, bit: int, count: int) -> SSAValue:
    if bit:
        index = b.binary("lshr", index, b.constant(bit, i32))
    return b.binary("and", index, b.constant((1 << count) - 1, i32))


@lru_cache(maxsize=4096)
def _run(bases: tuple[int, ...], start: int) -> int:
    """How many bits from `start` are one product: `field * bases[start]`."""
    count = 1
    while start + count < len(bases):
        wider = bases[start : start + count + 1]
        index = np.arange(1 << len(wider))
        if not np.array_equal(index * wider[0], Linear(0, tuple(wider)).table()):
            break
        count += 1
    return count
