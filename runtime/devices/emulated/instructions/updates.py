"""What atomics and reductions do to an element: old and new value to the kept one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .floats import flush

Array = NDArray
UPDATES: dict[str, Callable[[Array, Array], Array]] = {
    "add": lambda old, value: old + value,
    "add.ftz": lambda old, value: flush(flush(old) + flush(value)),
    "min": np.minimum,
    "max": np.maximum,
    "and": lambda old, value: old & value,
    "or": lambda old, value: old | value,
    "xor": lambda old, value: old ^ value,
    "exch": lambda old, value: value,
    "inc": lambda old, limit: np.where(old >= limit, 0, old + 1).astype(old.dtype),
    "dec": lambda old, limit: np.where(
        (old == 0) | (old > limit), limit, old - 1
    ).astype(old.dtype),
}
PAIRS = {"f16x2": "f16", "bf16x2": "bf16"}
