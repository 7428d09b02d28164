"""What a GPU answered, in little room: a sum of the bits of every exact form.

Forms that are compared within a bound keep their numbers, and kernels that the GPU
ended with a fault keep its message. NaNs count as one value.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .form import Form
from .gpu import FAULT
from .report import compare, is_refusal, numbers
from .values import Array

Sums = dict[str, int | str | Array]


def canonical(form: Form, raw: Array) -> int:
    """The sum of an outcome's bits, with all NaNs alike."""
    values = numbers(form, raw)
    bits = values.view(f"u{values.dtype.itemsize}").copy()
    if values.dtype.kind != "u":
        with np.errstate(invalid="ignore"):
            bits[np.isnan(values)] = ~bits.dtype.type(0)
    return zlib.crc32(bits.tobytes())


def save(
    path: Path, forms: dict[str, Form], outcomes: dict[str, Any], known: Sums
) -> None:
    """Keep the outcomes of the forms that have one, and what is `known` of others."""
    sums = dict(known)
    for key, found in outcomes.items():
        if isinstance(found, str):
            if found.startswith(FAULT):
                sums[key] = found
        else:
            bound = forms[key].bound
            sums[key] = canonical(forms[key], found) if bound is None else found
    rows = [key for key in forms if key in sums]
    arrays = {
        f"r{index}": np.asarray(sums[key])
        for index, key in enumerate(rows)
        if not isinstance(sums[key], int)
    }
    np.savez_compressed(
        path,
        names=np.array(rows),
        digests=np.array([forms[key].digest for key in rows], "u4"),
        sums=np.array(
            [one if isinstance(one := sums[key], int) else 0 for key in rows], "u4"
        ),
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
                one = kept.get(key, total)
                is_text = isinstance(one, np.ndarray) and one.dtype.kind == "U"
                found[name] = str(one) if is_text else one
    return found


def agrees(form: Form, emulated: Array | str, kept: int | str | Array) -> bool:
    """Whether the emulator's outcome is what was kept."""
    if isinstance(kept, str):
        return is_refusal(emulated)
    if isinstance(emulated, str):
        return False
    if isinstance(kept, int):
        return canonical(form, emulated) == kept
    return compare(form, kept, emulated).verdict in ("exact", "bound")
