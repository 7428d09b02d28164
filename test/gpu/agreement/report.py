"""Outcomes side by side, and tables of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from .form import Form
from .values import NUMBERS, Array

VERDICTS = ("exact", "bound", "differs", "no GPU", "no emulator", "rejected")
"""All bits (NaNs of any bits), within the bound, neither; or a side has no result:
the GPU alone refused it, the emulator alone, or both."""


@dataclass(frozen=True)
class Verdict:
    """What came of one form."""

    form: Form
    verdict: str
    lanes: int = 0
    differing: int = 0
    nan_bits: int = 0
    note: str = ""


def is_refusal(outcome: Array | str) -> bool:
    """Whether an error is of the kernel: a fault of the GPU, or an error of the user's
    in the emulator."""
    return isinstance(outcome, str) and not outcome.startswith("internal error")


def compare(form: Form, gpu: Array | str, emulated: Array | str) -> Verdict:
    """The verdict on the outcomes of both sides."""
    if isinstance(emulated, str) and not is_refusal(emulated):
        return Verdict(form, "no emulator", note=f"emulator: {emulated}")
    if isinstance(gpu, str):
        note = f"GPU: {gpu}"
        if isinstance(emulated, str):
            return Verdict(form, "rejected", note=f"{note}; emulator: {emulated}")
        return Verdict(form, "no GPU", note=note)
    if isinstance(emulated, str):
        return Verdict(form, "no emulator", gpu.size, note=f"emulator: {emulated}")
    left, right = numbers(form, gpu), numbers(form, emulated)
    bits = f"u{left.dtype.itemsize}"
    same = left.view(bits) == right.view(bits)
    nans = np.zeros_like(same)
    if left.dtype.kind != "u":
        with np.errstate(invalid="ignore"):
            nans = ~same & np.isnan(left) & np.isnan(right)
    wrong = ~same & ~nans
    lanes, count = same.size, int(nans.sum())
    if not wrong.any():
        return Verdict(form, "exact", lanes, 0, count)
    if form.bound is not None:
        outside = wrong & ~_within(form, left, right)
        if not outside.any():
            return Verdict(form, "bound", lanes, 0, count, _worst(left, right))
        wrong = outside
    note = _examples(form, left, right, wrong)
    return Verdict(form, "differs", lanes, int(wrong.sum()), count, note)


def numbers(form: Form, raw: Array) -> Array:
    """An outcome as numbers of the form's type, flat."""
    flat = np.ascontiguousarray(raw).reshape(-1)
    if form.bound is not None and form.bound.dtype:
        name = form.bound.dtype
        kind = np.dtype(ml_dtypes.bfloat16) if name == "bf16" else np.dtype(name)
        return flat.view(kind)
    if form.kind:
        return flat.view(NUMBERS[form.kind.removesuffix("x2")])
    return flat.view(f"u{flat.dtype.itemsize}")


def _within(form: Form, left: Array, right: Array) -> Array:
    assert form.bound is not None
    with np.errstate(all="ignore"):
        x, y = left.astype("f8"), right.astype("f8")
        room = form.bound.relative * np.abs(y) + form.bound.absolute
        return (np.abs(x - y) <= room) | (x == y)


def _worst(left: Array, right: Array) -> str:
    with np.errstate(all="ignore"):
        x, y = left.astype("f8"), right.astype("f8")
        gap = np.abs(x - y)
        finite = np.isfinite(gap)
        relative = np.max((gap / np.abs(y))[finite & (y != 0)], initial=0)
        return f"largest: absolute {np.max(gap[finite], initial=0):.3g}, " + (
            f"relative {relative:.3g}"
        )


def _examples(form: Form, left: Array, right: Array, wrong: Array) -> str:
    lines: list[str] = []
    for lane in np.flatnonzero(wrong)[:6]:
        per = left.size // max(1, form.inputs[0].shape[0]) if form.inputs else 1
        given = [
            f"{_hex(array[lane // max(per, 1)])}"
            for array in form.inputs
            if array.ndim == 1 and lane // max(per, 1) < array.size
        ]
        lines.append(
            f"lane {lane}: ({', '.join(given)}) GPU {_hex(left[lane])} "
            f"({left[lane]}), emulator {_hex(right[lane])} ({right[lane]})"
        )
    return "\n      ".join(lines)


def _hex(value: np.generic) -> str:
    size = value.dtype.itemsize
    return f"{int(np.array(value).view(f'u{size}')):0{2 * size}x}"


def table(verdicts: Sequence[Verdict]) -> list[list[str]]:
    """One row for each family, and the sums."""
    families = list(dict.fromkeys(v.form.family for v in verdicts))
    rows = [_row(f, [v for v in verdicts if v.form.family == f]) for f in families]
    return [*rows, _row("all", list(verdicts))]


COLUMNS = (
    *("family", "forms", "lanes compared", "exact", "within bound", "differing"),
    *("NaN bits differ", "only emulated", "not emulated", "refused by both"),
)


def _row(name: str, found: list[Verdict]) -> list[str]:
    def count(verdict: str) -> int:
        return sum(v.verdict == verdict for v in found)

    lanes = sum(v.lanes for v in found if v.verdict in VERDICTS[:3])
    counts = [len(found), lanes, *(count(v) for v in VERDICTS[:3])]
    counts.append(sum(v.nan_bits > 0 for v in found))
    return [name, *(str(n) for n in (*counts, *(count(v) for v in VERDICTS[3:])))]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def plain(rows: Sequence[Sequence[str]]) -> str:
    """The table in columns."""
    every = [COLUMNS, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in every
    )
