"""Double precision rounded in any direction, and fused multiply-add: exactly.

Rare enough to be done with Python's integers, one thread after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray
Exact = Callable[..., tuple[Fraction, bool]]
"""Finite operands to the exact result, and whether it is a negative zero."""

LARGEST = float(np.finfo(np.float64).max)


def _zero(*factors: float) -> bool:
    return math.prod(math.copysign(1, factor) for factor in factors) < 0


def _sum(mode: str, a: float, b: float) -> tuple[Fraction, bool]:
    both_negative = math.copysign(1, a) < 0 and math.copysign(1, b) < 0
    cancels = mode == "rm" and not (a == b == 0 and _zero(a, b) is False)
    return Fraction(a) + Fraction(b), both_negative or cancels


def _fma(mode: str, a: float, b: float, c: float) -> tuple[Fraction, bool]:
    product = Fraction(a) * Fraction(b)
    sign = -1.0 if _zero(a, b) else 1.0
    both = sign < 0 and math.copysign(1, c) < 0
    same = sign == math.copysign(1, c) and product == 0 and c == 0
    return product + Fraction(c), both or (mode == "rm" and not same)


EXACT: dict[str, Exact] = {
    "add": _sum,
    "sub": lambda mode, a, b: _sum(mode, a, -b),
    "mul": lambda mode, a, b: (Fraction(a) * Fraction(b), _zero(a, b)),
    "div": lambda mode, a, b: (Fraction(a) / Fraction(b), _zero(a, b)),
    "fma": _fma,
}


def rounded(exact: Fraction, negative_zero: bool, mode: str) -> float:
    """A number rounded to double by mode rn, rz, rm or rp."""
    if exact == 0:
        return -0.0 if negative_zero else 0.0
    up = mode == "rp" or (mode == "rz" and exact < 0)
    down = mode == "rm" or (mode == "rz" and exact > 0)
    try:
        near = float(exact)
    except OverflowError:
        near = math.inf if exact > 0 else -math.inf
    if math.isinf(near):
        stops = (near > 0 and down) or (near < 0 and up)
        return math.copysign(LARGEST, near) if stops else near
    if near == 0:
        near = 0.0 if exact > 0 else -0.0
    if up and near < exact:
        return math.nextafter(near, math.inf)
    if down and near > exact:
        return math.nextafter(near, -math.inf)
    return near


def _natural_fma(a: Array, b: Array, c: Array) -> Array:
    """For infinities and NaNs: a product of finite numbers is no infinity."""
    finite = np.isfinite(a) & np.isfinite(b)
    return np.where(finite, 0.0, a * b) + c


def square_root(value: float, mode: str) -> float:
    """The root of a finite positive double, rounded by mode."""
    near = math.sqrt(value)
    square, exact = Fraction(near) ** 2, Fraction(value)
    if mode == "rp" and square < exact:
        return math.nextafter(near, math.inf)
    if mode in ("rm", "rz") and square > exact:
        return math.nextafter(near, 0.0)
    return near


def directed(opcode: str, mode: str) -> Callable[..., Array]:
    """An operation of doubles with one rounding, by mode."""
    natural: dict[str, Callable[..., Array]] = {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "fma": _natural_fma,
        "rcp": np.reciprocal,
        "sqrt": np.sqrt,
    }

    def apply(*values: Array) -> Array:
        operands = np.broadcast_arrays(*values)
        result = np.array(natural[opcode](*operands), np.float64).reshape(-1)
        flat = [operand.reshape(-1) for operand in operands]
        for lane in np.flatnonzero(_ordinary(opcode, flat)):
            numbers = [float(operand[lane]) for operand in flat]
            if opcode == "sqrt":
                result[lane] = square_root(numbers[0], mode)
                continue
            name = "div" if opcode == "rcp" else opcode
            numbers = [1.0, *numbers] if opcode == "rcp" else numbers
            result[lane] = rounded(*EXACT[name](mode, *numbers), mode)
        return result.reshape(operands[0].shape)

    return apply


def _ordinary(opcode: str, operands: list[Array]) -> Array:
    """Where the operands are finite and the result is no special case."""
    finite = np.logical_and.reduce([np.isfinite(operand) for operand in operands])
    if opcode in ("div", "rcp"):
        return finite & (operands[-1] != 0)
    if opcode == "sqrt":
        return finite & (operands[0] > 0)
    return finite
