"""What a GPU answered, in little room: a sum of the bits of every exact form.

Forms that are compared within a bound keep their numbers. NaNs count as one value.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .form import Form
from .report import compare, numbers
from .values import Array

Sums = dict[str, int | Array]


def canonical(form: Form, raw: Array) -> int:
    """The sum of an outcome's bits, with all NaNs alike."""
    values = numbers(form, raw)
    bits = values.view(f"u{values.dtype.itemsize}").copy()
    if values.dtype.kind != "u":
        with np.errstate(invalid="ignore"):
            bits[np.isnan(values)] = ~bits.dtype.type(0)
    return zlib.crc32(bits.tobytes())


def save(path: Path, forms: dict[str, Form], outcomes: dict[str, Any]) -> None:
    """Keep the outcomes of the forms that have one."""
    ran = {
        key: form for key, form in forms.items() if not isinstance(outcomes[key], str)
    }
    arrays = {
        f"r{index}": outcomes[key]
        for index, (key, form) in enumerate(ran.items())
        if form.bound is not None
    }
    sums = [canonical(form, outcomes[key]) for key, form in ran.items()]
    np.savez_compressed(
        path,
        names=np.array(list(ran)),
        digests=np.array([form.digest for form in ran.values()], "u4"),
        sums=np.array(sums, "u4"),
        **arrays,
    )


def load(path: Path, forms: dict[str, Form]) -> Sums:
    """What was kept of the forms that are still the same."""
    found: Sums = {}
    with np.load(path) as kept:
        columns = (kept[name].tolist() for name in ("names", "digests", "sums"))
        for index, (name, digest, total) in enumerate(zip(*columns, strict=True)):
            if name in forms and forms[name].digest == digest:
                key = f"r{index}"
                found[name] = kept.get(key, total)
    return found


def agrees(form: Form, emulated: Array | str, kept: int | Array) -> bool:
    """Whether the emulator's outcome is what was kept."""
    if isinstance(emulated, str):
        return False
    if isinstance(kept, int):
        return canonical(form, emulated) == kept
    return compare(form, kept, emulated).verdict in ("exact", "bound")
