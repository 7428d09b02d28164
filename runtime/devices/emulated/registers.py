"""Register files: all threads of a block side by side, one row per register.

A virtual register is a row of a two-dimensional array of unsigned integers of its
width; a type only chooses the view. All warps of a block that are at the same
instruction execute it in one NumPy call under a mask.
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


@dataclass
class Layout:
    """Rows given to the registers of a module's functions."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BANKS, 0))

    def place(self, variable: Variable) -> Slot:
        """A fresh row for a `.reg` variable."""
        bank = bank_of(variable.type)
        row = self.rows[bank]
        self.rows[bank] += 1
        return Slot(bank, row)


class RegisterFile:
    """The registers of all threads of one block.

    `view(bank, type)` is the bank as an array `[rows, threads]` of a NumPy type of the
    same width.
    """

    def __init__(self, layout: Layout, threads: int) -> None:
        self.threads = threads
        self.banks: dict[str, NDArray] = {"pred": self._bank(layout, "pred", threads)}
        for bank in BANKS[1:]:
            self.banks[bank] = self._bank(layout, bank, threads)
        self._views: dict[tuple[str, np.dtype], NDArray] = {}

    @staticmethod
    def _bank(layout: Layout, bank: str, threads: int) -> NDArray:
        rows = layout.rows[bank]
        if bank == "pred":
            return np.zeros((rows, threads), np.bool_)
        if bank == "b128":
            return np.zeros((rows, threads, 2), np.uint64)
        return np.zeros((rows, threads), NUMPY_TYPES[bank])

    def view(self, bank: str, dtype: np.dtype) -> NDArray:
        """The bank seen as `dtype`, which has the bank's width."""
        key = (bank, dtype)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self.banks[bank].view(dtype)
        return found
