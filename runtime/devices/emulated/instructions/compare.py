"""Comparison and selection (ISA chapters of that name)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import (
    SINK,
    Instruction,
    Operand,
    Pair,
)
from stepwell.runtime.devices.emulated.translate import (
    Read,
    Scope,
    Write,
    element_type,
    instruction,
    unsupported,
)

from . import floats
from .elementwise import (
    PACKED,
    Array,
    Function,
    elementwise,
    in_place,
)

# Comparison and selection.

COMPARISONS: dict[str, Function] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}


def comparison(name: str) -> Function | None:
    """The function of a comparison; `equ` and the like are true on NaN, `ne` is not."""
    if name == "num":
        return lambda a, b: ~(np.isnan(a) | np.isnan(b))
    if name == "nan":
        return lambda a, b: np.isnan(a) | np.isnan(b)
    if name == "ne":
        return lambda a, b: (a != b) & (a == a) & (b == b)
    if name in COMPARISONS:
        return COMPARISONS[name]
    if name.endswith("u") and name[:-1] in COMPARISONS:
        base = COMPARISONS[name[:-1]]
        return lambda a, b: base(a, b) | (a != a) | (b != b)
    return None


@instruction("setp")
def setp(one: Instruction, scope: Scope) -> Operation:
    """Compare, combine with a predicate, write one or two predicates.

    Of packed halves, the first predicate is the lower half's, the second the upper's.
    """
    if element_type(one) in PACKED:
        return _setp_pair(one, scope)
    plain = _plain_setp(one, scope)
    if plain is not None:
        return plain
    compare = _combined(one, scope)
    target = one.operands[0]
    first, second = (
        (target.first, target.second) if isinstance(target, Pair) else (target, SINK)
    )
    write, write_other = scope.write(first, "pred"), scope.write(second, "pred")

    def run(threads: Threads, mask: Mask) -> None:
        outcome, other = compare(threads)
        write(threads, mask, outcome)
        write_other(threads, mask, other)

    return run


def _plain_setp(one: Instruction, scope: Scope) -> Operation | None:
    """A comparison that one NumPy function does, if it is such a one."""
    type_ = element_type(one)
    function = comparison(one.modifiers[0])
    if one.modifiers[0] == "ne" and NUMPY_TYPES[type_].kind in "iu":
        function = np.not_equal
    if not isinstance(function, np.ufunc) or len(one.operands) != 3:
        return None
    if "ftz" in one.modifiers:
        return None
    sources = [scope.view(operand, type_) for operand in one.operands[1:]]
    target = scope.target(one.operands[0], "pred")
    if target is None or None in sources:
        return None
    return in_place(function, [n for n in sources if n is not None], target)


def _flushed(one: Instruction, scope: Scope, operand: Operand, type_: str) -> Read:
    """How to read an operand; with `.ftz`, subnormal numbers are zeros."""
    read = scope.read(operand, type_)
    if "ftz" not in one.modifiers:
        return read
    return lambda threads: floats.flush(read(threads))


def _combined(
    one: Instruction, scope: Scope
) -> Callable[[Threads], tuple[Array, Array]]:
    """The outcome of a comparison and of its opposite, joined with the predicate."""
    function = comparison(one.modifiers[0])
    type_ = element_type(one)
    if function is None or type_ in PACKED:
        raise unsupported(one)
    name = next((m for m in one.modifiers if m in ("and", "or", "xor")), None)
    reads = [_flushed(one, scope, operand, type_) for operand in one.operands[1:3]]
    if name is None:

        def plain(threads: Threads) -> tuple[Array, Array]:
            outcome = function(*(read(threads) for read in reads))
            return outcome, ~outcome

        return plain
    extra = scope.read(one.operands[3], "pred")
    join = getattr(np, f"logical_{name}")

    def joined(threads: Threads) -> tuple[Array, Array]:
        outcome = function(*(read(threads) for read in reads))
        with_ = extra(threads)
        return join(outcome, with_), join(~outcome, with_)

    return joined


def _halves(one: Instruction, scope: Scope) -> Callable[[Threads], Array]:
    """The outcomes for both halves of packed operands, `[threads, 2]`."""
    function = comparison(one.modifiers[0])
    if function is None or len(one.operands) > 3:
        raise unsupported(one)
    dtype = NUMPY_TYPES[PACKED[element_type(one)]]
    reads = [scope.read(operand, "b32") for operand in one.operands[1:3]]

    def compare(threads: Threads) -> Array:
        values = [
            np.ascontiguousarray(read(threads)).reshape(-1, 1).view(dtype)
            for read in reads
        ]
        if "ftz" in one.modifiers:
            values = [floats.flush(value) for value in values]
        return function(*values)

    return compare


def _setp_pair(one: Instruction, scope: Scope) -> Operation:
    target = one.operands[0]
    if not isinstance(target, Pair):
        raise unsupported(one)
    writes = [scope.write(part, "pred") for part in (target.first, target.second)]
    compare = _halves(one, scope)

    def run(threads: Threads, mask: Mask) -> None:
        outcome = compare(threads)
        for half, write in enumerate(writes):
            write(threads, mask, outcome[:, half])

    return run


@instruction("set")
def set_(one: Instruction, scope: Scope) -> Operation:
    """Compare into a number: all bits one, or 1.0 for floating-point results."""
    type_ = next(m for m in one.modifiers if m in NUMPY_TYPES)
    write = scope.write(one.operands[0], type_)
    if element_type(one) in PACKED:
        return _set_pair(one, scope, type_, write)
    dtype = NUMPY_TYPES[type_]
    true = np.array(-1).astype(dtype) if dtype.kind in "iu" else np.array(1, dtype)
    compare = _combined(one, scope)
    false = np.zeros((), dtype)

    def run(threads: Threads, mask: Mask) -> None:
        write(threads, mask, np.where(compare(threads)[0], true, false))

    return run


def _set_pair(one: Instruction, scope: Scope, type_: str, write: Write) -> Operation:
    compare = _halves(one, scope)
    kind = PACKED.get(type_)
    true = (
        np.array(0xFFFF, np.uint16)
        if kind is None
        else np.array(1, NUMPY_TYPES[kind]).view(np.uint16)
    )

    def run(threads: Threads, mask: Mask) -> None:
        bits = np.where(compare(threads), true, np.uint16(0)).astype(np.uint16)
        write(threads, mask, bits.view(np.uint32)[:, 0])

    return run


@instruction("selp")
def selp(one: Instruction, scope: Scope) -> Operation:
    """`a` where the predicate holds, else `b`."""
    type_ = element_type(one)
    types = (type_, type_, "pred")
    return elementwise(one, scope, lambda a, b, p: np.where(p, a, b), types)


@instruction("slct")
def slct(one: Instruction, scope: Scope) -> Operation:
    """`a` where `c` is at least zero, else `b`."""
    of, by = (m for m in one.modifiers if m in NUMPY_TYPES)
    first, second, by_what = one.operands[1:]
    reads = [scope.read(first, of), scope.read(second, of)]
    reads.append(_flushed(one, scope, by_what, by))
    write = scope.write(one.operands[0], of)

    def run(threads: Threads, mask: Mask) -> None:
        a, b, c = (read(threads) for read in reads)
        write(threads, mask, np.where(c >= 0, a, b))

    return run
