"""The emulator beside what a Hopper GPU answered, form by form.

test/gpu/emulator_agreement.py made the file, with `--golden`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TEST = Path(__file__).resolve().parents[3]
KEPT = TEST / "data" / "hopper.npz"
sys.path.insert(0, str(TEST / "gpu"))

from agreement import all_forms, golden  # noqa: E402
from agreement.emulator import emulate  # noqa: E402

FORMS = all_forms()
RECORDED = golden.load(KEPT, FORMS)
FAMILIES = sorted({form.family for form in FORMS.values()})
PARTS = ("vadd", "vsub", "vabsdiff", "vmin", "vmax")
DIFFERENT = {
    *(f"video/{op} into {part}" for op in PARTS for part in ("b2", "h1")),
    *(f"video/vadd.u32.u32.u32{t} a.b0 b" for t in (".min", ".max", ".sat")),
    *(f"video/vadd.u32.u32.u32.sat.{t} a.b0 b" for t in ("add", "min", "max")),
    *(f"video/vsub.u32.u32.u32.{t} a.b0 b" for t in ("min", "max")),
    *(f"video/vmad.u32.u32.u32{t}" for t in (".sat", ".shr7", ".sat.shr7")),
    *(f"video/vmad.u32.u32.u32{t}" for t in (".shr15", ".sat.shr15")),
} - {"video/vabsdiff into b2"}
"""Forms that the emulator does as the ISA says, and ptxas 13.0 in another way."""


def test_most_forms_are_recorded():
    """Changed forms must be recorded anew, on a GPU."""
    assert len(RECORDED) > 0.98 * len(FORMS)


def test_forms_that_are_not_recorded_are_sound():
    """The checker finds nothing; `--dry` of the script tries all, with ptxas too."""
    refused = "refused copies"
    tried = [k for k, f in FORMS.items() if k not in RECORDED and f.family != refused]
    outcomes = {key: emulate(FORMS[key], check=True) for key in tried[::8]}
    assert {key: one for key, one in outcomes.items() if isinstance(one, str)} == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family):
    recorded = [key for key in RECORDED if FORMS[key].family == family]
    if family == "wgmma":  # a third is enough here; the script tries all
        recorded = recorded[::3]
    wrong = [
        key
        for key in recorded
        if not golden.agrees(FORMS[key], emulate(FORMS[key]), RECORDED[key])
    ]
    assert wrong == [key for key in recorded if key in DIFFERENT]
