"""Registers: all threads of a wave side by side, one row per register.

A virtual register is a row of a two-dimensional array of unsigned integers of its
width; a type only chooses the view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .syntax import WIDTHS, Variable

NUMPY_TYPES: Mapping[str, np.dtype] = {
    "pred": np.dtype(np.bool_),
    **{f"b{bits}": np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"s{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "tf32": np.dtype(np.float32),
    "f16x2": np.dtype(np.uint32),
    "bf16x2": np.dtype(np.uint32),
    "u16x2": np.dtype(np.uint32),
    "s16x2": np.dtype(np.uint32),
}
"""How a value of each PTX type is seen in NumPy; packed types stay as bits."""

BANKS = ("pred", "b8", "b16", "b32", "b64", "b128")


def bank_of(type_: str) -> str:
    """The register bank that holds a type."""
    return "pred" if type_ == "pred" else f"b{WIDTHS[type_]}"


@dataclass(frozen=True)
class Slot:
    """Where a register lives: its bank and its row there."""

    bank: str
    row: int


@dataclass(frozen=True)
class RowView:
    """A register seen as a type of its width, or as a narrower one (its low bits).

    Bank "special" names a special register and "constant" holds a value instead.
    """

    bank: str
    row: int | str
    dtype: np.dtype
    value: NDArray | None = field(default=None, compare=False)


@dataclass
class Layout:
    """Rows given to the registers of a module's functions, and the views of them.

    An instruction names its operands by the numbers of their views.
    """

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BANKS, 0))
    views: list[RowView] = field(default_factory=list[RowView])
    _numbers: dict[object, int] = field(default_factory=dict[object, int])

    def place(self, variable: Variable) -> Slot:
        """A fresh row for a `.reg` variable."""
        bank = bank_of(variable.type)
        row = self.rows[bank]
        self.rows[bank] += 1
        return Slot(bank, row)

    def number(self, view: RowView) -> int:
        """The number of a view; equal views of registers share one."""
        key = (view.bank, view.row, view.dtype.num)
        if view.bank != "constant" and key in self._numbers:
            return self._numbers[key]
        self.views.append(view)
        self._numbers[key] = len(self.views) - 1
        return len(self.views) - 1


def register_banks(layout: Layout, threads: int) -> dict[str, NDArray]:
    """Zeroed registers: per bank `[rows, threads]`."""
    banks: dict[str, NDArray] = {}
    for bank in BANKS:
        rows = layout.rows[bank]
        if bank == "pred":
            banks[bank] = np.zeros((rows, threads), np.bool_)
        elif bank == "b128":
            banks[bank] = np.zeros((rows, threads, 2), np.uint64)
        else:
            banks[bank] = np.zeros((rows, threads), NUMPY_TYPES[bank])
    return banks
