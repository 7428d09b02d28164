"""What every one-to-one instruction shares: operands, packed halves, modifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import Mask, Operation, Threads
from stepwell.runtime.devices.emulated.registers import NUMPY_TYPES
from stepwell.runtime.devices.emulated.syntax import WIDTHS, Instruction
from stepwell.runtime.devices.emulated.translate import (
    Scope,
    element_type,
    unsupported,
)

from . import floats

Array = NDArray
Function = Callable[..., Array]
ROUNDING = ("rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna")
PACKED = {"f16x2": "f16", "bf16x2": "bf16"}
MODIFIERS = {
    *(
        *ROUNDING,
        "ftz",
        "sat",
        "relu",
        "NaN",
        "xorsign",
        "abs",
        "oob",
        "approx",
        "full",
    ),
    *("lo", "hi", "l", "r", "wrap", "clamp"),
    *("f4e", "b4e", "rc8", "ecl", "ecr", "rc16"),
}
"""What one-to-one instructions may say besides types; anything else is an error."""
FLOATS = ("f16", "bf16", "f32", "f64")


def elementwise(
    one: Instruction, scope: Scope, function: Function, types: tuple[str, ...] = ()
) -> Operation:
    """`d = function(a, b, ...)`; `types` are the operands' where not the result's."""
    if set(one.modifiers) - MODIFIERS - WIDTHS.keys():
        raise unsupported(one)
    type_ = element_type(one)
    sources = one.operands[1:]
    types = types or (type_,) * len(sources)
    numbers = [scope.view(o, t) for o, t in zip(sources, types, strict=True)]
    target = scope.target(one.operands[0], type_)
    if isinstance(function, np.ufunc) and target is not None and None not in numbers:
        return in_place(function, [n for n in numbers if n is not None], target)
    reads = [scope.read(o, t) for o, t in zip(sources, types, strict=True)]
    write = scope.write(one.operands[0], type_)

    def run(threads: Threads, mask: Mask) -> None:
        write(threads, mask, function(*(read(threads) for read in reads)))

    return run


def in_place(function: np.ufunc, sources: list[int], target: int) -> Operation:
    """A NumPy function that writes its result straight into the register."""

    def run(threads: Threads, mask: Mask) -> None:
        rows = threads.rows
        values = [rows[number] for number in sources]
        if mask is threads.everyone:
            function(*values, out=rows[target])
        else:
            function(*values, out=rows[target], where=mask)

    return run


def on_pairs(function: Function, type_: str) -> Function:
    """A function of halves, applied to both halves of packed 32-bit registers."""
    dtype = NUMPY_TYPES[PACKED[type_]]

    def apply(*packed: Array) -> Array:
        halves = [np.ascontiguousarray(p).reshape(-1, 1).view(dtype) for p in packed]
        result = function(*halves)
        return np.ascontiguousarray(result, dtype).view(np.uint32)[:, 0]

    return apply


def float_function(one: Instruction, function: Function, type_: str) -> Function:
    """Wrap a function of floats with the rules of the modifiers ftz, sat and relu."""
    modifiers = one.modifiers
    steps: list[Callable[[Array], Array]] = []
    flushes = "ftz" in modifiers
    if flushes:
        steps.append(floats.flush)
    if "sat" in modifiers:
        steps.append(floats.saturate)
    if "relu" in modifiers:
        steps.append(relu)
    if not steps:
        return function

    def apply(*values: Array) -> Array:
        if flushes:
            values = tuple(floats.flush(value) for value in values)
        result = function(*values)
        for step in steps:
            result = step(result)
        return result

    return apply


def relu(value: Array) -> Array:
    """Negative values and -0 become +0; NaN stays."""
    return np.where(np.isnan(value) | (value > 0), value, value.dtype.type(0))


def rounding(one: Instruction) -> str:
    """The rounding modifier; to nearest even if there is none."""
    return next((m for m in one.modifiers if m in ROUNDING), "rn")


def by_type(one: Instruction, scope: Scope, table: Mapping[str, Function]) -> Operation:
    """Pick the function for the instruction's type: exact, or by the kind of number."""
    type_ = element_type(one)
    scalar = PACKED.get(type_, type_)
    kind = "float" if scalar in FLOATS else "int"
    function = table.get(scalar, table.get(kind))
    if function is None:
        raise unsupported(one)
    if kind == "float":
        function = float_function(one, function, scalar)
    if type_ in PACKED:
        function = on_pairs(function, type_)
    return elementwise(one, scope, function)
